package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxName is how long a name may be, in bytes: longer than RFC 5321 §4.5.3.1 lets an
// address be.
const MaxName = 512

// A Reader makes a Directory of a Source: it decides for what name the source is
// asked, and what its answer means. Templates see the fields as the source returned
// them.
type Reader struct {
	Name   string // of the source, in logs and in Account.Source
	Source Source
	Keys   []Template          // asked for one after the other in place of the name; none: the name itself
	Set    map[string]Template // by field: what takes its place in each answer
	Times  Times               // for how long a right password is known

	disk     *disk // of the Cache around it; nil: nothing outlives the process
	once     sync.Once
	memories *memories
}

// found is an account, with the fields that it was made of.
type found struct {
	account *Account
	fields  Fields
}

// Lookup implements Directory. Its errors say which source it was, and who was
// looked for.
func (r *Reader) Lookup(ctx context.Context, q Query) (*Account, error) {
	f, err := r.find(ctx, q)
	return f.account, err
}

func (r *Reader) find(ctx context.Context, q Query) (found, error) {
	q.Trace.step(Step{Source: r.Name})
	began := time.Now()
	f, err := r.lookup(ctx, q)
	if err != nil && !errors.Is(err, ErrUnknown) {
		err = fmt.Errorf("accounts %q: user %.80q: %w", r.Name, q.Name, err)
	}
	q.Trace.change(func(s *Step) { s.Took, s.Err = time.Since(began), err })
	return f, err
}

func (r *Reader) lookup(ctx context.Context, q Query) (found, error) {
	if len(r.Keys) == 0 {
		return r.ask(ctx, q, q)
	}
	for _, key := range r.Keys {
		k := q
		k.Name = key.Expand(q, nil)
		q.Trace.change(func(s *Step) { s.Key = k.Name })
		if f, err := r.ask(ctx, k, q); !errors.Is(err, ErrUnknown) {
			return f, err
		}
	}
	return found{}, ErrUnknown
}

// ask asks the source for k, which stands for the name of q.
func (r *Reader) ask(ctx context.Context, k, q Query) (found, error) {
	if _, anyone := r.Source.(Anyone); !anyone && !possible(k.Name) {
		return found{}, ErrUnknown
	}
	if err := ctx.Err(); err != nil {
		return found{}, err
	}
	rec, err := r.Source.Ask(ctx, k)
	if err != nil {
		return found{}, err
	}
	f, err := r.account(rec, q)
	if err != nil {
		return found{}, Final(err) // the source is well, but what it says is wrong
	}
	return f, nil
}

// possible tells whether a name can be anybody's. Databases that do not see a NUL or
// white space at an end would take it for somebody else's.
func possible(name string) bool {
	return name != "" && len(name) <= MaxName && utf8.ValidString(name) && strings.TrimSpace(name) == name &&
		!strings.ContainsFunc(name, unicode.IsControl)
}

// account makes an account of what a source said.
func (r *Reader) account(rec Record, q Query) (found, error) {
	q.Trace.change(func(s *Step) { s.Fields = rec.Fields })
	fields := r.set(rec.Fields, q)
	a, err := r.make(fields, q.Name, r.proof(rec, q))
	return found{a, fields}, err
}

// A wrongRow is an answer of which no account can be made.
type wrongRow struct{ error }

func (w wrongRow) Unwrap() error { return w.error }

// make makes an account of its fields.
func (r *Reader) make(fields Fields, asked string, p Proof) (*Account, error) {
	a, err := fields.account(asked, p)
	if err != nil {
		return nil, Final(wrongRow{err})
	}
	a.Source = r.Name
	a.Memory = r.remembers().of(a.Name)
	return a, nil
}

// proof is nil if the fields say how to check a password.
func (r *Reader) proof(rec Record, q Query) Proof {
	switch {
	case !rec.Proven:
		return rec.Proof
	case q.Answer != nil:
		return answered{}
	}
	s := r.remembers().secret
	return shown{s, s.digest(q.Password)}
}

// set applies the templates.
func (r *Reader) set(f Fields, q Query) Fields {
	if len(r.Set) == 0 {
		return f
	}
	said := f.canonical()
	out := maps.Clone(said)
	for _, name := range slices.Sorted(maps.Keys(r.Set)) {
		v := r.Set[name].fill(said, q, separators[FieldName(name)])
		if v == "" {
			delete(out, FieldName(name))
			continue
		}
		out[FieldName(name)] = v
	}
	q.Trace.change(func(s *Step) { s.Set = out })
	return out
}

// separators are what ends an item of a field that is a list. What a client says goes
// into an item, and begins no other: it would choose the host.
var separators = map[string]string{"host": ",:", "allow_nets": ",", "options": ","}

// fill writes the template for an answer. It is nothing if one of its fields is, or if a
// client's value has one of the separators: half a host name would be another host. Of a
// list of hosts each is filled in.
func (t Template) fill(f Fields, q Query, separators string) string {
	if hosts := f["host"]; strings.Contains(hosts, ",") && t.has("host") {
		var list []string
		for h := range strings.SplitSeq(hosts, ",") {
			one := maps.Clone(f)
			if one["host"] = strings.TrimSpace(h); one["host"] != "" {
				list = append(list, t.fill(one, q, separators))
			}
		}
		return strings.Join(list, ",")
	}
	if user := f["user"]; user != "" {
		q.Name = user
	}
	var b strings.Builder
	for _, p := range t {
		v := p.Value(q)
		switch field := FieldName(string(p.Variable)); {
		case p.Variable == "":
		case !slices.Contains(Variables, p.Variable):
			if v = p.fold(f[field]); v == "" {
				return ""
			}
		case p.said() && strings.ContainsAny(v, separators):
			return ""
		}
		b.WriteString(v)
	}
	return b.String()
}

// said tells whether a client chooses the value.
func (p Part) said() bool {
	return slices.Contains([]Variable{VarUser, VarName, VarDomain, VarServerName}, p.Variable)
}

func (t Template) has(field string) bool {
	return slices.ContainsFunc(t, func(p Part) bool { return FieldName(string(p.Variable)) == field })
}

// Uses is what of a query the answers depend on.
func (r *Reader) Uses() Uses {
	u := usesOf(r.Source)
	for _, t := range r.Keys {
		u |= t.Uses()
	}
	for _, t := range r.Set {
		u |= t.Uses()
	}
	return u
}

// Close closes the source.
func (r *Reader) Close() error {
	r.remembers().clear()
	if c, ok := r.Source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (r *Reader) remembers() *memories {
	r.once.Do(func() { r.memories = newMemories(r.Times, r.disk) })
	return r.memories
}
