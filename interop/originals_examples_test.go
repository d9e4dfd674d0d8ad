package interop

import (
	"path/filepath"
	"testing"
)

// The other tests of originals_*_test.go run by examples of the manual; here are those
// to which no document belongs. Ann is in a file for her domain, bob in none: a service
// that was written for nginx knows him.
func TestExamplesLeadLogins(t *testing.T) {
	t.Parallel()
	_, _, backends := twoStores(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org.passwd"), "ann:{PLAIN}"+annSecret+"::::::host=east\n")
	write(t, filepath.Join(dir, "header"), "X-Token: a secret")
	files := example(t, "passwd.toml", "/etc/usher", dir)
	service := example(t, "auth_http.toml", "auth.header", filepath.Join(dir, "header"),
		`["https://auth1.internal.example.org/mail", "https://auth2.internal.example.org/mail"]`, `"http://`+mailAuth(t)+`/mail"`)
	p := start(t, setup{config: quick + backends + files + service})
	p.serves(t, ann, annSecret, "east")
	p.serves(t, bob, bobSecret, "west")
	p.denies(t, ann, bob, "eve@example.org", "eve@example.net")
}
