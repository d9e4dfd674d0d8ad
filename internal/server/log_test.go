package server

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The log of the configuration is the one that is opened, under the name that it gives us.
func TestTheLogGoesWhereTheConfigurationSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cfg := parse(t, t.TempDir(), imapOnly+"[server]\nhostname = 'mail.example.org'\nlog = 'syslog+unix://"+path+"?format=rfc5424'\n")
	log, end := OpenLog(cfg, io.Discard, false)
	log.Info("listening")
	end()
	b := make([]byte, 1000)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, err := conn.Read(b)
	if got := string(b[:n]); err != nil || !strings.Contains(got, " mail.example.org usher ") || !strings.Contains(got, "msg=listening") {
		t.Errorf("%q, %v", got, err)
	}
}
