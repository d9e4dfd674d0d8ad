package authhttp

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"usher/internal/account"
	"usher/internal/account/accounttest"
	"usher/internal/dovecot"
)

func ann(password string) account.Query {
	return account.Query{Name: "ann@example.org", Password: password, Protocol: "imap", Remote: netip.MustParseAddrPort("192.0.2.7:5000")}
}

func TestAServiceForNginxIsASource(t *testing.T) {
	t.Parallel()
	p := startService(t)
	accounttest.RunSource(t, open(t, fmt.Sprintf("url = ['http://%s/auth']", p.addr)), accounttest.World{
		User: "ann@example.org", Password: "secret", Unknown: "eve@example.org", Shown: true, Freeze: p.freeze, Stop: p.outage,
	})
}

func TestAServiceBehindTLSIsASource(t *testing.T) {
	t.Parallel()
	cert, key, ca := dovecot.Certificate(t, "127.0.0.1")
	p := startService(t, "USHER_TEST_CERT="+cert, "USHER_TEST_KEY="+key)
	accounttest.RunSource(t, open(t, fmt.Sprintf("url = ['https://%s/auth']\nca = '%s'", p.addr, ca)), accounttest.World{
		User: "bob", Password: users["bob"], Unknown: "eve@example.org", Shown: true, Freeze: p.freeze, Stop: p.outage,
	})
}

