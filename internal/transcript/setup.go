package transcript

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"usher/internal/account"
	"usher/internal/auth"
	"usher/internal/backend"
	"usher/internal/limit"
	"usher/internal/listen"
	"usher/internal/login"
	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/session"
	"usher/internal/trace"
)

// A setup section has one setting a line. Without one: no TLS, cleartext logins
// allowed, the account ann with the password "secret" at the backend "east".
//
//	tls                              STARTTLS is offered
//	cleartext never|always
//	domain example.org               the listener's default domain
//	account NAME FIELD=VALUE …       instead of ann's default
//	anyone                           everybody is known, nobody proven
//	source down                      the account source answers with an error
//	backend NAME starttls|implicit|refuse|mechanism=M|master=NAME:PASSWORD|trusted|proxy=V …
//	local dovecot|courier|preauth    this machine has a program that speaks so: the backend "local"
//	mechanisms PLAIN …               what clients may use
//	nonce NONCE                      what challenges hold, every time
//	certified NAME                   under TLS a certificate has shown that the client is NAME
//	token TOKEN NAME                 an OAuth 2 token and whose it is
//	names lower                      capitals in names are small letters
//	full                             the account ann has as many sessions as it may
//	trusted                          the client is a trusted front end
//	front                            the client is a load balancer: it begins with a PROXY header
//	login_timeout 100ms
//	idle 100ms

// stage is everything that stands around one conversation.
type stage struct {
	addr     string
	log      *safeBuffer
	stop     func() // ends the listener and its conversations
	backends map[string]*scripted
	sessions *session.Registry
	relay    *relay.Goroutines

	desk     *login.Desk
	listener *listen.Listener
	service  *listen.Service
	auth     *auth.Auth
	accounts directory
	tokens   map[string]string // whose each is
	anyone   bool
	traces   *trace.Traces
	traced   string // the folder of the trace
	down     bool
}

// directory is the account source of a transcript.
type directory map[string]account.Fields

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

var errDown = errors.New("account source \"test\": connection refused")

func (s *stage) Lookup(_ context.Context, q account.Query) (*account.Account, error) {
	if s.down {
		return nil, errDown
	}
	if f, ok := s.accounts[q.Name]; ok {
		return f.Account(q.Name)
	}
	if s.anyone {
		return &account.Account{Name: q.Name}, nil
	}
	return nil, account.ErrUnknown
}

