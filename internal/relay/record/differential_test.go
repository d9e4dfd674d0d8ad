package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A script says what a peer does, two bytes a step: what, and how much.
type script []byte

// The steps of a script, modulo their number.
const (
	sayData = iota
	sayNothing
	sayPadded
	sayPadding
	sayAlert
	sayHandshake
	sayTicket
	sayKeyUpdate
	sayChangeCipherSpec
	sayOdd
	sayLong
	damage
	cut
	swap
	again
	lieAboutLength
	lieAboutVersion
	lieAboutType
	steps
)

// a speaker seals what a script says, as a peer with the right keys.
type speaker struct {
	c       *Conn
	records [][]byte
}

func (s *speaker) record(kind byte, said []byte) {
	s.records = append(s.records, s.c.seal(nil, kind, said))
}

// step does one step.
func (s *speaker) step(what, much byte) {
	last := len(s.records) - 1
	switch what % steps {
	case sayData:
		s.record(typeData, bytes.Repeat([]byte{much}, int(much)+1))
	case sayNothing:
		s.record(typeData, nil)
	case sayPadded:
		s.record(0, append(bytes.Repeat([]byte{'p'}, int(much)), typeData, 0, 0))
	case sayPadding:
		s.record(0, make([]byte, much))
	case sayAlert:
		s.record(typeAlert, []byte{1 + much&1, much >> 1})
	case sayHandshake:
		s.record(typeHandshake, bytes.Repeat([]byte{much}, int(much%9)))
	case sayTicket:
		ticket := []byte{msgNewSessionTicket, 0, 0, 0, 0, 0, 0, much, 0, 0, 0, 1, 0, 0, 1, 'l', 0, 0}
		if much&1 == 0 {
			ticket = append(ticket[:len(ticket)-2], 0, 8, 0, extEarlyData, 0, 4, 0, 0, 0, much)
		}
		ticket[3] = byte(len(ticket) - 4)
		s.record(typeHandshake, ticket)
	case sayKeyUpdate:
		s.record(typeHandshake, []byte{msgKeyUpdate, 0, 0, 1, much % 3})
		s.c.out.next(s.c.suite)
	case sayChangeCipherSpec:
		s.records = append(s.records, []byte{typeChangeCipherSpec, 3, 3, 0, 1, much % 3})
	case sayOdd:
		s.record(much, []byte{much})
	case sayLong:
		s.record(typeData, make([]byte, MaxPlain-128+int(much)))
	default:
		if last >= 0 {
			s.spoil(what%steps, much, last)
		}
	}
}

// spoil does something to the last record on its way.
func (s *speaker) spoil(what, much byte, last int) {
	r := s.records[last]
	if len(r) == 0 {
		return
	}
	switch what {
	case damage:
		r[int(much)%len(r)] ^= 1 << (much % 8)
	case cut:
		s.records[last] = r[:int(much)%len(r)]
	case swap:
		if last > 0 {
			s.records[last], s.records[last-1] = s.records[last-1], r
		}
	case again:
		s.records = append(s.records, bytes.Clone(r))
	case lieAboutLength:
		r[min(3, len(r)-1)] ^= much
	case lieAboutVersion:
		r[min(1, len(r)-1)] ^= much
	case lieAboutType:
		r[0] = much
	}
}

// verdict is what becomes of a stream: what was read, and how it ended.
type verdict struct {
	text string
	end  string
}

func ending(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "left"
	}
	return "failed"
}

// ours is what a Conn makes of a stream.
func ours(c *Conn, stream []byte) verdict {
	text, err := openAll(c, stream)
	return verdict{string(text), ending(err)}
}

// theirs is what crypto/tls makes of it.
func theirs(c *tls.Conn, feed *feeder, stream []byte) verdict {
	feed.Reader = bytes.NewReader(stream)
	text, err := io.ReadAll(c)
	return verdict{string(text), ending(err)}
}

// compare plays a script to a server or to a client, and to crypto/tls in its place.
func compare(t testing.TB, suite uint16, toServer bool, steps script) {
	t.Helper()
	k, conn, feed := shaken(t, suite, toServer)
	peer := Keys{Suite: k.Suite, In: cloned(k.Out), Out: cloned(k.In)}
	speaks, err := New(peer)
	if err != nil {
		t.Fatal(err)
	}
	hears, err := New(k)
	if err != nil {
		t.Fatal(err)
	}
	s := speaker{c: speaks}
	for len(steps) >= 2 && len(s.records) < 60 {
		s.step(steps[0], steps[1])
		steps = steps[2:]
	}
	stream := bytes.Join(s.records, nil)
	got, want := ours(hears, bytes.Clone(stream)), theirs(conn, feed, stream)
	if got != want {
		t.Errorf("ours: %d bytes, %s; crypto/tls: %d bytes, %s", len(got.text), got.end, len(want.text), want.end)
	}
}

func cloned(h Half) Half { return Half{bytes.Clone(h.Secret), h.Number} }

// feeder is a connection whose reads can be changed.
type feeder struct {
	net.Conn
	io.Reader
}

func (f *feeder) Read(b []byte) (int, error) {
	if f.Reader != nil {
		return f.Reader.Read(b)
	}
	return f.Conn.Read(b)
}

