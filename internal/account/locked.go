package account

import (
	"context"
	"fmt"
	"strings"
)

// Locked is the Proof of an account that is known, and that no password opens.
type Locked struct {
	Why string // for the log
}

// Check implements Proof.
func (l Locked) Check(context.Context, string) error {
	return fmt.Errorf("%w: %s", ErrRefused, l.Why)
}

// Identity implements Proof. Nothing else has it: no password fits that was right
// before.
func (l Locked) Identity() string { return "locked" }

// IsLocked tells whether a stored password is one that nothing fits: an empty one, or
// one that passwd(1) or useradd(8) has made unreadable: "!…", "*…".
func IsLocked(stored string) bool {
	if scheme, rest, ok := strings.Cut(stored, "}"); ok && strings.HasPrefix(scheme, "{") && strings.HasSuffix(strings.ToUpper(scheme), "CRYPT") {
		stored = rest // of CRYPT, SHA512-CRYPT, …
	}
	return stored == "" || stored[0] == '!' || stored[0] == '*'
}
