package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// How much a Request may say beside the length of the whole.
const (
	maxArgs = 64
	maxVars = 256
	maxPath = 4000 // Linux takes 4095
)

// stale begins the names of homes that are being made. No home may be called so.
const stale = ".usher-new."

func refuse(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// check tells whether a helper can work by the policy.
func (p *Policy) check() error {
	if len(p.Programs) == 0 {
		return fmt.Errorf("the policy names no program")
	}
	for name, prog := range p.Programs {
		if err := prog.check(); err != nil {
			return fmt.Errorf("program %q: %w", name, err)
		}
	}
	for _, root := range p.Homes {
		if err := cleanPath(root); err != nil {
			return fmt.Errorf("folder of homes %w", err)
		}
	}
	if m := p.Limits.Memory; m != 0 && m < MinMemory {
		return fmt.Errorf("a memory limit of %d bytes is too small: the least is %d", m, MinMemory)
	}
	if p.Create == nil {
		return nil
	}
	if len(p.Homes) == 0 {
		return fmt.Errorf("homes are to be made, but it is not said beneath which folders")
	}
	return p.Create.check()
}

func (c *Create) check() error {
	if c.Mode&^os.ModePerm != 0 || c.Mode&0o002 != 0 || (c.Mode != 0 && c.Mode&0o700 != 0o700) {
		return fmt.Errorf("new homes cannot have mode %#o: the user needs rwx, others may not write", uint32(c.Mode))
	}
	if c.Skeleton != "" {
		if err := cleanPath(c.Skeleton); err != nil {
			return fmt.Errorf("skeleton %w", err)
		}
	}
	if c.Maildir != "" && !filepath.IsLocal(c.Maildir) {
		return fmt.Errorf("maildir %q would not be in the home", c.Maildir)
	}
	if len(c.Hook) > 0 && !filepath.IsAbs(c.Hook[0]) {
		return fmt.Errorf("hook %q is no absolute path", c.Hook[0])
	}
	return nil
}

func (p Program) check() error {
	if err := cleanPath(p.Path); err != nil {
		return err
	}
	if len(p.Args) == 0 {
		return fmt.Errorf("it has no argument: the first is its name")
	}
	for _, v := range p.Env {
		if err := cleanVar(v); err != nil {
			return err
		}
	}
	if p.More < 0 || p.More > maxArgs {
		return fmt.Errorf("%d arguments more: at most %d", p.More, maxArgs)
	}
	if len(p.Begins) > p.More {
		return fmt.Errorf("it is said how %d arguments begin, but there are %d at most", len(p.Begins), p.More)
	}
	return nil
}

// permits tells whether the policy allows a request. Whether the home is as it
// should be shows when it is opened.
func (p *Policy) permits(r *Request) error {
	prog, ok := p.Programs[r.Program]
	switch {
	case !ok:
		return refuse("there is no program %.80q: name it in [local], and restart usher, since a reload cannot change what the helper may start", r.Program)
	case r.UID == 0 || r.GID == 0:
		return refuse("uid %d, gid %d: nothing is started as root", r.UID, r.GID)
	case r.UID < p.MinUID || r.UID == ^uint32(0): // -1 would change nothing
		return refuse("uid %d is below the least that is served, %d", r.UID, p.MinUID)
	case r.GID < p.MinGID || r.GID == ^uint32(0):
		return refuse("gid %d is below the least that is served, %d", r.GID, p.MinGID)
	case len(r.ID) > 200 || len(r.User) > 1000:
		return refuse("the name of the session or of the user is too long")
	}
	if err := prog.takes(r.Args); err != nil {
		return err
	}
	if err := prog.hears(r.Env); err != nil {
		return err
	}
	for _, v := range r.Env {
		if home, is := strings.CutPrefix(v, "HOME="); is && home != r.Home {
			return refuse("HOME is %.200q, but the home is %.200q: only that has been looked at", home, r.Home)
		}
	}
	return nil
}

// takes tells whether a Request may add these arguments. Options are not among
// them: with Dovecot's -o anything could be run.
func (p Program) takes(args []string) error {
	if len(args) > p.More {
		return refuse("the program takes %d more arguments, not %d", p.More, len(args))
	}
	for i, a := range args {
		if i < len(p.Begins) && !strings.HasPrefix(a, p.Begins[i]) {
			return refuse("argument %.80q does not begin with %.80q", a, p.Begins[i])
		}
		if strings.HasPrefix(a, "-") || strings.ContainsRune(a, 0) || !utf8.ValidString(a) {
			return refuse("argument %.80q begins with a dash, or has letters that are none", a)
		}
	}
	return nil
}

// hears tells whether a Request may set these variables.
func (p Program) hears(env []string) error {
	if len(env) > maxVars {
		return refuse("%d variables are too many: at most %d", len(env), maxVars)
	}
	seen := make(map[string]bool, len(env))
	for _, v := range env {
		if err := cleanVar(v); err != nil {
			return refuse("%s", err)
		}
		name, _, _ := strings.Cut(v, "=")
		if seen[name] || !slices.ContainsFunc(p.Vars, func(may string) bool { return covers(may, name) }) {
			return refuse("variable %.80q is set twice, or is none of those that the program may be told", name)
		}
		seen[name] = true
	}
	return nil
}

// covers tells whether a name is meant by an entry of Program.Vars.
func covers(may, name string) bool {
	if prefix, ok := strings.CutSuffix(may, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return may == name
}

// environment is what a program hears: its own variables, and the Request's instead
// of those that have the same names.
func (p Program) environment(more []string) []string {
	set := map[string]bool{}
	for _, v := range more {
		name, _, _ := strings.Cut(v, "=")
		set[name] = true
	}
	env := slices.Clone(more)
	for _, v := range p.Env {
		if name, _, _ := strings.Cut(v, "="); !set[name] {
			env = append(env, v)
		}
	}
	return env
}

// cleanVar refuses what is no variable, and those that tell the dynamic linker to
// run other code.
func cleanVar(v string) error {
	name, _, ok := strings.Cut(v, "=")
	switch {
	case !ok || name == "" || strings.ContainsRune(v, 0) || !utf8.ValidString(v):
		return fmt.Errorf("%.80q is no variable: NAME=value, without NUL, in UTF-8", v)
	case strings.HasPrefix(name, "LD_") || name == "GLIBC_TUNABLES" || name == "GCONV_PATH":
		return fmt.Errorf("variable %.80q would change how programs are loaded", name)
	}
	return nil
}

// cleanPath refuses paths that are not absolute, or have "..", "//" and the like.
func cleanPath(path string) error {
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path:
		return fmt.Errorf("%.200q is not absolute and plain: no \"..\", no \"//\", no \"/\" at the end", path)
	case len(path) > maxPath || strings.ContainsRune(path, 0) || !utf8.ValidString(path):
		return fmt.Errorf("%.200q is too long, or has letters that are none", path)
	}
	return nil
}

// root returns the folder of homes that a home is beneath, "/" if there are none.
func (p *Policy) root(home string) (root string, err error) {
	if err := cleanPath(home); err != nil {
		return "", refuse("home %s", err)
	}
	if strings.HasPrefix(filepath.Base(home), stale) {
		return "", refuse("home %q has the name of one that is not finished", home)
	}
	if len(p.Homes) == 0 {
		return "/", nil
	}
	for _, r := range p.Homes {
		if len(r) > len(root) && strings.HasPrefix(home, strings.TrimSuffix(r, "/")+"/") {
			root = r
		}
	}
	if root == "" || home == root {
		return "", refuse("home %q is not beneath %s, where homes may be: see homes in [local]", home, strings.Join(p.Homes, ", "))
	}
	return root, nil
}
