package doorway

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"net"
	"time"
)

// An aside is a port of 127.0.0.1 to which one stranger is sent, who is known there by a
// word. A unix socket carries descriptors, also where nobody asks for them: whoever reads
// it closes those that he does not take, and a stranger can send some whose closing takes
// as long as he likes. In the loop of the relay all sessions would wait for that. TCP
// carries bytes alone.
type aside struct {
	ln   net.Listener
	word string
}

func openAside() (*aside, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // as everywhere: it breaks socket options
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("there is no way in for others than root and usher's own user: %w", err)
	}
	return &aside{ln, rand.Text()}, nil
}

func (a *aside) close() { _ = a.ln.Close() }

// wordTime is for the word to arrive: who has it sends it at once.
const wordTime = time.Second

// accept waits for the stranger. Others may try to come in his place.
func (a *aside) accept() (net.Conn, error) {
	if err := a.ln.(*net.TCPListener).SetDeadline(time.Now().Add(askTime)); err != nil {
		return nil, err
	}
	for {
		nc, err := a.ln.Accept()
		if err != nil {
			return nil, err
		}
		said := make([]byte, len(a.word))
		_ = nc.SetReadDeadline(time.Now().Add(wordTime))
		if _, err := io.ReadFull(nc, said); err == nil && subtle.ConstantTimeCompare(said, []byte(a.word)) == 1 {
			_ = nc.SetReadDeadline(time.Time{})
			return nc, nil
		}
		_ = nc.Close()
	}
}

// stepAside goes where an usher has sent us.
func stepAside(a answer) (net.Conn, error) {
	nc, err := net.DialTimeout("tcp", a.At, askTime)
	if err != nil {
		return nil, fmt.Errorf("the running usher cannot be reached where it sends us: %w", err)
	}
	if _, err := io.WriteString(nc, a.Word); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("the running usher does not hear us: %w", err)
	}
	return nc, nil
}
