package relay

import "golang.org/x/sys/unix"

// dismiss ends the pair from our side. The client hears why only where all that the
// server has said ends with a whole line and has left: a goodbye in the middle of a
// message would become part of it.
func (pr *pair) dismiss(why Ending) {
	if pr.over {
		return
	}
	g := &pr.legs[client]
	if pr.why == "" && pr.farewell != "" && g.rest == nil && !g.midLine && !pr.legs[server].waiting() {
		pr.why = why
		if err := g.write([]byte(pr.farewell), pr.loop.sealed); err != nil {
			pr.end(failed[client])
			return
		}
	}
	for side := range pr.legs {
		// Within a line the client hears no TLS goodbye either: what it has is not whole.
		if g := &pr.legs[side]; !g.plain() && g.rest == nil && !g.midLine {
			g.closeWrite(false)
		}
	}
	pr.end(why)
}

// end closes both sides and reports.
func (pr *pair) end(why Ending) {
	if pr.over {
		return
	}
	pr.over = true
	if pr.why == "" {
		pr.why = why
	}
	pr.loop.forget(pr)
	pr.close()
	go pr.done(pr.stats()) // it logs: no loop waits for a disk
}

// close closes both sides.
func (pr *pair) close() {
	for side := range pr.legs {
		if g := &pr.legs[side]; g.fd >= 0 {
			pr.disarm(g) // close alone would not do it while somebody else has the socket
			_ = unix.Close(int(g.fd))
			pr.settle(g)
			g.keyed.end(pr.loop)
			g.fd = -1 // the number is somebody else's from here on
		}
	}
}

func (pr *pair) stats() Stats {
	return Stats{
		ID: pr.id, FromClient: pr.legs[client].received, FromServer: pr.legs[server].received,
		Last: pr.loop.time(pr.last), Ended: pr.why,
	}
}

// disarm has epoll forget a side.
func (pr *pair) disarm(g *leg) {
	if g.armed != 0 {
		_ = unix.EpollCtl(pr.loop.poller.fd, unix.EPOLL_CTL_DEL, int(g.fd), nil)
		g.armed = 0
	}
}

// atRest tells whether all that was read is written, and neither side has left.
func (pr *pair) atRest() bool {
	for side := range pr.legs {
		if g := &pr.legs[side]; g.gone || g.shut || g.rest != nil {
			return false
		}
	}
	return true
}

// release takes a pair at rest out of its loop, unless crypto/tls holds one of its sides.
// What still waits in its sockets goes with them.
func (pr *pair) release() (p Pair, done func(Stats), ok bool) {
	c, s := &pr.legs[client], &pr.legs[server]
	if c.tls != nil || s.tls != nil || !pr.atRest() || !c.keyed.moves() || !s.keyed.moves() {
		return Pair{}, nil, false
	}
	pr.over = true // for what still knows of it
	pr.loop.forget(pr)
	return Pair{
		ID: pr.id, Idle: pr.idle, Farewell: pr.farewell,
		Client: pr.give(c), Server: pr.give(s),
		Before: pr.stats(), MidLine: c.midLine,
	}, pr.done, true
}

// give is a side as another engine takes it.
func (pr *pair) give(g *leg) Leg {
	pr.disarm(g)
	l := Leg{Conn: FromDescriptor(int(g.fd))}
	if k := g.keyed; k != nil {
		pr.loop.warmth.forget(k)
		keys, _ := k.Keys() // it moves: release has asked
		l.Keys, l.Ahead = &keys, k.part
	}
	return l
}
