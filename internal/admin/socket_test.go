package admin

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func names(t *testing.T, path string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// answering tells which process answers at exactly this path; 0 if none.
func answering(t *testing.T, path string) int {
	t.Helper()
	status, err := client(path).Status(t.Context())
	if err != nil {
		return 0
	}
	return status.Processes[0].PID
}

// stranger listens where an usher could.
func stranger(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// dead leaves a socket behind as a killed process does.
func dead(t *testing.T, path string) {
	t.Helper()
	ln := stranger(t, path)
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

func TestNobodyElseCanOpenTheSocketEvenForAMoment(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // the most careless one
	path := filepath.Join(t.TempDir(), "run", "admin.sock")
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				watch(t, filepath.Dir(path))
			}
		}
	})
	for range 100 {
		s := &Server{Path: path, Daemon: &daemon{pid: 101}, Log: quiet(), pid: 101}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, path + ".101"} {
			if info, err := os.Stat(name); err != nil || info.Mode() != fs.ModeSocket|0o600 {
				t.Fatalf("%s: %v, %v", name, info.Mode(), err)
			}
		}
		same(t, "files", names(t, path), []string{"admin.sock", "admin.sock.101"})
		s.Close()
		same(t, "files after Close", len(names(t, path)), 0)
	}
	close(done)
	watching.Wait()
	info, _ := os.Stat(filepath.Dir(path))
	same(t, "mode of the folder", info.Mode(), fs.ModeDir|0o755)
}

// watch complains of what others could open.
func watch(t *testing.T, dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be opened by others: %v", e.Name(), info.Mode())
		}
	}
}

func TestAnUsherDoesNotTakeTheSocketOfAnother(t *testing.T) {
	path := socket(t)
	start(t, path, &daemon{pid: 101}, false)
	second := &Server{Path: path, Daemon: &daemon{pid: 102}, Log: quiet(), pid: 102}
	err := second.Start()
	if !errors.Is(err, ErrInUse) {
		t.Errorf("the error is %v, want ErrInUse", err)
	}
	says(t, err, "process 101 answers at "+path)
	same(t, "error of Close", second.Close(), nil)
	same(t, "process at the path", answering(t, path), 101)
	same(t, "files", names(t, path), []string{"admin.sock", "admin.sock.101"})
}

func TestAnUsherDoesNotTakeWhatAnotherProgramHolds(t *testing.T) {
	path := socket(t)
	ln := stranger(t, path)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			nc.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
			nc.Close()
		}
	}()
	s := &Server{Path: path, Daemon: &daemon{pid: 102}, Log: quiet(), pid: 102}
	if err := s.Start(); !errors.Is(err, ErrInUse) {
		t.Errorf("the error is %v, want ErrInUse", err)
	}
}

func TestAFileIsNeverReplaced(t *testing.T) {
	for _, successor := range []bool{false, true} {
		path := socket(t)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		s := &Server{Path: path, Daemon: &daemon{pid: 102}, Log: quiet(), Successor: successor, pid: 102}
		says(t, s.Start(), "there is a file that is no socket")
		if text, _ := os.ReadFile(path); string(text) != "mine" {
			t.Errorf("the file holds %q", text)
		}
	}
}

func TestWhatAKilledUsherLeftIsNoObstacle(t *testing.T) {
	path := socket(t)
	dead(t, path)
	dead(t, path+".101") // in a container the next one has the same number
	if err := os.Mkdir(path+".101~", 0o700); err != nil {
		t.Fatal(err)
	}
	dead(t, path+".101~/s")
	start(t, path, &daemon{pid: 101}, false)
	same(t, "process at the path", answering(t, path), 101)
	same(t, "files", names(t, path), []string{"admin.sock", "admin.sock.101"})
}

func TestASuccessorTakesThePathAndTheOldOneStaysReachable(t *testing.T) {
	path := socket(t)
	older := start(t, path, &daemon{pid: 101}, false)
	newer := start(t, path, &daemon{pid: 102}, true)
	same(t, "process at the path", answering(t, path), 102)
	same(t, "process at the old one's own", answering(t, path+".101"), 101)

	same(t, "error of Close", older.Close(), nil)
	same(t, "process at the path when the old one has gone", answering(t, path), 102)
	same(t, "files", names(t, path), []string{"admin.sock", "admin.sock.102"})
	same(t, "error of Close", newer.Close(), nil)
	same(t, "files after all", len(names(t, path)), 0)
}

func TestASuccessorThatFailsGivesThePathBack(t *testing.T) {
	path := socket(t)
	older := start(t, path, &daemon{pid: 101}, false)
	newer := start(t, path, &daemon{pid: 102}, true)
	newer.Close()
	same(t, "process at the path", answering(t, path), 0)
	status, err := Dial(path).Status(t.Context())
	same(t, "error", err, nil)
	same(t, "process that a client finds all the same", status.Processes[0].PID, 101)
	same(t, "error of Publish", older.Publish(), nil)
	same(t, "error of Publish again", older.Publish(), nil)
	same(t, "process at the path", answering(t, path), 101)
	same(t, "files", names(t, path), []string{"admin.sock", "admin.sock.101"})
}

