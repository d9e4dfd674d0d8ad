package server

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testOnly are packages that only tests import.
var testOnly = []string{"transcript", "dovecot", "courier", "daemon", "postgres", "mariadb", "slapd", "need", "account/accounttest", "relay/relaytest", "token/tokentest", "config/manual"}

// A newcomer can trust the import block of ARCHITECTURE.md.
func TestArchitectureBlockIsTrue(t *testing.T) {
	if diff := cmp.Diff(documented(t), listed(t)); diff != "" {
		t.Errorf("the imports block of ARCHITECTURE.md (-) differs from go list (+):\n%s", diff)
	}
}

func documented(t *testing.T) map[string]string {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```imports\n")
	block, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("ARCHITECTURE.md has no imports block")
	}
	arrows := map[string]string{}
	for line := range strings.Lines(block) {
		from, to, _ := strings.Cut(line, "->")
		arrows[strings.TrimSpace(from)] = strings.TrimSpace(to)
	}
	return arrows
}

func listed(t *testing.T) map[string]string {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "usher/internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	arrows := map[string]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from := strings.TrimPrefix(words[0], "usher/internal/")
		if slices.Contains(testOnly, from) {
			continue
		}
		var to []string
		for _, w := range words[1:] {
			if name, ok := strings.CutPrefix(w, "usher/internal/"); ok {
				to = append(to, name)
			}
		}
		arrows[from] = strings.Join(to, " ")
	}
	return arrows
}
