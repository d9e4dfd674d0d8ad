package local

import (
	"strings"

	"usher/internal/route"
	"usher/internal/spawn"
)

// preauth tells a program all that there is under the names that its kind may know:
// those of login(1), of Dovecot, and of what tcpserver and couriertcpd say.
func (c Command) preauth(x *route.Exec, r *spawn.Request) {
	tell(
		r, "USER", x.User, "LOGNAME", x.User, "HOME", x.Home, "MAIL", x.Mail,
		"IP", ip(x.Client.Remote), "LOCAL_IP", ip(x.Client.Local),
		"TCPREMOTEIP", ip(x.Client.Remote), "TCPREMOTEPORT", port(x.Client.Remote),
		"TCPLOCALIP", ip(x.Client.Local), "TCPLOCALPORT", port(x.Client.Local),
		"PROTOCOL", strings.ToUpper(c.Protocol), "SESSION_ID", x.Client.ID, "SESSION_TLS", yes(x.Client.TLS),
	)
}
