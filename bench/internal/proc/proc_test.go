//go:build linux

package proc

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestNamesOfProgramsMayHoldAnything(t *testing.T) {
	for stat, want := range map[string]process{
		"7 (nginx) S 3 7 7 0 -1 4194560 1 2 0 0 5 6 11 12 20 0 1":    {7, 3, 230 * time.Millisecond},
		"7 (a ) R 9 (b) S 3 7 7 0 -1 4194560 1 2 0 0 5 6 0 1 20 0 1": {7, 3, 10 * time.Millisecond},
		"7 (zombie) Z 3 7 7 0 -1 4194560 1 2 0 0 5 6 11 12 20 0 1":   {},
		"7 (cut) S 3": {},
		"":            {},
	} {
		if got, ok := parse([]byte(stat)); got != want || ok != (want != process{}) {
			t.Errorf("parse(%q) = %+v, %v, want %+v", stat, got, ok, want)
		}
	}
}

// What a proxy's child has used must not vanish with the child, and a child that
// lives counts as well.
func TestChildrenCountWhileTheyLiveAndAfterwards(t *testing.T) {
	const burn = `i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done`
	for name, script := range map[string]string{
		"ended":  `(` + burn + `); echo done; read x`,
		"living": `(` + burn + `; echo done; read x) <&0`,
	} {
		t.Run(name, func(t *testing.T) {
			c := exec.Command("sh", "-c", script+"; true")
			in, _ := c.StdinPipe()
			out, _ := c.StdoutPipe()
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer c.Wait()
			defer in.Close()
			if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			used, err := CPU(c.Process.Pid)
			if err != nil || used < 2*tick {
				t.Errorf("it has used %v, %v", used, err)
			}
		})
	}
}

func TestMemoryOfAProcessIsFound(t *testing.T) {
	n, err := PSS(os.Getpid())
	if err != nil || n < 1<<20 {
		t.Errorf("PSS() = %d, %v", n, err)
	}
}

func TestAProcessThatHasEndedIsNoMeasurement(t *testing.T) {
	c := exec.Command("true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if used, err := CPU(c.Process.Pid); err == nil {
		t.Errorf("it has used %v", used)
	}
}
