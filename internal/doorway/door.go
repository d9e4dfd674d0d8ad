package doorway

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"usher/internal/sockfile"
)

// How many strangers may stand at the door who have not said what they want. Root and
// usher's own user are none.
const (
	mostStrangers = 32
	mostOfOne     = 8
	mostTurned    = 16 // who are being sent away
)

// leaving is how long Close waits for those at the door. They have their answers at once,
// but a stranger can send a descriptor whose closing takes as long as he likes: a socket
// that lingers, a file of a file system of his own.
const leaving = 2 * time.Second

// A Door is where visitors come to this process. Its fields are not changed once it is
// open.
type Door struct {
	Path string
	Log  *slog.Logger
	// Welcome tells whether there is what a client wants. The error is for the program
	// that has brought it.
	Welcome func(Request) error
	// Receive takes a client for which Welcome has been said.
	Receive func(Visitor)

	ln     *net.UnixListener
	file   os.FileInfo
	all    sync.WaitGroup
	turned chan struct{} // one for each that is being sent away

	mu        sync.Mutex
	strangers map[uint32]int         // who have not said what they want
	waiting   int                    // all of them
	here      map[*net.UnixConn]bool // who may say something
	closed    bool
}

// Open makes the socket, in place of whatever is there, and answers until Close. Its
// folder must be there. A door is opened once.
func (d *Door) Open() error {
	room := d.Path + "." + strconv.Itoa(os.Getpid()) + "~"
	ln, file, err := sockfile.Listen(d.Path, room, 0o666) // who comes is asked who he is
	if err != nil {
		return fmt.Errorf("cannot open the door %s: %w", d.Path, err)
	}
	d.file, d.turned = file, make(chan struct{}, mostTurned)
	d.ln, d.strangers, d.here, d.closed = ln, map[uint32]int{}, map[*net.UnixConn]bool{}, false
	d.all.Go(func() { d.serve(ln) })
	return nil
}

// Close lets nobody in any more, and takes the socket away if it is still ours. Clients
// who have been received stay.
func (d *Door) Close() {
	if d.ln == nil {
		return
	}
	if info, err := os.Lstat(d.Path); err == nil && os.SameFile(info, d.file) {
		_ = os.Remove(d.Path)
	}
	d.mu.Lock()
	d.closed = true
	for nc := range d.here {
		_ = nc.SetReadDeadline(time.Unix(1, 0)) // what has been asked is still answered
	}
	d.mu.Unlock()
	_ = d.ln.Close()
	d.ln = nil
	empty := make(chan struct{})
	go func() { d.all.Wait(); close(empty) }()
	select {
	case <-empty:
	case <-time.After(leaving):
	}
}

func (d *Door) serve(ln *net.UnixListener) {
	for {
		nc, err := ln.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors left
			time.Sleep(100 * time.Millisecond)
			continue
		}
		d.meet(nc)
	}
}

// meet sends away whoever cannot stay, few at a time before the next is accepted:
// goroutines that wait for a processor would hold descriptors, of which a flood would leave
// none, and those that wait for what strangers have sent to be closed, threads.
func (d *Door) meet(nc *net.UnixConn) {
	uid, err := peer(nc)
	own := err == nil && (uid == 0 || uid == uint32(os.Geteuid()))
	var leave func()
	ok := err == nil
	if ok {
		leave, ok = d.enter(nc, uid, own)
	}
	if !ok {
		d.turned <- struct{}{}
		go func() { _ = nc.Close(); <-d.turned }()
		return
	}
	d.all.Go(func() {
		defer leave()
		d.hear(nc, uid, own)
	})
}

// hear listens to one connection. It becomes a stranger's client, and carries one client
// after the other of those whom we believe.
func (d *Door) hear(nc *net.UnixConn, uid uint32, own bool) {
	var err error
	for given := true; given; {
		given, err = d.one(nc, uid, own)
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		d.Log.Debug("a visitor at the door was not let in", "uid", uid, "err", err)
	}
}

