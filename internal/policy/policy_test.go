package policy

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTheServiceDecides(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]Verdict{
		`{"status":0,"msg":""}`:              {},
		`{"status":0}`:                       {},
		`{"status":-1,"msg":"go away"}`:      {Refused: true, Words: "go away"},
		`{"status":-9,"msg":null}`:           {Refused: true},
		`{"status":5,"msg":"slow"}`:          {Wait: 5 * time.Second, Words: "slow"},
		`{"status":10000}`:                   {Wait: mostWait},
		`{"status":9223372036854775807}`:     {Wait: mostWait},
		`{"r_attrs":{"a":[1]},"status":-1} `: {Refused: true},
	} {
		s, log := client(t, listen(t, answer).URL, strict)
		if v, err := s.Before(t.Context(), ann); v != want || err != nil {
			t.Errorf("%s: %+v, %v", answer, v, err)
		}
		want.Wait = 0 // who has shown the right password does not wait
		if v, err := s.After(t.Context(), ann); v != want || err != nil {
			t.Errorf("%s, after the login: %+v, %v", answer, v, err)
		}
		if log.String() != "" {
			t.Error(log)
		}
	}
}

// A nil Service is that of a configuration without one.
func TestWhatIsSwitchedOffIsNotAsked(t *testing.T) {
	t.Parallel()
	l := listen(t, `{"status":-1}`)
	off, _ := client(t, l.URL, func(s *Settings) { s.Before, s.After, s.Report = false, false, false })
	for _, s := range []*Service{nil, off} {
		before, err := s.Before(t.Context(), ann)
		after, err2 := s.After(t.Context(), ann)
		if (before != Verdict{}) || (after != Verdict{}) || err != nil || err2 != nil {
			t.Errorf("%+v, %+v, %v, %v", before, after, err, err2)
		}
		s.Report(ann, Outcome{})
		s.Close()
	}
	if len(l.all) > 0 {
		t.Errorf("it hears %+v", <-l.all)
	}
}

func TestAnAnswerThatMakesNoSenseRefusesNobody(t *testing.T) {
	t.Parallel()
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	for name, answer := range map[string]http.HandlerFunc{
		"nothing":       say(""),
		"no JSON":       say("<html>"),
		"no object":     say(`[-1]`),
		"no status":     say(`{"msg":"go away"}`),
		"half a status": say(`{"status":-0.5}`),
		"text":          say(`{"status":"-1"}`),
		"a huge number": say(`{"status":1e400}`),
		"odd words":     say(`{"status":-1,"msg":7}`),
		"two answers":   say(`{"status":-1}{"status":-1}`),
		"a huge body":   say(`{"status":-1,"msg":"` + strings.Repeat("x", 1<<20) + `"}`),
		"a failure": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"status":-1}`, http.StatusInternalServerError)
		},
		"a redirection": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"huge headers": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = io.WriteString(w, `{"sta`)
		},
		"an endless one": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		},
	} {
		l := httptest.NewServer(answer)
		quick := func(s *Settings) { s.Timeout = 500 * time.Millisecond }
		open, log := client(t, l.URL, quick)
		if v, err := open.Before(t.Context(), ann); err != nil || (v != Verdict{}) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		shut, _ := client(t, l.URL, quick, strict)
		if v, err := shut.Before(t.Context(), ann); !errors.Is(err, ErrUnasked) || (v != Verdict{}) || len(err.Error()) > 500 {
			t.Errorf("%s, with reject_on_fail: %+v, %v", name, v, err)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || len(text) > 1000 || !strings.Contains(text, "logins go on without it") {
			t.Errorf("%s: the log says %s", name, text)
		}
		l.CloseClientConnections()
		l.Close()
	}
}

func TestAnOutageCostsAFewLoginsSomeTimeAndThenNone(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]string{"frozen": frozen(t), "gone": nobody(t)} {
		s, log := client(t, where, hasty)
		for range patience {
			if v, err := s.Before(t.Context(), ann); err != nil || (v != Verdict{}) {
				t.Fatalf("%s: %+v, %v", name, v, err)
			}
		}
		began := time.Now()
		for range 1000 {
			_, _ = s.Before(t.Context(), ann)
		}
		if took := time.Since(began); took > 20*time.Second { // 100 s, if it were asked
			t.Errorf("%s: 1000 logins take %v", name, took)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 {
			t.Errorf("%s: the log says %s", name, text)
		}
	}
}

func TestAServiceThatIsBackIsAskedAgain(t *testing.T) {
	t.Parallel()
	s, _ := client(t, nobody(t))
	for range patience {
		_, _ = s.Before(t.Context(), ann)
	}
	s.set.URL, _ = ParseURL(listen(t, `{"status":-1}`).URL)
	if v, _ := s.Before(t.Context(), ann); v.Refused {
		t.Error("it is asked at once")
	}
	s.circuit.until = time.Now()
	if v, _ := s.Before(t.Context(), ann); !v.Refused {
		t.Error("it is not asked again")
	}
	if v, _ := s.Before(t.Context(), ann); !v.Refused {
		t.Error("it is asked only once")
	}
}

