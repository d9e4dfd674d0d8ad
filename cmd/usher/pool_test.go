package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// What is to be written into the file can be copied, also for a node that is called by its
// whole name.
func TestWhatPoolAddPrintsIsTOML(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"init", dir}, {"add", "mx1.example.org", dir}, {"add", "mx1", dir}} {
		var out bytes.Buffer
		c := poolCommand()
		c.SetArgs(args)
		c.SetOut(&out)
		if err := c.Execute(); err != nil {
			t.Fatal(err)
		}
		_, text, found := strings.Cut(out.String(), "on all nodes:\n")
		if !found {
			continue
		}
		var file struct {
			Pool struct{ Nodes map[string]string }
		}
		err := toml.Unmarshal([]byte(strings.Replace(text, ", …", "", 1)), &file)
		if want := "ADDRESS-OF-" + args[1] + ":7143"; err != nil || file.Pool.Nodes[args[1]] != want {
			t.Errorf("%s: nodes %v, %v, of\n%s", args[1], file.Pool.Nodes, err, text)
		}
	}
}
