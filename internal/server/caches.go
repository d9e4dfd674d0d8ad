package server

import (
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"usher/internal/account"
	"usher/internal/admin"
)

// What sources said is remembered by houses: each source that is far away has a cache
// of its own. Here is what becomes of the caches when houses and processes change.

// An openSource is a source that can be asked.
type openSource struct {
	name      string
	block     string // of the configuration: see config.Accounts.Block
	source    account.Source
	cache     *account.Cache // nil: the source is near, nothing is remembered
	directory account.Directory
}

// What is kept of the accounts of a source stands in the state folder, in
// cache-NAME.sealed, and the key of these files in cache.key.
const (
	cacheBegin, cacheEnd = "cache-", ".sealed"
	cacheKey             = "cache.key"
)

// isCache tells whether a file of the state folder is one of these.
func isCache(name string) bool {
	return strings.HasPrefix(name, cacheBegin) && strings.Contains(name, cacheEnd) || strings.HasPrefix(name, cacheKey)
}

// disk says where the accounts of a source outlive the process; nil: nowhere.
func (s source) disk(state string) *account.Disk {
	if !s.cfg.Cache.Disk {
		return nil
	}
	d := &account.Disk{File: cacheFile(state, s.name), Key: string(s.cfg.Cache.KeyFile), Block: s.cfg.Block()}
	if d.Key == "" {
		d.Key, d.MakeKey = filepath.Join(state, cacheKey), true
	}
	return d
}

func cacheFile(state, source string) string {
	return filepath.Join(state, cacheBegin+url.PathEscape(source)+cacheEnd)
}

// restore remembers what an earlier process has kept on the disk.
func (h *house) restore(log *slog.Logger) {
	h.eachCache(func(c *account.Cache) { c.Restore() })
	h.keep(log)
}

// keep keeps accounts on the disk from now on. What other sources have left there
// goes: nobody could flush it.
func (h *house) keep(log *slog.Logger) {
	state := string(h.cfg.Server.State)
	files, _ := os.ReadDir(state) // where none can be read there are none of ours
	for _, f := range files {
		file := filepath.Join(state, f.Name())
		kept := func(s source) bool { return s.cfg.Cache.Disk && file == cacheFile(state, s.name) }
		if !isCache(f.Name()) || !strings.HasSuffix(file, cacheEnd) || slices.ContainsFunc(h.sources, kept) {
			continue
		}
		if err := os.Remove(file); err != nil {
			log.Warn("accounts on the disk that no source keeps any more: remove the file", "err", err)
		}
	}
	h.eachCache((*account.Cache).Keep)
}

// rest leaves the disk to another house or process.
func (h *house) rest() { h.eachCache((*account.Cache).Rest) }

func (h *house) eachCache(do func(*account.Cache)) {
	for _, o := range h.opened {
		if o.cache != nil {
			do(o.cache)
		}
	}
}

// bequeath gives the next house what the old one remembers, for the time in which a
// source is down; of sources whose settings are the same.
func (s *Server) bequeath(old, next *house) {
	s.memory.Lock()
	defer s.memory.Unlock()
	for _, o := range next.opened {
		i := slices.IndexFunc(old.opened, func(was *openSource) bool { return was.name == o.name && was.block == o.block })
		if i >= 0 && o.cache != nil && old.opened[i].cache != nil {
			o.cache.Inherit(old.opened[i].cache)
		}
	}
	s.former = append(s.former, old)
	old.rest()
	next.keep(s.log)
}

// abandon closes a house when nobody is in it any more.
func (s *Server) abandon(old *house) {
	old.close()
	s.memory.Lock()
	defer s.memory.Unlock()
	s.former = slices.DeleteFunc(s.former, func(h *house) bool { return h == old })
}

// Flush implements admin.Daemon. Who is still in a former house is let in by what that
// remembers: it forgets, too.
func (s *Server) Flush(user string) (n int) {
	s.memory.Lock()
	defer s.memory.Unlock()
	for _, h := range s.former {
		h.flush(user)
	}
	return s.house.Load().flush(user)
}

func (h *house) flush(user string) (n int) {
	h.eachCache(func(c *account.Cache) {
		if user == "" {
			n += c.FlushAll()
		} else {
			n += c.Flush(user)
		}
	})
	return n
}

// status describes the sources.
func (h *house) status() (list []admin.Source) {
	for _, o := range h.opened {
		list = append(list, o.status())
	}
	return list
}

func (o *openSource) status() admin.Source {
	a := admin.Source{Name: o.name, Servers: []admin.SourceServer{}}
	if o.cache != nil {
		s := o.cache.Stats()
		a.Entries, a.Unknown, a.Hits, a.Misses, a.Stale, a.Oldest = s.Entries, s.Unknown, s.Hits, s.Misses, s.Stale, int(s.Oldest.Seconds())
	}
	h, ok := o.source.(interface{ Health() []account.Health })
	if !ok {
		return a
	}
	for _, one := range h.Health() {
		server := admin.SourceServer{Server: one.Server, Well: one.Err == nil, Since: one.Since}
		if one.Err != nil {
			server.Error = one.Err.Error()
		}
		a.Servers = append(a.Servers, server)
	}
	return a
}
