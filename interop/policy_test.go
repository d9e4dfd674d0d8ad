package interop

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// A bouncer is a policy service of the organisation. weakforced would be one; it is in
// no distribution that the tests have.
type bouncer struct {
	*httptest.Server
	mu     sync.Mutex
	says   map[string][]string // by name: to the first allow, to the next …; the last one stays
	status int                 // of HTTP
	heard  []map[string]any
}

func newBouncer(t *testing.T) *bouncer {
	b := &bouncer{says: map[string][]string{}, status: http.StatusOK}
	b.Server = httptest.NewServer(http.HandlerFunc(b.decide))
	t.Cleanup(b.Close)
	return b
}

func (b *bouncer) decide(w http.ResponseWriter, r *http.Request) {
	said := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&said); err != nil || r.Header.Get("Authorization") != "Basic d2ZvcmNlOnNlY3JldA==" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	said["command"] = r.URL.Query().Get("command")
	b.heard = append(b.heard, said)
	answer, name := `{"status":0,"msg":""}`, fmt.Sprint(said["login"])
	if all := b.says[name]; len(all) > 0 && said["command"] == "allow" {
		answer = all[0]
		if len(all) > 1 {
			b.says[name] = all[1:]
		}
	}
	w.WriteHeader(b.status)
	_, _ = io.WriteString(w, answer)
}

// on has it say this about a name, and forget what it has heard.
func (b *bouncer) on(name string, says ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.says[name], b.heard = says, nil
}

// told are the commands and outcomes that it has heard, when there are so many.
func (b *bouncer) told(p *proxy, n int) (list []string) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("the service hears %d things", n), func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		list = nil
		for _, h := range b.heard {
			list = append(list, strings.TrimSuffix(fmt.Sprint(h["command"], " ", h["success"], " ", h["policy_reject"], " ", h["fail_type"]), " <nil> <nil> <nil>"))
		}
		return len(list) >= n
	})
	return list
}

// asked is the [auth.policy] for it.
func (b *bouncer) asked(t *testing.T, more string) string {
	header := filepath.Join(t.TempDir(), "header")
	write(t, header, "Authorization: Basic d2ZvcmNlOnNlY3JldA==\n")
	return fmt.Sprintf("[auth.policy]\nurl = %q\napi_header_file = %q\nhash_nonce = \"0123456789abcdef\"\n%s\n", b.URL, header, more)
}

func TestAPolicyServiceHasASay(t *testing.T) {
	t.Parallel()
	_, _, backends := twoStores(t)
	b := newBouncer(t)
	p := start(t, setup{
		config:   "[limit]\nfailure_delay = \"50ms\"\nexempt = [\"127.0.0.1\"]\n" + backends + b.asked(t, ""),
		accounts: []account{checked(ann, annSecret, "east"), unchecked(bob, "west")},
	})
	const yes, no = `{"status":0}`, `{"status":-1,"msg":"not from there"}`
	for _, protocol := range protocols {
		for _, user := range []string{ann, bob} { // usher knows the password of one, the backend that of the other
			password := map[string]string{ann: annSecret, bob: bobSecret}[user]
			for _, c := range []struct {
				what, password string
				says, told     []string
				in             bool
			}{
				{"a right password", password, []string{yes}, []string{"allow", "allow", "report true false "}, true},
				{"a wrong password", "wrong secret", []string{yes}, []string{"allow", "report false false credentials"}, false},
				{"refused before", password, []string{no}, []string{"allow", "report false true policy"}, false},
				{"refused after", password, []string{yes, no}, []string{"allow", "allow", "report false true policy"}, false},
			} {
				b.on(user, c.says...)
				answer, _ := p.answered(t, protocol, user, c.password)
				if isOK(answer) != c.in || !c.in && answer != denied[protocol] {
					t.Errorf("%s, %s of %s: %q", protocol, c.what, user, answer)
				}
				if got := b.told(p, len(c.told)); fmt.Sprint(got) != fmt.Sprint(c.told) {
					t.Errorf("%s, %s of %s: it hears %q, want %q", protocol, c.what, user, got, c.told)
				}
			}
			b.on(user, `{"status":1}`)
			if answer, took := p.answered(t, protocol, user, password); !isOK(answer) || took < time.Second {
				t.Errorf("%s: %s is to wait for a second, and after %v it hears %q", protocol, user, took, answer)
			}
			b.told(p, 3)
		}
	}
	if text := p.logText(); !strings.Contains(text, `why="refused by policy"`) || !strings.Contains(text, "not from there") {
		t.Error("the log does not say who refuses, and why")
	}
	p.staysUsableWithout(t, b)
}

// staysUsableWithout has the service fail in several ways.
func (p *proxy) staysUsableWithout(t *testing.T, b *bouncer) {
	t.Helper()
	b.mu.Lock()
	b.status = http.StatusInternalServerError
	b.mu.Unlock()
	p.serves(t, ann, annSecret, "east")
	b.Close()
	for range 5 {
		p.serves(t, ann, annSecret, "east")
	}
}

func TestWithoutItsPolicyServiceNobodyGetsInIfItMustBeAsked(t *testing.T) {
	s := newStore(t, "east", dovecot.Options{})
	b := newBouncer(t)
	p := start(t, setup{
		config:   quick + store("east", s, "starttls") + b.asked(t, "reject_on_fail = true\ntimeout = \"500ms\""),
		accounts: []account{checked(ann, annSecret, "east")},
	})
	p.serves(t, ann, annSecret, "east")
	b.Close()
	for _, protocol := range protocols {
		for range 3 {
			if answer, _ := p.answered(t, protocol, ann, annSecret); !strings.Contains(answer, "[UNAVAILABLE]") && !strings.Contains(answer, "[SYS/TEMP]") {
				t.Errorf("ann hears %q", answer)
			}
		}
	}
	if n := strings.Count(p.logText(), "the policy service has not answered"); n != 1 {
		t.Errorf("the log says %d times that the service is down", n)
	}
}

// CRAM shows no password; that of the account is known when it was right.
func TestAPolicyServiceHearsOfThoseWhoShowNoPassword(t *testing.T) {
	t.Parallel()
	s := newStore(t, "east", dovecot.Options{})
	b := newBouncer(t)
	p := start(t, setup{
		config:   "[auth]\nmechanisms = [\"PLAIN\", \"CRAM-MD5\"]\n" + quick + store("east", s, "starttls") + b.asked(t, ""),
		accounts: []account{checked(ann, annSecret, "east")},
	})
	p.visit(t, "imap", ann, annSecret, "east")
	c := p.client(t, "imap", "implicit")
	c.send("a AUTHENTICATE CRAM-MD5")
	challenge, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.line(), "+ "))
	mac := hmac.New(md5.New, []byte(annSecret))
	mac.Write(challenge)
	if answer := c.ask("%s", base64.StdEncoding.EncodeToString([]byte(ann+" "+hex.EncodeToString(mac.Sum(nil))))); !strings.Contains(answer, "OK") {
		t.Fatal(answer)
	}
	b.told(p, 6)
	b.mu.Lock()
	defer b.mu.Unlock()
	if shown, none, known := b.heard[0]["pwhash"], b.heard[3]["pwhash"], b.heard[4]["pwhash"]; none == shown || known != shown {
		t.Errorf("PLAIN: %v, CRAM: %v and then %v", shown, none, known)
	}
}
