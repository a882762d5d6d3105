//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package blacklist

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the lock or fails at once: who waits for another process to end
// would wait for ever. The system gives it back when this process ends, however
// it does. The file stays, since a lock on a file that was removed and made
// again is none.
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
