package server

import (
	"os"
	"path/filepath"
	"testing"

	"usher/internal/admin"
)

// Whoever signals an old number, from a file or from memory, must not cut commands
// off from the process that serves.
func TestAnUpgradeThatDoesNotBeginLeavesTheAdminSocketToWhoHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := build(t, t.TempDir(), imapOnly)
	s.Again = []string{"/nonexistent"}
	s.admin = &admin.Server{Path: path, Daemon: s, Log: s.log}
	if err := s.admin.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.closeAdmin()
	another := filepath.Join(t.TempDir(), "another's")
	if err := os.WriteFile(another, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(another, path); err != nil {
		t.Fatal(err)
	}
	for _, now := range []state{starting, retired, stopping, serving} { // serving, but the program is not there
		s.state.Store(int32(now))
		s.alone.Store(true)
		if _, err := s.Upgrade(t.Context()); err == nil {
			t.Fatalf("a process that is %s was replaced", now)
		}
		if found, _ := os.ReadFile(path); string(found) != "another's" {
			t.Fatalf("a process that is %s has taken the admin socket", now)
		}
	}
}
