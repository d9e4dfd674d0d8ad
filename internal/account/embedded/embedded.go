// Package embedded keeps accounts in the embedded SQLite database accounts.db.
//
// Read Store.Ask first. A row is read from the file each time it is asked
// for: a changed account takes effect at the next login.
package embedded

import (
	"context"

	"usher/internal/account"
)

// Open is the account.Open of the embedded database. It makes one if there is none.
func Open(ctx context.Context, at account.Site) (account.Source, error) {
	s, err := MakeStore(ctx, at.State)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OpenExisting is Open for who only looks: it never makes a database.
func OpenExisting(ctx context.Context, at account.Site) (account.Source, error) {
	s, err := OpenStore(ctx, at.State)
	if err != nil {
		return nil, err
	}
	return s, nil
}
