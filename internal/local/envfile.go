package local

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxLine is how long a line of an environment file may be.
const maxLine = 64 << 10

var (
	assignment = regexp.MustCompile(`^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$`)
	variable   = regexp.MustCompile(`\$(\w+|\{\w+\})`)
)

// ReadEnv reads a file of variables in the shell's form, as Courier's imapd and pop3d
// files are: NAME=value, in quotes or not, with $NAME for what was set before. A line
// that is neither that nor a comment is an error, as nobody runs a shell here. The
// result is "NAME=value", each name once.
func ReadEnv(r io.Reader) (list []string, err error) {
	values, order := map[string]string{}, []string(nil)
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		m := assignment.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("line %d is no NAME=value: %.80q", n, line)
		}
		v, ok := unquote(m[2], values)
		if !ok {
			return nil, fmt.Errorf("line %d: %.80q is for a shell, and nobody runs one here", n, line)
		}
		if _, again := values[m[1]]; !again {
			order = append(order, m[1])
		}
		values[m[1]] = v
	}
	for _, name := range order {
		list = append(list, name+"="+values[name])
	}
	return list, in.Err()
}

// unquote reads one value as a shell would, if it is simple enough.
func unquote(s string, set map[string]string) (string, bool) {
	switch {
	case strings.HasPrefix(s, "'"):
		v, rest, closed := strings.Cut(s[1:], "'")
		return v, closed && isComment(rest)
	case strings.HasPrefix(s, `"`):
		v, rest, closed := strings.Cut(s[1:], `"`)
		return fill(v, set), closed && isComment(rest) && !strings.ContainsAny(v, "`\\\x00") && !strings.Contains(v, "$(")
	}
	v, comment, _ := strings.Cut(s, " ")
	return fill(v, set), isComment(" "+comment) && !strings.ContainsAny(v, "`\\'\"();&|<>\x00")
}

func isComment(rest string) bool {
	rest = strings.TrimSpace(rest)
	return rest == "" || rest[0] == '#'
}

func fill(v string, set map[string]string) string {
	return variable.ReplaceAllStringFunc(v, func(name string) string { return set[strings.Trim(name, "${}")] })
}
