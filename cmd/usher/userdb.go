package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"usher/internal/account"
	"usher/internal/account/userdb"
	"usher/internal/password"
)

// userdbFlags are those of the command userdb.
type userdbFlags struct {
	file     string
	password string // the field that gets the hash of a password
	secrets  bool
}

func userdbCommand() *cobra.Command {
	flags := new(userdbFlags)
	c := &cobra.Command{
		Use:   "userdb USER {set FIELD=VALUE… | unset FIELD… | del | show}",
		Short: "Change or show a record of a Courier userdb",
		Long: `Change or show a record of a Courier userdb, the text of which usher reads itself:
a running usher uses a change within five seconds, without makeuserdb.

If the userdb is a folder, USER is written with the file that it stands in, as
FOLDER/FILE/USER. A file that is changed is never seen half-written, and both
this command and Courier's own may run at the same time.

The value of a FIELD that is given without one is read from standard input, a line
for each. Passwords in a command line can be seen by others: let a program write
their hash, or use --password-stdin.`,
		Example: `  usher userdb user@example.com set options=mailhost=servera.example.com
  usher userdb user@example.com set --password-stdin systempw
  userdbpw -hmac-md5 | usher userdb users/ann set hmac-md5pw
  usher userdb ann unset imappw pop3pw`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(cmd, args[0], args[1], args[2:])
		},
	}
	c.Flags().StringVarP(&flags.file, "file", "f", userdb.DefaultPath, "the userdb, a `file` or folder")
	c.Flags().StringVar(&flags.password, "password-stdin", "", "set: read a clear password from standard input, and store its "+password.Default+" hash in `FIELD`")
	c.Flags().BoolVar(&flags.secrets, "secrets", false, "show: show passwords as they are")
	return c
}

func (flags *userdbFlags) run(cmd *cobra.Command, user, verb string, args []string) error {
	if verb != "set" && flags.password != "" || verb != "show" && flags.secrets {
		return usage("--password-stdin is for set, --secrets is for show; see: %s --help", cmd.CommandPath())
	}
	path, user, err := flags.locate(cmd, user)
	if err != nil {
		return err
	}
	switch none := len(args) == 0; {
	case verb == "set" && (!none || flags.password != ""):
		err = flags.set(cmd, path, user, args)
	case verb == "unset" && !none:
		err = unsetUserdb(cmd.Context(), path, user, args)
	case verb == "del" && none:
		err = userdb.Delete(cmd.Context(), path, user)
	case verb == "show" && none:
		err = showUserdb(cmd.OutOrStdout(), path, user, flags.secrets)
	default:
		return usage("it is: %s USER {set FIELD=VALUE… | unset FIELD… | del | show}", cmd.CommandPath())
	}
	return userdbAnswer(err, user, path)
}

// userdbAnswer gives an error its status.
func userdbAnswer(err error, user, path string) error {
	var known failure
	var bad userdb.Invalid
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.As(err, &bad):
		return failure{statusUsage, err}
	case errors.Is(err, account.ErrUnknown), errors.Is(err, userdb.ErrTwice):
		return no("user %q of %s: %w", user, path, err)
	}
	return fmt.Errorf("user %q: %w", user, err)
}

// locate finds the file and the user's name in it. With --file and a file a / is part
// of the name, as with Courier's -f.
func (flags *userdbFlags) locate(cmd *cobra.Command, user string) (path, name string, err error) {
	info, err := os.Stat(flags.file)
	folder := err == nil && info.IsDir()
	at := strings.LastIndexByte(user, '/')
	switch {
	case folder && at < 0:
		return "", "", usage("%s is a folder; write FOLDER/FILE/USER, with the file in it that the user stands in", flags.file)
	case at < 0 || !folder && cmd.Flags().Changed("file"):
		return flags.file, user, nil
	}
	for part := range strings.SplitSeq(user[:at], "/") {
		if part == "" || part[0] == '.' {
			return "", "", usage("%q does not lead to a file in %s", user[:at], flags.file)
		}
	}
	return filepath.Join(flags.file, user[:at]), user[at+1:], nil
}

func (flags *userdbFlags) set(cmd *cobra.Command, path, user string, args []string) error {
	fields, err := flags.fields(cmd, user, args)
	if err != nil {
		return err
	}
	return userdb.Set(cmd.Context(), path, user, fields...)
}

// fields reads the arguments of set, and from standard input what they lack.
func (flags *userdbFlags) fields(cmd *cobra.Command, user string, args []string) (fields []userdb.Field, err error) {
	in := bufio.NewReader(cmd.InOrStdin())
	given := map[string]bool{}
	for _, arg := range args {
		name, value, has := strings.Cut(arg, "=")
		switch bad := userdb.CheckField(name); {
		case bad != nil:
			return nil, bad
		case given[name] || name == flags.password:
			return nil, usage("field %q is given twice", name)
		case !has && flags.password != "":
			return nil, usage("field %q has no value, and standard input is read for the password", name)
		case !has:
			if value, err = readValue(cmd, in, user+"."+name); err != nil {
				return nil, err
			}
		}
		given[name] = true
		fields = append(fields, userdb.Field{Name: name, Value: value})
	}
	if flags.password == "" {
		return fields, nil
	}
	return flags.hashed(cmd, fields)
}

// hashed adds the field of --password-stdin.
func (flags *userdbFlags) hashed(cmd *cobra.Command, fields []userdb.Field) ([]userdb.Field, error) {
	if err := userdb.CheckField(flags.password); err != nil {
		return nil, err
	}
	clear, err := readPassword(cmd)
	if err != nil {
		return nil, err
	}
	hash, err := makeHash(password.Default, clear)
	return append(fields, userdb.Field{Name: flags.password, Value: hash}), err
}

// readValue reads a line, and says which if a person sits there.
func readValue(cmd *cobra.Command, in *bufio.Reader, what string) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: ", what)
	}
	line, err := in.ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return "", fmt.Errorf("read the value of %s from standard input: %w", what, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

func unsetUserdb(ctx context.Context, path, user string, names []string) error {
	for _, name := range names {
		if err := userdb.CheckField(name); err != nil {
			return err
		}
	}
	return userdb.Unset(ctx, path, user, names...)
}

func showUserdb(w io.Writer, path, user string, secrets bool) error {
	fields, err := userdb.Show(path, user)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if !secrets {
			f.Value = starField(f.Name, f.Value)
		}
		if _, err := fmt.Fprintf(w, "%s=%s\n", f.Name, f.Value); err != nil {
			return err
		}
	}
	return nil
}

// starField hides a secret of a userdb: what ends in pw, and the fields password and
// pass, which may be among the options too.
func starField(name, value string) string {
	if name == "options" {
		var items []string
		for item := range strings.SplitSeq(value, ",") {
			if inner, v, has := strings.Cut(item, "="); has {
				item = inner + "=" + starField(strings.TrimSpace(inner), v)
			}
			items = append(items, item)
		}
		return strings.Join(items, ",")
	}
	switch lower := account.FieldName(name); {
	case strings.HasSuffix(lower, "pw"), lower == "password":
		return account.Fields{"password": value}.Starred()["password"]
	case lower == "pass":
		return account.Fields{"pass": value}.Starred()["pass"]
	}
	return value
}
