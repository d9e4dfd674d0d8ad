package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/limit"
	"usher/internal/login"
	"usher/internal/penalty"
	"usher/internal/policy"
	"usher/internal/sasl"
)

// A council is a policy service of the test: what it says by the command, and by how
// often it was asked in a login.
type council struct {
	says  []string // to the first question, the second, …; what is missing is yes
	heard chan map[string]any
}

func (c *council) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	said := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&said)
	said["command"] = r.URL.Query().Get("command")
	c.heard <- said
	answer := `{"status":0}`
	if said["command"] == "allow" && len(c.says) > 0 {
		answer, c.says = c.says[0], c.says[1:]
	}
	_, _ = io.WriteString(w, answer)
}

// advised is a stage whose desk asks a service.
func advised(t *testing.T, change func(*policy.Settings), says ...string) (*stage, *council) {
	t.Helper()
	c := &council{says: says, heard: make(chan map[string]any, 100)}
	at := httptest.NewServer(c)
	t.Cleanup(at.Close)
	u, err := policy.ParseURL(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	set := policy.Settings{
		URL: u, Hash: policy.Hash{Mech: "sha256", Nonce: "x", Bits: 12}, Timeout: 20 * time.Second, Before: true, After: true, Report: true,
		Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&set)
	}
	s := newStage()
	s.desk.Policy = policy.Open(set)
	t.Cleanup(s.desk.Policy.Close)
	return s, c
}

// rest is what the service hears until everything is told.
func (c *council) rest(s *stage) (list []map[string]any) {
	s.desk.Policy.Close()
	for len(c.heard) > 0 {
		list = append(list, <-c.heard)
	}
	return list
}

