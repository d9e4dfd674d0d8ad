package relay

import "golang.org/x/sys/unix"

// goOn takes up what is known of a pair from before it was started.
func (pr *pair) goOn(p Pair) {
	pr.legs[client].midLine = p.MidLine
	pr.legs[client].received = p.Before.FromClient
	pr.legs[server].received = p.Before.FromServer
	pr.moved()
	if last := p.Before.Last; !last.IsZero() {
		pr.last, pr.quiet = last, last
	}
}

// release takes a pair that is plain and at rest out of its loop. What still waits in
// its sockets goes with them.
func (pr *pair) release() bool {
	for side := range pr.legs {
		if g := &pr.legs[side]; g.tls != nil || g.gone || g.shut || len(g.rest) > 0 {
			return false
		}
	}
	pr.over = true // for orders that are on their way
	pr.loop.forget(pr)
	for side := range pr.legs {
		_ = unix.EpollCtl(pr.loop.epoll, unix.EPOLL_CTL_DEL, pr.legs[side].fd, nil)
	}
	return true
}

// asPair is a released pair as Start takes it.
func (pr *pair) asPair() Pair {
	c, s := &pr.legs[client], &pr.legs[server]
	return Pair{
		ID:     pr.id,
		Client: Leg{Conn: FromDescriptor(c.fd)}, Server: Leg{Conn: FromDescriptor(s.fd)},
		Idle: pr.idle, Farewell: pr.farewell,
		Before:  Stats{FromClient: c.received, FromServer: s.received, Last: pr.last},
		MidLine: c.midLine,
	}
}
