package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/account"
	"usher/internal/login"
	"usher/internal/route"
	"usher/internal/sasl"
	"usher/internal/wire"
)

// logged is an error of a client that has said its name, as auth makes it.
type logged struct {
	name string
	error
}

func (l logged) Login() string { return l.name }
func (l logged) Unwrap() error { return l.error }

// keys are those of a line of the text log, in order. A value in quotes hides
// what looks like a key in it.
func keys(t *testing.T, line string) (list []string) {
	t.Helper()
	pair := regexp.MustCompile(`^([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]*)(?: |$)`)
	for line = strings.TrimSuffix(line, "\n"); line != ""; {
		m := pair.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("this is no key=value: %q", line)
		}
		list = append(list, m[1])
		line = line[len(m[0]):]
	}
	return list
}

// The keys are a contract: fail2ban reads them. What the client may choose
// stands behind what it may not.
var (
	refusedKeys = []string{"time", "level", "msg", "id", "protocol", "remote", "tls", "why", "user", "err"}
	targetKeys  = []string{"time", "level", "msg", "id", "protocol", "remote", "tls", "why", "user", "target", "err"}
	endedKeys   = []string{
		"time", "level", "msg", "id", "protocol", "remote", "tls", "why", "user", "target",
		"bytes", "from_client", "from_server", "seconds",
	}
)

// evil are user names that would like to be something else.
var evil = []string{
	"ann", "", "x remote=6.6.6.6", `x" remote=6.6.6.6 y="`, "x\nlevel=WARN msg=\"login refused\" remote=6.6.6.6", "x\r\n", "x\\",
	"\x1b[31mred", "\u2028", "\xff\xfe", "remote=6.6.6.6", "x\x00y", `x\" remote=6.6.6.6`, "{}", `","remote":"6.6.6.6`,
}

func TestNoUserNameCanForgeALogLine(t *testing.T) {
	for _, name := range evil {
		s := newStage()
		s.verifier(failing(logged{name, account.ErrUnknown}))
		_, _ = s.admit(t)
		line := s.log.String()
		if strings.Count(line, "\n") != 1 || strings.ContainsAny(line, "\r\x1b\x00") {
			t.Errorf("%q: the log is %q", name, line)
		}
		if got := keys(t, line); !slices.Equal(got, refusedKeys) {
			t.Errorf("%q: the keys are %q, want %q", name, got, refusedKeys)
		}
		if !strings.Contains(line, " remote=192.0.2.7:40000 ") {
			t.Errorf("%q: the remote is not in %q", name, line)
		}
	}
}

func TestNoUserNameCanForgeAJSONLine(t *testing.T) {
	for _, name := range evil {
		s := newStage()
		s.desk.Log = slog.New(slog.NewJSONHandler(&s.log, nil))
		s.verifier(failing(logged{name, account.ErrRefused}))
		_, _ = s.admit(t)
		var line map[string]string
		if err := json.Unmarshal(s.log.Bytes(), &line); err != nil || strings.Count(s.log.String(), "\n") != 1 {
			t.Errorf("%q: %v in %q", name, err, &s.log)
		}
		if line["remote"] != "192.0.2.7:40000" || line["user"] != strings.ToValidUTF8(name, "\ufffd") && name != "\xff\xfe" || line["msg"] != "login refused" {
			t.Errorf("%q: the line is %v", name, line)
		}
	}
}

func TestLogLinesHaveTheirKeysInOrder(t *testing.T) {
	s := newStage()
	s.refusal = login.Refused("the server", "LIMIT", "x remote=6.6.6.6\"")
	_, _ = s.admit(t)
	if got := keys(t, s.log.String()); !slices.Equal(got, targetKeys) {
		t.Errorf("refused by a server: %q, want %q", got, targetKeys)
	}
	for want, n := range map[string]int{"level=WARN": 1, `msg="login refused"`: 1, `why="not permitted"`: 1, "user=ann": 1, "target=default/mail:1": 1, "id=0000000000002": 1} {
		if strings.Count(s.log.String(), want) != n {
			t.Errorf("%s is not in %q", want, &s.log)
		}
	}
	s = newStage()
	a, err := s.admit(t)
	if err != nil {
		t.Fatal(err)
	}
	if s.log.Len() > 0 {
		t.Errorf("a login that goes well has been logged: %q", &s.log)
	}
	_ = a.Join()
	if got := keys(t, s.log.String()); !slices.Equal(got, endedKeys) {
		t.Errorf("an ended session: %q, want %q", got, endedKeys)
	}
	for _, want := range []string{"level=INFO", `msg="session ended"`, `why="client left"`, "bytes=7 from_client=3 from_server=4"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("%s is not in %q", want, &s.log)
		}
	}
}

