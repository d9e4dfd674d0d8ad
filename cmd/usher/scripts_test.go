package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"usher/internal/config"
	"usher/internal/demo"
)

// TestExamples checks doc/examples as an administrator would, who has put the
// certificates and secrets where they say.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../doc/examples/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no examples: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			shown := check(t, string(text))
			if again := check(t, shown); again != shown {
				t.Errorf("the effective configuration\n%s\nmeans\n%s", shown, again)
			}
		})
	}
}

// check runs "usher check" on a configuration that must be fine, and returns
// what it prints.
func check(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "usher.toml")
	text = putPrograms(t, filepath.Dir(file), text)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	putFiles(t, file)
	putSecrets(t, filepath.Dir(file), text)
	var out, complaints strings.Builder
	root := newRoot()
	root.SetArgs([]string{"check", "-c", file})
	root.SetIn(io.MultiReader())
	root.SetOut(&out)
	root.SetErr(&complaints)
	if err := root.ExecuteContext(t.Context()); err != nil || complaints.Len() > 0 {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	return out.String()
}

// named are programs and their environment, which a configuration names by where packages
// put them.
var named = regexp.MustCompile(`(["'])(/usr/lib/dovecot/|/usr/bin/imapd|/usr/lib/courier/|/etc/courier/imapd)([^"']*)["']`)

// putPrograms puts the mail programs that a configuration names into a folder, and has it
// name them there.
func putPrograms(t *testing.T, dir, text string) string {
	t.Helper()
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		file := filepath.Join(dir, m[2]+m[3])
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("# nothing\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return named.ReplaceAllString(text, "${1}"+dir+"${2}${3}${1}")
}

// putFiles makes the certificates that a configuration names.
func putFiles(t *testing.T, file string) {
	t.Helper()
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	pairs := append(cfg.TLS.Certificate, config.Certificate{Cert: cfg.TLS.Cert, Key: cfg.TLS.Key})
	for _, b := range cfg.Backend {
		pairs = append(pairs, config.Certificate{Cert: b.CA, Key: b.CA + ".key"})
	}
	for _, p := range pairs {
		if p.Cert == "" {
			continue
		}
		if err := demo.WriteCertificate(string(p.Cert), string(p.Key)); err != nil {
			t.Fatal(err)
		}
	}
}

// putSecrets makes the files with secrets that account sources name.
func putSecrets(t *testing.T, dir, text string) {
	t.Helper()
	secrets := map[string]string{"dsn": "host=db dbname=mail user=usher", "password": "secret", "secret_header": "X-Token: secret"}
	for _, m := range regexp.MustCompile(`(?m)^ *(\w+)_file *= *['"](.+?)['"]`).FindAllStringSubmatch(text, -1) {
		if filepath.IsAbs(m[2]) {
			continue // it is no secret, and stands where it stands
		}
		if err := os.WriteFile(filepath.Join(dir, m[2]), []byte(secrets[m[1]]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
