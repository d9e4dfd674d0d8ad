//go:build !linux

package relay

// Open makes the only engine of this system, and says how to close it.
func Open(string) (Engine, func() error, error) {
	return NewGoroutines(), func() error { return nil }, nil
}

// Reserve is how many descriptors the engine may open at most while it runs, beside
// those of its pairs.
func Reserve(string, int) int { return 0 }
