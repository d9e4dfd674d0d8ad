package sasl

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// The messages of SCRAM: RFC 5802 §7. Attributes stand in a fixed order; those that are
// not known may only follow.

// gs2 is the header of RFC 5801 §4, with which messages of some mechanisms begin.
type gs2 struct {
	header    string // as it is written
	binding   string // the kind of channel binding that the client uses; "": none
	couldBind bool   // it could, but thinks that the server cannot
	authz     string
}

// parseGS2 reads gs2-cbind-flag "," [ authzid ] ",".
func parseGS2(msg string) (h gs2, rest string, err error) {
	flag, rest, ok1 := strings.Cut(msg, ",")
	authz, rest, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 {
		return h, "", ErrMalformed
	}
	h.header = msg[:len(msg)-len(rest)]
	kind, named := strings.CutPrefix(flag, "p=")
	switch {
	case named && kind != "":
		h.binding = kind
	case flag == "y":
		h.couldBind = true
	case flag != "n":
		return h, "", ErrMalformed
	}
	if authz != "" && authz != "a=" { // gsasl writes an empty one so
		h.authz, err = name(authz, "a=")
	}
	return h, rest, err
}

// name reads saslname behind an attribute's letter.
func name(attribute, letter string) (string, error) {
	text, ok := strings.CutPrefix(attribute, letter)
	if !ok || text == "" {
		return "", ErrMalformed
	}
	plain := unescape.Replace(text)
	if strings.Count(text, "=") != strings.Count(text, "=2C")+strings.Count(text, "=3D") {
		return "", ErrMalformed
	}
	return plain, nil
}

var (
	escape   = strings.NewReplacer("=", "=3D", ",", "=2C")
	unescape = strings.NewReplacer("=3D", "=", "=2C", ",")
)

func escapeName(name string) string { return escape.Replace(name) }

// A clientFirst is the client's first message.
type clientFirst struct {
	gs2
	bare  string // without the header
	name  string
	nonce string
}

func parseClientFirst(msg string) (m clientFirst, err error) {
	if m.gs2, m.bare, err = parseGS2(msg); err != nil {
		return m, err
	}
	attributes := strings.Split(m.bare, ",") // "m=" at the beginning is for what is not known yet: it must fail
	if len(attributes) < 2 {
		return m, ErrMalformed
	}
	if m.name, err = name(attributes[0], "n="); err != nil {
		return m, err
	}
	m.nonce, err = nonce(attributes[1])
	return m, err
}

// nonce reads printable ASCII.
func nonce(attribute string) (string, error) {
	text, ok := strings.CutPrefix(attribute, "r=")
	if !ok || text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", ErrMalformed
	}
	return text, nil
}

// A clientFinal is the client's last message.
type clientFinal struct {
	bare    string // without the proof
	channel []byte // the header again, and the channel binding
	nonce   string
	proof   []byte
}

func parseClientFinal(msg string) (m clientFinal, err error) {
	i := strings.LastIndexByte(msg, ',')
	if i < 0 {
		return m, ErrMalformed
	}
	m.bare = msg[:i]
	if m.proof, err = binary(msg[i+1:], "p="); err != nil {
		return m, err
	}
	attributes := strings.Split(m.bare, ",")
	if len(attributes) < 2 {
		return m, ErrMalformed
	}
	if m.channel, err = binary(attributes[0], "c="); err != nil {
		return m, err
	}
	m.nonce, err = nonce(attributes[1])
	return m, err
}

// binary reads base64 behind an attribute's letter.
func binary(attribute, letter string) ([]byte, error) {
	text, ok := strings.CutPrefix(attribute, letter)
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(raw) == 0 || strings.ContainsAny(text, "\r\n") {
		return nil, ErrMalformed
	}
	return raw, nil
}

// A serverFirst is the server's first message.
type serverFirst struct {
	nonce      string
	salt       []byte
	iterations int
}

// parseServerFirst takes it only if it goes on with the client's own nonce.
func parseServerFirst(msg, own string) (m serverFirst, err error) {
	attributes := strings.Split(msg, ",")
	if len(attributes) < 3 {
		return m, ErrMalformed
	}
	if m.nonce, err = nonce(attributes[0]); err != nil || !strings.HasPrefix(m.nonce, own) || m.nonce == own {
		return m, ErrMalformed
	}
	if m.salt, err = binary(attributes[1], "s="); err != nil {
		return m, err
	}
	digits, ok := strings.CutPrefix(attributes[2], "i=")
	m.iterations, err = strconv.Atoi(digits)
	if !ok || err != nil || m.iterations < 1 {
		return m, ErrMalformed
	}
	return m, nil
}
