package record

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The traffic secrets of RFC 8448 §3.
const (
	clientSecret = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
	serverSecret = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
)

// of8448 is one side of the connection of RFC 8448 §3, after its session ticket.
func of8448(t testing.TB, server bool) *Conn {
	t.Helper()
	k := Keys{
		Suite: tls.TLS_AES_128_GCM_SHA256, Server: true,
		In: Half{Secret: unhex(t, clientSecret)}, Out: Half{Secret: unhex(t, serverSecret), Number: 1},
	}
	if !server {
		k.Server, k.In, k.Out = false, k.Out, k.In
	}
	c, err := New(k)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRecordsAreThoseOfRFC8448(t *testing.T) {
	said := make([]byte, 50)
	for i := range said {
		said[i] = byte(i)
	}
	client, server := of8448(t, false), of8448(t, true)
	for _, c := range []struct {
		name     string
		from, to *Conn
		seal     func(*Conn) []byte
		want     string
	}{
		{
			"client's data", client, server, func(c *Conn) []byte { return c.Seal(nil, said) },
			"17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4",
		},
		{
			"server's data", server, client, func(c *Conn) []byte { return c.Seal(nil, said) },
			"17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d",
		},
		{
			"client's goodbye", client, server, func(c *Conn) []byte { return c.CloseNotify(nil) },
			"17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3",
		},
		{
			"server's goodbye", server, client, func(c *Conn) []byte { return c.CloseNotify(nil) },
			"17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9",
		},
	} {
		got := c.seal(c.from)
		if want := unhex(t, c.want); !bytes.Equal(got, want) {
			t.Errorf("%s: % x\nwant % x", c.name, got, want)
		}
		text, err := c.to.Open(nil, got)
		if goodbye := strings.HasSuffix(c.name, "goodbye"); goodbye != errors.Is(err, io.EOF) || !goodbye && (err != nil || !bytes.Equal(text, said)) {
			t.Errorf("%s: opened as % x, %v", c.name, text, err)
		}
	}
}

// two are both sides of a connection that is not crypto/tls's.
func two(t testing.TB, suite uint16) (client, server *Conn) {
	t.Helper()
	n := suiteOf(suite).hash.Size()
	keys := func() (k Keys) {
		return Keys{Suite: suite, In: Half{bytes.Repeat([]byte{1}, n), 0}, Out: Half{bytes.Repeat([]byte{2}, n), 0}}
	}
	k := keys()
	server, err := New(Keys{Suite: suite, Server: true, In: k.Out, Out: k.In})
	if err == nil {
		client, err = New(keys())
	}
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func eachSuite(t *testing.T, f func(t *testing.T, client, server *Conn)) {
	for _, s := range suites {
		t.Run(tls.CipherSuiteName(s.id), func(t *testing.T) {
			client, server := two(t, s.id)
			f(t, client, server)
		})
	}
}

// openAll opens what one side has sealed.
func openAll(c *Conn, sealed []byte) (plain []byte, err error) {
	for len(sealed) > 0 {
		n, err := Next(sealed)
		if err != nil {
			return plain, err
		}
		if n == 0 || n > len(sealed) {
			return plain, io.ErrUnexpectedEOF
		}
		if plain, err = c.Open(plain, sealed[:n]); err != nil {
			return plain, err
		}
		sealed = sealed[n:]
	}
	return plain, nil
}

func TestAnyAmountIsBroughtWhole(t *testing.T) {
	eachSuite(t, func(t *testing.T, client, server *Conn) {
		for _, n := range []int{0, 1, MaxPlain - 1, MaxPlain, MaxPlain + 1, 5*MaxPlain + 7} {
			said := bytes.Repeat([]byte("0123456789"), n/10+1)[:n]
			sealed := client.Seal(nil, said)
			if want := n + (n+MaxPlain-1)/MaxPlain*Overhead; len(sealed) != want {
				t.Errorf("%d bytes are sealed as %d, want %d", n, len(sealed), want)
			}
			if got, err := openAll(server, sealed); err != nil || !bytes.Equal(got, said) {
				t.Errorf("%d bytes: %d came, %v", n, len(got), err)
			}
		}
	})
}

// A connection that moves between two records goes on as if nothing had happened.
func TestAConnectionMovesBetweenTwoRecords(t *testing.T) {
	eachSuite(t, func(t *testing.T, client, server *Conn) {
		for i := range 5 {
			said := fmt.Sprintf("message %d", i)
			if got, err := openAll(server, client.Seal(nil, []byte(said))); err != nil || string(got) != said {
				t.Fatalf("%q, %v; want %q", got, err, said)
			}
			k, ok := server.Keys()
			if !ok {
				t.Fatal("it cannot move")
			}
			if server.in.secret != [maxSecret]byte{} || server.out.secret != [maxSecret]byte{} || server.in.cipher != nil || server.out.cipher != nil {
				t.Error("secrets stay behind")
			}
			var err error
			if server, err = New(k); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(k.In.Secret, make([]byte, len(k.In.Secret))) {
				t.Error("the secret is not wiped behind the move")
			}
			if got, err := openAll(client, server.Seal(nil, []byte(said))); err != nil || string(got) != said {
				t.Fatalf("back: %q, %v; want %q", got, err, said)
			}
			client.Cool()
		}
	})
}

func TestNewKeysBeginBeforeTheOldOnesAreWornOut(t *testing.T) {
	eachSuite(t, func(t *testing.T, client, server *Conn) {
		client.out.number, server.in.number = client.suite.most-1, client.suite.most-1
		before := client.out.secret
		sealed := client.Seal(nil, make([]byte, 2*MaxPlain))
		if client.out.secret == before || client.out.number != 1 {
			t.Errorf("the key goes on, number %d", client.out.number)
		}
		if got, err := openAll(server, sealed); err != nil || len(got) != 2*MaxPlain {
			t.Errorf("%d bytes came, %v", len(got), err)
		}
		if server.Owes() {
			t.Error("an answer is due that nobody has asked for")
		}
	})
}

func TestAKeyUpdateIsAnsweredBeforeAllElse(t *testing.T) {
	eachSuite(t, func(t *testing.T, client, server *Conn) {
		asks := client.seal(nil, typeHandshake, []byte{msgKeyUpdate, 0, 0, 1, 1})
		client.out.next(client.suite)
		if _, err := openAll(server, asks); err != nil {
			t.Fatal(err)
		}
		if _, ok := server.Keys(); ok {
			t.Error("it moves though it owes an answer")
		}
		sealed := server.Seal(server.Due(nil), []byte("hello"))
		if got, err := openAll(client, sealed); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := openAll(server, client.Seal(nil, []byte("still here"))); err != nil || string(got) != "still here" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestAMessageThatHasBegunDoesNotMove(t *testing.T) {
	client, server := two(t, tls.TLS_AES_128_GCM_SHA256)
	if _, err := openAll(server, client.seal(nil, typeHandshake, []byte{msgKeyUpdate, 0, 0})); err != nil {
		t.Fatal(err)
	}
	if _, ok := server.Keys(); ok || server.Rests() {
		t.Error("it moves in the middle of a message")
	}
	if _, err := openAll(server, client.seal(nil, typeHandshake, []byte{1, 0})); err != nil || !server.Rests() {
		t.Error("the rest of the message ends it not")
	}
}

func TestTheNumberIsFoundByTheLastRecord(t *testing.T) {
	eachSuite(t, func(t *testing.T, client, server *Conn) {
		secrets := func() Keys {
			k := Keys{Suite: client.suite.id, Server: true}
			k.In, k.Out = client.out.get(client.suite), client.in.get(client.suite)
			return k
		}
		var in, out []byte
		for range 4 {
			in = client.Seal(nil, []byte("x"))
		}
		out = server.Seal(nil, []byte("y"))
		whole := bytes.Clone(in)
		var c Conn
		if !c.Resume(secrets(), Last{in, 10}, Last{out, 7}) || c.in.number != 4 || c.out.number != 1 || !bytes.Equal(in, whole) {
			t.Errorf("numbers %d and %d; the record is intact: %v", c.in.number, c.out.number, bytes.Equal(in, whole))
		}
		if got, err := openAll(&c, client.Seal(nil, []byte("hello"))); err != nil || string(got) != "hello" {
			t.Errorf("it does not go on: %q, %v", got, err)
		}
		for name, last := range map[string]Last{"a count too small": {in, 2}, "nothing": {}, "no record": {in[:9], 10}, "a damaged record": {append(bytes.Clone(in[:7]), in[7]^1), 10}} {
			if c.Resume(secrets(), last, Last{out, 7}) || c.Resume(secrets(), Last{in, 10}, last) {
				t.Errorf("%s: a number is found", name)
			}
		}
	})
}

func TestKeysAreNeverPrinted(t *testing.T) {
	k := Keys{Suite: tls.TLS_AES_128_GCM_SHA256, In: Half{Secret: []byte("geheim")}, Out: Half{Secret: []byte("geheim")}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		for _, v := range []any{k, &k, k.In, struct{ K Keys }{k}} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "geheim") || strings.Contains(got, hex.EncodeToString([]byte("geheim"))) || strings.Contains(got, "0x67") {
				t.Errorf("%s prints %s", verb, got)
			}
		}
	}
}

func TestWhatCannotBeGoneOnWithIsRefused(t *testing.T) {
	good := bytes.Repeat([]byte{1}, 32)
	for name, k := range map[string]Keys{
		"no suite":       {In: Half{Secret: good}, Out: Half{Secret: good}},
		"TLS 1.2":        {Suite: tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, In: Half{Secret: good}, Out: Half{Secret: good}},
		"a short secret": {Suite: tls.TLS_AES_256_GCM_SHA384, In: Half{Secret: good}, Out: Half{Secret: good}},
		"half a secret":  {Suite: tls.TLS_AES_128_GCM_SHA256, In: Half{Secret: good}},
	} {
		if _, err := New(k); err == nil {
			t.Errorf("%s is gone on with", name)
		}
	}
}

// Behind a KeyUpdate the secret is another one, behind the beginning of a message comes its
// end: such a connection stays where it is.
func TestAConnectionIsNotTakenInTheMiddle(t *testing.T) {
	ticket := append([]byte{msgNewSessionTicket, 0, 0, 14}, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 't', 0, 0)
	for name, c := range map[string]struct {
		kind byte
		said []byte
		ok   bool
	}{
		"data":                    {typeData, []byte("x"), true},
		"no data":                 {typeData, nil, true},
		"a ticket":                {typeHandshake, ticket, true},
		"two tickets":             {typeHandshake, append(bytes.Clone(ticket), ticket...), true},
		"half a ticket":           {typeHandshake, ticket[:9], false},
		"a ticket and a half":     {typeHandshake, append(bytes.Clone(ticket), ticket[:3]...), false},
		"a KeyUpdate":             {typeHandshake, keyUpdate, false},
		"a ticket, and KeyUpdate": {typeHandshake, append(bytes.Clone(ticket), keyUpdate...), false},
		"an alert":                {typeAlert, []byte{levelWarning, byte(closeNotify)}, false},
	} {
		client, server := two(t, tls.TLS_AES_128_GCM_SHA256)
		secrets := func() Keys {
			return Keys{Suite: client.suite.id, Server: true, In: client.out.get(client.suite), Out: client.in.get(client.suite)}
		}
		odd, plain := Last{client.seal(nil, c.kind, c.said), 3}, Last{server.Seal(nil, []byte("y")), 3}
		if (&Conn{}).Resume(secrets(), odd, plain) != c.ok {
			t.Errorf("%s: taken: %v", name, !c.ok)
		}
		back := secrets()
		back.In, back.Out = back.Out, back.In
		if (&Conn{}).Resume(back, plain, odd) != c.ok {
			t.Errorf("%s, said by us: taken: %v", name, !c.ok)
		}
	}
}

// A long message in short pieces costs what its length is, not the square of it.
func TestAMessageInPiecesIsNotCopiedForEach(t *testing.T) {
	client, server := two(t, tls.TLS_AES_128_GCM_SHA256)
	said, room, moved := []byte{msgNewSessionTicket, 0, 0xff, 0xff}, 0, 0
	for range 1 << 12 {
		if _, err := server.Open(nil, client.seal(nil, typeHandshake, said)); err != nil {
			t.Fatal(err)
		}
		if said = []byte{1}; cap(server.part) != room {
			room, moved = cap(server.part), moved+1
		}
	}
	if len(server.part) != 1<<12+3 || moved > 40 {
		t.Errorf("%d bytes were moved %d times", len(server.part), moved)
	}
	client, server = two(t, tls.TLS_AES_128_GCM_SHA256)
	if _, err := server.Open(nil, client.seal(nil, typeHandshake, []byte{msgNewSessionTicket, 1, 0, 1})); err == nil {
		t.Error("a message of more than 64 KiB is waited for")
	}
}
