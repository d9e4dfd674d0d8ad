package tickets_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/tickets"
)

// birth is when the clocks of these tests begin.
var birth = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// A clock stands still until it is set.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// keyFile is where the keys of a test are.
func keyFile(t *testing.T) string { return filepath.Join(t.TempDir(), "tickets.keys") }

// open opens a file that must be in order.
func open(t *testing.T, file string, now func() time.Time) *tickets.Keys {
	t.Helper()
	k, err := tickets.Open(file, now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// current are the keys, which must be in order.
func current(t *testing.T, k *tickets.Keys) [][32]byte {
	t.Helper()
	keys, err := k.Current()
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) == 0 || slices.Contains(keys, [32]byte{}) {
		t.Fatal("there are no keys, or an empty one")
	}
	return keys
}

func TestKeysAreTheSameAfterARestart(t *testing.T) {
	file, c := keyFile(t), &clock{birth}
	before := current(t, open(t, file, c.now))
	c.at = birth.Add(24*time.Hour - 1)
	if after := current(t, open(t, file, c.now)); len(before) != 1 || !slices.Equal(before, after) {
		t.Errorf("%d keys, then %d others", len(before), len(after))
	}
}

func TestNobodyElseCanReadTheKeys(t *testing.T) {
	file := keyFile(t)
	open(t, file, time.Now)
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}

func TestAKeySealsForADayAndOpensForAWeek(t *testing.T) {
	c := &clock{birth}
	k := open(t, keyFile(t), c.now)
	first := current(t, k)[0]
	for day := range 20 {
		c.at = birth.Add(time.Duration(day) * 24 * time.Hour)
		before := current(t, k)
		if len(before) != min(day+1, 7) {
			t.Fatalf("on day %d there are %d keys", day, len(before))
		}
		if got := slices.Index(before, first); got != day && (day < 7 || got != -1) {
			t.Fatalf("on day %d the first key is at %d", day, got)
		}
		c.at = c.at.Add(24*time.Hour - 1)
		if late := current(t, k); late[0] != before[0] {
			t.Fatalf("at the end of day %d another key seals", day)
		}
	}
}

// A key from the future would otherwise be used until then.
func TestAClockThatWasTurnedBackLeavesNoKeyForEver(t *testing.T) {
	file, c := keyFile(t), &clock{birth.AddDate(1, 0, 0)}
	wrong := current(t, open(t, file, c.now))
	c.at = birth
	if right := current(t, open(t, file, c.now)); slices.Contains(right, wrong[0]) {
		t.Error("the key of next year is in use")
	}
	c.at = birth.Add(-time.Second)
	if len(current(t, open(t, file, c.now))) != 1 {
		t.Error("a second is too much")
	}
}

func TestTheKeysAreNotInAnyLog(t *testing.T) {
	k := open(t, keyFile(t), time.Now)
	secret := current(t, k)[0]
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("keys", "keys", k)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("keys", "keys", k)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&log, verb+"\n", k)
	}
	for _, form := range []string{
		string(secret[:]), hex.EncodeToString(secret[:]), base64.StdEncoding.EncodeToString(secret[:]),
		strings.Trim(fmt.Sprintf("%d", secret[:4]), "[]"),
	} {
		if strings.Contains(log.String(), form) {
			t.Errorf("the log has %q:\n%s", form, &log)
		}
	}
}