func (f *feeder) Write(b []byte) (int, error) {
	if f.Reader != nil {
		return len(b), nil // an alert, to nobody
	}
	return f.Conn.Write(b)
}

// keyLog gathers the secrets of one connection.
type keyLog struct{ client, server []byte }

func (k *keyLog) Write(line []byte) (int, error) {
	if f := strings.Fields(string(line)); len(f) == 3 {
		secret, _ := hex.DecodeString(f[2])
		switch f[0] {
		case "CLIENT_TRAFFIC_SECRET_0":
			k.client = secret
		case "SERVER_TRAFFIC_SECRET_0":
			k.server = secret
		}
	}
	return len(line), nil
}

// shaken is one side of a connection whose handshake crypto/tls has done, and its keys.
// What is read from it comes from the feeder afterwards.
func shaken(t testing.TB, suite uint16, server bool) (Keys, *tls.Conn, *feeder) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	near, log := &feeder{Conn: a}, &keyLog{}
	sc := &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	cc := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "x"}
	var ours, other *tls.Conn
	if server {
		sc.KeyLogWriter = log
		ours, other = tls.Server(near, sc), tls.Client(b, cc)
	} else {
		cc.KeyLogWriter = log
		ours, other = tls.Client(near, cc), tls.Server(b, sc)
	}
	done := make(chan error, 1)
	go func() { done <- other.Handshake() }()
	if err := errors.Join(ours.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	k := Keys{Suite: ours.ConnectionState().CipherSuite, Server: server, In: Half{Secret: log.client}, Out: Half{Secret: log.server}}
	if !server {
		k.In, k.Out = k.Out, k.In
	}
	if suite != 0 && k.Suite != suite {
		t.Skipf("crypto/tls has chosen %s", tls.CipherSuiteName(k.Suite))
	}
	return k, ours, near
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// scripts are what peers do that are wrong in one way, and what they may do.
var scripts = map[string]script{
	"data":                          {sayData, 9, sayData, 200, sayLong, 128},
	"a goodbye":                     {sayData, 9, sayAlert, 0, sayData, 9},
	"an alert":                      {sayData, 9, sayAlert, 80},
	"user_canceled":                 {sayAlert, 180, sayData, 9},
	"nothing at all":                {},
	"empty records":                 {sayNothing, 0, sayNothing, 0, sayData, 1},
	"too many empty records":        bytes.Repeat([]byte{sayNothing, 0}, 20),
	"padding":                       {sayPadded, 9, sayPadded, 200},
	"padding only":                  {sayPadding, 9},
	"no content type":               {sayData, 2, sayPadding, 0},
	"KeyUpdate":                     {sayData, 9, sayKeyUpdate, 0, sayData, 9, sayKeyUpdate, 1, sayData, 9},
	"a flood of KeyUpdates":         bytes.Repeat([]byte{sayKeyUpdate, 1}, 20),
	"KeyUpdates between data":       bytes.Repeat([]byte{sayKeyUpdate, 1, sayData, 1}, 20),
	"KeyUpdate in bad form":         {sayKeyUpdate, 2, sayData, 1},
	"a ticket":                      {sayTicket, 1, sayTicket, 2, sayData, 9},
	"an odd message":                {sayHandshake, 3, sayHandshake, 24},
	"a message begun, then data":    {sayHandshake, 2, sayData, 9},
	"change_cipher_spec":            {sayChangeCipherSpec, 1, sayData, 9, sayChangeCipherSpec, 0},
	"many change_cipher_spec":       bytes.Repeat([]byte{sayChangeCipherSpec, 1}, 20),
	"odd types":                     {sayOdd, 99},
	"a heartbeat":                   {sayOdd, 24},
	"over the length":               {sayLong, 129},
	"far over the length":           {sayLong, 255},
	"damage":                        {sayData, 9, sayData, 9, damage, 8},
	"a damaged header":              {sayData, 9, lieAboutVersion, 1},
	"a long lie":                    {sayData, 9, lieAboutLength, 0x40},
	"a short lie":                   {sayLong, 10, lieAboutLength, 0x3f, sayData, 3},
	"another type":                  {sayData, 9, lieAboutType, 22},
	"cut off":                       {sayData, 9, sayData, 9, cut, 12},
	"cut off in the header":         {sayData, 9, sayData, 9, cut, 3},
	"in the wrong order":            {sayData, 9, sayData, 9, swap, 0},
	"said twice":                    {sayData, 9, again, 0},
	"from before a change of keys":  {sayData, 9, again, 0, sayKeyUpdate, 0, swap, 0},
	"a KeyUpdate of another's keys": {sayKeyUpdate, 0, damage, 6, sayData, 9},
}

func TestCryptoTLSWouldSayTheSame(t *testing.T) {
	for name, s := range scripts {
		t.Run(name, func(t *testing.T) {
			compare(t, 0, true, s)
			compare(t, 0, false, s)
		})
	}
}

func FuzzCryptoTLSWouldSayTheSame(f *testing.F) {
	for _, s := range scripts {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, s []byte, toServer bool) { compare(t, 0, toServer, s) })
}