func setUp(t *testing.T, p login.Protocol, a *txtar.Archive) *stage {
	s := &stage{
		log: &safeBuffer{}, backends: map[string]*scripted{}, accounts: directory{},
		sessions: &session.Registry{}, relay: relay.NewGoroutines(),
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.auth = auth.New(s, "{PLAIN}decoy", 2)
	s.auth.Salt, s.auth.Tokens = []byte("the same in all transcripts"), s.whose
	s.desk = &login.Desk{
		Mechanisms: []sasl.Mechanism{sasl.Plain, sasl.Login},
		Towards:    all,
		Verifier: func(c *login.Client) sasl.Verifier {
			return s.auth.Verifier(account.Query{Protocol: p.Info().Name}, c.Terms.Domain)
		},
		Limits:   &limit.Limits{},
		Routes:   &route.Table{Ports: map[string]route.Ports{p.Info().Name: {Clear: 1, TLS: 1}}, Backends: map[string]route.Backend{}},
		Backends: backend.New(), Sessions: s.sessions, Relay: s.relay, Log: log,
	}
	s.listener = &listen.Listener{Log: log}
	s.service = &listen.Service{
		Protocol: p, Traces: s.trace(t), Desk: s.desk, Limits: s.desk.Limits, Refusals: &listen.Refusals{}, Log: log,
		Bounds: listen.Bounds{Command: time.Second},
		Terms:  login.Terms{Hostname: "usher", Cleartext: login.CleartextAlways},
	}
	for _, f := range a.Files {
		switch name, which, _ := strings.Cut(f.Name, " "); name {
		case "setup":
			s.configure(t, string(f.Data))
		case "backend":
			s.script(t, which, string(f.Data))
		}
	}
	if len(s.accounts) == 0 && !s.anyone {
		s.accounts["ann"] = account.Fields{"password": "{PLAIN}secret", "host": "east"}
	}
	s.serve(t)
	return s
}

func (s *stage) configure(t *testing.T, setup string) {
	for line := range strings.Lines(setup) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		words = append(words, "")
		switch words[0] {
		case "tls":
			s.service.Terms.TLS = listen.ServerConfig(&tls.Config{Certificates: []tls.Certificate{certificate()}, ClientAuth: tls.RequestClientCert}, s.service.Protocol)
		case "cleartext":
			s.service.Terms.Cleartext = map[string]login.Cleartext{"never": login.CleartextNever, "always": login.CleartextAlways}[words[1]]
		case "domain":
			s.service.Terms.Domain = words[1]
		case "account":
			s.accounts[words[1]] = fields(words[2:])
		case "anyone":
			s.anyone = true
		case "source":
			s.down = true
		case "backend":
			s.backend(t, words[1], words[2:])
		case "local":
			s.local(t, route.Dialect(words[1]))
		case "mechanisms":
			s.desk.Mechanisms = mechanisms(t, words[1:])
		case "nonce":
			s.service.Terms.Nonce = func() string { return words[1] }
		case "certified":
			s.service.Terms.Who = func([]*x509.Certificate) ([]string, error) { return words[1:2], nil }
		case "token":
			s.tokens = map[string]string{words[1]: words[2]}
		case "names":
			s.auth.Names.Letters = auth.LowerLetters
		case "full":
			s.desk.Limits.Set(limit.Bounds{SessionsPerUser: 1})
			if _, err := s.desk.Limits.Session("ann", netip.Addr{}); err != nil {
				t.Fatal(err)
			}
		case "trusted":
			s.service.Trusted = loopback
		case "front":
			s.service.Fronts = loopback
		case "login_timeout":
			s.service.Bounds.Login, _ = time.ParseDuration(words[1])
		case "idle":
			s.desk.Idle, _ = time.ParseDuration(words[1])
		default:
			t.Fatalf("setup: %q is no setting", line)
		}
	}
}

// mechanisms finds those with these names.
func mechanisms(t *testing.T, names []string) (list []sasl.Mechanism) {
	for _, name := range names {
		i := slices.IndexFunc(all, func(m sasl.Mechanism) bool { return m.Name == name })
		switch {
		case i >= 0:
			list = append(list, all[i])
		case name != "":
			t.Fatalf("setup: there is no mechanism %q", name)
		}
	}
	return list
}

// whose is the provider of tokens.
func (s *stage) whose(_ context.Context, token string) ([]string, time.Time, error) {
	if name, ok := s.tokens[token]; ok {
		return []string{name}, time.Time{}, nil
	}
	return nil, time.Time{}, &sasl.TokenRefusal{Scope: "mail", Err: fmt.Errorf("%w: this token is nobody's", account.ErrRefused)}
}

// fields reads FIELD=VALUE words; "+" stands for a blank.
func fields(words []string) account.Fields {
	f := account.Fields{}
	for _, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			f[name] = strings.ReplaceAll(value, "+", " ")
		}
	}
	return f
}

// backend makes a backend, which does nothing until it has a script.
func (s *stage) backend(t *testing.T, name string, options []string) *scripted {
	if b := s.backends[name]; b != nil {
		return b
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &scripted{name: name, ln: ln, done: make(chan struct{})}
	s.backends[name] = b
	addr := ln.Addr().String()
	settings := route.Backend{ConnectTimeout: time.Second, Timeout: 5 * time.Second, TLS: account.TLSNone, Config: trust()}
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		switch key {
		case "starttls":
			settings.TLS = account.TLSStart
		case "implicit":
			settings.TLS, b.implicit = account.TLSImplicit, true
		case "refuse":
			_ = ln.Close()
		case "mechanism":
			settings.Mechanism = value
		case "trusted":
			settings.Trusted = true
		case "proxy":
			settings.ProxyProtocol, _ = strconv.Atoi(value)
		case "master":
			settings.Master, settings.MasterPassword, _ = strings.Cut(value, ":")
		}
	}
	settings.Addrs = map[string][]string{"": {addr}}
	s.desk.Routes.Backends[name] = settings
	return b
}

