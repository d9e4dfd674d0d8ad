// Package config reads usher.toml: it decides what a file may say, what it
// means when it says nothing, and how a mistake in it is told.
//
// The structs of this file are the manual. doc/config.md is generated from
// their comments and tags: toml is the key, default what an absent key means,
// oneof the words that are allowed, required a key that must be there. Read
// Parse next.
package config

//go:generate sh -c "cd ../.. && go run ./internal/config/manual > doc/config.md"

// Config is a usher.toml, with the defaults filled in.
type Config struct {
	Server   Server             `toml:"server"`
	TLS      TLS                `toml:"tls"`
	Listen   []Listen           `toml:"listen"`
	Accounts []Accounts         `toml:"accounts"`
	Backend  map[string]Backend `toml:"backend"`
	Local    Local              `toml:"local"`
	Route    []Route            `toml:"route"`
	Auth     Auth               `toml:"auth"`
	Limit    Limit              `toml:"limit"`
	Pool     Pool               `toml:"pool"`

	// Ignored names the keys that were written but that this version does not
	// act on, though nothing goes wrong without them. Log them as warnings.
	Ignored Mistakes `toml:"-"`
	// Warnings are things that work but should not stay as they are. Decode of
	// Accounts adds to them.
	Warnings Mistakes `toml:"-"`

	doc *document
}

// Server is about the program itself.
type Server struct {
	// Folder of the accounts database and of the keys of TLS session tickets. It
	// is created if it is missing.
	// Default: "/var/lib/usher".
	State Path `toml:"state" default:"/var/lib/usher"`
	// Unix socket for the commands that talk to a running usher; only its owner
	// and root may open it. Beside it, with .door behind its name, is one by which usher
	// serve --inetd, --stdio and --postfix bring their clients, which anybody may open. The
	// folder is created if it is missing. "" switches both off.
	// Default: "/run/usher/admin.sock".
	Admin Path `toml:"admin" default:"/run/usher/admin.sock"`
	// Whom to become after the ports are open, when started as root. "" stays
	// who it is.
	// Default: "usher".
	User string `toml:"user" default:"usher"`
	// The name of this machine, as clients and backends are told. "" takes it
	// from the environment variable PROXY_HOSTNAME, else from the system.
	Hostname string `toml:"hostname"`
	// Further names and addresses that mean "this machine", beside hostname,
	// PROXY_HOSTNAME, the system's name and the addresses of its interfaces: see "Local
	// mail programs".
	OwnNames []string `toml:"own_names,omitempty"`
	// What copies the bytes of sessions that are logged in: epoll, for many of
	// them, on Linux; goroutine, the plain one, which other systems have only.
	// Default: "epoll".
	Relay string `toml:"relay" default:"epoll" oneof:"epoll goroutine"`
	// Whether sessions that are logged in are given to a process of their own (usher
	// relay), on Linux: they go on when usher is killed, restarted or upgraded, but for
	// those under TLS 1.2. SIGTERM then leaves them there; usher stop ends them. See
	// "The relay process".
	// Default: false.
	RelayProcess bool `toml:"relay_process" default:"false"`
	// Where to answer servers that ask who stands behind a connection from usher, as
	// "10.0.0.5:113" (ident, RFC 1413): the account, a slash, and the client's address
	// and port. Only the server at the other end of a connection may ask about it. ""
	// answers nobody; the command usher who --from does the same for administrators.
	Ident string `toml:"ident,omitempty"`
	// Where the log goes and how it is written: logfmt, json, to standard error;
	// journal, systemd's, with a field for each key; syslog, to this machine's, or an
	// address as "syslog+tls://loghost.example.org:6514"; auto is the journal if
	// standard error is its, coloured text on a terminal, and logfmt elsewhere. See
	// "The log".
	// Default: "auto".
	Log string `toml:"log" default:"auto"`
	// After SIGTERM or usher stop: how long open sessions may go on before they are
	// told goodbye. "0s" tells them at once.
	// Default: "30s".
	Grace Duration `toml:"grace" default:"30s"`
	// After usher upgrade: how long the process that was replaced may keep the
	// sessions that cannot move, before they are told goodbye. Those are the ones
	// under TLS 1.2.
	// Default: "24h".
	Retire Duration `toml:"retire" default:"24h"`
}

