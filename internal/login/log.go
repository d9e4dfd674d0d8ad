package login

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"time"

	"usher/internal/relay"
	"usher/internal/route"
	"usher/internal/session"
)

// The lines and keys here are a contract with log readers: contrib/fail2ban.
// What a client may choose stands behind what it may not.

func (d *Desk) logRefusal(a *Admission, err error) {
	c := a.client
	others, toSay := 0, true
	if ReasonOf(err) == Looping { // one login is refused by each of the proxies, again and again
		others, toSay = d.loops.ToSay(time.Now())
	}
	if !toSay {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", c.ID.String()),
		slog.String("protocol", c.Protocol.Info().Name),
		slog.String("remote", c.Remote.String()),
		slog.String("tls", tlsName(c)),
		slog.String("why", ReasonOf(err).String()),
	}
	attrs = append(attrs, came(c.front())...)
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
	if others > 0 {
		attrs = append(attrs, slog.Int("others", others))
	}
	d.Log.LogAttrs(context.Background(), slog.LevelWarn, "login refused", attrs...)
}

// Mistrust says that a client tells what only front ends may: most likely a network
// is missing in the configuration.
func (d *Desk) Mistrust(c *Client, what string) {
	if others, ok := d.doubts.ToSay(time.Now()); ok {
		d.Log.LogAttrs(context.Background(), slog.LevelWarn, "not trusted",
			slog.String("id", c.ID.String()),
			slog.String("protocol", c.Protocol.Info().Name),
			slog.String("remote", c.Remote.String()),
			slog.String("why", what+" from an address that trusted of this listener does not name"),
			slog.Int("others", others),
		)
	}
}

// logMaster says that somebody is in a mailbox that is not its own.
func (d *Desk) logMaster(a *Admission) {
	c := a.client
	d.Log.LogAttrs(context.Background(), slog.LevelInfo, "login of a master",
		slog.String("id", c.ID.String()),
		slog.String("protocol", c.Protocol.Info().Name),
		slog.String("remote", c.Remote.String()),
		slog.String("tls", tlsName(c)),
		slog.String("user", a.who.Account.Name),
		slog.String("master", a.who.Master),
		slog.String("target", a.stop.String()),
	)
}

func (d *Desk) logSession(s *session.Session, st relay.Stats) {
	attrs := []slog.Attr{
		slog.String("id", s.ID.String()),
		slog.String("protocol", s.Protocol),
		slog.String("remote", s.Remote.String()),
		slog.String("tls", s.TLS),
		slog.String("why", why(s, st.Ended)),
	}
	attrs = append(attrs, came(s.Front)...)
	attrs = append(attrs,
		slog.String("user", s.Account),
		slog.String("target", s.Target),
		slog.Uint64("bytes", st.FromClient+st.FromServer),
		slog.Uint64("from_client", st.FromClient),
		slog.Uint64("from_server", st.FromServer),
		slog.Float64("seconds", time.Since(s.Since).Round(time.Millisecond).Seconds()),
	)
	d.Log.LogAttrs(context.Background(), slog.LevelInfo, "session ended", attrs...)
}

// why says how a session ended. A program of this machine is not a connection that
// somebody has closed.
func why(s *session.Session, ended relay.Ending) string {
	if ended == relay.BackendClosed && strings.HasPrefix(s.Target, route.LocalName+"/") {
		return "program ended"
	}
	return string(ended)
}

// came says by which front end a client came, and what that calls the session.
func came(by *session.Front) (attrs []slog.Attr) {
	if by == nil {
		return nil
	}
	attrs = append(attrs, slog.String("via", by.Addr.String()))
	if by.Ext != "" {
		attrs = append(attrs, slog.String("ext", by.Ext))
	}
	return attrs
}

// tlsName is how the client's connection is encrypted, for the log.
func tlsName(c *Client) string {
	state := c.Conn.TLS()
	switch {
	case !c.encrypted():
		return "no"
	case c.transport != "":
		return c.transport
	}
	return strings.Replace(tls.VersionName(state.Version), " ", "v", 1)
}
