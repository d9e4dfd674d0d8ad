package route_test

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"usher/internal/account"
	"usher/internal/route"
)

var eastTLS = &tls.Config{ServerName: "of east"}

// table is the configuration of most tests here.
func table(rules ...route.Rule) *route.Table {
	return &route.Table{
		Ports: map[string]route.Ports{"imap": {Clear: 143, TLS: 993}, "pop3": {Clear: 110, TLS: 995}},
		Backends: map[string]route.Backend{
			route.Default: {Addrs: map[string][]string{"": {"mail"}}, TLS: account.TLSNone, ConnectTimeout: time.Second, Timeout: 9 * time.Second},
			"east": {
				Addrs: map[string][]string{"": {"east1", "east2:1143"}, "pop3": {"[2001:db8::1]"}},
				TLS:   account.TLSStart, Config: eastTLS, ConnectTimeout: 2 * time.Second, Timeout: 8 * time.Second,
			},
			"west": {
				Addrs: map[string][]string{"imap": {"west"}}, TLS: account.TLSImplicit,
				Master: "master", MasterPassword: "mpw", Mechanism: "PLAIN",
			},
		},
		Rules: rules,
	}
}

func ann(p account.Place) *account.Account {
	return &account.Account{Name: "ann@example.org", Place: p}
}

func place(t *testing.T, tb *route.Table, protocol string, a *account.Account) route.Dial {
	t.Helper()
	target, err := tb.Place(route.Visit{Protocol: protocol, Remote: netip.MustParseAddr("192.0.2.7"), Account: a})
	if err != nil {
		t.Fatal(err)
	}
	return target.(route.Dial)
}

// names are the stops, as in the log.
func names(d route.Dial) string {
	var list []string
	for _, s := range d.Stops {
		list = append(list, s.String())
	}
	return strings.Join(list, " ")
}

