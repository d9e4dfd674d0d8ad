package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// saltFile holds the secret from which salts of SCRAM are made, in the state folder: they
// shall be the same after a restart.
const saltFile = "scram.secret"

// leastSalt is how long it must be to be worth something.
const leastSalt = 16

// keepSalt gives the house the secret of salts. Where it cannot be kept, it lives as long
// as the house.
func (s *Server) keepSalt(h *house) {
	if !h.speaksSCRAM() {
		return
	}
	if given := h.cfg.Auth.ScramSecret.Reveal(); given != "" {
		h.auth.Salt = []byte(given)
		return
	}
	salt, err := stateSalt(string(h.cfg.Server.State))
	if err != nil {
		s.log.Warn("the secret of SCRAM is not kept: after a restart names that nobody has can be told from others", "err", err,
			"remedy", "let usher's user read and write the file, or set scram_secret_file in [auth]")
		return
	}
	h.auth.Salt = []byte(salt)
}

func (h *house) speaksSCRAM() bool {
	for _, m := range h.desk.Mechanisms {
		if strings.HasPrefix(m.Name, "SCRAM-") {
			return true
		}
	}
	return false
}

// stateSalt reads the file, or makes it.
func stateSalt(dir string) (string, error) {
	file := filepath.Join(dir, saltFile)
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeSalt(dir, file)
	case err != nil:
		return "", err
	case len(text) < leastSalt:
		return "", fmt.Errorf("%s is too short; remove it", file)
	}
	return string(text), nil
}

// makeSalt writes a file of its own first: nobody may read half of it.
func makeSalt(dir, file string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, saltFile+".*") // with mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(rand.Text())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", err
	}
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) { // another process was quicker
		return "", err
	}
	text, err := os.ReadFile(file)
	return string(text), err
}
