package embedded

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/account"
)

// age makes the database's files look as if nobody had written for a while.
func age(t *testing.T, state string) {
	t.Helper()
	long := time.Now().Add(-time.Hour).Add(time.Duration(time.Now().UnixNano() % 1e9))
	for _, end := range []string{"", "-wal"} {
		if err := os.Chtimes(filepath.Join(state, File+end), long, long); err != nil {
			t.Fatal(err)
		}
	}
}

func host(t *testing.T, s *Store, user string) string {
	t.Helper()
	a, err := lookup(t.Context(), s, account.Query{Name: user})
	if err != nil {
		t.Fatal(err)
	}
	return a.Place.Hosts[0]
}

// One process looks up, another changes: as usher and usher account do.
func TestAChangeHoldsForTheNextLookUp(t *testing.T) {
	dir := t.TempDir()
	looks, changes := open(t, dir), open(t, dir)
	if err := changes.Add(t.Context(), account.Fields{"user": "ann", "nopassword": "Y", "host": "north"}); err != nil {
		t.Fatal(err)
	}
	for i, to := range []string{"south", "east", "west"} {
		if i > 0 {
			age(t, dir) // so that it is remembered
		}
		was := host(t, looks, "ann")
		if again := host(t, looks, "ann"); again != was {
			t.Errorf("%s, then %s", was, again)
		}
		if err := changes.Set(t.Context(), "ann", account.Fields{"host": to}); err != nil {
			t.Fatal(err)
		}
		if got := host(t, looks, "ann"); got != to {
			t.Errorf("after a change to %s it is on %s", to, got)
		}
	}
	age(t, dir)
	_ = host(t, looks, "ann")
	if err := changes.Remove(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := lookup(t.Context(), looks, account.Query{Name: "ann"}); !errors.Is(err, account.ErrUnknown) {
		t.Errorf("after it was removed: %v", err)
	}
}

func TestWhatIsRememberedHasABound(t *testing.T) {
	m := &memory{}
	for i := range 3 * remembered {
		m.keep(string(rune(i)), account.Fields{}, state{})
	}
	if len(m.at) > remembered {
		t.Errorf("%d accounts are kept", len(m.at))
	}
	for range 4 {
		m.keep("big", account.Fields{"note": strings.Repeat("x", most/3)}, state{})
	}
	if len(m.rows) > most {
		t.Errorf("%d bytes are kept", len(m.rows))
	}
}

func FuzzARememberedRowIsWhatWasRead(f *testing.F) {
	f.Add("ann", "user", "ann", "quota", "5G")
	f.Add("", "host", "x", "\x01", "\x00")
	f.Fuzz(func(t *testing.T, name, field, value, other, text string) {
		fields := account.Fields{field: value, other: text}
		row := string(pack(name, fields))
		maps.DeleteFunc(fields, func(_, value string) bool { return value == "" }) // the same as none
		if got := unpack(row, name); !maps.Equal(got, fields) {
			t.Errorf("%q of %q became %q", fields, name, got)
		}
		if unpack(row, name+"x") != nil {
			t.Error("it is found by another name")
		}
	})
}

func TestARememberedAccountNeedsNoQuery(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Add(t.Context(), account.Fields{"user": "ann", "nopassword": "Y", "host": "north"}); err != nil {
		t.Fatal(err)
	}
	age(t, dir)
	for i, host := range []string{"north", "north", "south"} {
		r, err := s.Ask(t.Context(), account.Query{Name: "ann"})
		if want := (account.Fields{"user": "ann", "nopassword": "Y", "host": host}); err != nil || !maps.Equal(r.Fields, want) {
			t.Fatalf("look-up %d: %v %v, want %v", i+1, r.Fields, err, want)
		}
		if i == 1 { // what is remembered is not what stands in the database
			rows := s.open.memory.rows
			copy(rows[bytes.Index(rows, []byte("north")):], "south")
		}
	}
}
