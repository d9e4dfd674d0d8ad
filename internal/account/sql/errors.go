package sql

import (
	"context"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"usher/internal/account"
)

// isDead tells whether an error is that of a connection which was dead before it was
// used.
func isDead(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)
}

// wrong is what stands in a database in place of an account, or a question that makes
// no sense. The next server would answer the same.
type wrong struct{ error }

func (w wrong) Unwrap() error { return w.error }

func wrongf(format string, args ...any) error { return wrong{fmt.Errorf(format, args...)} }

// isAnswer tells whether a server is well that gave this.
func isAnswer(err error) bool {
	var w wrong
	return err == nil || errors.Is(err, account.ErrUnknown) || errors.As(err, &w)
}

// explain says what an error means and what to do about it.
func (d *dialect) explain(err error) error {
	if err == nil || errors.Is(err, account.ErrUnknown) {
		return err
	}
	if c, ok := d.complaint(err); ok {
		err = c.error()
	} else if !isAnswer(err) {
		err = flat{err, wayTodo(err)}
	}
	if isAnswer(err) {
		return account.Final(err)
	}
	return err
}

// A complaint is what a server says in place of a result.
type complaint struct {
	says, code string
	wrong      bool   // it is the question's fault, not the server's
	todo       string // "": nothing comes to mind
	exists     bool   // a row that must be there once is there already
}

func (c complaint) error() error {
	err := fmt.Errorf("the database says %.300q (%s)", c.says, c.code)
	if c.todo != "" {
		err = fmt.Errorf("%w; %s", err, c.todo)
	}
	if c.wrong {
		return wrong{err}
	}
	return err
}

// flat is an error of the way to a server, in one line and not too long.
type flat struct {
	error
	todo string
}

func (f flat) Unwrap() error { return f.error }

func (f flat) Error() string {
	text := strings.Join(strings.Fields(f.error.Error()), " ")
	if len(text) > 500 {
		text = text[:500] + "…"
	}
	if f.todo != "" {
		text += "; " + f.todo
	}
	return text
}

// wayTodo is what to do about an error of the way to a server.
func wayTodo(err error) string {
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: is the database started, and on this address and port?"
	case errors.As(err, &name):
		return "its certificate is for other names: use one of them as the host"
	case errors.As(err, &authority):
		return "its certificate is signed by somebody unknown: name the file of the authority with ca"
	case errors.As(err, &dns):
		return "check the name of the host"
	case errors.Is(err, fs.ErrNotExist):
		return "put it there, or check the path in dsn"
	case errors.Is(err, fs.ErrPermission):
		return "let usher read it"
	}
	return ""
}
