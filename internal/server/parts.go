package server

import (
	"usher/internal/account"
	"usher/internal/account/authdaemon"
	"usher/internal/account/embedded"
	authhttp "usher/internal/account/http"
	"usher/internal/account/ldap"
	"usher/internal/account/passwd"
	"usher/internal/account/sql"
	"usher/internal/account/userdb"
	"usher/internal/imap"
	"usher/internal/login"
	"usher/internal/pop3"
	"usher/internal/sasl"
)

// What this build is made of. A new part is a line here: there is no other
// registration.
var (
	protocols = []login.Protocol{imap.Protocol{}, pop3.Protocol{}}
	accounts  = map[string]account.Driver{
		"sql":        sql.Driver(embedded.Open),
		"ldap":       ldap.Driver,
		"userdb":     userdb.Driver,
		"passwd":     passwd.Driver,
		"http":       authhttp.Driver,
		"authdaemon": authdaemon.Driver,
		"any":        account.AnyoneDriver,
	}

	mechanisms = []sasl.Mechanism{ // in order of preference
		sasl.SCRAMSHA256Plus, sasl.SCRAMSHA1Plus, sasl.SCRAMSHA256, sasl.SCRAMSHA1,
		sasl.CRAMSHA256, sasl.CRAMSHA1, sasl.CRAMMD5, sasl.APOP,
		sasl.External, sasl.OAuthBearer, sasl.XOAuth2, sasl.Plain, sasl.Login,
	}
)