// TLS is what clients see of usher's certificate. It is not needed while every
// listener has tls = "none".
type TLS struct {
	// File of the certificate and those that sign it, PEM.
	Cert Path `toml:"cert"`
	// File of the key that belongs to cert, PEM.
	Key Path `toml:"key"`
	// The oldest version of TLS that is spoken with clients.
	// Default: "1.2".
	MinVersion string `toml:"min_version" default:"1.2" oneof:"1.2 1.3"`
	// File of the authorities that sign certificates of clients, PEM. With it clients
	// are asked for a certificate, and those that have one may log in by it (EXTERNAL);
	// who has none, or a wrong one, logs in as ever. Such a client shows no password: see
	// "Who proves himself without showing his password".
	ClientCA Path `toml:"client_ca"`
	// File of certificates that are revoked: the lists (CRL) of those authorities, PEM or
	// one in DER. It is read again when it has changed. A client's certificate counts
	// only while there is a list of its authority that is not out of date. Left out, none
	// is revoked.
	CRL Path `toml:"crl"`
	// What in a client's certificate is its name: email, the addresses among the subject
	// alternative names, else in the subject; cn, uid, of the subject; subject, all of it
	// as RFC 2253 writes it. Of several names the client may choose one.
	// Default: "email".
	ExternalName string `toml:"external_name" default:"email" oneof:"email cn uid subject"`

	Certificate []Certificate `toml:"certificate,omitempty"`
}

// Certificate is one more certificate. The name that a client asks for (SNI)
// chooses between all of them; the one of [tls] answers for every other name.
type Certificate struct {
	// File of the certificate and those that sign it, PEM.
	Cert Path `toml:"cert" required:"true"`
	// File of the key that belongs to cert, PEM.
	Key Path `toml:"key" required:"true"`
}

// Listen is one place where clients may come in: a protocol, its addresses,
// and how the connection is protected. Write one block for each.
type Listen struct {
	// What is spoken.
	Protocol string `toml:"protocol" required:"true" oneof:"imap pop3"`
	// Where to listen: "127.0.0.1:1143", "[::1]:1143", ":143"; "systemd:NAME" is
	// the socket to which systemd gave that name (FileDescriptorName=). Left out,
	// the protocol's own port on all addresses: 143 and 110, with tls = "implicit"
	// 993 and 995.
	Addr []string `toml:"addr"`
	// How the connection is encrypted: none; starttls, when the client asks for
	// it; implicit, from the first byte. Both of the latter need [tls].
	// Default: "starttls".
	TLS string `toml:"tls" default:"starttls" oneof:"none starttls implicit"`
	// Where a password may be sent without encryption: loopback means by clients
	// of this machine.
	// Default: "loopback".
	CleartextLogin string `toml:"cleartext_login" default:"loopback" oneof:"never loopback always"`
	// Is added, after an @, to login names without a domain. "" adds nothing.
	DefaultDomain string `toml:"default_domain"`
	// Networks of load balancers: connections from "10.0.0.5" or "10.0.0.0/24" begin
	// with a PROXY header, of version 1 or 2, and are refused without one. What it
	// says counts: the client's address; whether it is under TLS towards the load
	// balancer (version 2 only), so that passwords may be shown; the name that it
	// asked for. From other addresses no such header is taken.
	ProxyProtocol []string `toml:"proxy_protocol"`
	// Networks of front ends, proxies or webmail, that are believed what they tell of
	// their clients: by IMAP's ID (x-originating-ip and its kin), by POP3's XCLIENT,
	// as Dovecot and usher send them. Passwords may be shown to usher by them without
	// encryption. Behind a load balancer it is the client's own address that counts.
	Trusted []string `toml:"trusted"`
}

