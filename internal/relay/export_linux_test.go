package relay

// Hurry has the engine wait less long for peers, from before its first pair on.
func (e *Epoll) Hurry() *Epoll {
	for _, l := range e.loops {
		l.tell(func() { l.patience = brief })
	}
	return e
}

// Dear tells whether little is read at once of a pair's client.
func (e *Epoll) Dear(id uint64) (dear bool) {
	l, told := e.loop(id), make(chan struct{})
	l.tell(func() { dear = l.pair(id).legs[client].dear; close(told) })
	<-told
	return dear
}
