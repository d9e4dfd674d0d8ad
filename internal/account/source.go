package account

import (
	"context"
	"log/slog"
)

// A Source is a place where accounts are kept, such as a database of the
// organisation. It says what stands there, and leaves to a Reader what that means.
// It is safe for concurrent use.
//
// Ask returns ErrUnknown and ErrRefused as Directory does. Any other error says
// what was attempted, what came back and what to do.
//
// A Source may also have these methods:
//   - Close() error: it is called once nobody asks any more;
//   - Notes() []string: what the log should say once it is opened;
//   - Uses() Uses: what of a query its answer depends on; without, UsesName;
//   - Nearby() bool: whether an answer costs next to nothing and is there also when
//     the network is not, so that nothing needs to be remembered;
//   - Health() []Health: how the servers are that it asks;
//   - Examine(ctx, report): see Examiner.
type Source interface {
	Ask(ctx context.Context, q Query) (Record, error)
}

// A Record is what a Source says of one name.
type Record struct {
	Fields Fields
	Proof  Proof // nil: the field password says how to check one
	Proven bool  // the source has found the Password or Answer of the query right
}

// A Driver reads the keys of one [[accounts]] block, without opening anything.
// decode fills a struct and fails on unknown keys.
type Driver func(decode func(into any) error) (Open, error)

// Open opens the source of a block. Servers need not be reachable: they may come
// later. Files must be there, and right as a whole.
type Open func(ctx context.Context, at Site) (Source, error)

// A Site is what a source may use of the program that it is part of.
type Site struct {
	State string       // folder for files of its own
	Log   *slog.Logger // for what happens to the source as a whole, such as a server that is gone
}

// An Examiner is a Source that can say what is wrong with it, for
// "usher check --live". It reports each thing that it has looked at, such as a
// server or a file; err says what is wrong and what to do, nil that all is well.
type Examiner interface {
	Examine(ctx context.Context, report func(what string, err error))
}

// Uses says what of a Query an answer depends on. The name it always does.
type Uses uint

// The parts of a query.
const (
	UsesProtocol Uses = 1 << iota
	UsesRemote        // the address, not the port
	UsesLocal
	UsesServerName
	UsesTLS
	UsesPassword      // and Answer: unknown names are then not remembered
	UsesName     Uses = 0
)

// usesOf is what a source's answer depends on.
func usesOf(s any) Uses {
	if u, ok := s.(interface{ Uses() Uses }); ok {
		return u.Uses()
	}
	return UsesName
}
