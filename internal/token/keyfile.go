package token

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-jose/go-jose/v4"
)

// leastRSA is how many bits an RSA key must have: RFC 7518 §3.3.
const leastRSA = 2048

// ParseKeys reads public keys: a JWKS (RFC 7517), or PEM of keys and certificates.
func ParseKeys(text []byte) ([]jose.JSONWebKey, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return parseJWKS(text)
	}
	var keys []jose.JSONWebKey
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		public, err := parsePublic(block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, jose.JSONWebKey{Key: public})
	}
	return usable(keys)
}

func parsePublic(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	}
	return nil, fmt.Errorf("%.40q is no public key", block.Type)
}

// parseJWKS leaves out what it does not know: RFC 7517 §5.
func parseJWKS(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("no JSON Web Key Set: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, one := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(one) == nil {
			keys = append(keys, key)
		}
	}
	return usable(keys)
}

// usable are those public keys that may sign.
func usable(all []jose.JSONWebKey) (keys []jose.JSONWebKey, err error) {
	for _, key := range all {
		r, isRSA := key.Key.(*rsa.PublicKey)
		weak := isRSA && r.N.BitLen() < leastRSA
		if key.Valid() && key.IsPublic() && (key.Use == "" || key.Use == "sig") && !weak {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

// fileKeys fetches keys from a file.
func fileKeys(file string) func(context.Context) ([]jose.JSONWebKey, error) {
	return func(context.Context) ([]jose.JSONWebKey, error) {
		keys, err := ReadKeys(file)
		if err != nil {
			return nil, fmt.Errorf("keys of tokens: %w", err)
		}
		return keys, nil
	}
}

// ReadKeys reads a file of public keys.
func ReadKeys(file string) ([]jose.JSONWebKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a plain file")
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, maxDocument))
	}
	var keys []jose.JSONWebKey
	if err == nil {
		keys, err = ParseKeys(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}
