package postfix_test

import (
	"encoding/binary"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"usher/internal/postfix"
)

func TestMastersOptionsStandBeforeOurs(t *testing.T) {
	for _, c := range []struct {
		line string
		want postfix.Options
		rest string
	}{
		{"-t inet -u -c imap --tls implicit", postfix.Options{Type: "inet", Owner: true, Chroot: true}, "imap --tls implicit"},
		{"-l -n imaps -t inet -s 2 -u -o max_idle=5s -v imap", postfix.Options{Name: "imaps", Type: "inet", Sockets: 2, Owner: true, Verbose: true, Set: map[string]string{"max_idle": "5s"}}, "imap"},
		{"-z -t inet -i 7 -m3 pop3", postfix.Options{Type: "inet", Set: map[string]string{"max_idle": "7", "max_use": "3"}}, "pop3"},
		{"-tinet -ucv -omax_use=1 -- imap -c file", postfix.Options{Type: "inet", Owner: true, Chroot: true, Verbose: true, Set: map[string]string{"max_use": "1"}}, "imap -c file"},
		{"serve --postfix imap", postfix.Options{}, "serve --postfix imap"},
	} {
		if c.want.Sockets == 0 {
			c.want.Sockets = 1
		}
		if c.want.Set == nil {
			c.want.Set = map[string]string{}
		}
		got, rest, err := postfix.Parse(strings.Fields(c.line))
		if err != nil || !reflect.DeepEqual(got, c.want) || strings.Join(rest, " ") != c.rest {
			t.Errorf("%s: %+v %q %v", c.line, got, rest, err)
		}
	}
}

// Postfix writes -o { name = value } as one word without the braces.
func TestSettingsMayHaveBlanks(t *testing.T) {
	o, _, err := postfix.Parse([]string{"-o", "max_idle = 5m", "imap"})
	if err != nil || o.Set["max_idle"] != "5m" {
		t.Errorf("%v %v", o, err)
	}
}

func TestWhatIsNotMastersIsTold(t *testing.T) {
	for _, line := range []string{"-x imap", "-t", "-s 0 imap", "-s many imap", "-o max_idle imap", "-S imap", "-d imap"} {
		if o, _, err := postfix.Parse(strings.Fields(line)); err == nil {
			t.Errorf("%s is understood as %+v", line, o)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-t inet -u -c -s 2 -o a=b imap --tls none")
	f.Fuzz(func(t *testing.T, line string) {
		o, rest, err := postfix.Parse(strings.Fields(line))
		if err == nil && (o.Sockets < 1 || o.Sockets > 1000 || len(rest) > len(strings.Fields(line))) {
			t.Errorf("%q is %+v %q", line, o, rest)
		}
	})
}

func TestMasterCfGoesBeforeMainCf(t *testing.T) {
	main := func(...string) ([]string, error) {
		return []string{"100s", "100", "postfix", "/var/spool/postfix", "postfix"}, nil
	}
	o, _, _ := postfix.Parse(strings.Fields("-o max_idle=2m -o syslog_name=postfix/imap -o dscm_service=login"))
	s, err := o.Read(main)
	want := postfix.Settings{MaxIdle: 2 * time.Minute, MaxUse: 100, SyslogName: "postfix/imap", Queue: "/var/spool/postfix", Owner: "postfix"}
	if err != nil || s != want {
		t.Errorf("%+v %v", s, err)
	}
	if u := o.Unknown(); !reflect.DeepEqual(u, []string{"dscm_service"}) {
		t.Errorf("unknown: %q", u)
	}
	for _, bad := range []string{"soon", "", "-1s", "99999999999999999w"} {
		o.Set["max_idle"] = bad
		if _, err := o.Read(main); err == nil {
			t.Errorf("max_idle = %q is understood", bad)
		}
	}
}

func TestNobodyButMasterStartsUs(t *testing.T) {
	t.Setenv("GENERATION", "")
	for _, o := range []postfix.Options{{Type: "unix", Sockets: 1}, {Type: "inet", Sockets: 1}} {
		if _, err := postfix.Open(o); err == nil || !strings.Contains(err.Error(), "Postfix's master") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// The message is a C struct of this machine: twelve bytes.
func TestTheStatusIsOneMessage(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m := postfix.NewMaster(w, 0o12)
	if err := m.Taken(); err != nil {
		t.Fatal(err)
	}
	if err := m.Available(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, _ := r.Read(b)
	var got []uint32
	for i := 0; i+4 <= n; i += 4 {
		got = append(got, binary.NativeEndian.Uint32(b[i:]))
	}
	pid := uint32(os.Getpid())
	if want := []uint32{pid, 10, 0, pid, 10, 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("master hears %v, want %v", got, want)
	}
	gone := make(chan struct{})
	go func() { m.Gone(); close(gone) }()
	_ = r.Close()
	<-gone
}
