package passwd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"usher/internal/account"
	"usher/internal/account/accounttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// try opens a source with these settings.
func try(t testing.TB, set settings) (account.Source, error) {
	t.Helper()
	open, err := Driver(func(into any) error {
		*into.(*settings) = set
		return nil
	})
	if err != nil {
		return nil, err
	}
	return open(t.Context(), account.Site{Log: slog.New(slog.DiscardHandler)})
}

func openSource(t testing.TB, set settings) *Source {
	t.Helper()
	s, err := try(t, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.(*Source).Close() })
	return s.(*Source)
}

func openText(t testing.TB, text string, set settings) *Source {
	t.Helper()
	set.Path = filepath.Join(t.TempDir(), "passwd")
	write(t, set.Path, text)
	return openSource(t, set)
}

func template(t testing.TB, text string) account.Template {
	t.Helper()
	p, err := account.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lookup asks as usher does.
func lookup(t *testing.T, s account.Source, name string) (*account.Account, error) {
	t.Helper()
	r := account.Reader{Name: "passwd", Source: s}
	return r.Lookup(t.Context(), account.Query{Name: name, Protocol: "imap"})
}

func known(t *testing.T, s account.Source, name string) *account.Account {
	t.Helper()
	a, err := lookup(t, s, name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return a
}

func TestSource(t *testing.T) {
	t.Parallel()
	s := openText(t, "# users\nann@example.org:{PLAIN}secret:1000:1000::/home/ann::host=a.example.org\n", settings{})
	accounttest.RunSource(t, s, accounttest.World{User: "ann@example.org", Password: "secret", Unknown: "bob@example.org"})
}

func TestSourceOfAFileForEachDomain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "example.org"), "ann:{PLAIN}secret\n")
	s := openSource(t, settings{Path: dir + "/%d", UsernameFormat: template(t, "{name}")})
	accounttest.RunSource(t, s, accounttest.World{User: "ann@example.org", Password: "secret", Unknown: "bob@example.org"})
}

func TestTheFieldsOfALineReachTheAccount(t *testing.T) {
	t.Parallel()
	s := openText(t, "ann@example.org:{PLAIN}secret:1000:100:Ann:/home/ann:/bin/sh:host=a.example.org:1143  nodelay disablepop3=1 userdb_mail=maildir:/m:INDEX=/i userdb_quota_rule=*:storage=1G team=%Ln-{x}-%d-100%% mail2=%{user}\n", settings{})
	a := known(t, s, "ann@example.org")
	want := map[string]string{
		"uid": "1000", "gid": "100", "home": "/home/ann", "mail": "maildir:/m:INDEX=/i", "userdb_quota_rule": "*:storage=1G",
		"team": "ann-{x}-example.org-100%", "mail2": "ann@example.org",
	}
	if !reflect.DeepEqual(a.Attrs, want) {
		t.Errorf("attributes %v, want %v", a.Attrs, want)
	}
	if a.Place.Hosts[0] != "a.example.org:1143" || !a.Access.NoDelay || a.Access.Disabled[0] != "pop3" {
		t.Errorf("%+v", a)
	}
	if err := a.Proof.Check(t.Context(), "secret"); err != nil {
		t.Error(err)
	}
}

