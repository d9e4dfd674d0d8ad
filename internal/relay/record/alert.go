package record

import "fmt"

// An alert is what a peer is told when its connection ends: RFC 8446 §6.
type alert byte

// The alerts that have a meaning here, or are sent from here.
const (
	closeNotify       alert = 0
	unexpectedMessage alert = 10
	badRecordMAC      alert = 20
	recordOverflow    alert = 22
	illegalParameter  alert = 47
	decodeError       alert = 50
	protocolVersion   alert = 70
	internalError     alert = 80
	userCanceled      alert = 90
)

// The levels, which mean nothing any more: RFC 8446 §6.
const (
	levelWarning = 1
	levelFatal   = 2
)

// A Fault is what a peer did that it must not. Complain tells it.
type Fault struct {
	alert alert
	what  string
}

func (f *Fault) Error() string { return "TLS: " + f.what }

func fault(a alert, what string, args ...any) error {
	return &Fault{a, fmt.Sprintf(what, args...)}
}
