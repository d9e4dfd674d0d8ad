package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher/internal/pool"
)

func poolCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "pool",
		Short: "Make the certificates by which the nodes of a pool know each other",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(poolInitCommand(), poolAddCommand())
	return c
}

func poolInitCommand() *cobra.Command {
	a := pool.Authority{Now: time.Now}
	var domains []string
	c := &cobra.Command{
		Use:   "init DIR",
		Short: "Make the authority of a pool, in a folder",
		Long: `Make the authority of a pool: its certificate, DIR/ca.pem, and its key, DIR/ca.key.
No node needs the key: keep the folder where you keep such things, and see who can
read it. Whoever has the key can be any node. The certificate holds for 10 years.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Dir = args[0]
			if err := a.Init(domains...); err != nil {
				return notMade(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: the authority; copy it to every node\n%s: its key; no node needs it, keep it safe\nnext: usher pool add NODE %s\n",
				filepath.Join(a.Dir, pool.AuthorityCert), filepath.Join(a.Dir, pool.AuthorityKey), a.Dir)
			return nil
		},
	}
	c.Flags().BoolVar(&a.Force, "force", false, "replace an authority that is there: its nodes are none of the pool any more")
	c.Flags().StringSliceVar(&domains, "domain", nil, "it can sign for nodes in this `domain` only")
	return c
}

func poolAddCommand() *cobra.Command {
	a := pool.Authority{Now: time.Now}
	var days int
	c := &cobra.Command{
		Use:   "add NODE DIR",
		Short: "Make a certificate for a node of a pool",
		Long: `Make a key and a certificate for a node, signed by the authority in DIR: DIR/NODE.pem
and DIR/NODE.key. NODE is what the machine is called in nodes of [pool]. Nothing is
asked of the network. With --force a node gets a new certificate before the old one
is out of date; a running usher takes it as soon as both files are replaced.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			node := args[0]
			if !isNodeName(node) {
				return usage("%q cannot be the name of a node: it has letters, digits, - and .", node)
			}
			if days <= 0 {
				return usage("--days must be 1 or more")
			}
			a.Dir = args[1]
			cert, key, err := a.Add(node, days)
			if err != nil {
				return notMade(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), addText, node, cert, key, filepath.Join(a.Dir, pool.AuthorityCert), asKey(node))
			return nil
		},
	}
	c.Flags().BoolVar(&a.Force, "force", false, "replace the node's certificate and key")
	c.Flags().IntVar(&days, "days", 365, "how long the certificate holds")
	return c
}

const addText = `copy to %[1]s, with the key readable for usher's user only:
  %[2]s  to /etc/usher/node.pem
  %[3]s  to /etc/usher/node.key
  %[4]s  to /etc/usher/pool-ca.pem
in usher.toml, the same on all nodes:
  [pool]
  nodes = { %[5]s = "ADDRESS-OF-%[1]s:7143", … }
  cert  = "node.pem"
  key   = "node.key"
  ca    = "pool-ca.pem"
`

// asKey is a node's name as a key of TOML, in which a dot outside quotes begins a table.
func asKey(node string) string {
	if strings.Contains(node, ".") {
		return strconv.Quote(node)
	}
	return node
}

// isNodeName tells whether a name fits into a certificate, a file's name and TOML.
func isNodeName(s string) bool {
	letters := strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
	return letters && s != "" && len(s) <= 253 && !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, ".") && !strings.Contains(s, "..")
}

// notMade is the answer no if there is something already, or nothing.
func notMade(err error) error {
	switch {
	case errors.Is(err, pool.ErrThere):
		return no("%w", err)
	case errors.Is(err, os.ErrNotExist):
		return no("%w: usher pool init makes the authority", err)
	}
	return err
}
