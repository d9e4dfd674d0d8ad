//go:build linux

package lookup

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A page is what is told, in Markdown.
type page struct {
	goals []figure
	races []result
	felt  []figure
}

// A figure is what was measured, and the most that it should be.
type figure struct {
	name        string
	value, most float64
}

func (p *page) reach(name string, value, most float64) {
	p.goals = append(p.goals, figure{name, value, most})
}

func (p *page) feel(name string, value float64) {
	p.felt = append(p.felt, figure{name: name, value: value})
}

// part of the bare loop's rate is the least that usher should bring.
const part = 0.90

func (m *measurement) text() string {
	var b strings.Builder
	m.head(&b)
	table(&b, "", "usher", "to reach", "")
	for _, f := range m.page.goals {
		line(&b, f.name, number(f.value), "≤ "+number(f.most), verdict(f.value, f.most))
	}
	table(&b, fmt.Sprintf("asked each time, %d at a time", flight), "bare", "source", "usher", "usher / bare", "to reach", "")
	for _, c := range contests {
		m.page.of(c).lines(&b)
	}
	table(&b, "Not to be reached, but felt", "usher")
	for _, f := range m.page.felt {
		line(&b, f.name, number(f.value))
	}
	return b.String()
}

func (m *measurement) head(b *strings.Builder) {
	versions := []string{"usher " + commit()}
	for _, r := range m.page.races {
		versions = append(versions, r.version)
	}
	fmt.Fprintf(b, "# What a look-up costs\n\nWritten by `make bench` on %s.\n\n", time.Now().Format(time.DateOnly))
	fmt.Fprintf(b, "- Machine: %s; its load when it began: %s\n- Versions: %s; %s\n- Medians, of as many rounds: %d\n", machine(), m.load, strings.Join(versions, ", "), runtime.Version(), m.plan.rounds)
	fmt.Fprintf(b, "- The servers have %d accounts and run on the same machine. In each round all ask for the same %d of them, one after the other, in\n  another order each time.\n", m.plan.people(), m.plan.asked)
	fmt.Fprintf(b, "- The files have %d accounts, of which %d are asked for at random in each round, %d at a time.\n", m.plan.million, m.plan.random, readers)
	b.WriteString(method)
}

const method = `- bare is a loop over the same library with as many connections, which takes the values out of each answer and has no time limit;
  source is usher's driver alone; usher is the whole look-up of a login whose account is not remembered. Ratios are of the same round.
- CPU is user and system time of the process that asks. Times of what is in memory are CPU, too. All others are by the clock, and
  longer while somebody else uses the machine.
`

// of is the result of a contest, or an empty one.
func (p *page) of(c contest) result {
	for _, r := range p.races {
		if r.contest == c.name {
			return r
		}
	}
	return result{contest: c.name}
}

// lines are those of a server in the table.
func (r result) lines(b *strings.Builder) {
	if len(r.laps) == 0 {
		line(b, r.contest, "–", "–", "–", "–", "", "not measured")
		return
	}
	cells := func(of func(lap) float64) []string {
		return []string{number(r.median("bare", of)), number(r.median("source", of)), number(r.median("usher", of)), number(r.part(of))}
	}
	line(b, append(append([]string{r.contest + ", look-ups a second"}, cells(rate)...), "≥ "+number(part), verdict(part, r.part(rate)))...)
	line(b, append(append([]string{r.contest + ", CPU per look-up, µs"}, cells(cpu)...), "", "")...)
}

// verdict says whether value is most or less.
func verdict(value, most float64) string {
	switch {
	case value <= most:
		return "reached"
	case most == 0:
		return "**missed**"
	}
	return fmt.Sprintf("**missed by %.0f %%**", math.Ceil((value/most-1)*100))
}

// table begins a table; all columns but the first and an unnamed one have numbers.
func table(b *strings.Builder, head ...string) {
	b.WriteString("\n")
	line(b, head...)
	fmt.Fprintf(b, "|---|%s\n", strings.Repeat("---:|", len(head)-1))
}

func line(b *strings.Builder, cells ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// number shows three digits or so.
func number(v float64) string {
	digits := 2
	if v != 0 {
		digits = min(2, max(0, 2-int(math.Floor(math.Log10(math.Abs(v))))))
	}
	return fmt.Sprintf("%.*f", digits, v)
}

func commit() string {
	said, err := exec.Command("git", "describe", "--always", "--dirty", "--tags").Output()
	if err != nil {
		return "of unknown version"
	}
	return strings.TrimSpace(string(said))
}

// load is how many want a processor: the average of the last minute.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
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

func TestWhatIsMissedIsSaid(t *testing.T) {
	for _, c := range []struct {
		value, most float64
		want        string
	}{{1, 1, "reached"}, {0, 0, "reached"}, {1, 0, "**missed**"}, {1.101, 1, "**missed by 11 %**"}, {part, 0.45, "**missed by 100 %**"}} {
		if got := verdict(c.value, c.most); got != c.want {
			t.Errorf("verdict(%v, %v) = %q, want %q", c.value, c.most, got, c.want)
		}
	}
}
