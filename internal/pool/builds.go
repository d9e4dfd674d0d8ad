package pool

import (
	"log/slog"
	"sync"
)

// Builds are which build of usher the nodes run: P000-15. They outlive a reload.
type Builds struct {
	Own string

	mu    sync.Mutex
	nodes map[string]string
}

// heard says once that a node runs another build than we do, and once that it does no
// more.
func (b *Builds) heard(log *slog.Logger, node, build string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes == nil {
		b.nodes = map[string]string{}
	}
	before, known := b.nodes[node]
	if known && before == build {
		return
	}
	b.nodes[node] = build
	switch {
	case build != b.Own:
		log.Warn("a node of the pool runs another build of usher: let all nodes run the same one", "node", node, "build", build, "own", b.Own)
	case known:
		log.Info("a node of the pool runs the same build of usher again", "node", node, "build", build)
	}
}
