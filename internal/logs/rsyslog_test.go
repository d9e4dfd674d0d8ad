package logs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"usher/internal/daemon"
	"usher/internal/need"
)

// An rsyslog is a real one, which listens in all ways and writes what it understands as
// lines of JSON.
type rsyslog struct {
	*daemon.Daemon
	t                   *testing.T
	udp, tcp, tls       string
	socket, plainSocket string // the second takes RFC 5424
}

const rsyslogConfiguration = `
global(workDirectory="%[1]s" defaultNetstreamDriverCAFile="%[1]s/cert.pem" defaultNetstreamDriverCertFile="%[1]s/cert.pem" defaultNetstreamDriverKeyFile="%[1]s/key.pem")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imtcp")
module(load="mmpstrucdata")
input(type="imuxsock" Socket="%[1]s/socket")
input(type="imuxsock" Socket="%[1]s/socket5424" UseSpecialParser="off" ParseHostname="on")
input(type="imudp" address="127.0.0.1" port="%[2]s")
input(type="imtcp" address="127.0.0.1" port="%[3]s" streamDriver.name="ptcp" streamDriver.mode="0")
input(type="imtcp" address="127.0.0.1" port="%[4]s" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="t" type="list" option.jsonf="on") {
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="pid" name="procid" format="jsonf")
  property(outname="id" name="msgid" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="data" name="$!rfc5424-sd" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}
action(type="mmpstrucdata")
action(type="omfile" file="%[1]s/out" template="t")
action(type="omfile" file="%[1]s/mail.log" template="RSYSLOG_TraditionalFileFormat")
`

func startRsyslog(t *testing.T) *rsyslog {
	t.Helper()
	return startRsyslogWith(t, func(r *rsyslog) string {
		return fmt.Sprintf(rsyslogConfiguration, r.Dir, r.udp, r.tcp, r.tls)
	})
}

func startRsyslogWith(t *testing.T, configuration func(*rsyslog) string) *rsyslog {
	t.Helper()
	program := need.Program(t, "rsyslogd")
	if tls, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_gtls.so"); len(tls) == 0 && os.Getenv("CI") != "true" {
		t.Skip("rsyslog-gnutls is not installed")
	}
	r := &rsyslog{t: t, udp: daemon.FreePort(t), tcp: daemon.FreePort(t), tls: daemon.FreePort(t)}
	r.Daemon = daemon.New(t, daemon.Daemon{Name: "rsyslog", User: "nobody", Quit: syscall.SIGTERM, Ready: func() error {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", r.tls))
		if err == nil {
			conn.Close()
		}
		return err
	}})
	r.socket, r.plainSocket = r.Path("socket"), r.Path("socket5424")
	r.certify()
	if err := os.WriteFile(r.Path("conf"), []byte(configuration(r)), 0o644); err != nil {
		t.Fatal(err)
	}
	r.Start(program, "-n", "-f", r.Path("conf"), "-i", r.Path("pid"))
	return r
}

