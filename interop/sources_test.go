package interop

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"usher/internal/courier"
)

// Ann is in Courier's userdb, and so led to her server (P000-5). Bob is known to a
// service that was written for nginx. Neither source has anything to say of the other.
func TestAccountsOfCourierAndOfAnHTTPService(t *testing.T) {
	t.Parallel()
	_, _, backends := twoStores(t)
	sum := sha1.Sum([]byte(annSecret))
	d := courier.Start(t, courier.Options{
		Modules: []string{"authuserdb"},
		Userdb:  map[string]string{ann: "uid=1000|gid=1000|home=/home/ann|options=mailhost=east|systempw={SHA}" + base64.StdEncoding.EncodeToString(sum[:])},
	})
	p := start(t, setup{config: quick + backends + fmt.Sprintf(`
[[accounts]]
type   = "authdaemon"
socket = %q

[[accounts]]
type = "http"
url  = ["http://%s/auth"]
`, d.Socket, mailAuth(t))})
	for _, protocol := range protocols {
		p.visit(t, protocol, ann, annSecret, "east")
		p.visit(t, protocol, bob, bobSecret, "west")
		for _, name := range []string{ann, bob, "eve@example.org"} {
			if answer := p.client(t, protocol, "implicit").login(name, "a wrong secret"); answer != denied[protocol] {
				t.Errorf("%s %s with a wrong password: %q", protocol, name, answer)
			}
		}
	}
	if !strings.Contains(p.logText(), `the service says \"Invalid login or password\"`) {
		t.Error("the log does not have the words of the service")
	}

	d.Stop() // Bob may be Ann's namesake there: who cannot be asked has not said no
	for _, protocol := range protocols {
		p.visit(t, protocol, ann, annSecret, "east") // whom authdaemond has let in before
		for name, secret := range map[string]string{ann: "a wrong secret", bob: bobSecret} {
			if answer := p.client(t, protocol, "implicit").login(name, secret); !strings.Contains(answer, "UNAVAILABLE") && !strings.Contains(answer, "SYS/TEMP") {
				t.Errorf("%s %s without authdaemond: %q", protocol, name, answer)
			}
		}
	}
	d.Restart()
	p.eventually("ann gets in again", func() bool {
		return strings.HasPrefix(p.client(t, "imap", "implicit").login(ann, annSecret), "a OK")
	})
}

// mailAuth is a service that knows bob.
func mailAuth(t *testing.T) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Auth-Status", "Invalid login or password")
		password, _ := url.PathUnescape(r.Header.Get("Auth-Pass"))
		if r.Header.Get("Auth-User") == bob && password == bobSecret && r.Header.Get("Client-IP") == "127.0.0.1" && r.Header.Get("Auth-SSL") == "on" {
			w.Header().Set("Auth-Status", "OK")
			w.Header().Set("Auth-Server", "west")
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}
