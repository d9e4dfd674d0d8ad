package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher/internal/admin"
)

const (
	traceLook = 200 * time.Millisecond // between looks into the folder
	traceAsk  = 5                      // looks between questions whether the trace goes on
)

// followTrace shows what a trace writes until it is over, or ^C ends it.
func followTrace(cmd *cobra.Command, client *admin.Client, t admin.Trace) error {
	ctx := cmd.Context()
	// A folder is usher's own: whoever has become usher must not lead root elsewhere.
	root, err := os.OpenRoot(t.Folder)
	if err != nil {
		return fmt.Errorf("the trace is on, but its files cannot be shown: %w; try as root; usher trace --end %s ends it", err, t.ID)
	}
	defer root.Close()
	tail := &tail{root: root, out: cmd.OutOrStdout(), read: map[string]int64{}}
	for on, looks := true, 1; on; looks++ {
		select {
		case <-ctx.Done():
			_, err = client.Untrace(context.WithoutCancel(ctx), admin.Untrace{ID: t.ID})
			on = false
		case <-time.After(traceLook):
			on = looks%traceAsk != 0 || stillOn(ctx, client, t.ID)
		}
		if !on {
			time.Sleep(traceLook) // what is on its way to the disk
		}
		if shown := tail.look(); shown != nil {
			return errors.Join(shown, err)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "the trace is over; its files stay in %s until you remove them\n", t.Folder)
	if err != nil {
		return told(err)
	}
	return nil
}

// A tail shows the lines that files of a folder have got since it looked last.
type tail struct {
	root *os.Root
	out  io.Writer
	read map[string]int64 // of each file: whole lines
	last string           // whose lines were shown last
}

func (t *tail) look() error {
	files, err := fs.ReadDir(t.root.FS(), ".")
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := t.more(f); err != nil {
			return err
		}
	}
	return nil
}

// atOnce is how much of a file is read at a time.
const atOnce = 1 << 20

// more shows what is new in a file.
func (t *tail) more(entry fs.DirEntry) error {
	name := entry.Name()
	info, err := entry.Info()
	if err != nil || !info.Mode().IsRegular() || info.Size() <= t.read[name] {
		return nil // it was removed, perhaps
	}
	f, err := t.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	text := make([]byte, min(info.Size()-t.read[name], atOnce))
	n, err := f.ReadAt(text, t.read[name])
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	whole := string(text[:n])
	whole = whole[:strings.LastIndexByte(whole, '\n')+1]
	t.read[name] += int64(len(whole))
	if whole != "" && t.last != name {
		t.last = name
		fmt.Fprintf(t.out, "== %s\n", harmless(name))
	}
	for line := range strings.Lines(whole) {
		if _, err := fmt.Fprintln(t.out, harmless(strings.TrimSuffix(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}
