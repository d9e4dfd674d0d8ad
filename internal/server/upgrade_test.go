package server

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/admin"
	"usher/internal/config"
	"usher/internal/handover"
	"usher/internal/relay"
	"usher/internal/session"
)

// Whoever signals an old number, from a file or from memory, must not cut commands
// off from the process that serves.
func TestAnUpgradeThatDoesNotBeginLeavesTheAdminSocketToWhoHasIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := build(t, t.TempDir(), imapOnly)
	s.Again = []string{"/nonexistent"}
	s.admin = &admin.Server{Path: path, Daemon: s, Log: s.log}
	if err := s.admin.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.closeAdmin()
	another := filepath.Join(t.TempDir(), "another's")
	if err := os.WriteFile(another, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(another, path); err != nil {
		t.Fatal(err)
	}
	for _, now := range []state{starting, retired, stopping, serving} { // serving, but the program is not there
		s.state.Store(int32(now))
		s.alone.Store(true)
		if _, err := s.Upgrade(t.Context()); err == nil {
			t.Fatalf("a process that is %s was replaced", now)
		}
		if found, _ := os.ReadFile(path); string(found) != "another's" {
			t.Fatalf("a process that is %s has taken the admin socket", now)
		}
	}
}

// immovable is a relay in which no session can be moved.
type immovable struct {
	relay.Engine
	asked int
}

func (i *immovable) Release(uint64) (relay.Pair, func(relay.Stats), bool) {
	i.asked++
	return relay.Pair{}, nil, false
}

// A day at twenty looks a second is a processor's work for thousands under TLS.
func TestSessionsThatCannotMoveCostNextToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hours = 24
		s := build(t, t.TempDir(), imapOnly)
		s.house.Load().cfg.Server.Retire = config.Duration(hours * time.Hour)
		s.accepting = t.Context()
		engine := &immovable{}
		s.relay = engine
		s.sessions.Add(&session.Session{ID: 1, TLS: "TLSv1.3"})
		s.empty(&handover.Successor{}, true)
		if most := hours * 1000; engine.asked == 0 || engine.asked > most {
			t.Errorf("the relay was asked %d times in %d hours, want at most %d", engine.asked, hours, most)
		}
	})
}

// kicks is a relay that has none of the sessions and notes who is kicked.
type kicks struct {
	relay.Engine
	hit []uint64
}

func (k *kicks) Kick(id uint64, _ relay.Ending) bool {
	k.hit = append(k.hit, id)
	return false
}

// A thief who is to be locked out must not get away in the middle of a move.
func TestASessionOnItsWayIsKickedWhereItArrives(t *testing.T) {
	s := build(t, t.TempDir(), imapOnly)
	engine := &kicks{}
	s.relay = engine
	s.sessions.Add(&session.Session{ID: 7, Account: "ann"})
	if n := s.Kick(admin.Selector{User: "ann"}); n != 0 {
		t.Errorf("%d kicked, where no session is in the relay and none moves", n)
	}
	s.state.Store(int32(retired))
	if n := s.Kick(admin.Selector{User: "ann"}); n != 1 {
		t.Errorf("%d kicked, want 1", n)
	}
	engine.hit = nil
	s.kickMoving(7, false, nil) // it has not moved after all
	if len(engine.hit) != 1 || engine.hit[0] != 7 {
		t.Errorf("kicked are %d", engine.hit)
	}
	s.kickMoving(7, false, nil)
	if len(engine.hit) != 1 {
		t.Error("it is kicked again and again")
	}
}

func TestRoomIsKeptForSessionsThatAreStillToCome(t *testing.T) {
	s := build(t, t.TempDir(), imapOnly)
	s.room = 100
	s.coming.Store(30)
	if got := s.free(); got != 70 {
		t.Errorf("there is room for %d, want 70", got)
	}
	s.stands(0)
	if got := s.free(); got != 100 {
		t.Errorf("when all have come there is room for %d, want 100", got)
	}
}
