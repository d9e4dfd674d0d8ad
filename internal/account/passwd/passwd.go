// Package passwd looks accounts up in files with the lines of /etc/passwd: those of
// Dovecot's passwd-file, with its extra fields and a file for each domain, and a
// passwd with its shadow.
//
// Read Source.Ask first; record.go says what a line means, files.go which file a name
// leads to.
package passwd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"usher/internal/account"
	"usher/internal/account/file"
)

// settings are the keys of an [[accounts]] block with type = "passwd".
type settings struct {
	Path           string           `toml:"path" as:"path" required:"true"` // with variables: a file for each of their values
	Shadow         string           `toml:"shadow" as:"path"`               // "": passwords are where the names are
	Scheme         string           `toml:"scheme"`                         // of passwords without one; "": CRYPT
	UsernameFormat account.Template `toml:"username_format"`                // what is looked for; none: the name
}

// Driver is the account.Driver of type "passwd".
func Driver(decode func(into any) error) (account.Open, error) {
	var s settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	path, err := account.ParseTemplate(s.Path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if strings.Trim(s.Scheme, letters+"0123456789-.") != "" {
		return nil, fmt.Errorf("scheme: %.40q is no name of a scheme, such as SHA512-CRYPT", s.Scheme)
	}
	return func(ctx context.Context, at account.Site) (account.Source, error) { return open(ctx, s, path, at) }, nil
}

func open(ctx context.Context, s settings, path account.Template, at account.Site) (account.Source, error) {
	format := secret
	if s.Shadow != "" {
		format = public
	}
	src := &Source{settings: s, files: newFiles(path, format, at.Log)}
	err := src.files.begin(ctx)
	if err == nil && s.Shadow != "" {
		src.shadow, err = file.Open(ctx, s.Shadow, secret, at.Log)
	}
	if err != nil {
		return nil, fmt.Errorf("open the files of accounts: %w; see the keys path and shadow, and who may read them", err)
	}
	return src, nil
}

// A Source is one file or several, kept in memory and read anew when they change.
type Source struct {
	settings
	files  *files
	shadow *file.Lines // nil: there is none
}

// Ask implements account.Source.
func (s *Source) Ask(ctx context.Context, q account.Query) (account.Record, error) {
	lines, err := s.files.of(ctx, q)
	if err != nil {
		return account.Record{}, err
	}
	name := q.Name
	if len(s.UsernameFormat) > 0 {
		name = s.UsernameFormat.Expand(q, nil)
	}
	for _, written := range spellings(name) {
		q.Trace.Asks("", fmt.Sprintf("look for %q in %s", written, lines.Path()))
		if line, times := lines.Find(ctx, written); times > 0 { // of several Dovecot takes the first too
			return s.answer(ctx, parse(line), q)
		}
	}
	return account.Record{}, account.ErrUnknown
}

// escapes are what Dovecot writes before quotes when it looks for a name.
var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`)

// spellings are how a name may be written in a file: as Dovecot looks for it, and as
// it is if that cannot be another's.
func spellings(name string) []string {
	switch escaped := escapes.Replace(name); {
	case escaped == name:
		return []string{name}
	case strings.Contains(name, `\`):
		return []string{escaped}
	default:
		return []string{escaped, name}
	}
}

// Nearby tells that it is in memory, or in files of this machine.
func (s *Source) Nearby() bool { return true }

// Uses tells that extra fields may have any variable in them.
func (s *Source) Uses() account.Uses {
	return account.UsesProtocol | account.UsesRemote | account.UsesLocal | account.UsesServerName | account.UsesTLS
}

// Notes are what is wrong with the files.
func (s *Source) Notes() []string {
	notes := s.files.notes()
	if s.shadow != nil {
		notes = append(notes, s.shadow.Notes()...)
	}
	return notes
}

// Examine implements account.Examiner.
func (s *Source) Examine(ctx context.Context, report func(string, error)) {
	s.files.examine(ctx, report)
	if s.shadow != nil {
		s.shadow.Examine(ctx, report)
	}
}

// Close implements io.Closer.
func (s *Source) Close() error {
	all := []io.Closer{s.files}
	if s.shadow != nil {
		all = append(all, s.shadow)
	}
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
