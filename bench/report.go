//go:build linux

package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A row is a figure in the table, and what usher sets out to reach.
type row struct {
	name   string
	figure figure
	target []target
}

// A target is a number, or a part of what a peer needs, or of another figure of
// usher's own.
type target struct {
	most float64
	of   string // a peer, or ""
	own  figure
}

func (m *measurement) rows() []row {
	rows := []row{
		{"CPU per IMAP login, µs", loginIMAP, []target{{most: 0.75, of: "nginx"}, {most: 0.65, of: "Dovecot"}}},
		{"CPU per POP3 login, µs", loginPOP3, []target{{most: 0.75, of: "nginx"}, {most: 0.65, of: "Dovecot"}}},
		{"CPU per IMAPS login, full handshake, µs", loginIMAPS, []target{{most: 0.75, of: "nginx"}, {most: 0.60, of: "Dovecot"}}},
		{"CPU per lone round trip, µs", trip, []target{{most: 1, of: "nginx"}}},
		{"CPU per GB, plain, s", bulkPlain, []target{{most: 0.30}}},
		{"CPU per GB, TLS, s", bulkTLS, []target{{most: 0.75}}},
	}
	for _, tls := range []bool{false, true} {
		most, kind := 1.0, "plain"
		if tls {
			most, kind = 1.5, "TLS"
		}
		for i, n := range m.plan.idle {
			r := row{fmt.Sprintf("memory per idle session, %s, at %d, KiB", kind, n), idle(tls, n), nil}
			if i == len(m.plan.idle)-1 {
				r.target = []target{{most: most}, {most: 1.1, own: idle(tls, m.plan.idle[0])}}
			}
			rows = append(rows, r)
		}
	}
	for i, n := range m.plan.idle {
		r := row{fmt.Sprintf("CPU per IMAP login while %d sessions are idle, µs", n), held(n), nil}
		if i == len(m.plan.idle)-1 {
			r.target = []target{{most: 1.1, own: held(m.plan.idle[0])}}
		}
		rows = append(rows, r)
	}
	return append(rows, row{"an upgrade moves all sessions, half of them under TLS, in, s", moved, []target{{most: 2}}},
		row{"longest wait for an answer meanwhile, ms", paused, []target{{most: 50}}})
}

// apart are the rows of what a relay process costs.
func (m *measurement) apart() []row {
	rows := []row{
		{"CPU per IMAP login, µs", loginIMAP, []target{{most: 1.12, of: "usher"}}},
		{"CPU per POP3 login, µs", loginPOP3, []target{{most: 1.12, of: "usher"}}},
		{"CPU per IMAPS login, full handshake, µs", loginIMAPS, []target{{most: 1.12, of: "usher"}}},
		{"CPU per lone round trip, µs", trip, nil},
		{"CPU per GB, plain, s", bulkPlain, []target{{most: 0.30}}},
		{"CPU per GB, TLS, s", bulkTLS, []target{{most: 0.75}}},
	}
	if n := len(m.plan.idle); n > 0 {
		most := m.plan.idle[n-1]
		rows = append(rows, row{fmt.Sprintf("memory per idle session, plain, at %d, KiB", most), idle(false, most), []target{{most: 1}}},
			row{fmt.Sprintf("memory per idle session, TLS, at %d, KiB", most), idle(true, most), []target{{most: 1.5}}})
	}
	return rows
}

// report is a page in Markdown.
func (m *measurement) report(versions []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What usher costs\n\nWritten by `make bench` on %s.\n\n", time.Now().Format(time.DateOnly))
	fmt.Fprintf(&b, "- Machine: %s\n- Versions: %s; %s\n", machine(), strings.Join(versions, ", "), runtime.Version())
	fmt.Fprintf(&b, "- Medians of %d rounds; in each %d logins by IMAP and by POP3, a quarter by IMAPS, %d at a time.\n", m.plan.rounds, m.plan.logins, flight)
	if m.tls != "" {
		fmt.Fprintf(&b, "- TLS: %s, no session is resumed.\n", m.tls)
	}
	b.WriteString(method)
	m.costs(&b)
	m.costsApart(&b)
	m.durations(&b)
	return b.String()
}

const method = `- CPU is user and system time of all processes of a contender; memory is their PSS, with the sessions less without.
- Each of the idle sessions has heard and said 16 KB at once before, a record of TLS.
- usher looks accounts up in its database (10,000 of them), Dovecot in a file that it has in memory, nginx asks an HTTP server
  whose CPU is not counted, perdition asks nobody. All but nginx-quiet write a line or more into a log for each session.

`

