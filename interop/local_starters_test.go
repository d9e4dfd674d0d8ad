package interop

import "testing"

// Mailboxes of this machine are served alike whoever has started usher.
func TestLocalProgramsServeClientsOfOtherStarters(t *testing.T) {
	starters := map[string]func(*testing.T, *proxy) starter{
		"inetd":   func(t *testing.T, p *proxy) starter { return inetd(t, p, "nowait") },
		"Postfix": func(t *testing.T, p *proxy) starter { return postfix(t, p, "n", "").starter },
	}
	for world, runs := range background {
		for name, by := range starters {
			t.Run(name+" "+world, func(t *testing.T) {
				m := newMachine(t)
				p := prepare(t, m.setup(m.dovecot(), m.account(1)))
				if runs {
					p.run()
				}
				m.home(1)
				s := by(t, p)
				byIMAP(s.client(t, "imap"), m.user(1))
				byPOP3(s.client(t, "pop3s"), m.user(1))
				c := s.client(t, "imaps")
				c.enter(m.user(1), annSecret)
				for _, one := range m.processes(1) {
					m.isUser(one, 1)
				}
				_ = c.Close()
				m.gone(p, 1)
			})
		}
	}
	t.Run("stdio, who is known", func(t *testing.T) {
		m := newMachine(t)
		p := prepare(t, m.setup(m.dovecot(), m.account(1)))
		m.home(1)
		tn := p.tunnel(t, 0, "imap", "-c", p.file, "--user", m.user(1))
		tn.expect("* PREAUTH ")
		for _, one := range m.processes(1) {
			m.isUser(one, 1)
		}
		tn.leaves()
		m.gone(p, 1)
	})
}
