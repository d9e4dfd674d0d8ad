package route_test

import (
	"errors"
	"net/netip"
	"testing"

	"usher/internal/account"
	"usher/internal/route"
)

// here is the table of a machine that is node mx1 of a pool and serves mailboxes.
func here(rules ...route.Rule) *route.Table {
	tb := table(rules...)
	delete(tb.Backends, route.Default)
	tb.Nodes = map[string]route.Node{"mx1": {Addr: "10.0.0.1:7143", Own: true}, "mx2": {Addr: "10.0.0.2:7143"}}
	tb.Local = &route.Local{
		Programs: map[string]route.Program{
			"dovecot": {Name: "dovecot", Speaks: route.Dovecot, Mail: map[string]string{"imap": "dovecot/imap", "pop3": "dovecot/pop3"}},
			"courier": {Name: "courier", Speaks: route.Courier, Mail: map[string]string{"imap": "courier/imap"}},
		},
		Default: "dovecot", Attr: "program",
		Is: func(host string) bool { return host == "mx1.example.org" || host == "10.0.0.1" },
	}
	return tb
}

func local(p account.Place, attrs ...string) *account.Account {
	a := ann(p)
	a.Attrs = map[string]string{"uid": "1000", "gid": "1000", "home": "/home/ann"}
	for i := 0; i < len(attrs); i += 2 {
		a.Attrs[attrs[i]] = attrs[i+1]
	}
	return a
}

func TestOneFileLeadsEachMachineToTheRightOne(t *testing.T) {
	hosts := func(h ...string) account.Place { return account.Place{Hosts: h} }
	for _, c := range []struct {
		name  string
		place account.Place
		rule  string
		want  string
	}{
		{"no host", account.Place{}, "", "local/dovecot/imap"},
		{"our name", hosts("mx1.example.org"), "", "local/dovecot/imap"},
		{"our name, but not to the letter", hosts("MX1.example.org"), "", "default/MX1.example.org:143"},
		{"our address", hosts("10.0.0.1"), "", "local/dovecot/imap"},
		{"another server of ours", hosts("10.0.0.1:10143"), "", "default/10.0.0.1:10143"},
		{"another server of ours, by the field port", account.Place{Hosts: []string{"mx1.example.org"}, Port: 10143}, "", "default/mx1.example.org:10143"},
		{"our node", hosts("mx1"), "", "local/dovecot/imap"},
		{"another node", hosts("mx2"), "", "pool/10.0.0.2:7143"},
		{"another node by its address", hosts("10.0.0.2"), "", "pool/10.0.0.2:7143"},
		{"a node, then us", hosts("mx2", "mx1"), "", "pool/10.0.0.2:7143 local/dovecot/imap"},
		{"a backend", hosts("east"), "", "east/east1:143 east/east2:1143"},
		{"proxy=N", account.Place{Here: true, Hosts: []string{"mx2"}}, "", "local/dovecot/imap"},
		{"a route here", hosts("mx2"), route.ToLocal, "local/dovecot/imap"},
		{"a route home", hosts("mx2"), route.ToHome, "pool/10.0.0.2:7143"},
		{"a route home, without a host", account.Place{}, route.ToHome, "local/dovecot/imap"},
	} {
		var rules []route.Rule
		if c.rule != "" {
			rules = []route.Rule{{To: c.rule}}
		}
		if got := names(place(t, here(rules...), "imap", local(c.place))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWhatCannotBeServedHereSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name  string
		table *route.Table
		acc   *account.Account
		proto string
		want  error
	}{
		{"no program for the protocol", here(), local(account.Place{}, "program", "courier"), "pop3", route.ErrNoLocal},
		{"no [local]", table(), local(account.Place{Here: true}), "imap", route.ErrNoLocal},
		{"home is no node", here(route.Rule{To: route.ToHome}), local(account.Place{Hosts: []string{"elsewhere"}}), "imap", route.ErrNotHome},
		{"an unknown program", here(), local(account.Place{}, "program", "cyrus"), "imap", nil},
		{"no uid", here(), local(account.Place{}, "uid", ""), "imap", nil},
	} {
		target, err := c.table.Place(route.Visit{Protocol: c.proto, Remote: netip.MustParseAddr("192.0.2.7"), Account: c.acc})
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, target, err)
		}
	}
}

func TestAProtocolMayStayAtHome(t *testing.T) {
	tb := here()
	tb.Local.Stays = map[string]string{"imap": "IMAP_PROXY=0"}
	for protocol, want := range map[string]string{"imap": "local/dovecot/imap", "pop3": "pool/10.0.0.2:7143"} {
		if got := names(place(t, tb, protocol, local(account.Place{Hosts: []string{"mx2"}}))); got != want {
			t.Errorf("%s: %s, want %s", protocol, got, want)
		}
	}
}