func TestAnAccountGoesWhereItsMailIs(t *testing.T) {
	hosts := func(h ...string) account.Place { return account.Place{Hosts: h} }
	for _, c := range []struct {
		name, protocol string
		place          account.Place
		want           string
	}{
		{"no host", "imap", account.Place{}, "default/mail:143"},
		{"no host, POP3", "pop3", account.Place{}, "default/mail:110"},
		{"a backend's name", "imap", hosts("east"), "east/east1:143 east/east2:1143"},
		{"a backend's addresses for one protocol", "pop3", hosts("east"), "east/[2001:db8::1]:110"},
		{"a host", "imap", hosts("10.0.0.1"), "default/10.0.0.1:143"},
		{"a host with port", "imap", hosts("other:1143"), "default/other:1143"},
		{"several, in order", "imap", hosts("b", "east", "a"), "default/b:143 east/east1:143 east/east2:1143 default/a:143"},
		{"IPv6", "imap", hosts("2001:db8::2"), "default/[2001:db8::2]:143"},
		{"IPv6 in brackets", "imap", hosts("[2001:db8::2]"), "default/[2001:db8::2]:143"},
		{"IPv6 with port", "imap", hosts("[2001:db8::2]:10143"), "default/[2001:db8::2]:10143"},
		{"SQL's inet", "imap", hosts("10.0.0.1/32"), "default/10.0.0.1:143"},
		{"the field port", "imap", account.Place{Hosts: []string{"other"}, Port: 1143}, "default/other:1143"},
		{"the host's port wins", "imap", account.Place{Hosts: []string{"other:1"}, Port: 1143}, "default/other:1"},
		{"the field port, implicit TLS", "imap", account.Place{Hosts: []string{"other"}, Port: 1143, TLS: account.TLSImplicit}, "default/other:1143"},
		{"implicit TLS", "imap", account.Place{TLS: account.TLSImplicit}, "default/mail:993"},
		{"implicit TLS, POP3", "pop3", account.Place{TLS: account.TLSImplicit}, "default/mail:995"},
		{"STARTTLS", "imap", account.Place{TLS: account.TLSStart}, "default/mail:143"},
		{"a backend with implicit TLS", "imap", hosts("west"), "west/west:993"},
	} {
		if got := names(place(t, table(), c.protocol, ann(c.place))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestAStopHasItsBackendsSettings(t *testing.T) {
	s := place(t, table(), "imap", ann(account.Place{Hosts: []string{"east"}})).Stops[0]
	if s.TLS != account.TLSStart || !s.NeedsStartTLS() || s.Config != eastTLS || s.ConnectTimeout != 2*time.Second || s.AnyCert {
		t.Errorf("the stop is %+v", s)
	}
	s = place(t, table(), "imap", ann(account.Place{Hosts: []string{"east"}, TLS: account.TLSNone, AnyCert: true})).Stops[0]
	if s.TLS != account.TLSNone || s.NeedsStartTLS() || !s.AnyCert {
		t.Errorf("the account's own settings are not in %+v", s)
	}
}

func TestTheTimeoutIsTheAccountsOrTheFirstBackends(t *testing.T) {
	for _, c := range []struct {
		place account.Place
		want  time.Duration
	}{
		{account.Place{}, 9 * time.Second},
		{account.Place{Hosts: []string{"east", "mail"}}, 8 * time.Second},
		{account.Place{Hosts: []string{"west", "east"}}, 8 * time.Second}, // west has none
		{account.Place{Timeout: time.Minute}, time.Minute},
	} {
		if got := place(t, table(), "imap", ann(c.place)).Timeout; got != c.want {
			t.Errorf("%+v: %v, want %v", c.place, got, c.want)
		}
	}
}

func TestWhoLogsIn(t *testing.T) {
	for _, c := range []struct {
		name  string
		place account.Place
		want  route.Login
	}{
		{"the user", account.Place{}, route.Login{User: "ann@example.org"}},
		{"the user by another name", account.Place{User: "ann"}, route.Login{User: "ann"}},
		{"the backend's master", account.Place{Hosts: []string{"west"}}, route.Login{User: "ann@example.org", Password: "mpw", Master: "master", Mechanism: "PLAIN"}},
		{"the master, for another name", account.Place{Hosts: []string{"west"}, User: "a"}, route.Login{User: "a", Password: "mpw", Master: "master", Mechanism: "PLAIN"}},
		{"the account's own password", account.Place{Hosts: []string{"west"}, Password: "own"}, route.Login{User: "ann@example.org", Password: "own", Mechanism: "PLAIN"}},
		{"the account's own master", account.Place{Hosts: []string{"west"}, Password: "own", Master: "m2"}, route.Login{User: "ann@example.org", Password: "own", Master: "m2", Mechanism: "PLAIN"}},
		{"the account's mechanism", account.Place{Hosts: []string{"west"}, Mechanism: "LOGIN"}, route.Login{User: "ann@example.org", Password: "mpw", Master: "master", Mechanism: "LOGIN"}},
	} {
		got := place(t, table(), "imap", ann(c.place)).Stops[0].Login
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestTheFirstRuleThatMatchesDecides(t *testing.T) {
	gold := map[string]string{"plan": "gold"}
	visit := route.Visit{
		Protocol: "imap", Remote: netip.MustParseAddr("::ffff:192.0.2.7"),
		Account: &account.Account{Name: "Ann.Lee@Example.org", Attrs: gold, Place: account.Place{Hosts: []string{"own"}}},
	}
	for _, c := range []struct {
		name    string
		rule    route.Rule
		matches bool
	}{
		{"no condition", route.Rule{}, true},
		{"protocol", route.Rule{Protocol: "imap"}, true},
		{"other protocol", route.Rule{Protocol: "pop3"}, false},
		{"domain, in any case", route.Rule{Domain: "EXAMPLE.ORG"}, true},
		{"other domain", route.Rule{Domain: "example.com"}, false},
		{"part of the domain", route.Rule{Domain: "ample.org"}, false},
		{"user", route.Rule{User: "ann.lee@example.org"}, true},
		{"user, in any case", route.Rule{User: "ANN.*"}, true},
		{"user without domain", route.Rule{User: "ann.lee"}, false},
		{"question mark", route.Rule{User: "an?.l??@*"}, true},
		{"too few characters", route.Rule{User: "ann.lee@example.org?"}, false},
		{"stars that give way", route.Rule{User: "*e*e*org"}, true},
		{"star for nothing", route.Rule{User: "*ann.lee@example.org*"}, true},
		{"network", route.Rule{Network: netip.MustParsePrefix("192.0.2.0/24")}, true},
		{"network by an address in it", route.Rule{Network: netip.MustParsePrefix("192.0.2.99/24")}, true},
		{"other network", route.Rule{Network: netip.MustParsePrefix("192.0.3.0/24")}, false},
		{"IPv6 network", route.Rule{Network: netip.MustParsePrefix("::/0")}, false},
		{"attribute", route.Rule{Attrs: gold}, true},
		{"attribute, name in any case", route.Rule{Attrs: map[string]string{"PLAN": "gold"}}, true},
		{"attribute with another value", route.Rule{Attrs: map[string]string{"plan": "Gold"}}, false},
		{"attribute that is not there", route.Rule{Attrs: map[string]string{"tier": "1"}}, false},
		{"one of two attributes", route.Rule{Attrs: map[string]string{"plan": "gold", "tier": "1"}}, false},
		{"all together", route.Rule{Protocol: "imap", Domain: "example.org", User: "a*", Network: netip.MustParsePrefix("192.0.0.0/16"), Attrs: gold}, true},
		{"all but one", route.Rule{Protocol: "imap", Domain: "example.org", User: "b*", Network: netip.MustParsePrefix("192.0.0.0/16"), Attrs: gold}, false},
	} {
		c.rule.To = "east"
		target, err := table(c.rule, route.Rule{To: "west"}).Place(visit)
		want := map[bool]string{true: "east/east1:143", false: "west/west:993"}[c.matches]
		if err != nil || target.Name() != want {
			t.Errorf("%s: goes to %v %v, want %s", c.name, target, err, want)
		}
	}
}

func TestQuestionMarksStandForCharactersNotBytes(t *testing.T) {
	tb := table(route.Rule{User: "?nn", To: "east"})
	if got := place(t, tb, "imap", &account.Account{Name: "änn"}); got.Name() != "east/east1:143" {
		t.Errorf("änn goes to %s", got.Name())
	}
}

func TestALinkLocalClientIsInItsNetwork(t *testing.T) {
	tb := table(route.Rule{Network: netip.MustParsePrefix("fe80::/10"), To: "east"})
	target, err := tb.Place(route.Visit{Protocol: "imap", Remote: netip.MustParseAddr("fe80::1%eth0"), Account: ann(account.Place{})})
	if err != nil || target.Name() != "east/east1:143" {
		t.Errorf("goes to %v %v", target, err)
	}
}

func TestRulesMaySendToTheAccountAndRefuse(t *testing.T) {
	a := ann(account.Place{Hosts: []string{"own"}})
	if got := names(place(t, table(route.Rule{To: route.ToAccount}, route.Rule{To: "east"}), "imap", a)); got != "default/own:143" {
		t.Errorf("account: %s", got)
	}
	if got := names(place(t, table(route.Rule{Protocol: "pop3", To: route.ToRefuse}), "imap", a)); got != "default/own:143" {
		t.Errorf("without a rule that matches: %s", got)
	}
	_, err := table(route.Rule{To: route.ToRefuse}).Place(route.Visit{Protocol: "imap", Account: a})
	if !errors.Is(err, route.ErrRefused) {
		t.Errorf("refuse: %v", err)
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	nowhere := table()
	delete(nowhere.Backends, route.Default)
	for _, c := range []struct {
		name  string
		table *route.Table
		place account.Place
		want  string
	}{
		{"nowhere to go", nowhere, account.Place{}, route.ErrNowhere.Error()},
		{"no address for the protocol", table(), account.Place{Hosts: []string{"west"}}, `backend "west" has no address for pop3`},
		{"two hosts in one", table(), account.Place{Hosts: []string{"a b"}}, `host "a b" is neither a name nor an address`},
		{"a bad port", table(), account.Place{Hosts: []string{"a:99999"}}, `host "a:99999": "99999" is not a port number`},
		{"one bad host of several", table(), account.Place{Hosts: []string{"a", "b:"}}, `host "b:": the port is missing behind the colon`},
	} {
		target, err := c.table.Place(route.Visit{Protocol: "pop3", Account: ann(c.place)})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, %v; want %s", c.name, target, err, c.want)
		}
	}
}

func TestTheSameQuestionHasTheSameAnswer(t *testing.T) {
	tb := table(route.Rule{User: "x*", To: "west"}, route.Rule{Domain: "example.org", To: route.ToAccount})
	a := ann(account.Place{Hosts: []string{"east", "other"}, Password: "own"})
	v := route.Visit{Protocol: "imap", Remote: netip.MustParseAddr("192.0.2.7"), Account: a}
	first, _ := tb.Place(v)
	first.(route.Dial).Stops[0].Addr = "changed by the caller"
	second, _ := tb.Place(v)
	third, _ := tb.Place(v)
	if !reflect.DeepEqual(second, third) || second.Name() != "east/east1:143" {
		t.Errorf("%v, then %v", second, third)
	}
	want := table(route.Rule{User: "x*", To: "west"}, route.Rule{Domain: "example.org", To: route.ToAccount})
	if diff := cmp.Diff(want, tb, cmpopts.IgnoreUnexported(tls.Config{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("the table was changed (-want +got):\n%s", diff)
	}
	if !reflect.DeepEqual(a, ann(account.Place{Hosts: []string{"east", "other"}, Password: "own"})) {
		t.Errorf("the account was changed: %+v", a)
	}
}

func TestACertificateMustFitTheHostThatIsDialled(t *testing.T) {
	s := route.Stop{Addr: "mail.example.org:993", Config: eastTLS}
	c := s.ClientConfig()
	if c.ServerName != "mail.example.org" || c.InsecureSkipVerify || eastTLS.ServerName != "of east" {
		t.Errorf("%q, %v; the backend's own is now %q", c.ServerName, c.InsecureSkipVerify, eastTLS.ServerName)
	}
	if s.AnyCert = true; !s.ClientConfig().InsecureSkipVerify || eastTLS.InsecureSkipVerify {
		t.Error("any-cert does not hold for this stop alone")
	}
	c = route.Stop{Addr: "[2001:db8::1]:993"}.ClientConfig()
	if c.ServerName != "2001:db8::1" || c.MinVersion < tls.VersionTLS12 {
		t.Errorf("without settings: %q, version %x", c.ServerName, c.MinVersion)
	}
}

func TestAReferralKeepsAllSettings(t *testing.T) {
	d := place(t, table(), "imap", ann(account.Place{Hosts: []string{"east"}}))
	for _, c := range []struct{ addr, user, wantAddr, wantUser string }{
		{"new", "", "new:1143", "ann@example.org"},
		{"new:144", "bob", "new:144", "bob"},
		{"2001:db8::9", "", "[2001:db8::9]:1143", "ann@example.org"},
	} {
		target, err := d.Referred(d.Stops[1], c.addr, c.user)
		if err != nil {
			t.Fatal(err)
		}
		want := d.Stops[1]
		want.Addr, want.Login.User = c.wantAddr, c.wantUser
		if got := target.(route.Dial); !reflect.DeepEqual(got, route.Dial{Stops: []route.Stop{want}, Timeout: d.Timeout}) {
			t.Errorf("%s: %+v, want %+v", c.addr, got, want)
		}
	}
	if _, err := d.Referred(d.Stops[0], "a b", ""); err == nil {
		t.Error("a referral to nowhere is followed")
	}
	if d.Stops[1].Addr != "east2:1143" {
		t.Errorf("the first target is now %v", d)
	}
}
