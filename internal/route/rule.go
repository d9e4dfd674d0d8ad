package route

import (
	"net/netip"
	"strings"
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
	name := strings.ToLower(v.Account.Name)
	_, domain, _ := strings.Cut(name, "@")
	if r.User != "" {
		if !glob(strings.ToLower(r.User), name) {
			return false
		}
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

// glob matches a pattern with * and ?. A later * never needs an earlier one to
// give way again, so it is enough to go back to the last.
func glob(wanted, name string) bool {
	pattern, s := []rune(wanted), []rune(name)
	star, from := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(string(pattern[p:]), "*") == ""
}
