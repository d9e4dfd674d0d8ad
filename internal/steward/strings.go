package steward

import "unique"

// known is a text of which there are few, all over again: it is kept once.
func (r *reader) known() string { return unique.Make(string(r.bytes())).Value() }