// Some servers repeat what they did not understand.
func TestAPasswordIsNeverLogged(t *testing.T) {
	for _, password := range []string{"secret", `my "secret"`, `my\secret`, "my secret\twith tab", "geheimnis-ä-secret"} {
		s := newStage()
		s.verifier(func(_, _ string) (sasl.Identity, error) {
			return sasl.Identity{Account: &account.Account{Name: "ann"}, Password: password}, nil
		})
		s.refusal = fmt.Errorf("login: answer BAD %.80q", "unknown command: LOGIN ann "+password)
		_, _ = s.admit(t)
		if strings.Contains(s.log.String(), "secret") {
			t.Errorf("%q: the log says %s", password, &s.log)
		}
	}
	s := newStage()
	s.verifier(proven(&account.Account{Name: "ann", Place: account.Place{Password: "own-secret", Master: "m"}}))
	s.refusal = errors.New("what is own-secret?")
	_, _ = s.admit(t)
	if strings.Contains(s.log.String(), "own-secret") {
		t.Errorf("a password towards the server: the log says %s", &s.log)
	}
}

// elapsed is how long a refusal takes, in synthetic time.
func elapsed(t *testing.T, s *stage) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := s.admit(t); err == nil {
		t.Error("the login succeeded")
	}
	return time.Since(began)
}

// about tells whether something took so long, but for what chance adds.
func about(took, want time.Duration) bool {
	return took >= want && took <= want+want/100+2*time.Millisecond
}

// slow takes time to find out.
func slow(d time.Duration, v verify) verify {
	return func(authn, password string) (sasl.Identity, error) {
		time.Sleep(d)
		return v(authn, password)
	}
}

func TestAnUnknownNameAndAWrongPasswordTakeEquallyLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.desk.FailureDelay = 2 * time.Second
		for name, v := range map[string]verify{
			"unknown": slow(time.Millisecond, failing(account.ErrUnknown)),
			"wrong":   slow(300*time.Millisecond, failing(account.ErrRefused)),
		} {
			s.verifier(v)
			if took := elapsed(t, s); !about(took, 2*time.Second) {
				t.Errorf("%s: %v", name, took)
			}
		}
		// While a source is down, the password of somebody who is remembered is checked.
		for name, v := range map[string]verify{
			"new": failing(errors.New("down")), "remembered": slow(300*time.Millisecond, failing(errors.New("down"))),
		} {
			s.verifier(v)
			if took := elapsed(t, s); !about(took, 2*time.Second) {
				t.Errorf("cannot tell, %s: %v", name, took)
			}
		}
	})
}

// Where only the backend can check a password, a name that it is never asked
// about must take as long.
func TestASlowBackendSetsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.desk.FailureDelay = time.Second
		s.verifier(unproven(&account.Account{Name: "ann"}))
		s.refusal = login.Refused("the server", "AUTH", "no")
		s.desk.Backends = open(func(ctx context.Context, target route.Target, enter func(context.Context, *wire.Conn, route.Stop) error) (*wire.Conn, error) {
			time.Sleep(3 * time.Second)
			return s.open(ctx, target, enter)
		})
		known := elapsed(t, s)
		s.verifier(failing(account.ErrUnknown))
		if unknown := elapsed(t, s); !about(known, 3*time.Second) || !about(unknown, 3*time.Second) {
			t.Errorf("a known name takes %v, an unknown one %v", known, unknown)
		}
	})
}

func TestAStopDoesNotWaitForTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage()
		s.desk.FailureDelay = time.Hour
		s.verifier(failing(account.ErrRefused))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, _ = s.desk.Admit(ctx, s.client, "PLAIN", sasl.Given("ann", "x"))
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}
