package account

import (
	"fmt"
	"strconv"
	"strings"
)

// An Owner is whom a mailbox of this machine belongs to, for programs that are started
// for it.
type Owner struct {
	UID, GID uint32
	Home     string
	Mail     string // where the mailbox is; "": where the program looks by itself
}

// Owner reads the attributes uid, gid, home and mail. They are looked at only when a
// program is to be started: elsewhere they may be names, or anything. An error names
// the field.
func (a *Account) Owner() (o Owner, err error) {
	if o.UID, err = a.number("uid"); err != nil {
		return o, err
	}
	if o.GID, err = a.number("gid"); err != nil {
		return o, err
	}
	o.Home, o.Mail = a.Attrs["home"], a.Attrs["mail"]
	if !strings.HasPrefix(o.Home, "/") {
		return o, fmt.Errorf("field \"home\": %q is no absolute path, which a local program needs", o.Home)
	}
	return o, nil
}

// UID is the attribute uid: the user of this machine whose account it is.
func (a *Account) UID() (uint32, error) { return a.number("uid") }

func (a *Account) number(field string) (uint32, error) {
	n, err := strconv.ParseUint(a.Attrs[field], 10, 32)
	if err != nil || n == 1<<32-1 { // which stands for "leave it as it is": setresuid(2)
		return 0, fmt.Errorf("field %q: %q is no number of a user or group, which a local program needs", field, a.Attrs[field])
	}
	return uint32(n), nil
}
