// Package sql keeps accounts in the embedded SQLite database accounts.db.
//
// Read Store.Ask first. A row is read from the file each time it is asked
// for: a changed account takes effect at the next login.
package sql

import (
	"context"

	"usher/internal/account"
)

// settings are the keys of an [[accounts]] block with type = "sql".
type settings struct {
	Driver string `toml:"driver" default:"sqlite" oneof:"sqlite"`
}

// Driver is the account.Driver of type "sql".
func Driver(decode func(into any) error) (account.Open, error) {
	var s settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	return openSource, nil
}

func openSource(ctx context.Context, at account.Site) (account.Source, error) {
	return MakeStore(ctx, at.State)
}