func TestAnUnknownVariableIsNotAWrongPasswordAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	_, err := lookup(t, openText(t, "ann:{PLAIN}x::::::pass=hunter2%zz\n", settings{}), "ann")
	if err == nil || errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrRefused) || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func TestWithNopasswordTheBackendChecks(t *testing.T) {
	t.Parallel()
	s := openText(t, "a:::::::nopassword\nb:::::::nopassword=y\nc:x::::::nopassword\nd:{PLAIN}x::::::nopassword\n", settings{})
	for _, name := range []string{"a", "b", "c", "d"} {
		if a := known(t, s, name); a.Proof != nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// passes lists which of some passwords let a user in; all others are refused.
func passes(t *testing.T, a *account.Account) string {
	t.Helper()
	if a.Proof == nil {
		return "the backend's"
	}
	var in []string
	for _, pw := range []string{"", "secret", "other", "x", "!", "*", "!!", "!{PLAIN}secret"} {
		switch err := a.Proof.Check(t.Context(), pw); {
		case err == nil:
			in = append(in, pw)
		case !errors.Is(err, account.ErrRefused):
			in = append(in, err.Error())
		}
	}
	return strings.Join(in, " ")
}

func TestWithoutAPasswordNobodyGetsIn(t *testing.T) {
	t.Parallel()
	s := openText(t, "a:\nb\nc::::::::\nd:!{PLAIN}secret\ne:*\nf:!!\ng:{CRYPT}!x\nh:::::::nopassword=n\ni:!{PLAIN}secret::::::nopassword\n", settings{})
	for _, name := range strings.Split("abcdefghi", "") {
		if in := passes(t, known(t, s, name)); in != "" {
			t.Errorf("%s gets in with %q", name, in)
		}
	}
}

func TestTheSchemeIsThatOfPasswordsWithoutOne(t *testing.T) {
	t.Parallel()
	s := openText(t, "a:secret\nb:{PLAIN}secret\nc:!\nd:x\ne:\n", settings{Scheme: "PLAIN"})
	for name, want := range map[string]string{"a": "secret", "b": "secret", "c": "!", "d": "x", "e": ""} {
		if in := passes(t, known(t, s, name)); in != want {
			t.Errorf("%s gets in with %q, want %q", name, in, want)
		}
	}
	if _, err := try(t, settings{Path: "/x", Scheme: "{PLAIN}"}); err == nil || !strings.Contains(err.Error(), "scheme") {
		t.Error(err)
	}
}

func TestPasswordsOfLibpamPwdfileAreUnderstood(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]string{
		"abNANd1rDfiNc[13]": "{CRYPT}abNANd1rDfiNc", "5ebe[34]": "{PLAIN-MD5}5ebe", "5ebe[56]": "{DIGEST-MD5}5ebe",
		"$1$x[13]": "$1$x[13]", "{PLAIN}a[13]": "{PLAIN}a[13]", "[13]": "[13]", "a[1]": "a[1]", "": "", "a": "a",
	} {
		if got := new(Source).withScheme(stored); got != want {
			t.Errorf("%q is %q, want %q", stored, got, want)
		}
	}
}

func TestAShadowHasThePasswords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	today := int(time.Now().Unix() / 86400)
	write(t, filepath.Join(dir, "passwd"), "ann:x:1000:1000::/home/ann:/bin/sh\nold:{PLAIN}other:1::::\nboth:{PLAIN}other:1::::\nnone:x:1::::\nempty:x\nlocked:x\nstar:x\nbang:x\nexpired:x\ntoday:x\ntomorrow:x\nnever:x\nbad:x\nshort:x\nleft:x::::::nopassword\ngone:x::::::nopassword\n")
	write(t, filepath.Join(dir, "shadow"), strings.Join([]string{
		"ann:{PLAIN}secret:19000:0:99999:7:::", "both:{PLAIN}secret:::::::", "empty::::::::", "locked:!{PLAIN}secret:::::::", "star:*:::::::", "bang:!!:::::::",
		"expired:{PLAIN}secret:::::0:0:", fmt.Sprintf("today:{PLAIN}secret::::::%d:", today), fmt.Sprintf("tomorrow:{PLAIN}secret::::::%d:", today+2),
		"never:{PLAIN}secret::::::-1:", "bad:{PLAIN}secret::::::soon:", "short", "left:{PLAIN}secret:::::::", "gone:!:::::::",
	}, "\n"))
	s := openSource(t, settings{Path: dir + "/passwd", Shadow: dir + "/shadow"})
	for name, want := range map[string]string{
		"ann": "secret", "old": "other", "both": "secret", "none": "", "empty": "", "locked": "", "star": "", "bang": "",
		"expired": "", "today": "", "tomorrow": "secret", "never": "secret", "short": "", "left": "the backend's", "gone": "",
	} {
		if in := passes(t, known(t, s, name)); in != want {
			t.Errorf("%s gets in with %q, want %q", name, in, want)
		}
	}
	if _, err := lookup(t, s, "bad"); err == nil || errors.Is(err, account.ErrRefused) || errors.Is(err, account.ErrUnknown) {
		t.Error(err)
	}
	if n := s.Notes(); n != nil {
		t.Errorf("notes: %q", n)
	}
	if _, err := lookup(t, openText(t, "ann:x:1\n", settings{}), "ann"); err == nil || !strings.Contains(err.Error(), "key shadow") {
		t.Error(err)
	}
	if _, err := try(t, settings{Path: dir + "/passwd", Shadow: dir + "/none"}); err == nil || !strings.Contains(err.Error(), dir+"/none") {
		t.Error(err)
	}
}

func TestALockedAccountOfAShadowIsLockedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "passwd"), "ann:x\n")
	write(t, filepath.Join(dir, "shadow"), "ann:{PLAIN}secret:::::::\n")
	s := openSource(t, settings{Path: dir + "/passwd", Shadow: dir + "/shadow"})
	if in := passes(t, known(t, s, "ann")); in != "secret" {
		t.Fatal(in)
	}
	write(t, filepath.Join(dir, "shadow~"), "ann:!{PLAIN}secret:::::::\n")
	if err := os.Rename(filepath.Join(dir, "shadow~"), filepath.Join(dir, "shadow")); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); passes(t, known(t, s, "ann")) != ""; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 15*time.Second {
			t.Fatal("the account is still open")
		}
	}
}

func TestFilesThatOthersMayReadAreNoted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"passwd", "shadow"} {
		write(t, filepath.Join(dir, name), "ann:x\n")
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n := openSource(t, settings{Path: dir + "/passwd"}).Notes(); len(n) != 1 || !strings.Contains(n[0], "chmod 0640 "+dir+"/passwd") {
		t.Errorf("%q", n)
	}
	if n := openSource(t, settings{Path: dir + "/passwd", Shadow: dir + "/shadow"}).Notes(); len(n) != 1 || !strings.Contains(n[0], dir+"/shadow") {
		t.Errorf("%q", n)
	}
}

// The names that stand twice are in the log; the first counts, as in Dovecot.
func TestTheFirstLineOfANameCounts(t *testing.T) {
	t.Parallel()
	s := openText(t, "ann:{PLAIN}secret\nann:{PLAIN}other\n:x\n", settings{})
	if in := passes(t, known(t, s, "ann")); in != "secret" {
		t.Error(in)
	}
	if n := s.Notes(); len(n) != 2 || !strings.Contains(n[0], "passwd:3: no name is at its beginning") || !strings.Contains(n[1], "passwd:1 already") {
		t.Errorf("%q", n)
	}
}

func TestTheUsernameFormatSaysWhatIsLookedFor(t *testing.T) {
	t.Parallel()
	s := openText(t, "ann:{PLAIN}secret\nbob@example.org:{PLAIN}x\n", settings{UsernameFormat: template(t, "%Ln")})
	if a := known(t, s, "ANN@example.org"); a.Name != "ANN@example.org" {
		t.Errorf("%+v", a)
	}
	if _, err := lookup(t, s, "bob@example.org"); !errors.Is(err, account.ErrUnknown) {
		t.Error(err)
	}
}

func TestEachDomainHasItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"a.org", "b.org"} {
		write(t, filepath.Join(dir, d+".passwd"), "ann@"+d+":{PLAIN}"+d+"\n")
	}
	s := openSource(t, settings{Path: dir + "/{domain}.passwd"})
	for _, d := range []string{"a.org", "b.org"} {
		if err := known(t, s, "ann@"+d).Proof.Check(t.Context(), d); err != nil {
			t.Error(err)
		}
	}
	if _, err := lookup(t, s, "ann@c.org"); !errors.Is(err, account.ErrUnknown) {
		t.Error(err)
	}
	write(t, filepath.Join(dir, "c.org.passwd"), "ann@c.org:{PLAIN}x\n")
	known(t, s, "ann@c.org") // there from now on
	reported := map[string]error{}
	s.Examine(t.Context(), func(what string, err error) { reported[what] = err })
	want := map[string]error{dir: nil, dir + "/a.org.passwd": nil, dir + "/b.org.passwd": nil, dir + "/c.org.passwd": nil}
	if !maps.Equal(reported, want) {
		t.Errorf("%v", reported)
	}
}

// A name that comes from outside leads to no other file.
func TestNoNameLeadsOutOfTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inner := filepath.Join(dir, "inner")
	if err := os.MkdirAll(filepath.Join(inner, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"evil", "inner/.hidden", "inner/folder/f", "inner/x"} {
		write(t, filepath.Join(dir, name), "root:{PLAIN}x\nroot@..:{PLAIN}x\n")
	}
	s := openSource(t, settings{Path: inner + "/%d", UsernameFormat: template(t, "%n")})
	known(t, s, "root@x")
	for _, domain := range []string{
		"", ".", "..", "../evil", "/" + dir + "/evil", ".hidden", "folder", "folder/f", "./x", "x/", "x/.", "x/../x", "..\x00", "x\x00", "x/f", "nowhere",
		strings.Repeat("x", 300), strings.Repeat("../", 40) + "etc/passwd",
	} {
		if a, err := lookup(t, s, "root@"+domain); !errors.Is(err, account.ErrUnknown) {
			t.Errorf("%q: %+v, %v", domain, a, err)
		}
	}
}

