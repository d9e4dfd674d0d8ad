package tickets_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/internal/tickets"
)

// child holds the file when the test binary is to be another process.
const child = "USHER_TEST_TICKETS"

func TestMain(m *testing.M) {
	if file := os.Getenv(child); file != "" {
		process(file)
		return
	}
	os.Exit(m.Run())
}

// process says which keys it has, on the day that it is told, and what is wrong.
func process(file string) {
	at, _ := time.Parse(time.RFC3339, os.Getenv("USHER_TEST_DAY"))
	_, _ = os.Stdin.Read(make([]byte, 1)) // until all are there
	k, err := tickets.Open(file, func() time.Time { return at })
	keys, again := k.Current()
	fmt.Println(names(keys), err, again)
}

// names are short names for keys.
func names(keys [][32]byte) (all []string) {
	for _, k := range keys {
		sum := sha256.Sum256(k[:])
		all = append(all, hex.EncodeToString(sum[:4]))
	}
	return all
}

// other is another process that runs a shell command with $0, the program.
func other(t *testing.T, command, file string, day time.Time) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "sh", "-c", command, program)
	c.Env = append(os.Environ(), child+"="+file, "USHER_TEST_DAY="+day.Format(time.RFC3339))
	c.Stderr = os.Stderr
	return c
}

// The old process and the new one, whoever comes first, also on the day on which
// both find that a new key is due.
func TestProcessesHaveTheSameKeys(t *testing.T) {
	file, c := keyFile(t), &clock{birth}
	before := current(t, open(t, file, c.now))
	said := together(t, file, birth.Add(25*time.Hour), 8)
	c.at = birth.Add(25 * time.Hour)
	now := current(t, open(t, file, c.now))
	if len(now) != 2 || now[1] != before[0] {
		t.Errorf("there are %d keys, or the old one is lost", len(now))
	}
	for i, got := range said {
		if want := fmt.Sprintln(names(now), nil, nil); got != want {
			t.Errorf("process %d says %q, want %q", i, got, want)
		}
	}
}

// together starts n processes that open the file at the same time, and returns
// what each says.
func together(t *testing.T, file string, day time.Time, n int) []string {
	t.Helper()
	start, begin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer start.Close()
	said := make([]string, n)
	var wg sync.WaitGroup
	for i := range said {
		c := other(t, `exec "$0"`, file, day)
		c.Stdin = start
		wg.Go(func() {
			out, err := c.Output()
			said[i] = string(out)
			if err != nil {
				t.Error(err)
			}
		})
	}
	_ = begin.Close() // the end of their input is the sign
	wg.Wait()
	return said
}

func TestOneProcessSeesTheKeysOfTheOther(t *testing.T) {
	file, c := keyFile(t), &clock{birth}
	older, newer := open(t, file, c.now), open(t, file, c.now)
	for day := range 10 {
		c.at = birth.AddDate(0, 0, day)
		if a, b := current(t, older), current(t, newer); !slices.Equal(a, b) {
			t.Fatalf("on day %d they differ", day)
		}
		older, newer = newer, older
	}
}

// A full disk, here a process that may not write a byte, leaves the old keys in
// the file, whole, and the new one in memory.
func TestOnAFullDiskTheOldKeysStay(t *testing.T) {
	file, c := keyFile(t), &clock{birth}
	k := open(t, file, c.now)
	before, text := names(current(t, k)), read(t, file)
	full := other(t, `ulimit -f 0; exec "$0"`, file, birth.Add(25*time.Hour))
	out, err := full.Output()
	if err != nil {
		t.Fatal(err)
	}
	if said := string(out); strings.Count(said, syscall.EFBIG.Error()) != 1 || !strings.Contains(said, " "+before[0]+"]") || !strings.HasSuffix(said, " <nil>\n") {
		t.Errorf("it says %q; want a new key before %s, and one error", said, before)
	}
	if !bytes.Equal(read(t, file), text) {
		t.Error("the file is another")
	}
	if left, _ := os.ReadFile(file + ".new"); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
