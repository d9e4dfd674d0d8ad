package soak

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// startStore runs a mail store that knows next to nothing: it says yes, and
// costs little.
func startStore(ctx context.Context, t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go accept(ln, serve)
	return ln.Addr().String()
}

func accept(ln net.Listener, serve func(net.Conn)) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

func storeIMAP(c net.Conn) {
	_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] store\r\n")
	for in := bufio.NewScanner(bufio.NewReaderSize(c, 512)); in.Scan(); {
		tag, verb, _ := strings.Cut(in.Text(), " ")
		verb, _, _ = strings.Cut(verb, " ")
		switch verb {
		case "CAPABILITY":
			fmt.Fprintf(c, "* CAPABILITY IMAP4rev1\r\n%s OK\r\n", tag)
		case "LOGIN":
			fmt.Fprintf(c, "%s OK [CAPABILITY IMAP4rev1 IDLE] hello\r\n", tag)
		case "LOGOUT":
			fmt.Fprintf(c, "* BYE\r\n%s OK\r\n", tag)
			return
		default:
			fmt.Fprintf(c, "%s OK\r\n", tag)
		}
	}
}

func storePOP3(c net.Conn) {
	_, _ = io.WriteString(c, "+OK store\r\n")
	for in := bufio.NewScanner(bufio.NewReaderSize(c, 512)); in.Scan(); {
		switch in.Text() {
		case "CAPA":
			_, _ = io.WriteString(c, "+OK\r\nUSER\r\n.\r\n")
		case "QUIT":
			_, _ = io.WriteString(c, "+OK\r\n")
			return
		default:
			_, _ = io.WriteString(c, "+OK\r\n")
		}
	}
}