// Accounts is one source that knows who may log in and where each mailbox
// lives. Sources are asked in the order of the file: one that does not know a
// name leaves it to the next; any other failure ends the search. Without any
// block it is the embedded database in the state folder, as if this were
// written: type = "sql", driver = "sqlite".
type Accounts struct {
	// What kind of source it is: sql, ldap, userdb, passwd, http, authdaemon, any.
	// The kind decides which other keys the block may have; they are listed below.
	Type string `toml:"type" required:"true"`
	// What logs and commands call this source. "" takes its type.
	Name string `toml:"name"`
	// Domains that this source is asked for; "" in the list stands for names
	// without a domain. Left out, it is asked for all.
	Only []string `toml:"only"`
	// Domains that this source is not asked for; "" stands for names without one.
	Skip []string `toml:"skip,omitempty"`
	// Whether its accounts are those of masters, who log in as others and not as
	// themselves: with an authorization identity, or as user*master (see
	// master_separator). What they open must let usher in without its owner's password.
	// Default: false.
	Master bool `toml:"master" default:"false"`
	// What to look for, in this order, until something is known: "{user}", "{name}",
	// "@{domain}". Left out, the name as it is.
	Keys []string `toml:"keys,omitempty"`
	// How long answers are remembered. Files and the embedded database answer at
	// once and are not remembered.
	Cache Cache `toml:"cache"`
	// Templates over what the source returned, by field: host = "{host}-vpn:10143". They
	// may use every field and the variables of a query. If a field in it is empty,
	// the result is none; of several hosts each is filled in.
	Set map[string]string `toml:"set,omitempty"`

	rest   map[string]any // the keys of its kind: Decode
	key    string         // "accounts[0]"
	config *Config
}

// Cache is how long the answers of a source are remembered. "0s" switches that off.
type Cache struct {
	// How long an account is used before the source is asked again. A wrong
	// password asks at once.
	// Default: "1h".
	Good Duration `toml:"good" default:"1h"`
	// How long a name stays unknown.
	// Default: "30s".
	Unknown Duration `toml:"unknown" default:"30s"`
	// While the source is down: how old an account may be that is used all the same,
	// for those who give the right password.
	// Default: "24h".
	Stale Duration `toml:"stale" default:"24h"`
	// How many names are remembered.
	// Default: 100000.
	Size int `toml:"size" default:"100000"`
	// Whether accounts are kept on disk too, encrypted, in the state folder, so that
	// people get in after a restart while the source is down. They are written once a
	// minute, their passwords as slow, salted hashes only; the field pass, towards the
	// backend, is kept as it is. Whoever has that file and the key has what is in it.
	// Default: false.
	Disk bool `toml:"disk" default:"false"`
	// File of the key for disk: a line of 32 characters or more, as written by
	// openssl rand -hex 32. Left out, it is cache.key in the state folder, which is
	// made when it is first needed; with one from elsewhere, a stolen state folder
	// tells nothing.
	KeyFile Path `toml:"key_file"`
}

// Backend is one mail store, or several servers that hold the same mail. Its
// name is what routes and accounts call it. The settings of [backend.default]
// hold for every host that an account names and that is no backend; its
// addresses serve accounts without a host.
type Backend struct {
	// Where it listens, for every protocol: "imap1.example.org" or
	// "imap1.example.org:1143". Ports default to the protocol's own.
	Addr []string `toml:"addr"`
	// Where it listens for IMAP, if that is not addr.
	IMAP []string `toml:"imap"`
	// Where it listens for POP3, if that is not addr.
	POP3 []string `toml:"pop3"`
	// How the connection to it is encrypted: none; starttls, for POP3 the
	// command STLS; implicit, from the first byte.
	// Default: "none".
	TLS string `toml:"tls" default:"none" oneof:"none starttls implicit"`
	// File of the certificates that may sign the backend's own, PEM. "" means
	// those that the system trusts.
	CA Path `toml:"ca"`
	// File of usher's own certificate towards the backend, PEM, with all that lie between
	// it and the authority that the backend trusts. With login = { mechanism = "EXTERNAL" }
	// it proves who usher is, and no password goes to the backend.
	Cert Path `toml:"cert"`
	// File of its key, PEM.
	Key Path `toml:"key"`
	// Whether the backend's certificate must be right. With false anybody on the
	// way can read and change everything.
	// Default: true.
	Verify bool `toml:"verify" default:"true"`
	// How long the connection to one address may take.
	// Default: "5s".
	ConnectTimeout Duration `toml:"connect_timeout" default:"5s"`
	// How long all may take from dialling to the answer of the login, over all
	// addresses together.
	// Default: "10s".
	Timeout Duration `toml:"timeout" default:"10s"`
	// Whether it is told who the client is: its address and port, the ID of the
	// session, whether it came under TLS, how many proxies the login has passed, and
	// the account's attributes forward_NAME. IMAP servers that announce ID are told
	// by it, POP3 servers whose greeting has [XCLIENT] by that. They must trust usher:
	// in Dovecot, login_trusted_networks.
	// Default: false.
	Trusted bool `toml:"trusted" default:"false"`
	// The version of the PROXY header with which connections to it begin, 1 or 2. The
	// server must expect it: in Dovecot, haproxy = yes. 0 sends none.
	// Default: 0.
	ProxyProtocol int   `toml:"proxy_protocol" default:"0"`
	Login         Login `toml:"login"`
}

