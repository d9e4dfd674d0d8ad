package route

import (
	"net/netip"
	"strings"

	"usher/internal/glob"
)

// A Rule sends those whom it matches somewhere. The first that matches decides.
type Rule struct {
	Protocol string // "": any
	Domain   string
	User     string // a pattern: * stands for any characters, ? for one
	Network  netip.Prefix
	Attrs    map[string]string
	To       string // a backend's name, or ToAccount and its like
	Program  string // with ToLocal: of [local]; "": the account's
}

func (r Rule) matches(v Visit) bool {
	name := v.Account.Name
	_, domain, _ := strings.Cut(name, "@")
	if r.User != "" && !glob.Match(r.User, name) {
		return false
	}
	for k, want := range r.Attrs {
		if v.Account.Attrs[strings.ToLower(k)] != want {
			return false
		}
	}
	return (r.Protocol == "" || r.Protocol == v.Protocol) &&
		(r.Domain == "" || strings.EqualFold(r.Domain, domain)) &&
		(!r.Network.IsValid() || r.Network.Contains(v.Remote.Unmap().WithZone("")))
}
