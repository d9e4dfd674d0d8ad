package account

import (
	"context"

	"usher/internal/password"
)

// A lesson is a password that has been found right, by something of which no slow
// hash is known.
type lesson struct {
	memory       *Memory
	right, proof digest
	password     string
}

// learn has a lesson learned some time. A login does not wait for it: if there are
// too many, the next login of the same account will do.
func (d *disk) learn(l lesson) {
	if !d.on.Load() {
		return
	}
	select {
	case d.lessons <- l:
	default:
	}
}

// study learns one lesson after the other, so that hashing takes one processor at most.
func (d *disk) study(ctx context.Context) {
	for {
		select {
		case l := <-d.lessons:
			if hash, err := password.Make(password.Default, l.password); err == nil {
				l.memory.learned(l, hash)
				d.touch()
			}
		case <-ctx.Done():
			d.drop()
			return
		}
	}
}

// drop forgets the passwords that wait.
func (d *disk) drop() {
	for {
		select {
		case <-d.lessons:
		default:
			return
		}
	}
}
