package steward

// A Relay is a relay process as an usher sees it.
type Relay struct {
	PID      int
	Build    string
	Sessions int    // that are this usher's
	State    string // Relaying …
}

// What a relay process is doing.
const (
	Relaying = "relaying"
	Replaced = "replaced" // and has sessions that were not at rest yet
	Slow     = "slow"     // new sessions do not go there: it does not answer, or much waits for it
)
