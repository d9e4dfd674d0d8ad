package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"usher/internal/password"
)

func hashCommand() *cobra.Command {
	var scheme string
	c := &cobra.Command{
		Use:   "hash",
		Short: "Hash a password read from standard input",
		Long: `Hash a password, one line of standard input, for the field "password" of an
account. On a terminal it is asked for twice and not shown.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !makeable(scheme) {
				return usage("--scheme %q is none of %s", scheme, strings.Join(password.Makeable(), ", "))
			}
			clear, err := readPassword(cmd)
			if err != nil {
				return err
			}
			hash, err := makeHash(scheme, clear)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), hash)
			return err
		},
	}
	c.Flags().StringVar(&scheme, "scheme", password.Default, "how to hash: "+strings.Join(password.Makeable(), ", "))
	return c
}

func makeable(name string) bool {
	for _, s := range password.Makeable() {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}

// makeHash says no to passwords that cannot be hashed.
func makeHash(scheme, clear string) (string, error) {
	hash, err := password.Make(scheme, clear)
	if err != nil {
		return "", failure{statusNo, err}
	}
	return hash, nil
}

// readPassword reads one line, or asks for it if a person sits there.
func readPassword(cmd *cobra.Command) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askPassword(cmd.ErrOrStderr(), int(f.Fd()))
	}
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 64<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password from standard input: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

func askPassword(prompt io.Writer, fd int) (string, error) {
	var typed [2]string
	for i, text := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(prompt, text)
		line, err := term.ReadPassword(fd)
		fmt.Fprintln(prompt) // the terminal did not show the one that was typed
		if err != nil {
			return "", fmt.Errorf("read the password from the terminal: %w", err)
		}
		typed[i] = string(line)
	}
	if typed[0] != typed[1] {
		return "", no("the two passwords differ; try again")
	}
	return typed[0], nil
}
