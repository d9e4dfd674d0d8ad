package relay

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
	"time"
)

// What crypto/tls has told of a connection for our sake is wiped as soon as the relay has
// it, whether the leg can do without crypto/tls or not.
func TestSecretsThatWereToldAreWiped(t *testing.T) {
	e, err := NewEpoll()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for name, version := range map[string]uint16{"TLS 1.3": tls.VersionTLS13, "TLS 1.2": tls.VersionTLS12} {
		for _, way := range []string{"Start", "Free"} {
			t.Run(name+", "+way, func(t *testing.T) { wiped(t, e, version, way) })
		}
	}
}

func wiped(t *testing.T, e *Epoll, version uint16, way string) {
	t.Helper()
	cl, craw, ctls := newLeg(t, version, true, nil)
	sl, _, _ := newLeg(t, 0, false, nil)
	said := make(chan error, 1)
	go func() { _, err := ctls.Write([]byte("x")); said <- err }()
	if _, err := io.ReadFull(cl.TLS, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.TLS.Write([]byte("y")); err != nil || <-said != nil {
		t.Fatal(err)
	}
	s := socketOf(cl.TLS)
	told := [][]byte{s.secrets.client, s.secrets.server, s.in.Record, s.out.Record}
	if version == tls.VersionTLS13 && (len(told[0]) == 0 || len(told[1]) == 0 || bytes.Equal(told[0], make([]byte, len(told[0])))) {
		t.Fatal("no secrets were told: this test would see nothing")
	}
	ended := make(chan Stats, 1)
	if way == "Free" {
		if free := cl.Free(); free != (version == tls.VersionTLS13) {
			t.Fatalf("free: %v", free)
		}
	}
	e.Start(Pair{ID: 1, Client: cl, Server: sl}, func(st Stats) { ended <- st })
	for _, secret := range told[:2] {
		if !bytes.Equal(secret, make([]byte, len(secret))) {
			t.Error("a secret stays in memory behind the handover")
		}
	}
	if s.secrets.client != nil || s.secrets.server != nil || s.in.Record != nil || s.out.Record != nil {
		t.Error("it is still referred to")
	}
	_ = craw.Close()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the pair does not end")
	}
}

// A line of the key log is read once, by us. Nobody finds it later.
func TestALineOfTheKeyLogIsWiped(t *testing.T) {
	var k secrets
	line := []byte("CLIENT_TRAFFIC_SECRET_0 00 0102\n")
	if n, err := k.Write(line); n != len(line) || err != nil || !bytes.Equal(k.client, []byte{1, 2}) {
		t.Fatal(n, err, k.client)
	}
	if !bytes.Equal(line, make([]byte, len(line))) {
		t.Errorf("%q stays behind", line)
	}
	var also bytes.Buffer
	k.also = &also
	_, _ = k.Write([]byte("SERVER_TRAFFIC_SECRET_0 00 0304\n"))
	if also.String() != "SERVER_TRAFFIC_SECRET_0 00 0304\n" {
		t.Errorf("whom the configuration names hears %q", &also)
	}
}
