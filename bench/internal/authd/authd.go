// Package authd is whom nginx asks where a mailbox is: the least HTTP that
// ngx_mail_auth_http_module understands.
package authd

import (
	"bufio"
	"fmt"
	"net"
	"strings"
)

// Serve lets everybody in, to the store at these addresses.
func Serve(ln net.Listener, imap, pop3 string) error {
	answers := map[string]string{"imap": answer(imap), "pop3": answer(pop3)}
	for {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		go serve(nc, answers)
	}
}

func answer(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: %s\r\nAuth-Port: %s\r\n\r\n", host, port)
}

func serve(nc net.Conn, answers map[string]string) {
	defer nc.Close()
	protocol := ""
	for in := bufio.NewReaderSize(nc, 1024); ; {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ": ")
		switch name {
		case "Auth-Protocol":
			protocol = value
		case "":
			_, _ = nc.Write([]byte(answers[protocol]))
			return
		}
	}
}