// Login is how usher logs in to the backend.
type Login struct {
	// As whom: user is the client's own name and password, or its OAuth 2 token; master
	// is one name that may open every mailbox; token is the client's own name with a
	// token that usher signs for this one login: see "Tokens".
	// Default: "user".
	As string `toml:"as" default:"user" oneof:"user master token"`
	// The master's name.
	Name string `toml:"name"`
	// The master's password.
	Password Secret `toml:"password"`
	// File that holds the master's password, in place of password.
	PasswordFile Path `toml:"password_file"`
	// What stands between the user's name and the master's where the backend wants them
	// in one, such as "*" for ann*usher. "" tells it the user's as the authorization
	// identity of AUTHENTICATE.
	Separator string `toml:"separator"`
	// With as = "token": file of the private key that signs tokens, PEM: ECDSA, RSA or
	// Ed25519 (which Dovecot 2.3 does not verify). Left out, token.key in the state folder,
	// which is made when usher first starts.
	KeyFile Path `toml:"key_file"`
	// With as = "token": whom the tokens are for (aud). "" is the backend's name.
	Audience string `toml:"audience"`
	// With as = "token": who signs them (iss). "" is hostname in [server], or what that
	// stands for.
	Issuer string `toml:"issuer"`
	// With as = "token": which claim holds the name, beside sub. "" is email.
	Claim string `toml:"claim"`
	// With as = "token": what the tokens allow (scope), words with blanks between them.
	Scope string `toml:"scope"`
	// SASL mechanism towards the backend: PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-256 and their
	// kin; EXTERNAL shows cert, and says for whom; OAUTHBEARER and XOAUTH2 show the token, or, where there is none, the password as
	// if it was one. "" takes what fits.
	Mechanism string `toml:"mechanism"`
}

