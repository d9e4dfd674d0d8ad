// Package userdb looks accounts up in Courier's userdb: a text file, or a folder of
// them, as userdb(8) and makeuserdb(8) describe it. The text is what counts;
// userdb.dat, which makeuserdb makes of it, is not read.
//
// Read Source.Ask first; record.go says what a line means. edit.go changes a file as
// Courier's command userdb does, and beside it.
package userdb

import (
	"context"
	"fmt"

	"usher/internal/account"
	"usher/internal/account/file"
)

// DefaultPath is where Courier keeps it.
const DefaultPath = "/etc/courier/userdb"

// settings are the keys of an [[accounts]] block with type = "userdb".
type settings struct {
	Path string `toml:"path" as:"path" default:"/etc/courier/userdb"`
}

// Driver is the account.Driver of type "userdb".
func Driver(decode func(into any) error) (account.Open, error) {
	var s settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	return s.open, nil
}

func (s settings) open(ctx context.Context, at account.Site) (account.Source, error) {
	lines, err := file.Open(ctx, s.Path, format, at.Log)
	if err != nil {
		return nil, fmt.Errorf("open the userdb: %w; see the key path, and who may read it", err)
	}
	return &Source{lines}, nil
}

// A Source is a userdb, kept in memory and read anew when it changes.
type Source struct {
	*file.Lines
}

// Ask implements account.Source.
func (s *Source) Ask(ctx context.Context, q account.Query) (account.Record, error) {
	q.Trace.Asks("", fmt.Sprintf("look for %q in %s", q.Name, s.Path()))
	line, times := s.Find(ctx, q.Name)
	switch times {
	case 0:
		return account.Record{}, account.ErrUnknown
	case 1:
		return parse(line).answer(q.Protocol), nil
	}
	// makeuserdb refuses such a file, and nobody knows which line is meant.
	return account.Record{}, fmt.Errorf("%s: the name stands on more than one line; leave one of them", s.Path())
}

// Nearby tells that it is in memory.
func (s *Source) Nearby() bool { return true }

// Uses tells that there can be passwords for each protocol.
func (s *Source) Uses() account.Uses { return account.UsesProtocol }
