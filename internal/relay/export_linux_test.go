package relay

// Hurry has the engine wait less long for peers, from before its first pair on.
func (e *Epoll) Hurry() *Epoll {
	for _, l := range e.loops {
		l.tell(func() { l.patience = brief })
	}
	return e
}
