package spawn

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// groups knows which groups of /etc/group the users of /etc/passwd have. It reads
// the two files by hand: a library that asks the network has no place in the helper.
type groups struct {
	passwd, group string // the files
	least         uint32 // groups below are left out: disk, shadow and the like are as good as root
	mu            sync.Mutex
	read          [2]stamp
	uids          map[string]uint32   // by user
	gids          map[string][]uint32 // by user
}

// A stamp tells whether a file has changed.
type stamp struct {
	time time.Time
	size int64
}

// of returns the groups of a process: gid, and those of the user, if that is a user
// of the system with this uid. Groups below the least are not among them, nor is 0.
func (g *groups) of(user string, uid, gid uint32) []uint32 {
	all := []uint32{gid}
	if user == "" {
		return all
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refresh()
	if own, ok := g.uids[user]; !ok || own != uid {
		return all
	}
	for _, one := range g.gids[user] {
		if one != 0 && one >= g.least && !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// refresh reads the files anew if they have changed. What cannot be read gives no
// groups: less power, never more.
func (g *groups) refresh() {
	now := [2]stamp{stampOf(g.passwd), stampOf(g.group)}
	if now == g.read && g.uids != nil {
		return
	}
	g.read, g.uids, g.gids = now, map[string]uint32{}, map[string][]uint32{}
	for f := range rows(g.passwd) { // name:x:uid:gid:gecos:home:shell
		if id, ok := number(f, 2); ok {
			g.uids[f[0]] = id
		}
	}
	for f := range rows(g.group) { // name:x:gid:user,user
		id, ok := number(f, 2)
		if !ok || len(f) < 4 {
			continue
		}
		for _, user := range strings.Split(f[3], ",") {
			g.gids[user] = append(g.gids[user], id)
		}
	}
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

func rows(file string) func(func([]string) bool) {
	return func(yield func([]string) bool) {
		text, err := os.ReadFile(file)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(text)) {
			if !yield(strings.Split(strings.TrimSpace(line), ":")) {
				return
			}
		}
	}
}

func number(f []string, i int) (uint32, bool) {
	if len(f) <= i {
		return 0, false
	}
	n, err := strconv.ParseUint(f[i], 10, 32)
	return uint32(n), err == nil
}
