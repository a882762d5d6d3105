//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package blacklist

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the lock or fails at once, because the other process may run for ever. The
// system releases the lock when this process ends, in any way. The file stays, because a
// lock on a removed file does not exclude a lock on a new one.
func (osDisk) lock(path string) (lockFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if err == syscall.EWOULDBLOCK {
		err = errors.New("another process, or another File of this one, has it open; several machines need a log in a database")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osLock{f}, nil
}
