//go:build linux

package spawn

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// creating is a policy that makes homes.
func creating(c Create) func(*Policy) {
	return func(p *Policy) { p.Create = &c }
}

// names are what is in a folder.
func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		all = append(all, e.Name())
	}
	return all
}

// owned tells the owner and the mode of a file.
func owned(t testing.TB, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d %s", st.Uid, st.Gid, info.Mode())
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// A link is followed nowhere on the way to a home: it could lead to somebody else's.
func TestLinksOnTheWayAreRefused(t *testing.T) {
	needRoot(t)
	for _, create := range []bool{false, true} {
		s := open(t, func(p *Policy) {
			if create {
				p.Create = &Create{}
			}
		})
		elsewhere := folderOf(t)
		deep := filepath.Join(elsewhere, "b", "ann")
		must(t, os.MkdirAll(deep, 0o755), os.Chown(deep, ann, ann),
			os.Symlink(deep, filepath.Join(s.homes, "link")),
			os.Symlink(elsewhere, filepath.Join(s.homes, "a")),
			os.Symlink("/nowhere", filepath.Join(s.homes, "dangling")),
			os.WriteFile(filepath.Join(s.homes, "file"), nil, 0o600))
		for _, way := range []string{"link", "a/b/ann", "dangling", "dangling/ann", "file", "file/ann", "a/new", "a/new/new"} {
			got := s.refused(Request{Program: "true", UID: ann, GID: ann, Home: filepath.Join(s.homes, way)})
			contains(t, got, "is a link or no folder")
		}
		if got := names(t, elsewhere); !slices.Equal(got, []string{"b"}) {
			t.Errorf("behind the link there is %v", got)
		}
	}
}

// A home that is not the user's alone is refused, and the reason says what to do.
func TestHomesThatAreNotTheUsersAreRefused(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	for name, c := range map[string]struct {
		mode     os.FileMode
		uid, gid int
		why      string
	}{
		"foreign":          {0o755, bob, ann, "belongs to uid 61002"},
		"root's":           {0o777, 0, 0, "belongs to uid 0"},
		"unreadable":       {0, ann, ann, "its owner cannot use it"},
		"world-writable":   {0o777, ann, ann, "may write there"},
		"foreign-writable": {0o770, ann, bob, "may write there"},
	} {
		dir := filepath.Join(s.homes, name)
		must(t, os.Mkdir(dir, 0o700), os.Chown(dir, c.uid, c.gid), os.Chmod(dir, c.mode))
		got := s.refused(Request{Program: "true", UID: ann, GID: ann, Home: dir})
		contains(t, got, c.why)
	}
	contains(t, s.refused(Request{Program: "true", UID: ann, GID: ann, Home: s.homes + "/missing"}), "is missing")
	shared := filepath.Join(s.homes, "shared")
	must(t, os.Mkdir(shared, 0o700), os.Chown(shared, ann, ann), os.Chmod(shared, 0o770))
	s.says(Request{Program: "true", UID: ann, GID: ann, Home: shared})
}

// Who owns a folder on the way could put another home there.
func TestFoldersOnTheWayAreTrusted(t *testing.T) {
	needRoot(t)
	s := open(t, nil)
	for name, c := range map[string]struct {
		uid  int
		mode os.FileMode
		why  string
	}{
		"bobs": {bob, 0o755, "it must be root's"},
		"open": {0, 0o777, "chmod o-w"},
	} {
		dir := filepath.Join(s.homes, name)
		home := filepath.Join(dir, "ann")
		must(t, os.MkdirAll(home, 0o755), os.Chown(home, ann, ann), os.Chown(dir, c.uid, c.uid), os.Chmod(dir, c.mode))
		contains(t, s.refused(Request{Program: "true", UID: ann, GID: ann, Home: home}), c.why)
	}
}

// Without folders of homes any home will do, but it must be there, and no link.
func TestWithoutFoldersOfHomesTheyMustExist(t *testing.T) {
	needRoot(t)
	s := open(t, func(p *Policy) { p.Homes = nil })
	r := s.request("cat")
	echoes(t, first(s.start(r)))
	r.Home = s.homes + "/new"
	contains(t, s.refused(r), "is missing")
	must(t, os.Symlink(s.homes+"/ann", r.Home))
	contains(t, s.refused(r), "is a link")
}

// The first login makes the home, with what belongs in it.
func TestFirstLoginMakesTheHome(t *testing.T) {
	needRoot(t)
	skel := folderOf(t)
	must(t, os.MkdirAll(skel+"/.config/mail", 0o755),
		os.WriteFile(skel+"/.config/mail/rules", []byte("rules"), 0o644),
		os.WriteFile(skel+"/tool", []byte("tool"), 0o755), os.Chmod(skel+"/tool", 0o755|os.ModeSetuid|os.ModeSetgid))
	s := open(t, creating(Create{Mode: 0o710, Skeleton: skel, Maildir: "mail/Maildir", Hook: []string{"/bin/sh", "-c", "id -u > who; id -G >> who; pwd -P > where; echo $HOME >> where"}}))
	home := s.homes + "/d/e/ann"
	if out := s.says(Request{Program: "sh", UID: ann, GID: bob, Home: home, Args: []string{"pwd; cat who"}}); out != fmt.Sprintf("%s\n%d\n%d\n", home, ann, bob) {
		t.Errorf("it says %q", out)
	}
	for path, want := range map[string]string{
		s.homes + "/d":               "0:0 drwxr-xr-x",
		s.homes + "/d/e":             "0:0 drwxr-xr-x",
		home:                         "61001:61002 drwx--x---",
		home + "/mail":               "61001:61002 drwx------",
		home + "/mail/Maildir/cur":   "61001:61002 drwx------",
		home + "/mail/Maildir/new":   "61001:61002 drwx------",
		home + "/mail/Maildir/tmp":   "61001:61002 drwx------",
		home + "/.config/mail/rules": "61001:61002 -rw-r--r--",
		home + "/tool":               "61001:61002 -rwxr-xr-x",
		home + "/where":              "61001:61002 -rw-------",
	} {
		if got := owned(t, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	where, _ := os.ReadFile(home + "/where")
	if want := fmt.Sprintf("%s/d/e/%sann\n%s\n", s.homes, stale, home); string(where) != want {
		t.Errorf("the hook ran in %q, want %q", where, want)
	}
	if got := names(t, s.homes+"/d/e"); !slices.Equal(got, []string{"ann"}) {
		t.Errorf("beside the home there is %v", got)
	}
}

// Folders of homes need not be root's: a vmail user may own them, for himself alone.
func TestHomesBeneathAFolderThatRootDoesNotOwn(t *testing.T) {
	needRoot(t)
	const vmail = 61003
	s := open(t, creating(Create{Maildir: "Maildir"}))
	must(t, os.Chown(s.homes, vmail, vmail), os.Chmod(s.homes, 0o700))
	for _, uid := range []uint32{ann, vmail} {
		home := fmt.Sprintf("%s/example.org/%d", s.homes, uid)
		out := s.says(Request{Program: "sh", UID: uid, GID: uid, Home: home, Args: []string{"echo *"}})
		if out != "Maildir\n" {
			t.Errorf("in the home of %d there is %q", uid, out)
		}
		if got, want := owned(t, home), fmt.Sprintf("%d:%[1]d drwx------", uid); got != want {
			t.Errorf("%s is %s, want %s", home, got, want)
		}
	}
	if got := owned(t, s.homes+"/example.org"); got != "61003:61003 drwxr-xr-x" {
		t.Errorf("the folder between is %s", got)
	}
}

// Twenty logins at once make one home, whole.
func TestTwentyFirstLoginsMakeOneHome(t *testing.T) {
	needRoot(t)
	s := open(t, creating(Create{Maildir: "Maildir", Hook: []string{"/bin/sh", "-c", "echo made >> log"}}))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			nc, _, err := s.Start(t.Context(), Request{Program: "cat", UID: ann, GID: ann, Home: s.homes + "/x/ann"})
			if err != nil {
				t.Error(err)
				return
			}
			nc.Close()
		})
	}
	all.Wait()
	if log, err := os.ReadFile(s.homes + "/x/ann/log"); err != nil || string(log) != "made\n" {
		t.Errorf("the hook ran so often: %q, %v", log, err)
	}
	if got := names(t, s.homes+"/x"); !slices.Equal(got, []string{"ann"}) {
		t.Errorf("there is %v", got)
	}
}

