package handover

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"usher/internal/session"
)

// ends are both ends of the socket, in one process.
func ends(t *testing.T) (old conn, heritage *Heritage) {
	t.Helper()
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := connOf(theirs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), nc.Close() })
	return conn{ours}, &Heritage{conn{nc}}
}

func TestAnotherFormatIsRefused(t *testing.T) {
	old, h := ends(t)
	_ = old.send(message{Kind: hello, Format: format + 1})
	if _, err := h.Take(); err == nil || !strings.Contains(err.Error(), "restart usher instead") {
		t.Errorf("%v", err)
	}
}

func TestAWordOutOfPlaceIsAnError(t *testing.T) {
	for _, c := range []struct {
		says message
		do   func(*Heritage) error
		want string
	}{
		{message{Kind: ready}, func(h *Heritage) error { _, err := h.Take(); return err }, `"ready" where "hello"`},
		{message{Kind: hello}, func(h *Heritage) error { return h.Adopt(Adoption{}) }, `"hello" where a session`},
		{message{Kind: moving}, func(h *Heritage) error { return h.Adopt(Adoption{}) }, `0 sockets came with "moving", not 2`},
	} {
		old, h := ends(t)
		_ = old.send(c.says)
		if err := c.do(h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.says.Kind, err)
		}
	}
}

func TestTheEndOfTheOtherIsNoError(t *testing.T) {
	old, h := ends(t)
	_ = old.nc.Close()
	if err := h.Adopt(Adoption{}); err != nil {
		t.Errorf("%v", err)
	}
	if err := h.send(message{Kind: ready}); err == nil || errors.Is(err, errOver) {
		t.Errorf("a word to nobody: %v", err)
	}
	_, h = ends(t)
	h.Leave()
	if err := h.Adopt(Adoption{}); err != nil {
		t.Errorf("after Leave: %v", err)
	}
}

// An upgrade from a version that knows less of sessions, and one back to it.
func TestVersionsMayKnowMoreOrLessOfASession(t *testing.T) {
	old, h := ends(t)
	for _, says := range []string{
		`{"kind":"moving","session":{"ID":7,"Account":"ann","Remote":"192.0.2.1:5"}}`,
		`{"kind":"moving","session":{"ID":7,"Account":"ann","Remote":"192.0.2.1:5","Near":"10.0.0.1:1","Shoe":"42"},"hat":true}`,
	} {
		if _, err := old.nc.Write([]byte(says)); err != nil {
			t.Fatal(err)
		}
		m, err := h.receive()
		if err != nil || m.Session.Account != "ann" || m.Session.Remote.Port() != 5 {
			t.Errorf("%s: %+v, %v", says, m.Session, err)
		}
	}
	if text, _ := json.Marshal(session.Session{ID: 7, Account: "ann"}); strings.Contains(string(text), "Near") {
		t.Errorf("what is not known is said: %s", text)
	}
}
