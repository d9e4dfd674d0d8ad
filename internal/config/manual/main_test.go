package main

import (
	"os"
	"testing"
)

// The manual in the repository is what the sources say.
func TestManualIsCurrent(t *testing.T) {
	want, err := manual("../../..")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../doc/config.md")
	if err != nil || string(got) != want {
		t.Errorf("doc/config.md is not what internal/config says (%v): run, in the module's root,\n"+
			"\tgo run ./internal/config/manual > doc/config.md", err)
	}
}
