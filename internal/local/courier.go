package local

import (
	"strings"

	"usher/internal/route"
	"usher/internal/spawn"
)

// tag is the tag of the LOGIN that Courier's imapd answers, though nobody has sent it.
// It is the one that package imap waits for.
const tag = "L"

// courierOptions are those of an account at which Courier's programs look. Whether the
// account may log in at all has been decided.
var courierOptions = []string{"group", "sharedgroup", "disableshared"}

// courier is Courier's imapd and courierpop3d, as its login programs start them.
func (c Command) courier(x *route.Exec, r *spawn.Request) {
	if !c.tellsMail() {
		r.Args = append(r.Args, folder(x.Mail, c.Maildir))
	}
	tell(
		r, "AUTHENTICATED", x.User, "USER", x.User, "HOME", x.Home,
		"TCPREMOTEIP", ip(x.Client.Remote), "TCPREMOTEPORT", port(x.Client.Remote),
		"TCPLOCALIP", ip(x.Client.Local), "TCPLOCALPORT", port(x.Client.Local),
		"MAILDIRQUOTA", x.Attrs["quota"], "OPTIONS", options(x.Attrs),
	)
	if c.Protocol == "imap" {
		tell(r, "IMAPLOGINTAG", tag, "PROTOCOL", "IMAP", "IMAP_TLS", yes(x.Client.TLS))
		return
	}
	tell(r, "PROTOCOL", "POP3", "POP3_TLS", yes(x.Client.TLS), "UTF8", yes(x.Client.UTF8))
}

// folder is a mailbox as Courier takes it: a maildir, from the home.
func folder(mail, usual string) string {
	if rest, ok := strings.CutPrefix(mail, "maildir:"); ok {
		mail, _, _ = strings.Cut(rest, ":") // what follows in Dovecot's form is not Courier's
		mail = strings.TrimPrefix(mail, "~/")
	}
	switch {
	case mail != "":
		return mail
	case usual != "":
		return usual
	}
	return "Maildir"
}

// options is Courier's list of them.
func options(attrs map[string]string) string {
	var list []string
	for _, name := range courierOptions {
		if v, ok := attrs[name]; ok && !strings.ContainsAny(v, ",") {
			list = append(list, name+"="+v)
		}
	}
	return strings.Join(list, ",")
}
