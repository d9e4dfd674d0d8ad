package account_test

import (
	"context"
	"errors"
	"testing"

	"usher/internal/account"
	"usher/internal/account/accounttest"
)

// table is a directory of a few names; failing is one that cannot tell.
type table map[string]account.Fields

func (d table) Lookup(ctx context.Context, q account.Query) (*account.Account, error) {
	f, ok := d[q.Name]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !ok:
		return nil, account.ErrUnknown
	}
	return f.Account(q.Name)
}

type failing struct{ error }

func (d failing) Lookup(context.Context, account.Query) (*account.Account, error) { return nil, d }
func (d failing) Close() error                                                    { return d }

var (
	first  = table{"ann": {"password": "{PLAIN}secret", "host": "first"}}
	second = table{"ann": {"host": "second"}, "bob": {"host": "second"}}
)

func TestChainConformance(t *testing.T) {
	accounttest.Run(t, account.Chain{first, second}, accounttest.World{User: "ann", Password: "secret", Unknown: "cy"})
	accounttest.Run(t, account.Chain{first, second}, accounttest.World{User: "bob", Unknown: "cy"})
}

func TestAnyoneConformance(t *testing.T) {
	open, err := account.AnyoneDriver(func(any) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), account.Site{})
	if err != nil {
		t.Fatal(err)
	}
	accounttest.RunSource(t, s, accounttest.World{User: "ann"})
}

func TestChainAsksInTurn(t *testing.T) {
	broken := failing{errors.New("no answer")}
	for _, c := range []struct {
		chain account.Chain
		user  string
		host  string
		err   error
	}{
		{account.Chain{first, second}, "ann", "first", nil},
		{account.Chain{second, first}, "ann", "second", nil},
		{account.Chain{first, second}, "bob", "second", nil},
		{account.Chain{first, broken, second}, "ann", "first", nil},
		{account.Chain{first, broken, second}, "bob", "", broken}, // whom the silent one knows, nobody may replace
		{account.Chain{}, "ann", "", account.ErrUnknown},
	} {
		a, err := c.chain.Lookup(t.Context(), account.Query{Name: c.user})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.user, err, c.err)
		}
		if err == nil && a.Place.Hosts[0] != c.host {
			t.Errorf("%s lives on %v, want %s", c.user, a.Place.Hosts, c.host)
		}
	}
}

func TestChainCloses(t *testing.T) {
	a, b := failing{errors.New("a")}, failing{errors.New("b")}
	if err := (account.Chain{a, first, b}).Close(); !errors.Is(err, a) || !errors.Is(err, b) {
		t.Errorf("Close: %v; want both errors", err)
	}
}
