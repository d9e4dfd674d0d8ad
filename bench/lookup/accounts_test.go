//go:build linux

package lookup

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"usher/internal/account"
	"usher/internal/config"
)

// The accounts are the same everywhere: by their number.
func nameOf(i int) string { return fmt.Sprintf("user%07d@example.org", i) }
func hostOf(i int) string { return fmt.Sprintf("imap%d.example.org", i%16) }

func numberOf(name string) (i int) {
	for _, digit := range name[len("user"):len("user0000000")] {
		i = 10*i + int(digit-'0')
	}
	return i
}

// hash is nobody's password, for look-ups, which do not check it.
const hash = "{BLF-CRYPT}$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

// query is what a login asks.
func query(i int) account.Query {
	return account.Query{
		Name: nameOf(i), Protocol: "imap", TLS: true,
		Remote: netip.MustParseAddrPort("192.0.2.7:50000"), Local: netip.MustParseAddrPort("192.0.2.1:993"),
	}
}

// sample draws k of n accounts, none twice.
func sample(n, k int) []int { return rand.Perm(n)[:k] }

// inserts are statements that fill a table with n accounts.
func inserts(n int, exec func(statement string)) {
	const batch = 1000
	exec("CREATE TABLE users (username VARCHAR(100) PRIMARY KEY, password VARCHAR(100) NOT NULL, mailhost VARCHAR(100) NOT NULL, destuser VARCHAR(100) NOT NULL)")
	for from := 0; from < n; from += batch {
		var rows []string
		for i := from; i < min(from+batch, n); i++ {
			rows = append(rows, fmt.Sprintf("('%s', '%s', '%s', 'u%d')", nameOf(i), hash, hostOf(i), i))
		}
		exec("INSERT INTO users VALUES " + strings.Join(rows, ","))
	}
}

// block reads the keys of an [[accounts]] block.
func block(keys string) (config.Accounts, error) {
	c, err := config.Parse("/etc/usher/usher.toml", []byte("[[accounts]]\n"+keys), func(string) (string, bool) { return "", false })
	if err != nil {
		return config.Accounts{}, err
	}
	return c.Accounts[0], nil
}

// open opens the source of a block as usher does.
func open(ctx context.Context, driver account.Driver, state, keys string) (account.Source, error) {
	b, err := block(keys)
	if err != nil {
		return nil, err
	}
	begin, err := driver(b.Decode)
	if err != nil {
		return nil, err
	}
	return begin(ctx, account.Site{State: state, Log: slog.New(slog.DiscardHandler)})
}

// far is the directory of a source that is far away, as usher puts it together when
// nothing is said of caches.
func far(t *testing.T, s account.Source) account.Some {
	t.Helper()
	b, err := block("type = 'any'\n")
	if err != nil {
		t.Fatal(err)
	}
	times := account.Times{Good: time.Duration(b.Cache.Good), Unknown: time.Duration(b.Cache.Unknown), Stale: time.Duration(b.Cache.Stale)}
	cache := account.NewCache(&account.Reader{Name: "bench", Source: s, Times: times}, account.CacheOptions{Times: times, Size: b.Cache.Size})
	d := account.Some{Directory: cache, Name: "bench"}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
