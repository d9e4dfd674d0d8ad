package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"usher/internal/demo"
)

// What the README shows works as it stands.
func TestReadme(t *testing.T) {
	readme := read(t, "../../README.md")
	minimal := read(t, "../../doc/examples/minimal.toml")
	if !strings.Contains(readme, "```toml\n"+minimal+"```") {
		t.Error("the usher.toml of the README is not doc/examples/minimal.toml")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "usher"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	write(t, dir, "usher.toml", "[server]\nstate = \"state\"\n"+minimal)
	write(t, dir, "ann.secret", "secret\n")
	write(t, dir, "accounts.csv", "user,password,host\nbob@example.org,{PLAIN}secret,west\n")
	if err := demo.WriteCertificate(filepath.Join(dir, "mail.pem"), filepath.Join(dir, "mail.key")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "backends.pem", read(t, filepath.Join(dir, "mail.pem")))
	ran := 0
	for _, line := range commandsIn(readme) {
		ran++
		sh := exec.Command("sh", "-euc", line)
		sh.Dir = dir
		sh.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		if out, err := sh.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	if ran < 4 {
		t.Errorf("only %d commands were found in the README", ran)
	}
}

// commandsIn returns what a reader would type: lines of sh blocks and commands
// in the text that begin with usher. Serve would not end; interop runs it.
func commandsIn(readme string) (lines []string) {
	for _, block := range strings.Split(readme, "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, "usher ") && !strings.HasPrefix(line, "usher serve") {
				lines = append(lines, line)
			}
		}
	}
	for _, m := range regexp.MustCompile("`(usher account [^`]*)`").FindAllStringSubmatch(readme, -1) {
		lines = append(lines, m[1])
	}
	return lines
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
