package account

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// said is a source that says the same of some names.
type said map[string]Record

func (s said) Ask(_ context.Context, q Query) (Record, error) {
	q.Trace.Asks("", "name = "+q.Name)
	if rec, ok := s[q.Name]; ok {
		return rec, nil
	}
	return Record{}, ErrUnknown
}

func template(t *testing.T, text string) Template {
	t.Helper()
	tmpl, err := ParseFieldTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestHostsAreRewritten(t *testing.T) {
	for _, c := range []struct {
		fields Fields
		set    map[string]string
		want   string
	}{
		{Fields{"host": "a"}, map[string]string{"host": "{host}-vpn:10143"}, "a-vpn:10143"},
		{Fields{"mailhost": "a"}, map[string]string{"host": "{host}-vpn"}, "a-vpn"},
		{Fields{"mailhost": "a"}, map[string]string{"host": "{mailhost}-vpn"}, "a-vpn"},
		{Fields{"host": "a, b"}, map[string]string{"host": "{host}-vpn:10143"}, "a-vpn:10143 b-vpn:10143"},
		{Fields{}, map[string]string{"host": "{host}-vpn"}, ""}, // nobody lives on "-vpn"
		{Fields{"shard": "7"}, map[string]string{"host": "imap{shard}.example.org"}, "imap7.example.org"},
		{Fields{"options": "mailhost=a,shard=7"}, map[string]string{"host": "{host}{shard}"}, "a7"},
		{Fields{"host": "{user}"}, map[string]string{"host": "x{host}"}, "x{user}"}, // results are not expanded again
		{Fields{"host": "a"}, map[string]string{"host": "{domain}"}, "example.org"},
		{Fields{"host": "a", "user": "ann@canonical"}, map[string]string{"host": "{domain}"}, "canonical"},
		{Fields{"host": "a", "shard": "b"}, map[string]string{"host": "{shard}", "shard": "{host}"}, "b"}, // as it was returned
	} {
		r := Reader{Name: "test", Source: said{"ann@example.org": {Fields: c.fields}}, Set: map[string]Template{}}
		for field, text := range c.set {
			r.Set[field] = template(t, text)
		}
		a, err := r.Lookup(t.Context(), Query{Name: "ann@example.org"})
		if err != nil {
			t.Errorf("%v: %v", c.fields, err)
			continue
		}
		if got := strings.Join(a.Place.Hosts, " "); got != c.want {
			t.Errorf("%v with %v lives on %q, want %q", c.fields, c.set, got, c.want)
		}
	}
}

// A name with a comma in it would put another host into the list, or a port.
func TestAClientsNameIsNoListOfHosts(t *testing.T) {
	for _, c := range []struct{ host, name, want string }{
		{"imap.{domain}.internal", "ann@x,127.0.0.1:25,y", ""},
		{"{name}-vpn:10143", "evil.example:143,ann@example.org", ""},
		{"{name}-vpn:10143", "evil.example:143", ""},
		{"{host}.{domain}", "ann@x,127.0.0.1:25,y", ""},
		{"{server_name}", "ann", ""},
		{"imap.{domain}.internal", "ann@example.org", "imap.example.org.internal"},
		{"{host}", "a,b@example.org", "east"},
	} {
		r := Reader{Name: "test", Source: said{c.name: {Fields: Fields{"host": "east"}}}, Set: map[string]Template{"host": template(t, c.host)}}
		a, err := r.Lookup(t.Context(), Query{Name: c.name, ServerName: "a,b"})
		if err != nil || strings.Join(a.Place.Hosts, " ") != c.want {
			t.Errorf("%q of %q: %+v, %v; want %q", c.host, c.name, a, err, c.want)
		}
	}
}

func TestSeveralKeysAreTriedInOrder(t *testing.T) {
	r := Reader{
		Name:   "test",
		Source: said{"ann@example.org": {Fields: Fields{"host": "own"}}, "@example.org": {Fields: Fields{"host": "domains"}}, "eve": {Fields: Fields{"host": "bare", "user": "eve@canonical"}}},
		Keys:   []Template{template(t, "{user}"), template(t, "{name}"), template(t, "@{domain}")},
	}
	for name, want := range map[string]string{
		"ann@example.org": "own ann@example.org", "bob@example.org": "domains bob@example.org", "eve@example.org": "bare eve@canonical", "bob@other": "no such account",
	} {
		var got string
		a, err := r.Lookup(t.Context(), Query{Name: name})
		if err != nil {
			got = err.Error()
		} else {
			got = a.Place.Hosts[0] + " " + a.Name
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestNamesThatNobodyHasAreNotAsked(t *testing.T) {
	r := Reader{Name: "test", Source: everybody{}}
	for _, name := range []string{"", " ann", "ann ", "ann\x00", "ann\t", "\xff", "ann\u00a0", strings.Repeat("a", MaxName+1)} {
		if a, err := r.Lookup(t.Context(), Query{Name: name}); !errors.Is(err, ErrUnknown) {
			t.Errorf("%.40q: %v, %v", name, a, err)
		}
	}
}

type everybody struct{}

func (everybody) Ask(context.Context, Query) (Record, error) { return Record{}, nil }

func TestAnErrorNamesSourceUserAndField(t *testing.T) {
	r := Reader{Name: "people", Source: said{"ann": {Fields: Fields{"port": "x"}}}}
	_, err := r.Lookup(t.Context(), Query{Name: "ann"})
	for _, want := range []string{`accounts "people"`, `user "ann"`, `field "port"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want one with %s", err, want)
		}
	}
}

func TestWhatASourceHasProvenIsProven(t *testing.T) {
	r := Reader{Name: "test", Source: said{"ann": {Proven: true}}}
	a, err := r.Lookup(t.Context(), Query{Name: "ann", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Proof.Check(t.Context(), "secret"); err != nil {
		t.Errorf("the password that was shown: %v", err)
	}
	for _, other := range []string{"", "Secret", "secret "} {
		if err := a.Proof.Check(t.Context(), other); !errors.Is(err, ErrRefused) {
			t.Errorf("another password: %v", err)
		}
	}
	answer := Answer{"cram-md5", "<1@x>", "ann 3f"}
	a, err = r.Lookup(t.Context(), Query{Name: "ann", Answer: &answer})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Answered(answer) || a.Answered(Answer{"cram-md5", "<1@x>", "ann 40"}) || a.Answered(Answer{}) {
		t.Error("the answer that was shown is not the one that is right")
	}
	if err := a.Proof.Check(t.Context(), ""); !errors.Is(err, ErrRefused) {
		t.Errorf("after an answer to a challenge a password is worth: %v", err)
	}
}

// heard is a source that keeps what it is asked.
type heard struct{ queries []Query }

func (h *heard) Ask(_ context.Context, q Query) (Record, error) {
	h.queries = append(h.queries, q)
	return Record{Fields: Fields{"password": "{PLAIN}secret"}, Proven: q.Answer != nil}, nil
}

func TestASourceHearsOnlyOfAnswersThatItCanCheck(t *testing.T) {
	h := &heard{}
	r := Reader{Source: h, Answers: []string{"cram-md5"}}
	for method, checked := range map[string]bool{"cram-md5": true, "apop": false} {
		answer := Answer{method, "<1@x>", "3f"}
		a, err := r.Lookup(t.Context(), Query{Name: "ann", Answer: &answer})
		if err != nil {
			t.Fatal(err)
		}
		if last := h.queries[len(h.queries)-1]; (last.Answer != nil) != checked || a.Answered(answer) != checked {
			t.Errorf("%s: the source hears of %+v, and %v is proven", method, last.Answer, a.Answered(answer))
		}
		if stored := a.Stored("imap"); !checked && len(stored) != 1 {
			t.Errorf("%s: by %q it is to be checked", method, stored)
		}
	}
}

// bind is a proof by question.
type bind struct{ dn string }

func (bind) Check(context.Context, string) error { return errors.New("down") }
func (b bind) Identity() string                  { return b.dn }

func TestARightPasswordIsKnownWithoutBeingKept(t *testing.T) {
	all := newMemories(Times{Good: time.Minute, Stale: time.Hour}, nil)
	m := all.of("ann")
	hash, ann := Hashed{[]string{"{PLAIN}a"}}, bind{"cn=ann"}
	m.Keep(ann, "secret")
	if all.of("ann") != m || all.of("bob") == m {
		t.Error("each account has its own memory")
	}
	for _, c := range []struct {
		p        Proof
		password string
		age      time.Duration
		down     bool
		want     bool
	}{
		{ann, "secret", 0, false, true},
		{ann, "other", 0, false, false},
		{bind{"cn=eve"}, "secret", 0, false, false},
		{hash, "secret", 0, false, false},
		{ann, "secret", 2 * time.Minute, false, false},
		{ann, "secret", 2 * time.Minute, true, true},
		{ann, "secret", 2 * time.Hour, true, false},
	} {
		m.at = time.Now().Add(-c.age)
		if got := m.Knows(c.p, c.password, c.down); got != c.want {
			t.Errorf("%+v is known: %v", c, got)
		}
	}
	var none *Memory
	if none.Keep(ann, "x"); none.Knows(ann, "x", false) {
		t.Error("no memory knows something")
	}
}

func TestATraceTellsHowAnAnswerWasFound(t *testing.T) {
	r := Reader{Name: "people", Source: said{"ann": {Fields: Fields{"host": "a"}}}, Keys: []Template{template(t, "{user}"), template(t, "{name}")}, Set: map[string]Template{"host": template(t, "{host}-vpn")}}
	var trace Trace
	if _, err := r.Lookup(t.Context(), Query{Name: "ann@example.org", Trace: &trace}); err != nil {
		t.Fatal(err)
	}
	s := trace.Steps[0]
	if s.Source != "people" || s.Key != "ann" || len(s.Asked) != 2 || s.Fields["host"] != "a" || s.Set["host"] != "a-vpn" || s.Err != nil {
		t.Errorf("%+v", s)
	}
}

func BenchmarkReader(b *testing.B) {
	r := Reader{Name: "test", Source: said{"ann@example.org": {Fields: Fields{"user": "ann@example.org", "password": "{PLAIN}abcdefghijklm", "host": "imap1", "port": "993", "ssl": "yes"}}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Lookup(b.Context(), Query{Name: "ann@example.org", Protocol: "imap"}); err != nil {
			b.Fatal(err)
		}
	}
}
