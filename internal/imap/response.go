package imap

import (
	"fmt"
	"slices"
	"strings"
)

// response is a status response: RFC 9051 §7.1.
type response struct {
	status   string // "OK", "NO", "BAD", "BYE", "PREAUTH"
	code     string // "CAPABILITY", or ""
	argument string // of the code
	text     string
}

// parseResponse reads what stands behind the tag.
func parseResponse(s string) response {
	status, text, _ := strings.Cut(s, " ")
	r := response{status: strings.ToUpper(status), text: text}
	if !strings.HasPrefix(text, "[") {
		return r
	}
	inside, after, closed := strings.Cut(text[1:], "]")
	if !closed {
		return r
	}
	r.code, r.argument, _ = strings.Cut(inside, " ")
	r.code = strings.ToUpper(r.code)
	r.text = strings.TrimPrefix(after, " ")
	return r
}

// next reads on to the answer to a command, or to a challenge; then the
// response has no status.
func (e *entry) next(tag string) (challenge string, r response, err error) {
	for {
		line, err := e.line()
		switch {
		case err != nil && e.bye != "":
			return "", response{}, fmt.Errorf("the server says BYE: %.80q", e.bye)
		case err != nil:
			return "", response{}, err
		case strings.HasPrefix(line, "+"):
			return strings.TrimPrefix(line[1:], " "), response{}, nil
		case strings.HasPrefix(line, "* "):
			e.hear(line)
		case strings.HasPrefix(line, tag+" "):
			r := parseResponse(line[len(tag)+1:])
			e.note(r)
			return "", r, nil
		case e.asked && strings.HasPrefix(line, tagID+" "):
			e.identified(parseResponse(line[len(tagID)+1:]))
		default:
			return "", response{}, fmt.Errorf("unexpected line %.80q", line)
		}
	}
}

// line reads a line with its literals, which no line that we look at has.
func (e *entry) line() (string, error) {
	line, err := e.conn.ReadLine()
	for rest := line; err == nil && !isStatus(line); {
		n, _, ok := announced(rest[max(strings.LastIndexByte(rest, '{'), 0):])
		if !ok {
			return line, nil
		}
		if _, err = e.conn.ReadN(n); err == nil {
			rest, err = e.conn.ReadLine()
		}
	}
	return line, err
}

// isStatus tells whether a line is a tagged or untagged status response, whose
// text has no literals: RFC 9051 §7.1.
func isStatus(line string) bool {
	rest, untagged := strings.CutPrefix(line, "* ")
	return !untagged || slices.Contains([]string{"OK", "NO", "BAD", "BYE", "PREAUTH"}, parseResponse(rest).status)
}

// hear takes an untagged line. Only status lines are for the client: ID is an
// answer to us, and of BYE it learns by the end of the connection.
func (e *entry) hear(line string) {
	if verb, list, _ := strings.Cut(line[2:], " "); strings.EqualFold(verb, "CAPABILITY") {
		e.announced(list)
		return
	}
	r := parseResponse(line[2:])
	switch r.status {
	case "BYE":
		e.bye = r.text // the answer may still come
	case "OK", "NO", "BAD":
		e.note(r)
		if len(e.untagged) < maxUntagged && r.code != "CAPABILITY" {
			e.untagged = append(e.untagged, line)
		}
	}
}

// tagged reads the answer to a command.
func (e *entry) tagged(tag string) (response, error) {
	for {
		_, r, err := e.next(tag)
		if err != nil || r.status != "" {
			return r, err
		}
	}
}

// note keeps the capabilities that a response tells by the way.
func (e *entry) note(r response) {
	if r.code == "CAPABILITY" {
		e.announced(r.argument)
	}
}

func (e *entry) announced(caps string) {
	e.caps = caps
	if e.ticket.Trusted || e.isUsher {
		e.takesID = e.takesID || has(caps, "ID")
	}
}