// certify makes a certificate for 127.0.0.1.
func (r *rsyslog) certify() {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(r.Path(name), pem.EncodeToMemory(block), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// An arrival is a line as rsyslog has understood it.
type arrival struct{ Facility, Severity, App, PID, ID, Host, Data, Msg string }

// fields are the structured data.
func (a arrival) fields() map[string]string {
	var m map[string]map[string]string
	_ = json.Unmarshal([]byte(a.Data), &m)
	return m[element]
}

func (r *rsyslog) arrivals() (all []arrival) {
	r.t.Helper()
	text, _ := os.ReadFile(r.Path("out"))
	for line := range strings.Lines(string(text)) {
		var a arrival
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			r.t.Fatalf("%v: %s", err, line)
		}
		all = append(all, a)
	}
	return all
}

func (r *rsyslog) lines() int {
	text, _ := os.ReadFile(r.Path("out"))
	return bytes.Count(text, []byte("\n"))
}

// has waits until so many lines have come.
func (r *rsyslog) has(n int) []arrival {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d lines", n), func() bool { return r.lines() >= n })
	return r.arrivals()
}

// places are the ways to a server.
func (r *rsyslog) places() map[string]string {
	return map[string]string{
		"unix": "syslog+unix://" + r.plainSocket + "?format=rfc5424",
		"udp":  "syslog+udp://127.0.0.1:" + r.udp,
		"tcp":  "syslog+tcp://127.0.0.1:" + r.tcp,
		"tls":  "syslog+tls://127.0.0.1:" + r.tls + "?ca=" + r.Path("cert.pem"),
	}
}

func TestRsyslogUnderstandsEachField(t *testing.T) {
	t.Parallel()
	r := startRsyslog(t)
	for network, place := range r.places() {
		log, stderr := open(t, place, Options{Hostname: "mail.example.org"})
		before := r.lines()
		log.Warn("login refused", "by", network, "remote", "[2001:db8::1]:4711", "user", `a"b\c]d é`, "err", "one\ntwo")
		all := r.has(before + 1)
		got := all[len(all)-1]
		if got.Facility != "mail" || got.Severity != "warning" || got.App != "usher" || got.PID != strconv.Itoa(os.Getpid()) ||
			got.ID != "login-refused" || got.Host != "mail.example.org" {
			t.Errorf("%s: %+v", network, got)
		}
		f := got.fields()
		if f["by"] != network || f["remote"] != "[2001:db8::1]:4711" || f["user"] != `a"b\c]d é` || f["err"] != `one\ntwo` {
			t.Errorf("%s: %q", network, f)
		}
		want := `level=WARN msg="login refused" by=` + network + ` remote=[2001:db8::1]:4711 user="a\"b\\c]d é" err="one\ntwo"`
		if got.Msg != want || stderr.String() != "" {
			t.Errorf("%s: %q, want %q; %s", network, got.Msg, want, stderr)
		}
	}
}

func TestRsyslogOfThisMachineUnderstandsTheLine(t *testing.T) {
	t.Parallel()
	r := startRsyslog(t)
	log, _ := open(t, "syslog+unix://"+r.socket, Options{})
	log.Warn("login refused", "user", "ann")
	got := r.has(1)[0]
	if got.Facility != "mail" || got.Severity != "warning" || got.App != "usher" || got.PID != strconv.Itoa(os.Getpid()) ||
		got.Msg != ` level=WARN msg="login refused" user=ann` {
		t.Errorf("%+v", got)
	}
}

// A server that hangs costs lines, if it hangs for long, and tells how many.
func TestAFrozenSyslogDoesNotHoldLoginsUp(t *testing.T) {
	t.Parallel()
	r := startRsyslog(t)
	for _, network := range []string{"tcp", "tls", "unix"} {
		log, _ := open(t, r.places()[network], Options{most: bounds{lines: 100, bytes: 1 << 20}})
		before := r.lines() + 1
		log.Info("first", "by", network)
		r.has(before)
		r.Freeze()
		const all = 10000 // more than sockets hold
		long := strings.Repeat("x", 1000)
		begin := time.Now()
		for i := range all {
			log.Info("line", "n", i, "text", long)
		}
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("%s: logging took %v", network, d)
		}
		r.Thaw()
		came, lost := 0, 0
		for range 100 {
			if came, lost = r.count(before); came+lost >= all {
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
		if came+lost != all || lost == 0 {
			t.Errorf("%s: %d came, %d were lost, of %d", network, came, lost, all)
		}
	}
}

// count tells how many of the lines since the first ones came, and how many are said
// to be lost.
func (r *rsyslog) count(since int) (came, lost int) {
	for _, a := range r.arrivals()[since:] {
		switch a.ID {
		case "line":
			came++
		case "log-lines-were-lost":
			n, _ := strconv.Atoi(a.fields()["lines"])
			lost += n
		}
	}
	return came, lost
}

// A server that is started anew gets what was logged since usher has heard of its end.
func TestASyslogThatComesBackGetsWhatHasWaited(t *testing.T) {
	t.Parallel()
	r := startRsyslog(t)
	for _, network := range []string{"tcp", "tls", "unix"} {
		log, stderr := open(t, r.places()[network], Options{})
		before := r.lines()
		log.Info("one")
		r.has(before + 1)
		r.Stop()
		n := 0
		eventually(t, "a word about the trouble", func() bool {
			log.Info("two")
			n++
			return strings.Contains(stderr.String(), "cannot be written")
		})
		log.Info("three")
		r.Start()
		var got []arrival
		eventually(t, "the last line", func() bool {
			got = r.arrivals()[before:]
			return got[len(got)-1].ID == "three"
		})
		if len(got) < n+1 || len(got) > n+2 || got[0].ID != "one" { // one may have gone into the end of the stream
			t.Errorf("%s: of %d lines came %+v", network, n+2, got)
		}
		eventually(t, "a word about its end", func() bool { return strings.Contains(stderr.String(), "can be written again") })
	}
}

// The example for administrators does what it says, but for the places of its files.
func TestTheExampleForRsyslogWorks(t *testing.T) {
	t.Parallel()
	r := startRsyslogWith(t, func(r *rsyslog) string {
		text, err := os.ReadFile("../../contrib/rsyslog/usher.conf")
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer("usher-ca.pem", "usher-cert.pem", "/etc/rsyslog.d/usher-", r.Dir+"/", "/var/log", r.Dir, `"6514"`, `"`+r.tls+`"`).Replace(string(text))
	})
	log, _ := open(t, r.places()["tls"], Options{Hostname: "mail"})
	log.Warn("login refused", "remote", "192.0.2.1:1", "why", "wrong name or password", "user", `a"b`)
	want := `"host":"mail", "severity":"warning", "event":"login-refused", "user":"a\"b", "remote":"192.0.2.1:1", "why":"wrong name or password", "line":"level=WARN msg=`
	eventually(t, want, func() bool {
		text, _ := os.ReadFile(r.Path("usher.json"))
		lines, _ := os.ReadFile(r.Path("usher.log"))
		return strings.Contains(strings.ReplaceAll(string(text), `": "`, `":"`), want) && strings.Contains(string(lines), `msg="login refused"`)
	})
}

// Whoever has no certificate of the authority does not read who logs in.
func TestAFalseSyslogReadsNothing(t *testing.T) {
	t.Parallel()
	r, other := startRsyslog(t), startRsyslog(t)
	log, stderr := open(t, "syslog+tls://127.0.0.1:"+r.tls+"?ca="+other.Path("cert.pem"), Options{})
	log.Info("secret")
	eventually(t, "the refusal", func() bool { return strings.Contains(stderr.String(), "certificate") })
	if all := r.arrivals(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// fail2ban reads what rsyslog has written: the file looks as its filter expects.
func TestLinesLookTheSameInTheFilesOfSyslog(t *testing.T) {
	t.Parallel()
	r := startRsyslog(t)
	n := 0
	for _, place := range append([]string{"syslog+unix://" + r.socket}, r.places()["tcp"], r.places()["udp"]) {
		log, _ := open(t, place, Options{Hostname: "mail"})
		log.Warn("login refused", "id", "A1")
		n++
		r.has(n)
	}
	var text []byte
	eventually(t, "the file", func() bool {
		text, _ = os.ReadFile(filepath.Join(r.Dir, "mail.log"))
		return strings.Count(string(text), "\n") == n
	})
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, fmt.Sprintf(` usher[%d]: level=WARN msg="login refused" id=A1`, os.Getpid())) &&
			!strings.Contains(line, fmt.Sprintf(` usher[%d] level=WARN msg="login refused" id=A1`, os.Getpid())) {
			t.Errorf("%q", line)
		}
	}
}
