package soak

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/internal/sasl"

	"golang.org/x/crypto/bcrypt"
)

// A guess is a login that is refused: why, only usher knows.
type guess struct {
	name string // of the kind
	user func(i int) string
}

var (
	unknown = guess{"unknown user", func(i int) string { return fmt.Sprintf("nobody%d@example.org", i%accounts) }}
	wrong   = guess{"wrong password", user}
)

// bcrypted is the password by bcrypt at the lowest cost, about a millisecond.
func bcrypted(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return "{BLF-CRYPT}" + string(hash)
}

// Neither the words of a refusal nor the time that it takes tell whether a name exists,
// whether the password was wrong, or whether the account cannot use the mechanism at
// all. Of times with failure_delay Welch's t-test is the judge; without it they are
// shown for comparison.
func TestRefusalsTellNothing(t *testing.T) {
	tries, most, delays := 150, 6.0, []time.Duration{5 * time.Millisecond} // one in 10^9 by chance
	if *full {
		tries, most, delays = 10_000, 4.5, []time.Duration{0, 3 * time.Millisecond} // one in 10^5
	}
	hashed := bcrypted(t)
	var table strings.Builder
	fmt.Fprintf(&table, "%d tries of each\n%-14s %-12s %-6s %-16s %-16s %7s\n", tries, "mechanism", "stored", "delay", unknown.name, wrong.name, "t")
	for _, delay := range delays {
		for _, stored := range []string{inClear, hashed} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			u := startUsher(ctx, t, fmt.Sprintf("failure_delay = %q\nfailure_delay_max = \"0s\"\n\n[auth]\nmechanisms = [\"PLAIN\", \"CRAM-MD5\", \"SCRAM-SHA-256\"]\n", delay), stored)
			for _, m := range []sasl.Mechanism{sasl.Plain, sasl.CRAMMD5, sasl.SCRAMSHA256} {
				a, b := compare(ctx, t, u, m, tries)
				judge := welch(a, b)
				kept, _, _ := strings.Cut(strings.TrimPrefix(stored, "{"), "}")
				fmt.Fprintf(&table, "%-14s %-12s %-6v %-16s %-16s %7.2f\n", m.Name, kept, delay, spread(a), spread(b), judge)
				if delay > 0 && math.Abs(judge) > most {
					t.Errorf("%s, %s, failure_delay %v: the time tells who exists: t = %.2f", m.Name, kept, delay, judge)
				}
			}
			u.end()
			cancel()
		}
	}
	t.Log("\n" + table.String())
}

// compare makes guesses of both kinds in random order, over as few connections as usher
// lets it.
func compare(ctx context.Context, t *testing.T, u *usher, m sasl.Mechanism, tries int) (a, b []float64) {
	t.Helper()
	order := make([]bool, 2*tries)
	for i := range tries {
		order[i] = true
	}
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	const perConnection = 20
	heard := map[string]bool{}
	for part := range slices.Chunk(order, perConnection) {
		c, err := plainly(ctx, u)
		if err != nil {
			t.Fatal(err)
		}
		for _, known := range part {
			kind, times := unknown, &a
			if known {
				kind, times = wrong, &b
			}
			words, took := c.guess(t, m, kind.user(rand.N(accounts)))
			heard[words] = true
			*times = append(*times, took.Seconds())
		}
		_ = c.Close()
	}
	if len(heard) != 1 || !heard["a NO [AUTHENTICATIONFAILED] Authentication failed."] {
		t.Errorf("%s: clients hear %v", m.Name, heard)
	}
	return a, b
}

// plainly connects without TLS.
func plainly(ctx context.Context, u *usher) (*client, error) {
	for _, d := range u.doors {
		if d.dialect != imap || d.tls {
			continue
		}
		nc, err := dial(ctx, u, d)
		if err != nil {
			return nil, err
		}
		c := &client{nc, bufio.NewReader(nc), d.dialect}
		_ = c.SetDeadline(time.Now().Add(patience))
		return c, c.hear(c.greeting)
	}
	return nil, errors.New("usher has no IMAP port without TLS")
}

// guess tries a wrong password, and measures from the client's last message to the
// verdict.
func (c *client) guess(t *testing.T, m sasl.Mechanism, user string) (words string, took time.Duration) {
	t.Helper()
	x := &guessing{c: c, command: "a AUTHENTICATE " + m.Name}
	if err := m.Enter(x, sasl.Credentials{Authn: user, Password: "wrong"}, sasl.Channel{}); err != nil && !errors.Is(err, sasl.ErrUnproven) {
		t.Fatal(err)
	}
	return x.verdict, time.Since(x.said)
}

// guessing is SASL's framing in IMAP.
type guessing struct {
	c       *client
	command string
	begun   bool
	said    time.Time // when the last message was sent
	verdict string
}

func (x *guessing) Initial(string) ([]byte, error) {
	x.begun = true
	return x.say(x.command)
}

func (x *guessing) Send(msg []byte) ([]byte, error) {
	if !x.begun {
		if _, err := x.Initial(""); err != nil {
			return nil, err
		}
	}
	return x.say(base64.StdEncoding.EncodeToString(msg))
}

func (x *guessing) say(line string) ([]byte, error) {
	x.said = time.Now()
	if _, err := fmt.Fprintf(x.c, "%s\r\n", line); err != nil {
		return nil, err
	}
	answer, err := x.c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if challenge, ok := strings.CutPrefix(answer, "+ "); ok {
		return base64.StdEncoding.DecodeString(strings.TrimSpace(challenge))
	}
	x.verdict = strings.TrimSpace(answer)
	return nil, sasl.ErrVerdict
}

// welch is the t of Welch's test: how many standard errors two means are apart.
func welch(a, b []float64) float64 {
	ma, va := moments(a)
	mb, vb := moments(b)
	return (ma - mb) / math.Sqrt(va/float64(len(a))+vb/float64(len(b)))
}

func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x)-1)
	}
	return mean, variance
}

// spread is the median, and what nine of ten stay below.
func spread(x []float64) string {
	x = slices.Sorted(slices.Values(x))
	at := func(q float64) time.Duration {
		return time.Duration(x[int(q*float64(len(x)))] * float64(time.Second)).Round(time.Microsecond)
	}
	return fmt.Sprint(at(0.5), " ", at(0.9))
}