func (m *measurement) peers() (names []string) {
	for _, k := range m.kinds {
		if k.Name != "usher" && k.Name != "usher-apart" && k.Name != "bare" {
			names = append(names, k.Name)
		}
	}
	return names
}

func (m *measurement) costs(b *strings.Builder) {
	head := []string{"", "usher"}
	for _, p := range m.peers() {
		head = append(head, p, "usher / "+p)
	}
	line(b, append(head, "to reach", "")...)
	rule(b, len(head)+2)
	for _, r := range m.rows() {
		own, measured := m.results.median(r.figure, "usher")
		cells := []string{r.name, number(own, measured)}
		for _, p := range m.peers() {
			v, ok := m.results.median(r.figure, p)
			cells = append(cells, number(v, ok), number(own/v, ok && measured && v > 0))
		}
		line(b, append(cells, m.verdict(r, own, measured)...)...)
	}
	b.WriteString("\n")
}

// costsApart is usher with its sessions in a relay process, if that was measured.
func (m *measurement) costsApart(b *strings.Builder) {
	const apart = "usher-apart"
	if _, measured := m.results.median(loginIMAP, apart); !measured {
		return
	}
	head := []string{"With `[server] relay_process`", "usher", "without", "with / without", "to reach", ""}
	line(b, head...)
	rule(b, len(head))
	for _, r := range m.apart() {
		v, measured := m.results.median(r.figure, apart)
		own, ok := m.results.median(r.figure, "usher")
		line(b, append([]string{r.name, number(v, measured), number(own, ok), number(v/own, ok && measured && own > 0)}, m.verdict(r, v, measured)...)...)
	}
	b.WriteString("\n")
}

// verdict says what was to be reached, and whether it was.
func (m *measurement) verdict(r row, own float64, measured bool) []string {
	var goals, said []string
	for _, t := range r.target {
		goal, most, ok := m.goal(r, t)
		goals = append(goals, goal)
		switch {
		case !ok || !measured:
			said = append(said, "not measured")
		case own <= most:
			said = append(said, "reached")
		default:
			said = append(said, fmt.Sprintf("**missed by %.0f %%**", math.Ceil((own/most-1)*100)))
		}
	}
	return []string{strings.Join(goals, ", "), strings.Join(said, ", ")}
}

// goal is a target in words and as a number.
func (m *measurement) goal(r row, t target) (words string, most float64, ok bool) {
	switch {
	case t.own != "":
		v, ok := m.results.median(t.own, "usher")
		return fmt.Sprintf("≤ %.2f × at %d", t.most, m.plan.idle[0]), t.most * v, ok
	case t.of != "":
		v, ok := m.results.median(r.figure, t.of)
		return fmt.Sprintf("≤ %.2f × %s", t.most, t.of), t.most * v, ok
	}
	return fmt.Sprintf("≤ %.2f", t.most), t.most, true
}

// durations are what people feel. They say less than the costs: clients and
// store share the machine.
func (m *measurement) durations(b *strings.Builder) {
	head := []string{"Not to be reached, but felt"}
	for _, k := range m.kinds {
		head = append(head, k.Name)
	}
	line(b, head...)
	rule(b, len(head))
	for _, r := range []row{
		{"IMAP logins a second", rateIMAP, nil},
		{"IMAPS logins a second", rateIMAPS, nil},
		{"99 of 100 IMAP logins take at most, µs", slowIMAP, nil},
		{"a round trip takes, µs", tripTakes, nil},
	} {
		cells := []string{r.name}
		for _, k := range m.kinds {
			cells = append(cells, number(m.results.median(r.figure, k.Name)))
		}
		line(b, cells...)
	}
}

func line(b *strings.Builder, cells ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func rule(b *strings.Builder, columns int) {
	fmt.Fprintf(b, "|---|%s\n", strings.Repeat("---:|", columns-1))
}

// number shows three digits or so.
func number(v float64, ok bool) string {
	switch {
	case !ok:
		return "–"
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func machine() string {
	model := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	var u unix.Utsname
	_ = unix.Uname(&u)
	return fmt.Sprintf("%d × %s, Linux %s", runtime.NumCPU(), model, unix.ByteSliceToString(u.Release[:]))
}
