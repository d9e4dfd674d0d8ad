// Package authhttp asks a service of the organisation over HTTP who a client is, as
// nginx's mail proxy does (auth_http), so that a service written for nginx works
// unchanged. The service is told name and password, and answers with the server that
// the login goes to, or with a refusal.
//
// Read source.Ask first; request.go is what the service hears, answer.go what its
// answers mean.
package authhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"usher/internal/account"
)

// settings are the keys of an [[accounts]] block with type = "http".
type settings struct {
	// URL are the services, asked in this order. All know the same accounts.
	URL []string `toml:"url" as:"list" required:"true"`
	// Header goes with each request.
	Header map[string]string `toml:"header"`
	// SecretHeader is one more, "Name: value", that nobody else shall see; each line
	// is another one.
	SecretHeader string `toml:"secret_header" as:"secret"`
	// CA verifies the services' certificates in place of the system's authorities.
	CA string `toml:"ca" as:"path"`
	// Cert and Key are what usher shows to services that ask for a certificate.
	Cert string `toml:"cert" as:"path"`
	Key  string `toml:"key" as:"path"`
	// Pool is how many requests may be under way at each service; more wait.
	Pool int `toml:"pool" default:"64"`
	// Timeout bounds a question over all services.
	Timeout time.Duration `toml:"timeout" default:"5s"`
	// ShowReason lets clients see the words with which the service refuses.
	ShowReason bool `toml:"show_reason"`
}

// Driver is the account.Driver of type "http".
func Driver(decode func(into any) error) (account.Open, error) {
	var s settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	places, errs := s.places()
	headers, err := s.headers()
	errs = append(errs, err)
	if (s.Cert == "") != (s.Key == "") {
		errs = append(errs, errors.New("cert and key: one is given without the other"))
	}
	open := func(_ context.Context, at account.Site) (account.Source, error) {
		return s.open(at, places, headers)
	}
	return open, errors.Join(errs...)
}

// A place is where a service is.
type place struct {
	url  *url.URL
	unix string // the socket; "": the host of the URL
}

// String is for logs: without user, password and query.
func (p place) String() string {
	if p.unix != "" {
		return "unix:" + p.unix + ":" + p.url.Path
	}
	return p.url.Scheme + "://" + p.url.Host + p.url.Path
}

func (s settings) places() (list []place, errs []error) {
	for _, text := range s.URL {
		p, err := parsePlace(text)
		if err != nil {
			errs = append(errs, err)
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		errs = append(errs, errors.New("url: no service is named"))
	}
	return list, errs
}

// parsePlace reads what nginx's auth_http may be: a URL, one without http://, or
// unix:/socket:/path.
func parsePlace(text string) (p place, err error) {
	if rest, ok := strings.CutPrefix(text, "unix:"); ok {
		socket, path, _ := strings.Cut(rest, ":")
		p.unix, text = socket, "http://localhost/"+strings.TrimPrefix(path, "/")
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	p.url, err = url.Parse(text)
	switch {
	case err != nil:
		return p, errors.New("url: it cannot be read as a URL such as https://auth.example.org/mail") // err has its password
	case p.url.Scheme != "http" && p.url.Scheme != "https", p.url.Hostname() == "", p.url.Fragment != "":
		return p, fmt.Errorf("url %q: it is not like https://auth.example.org/mail", p)
	}
	if p.url.Path == "" {
		p.url.Path = "/"
	}
	return p, nil
}

// headers are those of the configuration.
func (s settings) headers() (http.Header, error) {
	h := http.Header{}
	var errs []error
	for name, value := range s.Header {
		errs = append(errs, addHeader(h, name, value))
	}
	for line := range strings.Lines(s.SecretHeader) {
		if line = strings.TrimSpace(line); line != "" {
			name, value, _ := strings.Cut(line, ":")
			errs = append(errs, addHeader(h, name, value))
		}
	}
	return h, errors.Join(errs...)
}

// addHeader adds one, in the letters in which it is written. An error does not show
// its value.
func addHeader(h http.Header, name, value string) error {
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	isOwn := func(own string) bool { return strings.EqualFold(own, name) }
	switch {
	case !isToken(name):
		return fmt.Errorf("header %.80q: that is no name of a header", name)
	case slices.ContainsFunc(ownHeaders, isOwn):
		return fmt.Errorf("header %.80q: usher sends it itself", name)
	case strings.ContainsFunc(value, isControl):
		return fmt.Errorf("header %.80q: there are control characters in its value", name)
	case h[name] != nil:
		return fmt.Errorf("header %.80q: it is given twice", name)
	}
	h[name] = []string{value}
	return nil
}

// isToken: RFC 9110 §5.6.2.
func isToken(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return s != "" && strings.Trim(strings.ToLower(s), letters+"0123456789!#$%&'*+-.^_`|~") == ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