// Two helpers that make the same home do not take it away from each other.
func TestTwoHelpersMakeOneHome(t *testing.T) {
	needRoot(t)
	change := creating(Create{Maildir: "Maildir", Hook: []string{"/bin/sh", "-c", "echo made >> log"}})
	a := open(t, change)
	b := open(t, func(p *Policy) { change(p); p.Homes = []string{a.homes} })
	for i := range 20 {
		home := fmt.Sprintf("%s/%d", a.homes, i)
		var both sync.WaitGroup
		for _, s := range []*stage{a, b} {
			both.Go(func() {
				nc, _, err := s.Start(t.Context(), Request{Program: "cat", UID: ann, GID: ann, Home: home})
				if err != nil {
					t.Error(err)
					return
				}
				nc.Close()
			})
		}
		both.Wait()
		if log, err := os.ReadFile(home + "/log"); err != nil || string(log) != "made\n" {
			t.Fatalf("home %d: the hook ran so often: %q, %v", i, log, err)
		}
	}
	if got := names(t, a.homes); len(got) != 20 {
		t.Errorf("there is %v", got)
	}
}

// On a full disk there is an error that says so, and nothing is left behind.
func TestFullDiskLeavesNothingBehind(t *testing.T) {
	needRoot(t)
	skel := folderOf(t)
	must(t, os.WriteFile(skel+"/big", make([]byte, 200<<10), 0o644))
	for name, c := range map[string]struct {
		options string
		create  Create
	}{
		"no block": {"size=64k", Create{Maildir: "Maildir", Skeleton: skel}},
		"no inode": {"nr_inodes=4", Create{Maildir: "Maildir"}},
		"no home":  {"nr_inodes=1", Create{Maildir: "Maildir"}},
	} {
		s := open(t, creating(c.create))
		if err := unix.Mount("spawn", s.homes, "tmpfs", 0, c.options+",mode=755"); errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
			t.Skip("no file system can be mounted here")
		} else if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(s.homes, unix.MNT_DETACH) })
		text, no := s.failed(Request{Program: "true", UID: ann, GID: ann, Home: s.homes + "/ann"})
		contains(t, text, "no space left on device")
		if no {
			t.Errorf("%s: it is a refusal", name)
		}
		if got := names(t, s.homes); len(got) > 0 {
			t.Errorf("%s: there is left %v", name, got)
		}
		must(t, unix.Unmount(s.homes, 0)) // and nothing keeps it
	}
}

