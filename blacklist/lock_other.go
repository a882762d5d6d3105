//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package blacklist

import (
	"errors"
	"fmt"
	"runtime"
)

// lock fails: without a lock that ends with the process, two processes could write into
// one file.
func (osDisk) lock(string) (lockFile, error) {
	return nil, fmt.Errorf("%w: File needs flock, which Go does not have on %s; use a log in a database", errors.ErrUnsupported, runtime.GOOS)
}
