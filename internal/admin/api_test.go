package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// talk sends bytes and returns the answer.
func talk(t *testing.T, path, request string) (status int, header http.Header, body string) {
	t.Helper()
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode, r.Header, string(text)
}

func request(line, body string) string {
	return fmt.Sprintf("%s HTTP/1.1\r\nHost: usher\r\nContent-Length: %d\r\n\r\n%s", line, len(body), body)
}

// Other programs read these names too.
func TestTheJSONIsAContract(t *testing.T) {
	path, _, _ := two(t)
	for _, c := range []struct{ line, body, want string }{
		{"GET /v1/status?own=1", "", `{"processes":[{"pid":102,"version":"1.2","state":"serving","since":"2026-11-20T12:00:00Z","sessions":1,"conversations":3,"descriptors":10,"descriptor_limit":20}]}`},
		{"GET /v1/sessions?own=1", "", `{"sessions":[{"id":"ANN0","user":"ann@example.org","protocol":"imap","remote":"192.0.2.1:1000","backend":"east","target":"east/10.0.0.1:143","tls":"TLSv1.3","since":"2026-11-20T12:00:00Z","pid":102}]}`},
		{"GET /v1/sessions?user=carl", "", `{"sessions":[]}`},
		{"POST /v1/kick?own=1", `{"user":"b*"}`, `{"kicked":0}`},
		{"POST /v1/kick", `{"backend":"west","user":"b*","session":"bob0"}`, `{"kicked":1}`},
		{"POST /v1/flush", `{"user":"ann@example.org"}`, `{"flushed":6}`},
		{"POST /v1/flush?own=1", `{}`, `{"flushed":3}`},
		{"GET /v1/penalties?own=1", "", `{"penalties":[{"network":"192.0.2.7/32","guesses":9,"friends":2,"waiting":3,"until":"2026-11-20T12:00:00Z","pid":102}]}`},
		{"POST /v1/forgive?own=1", `{"user":"ann"}`, `{"forgiven":0}`},
		{"POST /v1/forgive", `{"user":"ann"}`, `{"forgiven":1}`},
		{"POST /v1/forgive", `{"network":"192.0.2.7/32"}`, `{"forgiven":1}`},
		{"POST /v1/forgive", `{"all":true}`, `{"forgiven":0}`},
		{"GET /v1/penalties", "", `{"penalties":[]}`},
		{"POST /v1/trace", `{"user":"ann*","protocol":"imap","for":"10m"}`, `{"id":"T1","user":"ann*","protocol":"imap","until":"2026-11-20T12:10:00Z","folder":"/f","conversations":0,"bytes":0,"pid":102}`},
		{"GET /v1/traces?own=1", "", `{"traces":[{"id":"T1","user":"ann*","protocol":"imap","until":"2026-11-20T12:10:00Z","folder":"/f","conversations":0,"bytes":0,"pid":102}]}`},
		{"POST /v1/untrace", `{"id":"T2"}`, `{"ended":0}`},
		{"POST /v1/untrace", `{"all":true}`, `{"ended":1}`},
		{"GET /v1/traces", "", `{"traces":[]}`},
		{"POST /v1/reload", "", `{}`},
		{"POST /v1/reload", "{}", `{}`},
		{"POST /v1/stop?own=1", "", `{"pids":[102]}`},
		{"POST /v1/stop", `{"drain":"1h"}`, `{"pids":[102,101]}`},
	} {
		status, header, got := talk(t, path, request(c.line, c.body))
		same(t, c.line, got, c.want+"\n")
		same(t, "status of "+c.line, status, 200)
		same(t, "type of "+c.line, header.Get("Content-Type"), "application/json")
	}
}

