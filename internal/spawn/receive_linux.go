package spawn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// A message is a request as it came, with what the kernel says of it.
type message struct {
	text    []byte
	sender  *unix.Ucred
	session int // descriptors, -1 if there is none
	reply   int
	rights  []int // all that came
	wrong   error // what is wrong with its form
	forged  bool
}

func (m *message) close() {
	for _, fd := range m.rights {
		_ = unix.Close(fd)
	}
}

// errLeft is when nobody has the other end any more.
var errLeft = errors.New("nobody is left")

// beside is what comes with a message: who sent it, and two descriptors. Of more, the
// kernel closes those that have no room.
var beside = unix.CmsgSpace(unix.SizeofUcred) + unix.CmsgSpace(2*4)

// receive waits for a message. An error is the end.
func receive(shared *net.UnixConn, b []byte) (*message, error) {
	oob := make([]byte, beside)
	n, oobn, flags, _, err := shared.ReadMsgUnix(b, oob)
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.EOF) && oobn == 0 {
		return nil, errLeft // of an empty message the kernel says at least who has sent it
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the conversation: %w", err)
	}
	m := &message{session: -1, reply: -1, text: slices.Clone(b[:min(n, maxRequest)])}
	m.open(oob[:oobn])
	switch {
	case flags&unix.MSG_CTRUNC != 0:
		m.wrong = errors.New("more than two descriptors came with it")
	case flags&unix.MSG_TRUNC != 0 || n > maxRequest:
		m.wrong = fmt.Errorf("it has more than %d bytes", maxRequest)
	case len(m.rights) != 2:
		m.wrong = fmt.Errorf("%d descriptors came with it, not two", len(m.rights))
	case !isSocket(m.rights[0], unix.SOCK_STREAM):
		m.wrong = errors.New("its first descriptor is no socket for a session")
	}
	if len(m.rights) == 2 && isSocket(m.rights[1], unix.SOCK_SEQPACKET) {
		m.session, m.reply = m.rights[0], m.rights[1]
	}
	return m, nil
}

// open takes what came beside the text.
func (m *message) open(oob []byte) {
	parts, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return // truncated: the flags say so
	}
	for i := range parts {
		if cred, err := unix.ParseUnixCredentials(&parts[i]); err == nil {
			m.sender = cred
		}
		if fds, err := unix.ParseUnixRights(&parts[i]); err == nil {
			m.rights = append(m.rights, fds...)
		}
	}
}

func isSocket(fd, kind int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	is, kindErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kindErr == nil && domain == unix.AF_UNIX && is == kind
}

func whose(sender *unix.Ucred) string {
	if sender == nil {
		return "somebody unknown"
	}
	return fmt.Sprintf("uid %d (pid %d)", sender.Uid, sender.Pid)
}
