package local

import (
	"strings"

	"usher/internal/route"
	"usher/internal/spawn"
)

// preserve names the variables that must outlive doveconf, by which Dovecot's programs
// start themselves again: without it they lose all of them.
const preserve = "DOVECOT_PRESERVE_ENVS"

// dovecot is Dovecot until 2.4.1. Later ones look at USER and HOME only, and know
// no mail_location: what they have to know more stands in the arguments of the command.
func (c Command) dovecot(x *route.Exec, r *spawn.Request) {
	tell(r, "USER", x.User, "HOME", x.Home, "IP", ip(x.Client.Remote), "LOCAL_IP", ip(x.Client.Local))
	if x.Mail != "" && !c.tellsMail() {
		tell(r, "MAIL", location(x.Mail)) // goes before mail_location
	}
}

// preserved is the list of all variables.
func (c Command) preserved() string {
	names := append([]string{"PATH"}, c.vars()...)
	for _, own := range c.Env {
		name, _, _ := strings.Cut(own, "=")
		names = append(names, name)
	}
	return preserve + "=" + strings.Join(names, " ")
}

// location is a mailbox as Dovecot writes it. A folder without a word before it is a
// maildir in the home, as Courier has it.
func location(mail string) string {
	before, _, has := strings.Cut(mail, ":")
	switch {
	case has && !strings.Contains(before, "/"):
		return mail
	case strings.HasPrefix(mail, "/"), strings.HasPrefix(mail, "~"):
		return "maildir:" + mail
	}
	return "maildir:~/" + strings.TrimPrefix(mail, "./")
}
