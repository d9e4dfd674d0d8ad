package limit

import (
	"container/list"
	"net/netip"
	"time"
)

// crowds are the strangers by their networks. Who comes, goes or must make room is
// found in constant time.
type crowds struct {
	people    int
	byNetwork map[netip.Addr]*crowd
	bySize    []*list.List // of crowds, by how many there are; at each the one first that has been so for longest
	largest   int          // size
}

// A crowd are the strangers of one network.
type crowd struct {
	network netip.Addr
	people  list.List     // of *Place; who came first is in front
	at      *list.Element // in bySize
}

// of is how many strangers a network has.
func (c *crowds) of(network netip.Addr) int {
	if x := c.byNetwork[network]; x != nil {
		return x.people.Len()
	}
	return 0
}

func (c *crowds) join(p *Place) {
	x := c.byNetwork[p.network]
	if x == nil {
		x = &crowd{network: p.network}
		if c.byNetwork == nil {
			c.byNetwork = map[netip.Addr]*crowd{}
		}
		c.byNetwork[p.network] = x
	}
	c.change(x, func() { p.in = x.people.PushBack(p) })
	c.people++
}

func (c *crowds) leave(p *Place) {
	x := c.byNetwork[p.network]
	c.change(x, func() { x.people.Remove(p.in) })
	p.in = nil
	c.people--
	if x.people.Len() == 0 {
		delete(c.byNetwork, p.network)
	}
}

// change puts a crowd, one larger or smaller, where its size belongs.
func (c *crowds) change(x *crowd, do func()) {
	if x.at != nil {
		c.bySize[x.people.Len()].Remove(x.at)
	}
	do()
	size := x.people.Len()
	for len(c.bySize) <= size {
		c.bySize = append(c.bySize, list.New())
	}
	x.at = nil
	if size > 0 {
		x.at = c.bySize[size].PushBack(x)
	}
	c.largest = max(c.largest, size)
	for c.largest > 0 && c.bySize[c.largest].Len() == 0 { // once at most: what has left it is one smaller
		c.largest--
	}
}

// young is how long a stranger has its place before it must leave it to one of a
// network that has as many: time enough to log in.
const young = 5 * time.Second

// victim is who has to make room for one of a network: the oldest stranger of the
// network that has most of them; nil if nobody has to.
func (c *crowds) victim(network netip.Addr, now time.Time) *Place {
	if c.largest == 0 {
		return nil
	}
	x, own := c.bySize[c.largest].Front().Value.(*crowd), c.of(network)
	if own == c.largest {
		x = c.byNetwork[network]
	}
	p := x.people.Front().Value.(*Place)
	if c.largest < own+2 && now.Sub(p.since) < young {
		return nil
	}
	return p
}
