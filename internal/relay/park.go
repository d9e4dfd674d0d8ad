package relay

import "time"

// parkTime is how long a pump may take to come to rest: it may hang in a write.
const parkTime = 100 * time.Millisecond

// parking is a try to bring both pumps of a pair to rest between two reads.
type parking struct {
	parked  chan struct{} // one for each pump that rests
	verdict chan struct{} // closed when it is clear what is to become of the pair
	leave   bool          // after verdict: the pumps end, the pair goes elsewhere
}

// release takes the pair out of its pumps' hands, if it is plain and at rest.
func (r *running) release() bool {
	if !r.given.Client.plain() || !r.given.Server.plain() || r.ended.Load() != nil {
		return false
	}
	p := &parking{parked: make(chan struct{}, 2), verdict: make(chan struct{})}
	if !r.parking.CompareAndSwap(nil, p) {
		return false // somebody else is at it
	}
	r.setReadDeadline(time.Unix(1, 0)) // reads end at once
	p.leave = p.wait() && r.fate.CompareAndSwap(going, released)
	r.setReadDeadline(time.Time{})
	r.parking.Store(nil)
	close(p.verdict)
	return p.leave
}

// wait waits for both pumps, but not for ever.
func (p *parking) wait() bool {
	enough := time.After(parkTime)
	for range 2 {
		select {
		case <-p.parked:
		case <-enough:
			return false
		}
	}
	return true
}

// park holds a pump whose read was ended, and tells whether it shall end.
func (r *running) park() bool {
	p := r.parking.Load()
	if p == nil {
		return false // the try is over
	}
	p.parked <- struct{}{}
	<-p.verdict
	return p.leave
}

func (r *running) setReadDeadline(t time.Time) {
	_ = r.client.SetReadDeadline(t)
	_ = r.server.SetReadDeadline(t)
}

// asPair is a released pair as Start takes it.
func (r *running) asPair() Pair {
	p := r.given
	p.Client.Pending, p.Server.Pending = nil, nil
	p.Before = r.stats()
	p.MidLine = r.client.midLine
	return p
}
