package login

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"time"

	"usher/internal/relay"
	"usher/internal/session"
)

// The lines and keys here are a contract with log readers: contrib/fail2ban.
// What a client may choose stands behind what it may not.

func (d *Desk) logRefusal(a *Admission, err error) {
	c := a.client
	attrs := []slog.Attr{
		slog.String("id", c.ID.String()),
		slog.String("protocol", c.Protocol.Info().Name),
		slog.String("remote", c.Remote.String()),
		slog.String("tls", tlsName(c)),
		slog.String("why", ReasonOf(err).String()),
	}
	var named interface{ Login() string }
	switch {
	case a.who.Account != nil:
		attrs = append(attrs, slog.String("user", a.who.Account.Name))
	case errors.As(err, &named):
		attrs = append(attrs, slog.String("user", named.Login()))
	}
	if a.stop.Addr != "" {
		attrs = append(attrs, slog.String("target", a.stop.String()))
	}
	attrs = append(attrs, slog.String("err", err.Error()))
	d.Log.LogAttrs(context.Background(), slog.LevelWarn, "login refused", attrs...)
}

func (d *Desk) logSession(s *session.Session, st relay.Stats) {
	d.Log.LogAttrs(context.Background(), slog.LevelInfo, "session ended",
		slog.String("id", s.ID.String()),
		slog.String("protocol", s.Protocol),
		slog.String("remote", s.Remote.String()),
		slog.String("tls", s.TLS),
		slog.String("why", string(st.Ended)),
		slog.String("user", s.Account),
		slog.String("target", s.Target),
		slog.Uint64("bytes", st.FromClient+st.FromServer),
		slog.Uint64("from_client", st.FromClient),
		slog.Uint64("from_server", st.FromServer),
		slog.Float64("seconds", time.Since(s.Since).Round(time.Millisecond).Seconds()),
	)
}

// tlsName is how the client's connection is encrypted, for the log.
func tlsName(c *Client) string {
	if state := c.Conn.TLS(); state != nil {
		return strings.Replace(tls.VersionName(state.Version), " ", "v", 1)
	}
	return "no"
}
