package server

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher/internal/config"
	"usher/internal/local"
	"usher/internal/route"
	"usher/internal/spawn"
)

// defaultProgram is what attributes and routes call the programs of [local] itself.
const defaultProgram = "default"

// programs are the mail programs of this machine, as one configuration has them.
type programs struct {
	policy   spawn.Policy
	commands map[string]local.Command // by their names in the policy
}

// locals translates [local]. It returns nil if there is no program.
func (b *builder) locals(t *route.Table) *programs {
	c := &b.cfg.Local
	if !c.Has() {
		b.noLocal()
		return nil
	}
	p := &programs{commands: map[string]local.Command{}, policy: b.policyOfLocal()}
	t.Local = &route.Local{
		Programs: map[string]route.Program{}, Attr: strings.ToLower(c.Attribute), Timeout: time.Duration(c.Timeout), Is: b.here(), Stays: b.stays(),
	}
	if len(c.IMAP)+len(c.POP3) > 0 {
		t.Local.Default = defaultProgram
		own := config.Program{IMAP: c.IMAP, POP3: c.POP3, Speaks: c.Speaks, Env: c.Env, EnvFile: c.EnvFile}
		t.Local.Programs[defaultProgram] = b.program(p, "local", "", own)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Program)) {
		key := "local.program." + name
		if name == defaultProgram || strings.Contains(name, "/") {
			b.wrong("choose another name", key, "%q is no name for a program", name)
		}
		t.Local.Programs[name] = b.program(p, key, name+"/", c.Program[name])
	}
	b.served(t.Local)
	if !b.provesSome() {
		b.warn("use a source that checks passwords", "local", "nobody could log in to a mailbox of this machine: accounts of type \"any\" leave passwords to the server, and a program is shown none")
	}
	return p
}

// noLocal warns of what means nothing without programs.
func (b *builder) noLocal() {
	for _, key := range []string{"local", "server.own_names"} {
		if b.cfg.Has(key) && (key == "local" || len(b.cfg.Server.OwnNames) > 0) {
			b.warn("set imap or pop3 in [local], or leave it out", key, "it has no effect: there are no programs in [local]")
		}
	}
}

// served warns of protocols with which clients may come, but for which nobody is here.
func (b *builder) served(l *route.Local) {
	if _, named := b.cfg.Backend[route.LocalName]; named {
		b.wrong("give it another name", "backend."+route.LocalName, "this name stands for the programs of [local]")
	}
	for _, p := range protocols {
		name := p.Info().Name
		listens := slices.ContainsFunc(b.cfg.Listen, func(c config.Listen) bool { return c.Protocol == name })
		if listens && l.Default != "" && l.Programs[l.Default].Mail[name] == "" {
			b.warn("set "+name+" in [local], or do not listen for it", "local", fmt.Sprintf("there is no program for %s, with which clients may come", name))
		}
	}
}

// program translates one block of programs: those of [local] itself, or named ones.
func (b *builder) program(p *programs, key, prefix string, c config.Program) route.Program {
	env := b.environment(key, c)
	r := route.Program{Name: cmp.Or(strings.TrimSuffix(prefix, "/"), defaultProgram), Speaks: route.Dialect(c.Speaks), Mail: map[string]string{}}
	for _, one := range []struct {
		protocol string
		words    []string
	}{{"imap", c.IMAP}, {"pop3", c.POP3}} {
		if len(one.words) == 0 {
			continue
		}
		at := key + "." + one.protocol
		b.executable(at, one.words[0])
		if c.Speaks == "auto" {
			r.Speaks = b.speaks(at, r.Speaks, one.words[0])
		}
		command := prefix + one.protocol
		r.Mail[one.protocol] = command
		p.commands[command] = local.Command{Protocol: one.protocol, Words: one.words, Env: env, Maildir: b.cfg.Local.Maildir}
	}
	for _, command := range r.Mail {
		one := p.commands[command]
		one.Speaks = r.Speaks
		if err := one.Check(); err != nil {
			b.wrong("put options first, and write a variable behind something, as mail_path={mail}", key+"."+one.Protocol, "%v", err)
		}
		p.commands[command], p.policy.Programs[command] = one, one.Program()
	}
	return r
}

// speaks is the dialect of a program by its name. Two of a block speak the same one.
func (b *builder) speaks(key string, before route.Dialect, path string) route.Dialect {
	d := local.Speaks(path)
	if before != "auto" && before != d {
		b.wrong("set speaks, or give each a [local.program.NAME] of its own", key, "%s speaks %s, but the one for IMAP %s", path, d, before)
	}
	return d
}

// leastMemory is the least that a program needs, in megabytes.
const leastMemory = 256