// local makes a backend that takes the place of a program.
func (s *stage) local(t *testing.T, speaks route.Dialect) {
	b := s.backend(t, route.LocalName, nil)
	delete(s.desk.Routes.Backends, route.LocalName)
	protocol := s.service.Protocol.Info().Name
	s.desk.Routes.Local = &route.Local{
		Programs: map[string]route.Program{"default": {Name: "default", Speaks: speaks, Mail: map[string]string{protocol: protocol}}},
		Default:  "default", Timeout: 2 * time.Second, Is: func(host string) bool { return host == "here" },
	}
	s.desk.Backends.(*backend.Opener).Start = func(ctx context.Context, _ route.Stop) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", b.ln.Addr().String())
	}
}

// script adds a connection to a backend's script. $NAME in it is the address of
// the backend NAME.
func (s *stage) script(t *testing.T, name, text string) {
	b := s.backend(t, name, nil)
	b.scripts = append(b.scripts, text)
}

func (s *stage) serve(t *testing.T) {
	for name, b := range s.backends {
		for i, text := range b.scripts {
			for other, o := range s.backends {
				text = strings.ReplaceAll(text, "$"+other, o.ln.Addr().String())
			}
			b.scripts[i] = text
		}
		s.backends[name] = b
		go b.serve()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	s.listener.Use(s.service)
	s.listener.Net, s.addr = ln, ln.Addr().String()
	go func() { served <- s.listener.Serve(ctx, context.Background()) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("listener: %v", err)
		}
	})
	t.Cleanup(s.stop)
}

// finish holds what is left against the transcript.
func (s *stage) finish(t *testing.T, a *txtar.Archive) {
	s.stop()
	for _, b := range s.backends {
		b.finish(t)
	}
	s.checkTrace(t, a)
	for end := time.Now().Add(patience); s.sessions.Len() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a session is left over")
		}
	}
	for _, f := range a.Files {
		if f.Name != "log" {
			continue
		}
		for want := range strings.Lines(string(f.Data)) {
			if want = strings.TrimSpace(want); !strings.Contains(s.log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, s.log.String())
			}
		}
	}
	if strings.Contains(s.log.String(), "secret") {
		t.Errorf("the log shows a password:\n%s", s.log.String())
	}
}

// scripted is a backend that follows transcripts, one for each connection.
type scripted struct {
	name     string
	ln       net.Listener
	implicit bool
	scripts  []string
	played   int
	err      error
	done     chan struct{}
}

func (b *scripted) serve() {
	defer close(b.done)
	for _, text := range b.scripts {
		nc, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.played++
		if b.err = b.play(nc, text); b.err != nil {
			return
		}
	}
}

func (b *scripted) play(nc net.Conn, text string) error {
	p := &party{conn: nc, in: bufio.NewReader(nc), says: "S", tls: func(nc net.Conn) *tls.Conn {
		return tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	}}
	defer func() { p.close() }()
	if b.implicit {
		text = "TLS\n" + text
	}
	for line := range strings.SplitSeq(text, "\n") {
		if _, err := p.play(line); err != nil {
			return err
		}
	}
	return nil
}

func (b *scripted) finish(t *testing.T) {
	_ = b.ln.Close()
	<-b.done
	if b.err != nil {
		t.Errorf("backend %s, connection %d: %v", b.name, b.played, b.err)
	}
	if b.played < len(b.scripts) {
		t.Errorf("backend %s was connected to %d times, want %d", b.name, b.played, len(b.scripts))
	}
}

// certificate is for 127.0.0.1, made once.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

// trust is a configuration that trusts the certificate.
func trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(certificate().Leaf)
	return &tls.Config{RootCAs: pool}
}

// safeBuffer is a log that is written and read by many.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
