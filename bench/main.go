//go:build linux

// Command bench measures what usher costs beside other proxies, as far as they
// are installed: processor time for logins, bulk and round trips, and memory of
// idle sessions. It says which of the figures that usher sets out to reach are
// reached, and writes it all to a file.
//
//	make bench
//	go run ./bench -usher bin/usher -rounds 1 -only usher,nginx
//
// Clients, the store behind the proxies and nginx's authentication server are
// processes of their own: what they use is not counted.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"usher/bench/internal/contender"
	"usher/bench/internal/load"
)

// A plan is how much is done.
type plan struct {
	rounds int
	logins int // by IMAP and by POP3 in each round, a quarter by IMAPS
	trips  int
	bulk   int   // bytes
	idle   []int // sessions, in steps
}

// options are what does not change the measurement.
type options struct {
	usher, only, out string
	keep             bool
}

func main() {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		exit(play(os.Args[1], os.Args[2:]))
	}
	runtime.LockOSThread() // children end with the thread that has started them
	usher := flag.String("usher", "bin/usher", "the program to measure")
	out := flag.String("out", "", "write the results to this `file`, too")
	only := flag.String("only", "", "contenders, separated by commas; default: all")
	keep := flag.Bool("keep", false, "leave the folder with all configurations and logs, and name it")
	p := plan{bulk: 1_000_000_000}
	flag.IntVar(&p.rounds, "rounds", 5, "of which the medians are shown")
	flag.IntVar(&p.logins, "logins", 4000, "by IMAP and by POP3 in each round; by IMAPS a quarter")
	flag.IntVar(&p.trips, "trips", 20_000, "round trips in each round")
	most := flag.Int("idle", 8000, "idle sessions at most; 0: none")
	flag.Parse()
	p.idle = slices.DeleteFunc([]int{500, 2000, 8000}, func(n int) bool { return n > *most })
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(bench(ctx, p, options{*usher, *only, *out, *keep}))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// bench is the program.
func bench(ctx context.Context, p plan, o options) error {
	usher, err := filepath.Abs(o.usher)
	if err != nil {
		return err
	}
	kinds, versions := installed(usher, o.only)
	if err := raiseFiles(&p); err != nil {
		return err
	}
	s, err := build(o.keep)
	if err != nil {
		return err
	}
	defer s.close()
	m := &measurement{ctx: ctx, plan: p, stage: s, kinds: kinds, results: results{}}
	if err := m.all(); err != nil {
		return err
	}
	text := m.report(versions)
	fmt.Print("\n", text)
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

// installed says what is missing, and leaves it out.
func installed(usher, only string) (kinds []contender.Kind, versions []string) {
	for _, k := range []contender.Kind{
		contender.Usher(usher), contender.UsherApart(usher), contender.Nginx("nginx", "info"), contender.Nginx("nginx-quiet", "error"), contender.Dovecot(), contender.Perdition(), contender.Bare(),
	} {
		if only != "" && !slices.Contains(strings.Split(only, ","), k.Name) {
			continue
		}
		version, err := k.Version()
		if err != nil {
			fmt.Printf("%s is left out: %v\n", k.Name, err)
			continue
		}
		kinds = append(kinds, k)
		if version != "" {
			versions = append(versions, k.Name+" "+version)
		}
	}
	return kinds, versions
}

// raiseFiles lets us and our children open as many files as may be, and leaves
// out what needs more: a proxy has two for each session.
func raiseFiles(p *plan) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	const reserve = 500
	p.idle = slices.DeleteFunc(p.idle, func(n int) bool {
		few := uint64(2*n+reserve) > limit.Max
		if few {
			fmt.Printf("%d idle sessions are left out: a process may open %d files only (ulimit -Hn)\n", n, limit.Max)
		}
		return few
	})
	return nil
}

// flight is how many logins are on their way at a time.
const flight = 8

func logins(d load.Door, n int) load.Order {
	return load.Order{Do: load.Login, Door: d, N: n, Flight: flight}
}