func TestARetiredProcessIsFoundWhenItsSuccessorWasKilled(t *testing.T) {
	path, older := socket(t), &daemon{pid: 101, sessions: []Session{bob(101)}}
	start(t, path, older, false)
	os.Remove(path)
	dead(t, path)
	dead(t, path+".102")
	got, err := Dial(path).Kick(t.Context(), Selector{User: "bob*"})
	same(t, "error", err, nil)
	same(t, "answer", got, Kicked{Kicked: 1})
}

// Who asks while one process replaces the other is answered by either.
func TestNoQuestionIsLostInATakeover(t *testing.T) {
	path := socket(t)
	current := start(t, path, &daemon{pid: 1}, false)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asked := make(chan struct{}, 1<<16)
	asking.Go(func() {
		for ctx.Err() == nil {
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
		}
	})
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				if _, err := client(path).Status(t.Context()); err != nil { // it looks nowhere else
					t.Error(err)
				}
				asked <- struct{}{}
			}
		})
	}
	for pid := 2; pid < 40; pid++ {
		<-asked
		next := start(t, path, &daemon{pid: pid}, true)
		<-asked
		same(t, "error of Close", current.Close(), nil)
		current = next
	}
	cancel()
	asking.Wait()
}

func TestThePathIsNotLostWhenOldAndNewMeet(t *testing.T) {
	path := socket(t)
	current := start(t, path, &daemon{pid: 1}, false)
	for pid := 2; pid < 200; pid++ {
		var both sync.WaitGroup
		both.Go(func() { current.Close() })
		next := start(t, path, &daemon{pid: pid}, true)
		both.Wait()
		if got := answering(t, path); got != pid {
			t.Fatalf("process %d answers at the path, want %d", got, pid)
		}
		current = next
	}
}

func TestADeadProcessIsForgotten(t *testing.T) {
	path, _, _ := two(t)
	dead(t, path+".999")
	status, err := Dial(path).Status(t.Context())
	same(t, "error", err, nil)
	same(t, "number of processes", len(status.Processes), 2)
	same(t, "missing", status.Missing, Missing{})
	same(t, "files", names(t, path), []string{"admin.sock", "admin.sock.101", "admin.sock.102"})
}

func TestWhatIsNoProcessIsLeftAlone(t *testing.T) {
	path, _, _ := two(t)
	for _, name := range []string{".old", ".0", ".007", ".-5", ".101.", "x.5", ".99999999999999999999"} {
		dead(t, path+name)
	}
	before := names(t, path)
	if _, err := Dial(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
	same(t, "files", names(t, path), before)
}

func TestAProcessThatHangsIsNamed(t *testing.T) {
	path, _, newer := two(t)
	stranger(t, path+".999") // accepts nobody; the kernel does
	begin := time.Now()
	got, err := Dial(path).Kick(t.Context(), Selector{User: "*"})
	same(t, "error", err, nil)
	same(t, "number of sessions kicked", got.Kicked, 2)
	if len(got.Unreachable) != 1 || got.Unreachable[0].PID != 999 || !strings.Contains(got.Unreachable[0].Error, "deadline") {
		t.Errorf("unreachable are %+v, want process 999", got.Unreachable)
	}
	if took := time.Since(begin); took > 2*siblingTime {
		t.Errorf("it took %v", took)
	}
	same(t, "sessions left", len(newer.Sessions(Selector{})), 0)
}

func TestAPathThatCannotBeIsTold(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, words := range map[string]string{
		filepath.Join(dir, strings.Repeat("x", 107)):      "bytes, and a unix socket's name has room for 96; choose a shorter admin in [server]",
		filepath.Join(dir, "no", "such", "admin.sock"):    "create " + filepath.Join(dir, "no") + ", or choose another admin in [server]",
		filepath.Join(file, "admin.sock"):                 "not a directory",
		filepath.Join(dir, "file"):                        "there is a file that is no socket",
		filepath.Join(dir, "new-folder", "x", "y", "z.s"): "no such file or directory",
	} {
		s := &Server{Path: path, Daemon: &daemon{pid: 101}, Log: quiet(), pid: 101}
		err := s.Start()
		says(t, err, words, "admin socket")
		same(t, "error of Close", s.Close(), nil)
	}
	same(t, "files", names(t, file), []string{"file"})
}

func TestTheLongestPathWorks(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "u") // t.TempDir has a name that is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, strings.Repeat("x", maxPath-len(dir)-1))
	start(t, path, &daemon{pid: 4194304}, false)
	same(t, "process at the path", answering(t, path), 4194304)
}

// In a folder like /tmp anybody could play an usher that was replaced.
func TestWhatOthersHavePlantedIsNoProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := filepath.Join(t.TempDir(), "s")
	for _, pid := range []int{7, 8} {
		if err := os.WriteFile(sibling(path, pid), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	if err := os.Chown(sibling(path, 7), nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if got := siblings(path); len(got) != 1 || got[0] != 8 {
		t.Errorf("the processes are %d", got)
	}
	if err := os.Chown(filepath.Dir(path), nobody, nobody); err != nil { // as /run/usher belongs to usher
		t.Fatal(err)
	}
	if got := siblings(path); len(got) != 2 {
		t.Errorf("in a folder of the same user the processes are %d", got)
	}
}
