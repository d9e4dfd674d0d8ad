// There is nothing here: with this file the compiler accepts functions without a body
// (see fork_linux.go).
