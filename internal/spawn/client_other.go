//go:build !linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

var errLinux = errors.New("programs of this machine can be started on Linux only")

// A Client is a Helper in a process of its own; there is none but on Linux.
type Client struct{}

// Open starts a helper.
func Open(Policy, string) (*Client, error) { return nil, errLinux }

// FromFile is the client of a helper that another process has opened.
func FromFile(*os.File) (*Client, error) { return nil, errLinux }

// File is another descriptor of the helper.
func (*Client) File() (*os.File, error) { return nil, errLinux }

// Close leaves the helper.
func (*Client) Close() error { return errLinux }

// Start implements Helper.
func (*Client) Start(context.Context, Request) (net.Conn, int, error) { return nil, 0, errLinux }

// Events passes on what the programs say.
func (*Client) Events(context.Context, func(Event)) error { return errLinux }

// Main is "usher helper".
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "usher helper:", errLinux)
	return 1
}
