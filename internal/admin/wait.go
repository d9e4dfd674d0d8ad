package admin

import (
	"context"
	"errors"
	"slices"
	"time"
)

// look is the time between two looks at processes that are ending.
const look = 200 * time.Millisecond

// Wait returns when all of these processes are gone, or with ctx. At each look
// show is told how many sessions are left.
func (c *Client) Wait(ctx context.Context, pids []int, show func(sessions int)) error {
	pids = slices.Clone(pids)
	for {
		left := 0
		pids = slices.DeleteFunc(pids, func(pid int) bool {
			sessions, gone := c.leftOf(ctx, pid)
			left += sessions
			return gone
		})
		if ctx.Err() != nil || len(pids) == 0 {
			return ctx.Err()
		}
		show(left)
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
	}
}

// leftOf counts the sessions of one process. One that does not answer is not
// gone.
func (c *Client) leftOf(ctx context.Context, pid int) (sessions int, gone bool) {
	ctx, cancel := context.WithTimeout(ctx, siblingTime)
	defer cancel()
	status, err := client(sibling(c.path, pid)).Status(ctx)
	if none, ok := errors.AsType[*NotReachable](err); ok {
		return 0, none.Absent()
	}
	for _, p := range status.Processes {
		sessions += p.Sessions
	}
	return sessions, false
}