// A home whose hook fails is not there.
func TestFailedHookLeavesNoHome(t *testing.T) {
	needRoot(t)
	s := open(t, creating(Create{Maildir: "Maildir", Hook: []string{"/bin/sh", "-c", "mkdir -p a/b; ln -s /etc a/etc; touch a/b/c; echo no quota >&2; exit 3"}}))
	text, no := s.failed(Request{Program: "true", UID: ann, GID: ann, Home: s.homes + "/ann", ID: "s9"})
	if contains(t, text, "exit status 3"); no {
		t.Errorf("%q is a refusal", text)
	}
	s.wait("what the hook said", func(e Event) bool { return e.ID == "s9" && e.Program == "hook" && e.Line == "no quota" })
	if got := names(t, s.homes); len(got) > 0 {
		t.Errorf("there is left %v", got)
	}
}

// A skeleton is copied without following links, and only so much of it.
func TestSkeletonIsBounded(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		fill func(dir string) error
		why  string
	}{
		"link":  {func(dir string) error { return os.Symlink("/etc/shadow", dir+"/x") }, "only files and folders"},
		"pipe":  {func(dir string) error { return unix.Mkfifo(dir+"/x", 0o644) }, "only files and folders"},
		"large": {func(dir string) error { return os.WriteFile(dir+"/x", make([]byte, maxBytes+1), 0o644) }, "bytes in all"},
		"many": {func(dir string) (err error) {
			for i := range maxThings + 1 {
				err = errors.Join(err, os.Mkdir(fmt.Sprintf("%s/%d", dir, i), 0o755))
			}
			return err
		}, "more than"},
	} {
		skel := folderOf(t)
		must(t, c.fill(skel))
		s := open(t, creating(Create{Skeleton: skel}))
		text, _ := s.failed(Request{Program: "true", UID: ann, GID: ann, Home: s.homes + "/ann"})
		if !strings.Contains(text, c.why) || len(names(t, s.homes)) > 0 {
			t.Errorf("%s: %q; there is %v", name, text, names(t, s.homes))
		}
	}
}

