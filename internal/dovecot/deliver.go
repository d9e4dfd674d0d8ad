package dovecot

import (
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Deliver puts a message into the user's INBOX, as an MTA would: complete or
// not at all. Dovecot gives it to clients byte for byte if its lines end in CRLF.
func (s *Server) Deliver(user, message string) {
	s.t.Helper()
	if err := s.deliver(user, message); err != nil {
		s.t.Fatalf("deliver to %s: %v", user, err)
	}
}

func (s *Server) deliver(user, message string) error {
	inbox := filepath.Join(s.Dir, "mail", fmt.Sprintf("%x", md5.Sum([]byte(user)))) // %Mu in dovecot.conf
	for _, dir := range []string{inbox, filepath.Join(inbox, "tmp"), filepath.Join(inbox, "new"), filepath.Join(inbox, "cur")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := s.give(dir); err != nil {
			return err
		}
	}
	s.delivered++
	now := time.Now()
	// Dovecot numbers new messages by the seconds in front, then by what is behind the M.
	name := fmt.Sprintf("%d.M%06dQ%d.test", now.Unix(), now.Nanosecond()/1000, s.delivered)
	unfinished := filepath.Join(inbox, "tmp", name)
	if err := os.WriteFile(unfinished, []byte(message), 0o600); err != nil {
		return err
	}
	if err := s.give(unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, filepath.Join(inbox, "new", name))
}
