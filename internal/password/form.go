package password

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A form is how the text of a stored password is written.
type form int

const (
	asText form = iota // as it is
	asBase64
	asHex
)

// decode reads the text behind a scheme by Dovecot's rules: what the scheme's
// name says after a dot comes first; without it, where all texts of the scheme
// have one size, hex is told from base64 by its length.
func (s *scheme) decode(text, suffix string, suffixed bool) (raw string, err error) {
	switch {
	case suffixed:
		raw, err = decodeAs(suffix, text)
	case s.size != 0:
		return decodeSized(text, s.size)
	default:
		return s.form.decode(text)
	}
	if err == nil && s.size != 0 && len(raw) != s.size {
		err = wrongSize(len(raw), s.size)
	}
	return raw, err
}

func decodeAs(suffix, text string) (string, error) {
	switch strings.ToLower(suffix) {
	case "b64", "base64":
		return asBase64.decode(text)
	case "hex":
		return asHex.decode(text)
	}
	return "", errors.New("what follows the dot in its scheme is none of b64, base64, hex")
}

// decodeSized reads so many bytes in hex or base64, whichever it is. No size in
// use has the same length in both.
func decodeSized(text string, size int) (string, error) {
	written := asBase64
	if len(text) == hex.EncodedLen(size) {
		written = asHex
	}
	raw, err := written.decode(text)
	if err == nil && len(raw) != size {
		err = wrongSize(len(raw), size)
	}
	return raw, err
}

func wrongSize(got, want int) error {
	return fmt.Errorf("it has %d bytes, not %d", got, want)
}

// decode does not wrap the errors of the decoders, which may quote the text.
func (f form) decode(text string) (string, error) {
	switch f {
	case asBase64:
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			return "", errors.New("it is not base64 with padding")
		}
		return string(raw), nil
	case asHex:
		raw, err := hex.DecodeString(text)
		if err != nil {
			return "", errors.New("it is not hex")
		}
		return string(raw), nil
	}
	return text, nil
}

func (f form) encode(raw string) string {
	switch f {
	case asBase64:
		return base64.StdEncoding.EncodeToString([]byte(raw))
	case asHex:
		return hex.EncodeToString([]byte(raw))
	}
	return raw
}
