package blacklist

import (
	"errors"
	"io"
	"os"
)

// A disk is the interface of a [File] to the operating system. Tests use a disk that
// fails, and a disk that loses power.
type disk interface {
	lock(path string) (lockFile, error)
	// open opens a file for reading and writing, and with fresh an empty one,
	// whatever there was.
	open(path string, fresh bool) (diskFile, error)
	rename(from, to string) error
	remove(path string) error
	syncFolder(path string) error
}

type diskFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
}

// A lockFile is held until it is closed, or the process ends.
type lockFile interface {
	io.Closer
	// remember makes remembers return true from now on, on every start.
	remember() error
	remembers() bool
}

type osDisk struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("it is not a regular file")
	}
	return info.Size(), nil
}

func (osDisk) open(path string, fresh bool) (diskFile, error) {
	flags := os.O_RDWR
	if fresh {
		flags |= os.O_CREATE | os.O_TRUNC
	}
	// A reader of the file sees the times of logouts, and for guessable
	// identifiers, of which users.
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) remove(path string) error     { return os.Remove(path) }

// syncFolder makes a rename in the folder last.
func (osDisk) syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// osLock is an empty file, or one with a byte for "there was a log".
type osLock struct{ *os.File }

func (l osLock) remembers() bool {
	info, err := l.Stat()
	return err != nil || info.Size() > 0
}

func (l osLock) remember() error {
	if l.remembers() {
		return nil
	}
	if _, err := l.WriteAt([]byte("1"), 0); err != nil {
		return err
	}
	return l.Sync()
}
