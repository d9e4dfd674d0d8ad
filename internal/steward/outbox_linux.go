package steward

import (
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"usher/internal/relay"
)

// An outbox is where words wait for a socket. Who posts one sends it, and what others have
// posted meanwhile with it: under load many logins are one message. Nobody waits: when
// the socket is full a goroutine does.
type outbox struct {
	nc  *net.UnixConn
	raw syscall.RawConn

	mu      sync.Mutex
	queue   []*word
	sending bool  // somebody is at it
	closed  error // nothing is sent any more
	room    sync.Cond
	text    []byte // of the message that is being sent
	fds     []int
	back    func(*word) // takes what was not sent
}

func newOutbox(nc *net.UnixConn, back func(*word)) (*outbox, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	o := &outbox{nc: nc, raw: raw, back: back, text: make([]byte, 0, maxBytes)} // which never grows: keys would stay where it was
	o.room.L = &o.mu
	return o, nil
}

// post has words sent, together if they fit. It owns the sockets of a pair from here on.
// What cannot be sent any more goes back.
func (o *outbox) post(words ...*word) {
	o.mu.Lock()
	if o.closed != nil {
		o.mu.Unlock()
		for _, w := range words {
			o.back(w)
		}
		return
	}
	o.queue = append(o.queue, words...)
	if o.sending || len(o.queue) == 0 {
		o.mu.Unlock()
		return
	}
	o.sending = true
	o.mu.Unlock()
	o.send(false)
}

// waiting is how many words were not sent yet. Where none is sent any more that is more than
// anybody waits for.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed != nil {
		return math.MaxInt
	}
	return len(o.queue)
}

// hungUp tells whether nothing is sent any more because nobody is left who could hear it.
func (o *outbox) hungUp() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return errors.Is(o.closed, unix.EPIPE) || errors.Is(o.closed, unix.ECONNRESET)
}

// drain waits until few words wait. It returns false if no more are sent.
func (o *outbox) drain(few int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) > few && o.closed == nil {
		o.room.Wait()
	}
	return o.closed == nil
}

// close sends no more. What waits goes back, unless somebody is sending: then by that one.
func (o *outbox) close() {
	o.mu.Lock()
	if o.closed == nil {
		o.closed = net.ErrClosed
	}
	o.room.Broadcast()
	var left []*word
	if !o.sending {
		left, o.queue = o.queue, nil
	}
	o.mu.Unlock()
	_ = o.nc.Close()
	for _, w := range left {
		o.back(w)
	}
}

// stop is close, and waits until nobody sends any more.
func (o *outbox) stop() {
	o.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.sending {
		o.room.Wait()
	}
}

// send sends all that waits. Where the socket is full a goroutine goes on.
func (o *outbox) send(patient bool) {
	for {
		words := o.next()
		if words == nil {
			return
		}
		err := o.once(patient)
		if isFull(err) {
			if !patient {
				go o.send(true)
				return
			}
			time.Sleep(time.Millisecond) // not the socket is full: the kernel does not say when there is room
			continue
		}
		o.sent(len(words), err)
	}
}

// isFull tells whether there is room later: in the socket, for descriptors on their way, or in
// the memory that the kernel has for either.
func isFull(err error) bool {
	for _, why := range []error{unix.EAGAIN, unix.ETOOMANYREFS, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}

// next gathers the next message. It returns nil, and nobody sends any more, if there is
// none.
func (o *outbox) next() []*word {
	o.mu.Lock()
	if o.closed != nil || len(o.queue) == 0 {
		if o.closed != nil {
			clear(o.text) // of what the socket was too full for
		}
		left := o.queue
		o.queue, o.sending = nil, false
		o.room.Broadcast()
		o.mu.Unlock()
		for _, w := range left {
			o.back(w)
		}
		return nil
	}
	defer o.mu.Unlock()
	o.text, o.fds = o.text[:0], o.fds[:0]
	for i, w := range o.queue {
		if i > 0 && (len(o.text) > maxBatch || len(o.fds)+w.kind.sockets() > maxFDs) {
			return o.queue[:i]
		}
		o.text = w.append(o.text)
		o.fds = append(o.fds, w.sockets()...)
	}
	return o.queue
}

// sockets are those that go with a word.
func (w *word) sockets() []int {
	if w.kind.sockets() == 2 {
		return []int{descriptorOf(w.pair.Client.Conn), descriptorOf(w.pair.Server.Conn)}
	}
	return w.fds
}

// descriptorOf is that of a connection which nobody else uses; -1: it has none.
func descriptorOf(nc net.Conn) (n int) {
	n = -1
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { n = int(fd) })
		}
	}
	return n
}

