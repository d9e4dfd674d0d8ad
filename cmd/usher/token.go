package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"usher/internal/server"
	"usher/internal/token"
)

func tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "What servers must know of the tokens that usher signs"}
	c.AddCommand(tokenKeyCommand())
	return c
}

func tokenKeyCommand() *cobra.Command {
	var file, backend, dovecot string
	c := &cobra.Command{
		Use:   "key",
		Short: "Print the public key of tokens towards a backend",
		Long: `Print the public key, PEM, of the tokens by which usher logs in to a backend that
has login = { as = "token" }. Without --backend all such backends must have the same
key. The key in the state folder is made when usher starts for the first time.

With --dovecot DIR it is written to where Dovecot looks for it whose
local_validation_key_dict is fs:posix:prefix=DIR/. Keys that are there stay.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			keys, err := server.TokenKeys(cfg)
			if err != nil {
				return err
			}
			key, err := keyOf(keys, backend)
			if err != nil {
				return err
			}
			if dovecot != "" {
				return publish(cmd, filepath.Join(dovecot, key.Path()), key.Public())
			}
			_, err = cmd.OutOrStdout().Write(key.Public())
			return err
		},
	}
	configFlag(c, &file)
	c.Flags().StringVar(&backend, "backend", "", "the backend's name")
	c.Flags().StringVar(&dovecot, "dovecot", "", "write it below this folder of Dovecot's keys, and print where")
	return c
}

// keyOf is the key of one backend, or of all.
func keyOf(keys map[string]*token.Key, backend string) (*token.Key, error) {
	names := slices.Sorted(maps.Keys(keys))
	if len(names) == 0 {
		return nil, no("no backend has login = { as = \"token\" }")
	}
	if backend != "" {
		if keys[backend] == nil {
			return nil, no("backend %q has no login = { as = \"token\" }; those that have: %s", backend, strings.Join(names, ", "))
		}
		return keys[backend], nil
	}
	for _, name := range names {
		if keys[name].ID != keys[names[0]].ID {
			return nil, usage("backends have different keys: say --backend with one of %s", strings.Join(names, ", "))
		}
	}
	return keys[names[0]], nil
}

// publish writes a public key for everybody to read.
func publish(cmd *cobra.Command, file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), file)
	return err
}
