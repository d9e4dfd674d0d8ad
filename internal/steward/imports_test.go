package steward_test

import (
	"os/exec"
	"strings"
	"testing"
)

// What the relay process runs knows of nothing but relaying: no mail protocol, no
// configuration, no account.
func TestTheRelayProcessKnowsNoMailProtocol(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "usher/internal/steward").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	allowed := map[string]bool{"usher/internal/steward": true, "usher/internal/relay": true, "usher/internal/relay/record": true, "usher/internal/slab": true, "usher/internal/thrift": true}
	for path := range strings.FieldsSeq(string(out)) {
		if !allowed[path] && !strings.HasPrefix(path, "golang.org/x/sys/") && !strings.HasPrefix(path, "golang.org/x/crypto/") {
			t.Errorf("it imports %s", path)
		}
	}
}