func TestAFileThatMayNotBeReadIsNotNobody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil { // root too cannot open it
		t.Fatal(err)
	}
	s := openSource(t, settings{Path: dir + "/%d"})
	if _, err := lookup(t, s, "ann@loop"); err == nil || errors.Is(err, account.ErrUnknown) || errors.Is(err, account.ErrRefused) {
		t.Error(err)
	}
}

func TestOnlySoManyFilesAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSource(t, settings{Path: dir + "/%d", UsernameFormat: template(t, "%n")})
	s.files.most = 3
	for i := range 10 {
		write(t, fmt.Sprintf("%s/d%d", dir, i), "ann:{PLAIN}x\n")
		known(t, s, fmt.Sprintf("ann@d%d", i))
		known(t, s, "ann@d0")
		for range 20 {
			_, _ = lookup(t, s, fmt.Sprintf("ann@none%d", i)) // these take nobody's place
		}
	}
	var kept []string
	for _, l := range s.files.all() {
		kept = append(kept, filepath.Base(l.Path()))
	}
	if got := strings.Join(kept, " "); got != "d0 d9 d8" || len(s.files.byPath) != 3 {
		t.Errorf("kept: %s", got)
	}
}

// A disk that has stopped holds up whoever needs it, for as long as there is time, and
// nobody else.
func TestADiskThatDoesNotAnswerDoesNotHoldOthersUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a", "ann:{PLAIN}x\n")
	write(t, dir+"/b", "ann:{PLAIN}x\n")
	s := openSource(t, settings{Path: dir + "/%d", UsernameFormat: template(t, "%n")})
	known(t, s, "ann@a")
	for range mostOpening {
		s.files.opening <- struct{}{}
	}
	known(t, s, "ann@a")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Ask(ctx, account.Query{Name: "ann@b"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for range mostOpening {
		<-s.files.opening
	}
	known(t, s, "ann@b")
}

func TestWhatIsWrongWithTheKeysIsSaid(t *testing.T) {
	t.Parallel()
	for want, set := range map[string]settings{
		"no variable":           {Path: "/etc/%z"},
		"/nowhere/passwd":       {Path: "/nowhere/passwd"},
		"/tmp is not a file":    {Path: "/tmp"},
		"see the keys path and": {Path: "/nowhere/passwd"},
	} {
		if _, err := try(t, set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("ann:{PLAIN}x:1:2:g:/h:/s:host=a:b  proxy userdb_mail=%u", "ann:!x:1::::9:5:", "ann@example.org")
	f.Add("ann", "ann", "a")
	f.Add("ann:x::::::pass=%", "", "'")
	f.Fuzz(func(t *testing.T, line, shadow, name string) {
		if strings.ContainsAny(line+shadow, "\r\n") {
			return
		}
		s := &Source{}
		a, err := s.answer(t.Context(), parse(line), account.Query{Name: name})
		if err == nil && a.Proof == nil && a.Fields["password"] == "" && !isYes(a.Fields["nopassword"]) {
			t.Errorf("%q leaves the password to the backend", line)
		}
		if stored, locked, err := shadowed(shadow, time.Unix(1<<31, 0)); err == nil && (stored == "") != (locked != "") {
			t.Errorf("%q: %q, %q", shadow, stored, locked)
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"ann@example.org", "ann@..", "ann@../x", "a@.b", "a@b/c", "@", "a@\x00"} {
		f.Add(seed)
	}
	path, err := account.ParseTemplate("/srv/auth/{domain}/x-{name}.passwd")
	if err != nil {
		f.Fatal(err)
	}
	files := newFiles(path, secret, slog.Default())
	f.Fuzz(func(t *testing.T, name string) {
		got, ok := files.expand(account.Query{Name: name})
		if dir := filepath.Dir(filepath.Dir(filepath.Clean(got))); ok && (dir != "/srv/auth" || filepath.Clean(got) != got) {
			t.Errorf("%q leads to %q", name, got)
		}
	})
}
