//go:build linux

package contender

import "usher/bench/internal/load"

// Bare is no proxy: clients talk to the store. It shows what of a duration is
// the clients' and the store's.
func Bare() Kind {
	return Kind{
		Name:    "bare",
		Version: func() (string, error) { return "", nil },
		Start: func(s *Site) (*Contender, error) {
			return &Contender{Doors: Doors{
				IMAP: load.Door{Protocol: "imap", Addr: s.IMAP},
				POP3: load.Door{Protocol: "pop3", Addr: s.POP3},
			}}, nil
		},
	}
}
