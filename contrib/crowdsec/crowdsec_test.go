// Package crowdsec_test asks CrowdSec what it makes of what usher really logs. Only the
// place where CrowdSec leaves its alerts is the test's own.
package crowdsec_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/need"
)

// names are tried by attackers; some look like lines of the log.
var names = []string{
	"ann@example.org", "bob", "böb", "with blank", `quote"d\`,
	`x" remote=6.6.6.6:1 why="wrong name or password`,
	`level=WARN msg="login refused" id=A protocol=imap remote=6.6.6.6:1 tls=no why="wrong name or password"`,
	`x","remote":"6.6.6.6:1","tls":"no","why":"wrong name or password`,
	`usher[1]: level=WARN msg="login refused" id=A protocol=imap remote=6.6.6.6:1 tls=no why="wrong name or password"`,
	"eve", "joe", "sue",
}

const configuration = `
[server]
state = "state"
user  = ""
log   = %q

[limit]
failure_delay = "0s"

[[listen]]
protocol = "imap"
addr     = ["127.0.0.1:0", "[::1]:0"]
tls      = "none"
`

// logOf runs usher, tries all names from both loopback addresses, and returns the log.
func logOf(t *testing.T, program, format string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "usher.toml"), fmt.Appendf(nil, configuration, format), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, "serve", "-c", filepath.Join(dir, "usher.toml"))
	c.Stderr = log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for _, addr := range addresses(t, log.Name()) {
		for _, name := range names {
			try(t, addr, name)
		}
	}
	c.Process.Signal(syscall.SIGTERM)
	c.Wait()
	return read(t, log.Name())
}

var listening = regexp.MustCompile(`listening.*addr"?[=:]"?([^ ",]+:\d+)`)

func addresses(t *testing.T, log string) []string {
	t.Helper()
	for range 200 {
		if found := listening.FindAllStringSubmatch(read(t, log), -1); len(found) == 2 {
			return []string{found[0][1], found[1][1]}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("usher does not listen")
	return nil
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// try logs in with a wrong password.
func try(t *testing.T, addr, name string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	for _, text := range []string{"", "a AUTHENTICATE PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00wrong")) + "\r\n"} {
		c.Write([]byte(text))
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

// An alert is what CrowdSec leaves.
type alert struct {
	Scenario string
	Source   struct{ Value string }
	Events   []struct {
		Timestamp string
		Meta      []struct{ Key, Value string }
	}
}

func (a alert) meta(key string) string {
	for _, m := range a.Events[0].Meta {
		if m.Key == key {
			return m.Value
		}
	}
	return ""
}

// A desk takes alerts, as CrowdSec's local API does.
type desk struct {
	mu  sync.Mutex
	all []alert
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/watchers/login"):
		fmt.Fprintf(w, `{"code":200,"expire":%q,"token":"t"}`, time.Now().Add(time.Hour).Format(time.RFC3339))
	case strings.HasSuffix(r.URL.Path, "/alerts"):
		var some []alert
		if err := json.NewDecoder(r.Body).Decode(&some); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.all = append(d.all, some...)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `["1"]`)
	default:
		fmt.Fprint(w, "{}")
	}
}

// each alerts at every line, so that the test sees what was read of it.
const each = `type: trigger
name: test/each
description: every refused login
filter: "evt.Meta.log_type == 'usher_failed_auth'"
groupby: evt.Meta.source_ip
labels: {remediation: false}
`

const agent = `
common: {daemonize: false, log_media: stdout, log_level: info, working_dir: .}
config_paths: {config_dir: %[1]s/etc/, data_dir: %[1]s/data/, hub_dir: %[2]s/usr/share/crowdsec/hub/, index_path: %[2]s/usr/share/crowdsec/hub/.index.json, simulation_path: %[2]s/etc/crowdsec/simulation.yaml}
crowdsec_service: {parser_routines: 1}
db_config: {type: sqlite, db_path: %[1]s/data/db, flush: {max_items: 5000, max_age: 7d}}
api: {client: {credentials_path: %[1]s/api.yaml}, server: {listen_uri: "127.0.0.1:1", profiles_path: %[2]s/etc/crowdsec/profiles.yaml}}
prometheus: {enabled: false}
`

// alerts has CrowdSec read a log.
func alerts(t *testing.T, kind, log string) []alert {
	t.Helper()
	root, env := need.CrowdSec(t)
	dir := t.TempDir()
	d := new(desk)
	s := httptest.NewServer(d)
	defer s.Close()
	hub := filepath.Join(root, "usr/share/crowdsec/hub")
	for to, from := range map[string]string{
		"etc/parsers/s00-raw/syslog-logs.yaml":         hub + "/parsers/s00-raw/crowdsecurity/syslog-logs.yaml",
		"etc/parsers/s01-parse/usher-logs.yaml":        "parsers/s01-parse/usher-logs.yaml",
		"etc/parsers/s02-enrich/dateparse-enrich.yaml": hub + "/parsers/s02-enrich/crowdsecurity/dateparse-enrich.yaml",
		"etc/scenarios/usher-bf.yaml":                  "scenarios/usher-bf.yaml",
		"etc/collections/usher.yaml":                   "collections/usher.yaml",
	} {
		write(t, filepath.Join(dir, to), read(t, from))
	}
	write(t, dir+"/etc/scenarios/each.yaml", each)
	write(t, dir+"/data/none", "")
	write(t, dir+"/config.yaml", fmt.Sprintf(agent, dir, root))
	write(t, dir+"/api.yaml", "url: "+s.URL+"\nlogin: x\npassword: y\n")
	write(t, dir+"/log", log)
	if err := os.CopyFS(dir+"/etc/patterns", os.DirFS(root+"/etc/crowdsec/patterns")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, root+"/usr/bin/crowdsec", "-c", dir+"/config.yaml", "-dsn", "file://"+dir+"/log", "-type", kind, "-no-api")
	c.Env, c.Dir = env, dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return d.all
}

func write(t *testing.T, file, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestCrowdSecShutsGuessersOut(t *testing.T) {
	need.CrowdSec(t)
	program := filepath.Join(t.TempDir(), "usher")
	if out, err := exec.Command("go", "build", "-o", program, "usher/cmd/usher").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Parallel()
	for _, format := range []string{"logfmt", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			log := logOf(t, program, format)
			check(t, alerts(t, "usher", log))
			check(t, alerts(t, "syslog", prefixed(log, "Jan  2 03:04:05 mail usher[123]: ")))
			if all := alerts(t, "syslog", prefixed(log, "Jan  2 03:04:05 mail sshd[123]: ")); len(all) != 0 {
				t.Errorf("what others log counts: %+v", all)
			}
		})
	}
}

// Lines of syslog and the journal begin with the level: they have the time elsewhere.
func TestCrowdSecReadsLinesOfSyslogAndTheJournal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for i, name := range names {
		for _, remote := range []string{"127.0.0.1:1", "[::1]:1"} {
			fmt.Fprintf(&b, "2026-01-02T03:04:%02d.678901+01:00 mail usher[123]: level=WARN msg=\"login refused\" id=A protocol=imap remote=%s tls=no why=\"wrong name or password\" user=%q err=x\n", i, remote, name)
		}
	}
	check(t, alerts(t, "syslog", b.String()))
}

func prefixed(log, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		b.WriteString(prefix + line)
	}
	return b.String()
}

// check wants each try as it was, and both addresses shut out.
func check(t *testing.T, all []alert) {
	t.Helper()
	tries, shut := map[string]int{}, map[string]bool{}
	for _, a := range all {
		if a.Scenario == "test/each" {
			tries[a.meta("source_ip")]++
			if user := a.meta("user"); a.meta("protocol") != "imap" || user == "" {
				t.Errorf("no user or protocol in %+v", a)
				break
			}
		}
		shut[a.Scenario+" "+a.Source.Value] = true
	}
	for _, addr := range []string{"127.0.0.1", "::1"} {
		if tries[addr] != len(names) || len(tries) != 2 {
			t.Errorf("tries: %v, want %d of each address", tries, len(names))
		}
		for _, scenario := range []string{"usher/usher-bf ", "usher/usher-bf_user-enum "} {
			if !shut[scenario+addr] {
				t.Errorf("no %s%s in %v", scenario, addr, shut)
			}
		}
	}
}
