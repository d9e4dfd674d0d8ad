package logs

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"testing"
)

// Who wants to be sure that a line is where it belongs waits for that, and not for less.
func TestSettleWaitsUntilLinesAreAway(t *testing.T) {
	near, far := net.Pipe()
	open := make(chan struct{})
	log, end := opened(Options{most: bounds{lines: 10, bytes: 1 << 10}}, journalForm{}, func(context.Context) (net.Conn, error) {
		<-open
		return near, nil
	})
	read := make(chan string, 1)
	go func() { line, _ := bufio.NewReader(far).ReadString('\n'); read <- line }()
	log.Info("hello")
	settled := make(chan struct{})
	go func() { Settle(log); close(settled) }()
	select {
	case <-settled:
		t.Error("it does not wait")
	default:
	}
	close(open)
	<-settled
	if line := <-read; line == "" {
		t.Error("nothing has arrived")
	}
	_ = far.Close()
	end()
	Settle(log)                           // nobody takes lines any more
	Settle(slog.New(slog.DiscardHandler)) // such a log has no queue
}