// Else whoever knows a name on which the service chokes could switch it off for all.
func TestAServiceThatAnswersOddlyIsStillAsked(t *testing.T) {
	t.Parallel()
	l := listenWith(t, func(w http.ResponseWriter, h heard) {
		if h.Said["login"] == "strange" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, `{"status":-1}`)
	})
	s, _ := client(t, l.URL)
	for range 10 * patience {
		_, _ = s.Before(t.Context(), Login{Login: "strange"})
	}
	if v, err := s.Before(t.Context(), ann); !v.Refused || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAClientThatLeavesIsNoOutage(t *testing.T) {
	t.Parallel()
	s, log := client(t, frozen(t))
	for range 2 * patience {
		ctx, leave := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := s.Before(ctx, ann); !errors.Is(err, ErrUnasked) {
			t.Error(err)
		}
		leave()
	}
	if !s.circuit.closed(time.Now()) || log.String() != "" {
		t.Errorf("the service is left alone, %s", log)
	}
}

// Servers close connections that are idle, often without a word.
func TestAConnectionThatWasClosedMeanwhileIsNoOutage(t *testing.T) {
	t.Parallel()
	l := listen(t, `{"status":-1}`)
	s, log := client(t, l.URL)
	for range 20 {
		if v, err := s.Before(t.Context(), ann); !v.Refused || err != nil {
			t.Fatalf("%+v, %v, %s", v, err, log)
		}
		l.CloseClientConnections()
	}
}

func TestTryingAServiceOutRefusesNobody(t *testing.T) {
	t.Parallel()
	s, log := client(t, listen(t, `{"status":-1,"msg":"go away"}`).URL, logOnly, strict)
	if v, err := s.Before(t.Context(), ann); err != nil || (v != Verdict{}) {
		t.Errorf("%+v, %v", v, err)
	}
	if !strings.Contains(log.String(), `user=ann refused=true wait=0s msg="go away"`) {
		t.Error(log)
	}
	down, _ := client(t, nobody(t), logOnly, strict)
	if v, err := down.Before(t.Context(), ann); err != nil || (v != Verdict{}) {
		t.Errorf("while it is down: %+v, %v", v, err)
	}
}

func TestTheServiceKnowsWhoAsks(t *testing.T) {
	t.Parallel()
	l := listen(t, `{"status":0}`)
	for line, want := range map[string]string{"Authorization: Basic eDp5": "Authorization=Basic eDp5", "key with blanks": "X-Api-Key=key with blanks"} {
		header, err := ParseHeader(line)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := client(t, l.URL+"/api?a=b&", func(s *Settings) { s.Header = header })
		_, _ = s.Before(t.Context(), ann)
		h, name := l.next(t), strings.SplitN(want, "=", 2)
		if h.Header.Get(name[0]) != name[1] || h.Header.Get("Content-Type") != "application/json" || h.Header.Get("User-Agent") != "usher" {
			t.Errorf("%s: %v", line, h.Header)
		}
	}
	for _, line := range []string{": x", "a b: x", "X: a\r\nY: b"} {
		if h, err := ParseHeader(line); err == nil {
			t.Errorf("%q is %v", line, h)
		}
	}
}

func TestAServiceIsVerified(t *testing.T) {
	t.Parallel()
	l := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":-1}`) }))
	l.Config.ErrorLog = log.New(io.Discard, "", 0) // a stranger does not trust it
	l.StartTLS()
	defer l.Close()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.Certificate().Raw}))
	known, said := client(t, l.URL, func(s *Settings) { s.CA = pool })
	if v, err := known.Before(t.Context(), ann); !v.Refused || err != nil {
		t.Errorf("%+v, %v, %s", v, err, said)
	}
	stranger, said := client(t, l.URL, strict)
	if v, err := stranger.Before(t.Context(), ann); v.Refused || err == nil || !strings.Contains(said.String(), "unknown authority") {
		t.Errorf("%+v, %v, %s", v, err, said)
	}
}

func TestWhereAServiceMayBe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://127.0.0.1:8084":       "http://127.0.0.1:8084/?command=allow",
		"http://127.0.0.1:8084/?":     "http://127.0.0.1:8084/?command=allow",
		"https://x.example/p?a=b":     "https://x.example/p?a=b&command=allow",
		"https://x.example/p?a=b&":    "https://x.example/p?a=b&command=allow",
		"https://[::1]/":              "https://[::1]/?command=allow",
		"x.example":                   "",
		"ftp://x.example/":            "",
		"http:///":                    "",
		"http://x.example/#y":         "",
		"http://ann:secret@x.example": "",
		"http://ann:secret@x:y":       "",
	} {
		u, err := ParseURL(text)
		if err != nil {
			if want != "" || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if got := withCommand(u, "allow"); got != want {
			t.Errorf("%s: asks %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]bool{"http://127.0.0.1/": false, "http://localhost/": false, "http://10.0.0.1/": true, "https://10.0.0.1/": false} {
		if u, _ := ParseURL(text); Clear(u) != want {
			t.Errorf("%s: clear is %v", text, !want)
		}
	}
}