func TestWhatIsNotUnderstoodChangesNothing(t *testing.T) {
	path, older, newer := two(t)
	for _, c := range []struct {
		line, body string
		status     int
		want       string
	}{
		{"GET /", "", 404, `there is no \"/\"`},
		{"GET /v1/nothing", "", 404, `there is no \"/v1/nothing\"`},
		{"GET /v1/status/", "", 404, `there is no`},
		{"GET //v1/status", "", 404, `there is no`},
		{"POST /v1/status", "", 405, `/v1/status is asked by GET`},
		{"GET /v1/kick", "", 405, `/v1/kick is asked by POST`},
		{"GET /v1/stop", "", 405, `/v1/stop is asked by POST`},
		{"GET /v1/sessions?usr=ann", "", 400, `\"usr\"`},
		{"GET /v1/sessions?user=ann&user=bob", "", 400, `2 times \"user\"`},
		{"GET /v1/sessions?user=%zz", "", 400, `invalid URL escape`},
		{"POST /v1/kick", "", 400, `a kick needs`},
		{"POST /v1/kick", "{}", 400, `a kick needs`},
		{"POST /v1/kick", `{"user":""}`, 400, `a kick needs`},
		{"POST /v1/kick?user=*", "", 400, `a kick needs`},
		{"POST /v1/kick", `{"user":"*","sessionn":"x"}`, 400, `unknown field`},
		{"POST /v1/kick", `{"user":"*"} {}`, 400, `something behind the JSON`},
		{"POST /v1/kick", `{"user":"*"`, 400, `unexpected EOF`},
		{"POST /v1/kick", `["*"]`, 400, `cannot read the request`},
		{"POST /v1/kick", `{"user":"*"}` + strings.Repeat(" ", maxBody), 413, `more than 65536 bytes`},
		{"POST /v1/forgive", "", 400, `a pardon needs`},
		{"POST /v1/forgive", "{}", 400, `a pardon needs`},
		{"POST /v1/forgive", `{"user":"ann","all":true}`, 400, `only one of them`},
		{"POST /v1/forgive", `{"network":"nonsense"}`, 400, `nonsense is no network`},
		{"POST /v1/forgive", `{"user":"` + strings.Repeat("x", maxPattern+1) + `"}`, 400, `no name has`},
		{"POST /v1/trace", `{}`, 400, `a trace needs a user or a network`},
		{"POST /v1/trace", `{"user":"ann","network":"192.0.2.7"}`, 400, `only one of them`},
		{"POST /v1/trace", `{"network":"nonsense"}`, 400, `neither an address nor a network`},
		{"POST /v1/trace", `{"user":"ann"}`, 400, `is not a duration`},
		{"POST /v1/trace", `{"user":"ann","for":"25h"}`, 500, `too long`},
		{"POST /v1/trace", `{"user":"` + strings.Repeat("x", maxPattern+1) + `","for":"1m"}`, 400, `no name has`},
		{"POST /v1/untrace", `{}`, 400, `which trace ends`},
		{"POST /v1/untrace", `{"id":"T1","all":true}`, 400, `only one of them`},
		{"GET /v1/untrace", "", 405, `/v1/untrace is asked by POST`},
		{"POST /v1/stop", `{"drain":"soon"}`, 400, `\"soon\" is not a duration`},
		{"POST /v1/stop", `{"drain":"-1s"}`, 400, `drain cannot be negative`},
		{"POST /v1/stop", `{"drain":5}`, 400, `cannot read the request`},
		{"GET /v1/flush", "", 405, `/v1/flush is asked by POST`},
		{"POST /v1/flush", `{"user":""}`, 400, `user cannot be empty`},
		{"POST /v1/flush?user=ann", "", 400, `stands in the body`},
		{"POST /v1/flush", `{"users":"ann"}`, 400, `unknown field`},
		{"POST /v1/flush", `{"user":"` + strings.Repeat("x", 2000) + `"}`, 400, `more than any name`},
		{"POST /v1/upgrade", "", 500, `the new usher did not come up`},
	} {
		status, header, got := talk(t, path, request(c.line, c.body))
		if status != c.status || !strings.HasPrefix(got, `{"error":"`) || !strings.Contains(got, c.want) {
			t.Errorf("%s %.60s: %d %s, want %d and an error with %q", c.line, c.body, status, got, c.status, c.want)
		}
		if status == http.StatusMethodNotAllowed && header.Get("Allow") == "" {
			t.Errorf("%s: no header Allow", c.line)
		}
	}
	same(t, "sessions left", len(older.Sessions(Selector{}))+len(newer.Sessions(Selector{})), 2)
	same(t, "times stopped", len(older.stopped())+len(newer.stopped()), 0)
	same(t, "times flushed", len(older.flushed)+len(newer.flushed), 0)
}

func TestTheStatusTellsOfSources(t *testing.T) {
	path, _, newer := two(t)
	newer.sources = []Source{{
		Name: "ldap", Entries: 1, Unknown: 2, Hits: 3, Misses: 4, Stale: 5, Oldest: 6,
		Servers: []SourceServer{{Server: "a", Well: true, Since: noon}, {Server: "b", Since: noon, Error: "connection refused"}},
	}}
	_, _, got := talk(t, path, request("GET /v1/status?own=1", ""))
	want := `"sources":[{"name":"ldap","entries":1,"unknown":2,"hits":3,"misses":4,"stale":5,"oldest_seconds":6,"servers":[` +
		`{"server":"a","well":true,"since":"2026-11-20T12:00:00Z","error":""},{"server":"b","well":false,"since":"2026-11-20T12:00:00Z","error":"connection refused"}]}]`
	if !strings.Contains(got, want) {
		t.Errorf("the answer is %s, want %s in it", got, want)
	}
}

func TestASlowClientKeepsNobodyWaiting(t *testing.T) {
	path, _, _ := two(t)
	for _, begun := range []string{"", "GET /v1/sta", "POST /v1/kick HTTP/1.1\r\nHost: usher\r\nContent-Length: 99\r\n\r\n{"} {
		for range 50 {
			nc, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			io.WriteString(nc, begun)
		}
	}
	if _, err := Dial(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestASlowClientIsCutOff(t *testing.T) {
	t.Parallel()
	path, _, _ := two(t)
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "POST /v1/kick HTTP/1.1\r\nHost: usher\r\nContent-Length: 99\r\n\r\n{")
	nc.SetDeadline(time.Now().Add(3 * bodyTime))
	text, err := io.ReadAll(nc)
	if err != nil || !strings.Contains(string(text), `{"error":"the request ended early`) {
		t.Errorf("the answer is %q, %v", text, err)
	}
}

func TestAnUpgradeGoesOnWhenNobodyWaitsForIt(t *testing.T) {
	path := socket(t)
	d := &impatient{ended: make(chan error, 1)}
	s := &Server{Path: path, Daemon: d, Log: quiet(), pid: 101}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, giveUp := context.WithCancel(t.Context())
	d.begun = giveUp
	if _, err := Dial(path).Upgrade(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Upgrade returned %v", err)
	}
	same(t, "what the daemon's context says", <-d.ended, nil)
}

// An upgrade may take longer than a request may take to arrive.
func TestAQuestionMayTakeLongerThanItsRequest(t *testing.T) {
	t.Parallel()
	path := socket(t)
	s := &Server{Path: path, Daemon: &slow{daemon{pid: 101, upgraded: 102}}, Log: quiet(), pid: 101}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pid, err := Dial(path).Upgrade(t.Context())
	same(t, "error", err, nil)
	same(t, "pid", pid, 102)
}
