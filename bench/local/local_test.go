//go:build linux

// Package local measures what usher adds to the start of a mail program of this machine:
// a login through usher and its helper, beside fork and exec of the same program with the
// same arguments, each until the program has greeted.
//
//	go test ./bench/local                           # a taste: everything once
//	go test ./bench/local -full -v                  # measures, for a minute
//	go test ./bench/local -full -out /tmp/LOCAL.md  # and writes it down
//
// It needs root and Dovecot. Read TestLocalLogins first; bare.go starts programs without
// usher, house.go runs usher.
package local

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/need"
)

var (
	full  = flag.Bool("full", false, "measure, and not only try")
	out   = flag.String("out", "", "write the results to this `file`, too; its whole path")
	built = flag.String("usher", "", "the program to measure; else one is built")
)

// What is to be reached: a login beside a bare start of the program, and what it adds.
const (
	ratio = 1.15
	added = 100.0 // µs of CPU
)

// A cost is what one start takes, in microseconds.
type cost struct{ cpu, wall float64 }

// A contest is one program, started in both ways.
type contest struct {
	name        string
	words       []string
	bare, usher []cost // of each round
}

func TestLocalLogins(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start programs as others")
	}
	need.Program(t, "dovecot")
	rounds, n := 1, 5
	if *full {
		rounds, n = 5, 200
	}
	s := newSite(t)
	contests := []*contest{
		{name: "Dovecot's imap", words: []string{"/usr/lib/dovecot/imap", "-c", s.conf}},
		{name: "a shell that greets", words: []string{s.greeter}},
	}
	for _, c := range contests {
		h := s.house(t, c.words)
		b := s.bare(c.words)
		_, _ = h.measure(t, 3), b.measure(t, 3) // homes and indexes are there from now on
		for range rounds {
			c.bare = append(c.bare, b.measure(t, n))
			c.usher = append(c.usher, h.measure(t, n))
		}
		h.stop()
	}
	text := page(contests, rounds, n)
	t.Log("\n" + text)
	if *out != "" && !t.Failed() {
		if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// median is that of one value of each round.
func median(list []cost, of func(cost) float64) float64 {
	s := slices.Clone(list)
	slices.SortFunc(s, func(a, b cost) int { return cmp.Compare(of(a), of(b)) })
	return of(s[len(s)/2])
}

func cpu(c cost) float64  { return c.cpu }
func wall(c cost) float64 { return c.wall }

func page(contests []*contest, rounds, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What a local login costs\n\nWritten by `make bench` on %s: medians of %d rounds of %d logins, one after the other.\n\n", time.Now().Format(time.DateOnly), rounds, n)
	fmt.Fprint(&b, "bare is fork and exec of the program by a process that does nothing else, until it has greeted; usher a login by IMAP over loopback,\n"+
		"from LOGIN to its answer. CPU is that of the program, and of whoever started it: usher, its helper.\n\n")
	fmt.Fprint(&b, "| program | | bare, µs | usher, µs | usher / bare | added, µs | to reach |\n|---|---|---:|---:|---:|---:|---|\n")
	for _, c := range contests {
		for _, f := range []struct {
			name string
			of   func(cost) float64
		}{{"CPU", cpu}, {"time", wall}} {
			bare, usher := median(c.bare, f.of), median(c.usher, f.of)
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.0f | %.2f | %.0f | %s |\n", c.name, f.name, bare, usher, usher/bare, usher-bare, verdict(f.name, usher/bare, usher-bare))
		}
	}
	return b.String()
}

func verdict(name string, r, more float64) string {
	says := map[bool]string{true: "reached", false: "missed"}
	text := fmt.Sprintf("≤ %.2f: %s", ratio, says[r <= ratio])
	if name == "CPU" {
		text += fmt.Sprintf("; ≤ %.0f µs: %s", added, says[more <= added])
	}
	return text
}
