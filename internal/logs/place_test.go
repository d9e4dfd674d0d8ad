package logs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"syslog":                      "unixgram /dev/log",
		"syslog+unix:///run/log":      "unixgram /run/log",
		"syslog+udp://loghost":        "udp loghost:514",
		"syslog+tcp://192.0.2.1":      "tcp 192.0.2.1:601",
		"syslog+tls://loghost":        "tcp loghost:6514",
		"syslog+tls://[2001:db8::1]/": "tcp [2001:db8::1]:6514",
		"syslog+tcp://loghost:10514?facility=local0&format=rfc3164": "tcp loghost:10514",
	} {
		p, err := Parse(text)
		if got := p.network + " " + p.address; err != nil || got != want || (p.secure != nil) != strings.Contains(text, "tls") {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
}

// A slip is told when the configuration is read, not when the first line is lost.
func TestSlipsInPlacesAreTold(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                        "no place for a log",
		"jornal":                                  "no place for a log",
		"syslog://loghost":                        "no place for a log",
		"syslog+tcp://%zz":                        "no place for a log",
		"syslog+sctp://loghost":                   "choose from unix, udp, tcp, tls",
		"syslog+tcp://":                           "a host and a port",
		"syslog+tcp://loghost/path":               "no path",
		"syslog+tcp://ann@loghost":                "no user",
		"syslog+unix://dev/log":                   "begins with a slash",
		"syslog+unix:dev/log":                     "begins with a slash",
		"syslog+udp://loghost?facility=post":      "choose from kern user mail",
		"syslog+udp://loghost?format=json":        "choose from rfc5424, rfc3164",
		"syslog+udp://loghost?ca=/etc/ca.pem":     "ca is for syslog+tls",
		"syslog+udp://loghost?size=1":             "choose from facility, format, ca",
		"syslog+tls://loghost?ca=ca.pem":          "does not begin with a slash",
		"syslog+tls://loghost?ca=/nonexistent/ca": "no such file",
		"syslog+tls://loghost?ca=" + file:         "no certificate in",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add("syslog+tls://[2001:db8::1]:6514?ca=/x&facility=mail")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err == nil && p.kind == kindSyslog && (p.address == "" || p.network == "") {
			t.Errorf("%+v", p)
		}
	})
}
