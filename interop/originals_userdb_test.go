package interop

import (
	"fmt"
	"path/filepath"
	"testing"

	"usher/internal/courier"
)

// The accounts are made as Courier's installation wants it; the last command is that of
// the document.
func TestOriginalUserdb(t *testing.T) {
	t.Parallel()
	servers := twoServers(t)
	d := courier.Start(t, courier.Options{Modules: []string{"authuserdb"}})
	for user, options := range map[string]string{
		"user@example.com":  "mailhost=servera.example.com",
		"other@example.com": "mailhost=serverb.example.com",
		"third@example.com": "disablepop3=1,mailhost=serverb.example.com,sharedgroup=x",
	} {
		d.Run("usr/sbin/userdb", user, "set", "home=/home/"+user, "uid=1000", "gid=1000")
		d.Run("/bin/sh", "-c", fmt.Sprintf("echo '%s' | usr/sbin/userdbpw -md5 | usr/sbin/userdb %s set systempw", theirSecret, user))
		d.Run("usr/sbin/userdb", user, "set", "options="+options)
	}
	d.Run("usr/sbin/makeuserdb")
	want := map[string]string{"user@example.com": "user@example.com on first", "other@example.com": "other@example.com on second", "nobody@example.com": ""}
	for _, x := range []struct{ name, source string }{
		{"P000-5 natively", example(t, "userdb.toml", "/etc/courier/userdb", filepath.Join(d.Dir, "etc/courier/userdb"))},
		{"P000-5 by authdaemond", example(t, "authdaemon.toml", "/run/courier/authdaemon/socket", d.Socket)},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := start(t, setup{config: called(servers, "servera.example.com", "serverb.example.com") + x.source})
			p.leads(t, want)
			p.leadsByIMAP(t, "third@example.com", "third@example.com on second")
			p.denies(t, "user@example.com", "other@example.com", "third@example.com")
		})
	}
}