func TestAPolicyServiceHearsOfALogin(t *testing.T) {
	s, c := advised(t, nil)
	s.client.Says([]login.Pair{{Name: "name", Value: `K"9\`}, {Name: "version", Value: "6"}})
	if _, err := s.admit(t); err != nil {
		t.Fatal(err)
	}
	list := c.rest(s)
	want := map[string]any{
		"command": "allow", "login": "ann", "protocol": "test", "remote": "192.0.2.7", "tls": false, "session_id": s.client.ID.String(),
		"pwhash": s.desk.Policy.Hash("ann", "secret"), "device_id": `"name" "K\"9\\" "version" "6"`,
	}
	if len(list) != 3 || fmt.Sprint(list[0]) != fmt.Sprint(want) || fmt.Sprint(list[1]) != fmt.Sprint(want) {
		t.Fatalf("it hears %v, want %v", list, want)
	}
	want["command"], want["success"], want["policy_reject"], want["fail_type"] = "report", true, false, ""
	if fmt.Sprint(list[2]) != fmt.Sprint(want) {
		t.Errorf("it hears at last %v, want %v", list[2], want)
	}
}

// What became of it is the same that counts as a guess, or not.
func TestAPolicyServiceHearsWhatBecameOfALogin(t *testing.T) {
	for name, c := range map[string]struct {
		says   []string
		who    verify
		server error
		want   string
	}{
		"in":                     {who: proven(&account.Account{Name: "ann"}), want: "true false "},
		"in, says the backend":   {who: unproven(&account.Account{Name: "ann"}), want: "true false "},
		"wrong password":         {who: failing(account.ErrRefused), want: "false false credentials"},
		"unknown name":           {who: failing(account.ErrUnknown), want: "false false account"},
		"wrong for the backend":  {who: unproven(&account.Account{Name: "ann"}), server: login.Refused("mail", "", "no"), want: "false false credentials"},
		"an outage":              {who: failing(errors.New("down")), want: "nothing"},
		"the backend's outage":   {who: unproven(&account.Account{Name: "ann"}), server: errors.New("down"), want: "nothing"},
		"right, but an outage":   {who: proven(&account.Account{Name: "ann"}), server: errors.New("down"), want: "true false "},
		"disabled":               {who: proven(barred("user_disabled")), want: "false false disabled"},
		"expired":                {who: proven(barred("pass_expired")), want: "false false expired"},
		"refused before":         {says: []string{`{"status":-1}`}, who: failing(errors.New("nobody asks")), want: "false true policy"},
		"refused after":          {says: []string{`{"status":0}`, `{"status":-1}`}, who: proven(&account.Account{Name: "ann"}), want: "false true policy"},
		"refused when it was in": {says: []string{`{"status":0}`, `{"status":-1}`}, who: unproven(&account.Account{Name: "ann"}), want: "false true policy"},
	} {
		t.Run(name, func(t *testing.T) {
			s, service := advised(t, nil, c.says...)
			s.verifier(c.who)
			s.refusal = c.server
			_, _ = s.admit(t)
			got := "nothing"
			for _, h := range service.rest(s) {
				if h["command"] == "report" {
					got = fmt.Sprint(h["success"], " ", h["policy_reject"], " ", h["fail_type"])
				}
			}
			if got != c.want {
				t.Errorf("it hears %s, want %s", got, c.want)
			}
		})
	}
}

func barred(code string) *account.Account {
	return &account.Account{Name: "ann", Denied: &account.Denied{Code: code}}
}

func TestWhomAPolicyServiceRefusesIsNotLookedAt(t *testing.T) {
	s, _ := advised(t, nil, `{"status":-1,"msg":"go\naway"}`)
	s.verifier(func(string, string) (sasl.Identity, error) {
		t.Error("the password is looked at")
		return sasl.Identity{}, account.ErrRefused
	})
	_, err := s.admit(t)
	if login.ReasonOf(err) != login.ByPolicy {
		t.Error(err)
	}
	if text := s.log.String(); !strings.Contains(text, `why="refused by policy" user=ann err="the password was not looked at: the policy service says no: \"go\\naway\""`) {
		t.Error(text)
	}
}

func TestWhomAPolicyServiceRefusesAfterwardsIsNotLetIn(t *testing.T) {
	for name, who := range map[string]verify{"proven": proven(&account.Account{Name: "ann"}), "unproven": unproven(&account.Account{Name: "ann"})} {
		s, _ := advised(t, nil, `{"status":0}`, `{"status":-1,"msg":"not from there"}`)
		s.verifier(who)
		if _, err := s.admit(t); login.ReasonOf(err) != login.ByPolicy {
			t.Errorf("%s: %v", name, err)
		}
		if text := s.log.String(); !strings.Contains(text, `why="refused by policy" user=ann`) || !strings.Contains(text, "not from there") {
			t.Error(text)
		}
		if s.backend.closed != (name == "unproven") {
			t.Errorf("%s: the connection to the backend is closed: %v", name, s.backend.closed)
		}
		s.roomLeft(t)
	}
}

func TestRefusalsOfAPolicyServiceAreNoGuesses(t *testing.T) {
	s, c := advised(t, nil)
	s.desk.Penalties = penalty.New(usual)
	for i := range 6 {
		c.says = []string{`{"status":-1}`}
		if i%2 == 1 {
			c.says = []string{`{"status":0}`, `{"status":-1}`}
		}
		s.client.Conn = s.conn()
		_, err := s.admit(t)
		if login.ReasonOf(err) != login.ByPolicy {
			t.Fatal(err)
		}
	}
	if list := s.desk.Penalties.List(); len(list) > 0 {
		t.Errorf("%+v", list)
	}
}

func TestARefusalByPolicyTakesAsLongAsAWrongPassword(t *testing.T) {
	for name, says := range map[string][]string{"before": {`{"status":-1}`}, "after": {`{"status":0}`, `{"status":-1}`}, "never": nil} {
		s, _ := advised(t, nil, says...)
		s.desk.FailureDelay = 300 * time.Millisecond
		if name == "never" {
			s.verifier(failing(account.ErrRefused))
		}
		began := time.Now()
		_, _ = s.admit(t)
		if took := time.Since(began); took < s.desk.FailureDelay || took > 10*time.Second {
			t.Errorf("refused %s it takes %v", name, took)
		}
	}
}

func TestAPolicyServiceMayHaveClientsWait(t *testing.T) {
	s, _ := advised(t, nil, `{"status":1}`, `{"status":20}`)
	began := time.Now()
	if _, err := s.admit(t); err != nil || time.Since(began) < time.Second || time.Since(began) > 15*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// Who has to make room does not stay for that.
func TestWhoWaitsForAPolicyServiceMayBeSentAway(t *testing.T) {
	s, c := advised(t, nil, `{"status":10000}`)
	stay, leave := context.WithCancel(t.Context())
	s.client.Stay = stay
	time.AfterFunc(50*time.Millisecond, leave)
	began := time.Now()
	if _, err := s.admit(t); login.ReasonOf(err) != login.Aborted || time.Since(began) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if list := c.rest(s); len(list) != 1 {
		t.Errorf("it hears %v", list)
	}
}

func TestAnOutageOfThePolicyServiceIsNoWrongPassword(t *testing.T) {
	for strict, want := range map[bool]string{true: "account source unavailable", false: "in"} {
		s, _ := advised(t, func(set *policy.Settings) {
			set.RejectOnFail = strict
			set.URL, _ = policy.ParseURL("http://127.0.0.1:1/") // nobody is there
		})
		_, err := s.admit(t)
		got := "in"
		if err != nil {
			got = login.ReasonOf(err).String()
		}
		if got != want {
			t.Errorf("with reject_on_fail = %v: %s, %v", strict, got, err)
		}
	}
}

// Only the first question of a mechanism counts.
func TestALoginIsOneForThePolicyService(t *testing.T) {
	s, c := advised(t, nil)
	s.client.Remote = netip.MustParseAddrPort("[::ffff:192.0.2.7]:1")
	if _, err := s.admit(t); err != nil {
		t.Fatal(err)
	}
	list := c.rest(s)
	if len(list) != 3 || list[0]["remote"] != "192.0.2.7" {
		t.Errorf("%v", list)
	}
}

// To be compared with one of before: without a service nothing is added.
func BenchmarkALoginWithoutAPolicyService(b *testing.B) {
	s := newStage()
	s.desk.Limits = &limit.Limits{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.admit(b); err != nil {
			b.Fatal(err)
		}
	}
}
