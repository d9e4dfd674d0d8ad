//go:build !linux

package steward

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"usher/internal/relay"
)

// Terms are what an Engine needs.
type Terms struct {
	Socket, Program, Build string
	Local                  relay.Engine
	Adopt                  Adoption
	Log                    *slog.Logger
	Logged                 func()
	Early                  *Call
	Taken                  func()
}

// A Call is none.
type Call struct{}

// Dial calls nobody.
func Dial(string) *Call { return nil }

// Hang does nothing.
func (*Call) Hang() {}

// An Engine is the process's own: here there are no stewards.
type Engine struct{ relay.Engine }

// Open fails.
func Open(Terms) (*Engine, error) {
	return nil, fmt.Errorf("a relay process: %w: there is one on Linux only", errors.ErrUnsupported)
}

// Has is false.
func (e *Engine) Has(uint64) bool { return false }

// Relays are none.
func (e *Engine) Relays() []Relay { return nil }

// Leads is false.
func (e *Engine) Leads() bool { return false }

// Apart is false.
func (e *Engine) Apart() bool { return false }

// Lead does nothing, as Leave, Close and Replace.
func (e *Engine) Lead() {}

// Leave does nothing.
func (e *Engine) Leave() {}

// Close does nothing.
func (e *Engine) Close() {}

// Replace does nothing.
func (e *Engine) Replace() error { return nil }

// Main fails.
func Main([]string, string) int {
	fmt.Fprintln(os.Stderr, "usher relay: there is a relay process on Linux only")
	return 1
}