// once sends the message.
func (o *outbox) once(patient bool) error {
	var beside []byte
	if len(o.fds) > 0 {
		beside = unix.UnixRights(o.fds...)
	}
	var sent error
	try := func(fd uintptr) bool {
		for sent = unix.EINTR; errors.Is(sent, unix.EINTR); {
			sent = unix.Sendmsg(int(fd), o.text, beside, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		}
		return !patient || !errors.Is(sent, unix.EAGAIN)
	}
	if err := o.raw.Write(try); err != nil {
		return err
	}
	return sent
}

// sent is after a message of so many words. After an error no more are sent, and the other
// side hears that: then it hangs up, and whoever reads what it says knows it, too.
func (o *outbox) sent(n int, err error) {
	clear(o.text) // there may be keys in it
	o.mu.Lock()
	words := o.queue[:n:n]
	o.queue = append([]*word(nil), o.queue[n:]...)
	if len(o.queue) == 0 {
		o.queue = nil
	}
	if err != nil && o.closed == nil {
		o.closed = err
		_ = o.nc.CloseWrite()
	}
	o.room.Broadcast()
	o.mu.Unlock()
	for _, w := range words {
		switch {
		case err != nil:
			o.back(w)
		default:
			w.drop()
		}
	}
}

// drop closes what went with a word, and wipes what was secret in it.
func (w *word) drop() {
	for _, fd := range w.fds {
		_ = unix.Close(fd)
	}
	if w.kind == moving { // until the successor has answered it may have to come back
		return
	}
	if w.pair.Client.Conn != nil {
		_, _ = w.pair.Client.Conn.Close(), w.pair.Server.Conn.Close()
		w.pair.Wipe()
	}
}

// An inbox is where words come from.
type inbox struct {
	nc     *net.UnixConn
	text   []byte
	beside []byte
}

func newInbox(nc *net.UnixConn) *inbox {
	return &inbox{nc: nc, text: make([]byte, maxBytes), beside: make([]byte, unix.CmsgSpace(4*(maxFDs+13)))}
}

// next returns the words of the next message. Their sockets are the caller's. io.EOF is
// an error: nobody is there any more.
func (i *inbox) next() ([]word, error) {
	n, nb, flags, _, err := i.nc.ReadMsgUnix(i.text, i.beside)
	for errors.Is(err, syscall.ECONNRESET) { // the other has died with something unread: what it had said before is still to come
		n, nb, flags, _, err = i.nc.ReadMsgUnix(i.text, i.beside)
	}
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	defer clear(i.text[:n])
	fds := relay.DescriptorsIn(i.beside[:nb])
	words, err := parse(i.text[:n], fds)
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errCut
	}
	if err != nil {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if errors.Is(err, errCut) {
			if words = partly(i.text[:n]); words != nil {
				err = nil
			}
		}
		return words, err
	}
	return words, nil
}

// isOver tells whether nothing more comes, and all that was said is heard.
func isOver(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) }

// errCut is when descriptors could not be had: too many are open.
var errCut = errors.New("a message was cut off")

// partly are the words of a message whose sockets are lost. The pairs in it have none.
func partly(b []byte) []word {
	lost := make([]int, maxFDs+13)
	for i := range lost {
		lost[i] = -1
	}
	for n := 0; n <= len(lost); n++ {
		if words, err := parse(b, lost[:n]); err == nil {
			return words
		}
	}
	return nil
}

// arrived is the pair of a word that has come, with its sockets. They must not block: all
// sessions of a loop would wait for one.
func (w *word) arrived() relay.Pair {
	for _, fd := range w.fds {
		_ = unix.SetNonblock(fd, true)
	}
	p := w.pair
	p.Client.Conn, p.Server.Conn = relay.FromDescriptor(w.fds[0]), relay.FromDescriptor(w.fds[1])
	p.Note = w.text
	return p
}
