// Package sql keeps accounts in the embedded SQLite database accounts.db.
//
// Read Store.Lookup first. A row is read from the file each time it is asked
// for: a changed account takes effect at the next login.
package sql

import (
	"context"
	"fmt"

	"usher/internal/account"
)

// settings are the keys of an [[accounts]] block with type = "sql".
type settings struct {
	Driver string `toml:"driver"`
}

// Open is the account.Open of type "sql".
func Open(ctx context.Context, state string, decode func(into any) error) (account.Directory, error) {
	var s settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	if s.Driver != "" && s.Driver != "sqlite" {
		return nil, fmt.Errorf("driver %q is not part of this version; use driver = \"sqlite\", the embedded database in the state folder", s.Driver)
	}
	return OpenStore(ctx, state)
}
