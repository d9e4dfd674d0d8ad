package sasl

import "context"

// External is RFC 4422 appendix A: the client has shown who it is with its certificate,
// and may say for whom it acts.
var External = Mechanism{Name: "EXTERNAL", Authz: true, Proven: true, Serve: serveExternal, Enter: enterExternal}

func serveExternal(ctx context.Context, x Exchange, v Verifier, on Channel) (Identity, error) {
	authz, err := x.Initial("")
	if err != nil {
		return Identity{}, err
	}
	if on.Who == nil {
		return Identity{}, refused("the client has shown no certificate")
	}
	names, err := on.Who()
	if err != nil {
		return Identity{}, err
	}
	return v.Certificate(ctx, string(authz), names)
}

// enterExternal names the user always: whose certificate ours is, only the server knows.
func enterExternal(x Exchange, c Credentials, _ Channel) error {
	name := c.Authz
	if name == "" {
		name = c.Authn
	}
	_, err := x.Send([]byte(name))
	return end(err)
}