// What a helper left that was killed while it made a home is taken away by the next.
func TestLeftoversAreTakenAway(t *testing.T) {
	needRoot(t)
	s := open(t, creating(Create{Maildir: "Maildir"}))
	left := filepath.Join(s.homes, stale+"ann")
	must(t, os.MkdirAll(left+"/Maildir/cur/deep", 0o700), os.Symlink("/etc", left+"/etc"))
	must(t, filepath.WalkDir(left, func(path string, _ os.DirEntry, _ error) error { return os.Lchown(path, ann, ann) }))
	if out := s.says(Request{Program: "sh", UID: ann, GID: ann, Home: s.homes + "/ann", Args: []string{"echo *"}}); out != "Maildir\n" {
		t.Errorf("in the home there is %q", out)
	}
	if got := names(t, s.homes); !slices.Equal(got, []string{"ann"}) {
		t.Errorf("there is %v", got)
	}
}

// What somebody else has put where a home is to be made is not touched: no link is
// followed, and nothing is given away or emptied that nobody here has made.
func TestWhatStandsInTheWayIsNotTouched(t *testing.T) {
	needRoot(t)
	s := open(t, creating(Create{Maildir: "Maildir"}))
	secret := filepath.Join(folderOf(t), "secret")
	must(t, os.Mkdir(secret, 0o700), os.Symlink(secret, filepath.Join(s.homes, stale+"d")))
	s.failed(Request{Program: "true", UID: ann, GID: ann, Home: s.homes + "/d/ann"})
	if got := owned(t, secret); got != "0:0 drwx------" {
		t.Errorf("behind the link there is %s", got)
	}
	anns := s.home("ann", ann)
	for _, uid := range []int{0, bob} {
		left := filepath.Join(anns, stale+"mail")
		must(t, os.MkdirAll(left+"/deep", 0o700), os.Chown(left, uid, uid), os.Chown(left+"/deep", uid, uid))
		text, _ := s.failed(Request{Program: "true", UID: ann, GID: ann, Home: anns + "/mail"})
		contains(t, text, "nobody here has made it")
		if got := names(t, left); !slices.Equal(got, []string{"deep"}) {
			t.Errorf("in the folder of uid %d there is %v", uid, got)
		}
		must(t, os.RemoveAll(left))
	}
}

// Whose home it is to be can lock what was left of it, and keep nobody waiting by that.
func TestLocksAreNotWaitedForForEver(t *testing.T) {
	dir := t.TempDir()
	var fds [2]int
	for i := range fds {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		fds[i] = fd
	}
	must(t, unix.Flock(fds[0], unix.LOCK_EX))
	if err := lockInTime(fds[1], time.Millisecond); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("it is %v", err)
	}
	must(t, unix.Flock(fds[0], unix.LOCK_UN), lockInTime(fds[1], lockTime))
	w := &worker{policy: &Policy{Homes: []string{dir}, Create: &Create{}}, making: map[string]chan struct{}{}}
	client, session, err := pair(unix.SOCK_STREAM)
	must(t, err, client.Close())
	defer unix.Close(session)
	made := make(chan struct{})
	close(made)
	w.making[dir+"/ann"] = made // for ever
	if _, err := w.openHome(&Request{UID: ann, GID: ann, Home: dir + "/ann"}, session); err == nil || !strings.Contains(err.Error(), "nobody waits") {
		t.Errorf("whose caller has left: %v", err)
	}
}
