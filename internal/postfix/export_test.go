package postfix

import "os"

// NewMaster is one of which a test has the other end of the pipe.
func NewMaster(status *os.File, generation uint32) *Master {
	return &Master{status: status, generation: generation}
}
