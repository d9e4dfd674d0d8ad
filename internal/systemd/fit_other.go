//go:build !linux

package systemd

import "errors"

// fit takes nothing: where there is no Linux there is no systemd.
func fit(int) error { return errors.New("this system has no systemd") }

func accepts(int) (bool, error) { return false, errors.New("this system has no systemd") }
