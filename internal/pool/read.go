package pool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"usher/internal/proxyheader"
)

// What a peer says is read strictly: all of it is understood, or nothing counts.

// errCut says that a peer has gone in the middle of its words.
var errCut = errors.New("it ends too soon")

// Read reads a voucher and nothing of what follows it. How long that may take is up
// to r.
func Read(r io.Reader) (Voucher, error) {
	v, err := readVoucher(r)
	if err != nil {
		return Voucher{}, fmt.Errorf("voucher: %w", err)
	}
	return v, nil
}

func readVoucher(r io.Reader) (v Voucher, err error) {
	family, b, err := readHeader(r, isProxy, MaxVoucher)
	if err != nil {
		return v, err
	}
	if b, err = v.takeAddresses(family, b); err != nil {
		return v, err
	}
	if err := eachValue(b, v.take); err != nil {
		return v, err
	}
	return v, v.complete()
}

// readHello reads what a node says first.
func readHello(r io.Reader) (build string, err error) {
	_, b, err := readHeader(r, isLocal, MaxVoucher)
	if err == nil {
		err = eachValue(b, func(kind byte, value []byte) (err error) {
			if kind == typeBuild {
				build, err = readBuild(value)
			}
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("the node's first words: %w", err)
	}
	return build, nil
}

// readHeader reads the first part of a header and gives the rest: §2.2.
func readHeader(r io.Reader, command byte, most int) (family byte, rest []byte, err error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, cut(err)
	}
	length := int(binary.BigEndian.Uint16(head[lengthAt:]))
	switch {
	case string(head[:commandAt]) != signature:
		return 0, nil, errors.New("it is no PROXY header of version 2")
	case head[commandAt] != command:
		return 0, nil, fmt.Errorf("version and command are %#x, not %#x", head[commandAt], command)
	case length > most-headerSize:
		return 0, nil, fmt.Errorf("%d bytes are more than the %d that it may have", length+headerSize, most)
	}
	rest = make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return 0, nil, cut(err)
	}
	return head[commandAt+1], rest, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// The families of addresses: unknown, TCP over IPv4, TCP over IPv6.
const (
	noAddress = 0x00
	tcp4      = 0x11
	tcp6      = 0x21
)

// takeAddresses reads the client's address and the one that it has connected to.
func (v *Voucher) takeAddresses(family byte, b []byte) (rest []byte, err error) {
	var size int
	switch family {
	case noAddress:
		return b, nil
	case tcp4:
		size = 4
	case tcp6:
		size = 16
	default:
		return nil, fmt.Errorf("addresses of family %#x are none of TCP", family)
	}
	if len(b) < 2*size+4 {
		return nil, errCut
	}
	remote, _ := netip.AddrFromSlice(b[:size])
	local, _ := netip.AddrFromSlice(b[size : 2*size])
	ports := b[2*size:]
	v.Client.Remote = netip.AddrPortFrom(remote.Unmap(), binary.BigEndian.Uint16(ports))
	v.Client.Local = netip.AddrPortFrom(local.Unmap(), binary.BigEndian.Uint16(ports[2:]))
	return ports[4:], nil
}

// eachValue gives one value after the other. What comes twice is refused: two readers
// could take it differently.
func eachValue(b []byte, take func(kind byte, value []byte) error) error {
	var seen [256]bool
	for len(b) > 0 {
		if len(b) < 3 {
			return errCut
		}
		kind, length := b[0], int(binary.BigEndian.Uint16(b[1:]))
		if b = b[3:]; len(b) < length {
			return fmt.Errorf("value %#x: %w", kind, errCut)
		}
		if seen[kind] && kind != typeNothing {
			return fmt.Errorf("value %#x comes twice", kind)
		}
		seen[kind] = true
		if err := take(kind, b[:length]); err != nil {
			return fmt.Errorf("value %#x: %w", kind, err)
		}
		b = b[length:]
	}
	return nil
}

// The standard types that count here: §2.2.1 to §2.2.6.
const (
	typeServerName = 0x02
	typeNothing    = 0x04
	typeID         = 0x05
	typeTLS        = 0x20
	subVersion     = 0x21
	subName        = 0x22
)

var errWord = errors.New("it makes no sense")

func (v *Voucher) take(kind byte, value []byte) (err error) {
	switch text := string(value); kind {
	case typeServerName:
		v.Client.ServerName = text
		return must(proxyheader.IsName(text))
	case typeID:
		v.Client.ID = text
		return must(proxyheader.IsID(text))
	case typeTLS:
		return v.takeTLS(value)
	case typeProtocol:
		v.Protocol = text
		return must(proxyheader.IsID(text))
	case typeBuild:
		v.Build, err = readBuild(value)
		return err
	case typeFacts:
		v.UTF8 = len(value) == 1 && value[0] == factUTF8
		return must(v.UTF8)
	case typeAccount:
		return v.takeAccount(value)
	}
	if kind >= ownTypes && kind <= lastOwn && kind&critical != 0 {
		return errors.New("it must be understood, and this build does not: update usher on this node")
	}
	return nil // others are for others
}

func must(ok bool) error {
	if ok {
		return nil
	}
	return errWord
}

func readBuild(b []byte) (string, error) {
	build := string(b)
	return build, must(len(build) <= maxBuild && isPlain(build))
}

// takeTLS reads how the client's own connection is encrypted: §2.2.6.
func (v *Voucher) takeTLS(b []byte) error {
	const clientTLS, shown = 0x01, 0x06
	if len(b) < 5 {
		return errCut
	}
	client, verified := b[0], binary.BigEndian.Uint32(b[1:]) == 0
	if client&clientTLS == 0 {
		return nil
	}
	v.Client.TLS = "TLS"
	return eachValue(b[5:], func(kind byte, value []byte) error {
		switch text := string(value); {
		case kind == subVersion:
			v.Client.TLS = text
			return must(proxyheader.IsID(text) && len(text) <= len("TLSv1.3"))
		case kind == subName && client&shown != 0 && verified:
			v.Client.CertName = text
			return must(len(text) <= maxName && isPlain(text))
		}
		return nil
	})
}

func (v *Voucher) takeAccount(b []byte) error {
	if !utf8.Valid(b) {
		return errWord
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v.Account); err != nil {
		return fmt.Errorf("the account: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the account: something stands behind it")
	}
	if len(v.Account.Fields) > maxFields {
		return errors.New("the account: too many fields")
	}
	for name, value := range v.Account.Fields {
		if name == "" || len(name) > maxName || !isPlain(name) || strings.ContainsRune(value, 0) {
			return fmt.Errorf("the account: field %.40q: %w", name, errWord)
		}
	}
	return nil
}

// complete tells whether a voucher says for whom it is.
func (v *Voucher) complete() error {
	name := v.Account.Name
	switch {
	case v.Protocol == "":
		return errors.New("it names no protocol")
	case name == "":
		return errors.New("it names no user")
	case len(name) > maxName || !isPlain(name):
		return fmt.Errorf("user %.80q: %w", name, errWord)
	}
	return nil
}

// isPlain tells whether a text may stand in logs, and in a program's environment.
func isPlain(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return false
		}
	}
	return utf8.ValidString(s)
}