// Local is the mail programs of this machine, which are started, for those who have
// proved who they are, as the owner of the mailbox. Without imap, pop3 and programs
// there are none, and nothing of usher keeps root's rights. All of it but attribute,
// stays and timeout is sealed when usher starts: changes wait for a restart. See "Local
// mail programs".
type Local struct {
	// The command of the program that serves IMAP, as a list of words:
	// ["/usr/lib/dovecot/imap"]. In its arguments {user}, {name}, {domain}, {home}, {mail},
	// {quota}, {remote}, {local}, {id} and every attribute of the account may be used.
	IMAP []string `toml:"imap,omitempty"`
	// The command of the program that serves POP3.
	POP3 []string `toml:"pop3,omitempty"`
	// How it is told whom it serves, and how it greets: dovecot; courier; preauth, any
	// other that greets with PREAUTH or +OK. auto knows the first two by their names.
	// Default: "auto".
	Speaks string `toml:"speaks" default:"auto" oneof:"auto dovecot courier preauth"`
	// Environment for these programs; they have no other but what they are told.
	Env map[string]string `toml:"env,omitempty"`
	// File of more environment, in the shell's form, such as Courier's
	// /etc/courier/imapd. env goes before it.
	EnvFile Path `toml:"env_file"`
	// Further programs: see [local.program.NAME].
	Program map[string]Program `toml:"program,omitempty"`
	// The attribute of an account that names the program that serves it. default is the
	// one of this block. "" leaves the choice to routes.
	// Default: "program".
	Attribute string `toml:"attribute" default:"program"`
	// Protocols whose logins all stay on this machine, whatever host an account has, as
	// with IMAP_PROXY=0 and POP3_PROXY=0 in the environment, which hold too.
	Stays []string `toml:"stays,omitempty"`
	// How long a program may take to be started and to greet.
	// Default: "10s".
	Timeout Duration `toml:"timeout" default:"10s"`
	// How long a program may go on without its client, or without having let it in. Then
	// it is ended: by SIGTERM, and ten seconds later by SIGKILL.
	// Default: "30s".
	Linger Duration `toml:"linger" default:"30s"`
	// The lowest user that programs are started as. root and usher's own never are. Better
	// set it, and min_gid, to the lowest that has mail: 1000, or that of vmail.
	// Default: 100.
	MinUID int `toml:"min_uid" default:"100"`
	// The lowest group that programs are started with, also of those that /etc/group gives
	// a user. root's and usher's own never are.
	// Default: 100.
	MinGID int `toml:"min_gid" default:"100"`
	// Folders beneath which homes must be: ["/home", "/var/mail/vhosts"]. They are needed
	// to make homes; without them any home will do that is its owner's.
	Homes []string `toml:"homes,omitempty"`
	// Whether a home that is missing is made at the first login. It needs homes.
	// Default: false.
	CreateHome bool `toml:"create_home" default:"false"`
	// The mode of a home that is made.
	// Default: "0700".
	HomeMode string `toml:"home_mode" default:"0700"`
	// A folder whose content is copied into a home that is made. "" copies none.
	Skeleton Path `toml:"skeleton"`
	// The maildir in a home, for Courier, and for homes that are made: "Maildir". "" makes
	// none.
	Maildir string `toml:"maildir"`
	// A command that is run as the owner in a home that was just made, as a list of words.
	Hook []string `toml:"hook,omitempty"`
	// Whether programs may gain privileges by others that are setuid or setgid, as
	// Postfix's sendmail is.
	// Default: false.
	Setuid bool          `toml:"setuid" default:"false"`
	Limit  ProgramLimits `toml:"limit"`
}

// ProgramLimits bound what programs may take. 0 means no limit but that of usher itself.
type ProgramLimits struct {
	// Files and connections that one program may have open.
	// Default: 1024.
	Files int `toml:"files" default:"1024"`
	// Processes that run as one user.
	// Default: 0.
	Processes int `toml:"processes" default:"0"`
	// Megabytes of memory of one program: 256 at least.
	// Default: 0.
	Memory int `toml:"memory" default:"0"`
	// Programs that run as one user at a time. Where many accounts have one user, it is for
	// all of them together.
	// Default: 0.
	PerUser int `toml:"per_user" default:"0"`
	// Programs that run at a time.
	// Default: 0.
	Total int `toml:"total" default:"0"`
	// Programs that are being started at a time.
	// Default: 64.
	Starting int `toml:"starting" default:"64"`
}

// Program is one more mail program, or two of a kind. Accounts name it in their
// attribute program, routes as program beside to = "local".
type Program struct {
	// The command that serves IMAP, as in [local].
	IMAP []string `toml:"imap,omitempty"`
	// The command that serves POP3.
	POP3 []string `toml:"pop3,omitempty"`
	// How it is told whom it serves, and how it greets, as in [local].
	// Default: "auto".
	Speaks string `toml:"speaks" default:"auto" oneof:"auto dovecot courier preauth"`
	// Environment for it; that of [local] is not its.
	Env map[string]string `toml:"env,omitempty"`
	// File of more environment, in the shell's form.
	EnvFile Path `toml:"env_file"`
}

// Route says where logins go. The first block whose conditions all hold
// decides; if none does, the account's own host; if it has none, this machine, if it
// has programs in [local]; else the addresses of [backend.default]; if there are none,
// the login is refused.
type Route struct {
	When When `toml:"when"`
	// Where to: a backend's name; account, the host that the account's source
	// gave; local, a program of this machine; home, the account's host, but only if it
	// is this machine or a node of the pool; refuse.
	To string `toml:"to" required:"true"`
	// With to = "local": which of its programs, as in [local.program.NAME]. "" leaves it
	// to the account.
	Program string `toml:"program,omitempty"`
}

