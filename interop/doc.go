// Package interop holds the tests with real servers and real clients: usher is
// built and runs as a process of its own, before it stand Dovecots, and behind
// it curl, Python, mutt, or a test that speaks IMAP and POP3 by hand.
//
// Read usher_test.go for how usher is run, client_test.go for how it is spoken
// to, stores_test.go for what is behind it. Every other file is one subject.
//
// Tests run side by side, unless they need the machine for themselves; each has servers
// of its own. CONTRIBUTING.md says how to write one.
package interop
