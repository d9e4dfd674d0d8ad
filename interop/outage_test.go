package interop

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/internal/postgres"
)

// userTable is a PostgreSQL that knows ann and bob.
func userTable(t *testing.T) *postgres.Server {
	db := postgres.Start(t)
	db.Exec(t, "postgres", "CREATE DATABASE mail")
	db.Exec(t, "mail", fmt.Sprintf(`CREATE TABLE users (name text PRIMARY KEY, password text, host text);
		INSERT INTO users VALUES ('%s', $${PLAIN}%s$$, 'east'), ('%s', $${PLAIN}%s$$, 'west')`, ann, annSecret, bob, bobSecret))
	return db
}

// asks is an [[accounts]] block for it.
func asks(db *postgres.Server, more string) string {
	return fmt.Sprintf("[[accounts]]\ntype = \"sql\"\ndriver = \"postgres\"\ndsn = %q\nlookup = \"SELECT password, host FROM users WHERE name = '%%u'\"\n%s\n", db.DSN("mail"), more)
}

// answered is what a login hears, and after how long.
func (p *proxy) answered(t *testing.T, protocol, user, password string) (string, time.Duration) {
	c := p.client(t, protocol, "implicit")
	defer c.Close()
	began := time.Now()
	answer := c.login(user, password)
	return answer, time.Since(began)
}

func TestWithTheOnlyDatabaseDownThoseWhoWereSeenGetIn(t *testing.T) {
	_, _, backends := twoStores(t)
	for _, trouble := range []struct {
		name       string
		begin, end func(*postgres.Server)
	}{
		{"stopped", func(db *postgres.Server) { db.Stop() }, func(db *postgres.Server) { db.Start() }},
		{"frozen", func(db *postgres.Server) { db.Freeze() }, func(db *postgres.Server) { db.Thaw() }},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			db := userTable(t)
			p := start(t, setup{config: quick + backends + asks(db, "timeout = \"2s\"\ncache = { good = \"1s\", unknown = \"1s\" }")})
			p.serves(t, ann, annSecret, "east")
			before := p.descriptors()
			time.Sleep(1100 * time.Millisecond) // what is remembered of ann is not good any more
			trouble.begin(db)
			for range 3 {
				p.serves(t, ann, annSecret, "east")
				for _, protocol := range protocols {
					for user, password := range map[string]string{ann: "wrong", bob: bobSecret, "eve@example.org": "secret"} {
						answer, took := p.answered(t, protocol, user, password)
						if !strings.Contains(answer, "[UNAVAILABLE]") && !strings.Contains(answer, "[SYS/TEMP]") {
							t.Errorf("%s hears %q", user, answer)
						}
						if took > 4*time.Second {
							t.Errorf("%s waited for %v", user, took)
						}
					}
				}
			}
			if n := strings.Count(p.logText(), "an account source cannot be asked"); n != 1 {
				t.Errorf("the log says %d times that the source is down", n)
			}
			trouble.end(db)
			wellBy := time.Now().Add(5 * time.Second)
			for {
				if answer, _ := p.answered(t, "imap", bob, bobSecret); isOK(answer) {
					break
				} else if time.Now().After(wellBy) {
					t.Fatalf("5 s after the database is back bob hears %q", answer)
				}
				time.Sleep(100 * time.Millisecond)
			}
			p.storm(t, db)
			p.eventually("nothing is left over", func() bool { return p.descriptors() <= before+10 }) // the pool's connections
		})
	}
}

// storm logs many in at once: the database sees no more connections than the pool has.
func (p *proxy) storm(t *testing.T, db *postgres.Server) {
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			c := p.client(t, "imap", "implicit")
			if answer := c.login(fmt.Sprintf("nobody%d@example.org", i), "x"); answer != denied["imap"] {
				t.Errorf("a stranger hears %q", answer)
			}
			c.Close()
		})
	}
	all.Wait()
	n, err := strconv.Atoi(db.Value(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'mail'"))
	if err != nil || n > 8 {
		t.Errorf("the database has %d connections, %v", n, err)
	}
}

func TestWithOneOfTwoDatabasesDownNobodyWaitsTwice(t *testing.T) {
	_, _, backends := twoStores(t)
	first, second := userTable(t), userTable(t)
	p := start(t, setup{config: quick + backends + asks(first, fmt.Sprintf("hosts = [%q, %q]\ntimeout = \"2s\"\ncache = { good = \"0s\", unknown = \"0s\", stale = \"0s\" }", first.Addr(), second.Addr()))})
	p.serves(t, ann, annSecret, "east")
	for _, trouble := range []func() (end func()){
		func() func() { first.Freeze(); return first.Thaw },
		func() func() { first.Stop(); return func() { first.Start() } },
	} {
		end := trouble()
		slow := 0
		for range 10 {
			answer, took := p.answered(t, "imap", bob, bobSecret)
			if !isOK(answer) {
				t.Errorf("with one of two databases bob hears %q", answer)
			}
			if took > 900*time.Millisecond {
				slow++
			}
		}
		if slow > 1 {
			t.Errorf("%d of 10 logins had to wait", slow)
		}
		end()
		p.eventually("the first is asked again", func() bool {
			return strings.Count(p.logText(), "an account server has failed") == strings.Count(p.logText(), "an account server is well again")
		})
	}
}
