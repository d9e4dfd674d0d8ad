package passwd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
	"usher/internal/dovecot"
	"usher/internal/need"
	"usher/internal/password"
)

// A file that Dovecot reads gives the same answers here: who is known, with which
// password, and with which fields.
func TestDovecotAnswersTheSame(t *testing.T) {
	t.Parallel()
	doveadm := need.Program(t, "doveadm")
	hash, err := password.Make("SHA512-CRYPT", "secret")
	if err != nil {
		t.Fatal(err)
	}
	bare := strings.TrimPrefix(hash, "{SHA512-CRYPT}")
	text := strings.Join([]string{
		"# comment:{PLAIN}secret",
		"",
		":{PLAIN}secret",
		"ann@example.org:{PLAIN}secret:1000:1001:Ann:/home/a:/bin/sh:host=127.0.0.2  k=%u-%n-%d-%Ln-%{user}-100%% colon=a:b:c flag eq=a=b {=} userdb_mail=maildir:/m:x userdb_x=1 k2=%s",
		"ann@example.org:{PLAIN}second:1:1::/h::k=second",
		"crypt:" + bare + ":1000:1000::/h",
		"scheme:" + hash + ":1000:1000::/h:/sh:a=1\tb=2 c=3",
		"empty::1000:1000::/h::",
		"only",
		"locked:!" + bare + ":1000:1000::/h",
		"star:*:1000:1000::/h",
		`o\'brien:{PLAIN}secret:1000:1000::/h`,
		`back\\slash:{PLAIN}secret:1000:1000::/h`,
		"shell:{PLAIN}secret:1000:1000:::k=v",
		"UPPER:{PLAIN}secret:1000:1000::/h",
		"blank name:{PLAIN}secret:1000:1000::/h",
		"last:{PLAIN}secret:1000:1000::/h",
	}, "\n")
	path := filepath.Join(t.TempDir(), "passwd")
	write(t, path, text)
	readable(t, path)
	d := dovecot.Start(t, dovecot.Options{Extra: "passdb {\n driver = passwd-file\n args = " + path + "\n}\nuserdb {\n driver = passwd-file\n args = " + path + "\n}\n"})
	s := openSource(t, settings{Path: path})
	conf := filepath.Join(d.Dir, "dovecot.conf")

	users := []string{
		"ann@example.org", "crypt", "scheme", "empty", "only", "locked", "star", "o'brien", `o\'brien`, `back\slash`, "shell", "UPPER", "upper", "blank name", "last",
		"nobody", "ann", "# comment", "ann@example.org:", "ANN@example.org",
	}
	for _, user := range users {
		fields := map[string]string(nil)
		for _, pw := range []string{"secret", "second", "!"} {
			out, err := exec.Command(doveadm, "-c", conf, "auth", "test", "-x", "service=imap", user, pw).CombinedOutput()
			theirs := err == nil && strings.Contains(string(out), "auth succeeded")
			if theirs {
				fields = extra(string(out))
			}
			if ours := letsIn(t, s, user, pw); ours != theirs {
				t.Errorf("%q with %q: Dovecot %t, usher %t\n%s", user, pw, theirs, ours, out)
			}
		}
		if fields == nil {
			continue
		}
		rec, err := s.Ask(t.Context(), account.Query{Name: user, Protocol: "imap"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fields, passdb(rec.Fields)); diff != "" {
			t.Errorf("%q: Dovecot's extra fields (-), usher's (+):\n%s", user, diff)
		}
		for _, field := range []string{"uid", "gid", "home", "mail"} {
			out, err := exec.Command(doveadm, "-c", conf, "user", "-f", field, user).Output()
			want := rec.Fields[field]
			if field == "mail" && want == "" {
				continue // Dovecot then says its mail_location
			}
			if got := strings.TrimSpace(string(out)); err != nil || got != want {
				t.Errorf("%q: %s is %q in Dovecot (%v), %q here", user, field, got, err, want)
			}
		}
	}
}

// readable lets Dovecot's user reach a file.
func readable(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(path); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func letsIn(t *testing.T, s *Source, user, pw string) bool {
	t.Helper()
	a, err := lookup(t, s, user)
	if errors.Is(err, account.ErrUnknown) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	err = a.Proof.Check(t.Context(), pw)
	if err != nil && !errors.Is(err, account.ErrRefused) {
		t.Errorf("%q with %q: %v", user, pw, err)
	}
	return err == nil
}

// extra reads the fields that doveadm auth test prints.
func extra(out string) map[string]string {
	fields := map[string]string{}
	_, list, _ := strings.Cut(out, "extra fields:\n")
	for line := range strings.Lines(list) {
		name, value, has := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, "  "), "\n"), "=")
		if !has {
			value = "Y"
		}
		if name != "user" && name != "nodelay" { // which the test's own Dovecot adds
			fields[name] = value
		}
	}
	return fields
}

// passdb are the fields that Dovecot's passdb has too.
func passdb(f account.Fields) map[string]string {
	fields := map[string]string{}
	for name, value := range f {
		switch name {
		case "uid", "gid", "home", "mail", "password", "userdb_x":
		default:
			fields[name] = value
		}
	}
	return fields
}
