package relay

// Open makes an engine by its name in the configuration, and says how to close
// it once there are no pairs any more.
func Open(name string) (Engine, func() error, error) {
	if name != "epoll" {
		return NewGoroutines(), func() error { return nil }, nil
	}
	e, err := NewEpoll()
	if err != nil {
		return nil, nil, err
	}
	return e, e.Close, nil
}

// Reserve is how many descriptors the engine of that name may open at most while it
// runs, beside those of its pairs.
func Reserve(name string, processors int) int {
	if name != "epoll" {
		return 0
	}
	const perPipe = 2
	return processors * perPipe * lendable
}