// enter counts somebody who has not said yet what he wants.
func (d *Door) enter(nc *net.UnixConn, uid uint32, own bool) (leave func(), ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || !own && (d.waiting >= mostStrangers || d.strangers[uid] >= mostOfOne) {
		return nil, false
	}
	d.here[nc] = true
	if !own {
		d.waiting++
		d.strangers[uid]++
	}
	return func() { d.leave(nc, uid, own) }, true
}

func (d *Door) leave(nc *net.UnixConn, uid uint32, own bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.here, nc)
	if own {
		return
	}
	d.waiting--
	if d.strangers[uid]--; d.strangers[uid] == 0 {
		delete(d.strangers, uid)
	}
}

// one hears one request and receives its client. Given says that the client had a
// connection of its own: there may come more on this one. Else it is gone.
func (d *Door) one(nc *net.UnixConn, uid uint32, own bool) (given bool, err error) {
	kept := false
	defer func() {
		if !kept {
			_ = nc.Close()
		}
	}()
	v, err := d.read(nc, own)
	if err != nil {
		return false, err
	}
	v.UID, v.Own, given = uid, own, v.Conn != nil
	refused := d.Welcome(v.Request)
	if !own {
		return false, d.aside(nc, v, refused)
	}
	if err := say(nc, refused); err != nil || refused != nil { // only who was told so is let in: else the other will try elsewhere
		if given {
			_ = v.Conn.Close()
		}
		kept = given && err == nil
		return kept, err
	}
	kept = true
	if v.Given = given; !given {
		_ = nc.SetDeadline(time.Time{})
		v.Conn = nc
	}
	d.Receive(v)
	return given, nil
}

// aside answers a stranger, and receives him where he can send nothing but bytes.
func (d *Door) aside(nc *net.UnixConn, v Visitor, refused error) error {
	if refused != nil {
		return say(nc, refused)
	}
	a, err := openAside()
	if err != nil {
		return errors.Join(err, say(nc, err))
	}
	defer a.close()
	if err := send(nc, answer{At: a.ln.Addr().String(), Word: a.word}); err != nil {
		return err
	}
	if v.Conn, err = a.accept(); err != nil {
		return err
	}
	d.Receive(v)
	return nil
}

// read reads a request, and takes the connection that comes with it. Those whom we
// believe may keep theirs open as long as they like before it.
func (d *Door) read(nc *net.UnixConn, own bool) (v Visitor, err error) {
	d.await(nc, own)
	var h [head]byte
	n, fds, err := receive(nc, h[:])
	defer func() { drop(fds) }()
	if err != nil {
		return v, err
	}
	if n == 0 {
		return v, io.EOF
	}
	_ = nc.SetReadDeadline(time.Now().Add(askTime))
	if _, err := io.ReadFull(nc, h[n:]); err != nil {
		return v, err
	}
	if err := decode(nc, h, &v.Request); err != nil {
		_ = say(nc, fmt.Errorf("the request is none: %w", err))
		return v, err
	}
	if len(fds) == 0 {
		return v, nil
	}
	if len(fds) > 1 || !own {
		err := errors.New("only root and usher's own user may hand over a connection, one at a time")
		_ = say(nc, err)
		return v, err
	}
	v.Conn, err = connection(fds[0])
	fds = nil
	if err != nil {
		_ = say(nc, fmt.Errorf("what was handed over is no client's connection: %w", err))
	}
	return v, err
}

// await sets how long a request may take to begin.
func (d *Door) await(nc *net.UnixConn, own bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		_ = nc.SetReadDeadline(time.Unix(1, 0))
	case own:
		_ = nc.SetReadDeadline(time.Time{})
	default:
		_ = nc.SetReadDeadline(time.Now().Add(askTime))
	}
}

// say answers a request.
func say(nc *net.UnixConn, refused error) error {
	var a answer
	if refused != nil {
		text := refused.Error()
		a.Error = text[:min(len(text), 512)]
	}
	return send(nc, a)
}

func send(nc *net.UnixConn, a answer) error {
	text, err := encode(a)
	if err != nil {
		return err
	}
	_ = nc.SetWriteDeadline(time.Now().Add(askTime))
	_, err = nc.Write(text)
	return err
}
