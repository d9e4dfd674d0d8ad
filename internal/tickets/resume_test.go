package tickets_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/tickets"
)

// A client that comes back after a restart of usher needs no full handshake: what
// costs usher most of the time of a login.
func TestAClientResumesWithTheNextProcess(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.org", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			file, cert := keyFile(t), certificate(t)
			for i, c := range []struct {
				who    string
				file   string
				resume bool
			}{
				{"a new client", file, false},
				{"the next process", file, true},
				{"a process with other keys", keyFile(t), false},
			} {
				server := &tls.Config{Certificates: []tls.Certificate{cert}}
				server.SetSessionTicketKeys(current(t, open(t, c.file, time.Now)))
				if got := resumed(t, server, client); got != c.resume {
					t.Errorf("%d, %s: resumed is %v", i, c.who, got)
				}
			}
		})
	}
}

// resumed tells whether a client resumes. It reads a byte, since with TLS 1.3 the
// ticket comes behind the handshake.
func resumed(t *testing.T, server, client *tls.Config) bool {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go greet(ln)
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", ln.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

// greet says a byte to one client.
func greet(ln net.Listener) {
	c, err := ln.Accept()
	if err != nil {
		return
	}
	_, _ = fmt.Fprint(c, "*")
	_ = c.Close()
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Keys change in a running process, a day after their birth and not before.
func TestARunningProcessGetsItsNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, k := time.Now(), open(t, keyFile(t), time.Now)
		applied := make(chan [][32]byte, 100)
		go k.Run(t.Context(), func(keys [][32]byte) { applied <- keys }, slog.New(slog.DiscardHandler))
		first := <-applied
		if !slices.Equal(first, current(t, k)) {
			t.Error("at first other keys are applied")
		}
		time.Sleep(23*time.Hour + time.Minute)
		if synctest.Wait(); len(applied) != 0 {
			t.Fatal("within the day keys are applied again")
		}
		next := <-applied
		if len(next) != 2 || next[1] != first[0] || time.Since(began) > 25*time.Hour {
			t.Errorf("%v after the start %d keys are applied", time.Since(began), len(next))
		}
	})
}

// A log that repeats itself every hour is not read.
func TestTroubleIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := tickets.Open(t.TempDir()+"/gone/tickets.keys", time.Now)
		if err == nil {
			t.Fatal("nothing was told")
		}
		go k.Run(t.Context(), func([][32]byte) {}, slog.New(slog.NewTextHandler(complaint{t}, nil)))
		time.Sleep(72 * time.Hour)
		synctest.Wait()
	})
}

// A complaint is a log in which there must be nothing.
type complaint struct{ *testing.T }

func (c complaint) Write(line []byte) (int, error) {
	c.Errorf("logged: %s", line)
	return len(line), nil
}
