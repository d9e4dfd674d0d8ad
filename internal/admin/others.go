package admin

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// siblingTime is how long another process of usher may take to answer.
const siblingTime = 2 * time.Second

// others asks all other processes of this usher at once, unless the question is
// meant for this one only. The socket of a dead process is removed.
func others[A any](a api, q question, ask func(*Client, context.Context) (A, error)) (answers []A, m Missing) {
	if q.own {
		return nil, m
	}
	ctx, cancel := context.WithTimeout(q.ctx, siblingTime)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, pid := range siblings(a.Path) {
		if pid == a.pid {
			continue
		}
		wg.Go(func() {
			answer, err := ask(client(sibling(a.Path, pid)), ctx)
			mu.Lock()
			defer mu.Unlock()
			var none *NotReachable
			switch {
			case err == nil:
				answers = append(answers, answer)
			case errors.As(err, &none) && none.Absent():
				_ = os.Remove(sibling(a.Path, pid)) // it will be tried again
			default:
				m.Unreachable = append(m.Unreachable, Unreachable{pid, err.Error()})
			}
		})
	}
	wg.Wait()
	return answers, m
}
