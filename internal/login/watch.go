package login

import (
	"usher/internal/trace"
	"usher/internal/wire"
)

// What a trace is told of a login. What a line says is told by whoever reads or writes
// it: see wire.Witness.

// claims tells whom the client says that it is, and returns that name whole.
func (a *Admission) claims(authz, name string) (whole string) {
	if whole = name; a.desk.Name != nil {
		whole = a.desk.Name(a.client, authz, name)
	}
	a.client.Record.Claims("acts for", authz)
	a.client.Record.Claims("user", name, whole)
	return whole
}

func (v verifier) record() *trace.Record { return v.admission.client.Record }

// watch has the trace hear what is said to a server, but no password: of ours nobody
// has told it yet.
func (a *Admission) watch(b *wire.Conn, t Ticket) {
	r := a.client.Record
	if r == nil {
		return
	}
	r.Hide(t.Password)
	r.Hide(t.Token)
	r.Claims("account", a.who.Account.Name)
	_, far := b.Ends()
	r.Note("server %s at %s, to log in as %.200q", a.stop, far, t.User)
	b.SetWitness(r.Server())
}

// noteRefusal tells why a login was refused. What stands where a mechanism should may
// be a password.
func (a *Admission) noteRefusal(err error) {
	if why := ReasonOf(err); why == Unsupported {
		a.client.Record.Note("refused: %s", why)
	} else {
		a.client.Record.Note("refused: %s: %v", why, err)
	}
}

// noteAdmitted is the end of what is traced.
func (a *Admission) noteAdmitted() {
	if r, s := a.client.Record, a.session; r != nil { // else the words would be gathered for nobody
		r.End("admitted to %s as %q: from here on usher passes bytes, which are not traced", s.Target, s.Account)
	}
}
