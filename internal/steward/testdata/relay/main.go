// This is `usher relay` and nothing else, for tests that need it as it is shipped, without cgo.
package main

import (
	"os"

	"usher/internal/steward"
)

func main() { os.Exit(steward.Main(os.Args[2:], "")) }
