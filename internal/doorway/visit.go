package doorway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Visit is a connection to the door of a running usher. It is used by one goroutine.
type Visit struct {
	nc  *net.UnixConn
	own bool
}

// Knock connects to a door. The error is ErrAbsent if there is none, or nobody behind it.
// Usher may be root, we, whom its folder belongs to, or one of the users.
func Knock(ctx context.Context, path string, users ...uint32) (*Visit, error) {
	nc, err := dial(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w: %w", ErrAbsent, err)
	case err != nil:
		return nil, fmt.Errorf("cannot reach the running usher: %w", err)
	}
	v := &Visit{nc: nc.(*net.UnixConn)}
	uid, err := peer(v.nc)
	if err == nil && !slices.Contains(users, uid) {
		err = belongs(uid, path)
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("cannot reach the running usher: %w", err)
	}
	v.own = os.Geteuid() == 0 || uint32(os.Geteuid()) == uid
	return v, nil
}

// dial tries again for a while if so many stand before the door that there is no room for
// one more: usher may be flooded, and who brings clients would have to serve them himself.
func dial(ctx context.Context, path string) (nc net.Conn, err error) {
	var d net.Dialer
	for range mostTries {
		if nc, err = d.DialContext(ctx, "unix", path); !errors.Is(err, syscall.EAGAIN) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(tryAgain):
		}
	}
	return nc, err
}

// Own tells whether we are root or usher's own user: then Give can be used.
func (v *Visit) Own() bool { return v.own }

// Give hands a client over. On success it is the other process's, and its connection can
// be closed here; on an error it is still ours. The error is a *Refusal if usher has said
// no. After any other one the visit is over.
func (v *Visit) Give(r Request, client net.Conn) error {
	return with(client, func(fd int) error {
		_, err := v.ask(r, unix.UnixRights(fd))
		return err
	})
}

// Enter returns a connection that is the client's own: what it says is to be passed on
// there. The Visit is over.
func (v *Visit) Enter(r Request) (net.Conn, error) {
	a, err := v.ask(r, nil)
	if err != nil {
		return nil, err
	}
	if a.At != "" {
		defer v.Close()
		return stepAside(a)
	}
	_ = v.nc.SetDeadline(time.Time{})
	return v.nc, nil
}

// ask waits for the answer. One that has not come in time would be taken for that to the
// next question, if it came still, and usher for one that knows who has its client: so
// then there is no next one, and usher finds nobody to say yes to.
func (v *Visit) ask(r Request, beside []byte) (a answer, err error) {
	text, err := encode(r)
	if err != nil {
		return a, err
	}
	_ = v.nc.SetDeadline(time.Now().Add(answering))
	if _, _, err := v.nc.WriteMsgUnix(text, beside, nil); err != nil {
		v.Close()
		return a, fmt.Errorf("ask the running usher: %w", err)
	}
	var h [head]byte
	if _, err = io.ReadFull(v.nc, h[:]); err == nil {
		err = decode(v.nc, h, &a)
	}
	switch {
	case err != nil:
		v.Close()
		return a, fmt.Errorf("the running usher does not answer: %w", err)
	case a.Error != "":
		return a, &Refusal{a.Error}
	}
	return a, nil
}

// Gone waits until usher has closed the connection, or Close was called. It may be called
// beside the others.
func (v *Visit) Gone() {
	var copied int
	if err := with(v.nc, func(fd int) (err error) { copied, err = unix.Dup(fd); return err }); err != nil {
		return
	}
	defer func() { _ = unix.Close(copied) }()
	hangup(copied)
}

// Close ends the visit.
func (v *Visit) Close() {
	_ = with(v.nc, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }) // wakes Gone
	_ = v.nc.Close()
}

// belongs tells whether who listens at a path may be asked there: it is root, we, or
// whose the folder is. Others may have put a socket there to hear passwords.
func belongs(uid uint32, path string) error {
	if uid == 0 || uid == uint32(os.Geteuid()) {
		return nil
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if owner, ok := ownerOf(info); ok && owner == uid {
		return nil
	}
	return fmt.Errorf("%s is open by user %d, who is neither root nor the owner of its folder: %w", path, uid, fs.ErrPermission)
}
