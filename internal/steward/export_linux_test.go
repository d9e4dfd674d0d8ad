package steward

// Vanish ends an engine as kill -9 does: it says nothing more to its stewards.
func (e *Engine) Vanish() {
	e.mu.Lock()
	e.over, e.link = true, nil
	links := e.links
	e.links = map[*link]bool{}
	e.mu.Unlock()
	for l := range links {
		l.close()
	}
}
