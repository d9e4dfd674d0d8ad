package account

import (
	"strings"
	"sync"

	"github.com/maypok86/otter/v2"
)

// memories are those of all accounts of a Reader. An account has a place here once a
// password of it was right: names that anybody can make up push nobody out.
type memories struct {
	secret *secret
	times  Times
	disk   *disk // what outlives the process; nil: nothing does

	mu        sync.Mutex
	forgotten int                           // how often something was
	right     *otter.Cache[string, *Memory] // by the account's name
}

// mostMemories is how many right passwords are known at once. Those of accounts that
// log in seldom go first.
const mostMemories = 200_000

func newMemories(t Times, d *disk) *memories {
	return &memories{secret: newSecret(), times: t, disk: d, right: otter.Must(&otter.Options[string, *Memory]{MaximumSize: mostMemories})}
}

// of is the memory of an account.
func (all *memories) of(name string) *Memory {
	if m, ok := all.right.GetIfPresent(name); ok {
		return m
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	name = strings.Clone(name) // else all that it came with would stay, such as the password
	return &Memory{home: all, name: name, born: all.forgotten}
}

// enter gives a memory its place, unless what it goes by may be older than what was
// forgotten since.
func (all *memories) enter(m *Memory) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if m.born == all.forgotten {
		all.right.SetIfAbsent(m.name, m)
	}
}

// forget forgets the right passwords of the accounts that match.
func (all *memories) forget(matches func(name string) bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.forgotten++
	for name, m := range all.right.All() {
		if matches(name) {
			m.Forget()
			all.right.Invalidate(name) // a login that has m already shall not bring it back
		}
	}
}

// clear lets go of all: an account that is still in use has its own.
func (all *memories) clear() { all.right.InvalidateAll() }
