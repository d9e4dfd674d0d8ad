//go:build linux

// Package lookup measures what it costs to look an account up: remembered, in servers
// that are asked each time, in files of a million accounts.
//
//	go test ./bench/lookup                            # a taste: everything once
//	go test ./bench/lookup -full -v                   # measures, for three minutes
//	go test ./bench/lookup -full -out /tmp/LOOKUP.md  # and writes it down
//
// Read measure first. race_test.go says how usher is compared with a bare loop over
// the same library, page_test.go what is to be reached.
package lookup

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

var (
	full = flag.Bool("full", false, "measure, and not only try")
	out  = flag.String("out", "", "write the results to this `file`, too; its whole path")
)

// TestMain is also the process that reads a userdb.
func TestMain(m *testing.M) {
	if path := os.Getenv(childsPath); path != "" {
		if err := readUserdb(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// A plan is how much is done.
type plan struct {
	rounds  int      // of which medians are taken
	calls   int      // of what is in memory, in each round
	schemes []string // of passwords
	asked   int      // accounts of each server, in each round
	million int      // accounts in each file
	random  int      // of them asked for in each round
}

// people is how many accounts each server has.
func (p plan) people() int { return (p.rounds + 1) * p.asked }

var (
	taste = plan{rounds: 1, calls: 1000, schemes: []string{"ARGON2ID"}, asked: 100, million: 2000, random: 200}
	whole = plan{rounds: 19, calls: 100_000, schemes: []string{"ARGON2ID", "BLF-CRYPT", "SHA512-CRYPT"}, asked: 2000, million: 1_000_000, random: 10_000}
)

func TestLookups(t *testing.T) {
	m := &measurement{plan: taste, load: load()}
	if *full {
		m.plan = whole
	}
	m.measure(t)
	text := m.text()
	t.Log("\n" + text)
	if *out == "" || t.Failed() {
		return
	}
	if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A measurement is one run.
type measurement struct {
	plan plan
	load string // of the machine, before it began
	page page
}

// measure is the program. A server that is not installed is left out, and with -run
// whatever has another name.
func (m *measurement) measure(t *testing.T) {
	t.Run("memory", m.memory)
	t.Run("passwords", m.passwords)
	for _, c := range contests {
		t.Run(c.name, func(t *testing.T) { m.page.races = append(m.page.races, m.race(t, c)) })
	}
	t.Run("embedded", func(t *testing.T) { m.million(t, "the embedded database", embeddedFile) })
	t.Run("sqlite", func(t *testing.T) { m.million(t, "an SQLite file of one's own", foreignFile) })
	t.Run("userdb", m.userdb)
}
