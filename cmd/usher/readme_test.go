package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	build(t, dir)
	write(t, dir, "usher.toml", "[server]\nstate = \"state\"\n"+minimal)
	write(t, dir, "ann.secret", "secret\n")
	write(t, dir, "accounts.csv", "user,password,host\nbob@example.org,{PLAIN}secret,west\n")
	if err := demo.WriteCertificate(filepath.Join(dir, "mail.pem"), filepath.Join(dir, "mail.key")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "backends.pem", read(t, filepath.Join(dir, "mail.pem")))
	blocks := blocksIn(readme)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of the README call usher, not 3", len(blocks))
	}
	for _, line := range slices.Concat(blocks[0], commandsIn(readme), blocks[2]) {
		runLine(t, dir, line)
	}

	// The second block is about an usher that runs.
	store, err := demo.Start("north", []demo.User{{Name: "ann@example.org", Password: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	write(t, dir, "usher.toml", fmt.Sprintf(runningConfig, store.IMAP))
	serve := exec.Command(filepath.Join(dir, "usher"), "serve")
	serve.Dir = dir
	found := make(chan string, 1)
	serve.Stderr = &addrLog{found: found}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = serve.Wait() }()
	logIn(t, <-found)
	for _, line := range blocks[1] {
		runLine(t, dir, line)
	}
}

const runningConfig = `
[server]
state = "state"
admin = "admin.sock"
user = ""
log = "logfmt"
[[listen]]
protocol = "imap"
tls = "none"
addr = ["127.0.0.1:0"]
[[accounts]]
type = "any"
[backend.default]
addr = [%q]
`

// addrLog finds where usher listens in what it logs.
type addrLog struct {
	text  []byte
	told  bool
	found chan string
}

func (l *addrLog) Write(b []byte) (int, error) {
	l.text = append(l.text, b...)
	if m := regexp.MustCompile(`msg=listening .*addr=(\S+) `).FindSubmatch(l.text); m != nil && !l.told {
		l.found <- string(m[1])
		l.told = true
	}
	return len(b), nil
}

// logIn begins a session that lasts until the test ends, or it is kicked.
func logIn(t *testing.T, addr string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	in := bufio.NewReader(nc)
	_, _ = in.ReadString('\n')
	_, _ = io.WriteString(nc, "a LOGIN ann@example.org secret\r\n")
	if line, err := in.ReadString('\n'); !strings.HasPrefix(line, "a OK") {
		t.Fatalf("heard %q %v", line, err)
	}
}

func build(t *testing.T, dir string) {
	t.Helper()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "usher"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func runLine(t *testing.T, dir, line string) {
	t.Helper()
	sh := exec.Command("sh", "-euc", line)
	sh.Dir = dir
	sh.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := sh.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// blocksIn returns what a reader would type from the sh blocks that call usher.
// Serve would not end; interop runs it.
func blocksIn(readme string) (blocks [][]string) {
	for _, block := range strings.Split(readme, "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		var lines []string
		for line := range strings.Lines(block) {
			if strings.HasPrefix(line, "usher ") && !strings.HasPrefix(line, "usher serve") {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			blocks = append(blocks, lines)
		}
	}
	return blocks
}

// commandsIn returns the commands within the text.
func commandsIn(readme string) (lines []string) {
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
