package login

import (
	"context"
	"fmt"
	"log/slog"

	"usher/internal/account"
	"usher/internal/sasl"
)

// Known is somebody of this machine who need not show a password: the system has told
// whom it is that talks to us, as ssh has let him in. It holds for one login, with which
// the conversation begins.
type Known struct {
	Name string // whom he wants to be, as he has written it
	By   string // who he is, for the log: "root", "uid 1000"
	UID  uint32
	All  bool // he may be everybody: root, or usher's own user
}

// may tells whether an account is his. That there is another one, or none, he does not
// learn.
func (k *Known) may(a *account.Account) error {
	if k.All {
		return nil
	}
	if uid, err := a.UID(); err != nil || uid != k.UID {
		return fmt.Errorf("%w: %s wants to be %.80q, whose field uid says something else", account.ErrRefused, k.By, k.Name)
	}
	return nil
}

// preauth is what such a login is called, in place of a mechanism that clients can name.
const preauth = "(preauth)"

// mechanism is his: there is nothing to exchange.
func (k *Known) mechanism() sasl.Mechanism {
	return sasl.Mechanism{Name: preauth, Command: true, Serve: func(ctx context.Context, _ sasl.Exchange, v sasl.Verifier, _ sasl.Channel) (sasl.Identity, error) {
		id, err := v.Certificate(ctx, "", []string{k.Name})
		if err != nil {
			return id, err
		}
		return id, k.may(id.Account)
	}}
}

// AdmitKnown is Admit for a client that is Known, before anything is said.
func (d *Desk) AdmitKnown(ctx context.Context, c *Client) (*Admission, error) {
	a, err := d.Admit(ctx, c, preauth, nil)
	if err == nil {
		d.Log.LogAttrs(ctx, slog.LevelInfo, "login without a password",
			slog.String("id", c.ID.String()),
			slog.String("protocol", c.Protocol.Info().Name),
			slog.String("remote", c.Remote.String()),
			slog.String("by", c.Known.By),
			slog.String("user", a.who.Account.Name),
			slog.String("target", a.stop.String()),
		)
	}
	return a, err
}
