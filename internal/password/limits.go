package password

import (
	"fmt"
	"strconv"
)

// What a stored hash may ask for. Whoever can write a row must not be able to
// stop the machine with it: one check takes 256 MiB at most, and up to 1.5
// seconds on a processor of 2024, or some four on one without instructions for
// SHA. The times behind the limits are those of 2024.
const (
	// Bytes of "{SCHEME}text". The longest password that can log in has 4 KiB,
	// which is twice as much in hex.
	maxStored = 8<<10 + 64

	maxSalt = 128 // bytes

	maxBcryptCost = 15 // 1.5 s; each step doubles it

	// Rounds of $5$ and $6$.
	minSHACryptRounds = 1000
	maxSHACryptRounds = 1_000_000 // 0.2 s, and 1.2 s for a password of 511 bytes

	maxPBKDF2Rounds    = 5_000_000 // 0.7 s
	maxSCRAMIterations = 5_000_000 // 0.7 s

	maxArgonMemory  = 256 << 10 // KiB: "doveadm pw -s ARGON2ID -r 3" asks for so much
	maxArgonTime    = 64        // passes over the memory
	maxArgonWork    = 2 << 20   // KiB over all passes: 1.4 s
	maxArgonThreads = 64

	// yescrypt takes 128·N·r bytes.
	minYescryptLogN = 10 // crypt(3) makes nothing smaller
	maxYescryptLogN = 20
	maxYescryptR    = 32
	maxYescryptNR   = 1 << 20 // 128 MiB; 0.5 s

	// crypt(3) hashes nothing longer: CRYPT_MAX_PASSPHRASE_SIZE counts the NUL.
	// The work grows with the length, which a stranger chooses.
	maxCryptLen = 511 // bytes
)

// number reads a cost. Its error does not quote the digits, which may be
// something else.
func number(what, digits string, least, most int) (int, error) {
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || int(n) < least || int(n) > most {
		return 0, fmt.Errorf("its %s is not a number from %d to %d", what, least, most)
	}
	return int(n), nil
}
