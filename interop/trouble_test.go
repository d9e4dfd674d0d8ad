package interop

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"usher/internal/dovecot"
)

// The tests of this file end with a login that must be refused as unavailable:
// a client that hears "wrong password" asks its user for another one.

// refusedWithin fails the test unless ann is told in time to try again later.
func (p *proxy) refusedWithin(t *testing.T, most time.Duration) {
	t.Helper()
	for _, protocol := range protocols {
		c := p.client(t, protocol, "implicit")
		began := time.Now()
		if answer := c.login(ann, annSecret); answer != unavailable[protocol] {
			t.Errorf("%s: got %q, want %q", protocol, answer, unavailable[protocol])
		}
		if took := time.Since(began); took > most {
			t.Errorf("%s: the answer took %v", protocol, took)
		}
	}
}

// serves fails the test unless the login works, for both protocols.
func (p *proxy) serves(t *testing.T, user, password, store string) {
	t.Helper()
	for _, protocol := range protocols {
		p.visit(t, protocol, user, password, store)
	}
}

func TestBackendStopped(t *testing.T) {
	for _, tls := range securities {
		t.Run("with TLS "+tls, func(t *testing.T) {
			east, west := newStore(t, "east", dovecot.Options{}), newStore(t, "west", dovecot.Options{})
			p := start(t, setup{config: store("east", east, tls) + store("west", west, tls), accounts: usersOfTwo()})
			p.serves(t, ann, annSecret, "east")
			east.Stop()
			p.refusedWithin(t, 5*time.Second)
			p.serves(t, bob, bobSecret, "west")
			east.Restart()
			p.serves(t, ann, annSecret, "east")
		})
	}
}

func TestBackendListGoesOnToTheNext(t *testing.T) {
	east, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: []account{checked(ann, annSecret, "east,west"), unchecked(bob, "east, west")}})
	p.serves(t, ann, annSecret, "east")
	east.Stop()
	p.serves(t, ann, annSecret, "west")
	p.serves(t, bob, bobSecret, "west")
	p.serves(t, ann, annSecret, "west") // known to be sick by now
}

func TestBackendPaused(t *testing.T) {
	east, west := newStore(t, "east", dovecot.Options{}), newStore(t, "west", dovecot.Options{})
	p := start(t, setup{
		config:   store("east", east, "starttls", `timeout = "2s"`) + store("west", west, "starttls", `timeout = "2s"`),
		accounts: usersOfTwo(),
	})
	open := p.client(t, "imap", "none")
	open.enter(bob, bobSecret)
	east.Pause()
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		p.refusedWithin(t, 3*time.Second)
	}()
	for ended := false; !ended; {
		began := time.Now()
		p.serves(t, bob, bobSecret, "west")
		open.finds(bob, "west")
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("others waited %v", took)
		}
		select {
		case <-waiting:
			ended = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	east.Resume()
	p.serves(t, ann, annSecret, "east")
}

// A paused server accepts connections and says nothing: whoever waits for it all
// the time there is never gets to the next one.
func TestBackendListGoesOnWhenOneHangs(t *testing.T) {
	east, west := newStore(t, "east", dovecot.Options{}), newStore(t, "west", dovecot.Options{})
	p := start(t, setup{
		config:   store("east", east, "none", `timeout = "4s"`) + store("west", west, "none", `timeout = "4s"`),
		accounts: []account{checked(ann, annSecret, "east,west")},
	})
	east.Pause()
	c := p.client(t, "imap", "none")
	if answer := c.login(ann, annSecret); !isOK(answer) {
		t.Errorf("the first login: %s", answer)
	}
	p.serves(t, ann, annSecret, "west")
}

// The server dies while a session is open: its client is told by the end of the
// connection, and may come again.
func TestBackendDies(t *testing.T) {
	east, _, config := twoStores(t)
	p := start(t, setup{config: config, accounts: usersOfTwo()})
	var open []*client
	for _, protocol := range protocols {
		c := p.client(t, protocol, "implicit")
		c.enter(ann, annSecret)
		c.finds(ann, "east")
		open = append(open, c)
	}
	east.Stop()
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if !c.ended() {
			t.Errorf("%s: the connection has not ended", c.protocol)
		}
	}
	east.Restart()
	p.serves(t, ann, annSecret, "east")
}

func TestWrongCertificate(t *testing.T) {
	t.Parallel()
	east := newStore(t, "east", dovecot.Options{})
	other := newStore(t, "other", dovecot.Options{TLSNames: []string{"mail.example.org"}})
	_, _, wrongCA := dovecot.Certificate(t, "localhost")
	for _, tls := range []string{"starttls", "implicit"} {
		for _, x := range []struct{ what, config, says string }{
			{"an authority that we do not trust", strings.Replace(store("east", east, tls), east.CA, wrongCA, 1), "x509: certificate signed by unknown authority"},
			{"another name", store("east", other, tls), "x509: certificate is valid for mail.example.org, not localhost"},
			{"no authority given", regexp.MustCompile(`(?m)^ca = .*$`).ReplaceAllString(store("east", east, tls), ""), "x509: certificate signed by unknown authority"},
		} {
			t.Run(tls+" and "+x.what, func(t *testing.T) {
				p := start(t, setup{config: x.config, accounts: []account{checked(ann, annSecret, "east"), unchecked(bob, "east")}})
				p.refusedWithin(t, 5*time.Second)
				if !strings.Contains(p.logText(), x.says) {
					t.Errorf("the log does not say %q", x.says)
				}
			})
		}
		t.Run(tls+" without verification", func(t *testing.T) {
			p := start(t, setup{config: store("east", other, tls, "verify = false"), accounts: []account{checked(ann, annSecret, "east")}})
			p.serves(t, ann, annSecret, "other")
		})
	}
}
