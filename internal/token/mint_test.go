package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"usher/internal/token"
)

func TestAMintedTokenIsGoodForOneServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := token.OpenKey(filepath.Join(dir, "state", "token.key"))
	if err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(dir, "public")
	if err := os.WriteFile(public, key.Public(), 0o600); err != nil {
		t.Fatal(err)
	}
	m := token.Mint{Key: key, Issuer: "usher.example.org", Audience: "east", Claim: "email", Scope: "imap"}
	text, err := m.Token(ann)
	if err != nil {
		t.Fatal(err)
	}
	s := token.Settings{Issuer: "usher.example.org", Keys: public, Audience: []string{"east"}, Scope: []string{"imap"}, Claim: "email", Timeout: time.Second}
	isAnns(t, open(t, s), text)
	if _, until, _ := open(t, s).Whose(t.Context(), text); time.Until(until) > time.Minute {
		t.Errorf("it is good until %v", until)
	}
	s.Audience = []string{"west"}
	isRefused(t, open(t, s), text, "audience")
	if again, _ := m.Token(ann); again == text {
		t.Error("two tokens are the same")
	}
}

func TestTheKeyIsMadeOnceAndIsSecret(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state", "token.key")
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			if key, err := token.OpenKey(file); err == nil {
				ids[i] = key.ID
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("several processes have the keys %q", ids)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := token.OpenKey(file); err == nil {
		t.Error("an empty file is a key")
	}
}

func TestKeysOfAllKindsSign(t *testing.T) {
	t.Parallel()
	r, _ := rsa.GenerateKey(rand.Reader, 2048)
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	e, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	for want, private := range map[string]any{"RS256": r, "ES384": e, "EdDSA": ed, "": weak} {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		key, err := token.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		if want == "" {
			if err == nil {
				t.Error("1024 bits will do")
			}
			continue
		}
		if err != nil || key.Algorithm != want || !bytes.HasPrefix(key.Public(), []byte("-----BEGIN PUBLIC KEY")) {
			t.Errorf("%s: %+v, %v", want, key, err)
			continue
		}
		if _, err := (&token.Mint{Key: key, Claim: "email"}).Token(ann); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, text := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "-----BEGIN X-----\n-----END X-----\n"} {
		if _, err := token.ParseKey([]byte(text)); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
}