func TestTheAnswerSaysWhereTheMailIs(t *testing.T) {
	t.Parallel()
	p := startService(t)
	src := open(t, fmt.Sprintf("url = ['%s/auth']", p.addr)) // as nginx has it, without http://
	q := ann("secret")
	q.Protocol = "pop3"
	rec, err := src.Ask(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	want := account.Record{Proven: true, Fields: account.Fields{"host": "10.0.0.7", "port": "110", "destuser": "u-ann@example.org", "pass": "secret"}}
	if diff := cmp.Diff(want, rec); diff != "" {
		t.Error(diff)
	}
}

// The vector of RFC 2195 §2, and that of RFC 1939 §7.
func TestAChallengeIsAnsweredThroughTheService(t *testing.T) {
	t.Parallel()
	addr := rawService(t, func(head string) string {
		for _, right := range []string{
			"Auth-Method: cram-md5\r\nAuth-Pass: b913a602c7eda7a495b4e6e7334d3890\r\nAuth-Protocol: imap\r\nAuth-Salt: <1896.697170952@postoffice.reston.mci.net>\r\nAuth-User: tim\r\n",
			"Auth-Method: apop\r\nAuth-Pass: c4c9334bac560ecc979e58001b3e22fb\r\nAuth-Protocol: pop3\r\nAuth-Salt: <1896.697170952@dbc.mtview.ca.us>\r\nAuth-User: mrose\r\n",
		} {
			if strings.Contains(head, right) {
				return reply("200 OK", "Auth-Status: OK", "Auth-Server: 10.0.0.7", "Auth-Port: 143", "Auth-Pass: tanstaaf")
			}
		}
		return reply("200 OK", "Auth-Status: no")
	})
	r := account.Reader{Source: open(t, fmt.Sprintf("url = ['http://%s']", addr))}
	cram := account.Query{Name: "tim", Protocol: "imap", Answer: &account.Answer{Method: "cram-md5", Challenge: "<1896.697170952@postoffice.reston.mci.net>", Response: "tim b913a602c7eda7a495b4e6e7334d3890"}}
	apop := account.Query{Name: "mrose", Protocol: "pop3", Answer: &account.Answer{Method: "apop", Challenge: "<1896.697170952@dbc.mtview.ca.us>", Response: "c4c9334bac560ecc979e58001b3e22fb"}}
	for _, q := range []account.Query{cram, apop} {
		a, err := r.Lookup(t.Context(), q)
		if err != nil || a.Place.Password != "tanstaaf" || a.Proof == nil {
			t.Errorf("%s: %+v, %v", q.Answer.Method, a, err)
		}
		wrong := *q.Answer
		wrong.Response += "0"
		q.Answer = &wrong
		if _, err := r.Lookup(t.Context(), q); !errors.Is(err, account.ErrRefused) {
			t.Errorf("a wrong answer by %s: %v", q.Answer.Method, err)
		}
	}
	cram.Answer = &account.Answer{Method: "cram-sha256", Challenge: "<1@x>", Response: "tim 00"}
	if _, err := r.Lookup(t.Context(), cram); err == nil || errors.Is(err, account.ErrRefused) || errors.Is(err, account.ErrUnknown) {
		t.Errorf("a mechanism that nginx does not have: %v", err)
	}
}

func TestWithoutAPasswordTheErrorSaysThatOneIsNeeded(t *testing.T) {
	t.Parallel()
	_, err := open(t, "url = ['http://127.0.0.1:1']").Ask(t.Context(), ann(""))
	if err == nil || !strings.Contains(err.Error(), "together with a password") {
		t.Error(err)
	}
}

func TestWhatRefusesAndWhatCannotTell(t *testing.T) {
	t.Parallel()
	refused, cannotTell := "refused", "cannot tell"
	for answer, want := range map[string]string{
		reply("200 OK", "Auth-Status: Invalid login", "Auth-Wait: 3"):            refused,
		reply("401 Unauthorized", "Auth-Status: Invalid login"):                  refused,
		reply("403 Forbidden", "auth-status:   ok"):                              refused, // nginx: OK is in capitals
		reply("204 No Content", "Auth-Status: OK", "Auth-Server: 10.0.0.7"):      "",
		reply("200 OK", "AUTH-STATUS:OK"):                                        "",
		reply("200 OK"):                                                          cannotTell,
		reply("204 No Content"):                                                  cannotTell,
		reply("200 OK", "Auth-Status:"):                                          cannotTell,
		reply("200 OK", "Auth-Server: 10.0.0.7", "Auth-Port: 143"):               cannotTell, // nginx lets in
		reply("200 OK", "Auth-Status: OK", "Auth-Status: OK"):                    cannotTell,
		reply("200 OK", "Auth-Status: OK", "Auth-Server: a", "Auth-Server: b"):   cannotTell,
		reply("200 OK", "Auth-Status: OK", "Auth-Server: a", "Auth-Port: imap"):  cannotTell,
		reply("200 OK", "Auth-Status: OK", "Nopassword: Y", "Auth-Pass: master"): cannotTell, // it would let anybody in
		reply("302 Found", "Auth-Status: OK", "Location: http://127.0.0.1:1/"):   cannotTell,
		reply("401 Unauthorized"):                                                cannotTell,
		reply("404 Not Found", "Auth-Status: OK"):                                cannotTell,
		reply("500 Oops", "Auth-Status: Invalid login"):                          cannotTell,
		reply("503 Busy"): cannotTell,
		reply("200 OK", "Auth-Status: OK", "X: "+strings.Repeat("x", 80<<10)):         cannotTell,
		reply("200 OK", "Auth-Status: OK", strings.Repeat("X: y\r\n", 20<<10)+"A: b"): cannotTell,
		reply("200 OK", "Auth-Status: WAIT", "Auth-Wait: 3600"):                       cannotTell,
		reply("200 OK", "Auth-Status: OK", "a line without a colon \x1b[2J"):          cannotTell,
		"Auth-Status: OK\r\n\r\n":          cannotTell,
		"SSH-2.0-OpenSSH_9.2\r\n":          cannotTell,
		strings.Repeat("\x1b[2J", 100<<10): cannotTell,
		"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nAuth-Status: OK\r\n\r\nunfinished": "",
		"": cannotTell,
	} {
		addr := rawService(t, func(string) string { return answer })
		r := account.Reader{Name: "web", Source: open(t, fmt.Sprintf("url = ['http://%s']", addr))}
		_, err := r.Lookup(t.Context(), ann("secret"))
		got := ""
		switch {
		case errors.Is(err, account.ErrRefused):
			got = refused
		case err != nil && !errors.Is(err, account.ErrUnknown):
			got = cannotTell
		}
		if got != want {
			t.Errorf("%.100q: %q, want %q (%v)", answer, got, want, err)
		}
		if err != nil && (len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\x1b")) {
			t.Errorf("%.100q: the error is %d bytes long, or has control characters", answer, len(err.Error()))
		}
	}
}

func TestHeadersSayWhatTheAccountIs(t *testing.T) {
	t.Parallel()
	f, err := fields(http.Header{
		"Date": {"today"}, "Server": {"Apache"}, "Host": {"evil"}, "Content-Type": {"text/html"}, "Auth-Status": {"OK"}, "Auth-Cache-Alias": {"FALSE"},
		"Auth-Server": {"10.0.0.7"}, "Mailhost": {"imap1"}, "Usher-Host": {"imap1,imap2"},
		"Auth-Port": {"143"}, "Starttls": {"any-cert"}, "Proxy_maybe": {"Y"}, "Allow-Nets": {"192.0.2.0/24"}, "Disablepop3": {"1"},
		"Usher-Forward-Site": {"north"}, "Usher-Quota": {"1G"}, "Password": {"{PLAIN}x"}, "X-Powered-By": {"PHP"}, "Usher-": {"x"},
	})
	want := account.Fields{
		"host": "imap1,imap2", "port": "143", "starttls": "any-cert", "proxy_maybe": "Y", "allow_nets": "192.0.2.0/24", "disablepop3": "1",
		"forward_site": "north", "quota": "1G",
	}
	if diff := cmp.Diff(want, f); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAServiceMayLeaveTheCheckToTheServer(t *testing.T) {
	t.Parallel()
	addr := rawService(t, func(string) string {
		return reply("200 OK", "Auth-Status: OK", "Auth-Server: 10.0.0.7", "Nopassword: Y")
	})
	r := account.Reader{Source: open(t, fmt.Sprintf("url = ['http://%s']", addr))}
	if a, err := r.Lookup(t.Context(), ann("anything")); err != nil || a.Proof != nil {
		t.Errorf("%+v, %v: want an account without a proof", a, err)
	}
}

func TestAServiceThatWantsToBeAskedAgainIs(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	addr := rawService(t, func(string) string {
		if asked.Add(1) < 3 {
			return reply("200 OK", "Auth-Status: WAIT", "Auth-Wait: 0")
		}
		return reply("200 OK", "Auth-Status: OK", "Auth-Server: 10.0.0.7")
	})
	src := open(t, fmt.Sprintf("url = ['http://%s']\ntimeout = '30s'", addr))
	began := time.Now()
	if _, err := src.Ask(t.Context(), ann("secret")); err != nil || asked.Load() != 3 {
		t.Errorf("asked %d times, %v", asked.Load(), err)
	}
	if time.Since(began) < 2*leastPause {
		t.Errorf("it was asked three times in %v", time.Since(began))
	}
}

func TestTheReasonIsForTheLogOnly(t *testing.T) {
	t.Parallel()
	addr := rawService(t, func(string) string {
		return reply("200 OK", "Auth-Status: no such user", "Auth-Wait: 3600")
	})
	_, err := open(t, fmt.Sprintf("url = ['http://%s']", addr)).Ask(t.Context(), ann("secret"))
	if _, told := errors.AsType[account.Refusal](err); told || !strings.Contains(err.Error(), `"no such user", and to wait 1m0s`) {
		t.Errorf("without show_reason: %v", err)
	}
	_, err = open(t, fmt.Sprintf("url = ['http://%s']\nshow_reason = true", addr)).Ask(t.Context(), ann("secret"))
	if r, _ := errors.AsType[account.Refusal](err); r.Text != "no such user" || !errors.Is(err, account.ErrRefused) {
		t.Errorf("with show_reason: %v", err)
	}
}

// A stranger must not be able to take a service away from everybody else.
func TestAQuestionThatBreaksAServiceDoesNotTakeItAway(t *testing.T) {
	t.Parallel()
	addr := rawService(t, func(head string) string {
		switch {
		case strings.Contains(head, "Auth-Pass: boom\r\n"):
			return reply("500 Internal Server Error")
		case strings.Contains(head, "Auth-User: ann@example.org\r\nClient-IP: 192.0.2.7\r\n"):
			return reply("200 OK", "Auth-Status: OK", "Auth-Server: 10.0.0.7")
		}
		return reply("200 OK", "Auth-Status: no")
	})
	src := open(t, fmt.Sprintf("url = ['http://%s']", addr))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := src.Ask(t.Context(), ann("boom")); err == nil || errors.Is(err, account.ErrRefused) {
				t.Errorf("a question that it cannot answer: %v", err)
			}
			if _, err := src.Ask(t.Context(), ann("secret")); err != nil {
				t.Errorf("another one: %v", err)
			}
		})
	}
	all.Wait()
	if h := src.Health()[0]; h.Err != nil {
		t.Errorf("the service is left out: %v", h.Err)
	}
}

