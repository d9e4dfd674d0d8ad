// Package postfix is how Postfix's master(8) talks to the programs that it starts: by
// options in front of those that stand in master.cf, by descriptors that are open, and by
// messages about whether a process can take more clients. So a program of another house
// can be one of its services.
//
// What master does stands in master(5), master(8) and, for the descriptors and the
// messages, in Postfix's global/mail_params.h and master/master_proto.h.
package postfix

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Options are what master says on the command line.
type Options struct {
	Name    string            // of the service: the first column of master.cf; "": the program's own
	Type    string            // inet, unix, …
	Sockets int               // that are open: one, unless the name has several addresses
	Chroot  bool              // the process shall live in the queue directory
	Owner   bool              // … and as mail_owner
	Verbose bool              // -v
	Set     map[string]string // -o name=value, -i, -m
}

// withValue and without are the options of Postfix's own servers.
const (
	withValue = "imnost"
	without   = "cdDlSuvVz"
)

// Parse reads what stands before the first word that is no option: from there on it is
// for us.
func Parse(args []string) (o Options, rest []string, err error) {
	o = Options{Sockets: 1, Set: map[string]string{}}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0][1:]
		args = args[1:]
		if word == "-" {
			break
		}
		for word != "" {
			letter := word[:1]
			word = word[1:]
			switch {
			case strings.Contains(without, letter):
				err = errors.Join(err, o.flag(letter))
				continue
			case !strings.Contains(withValue, letter):
				return o, nil, fmt.Errorf("Postfix's master passes no option -%s: usher's own stand behind the protocol, with two dashes", letter) //nolint:staticcheck // a name
			}
			if word == "" {
				if len(args) == 0 {
					return o, nil, fmt.Errorf("option -%s has no value", letter)
				}
				word, args = args[0], args[1:]
			}
			err = errors.Join(err, o.value(letter, word))
			word = ""
		}
	}
	return o, args, err
}

func (o *Options) flag(letter string) error {
	switch letter {
	case "c":
		o.Chroot = true
	case "u":
		o.Owner = true
	case "v":
		o.Verbose = true
	case "S", "d":
		return fmt.Errorf("option -%s is not for a service: for a client on standard input start usher serve --stdio", letter)
	}
	return nil // how many processes there may be (-l, -z), and debuggers, are not our business
}

func (o *Options) value(letter, value string) (err error) {
	switch letter {
	case "n":
		o.Name = value
	case "t":
		o.Type = value
	case "i":
		o.Set["max_idle"] = value
	case "m":
		o.Set["max_use"] = value
	case "s":
		o.Sockets, err = strconv.Atoi(value)
		if err != nil || o.Sockets < 1 || o.Sockets > mostSockets {
			return fmt.Errorf("option -s %.20q is no number of sockets", value)
		}
	case "o":
		name, setting, ok := strings.Cut(value, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return fmt.Errorf("option -o %.80q is not name=value", value)
		}
		o.Set[name] = strings.TrimSpace(setting)
	}
	return nil
}

// mostSockets is more than a name has addresses.
const mostSockets = 1000

// Settings are what main.cf says, or an -o in master.cf, as far as it is about a service.
type Settings struct {
	MaxIdle    time.Duration // how long a process waits for a client; 0: for ever
	MaxUse     int           // how many clients it takes; 0: any number
	SyslogName string        // what stands before the program's name in the log: "postfix"
	Queue      string        // queue_directory
	Owner      string        // mail_owner
}

// names are the settings of main.cf in the order in which Read asks for them.
var names = []string{"max_idle", "max_use", "syslog_name", "queue_directory", "mail_owner"}

// ErrUnknown is about a setting of -o that is none of ours.
var ErrUnknown = errors.New("usher has no such setting")

// Read asks postconf for what main.cf says; -o goes before that. ask runs it.
func (o Options) Read(ask func(names ...string) (values []string, err error)) (s Settings, err error) {
	values, err := ask(names...)
	if err != nil {
		return s, err
	}
	if len(values) != len(names) {
		return s, fmt.Errorf("postconf says %d settings where it was asked for %d", len(values), len(names))
	}
	all := map[string]string{}
	for i, name := range names {
		all[name] = values[i]
		if set, ok := o.Set[name]; ok {
			all[name] = set
		}
	}
	s.SyslogName, s.Queue, s.Owner = all["syslog_name"], all["queue_directory"], all["mail_owner"]
	if s.MaxIdle, err = duration(all["max_idle"]); err != nil {
		return s, fmt.Errorf("max_idle: %w", err)
	}
	if s.MaxUse, err = strconv.Atoi(all["max_use"]); err != nil || s.MaxUse < 0 {
		return s, fmt.Errorf("max_use = %.20q is no number", all["max_use"])
	}
	return s, nil
}

// Unknown are the settings of -o that are none of ours.
func (o Options) Unknown() (list []string) {
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	for name := range o.Set {
		if !known[name] {
			list = append(list, name)
		}
	}
	return list
}

// duration reads a time as main.cf has it: "100s", "5m", and seconds without a unit.
func duration(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	digits, unit := text, time.Second
	if n := len(text); n > 0 && units[text[n-1]] > 0 {
		digits, unit = text[:n-1], units[text[n-1]]
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || time.Duration(n) > (1<<62)/unit {
		return 0, fmt.Errorf("%.20q is no time, such as 100s or 5m", text)
	}
	return time.Duration(n) * unit, nil
}
