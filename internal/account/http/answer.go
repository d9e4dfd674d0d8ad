package authhttp

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/internal/account"
)

// An answer is what a service has decided.
type answer struct {
	ok      bool
	fields  account.Fields // if ok
	wait    bool           // it wants to be asked again …
	seconds time.Duration  // … so much later; of a refusal: when the client may try again
	words   string         // of a refusal
}

// An oddAnswer is none of the protocol. It may be the question's fault.
type oddAnswer struct{ error }

func odd(format string, args ...any) error { return oddAnswer{fmt.Errorf(format, args...)} }

// read decides what an answer means. nginx looks at the headers only, so services
// refuse with any HTTP status that is no server error; but only success lets
// somebody in, and only if it says so, which nginx does not demand.
func read(code int, h http.Header) (a answer, err error) {
	said := h.Values("Auth-Status")
	switch {
	case code >= 300 && code < 400:
		return a, odd("it answers with a redirection (HTTP status %d), which is not followed; give the address that it leads to", code)
	case code >= 500:
		return a, odd("it answers with HTTP status %d; look at the service's own log", code)
	case len(said) != 1 || said[0] == "":
		return a, odd("it answers with HTTP status %d, and with %d headers Auth-Status in place of one: is the URL that of a service for nginx's auth_http?", code, len(said))
	case said[0] == "OK" && (code < 200 || code > 299):
		return a, odd("it answers Auth-Status: OK, but HTTP status %d", code)
	}
	a = answer{ok: said[0] == "OK", wait: said[0] == "WAIT", seconds: seconds(h.Get("Auth-Wait")), words: said[0]}
	if a.ok {
		a.fields, err = fields(h)
	}
	return a, err
}

// mostWait is what a service may ask for.
const mostWait = time.Minute

// seconds reads Auth-Wait; what is no number is nothing, as nginx has it.
func seconds(text string) time.Duration {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, mostWait)
}

// record is what the answer says of the account, or why there is none.
func (a answer) record(showReason bool) (account.Record, error) {
	if a.ok {
		return account.Record{Fields: a.fields, Proven: !a.unchecked()}, nil
	}
	err := fmt.Errorf("%w: the service says %.80q", account.ErrRefused, a.words)
	if a.seconds > 0 {
		err = fmt.Errorf("%w, and to wait %s", err, a.seconds)
	}
	if showReason {
		err = account.Refusal{Text: a.words[:min(len(a.words), mostWords)], Err: err}
	}
	return account.Record{}, err
}

// unchecked tells whether the service says that it has not looked at the password.
func (a answer) unchecked() bool {
	return slices.Contains([]string{"y", "yes", "1", "true"}, strings.ToLower(a.fields["nopassword"]))
}

const mostWords = 400 // for a client: RFC 9051 §4 and RFC 1939 §3 have lines

// nginxs are the headers of its protocol that say something of the account.
var nginxs = map[string]string{
	"auth_server": "host",
	"auth_port":   "port",
	"auth_user":   "destuser",
	"auth_pass":   "pass",
}

// fields takes the account out of the headers of an answer. Sorted, what is said in
// usher's own words comes last, and wins: Auth-Server, Mailhost, Usher-Host.
func fields(h http.Header) (account.Fields, error) {
	f := account.Fields{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		field, ok := fieldOf(name)
		switch {
		case !ok:
		case len(h[name]) > 1:
			return nil, odd("it answers with %d headers %.80q", len(h[name]), name)
		default:
			f[field] = h[name][0]
		}
	}
	delete(f, "password") // the service has checked it
	return f, nil
}

// fieldOf is the field that a header names: one of nginx's, an account's field by its
// own name, or any with Usher- before it. HTTP's own Host is none.
func fieldOf(header string) (string, bool) {
	name := strings.ReplaceAll(strings.ToLower(header), "-", "_")
	if field, ok := nginxs[name]; ok {
		return field, true
	}
	if field, ok := strings.CutPrefix(name, "usher_"); ok {
		return account.FieldName(field), field != ""
	}
	return account.FieldName(name), name != "host" && slices.Contains(account.Known, account.FieldName(name))
}
