package spawn

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Whatever comes is decoded or refused; what is permitted keeps the policy's word.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"Program":"imap","UID":1000,"GID":1000,"Home":"/home/ann","Args":["x"],"Env":["USER=ann"]}`))
	f.Add([]byte(`{"Program":"imap","UID":0,"GID":-1,"Home":"/home/../etc"}`))
	f.Add([]byte(`{}{}`))
	p := Policy{
		MinUID: 1000, MinGID: 1000, Homes: []string{"/home", "/home/deep"},
		Programs: map[string]Program{"imap": {Path: "/usr/bin/imap", Args: []string{"imap"}, Env: []string{"A=1", "USER=x"}, More: 1, Vars: []string{"USER", "M*"}}},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if decode(b, &r) != nil || p.permits(&r) != nil {
			return
		}
		if r.UID < p.MinUID || r.GID < p.MinGID || r.Program != "imap" || len(r.Args) > 1 {
			t.Errorf("permitted: %+v", r)
		}
		names := map[string]bool{}
		for _, v := range p.Programs["imap"].environment(r.Env) {
			name, _, ok := strings.Cut(v, "=")
			if !ok || name == "" || names[name] || strings.HasPrefix(name, "LD_") || strings.ContainsRune(v, 0) {
				t.Errorf("environment: %q of %+v", v, r)
			}
			names[name] = true
		}
		root, err := p.root(r.Home)
		if err == nil && (!slices.Contains(p.Homes, root) || !strings.HasPrefix(r.Home, root+"/") || filepath.Clean(r.Home) != r.Home) {
			t.Errorf("home %q beneath %q", r.Home, root)
		}
	})
}

// A user of the system has the groups of /etc/group, if it is he; never root's, nor those below the least.
func TestGroupsAreThoseOfTheSystemsUser(t *testing.T) {
	dir := t.TempDir()
	g := &groups{passwd: dir + "/passwd", group: dir + "/group", least: 40}
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(g.passwd, "ann:x:1000:1000::/home/ann:/bin/sh\nbroken\nbob:x:1001:1001::/:\n")
	write(g.group, "root:x:0:ann\nusers:x:100:bob,ann\ndisk:x:39:ann\nann:x:1000:ann\nbroken:x\nbad:x:many:ann\n")
	for _, c := range []struct {
		user string
		uid  uint32
		want []uint32
	}{
		{"ann", 1000, []uint32{1000, 100}},
		{"ann", 1001, []uint32{1000}},
		{"", 1000, []uint32{1000}},
		{"nobody here", 1000, []uint32{1000}},
	} {
		if got := g.of(c.user, c.uid, 1000); !slices.Equal(got, c.want) {
			t.Errorf("%q as %d has %v, want %v", c.user, c.uid, got, c.want)
		}
	}
	write(g.group, "staff:x:50:ann\nlonger:x:51:bob\n")
	if got := g.of("ann", 1000, 1000); !slices.Equal(got, []uint32{1000, 50}) {
		t.Errorf("after a change: %v", got)
	}
}

// Every promise of doc/security.md is pinned by a test that there is.
func TestSecurityDocumentNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("../../doc/security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := testsOf(t, "../..")
	name := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	if named := name.FindAllString(string(text), -1); len(named) < 100 {
		t.Errorf("only %d tests are named", len(named))
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		named := name.FindAllStringSubmatch(line, -1)
		for _, m := range named {
			if !there[m[1]] {
				t.Errorf("%s is named, but there is none", m[1])
			}
		}
		if promise := regexp.MustCompile(`^\| [^*].* \| *([^|]*)\|$`).FindStringSubmatch(line); promise != nil && promise[1] == "" {
			t.Errorf("no test is named for: %s", line)
		}
	}
}

// testsOf are the names of all tests beneath a folder.
func testsOf(t *testing.T, root string) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	test := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)`)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range test.FindAllSubmatch(code, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}