// When holds the conditions of a route. Those that are left out always hold.
type When struct {
	// The protocol of the login.
	Protocol string `toml:"protocol" oneof:"imap pop3"`
	// The account's name; * stands for any characters, ? for one.
	User string `toml:"user"`
	// The account's domain.
	Domain string `toml:"domain"`
	// The network that the client comes from: "192.0.2.0/24".
	Network string `toml:"network"`
	// Attributes of the account and the values that they must have:
	// attr = { plan = "gold" }.
	Attr map[string]string `toml:"attr"`
}

// Auth is about how clients prove who they are.
type Auth struct {
	// The SASL mechanisms that are offered, in this order, and APOP. Left out, those that
	// work for every account: EXTERNAL with client_ca, OAUTHBEARER and XOAUTH2 with
	// [auth.oauth2], PLAIN, LOGIN. Others work only for
	// accounts of which usher knows the clear password, or keys that were made for them,
	// and clients that see them do not try another one: name them if your accounts have
	// these. See "Who proves himself without showing his password".
	Mechanisms []string `toml:"mechanisms"`
	// What stands between whom a master logs in as and the master's own name: with "*",
	// ann*boss. Masters are in [[accounts]] with master = true. "" lets no name say that.
	MasterSeparator string `toml:"master_separator"`
	// Pairs of characters: in a name, the first of each becomes the second. "%@" takes
	// ann%example.org for ann@example.org.
	UsernameTranslate string `toml:"username_translate"`
	// The characters that a name may have, after username_translate. A name with another
	// one is refused as a wrong password is. "" allows all.
	UsernameChars string `toml:"username_chars"`
	// What becomes of capitals in a name: keep; lower, small letters; precis, small
	// letters and one form of all that looks the same, by RFC 8265 (UsernameCaseMapped),
	// which does not have all characters: blanks, for one.
	// Default: "keep".
	UsernameCase string `toml:"username_case" default:"keep" oneof:"keep lower precis"`
	// Domains that are taken off names: ann@example.org is ann; "*" is all of them. A
	// listener's default_domain is then added.
	StripDomains []string `toml:"strip_domains"`
	// A text from which salts of SCRAM are made, for accounts that have none, and for
	// names that nobody has, so that nobody can tell them apart. It should be the same on
	// all machines that serve the same names. Left out, it is drawn once and kept in the
	// state folder.
	ScramSecret Secret `toml:"scram_secret"`
	// File that holds scram_secret, in place of it.
	ScramSecretFile Path   `toml:"scram_secret_file"`
	OAuth2          OAuth2 `toml:"oauth2"`
	Policy          Policy `toml:"policy"`
}

// OAuth2 says which OAuth 2 tokens of clients are good. A token is checked here, if it is
// a JWT (set issuer), or the provider is asked about each (set introspection). See
// "Tokens".
type OAuth2 struct {
	// The provider, as it calls itself: "https://login.example.org/realms/staff". Its
	// tokens are taken, and no others; its keys are found by OpenID Connect Discovery.
	Issuer string `toml:"issuer"`
	// File of the issuer's keys, in place of Discovery: PEM of public keys or
	// certificates, or a JWKS. It is read again when another key has signed a token, and
	// every 15 minutes.
	Keys Path `toml:"keys"`
	// Whom tokens must be for (aud): one of these. For tokens that are checked here there
	// must be an audience or a scope, since the issuer's tokens for other services would
	// open mailboxes too.
	Audience []string `toml:"audience"`
	// What tokens must allow (scope): all of these.
	Scope []string `toml:"scope"`
	// Which claim is the name; it may be a list of names, of which the client takes one.
	// An email of which the token says that it is not verified is none.
	// Default: "email".
	Claim string `toml:"claim" default:"email"`
	// How much the clocks of the provider and usher may differ.
	// Default: "30s".
	Skew Duration `toml:"skew" default:"30s"`
	// URL where the provider is asked about each token (RFC 7662), in place of checking it
	// here: "https://login.example.org/introspect".
	Introspection string `toml:"introspection"`
	// What usher is called by the provider that it asks. "" shows it no password.
	ClientID string `toml:"client_id"`
	// The password of client_id.
	ClientSecret Secret `toml:"client_secret"`
	// File that holds client_secret, in place of it.
	ClientSecretFile Path `toml:"client_secret_file"`
	// How long what the provider has said of a token is believed, if the token holds for
	// so long. A token that is revoked is good until then. "0s" asks at each login.
	// Default: "1m".
	Cache Duration `toml:"cache" default:"1m"`
	// File of the certificates that may sign the provider's own, PEM. "" means those
	// that the system trusts.
	CA Path `toml:"ca"`
	// How long the provider may take to answer.
	// Default: "5s".
	Timeout Duration `toml:"timeout" default:"5s"`
	// Whether a session ends when the token does with which it began. Clients then come
	// again with a new one.
	// Default: false.
	EndWithToken bool `toml:"end_with_token" default:"false"`
}

