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

// openLog is the log of a process that another program has started: it goes where that
// one's goes, and never to the client.
func (s *Start) openLog(cfg *config.Config) (log *slog.Logger, closeLog func()) {
	o := logs.Options{Stderr: s.Stderr, Debug: s.Debug, Connect: s.given.Jail != ""}
	text := cfg.Server.Log
	o.Hostname = cfg.Server.Hostname
	if s.Way == Postfix && s.main.SyslogName != "" {
		o.Name = s.main.SyslogName + "/usher"
	}
	byStarter := text == "auto" && !s.unit && s.Way != Stdio
	if byStarter || s.quiet && (text == "auto" || text == "logfmt" || text == "json") {
		text = "syslog"
	}
	place, _ := logs.Parse(text) // Check tells
	return logs.Open(place, o)
}