// executable tells whether there is such a program.
func (b *builder) executable(key, path string) {
	info, err := os.Stat(path)
	switch {
	case !filepath.IsAbs(path):
		b.wrong("write its whole name, such as \"/usr/lib/dovecot/imap\"", key, "%q is no absolute file name", path)
	case err != nil:
		b.wrong("install it, or correct the name", key, "the program cannot be started: %v", err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		b.wrong("name a program; or chmod a+x "+path, key, "%s cannot be executed", path)
	}
}

// environment is that of a block's file, and then its own.
func (b *builder) environment(key string, c config.Program) (list []string) {
	if c.EnvFile != "" {
		f, err := os.Open(string(c.EnvFile))
		if err == nil {
			defer func() { _ = f.Close() }()
			list, err = local.ReadEnv(f)
		}
		if err != nil {
			b.wrong("see that it can be read and has lines such as IMAP_KEYWORDS=1; or write them as env", key+".env_file", "%v", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(c.Env[name], "\x00") {
			b.wrong("leave it out", key+".env."+name, "%q can be no variable", name)
		}
		list = slices.DeleteFunc(list, func(was string) bool { return strings.HasPrefix(was, name+"=") })
		list = append(list, name+"="+c.Env[name])
	}
	if !slices.ContainsFunc(list, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		list = append(list, "PATH=/usr/local/bin:/usr/bin:/bin")
	}
	return list
}

// policyOfLocal is what the helper may do, but for the programs.
func (b *builder) policyOfLocal() spawn.Policy {
	c := &b.cfg.Local
	l := c.Limit
	p := spawn.Policy{
		Programs: map[string]spawn.Program{}, MinUID: uint32(c.MinUID), MinGID: uint32(c.MinGID), Homes: c.Homes, Setuid: c.Setuid,
		Limits: spawn.Limits{
			Files: uint64(l.Files), Processes: uint64(l.Processes), Memory: uint64(l.Memory) << 20,
			PerUser: l.PerUser, Total: l.Total, Starting: l.Starting, Linger: time.Duration(c.Linger),
		},
	}
	if l.Memory > 0 && l.Memory < leastMemory {
		b.wrong("write 256 or more, or 0", "local.limit.memory", "%d megabytes are not enough", l.Memory)
	}
	for i, home := range c.Homes {
		if !filepath.IsAbs(home) || filepath.Clean(home) != home || home == "/" {
			b.wrong("write it as \"/home\"", fmt.Sprintf("local.homes[%d]", i), "%q is no absolute folder for homes", home)
		}
	}
	if !c.CreateHome {
		if c.Skeleton != "" || len(c.Hook) > 0 {
			b.warn("set create_home = true, or leave them out", "local", "skeleton and hook are for homes that are made, and none is")
		}
		return p
	}
	if len(c.Homes) == 0 {
		b.wrong("name the folders in which homes may be made: homes = [\"/home\"]", "local.create_home", "homes must not be made anywhere")
	}
	mode, err := strconv.ParseUint(c.HomeMode, 8, 12)
	if err != nil || mode&0o700 != 0o700 || mode > 0o777 {
		b.wrong("write it as \"0700\"", "local.home_mode", "%q is no mode of a home", c.HomeMode)
	}
	p.Create = &spawn.Create{Mode: os.FileMode(mode), Skeleton: string(c.Skeleton), Maildir: c.Maildir, Hook: c.Hook}
	b.createFrom(c)
	return p
}

// createFrom tells of what is needed to make homes and is not there.
func (b *builder) createFrom(c *config.Local) {
	if info, err := os.Stat(string(c.Skeleton)); c.Skeleton != "" && (err != nil || !info.IsDir()) {
		b.wrong("make it, or leave it out", "local.skeleton", "%s is no folder", c.Skeleton)
	}
	if len(c.Hook) > 0 {
		b.executable("local.hook[0]", c.Hook[0])
	}
	if m := c.Maildir; m != "" && (filepath.IsAbs(m) || !filepath.IsLocal(m)) {
		b.wrong("write it as \"Maildir\"", "local.maildir", "%q is not in a home", m)
	}
}

// stays are the protocols of which no login leaves this machine, and why.
func (b *builder) stays() map[string]string {
	m := map[string]string{}
	for i, name := range b.cfg.Local.Stays {
		if protocol(name) == nil {
			b.wrong("use imap or pop3", fmt.Sprintf("local.stays[%d]", i), "there is no protocol %q", name)
		}
		m[name] = "stays in [local] has " + name
	}
	for _, p := range protocols {
		name := p.Info().Name
		switch variable := strings.ToUpper(name) + "_PROXY"; os.Getenv(variable) {
		case "", "1":
		case "0":
			m[name] = variable + "=0"
			b.warn("unset "+variable+" if that is not meant", "local", fmt.Sprintf("%s=0 in the environment: no %s login leaves this machine", variable, name))
		default:
			b.wrong("set it to 0 or 1", "local", "the environment variable %s is %.20q", variable, os.Getenv(variable))
		}
	}
	return m
}

// examine tells whether each program can be found by those as whom it is
// started.
func (p *programs) examine(report func(what string, err error)) {
	if p == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p.commands)) {
		_, err := exec.LookPath(p.commands[name].Words[0])
		report("program "+route.LocalName+"/"+name, cmp.Or(err, reachable(p.commands[name].Words[0])))
	}
}

// reachable tells whether everybody may enter the folders above a file.
func reachable(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			return fmt.Errorf("%s: not everybody may enter %s: chmod a+x %s, or put the program elsewhere", path, dir, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