func TestAServiceThatFailsIsLeftForTheNext(t *testing.T) {
	t.Parallel()
	p, frozen := startService(t), startService(t)
	thaw := frozen.freeze(t)
	t.Cleanup(thaw)
	var gateway atomic.Int32
	bad := rawService(t, func(string) string { gateway.Add(1); return reply("502 Bad Gateway") })
	for _, first := range []string{"http://" + bad, "http://" + freeAddr(t), "http://" + frozen.addr, "unix:/nowhere:/auth"} {
		src := open(t, fmt.Sprintf("timeout = '2s'\nurl = ['%s', 'http://%s/auth']", first, p.addr))
		for range 5 {
			if _, err := src.Ask(t.Context(), ann("secret")); err != nil {
				t.Errorf("%s: %v", first, err)
			}
		}
		if src.Health()[0].Err == nil {
			t.Errorf("%s is said to be well", first)
		}
	}
}

func TestASocketOfThisMachine(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(mailAuth)}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	src := open(t, fmt.Sprintf("url = ['unix:%s:/auth']", socket))
	if _, err := src.Ask(t.Context(), ann("secret")); err != nil {
		t.Error(err)
	}
	if src.Notes() != nil {
		t.Errorf("%q", src.Notes())
	}
}

func TestConnectionsAreKeptAndBounded(t *testing.T) {
	t.Parallel()
	var opened, now, most, all atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(10 * time.Millisecond)
			w.Header().Set("Auth-Status", "OK")
			fmt.Fprintf(w, "%1000d", 0) // PHP says something mostly
			w.(http.Flusher).Flush()
			all.Add(1)
		}),
		ConnState: func(_ net.Conn, st http.ConnState) {
			if st == http.StateNew {
				opened.Add(1)
			}
		},
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	src := open(t, fmt.Sprintf("url = ['http://%s']\npool = 4", l.Addr()))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 5 {
				if _, err := src.Ask(t.Context(), ann("secret")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if opened.Load() > 4 || most.Load() > 4 || all.Load() != 100 {
		t.Errorf("%d connections, %d requests at once, %d in all", opened.Load(), most.Load(), all.Load())
	}
}

// nginx looks at nothing but the headers; what a slow body says is no reason to wait.
func TestAnEndlessBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Auth-Status", "OK")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	src := open(t, fmt.Sprintf("url = ['http://%s']\ntimeout = '1m'", l.Addr()))
	began := time.Now()
	if _, err := src.Ask(t.Context(), ann("secret")); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestOnlyTheRightCertificateHearsPasswords(t *testing.T) {
	t.Parallel()
	cert, key, ca := dovecot.Certificate(t, "auth.example.org", "127.0.0.1")
	named := startService(t, "USHER_TEST_CERT="+cert, "USHER_TEST_KEY="+key)
	otherCert, otherKey, _ := dovecot.Certificate(t, "127.0.0.1")
	other := startService(t, "USHER_TEST_CERT="+otherCert, "USHER_TEST_KEY="+otherKey)
	clear := startService(t)
	_, port, _ := net.SplitHostPort(named.addr)
	for url, hint := range map[string]string{
		"https://" + named.addr:     "",
		"https://" + other.addr:     "name its authority with the key ca",
		"https://localhost:" + port: "use the name in its certificate",
		"https://" + clear.addr:     "it does not speak TLS there",
		"http://" + named.addr:      "HTTP status 400",
	} {
		src := open(t, fmt.Sprintf("url = ['%s']\nca = '%s'", url, ca))
		_, err := src.Ask(t.Context(), ann("secret"))
		if (err == nil) != (hint == "") || err != nil && (!strings.Contains(err.Error(), hint) || errors.Is(err, account.ErrRefused)) {
			t.Errorf("%s: %v, want %q", url, err, hint)
		}
	}
}

func TestAServiceMayAskForACertificateAndGetsTheRenewedOne(t *testing.T) {
	t.Parallel()
	cert, key, ca := dovecot.Certificate(t, "127.0.0.1")
	p := startService(t, "USHER_TEST_CERT="+cert, "USHER_TEST_KEY="+key, "USHER_TEST_CLIENT_CA="+ca)
	without := open(t, fmt.Sprintf("url = ['https://%s']\nca = '%s'", p.addr, ca))
	if _, err := without.Ask(t.Context(), ann("secret")); err == nil {
		t.Error("it answers without a certificate")
	}
	// It begins with a certificate of another authority.
	wrongCert, wrongKey, _ := dovecot.Certificate(t, "127.0.0.1")
	mine := filepath.Join(t.TempDir(), "mine")
	put := func(cert, key string) {
		for from, to := range map[string]string{cert: mine + ".pem", key: mine + ".key"} {
			b, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put(wrongCert, wrongKey)
	src := open(t, fmt.Sprintf("url = ['https://%s']\nca = '%s'\ncert = '%[3]s.pem'\nkey = '%[3]s.key'", p.addr, ca, mine))
	if _, err := src.Ask(t.Context(), ann("secret")); err == nil {
		t.Error("it answers with a certificate of somebody else")
	}
	put(cert, key)
	for range 100 {
		if _, err := src.Ask(t.Context(), ann("secret")); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the renewed certificate is not used")
}

func TestHeadersOfTheConfigurationAreSent(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	addr := rawService(t, func(head string) string {
		heads <- head
		return reply("200 OK", "Auth-Status: OK")
	})
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("X-auth-KEY: k3y\nAuthorization: Bearer x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	src := open(t, fmt.Sprintf("url = ['http://%s/?a=b']\nheader = { Host = 'mail', Auth-Port = '143', User-Agent = 'nginx' }\nsecret_header_file = '%s'", addr, file))
	if _, err := src.Ask(t.Context(), ann("secret")); err != nil {
		t.Fatal(err)
	}
	head := <-heads
	for _, line := range []string{"GET /?a=b HTTP/1.1\r\n", "Host: mail\r\n", "Auth-Port: 143\r\n", "X-auth-KEY: k3y\r\n", "Authorization: Bearer x\r\n", "User-Agent: nginx\r\n"} {
		if !strings.Contains(head, line) {
			t.Errorf("%q is not in\n%s", line, head)
		}
	}
}

func TestMistakesInTheKeysAreNamed(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		"":                                    "is missing",
		"url = []":                            "no service is named",
		"url = ['ftp://host/']":               `url "ftp://host/": it is not like`,
		"url = ['http://']":                   "it is not like",
		"url = ['http://u:hunter2@[bad/']":    "cannot be read as a URL",
		"url = ['h']\nheader = {'A b' = 'c'}": "no name of a header",
		"url = ['h']\nheader = {Auth-Pass = 'hunter2'}":       "usher sends it itself",
		"url = ['h']\nheader = {A = \"b\\nhunter2\"}":         "control characters",
		"url = ['h']\nsecret_header = 'hunter2'":              "",
		"url = ['h']\nsecret_header = 'hunter2\"'":            "no name of a header",
		"url = ['h']\nheader = {A='x'}\nsecret_header='A: y'": "given twice",
		"url = ['h']\ncert = 'x'":                             "one is given without the other",
		"url = ['h']\nca = '/nowhere'":                        "ca: open /nowhere",
		"url = ['h']\nca = '/dev/null'":                       "no certificate in",
		"url = ['h']\ncert = '/dev/null'\nkey = '/dev/null'":  "cert and key:",
		"url = ['h']\nurls = ['h']":                           "unknown key",
	} {
		src, err := tryOpen(keys)
		if err == nil {
			src.Close()
		}
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") && !strings.Contains(keys, "hunter2\"'") {
			t.Errorf("%s: %v, want %q", keys, err, want)
		}
	}
}

func TestPasswordsInClearAreNoted(t *testing.T) {
	t.Parallel()
	src := open(t, "url = ['http://auth.example.org', 'http://localhost:8', 'http://[::1]:8', 'https://auth.example.org']")
	if n := src.Notes(); len(n) != 1 || !strings.Contains(n[0], "http://auth.example.org/: passwords go there in clear") {
		t.Errorf("%q", n)
	}
}

func TestExplainShowsTheQuestionWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	p := startService(t)
	q := ann("secret")
	q.Trace, q.TLS = &account.Trace{}, true
	r := account.Reader{Name: "web", Source: open(t, fmt.Sprintf("url = ['http://u:hunter2@%s/auth?key=hunter2']\nsecret_header = 'X-Key: hunter2'", p.addr))}
	if _, err := r.Lookup(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	want := []account.Question{{
		Server: "http://" + p.addr + "/auth",
		Text:   "GET http://" + p.addr + "/auth\nAuth-Method: plain\nAuth-User: ann@example.org\nAuth-Protocol: imap\nClient-IP: 192.0.2.7\nAuth-SSL: on",
	}}
	if diff := cmp.Diff(want, q.Trace.Steps[0].Asked); diff != "" {
		t.Error(diff)
	}
}

func TestALookSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	p := startService(t)
	anybody := rawService(t, func(string) string { return reply("200 OK", "Auth-Status: OK") })
	webpage := rawService(t, func(string) string { return reply("200 OK") })
	dead := freeAddr(t)
	found := map[string]string{}
	src := open(t, fmt.Sprintf("url = ['http://%s', 'http://%s', 'http://%s', 'http://%s']", p.addr, anybody, webpage, dead))
	src.Examine(t.Context(), func(what string, err error) { found[what] = fmt.Sprint(err) })
	for addr, want := range map[string]string{p.addr: "<nil>", anybody: "with any password", webpage: "0 headers Auth-Status", dead: "start the service"} {
		if got := found["http://"+addr+"/"]; !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if len(found) != 4 {
		t.Error(maps.Keys(found))
	}
}
