package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher/internal/admin"
)

func TestATraceGoesOnOverAReload(t *testing.T) {
	backend, a := mailServer(t), free(t)
	r := runWith(t, at(backend, a))
	one, err := r.Trace(admin.Watch{User: "A?n"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.Trace(admin.Watch{Network: "127.0.0.1", Protocol: "pop3"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	loggedIn(t, a)
	if err := r.reads(at(backend, a)); err != nil {
		t.Fatal(err)
	}
	loggedIn(t, a)
	if list := r.Traces(); len(list) != 2 || list[0].User != "A?n" || list[0].Conversations != 2 || list[1].Network != "127.0.0.1/32" || list[1].Conversations != 0 {
		t.Errorf("there are %+v", list)
	}
	if n := r.Untrace(admin.Untrace{ID: one.ID}); n != 1 {
		t.Errorf("%d have ended", n)
	}
	for end := time.Now().Add(10 * time.Second); len(r.Traces()) > 1 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if list := r.Traces(); len(list) != 1 || list[0].ID != other.ID {
		t.Errorf("there are left %+v", list)
	}
	files, err := filepath.Glob(filepath.Join(one.Folder, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("it has written %q %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(text), `-- admitted to default/`) || !strings.Contains(string(text), `B> "L LOGIN …"`) || strings.Contains(string(text), "secret") {
			t.Errorf("it is %v\n%s", err, text)
		}
	}
}

func TestATraceThatMakesNoSenseDoesNotBegin(t *testing.T) {
	r := runWith(t, at(mailServer(t), free(t)))
	for w, want := range map[admin.Watch]string{
		{Network: "nonsense"}:               "neither an address nor a network",
		{User: "ann", Protocol: "imaps"}:    `no protocol "imaps"`,
		{User: "ann", Protocol: "managing"}: `no protocol`,
	} {
		if _, err := r.Trace(w, time.Hour); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	if _, err := r.Trace(admin.Watch{User: "ann"}, 25*time.Hour); err == nil || !strings.Contains(err.Error(), "24h0m0s") {
		t.Errorf("for a day and an hour: %v", err)
	}
	r.become(retired)
	if _, err := r.Trace(admin.Watch{User: "ann"}, time.Hour); err == nil || !strings.Contains(err.Error(), "it is retired") {
		t.Errorf("in a process without new clients: %v", err)
	}
}

// A folder of traces is no reason not to start.
func TestTheStateFolderMayHoldTraces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give folders away")
	}
	dir := t.TempDir()
	s := build(t, dir, settings("127.0.0.1:1", "1s"))
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(state, traceFolder, "one"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.giveState(65534, 65534); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(state, "mail.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.giveState(65533, 65533); err == nil {
		t.Error("a folder with other things in it is given away")
	}
}