// Policy is a service that is asked whether somebody may log in, and is told what became
// of it, by Dovecot's auth policy protocol: weakforced, or one of your own. See "A
// service that has a say". Without url there is none.
type Policy struct {
	// Where it is: "http://127.0.0.1:8084/". usher adds command=allow or command=report
	// to it.
	URL string `toml:"url"`
	// A header that goes with each request, "Authorization: Basic d2ZvcmNlOnNlY3JldA==".
	// What has no colon is sent as X-API-Key.
	APIHeader Secret `toml:"api_header"`
	// File that holds api_header, in place of it.
	APIHeaderFile Path `toml:"api_header_file"`
	// A secret of 16 characters or more that goes into the hash of a password, or the
	// service could find passwords out. It must be the same in all servers that ask the
	// service, in Dovecot auth_policy_hash_nonce.
	HashNonce Secret `toml:"hash_nonce"`
	// File that holds hash_nonce, in place of it.
	HashNonceFile Path `toml:"hash_nonce_file"`
	// The hash: sha256, sha512, sha1 or md5.
	// Default: "sha256".
	HashMech string `toml:"hash_mech" default:"sha256" oneof:"sha256 sha512 sha1 md5"`
	// How many bits of the hash the service gets; 0 means all. With few of them it can
	// tell guesses apart, but not find a password.
	// Default: 12.
	HashTruncate int `toml:"hash_truncate" default:"12"`
	// How long a question may take.
	// Default: "2s".
	Timeout Duration `toml:"timeout" default:"2s"`
	// File of the certificates that may sign the service's own, PEM. "" means those that
	// the system trusts.
	CA Path `toml:"ca"`
	// Whether it is asked before a password is looked at: it may refuse, or have the
	// client wait.
	// Default: true.
	CheckBeforeAuth bool `toml:"check_before_auth" default:"true"`
	// Whether it is asked again when the password was right: it may refuse.
	// Default: true.
	CheckAfterAuth bool `toml:"check_after_auth" default:"true"`
	// Whether it is told what became of a login.
	// Default: true.
	ReportAfterAuth bool `toml:"report_after_auth" default:"true"`
	// Whether nobody can log in while the service cannot be asked. With false everybody
	// can.
	// Default: false.
	RejectOnFail bool `toml:"reject_on_fail" default:"false"`
	// Whether what it says has no effect but a line in the log, to try a service out.
	// Default: false.
	LogOnly bool `toml:"log_only" default:"false"`
}

// Pool names the machines that run the same file and trust each other: see "A pool of
// machines that trust each other". The machine that a client has reached checks who it is,
// and takes it to the one where its mailbox lives, which asks nobody again and starts a
// program of [local]. In host, an account names that machine as it is called here.
type Pool struct {
	// The machines, by name, and where the others reach them:
	// nodes = { mx1 = "10.0.0.1:7143", mx2 = "10.0.0.2:7143" }. A name with a dot in it
	// stands in quotes.
	Nodes map[string]string `toml:"nodes"`
	// Which of them this machine is. "" means the one whose name is in its certificate,
	// so that the same file serves all.
	Node string `toml:"node"`
	// File of this machine's certificate, PEM: one of its names (subject alternative name,
	// DNS) is the name of the node, and it is good for servers and clients. It is read
	// again when it has changed.
	Cert Path `toml:"cert"`
	// File of its key, PEM.
	Key Path `toml:"key"`
	// File of the authorities that sign the certificates of the pool, PEM. No others count,
	// least of all those that the system trusts.
	CA Path `toml:"ca"`
	// Where to listen for the other nodes, as ":7143". "" means at this node's own address
	// in nodes.
	Listen string `toml:"listen"`
	// How many connections to each other node are kept ready, so that logins need not wait
	// for a handshake. 0 keeps none.
	// Default: 2.
	Warm int `toml:"warm" default:"2"`
	// How long all may take from dialling to the greeting of the program at the other node,
	// over all hosts of an account together.
	// Default: "10s".
	Timeout Duration `toml:"timeout" default:"10s"`
	// By how much the clocks of the nodes may differ: a certificate counts for so much
	// longer, and so much sooner, than it says.
	// Default: "5m".
	ClockLeeway Duration `toml:"clock_leeway" default:"5m"`

	// Which nodes may vouch for which users. Without any block every node of the pool may
	// for everybody; with some, what none of them allows is refused.
	Vouch []Vouch `toml:"vouch,omitempty"`
}

