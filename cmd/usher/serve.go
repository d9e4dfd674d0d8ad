package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"usher/internal/config"
	"usher/internal/server"
)

func serveCommand() *cobra.Command {
	var file string
	var debug bool
	var by starterFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `Run the proxy in the foreground until SIGTERM. Then no more clients are let in,
open sessions may go on for the grace period, and those that are left are told
goodbye. A second SIGTERM ends usher at once. SIGHUP is usher reload, SIGUSR2 is
usher upgrade.

With --inetd, --stdio or --postfix serve clients that another program has accepted: a
running usher gets them, with its limits and penalties; if none runs, this process serves
them itself. See "Ways to be started" in doc/config.md.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if by.given(cmd) {
				return by.serve(cmd, file, debug)
			}
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			log, closeLog := server.OpenLog(cfg, cmd.ErrOrStderr(), debug)
			defer closeLog()
			warn(log, cfg)
			s, err := server.New(cfg, log)
			if err != nil {
				return err
			}
			s.Version, s.Build = version, buildID()
			s.Load = func() (*config.Config, error) {
				cfg, err := loadConfig(file)
				if err == nil {
					warn(log, cfg)
				}
				return cfg, err
			}
			if program, err := programAs(os.Args[0]); err == nil {
				s.Again = append([]string{program}, os.Args[1:]...)
			}
			defer obey(cmd.Context(), s)()
			return s.Run(cmd.Context())
		},
	}
	configFlag(c, &file)
	by.flags(c)
	c.Flags().BoolVar(&debug, "debug", false, "log more: also why clients left before login")
	return c
}

// programAs is the path of this program: the one by which it was called, which may
// be a link that leads to another version when we upgrade, else that of the file.
func programAs(called string) (string, error) {
	file, err := os.Executable()
	if err != nil {
		return "", err
	}
	if found, err := exec.LookPath(called); err == nil {
		named, absErr := filepath.Abs(found)
		a, aErr := os.Stat(named)
		b, bErr := os.Stat(file)
		if errors.Join(absErr, aErr, bErr) == nil && os.SameFile(a, b) {
			return named, nil
		}
	}
	return file, nil
}

// A changer is a running server that can be changed.
type changer interface {
	Reload(ctx context.Context) error
	Upgrade(ctx context.Context) (pid int, err error)
}

// obey reloads at SIGHUP and upgrades at SIGUSR2, one after the other, until
// stopped. What comes of it stands in the log.
func obey(ctx context.Context, s changer) (stop func()) {
	hup, usr2 := make(chan os.Signal, 1), make(chan os.Signal, 1) // one of a kind is enough
	signal.Notify(hup, syscall.SIGHUP)
	signal.Notify(usr2, syscall.SIGUSR2)
	stopped := make(chan struct{})
	go func() {
		for {
			select {
			case <-hup:
				_ = s.Reload(ctx)
			case <-usr2:
				_, _ = s.Upgrade(ctx)
			case <-stopped:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hup)
		signal.Stop(usr2)
		close(stopped)
	}
}

// usualConfigs are where the configuration is looked for.
var usualConfigs = []string{"usher.toml", "/etc/usher/usher.toml"}

func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "config", "c", "", "configuration `file`; else ./usher.toml or /etc/usher/usher.toml")
}

// findConfig returns the file that was named, else the first of the usual ones,
// else "".
func findConfig(file string) string {
	for _, usual := range usualConfigs {
		if _, err := os.Stat(usual); file == "" && !errors.Is(err, os.ErrNotExist) {
			file = usual // also if it cannot be read: then Load says so
		}
	}
	return file
}

// loadConfig reads the configuration and gives all its mistakes at once.
func loadConfig(file string) (*config.Config, error) {
	file = findConfig(file)
	if file == "" {
		return nil, fmt.Errorf("there is no configuration: neither %s nor %s; write one (see README) or name it with -c", usualConfigs[0], usualConfigs[1])
	}
	cfg, err := config.Load(file)
	if cfg != nil {
		err = config.Join(err, server.Check(cfg))
	}
	return cfg, mistaken(err)
}

// mistaken makes mistakes in the configuration an answer: no.
func mistaken(err error) error {
	var m config.Mistakes
	if errors.As(err, &m) {
		return failure{statusNo, fmt.Errorf("the configuration has mistakes:\n%w", err)}
	}
	return err
}

// warn logs what works but should not stay as it is.
func warn(log *slog.Logger, cfg *config.Config) {
	for _, m := range append(cfg.Warnings, cfg.Ignored...) {
		log.Warn("configuration", "warning", m.Error())
	}
}
