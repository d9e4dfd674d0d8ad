package password

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"usher/internal/need"
)

// clears are passwords for Dovecot: ASCII, UTF-8, and one longer than a block.
var clears = []string{"secret", "pässword $1$ {x}", strings.Repeat("0123456789", 7)}

func TestWhatDovecotMakesCanBeRead(t *testing.T) {
	doveadm := need.Program(t, "doveadm")
	list, err := exec.Command(doveadm, "pw", "-l").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(list))
	names = slices.DeleteFunc(names, func(name string) bool { return find(name) == nil })
	if len(names) < 20 {
		t.Errorf("doveadm and we have only %v in common", names)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, clear := range clears {
				readsDovecot(t, doveadm, name, clear)
			}
			readsDovecot(t, doveadm, name+".b64", clears[0])
			readsDovecot(t, doveadm, name+".hex", clears[0])
		})
	}
}

func readsDovecot(t *testing.T, doveadm, scheme, clear string) {
	out, err := exec.Command(doveadm, "pw", "-s", scheme, "-p", clear).Output()
	if err != nil {
		t.Fatalf("doveadm pw -s %s: %v", scheme, err)
	}
	hash := strings.TrimSuffix(string(out), "\n")
	if ok, err := Verify(hash, clear); !ok || err != nil {
		t.Errorf("Verify(%s, %q) = %v, %v", hash, clear, ok, err)
	}
	if ok, err := Verify(hash, "x"+clear); ok || err != nil {
		t.Errorf("Verify(%s, %q) = %v, %v; want false", hash, "x"+clear, ok, err)
	}
}

func TestDovecotReadsWhatIsMade(t *testing.T) {
	doveadm := need.Program(t, "doveadm")
	for _, name := range Makeable() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hash, err := Make(name, "pässword")
			if err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(doveadm, "pw", "-t", hash, "-p", "pässword").CombinedOutput(); err != nil {
				t.Errorf("doveadm refuses %s: %v %s", hash, err, out)
			}
			if out, err := exec.Command(doveadm, "pw", "-t", hash, "-p", "passwörd").CombinedOutput(); err == nil {
				t.Errorf("doveadm takes %s for another: %s", hash, out)
			}
		})
	}
}
