package interop

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"usher/internal/courier"
	"usher/internal/dovecot"
	"usher/internal/need"
)

// challenges is a service for nginx that knows bob, and what it was asked by.
func challenges(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := r.Header
		salt, shown := h.Get("Auth-Salt"), h.Get("Auth-Pass")
		right := false
		switch h.Get("Auth-Method") {
		case "plain":
			shown, _ = url.PathUnescape(shown)
			right = shown == bobSecret
		case "cram-md5":
			mac := hmac.New(md5.New, []byte(bobSecret))
			mac.Write([]byte(salt))
			right = shown == hex.EncodeToString(mac.Sum(nil))
		case "apop":
			sum := md5.Sum([]byte(salt + bobSecret))
			right = shown == hex.EncodeToString(sum[:])
		}
		w.Header().Set("Auth-Status", "Invalid login or password")
		if right && h.Get("Auth-User") == bob {
			w.Header().Set("Auth-Status", "OK")
			w.Header().Set("Auth-Server", "west")
			w.Header().Set("Auth-Pass", bobSecret)
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// userdbpw is what Courier makes of a password for CRAM.
func userdbpw(t *testing.T, hash, clear string) string {
	t.Helper()
	dir, env := need.CourierPlace(t)
	c := exec.Command(filepath.Join(dir, "usr/sbin/userdbpw"), "-hmac-"+hash)
	c.Dir, c.Env = dir, env
	c.Stdin = strings.NewReader(clear + "\n")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("userdbpw: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// Courier could not lead such an account to another server (P000-19): nobody knows its
// password. With a master it can be done.
func TestSourcesThatCheckChallenges(t *testing.T) {
	t.Parallel()
	east := newStore(t, "east", dovecot.Options{Master: map[string]string{"boss": "boss' secret"}})
	west := newStore(t, "west", dovecot.Options{})
	secret := filepath.Join(t.TempDir(), "master")
	write(t, secret, "boss' secret\n")
	record := "uid=1000|gid=1000|home=/home/ann|options=mailhost=east"
	for _, hash := range []string{"md5", "sha1", "sha256"} {
		record += "|hmac-" + hash + "pw=" + userdbpw(t, hash, annSecret)
	}
	d := courier.Start(t, courier.Options{Modules: []string{"authuserdb"}, Userdb: map[string]string{ann: record}})
	userdb := filepath.Join(t.TempDir(), "userdb")
	write(t, userdb, ann+"\t"+record+"\n")
	for name, source := range map[string]string{
		"authdaemon and http": fmt.Sprintf("[[accounts]]\ntype = \"authdaemon\"\nsocket = %q\n\n[[accounts]]\ntype = \"http\"\nurl = [\"http://%s/auth\"]\n", d.Socket, challenges(t)),
		"userdb and http":     fmt.Sprintf("[[accounts]]\ntype = \"userdb\"\npath = %q\n\n[[accounts]]\ntype = \"http\"\nurl = [\"http://%s/auth\"]\n", userdb, challenges(t)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, setup{config: quick + strings.ReplaceAll(named, `"EXTERNAL", `, "") + source + store("west", west, "none") +
				store("east", east, "none", `login = { as = "master", name = "boss", password_file = "`+secret+`" }`)})
			for _, protocol := range protocols {
				for _, w := range mechanismWays {
					if w.name == "EXTERNAL" || w.name == "APOP" && protocol == "imap" {
						continue
					}
					for _, who := range []struct {
						name, password, store string
						can                   bool
					}{
						{ann, annSecret, "east", strings.HasPrefix(w.name, "CRAM")},
						{bob, bobSecret, "west", w.shows() || w.name == "CRAM-MD5" || w.name == "APOP"},
						{ann, "wrong secret", "", false},
						{bob, "wrong secret", "", false},
						{"nobody@example.org", "wrong secret", "", false},
					} {
						c := p.secureClient(t, protocol, nil)
						answer := c.prove(w, who.name, who.password)
						switch {
						case who.can && isOK(answer):
							c.finds(who.name, who.store)
						case who.can || answer != denied[protocol]:
							t.Errorf("%s %s of %s with %q: %q", protocol, w.name, who.name, who.password, answer)
						}
						_ = c.Close()
					}
				}
			}
		})
	}
}
