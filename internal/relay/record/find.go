package record

// Find tells the number of the record that follows a given one, which was sealed with a
// secret under a number of at most most: crypto/tls counts, but does not tell. ok is
// false if there is no such number. record stays as it is.
func Find(id uint16, secret, record []byte, most uint64) (next uint64, ok bool) {
	s := suiteOf(id)
	if s == nil || len(secret) != s.hash.Size() || len(record) < HeaderSize+tagSize {
		return 0, false
	}
	h := half{}
	h.set(Half{Secret: secret})
	defer func() { clear(h.secret[:]) }()
	for h.number = most; ; h.number-- {
		a, nonce := h.ready(s)
		if _, err := a.Open(nil, nonce, record[HeaderSize:], record[:HeaderSize]); err == nil {
			return h.number + 1, true
		}
		if h.number == 0 {
			return 0, false
		}
	}
}