// Vouch lets nodes of the pool vouch for users.
type Vouch struct {
	// The nodes. Left out, all.
	Nodes []string `toml:"nodes"`
	// Names of users; * stands for any characters, ? for one. Without users and domains,
	// everybody.
	Users []string `toml:"users"`
	// Domains of users, besides.
	Domains []string `toml:"domains"`
}

// Limit keeps one client from taking the room of others, and those who guess
// passwords from guessing many. 0 as a number means no limit, "0s" no delay or no
// timeout. An address stands for its whole network: see prefix4 and prefix6.
type Limit struct {
	// Connections at a time that are not logged in yet. If there are more, or if
	// there is no room for more, the oldest of the network that has most of them
	// makes room for the next: one network cannot keep others out. So the number is
	// how much memory logins may take: each some 30 KB under TLS.
	// Default: 10000.
	Logins int `toml:"logins" default:"10000"`
	// Connections of one address at a time that are not logged in yet. More are
	// refused.
	// Default: 0.
	LoginsPerAddress int `toml:"logins_per_address" default:"0"`
	// Connections of one address in a minute that do not log in. More are refused.
	// Default: 6000.
	LoginsPerMinute int `toml:"logins_per_minute" default:"6000"`
	// Sessions of one account at a time.
	// Default: 50.
	SessionsPerUser int `toml:"sessions_per_user" default:"50"`
	// Sessions of one account from one address at a time.
	// Default: 20.
	SessionsPerUserAddress int `toml:"sessions_per_user_address" default:"20"`
	// Sessions of all accounts from one address at a time.
	// Default: 0.
	SessionsPerAddress int `toml:"sessions_per_address" default:"0"`
	// How many bits of an IPv4 address name its network: with 24, all addresses that
	// begin alike count as one.
	// Default: 32.
	Prefix4 int `toml:"prefix4" default:"32"`
	// How many bits of an IPv6 address name its network: 64 are what one site has;
	// those who have many sites to guess from may have 48.
	// Default: 64.
	Prefix6 int `toml:"prefix6" default:"64"`
	// Networks and addresses for which no limit by address holds, and whose wrong
	// passwords are held against nobody: ["192.0.2.7", "2001:db8::/32"]. For webmail
	// and monitors. A load balancer that does not tell who its clients are is one
	// address for all of them: it should be here, too, if it limits them itself.
	Exempt []string `toml:"exempt"`
	// How long a client may take to log in.
	// Default: "60s".
	LoginTimeout Duration `toml:"login_timeout" default:"60s"`
	// How long one command may take to arrive, before the login.
	// Default: "30s".
	CommandTimeout Duration `toml:"command_timeout" default:"30s"`
	// How long a session may be silent in both directions. RFC 9051 §5.4 asks
	// for 30 minutes at least.
	// Default: "35m".
	IdleTimeout Duration `toml:"idle_timeout" default:"35m"`
	// How long the answer to a failed login is held back. Whoever goes on guessing
	// waits for longer and longer before the next password is looked at: see
	// "Guessing". "0s" lets everybody guess as fast as he can.
	// Default: "2s".
	FailureDelay Duration `toml:"failure_delay" default:"2s"`
	// How long that may become; never more than 25 times failure_delay. "0s" keeps it
	// from growing.
	// Default: "50s".
	FailureDelayMax Duration `toml:"failure_delay_max" default:"50s"`
}
