// Package peer is the door for other nodes of the pool: a protocol whose clients are
// nodes, which come with a voucher for a client of their own. It decides who is believed
// and whom for; package pool says what is said.
package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"usher/internal/account"
	"usher/internal/login"
	"usher/internal/pool"
	"usher/internal/wire"
)

const (
	shakeTime   = 10 * time.Second // for the handshake
	voucherTime = 5 * time.Second  // for a voucher, once it has begun
)

// Protocol is what nodes speak with each other.
type Protocol struct {
	Node      *pool.Node
	Protocols []login.Protocol // of the clients that nodes may vouch for
	Log       *slog.Logger
	Troubles  *Troubles
}

// Troubles are what nodes and others do that they should not, of which the log has a
// line a second. They outlive a reload. The zero value is ready.
type Troubles struct{ handshakes, vouchers, crowds login.Brief }

// Info implements login.Protocol. Who finds no room hears nothing: it would be no TLS.
func (Protocol) Info() login.Info { return login.Info{Name: "pool", ALPN: pool.Protocol} }

// Enter implements login.Protocol. Nobody logs in by it.
func (Protocol) Enter(context.Context, *wire.Conn, login.Ticket) (login.Welcome, error) {
	return login.Welcome{}, errors.New("nobody logs in at a node of the pool")
}

// Serve implements login.Protocol: one voucher, and its answer.
func (p Protocol) Serve(ctx context.Context, c *login.Client, d *login.Desk) error {
	node, err := p.welcome(ctx, c)
	if err != nil {
		return err
	}
	v, err := p.voucher(c, node)
	if err != nil {
		return err
	}
	return p.admit(ctx, c, d, node, v)
}

// welcome finds out which node has come, and tells it that it is let in.
func (p Protocol) welcome(ctx context.Context, c *login.Client) (node string, err error) {
	done, ok := p.Node.Shakes(c.Peer.Addr().String())
	if !ok {
		return "", p.refuse(&p.Troubles.crowds, c, "", errors.New("there are too many handshakes with this address"))
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, shakeTime)
	defer cancel()
	if err := c.StartTLS(ctx); err != nil {
		return "", p.refuse(&p.Troubles.handshakes, c, "", explain(err))
	}
	node, err = p.Node.Who(*c.Conn.TLS(), x509.ExtKeyUsageClientAuth)
	if err != nil {
		return "", p.refuse(&p.Troubles.handshakes, c, "", err)
	}
	c.Place.Proven() // a node is no stranger who must make room for others: Waits bounds how many connections it has
	_ = c.Conn.Send(p.Node.Hello())
	return node, c.Conn.Flush()
}

// voucher waits for what a node says of a client. One that leaves without has only had
// its connection ready for longer than it was needed.
func (p Protocol) voucher(c *login.Client, node string) (v pool.Voucher, err error) {
	done, ok := p.Node.Waits(node)
	if !ok {
		return v, p.refuse(&p.Troubles.crowds, c, node, errors.New("it has too many connections that wait for a voucher"))
	}
	defer done()
	stop := context.AfterFunc(p.Node.Left(), c.Conn.Interrupt)
	defer stop()
	if err := c.Conn.Await(time.Now().Add(pool.Awaits)); err != nil {
		return v, err
	}
	err = c.Conn.Preface(time.Now().Add(voucherTime), func(r *bufio.Reader) error {
		v, err = pool.Read(r)
		return err
	})
	switch {
	case errors.Is(err, wire.ErrInterrupted), errors.Is(err, syscall.ECONNRESET):
		return v, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errors.New("the voucher has not come in time")
	case err == nil && c.Conn.Ahead():
		err = errors.New("voucher: something stands behind it")
	}
	if err != nil {
		return v, p.refuse(&p.Troubles.vouchers, c, node, err)
	}
	if !stop() { // by the configuration of today the node may be none of the pool any more
		return v, wire.ErrInterrupted
	}
	p.Node.Heard(node, v.Build)
	return v, nil
}

// admit lets a client in for which a node vouches.
func (p Protocol) admit(ctx context.Context, c *login.Client, d *login.Desk, node string, v pool.Voucher) error {
	g, err := p.greeter(v.Protocol)
	if err != nil {
		return p.refuse(&p.Troubles.vouchers, c, node, err)
	}
	c.Protocol = g
	c.Introduced(v, node)
	return g.Greet(c, func() (*login.Admission, error) {
		who, err := p.believe(node, v.Account)
		if err != nil {
			return nil, d.RefuseVoucher(c, v.Account.Name, err)
		}
		return d.Vouched(ctx, c, who)
	})
}

// believe is the account that a node vouches for, if the rules let it. They are asked
// about the name that the program is told, too: it may be what the mailbox is found by.
func (p Protocol) believe(node string, a pool.Account) (*account.Account, error) {
	if err := p.Node.May(node, a.Name); err != nil {
		return nil, err
	}
	who, err := account.FromPassport(a.Name, node, a.Fields)
	if err != nil {
		return nil, fmt.Errorf("what node %s says of the account: %w", node, err)
	}
	if who.Place.User == "" {
		return who, nil
	}
	if err := p.Node.May(node, who.Place.User); err != nil {
		return nil, fmt.Errorf("destuser: %w", err)
	}
	return who, nil
}

func (p Protocol) greeter(name string) (login.Greeter, error) {
	for _, one := range p.Protocols {
		if one.Info().Name == name {
			return login.GreeterOf(one)
		}
	}
	return nil, fmt.Errorf("it vouches for a client of a protocol that this node does not speak: %.40q", name)
}

// refuse says in the log what a node, or somebody who is none, has done.
func (p Protocol) refuse(b *login.Brief, c *login.Client, node string, why error) error {
	if errors.Is(why, wire.ErrInterrupted) || errors.Is(why, io.EOF) || errors.Is(why, syscall.ECONNRESET) {
		return why // it has only looked whether we are here, or we go
	}
	if others, ok := b.ToSay(time.Now()); ok {
		attrs := []any{"id", c.ID.String(), "remote", c.Peer.String()}
		if node != "" {
			attrs = append(attrs, "node", node)
		}
		p.Log.Warn("node refused", append(attrs, "why", why.Error(), "others", others)...)
	}
	return why
}

// explain says in our words what fails in a handshake.
func explain(err error) error {
	if _, is := errors.AsType[tls.RecordHeaderError](err); is {
		return errors.New("it does not speak TLS: here nodes of the pool come, and no mail clients")
	}
	if remote, is := errors.AsType[*net.OpError](err); is && remote.Op == "remote error" {
		return fmt.Errorf("the node does not take us for one of its pool (%w)", remote.Err)
	}
	return err
}
