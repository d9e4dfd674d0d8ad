package server

import (
	"io"
	"log/slog"

	"usher/internal/config"
	"usher/internal/logs"
)

// OpenLog returns the logger that a configuration wants. close waits a moment for lines
// that are on their way to other programs.
func OpenLog(cfg *config.Config, stderr io.Writer, debug bool) (log *slog.Logger, close func()) {
	place, _ := logs.Parse(cfg.Server.Log) // Check has told already
	return logs.Open(place, logs.Options{Stderr: stderr, Debug: debug, Hostname: cfg.Server.Hostname})
}

// logPlace checks where the log is to go.
func (b *builder) logPlace() {
	if _, err := logs.Parse(b.cfg.Server.Log); err != nil {
		b.wrong(logs.Usage, "server.log", "%v", err)
	}
}
