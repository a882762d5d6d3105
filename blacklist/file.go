package blacklist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"
)

// FileConfig configures a [File]. The zero FileConfig is ready for use.
type FileConfig struct {
	// InsecureSkipDamaged opens a damaged file without the damaged part. Its
	// logouts are lost: stolen tokens are accepted again until they expire.
	InsecureSkipDamaged bool
}

// A File is a [Log] in a file of this machine, for one process. Append syncs before
// it returns, so acknowledged entries survive a crash and, if the disk keeps its
// promises, a power cut. File is safe for concurrent use.
//
// An entry takes 32 or 64 bytes with a checksum, which detects accidents and not
// forgeries. DeleteExpired replaces the file when half of it has expired. A file
// with the suffix ".lock" lets one process open the log, and makes a lost file an
// error instead of an empty log.
//
// After a failed write, for example to a full disk, Append repairs the end of the
// file or returns an error. A disk that stalls delays Append.
type File struct {
	path string
	disk disk
	lock io.Closer

	turn       chan struct{} // held by the goroutine that writes to the file
	compacting chan struct{} // held during a compaction; taken before turn
	// fault is why the end of the file must be repaired first, or nil. rewrite
	// is true if only a new file can do that. clean is whether the last unit is
	// a closedUnit. The goroutine with the turn uses these fields.
	fault   error
	rewrite bool
	clean   bool

	mu      sync.Mutex
	closed  bool
	handle  *handle
	base    uint64
	end     int64 // of what is on the disk for certain
	ends    endingUnits
	waiting *batch
}

var (
	_ Log     = (*File)(nil)
	_ expirer = (*File)(nil)
)

// ErrClosed is returned by the methods of a [File] after Close.
var ErrClosed = errors.New("blacklist: the file is closed")

// maxBatch is how many bytes may wait to be written, unless one Append has more.
const maxBatch = 4 << 20

// A batch is written and synced at once.
type batch struct {
	units []byte
	count int64 // of units
	ends  endingUnits
	done  chan struct{}
	// Once done: the number before the first.
	before uint64
	err    error
}

// A handle is the open file. It is closed when it is replaced and no goroutine reads
// from it.
type handle struct {
	diskFile
	users int // guarded by File.mu; this File counts as one
}

// OpenFile opens the log at path, or creates one in an existing folder if there
// never was one. It reads the whole file, and removes an unacknowledged write that
// a crash interrupted. It returns [ErrDamaged] if the file was changed after it was
// written (restore a backup, or set FileConfig.InsecureSkipDamaged), and
// errors.ErrUnsupported on systems without flock. Close the File after Run of its
// Replica has returned.
func OpenFile(path string, config FileConfig) (*File, error) {
	return openFile(osDisk{}, path, config)
}

func openFile(d disk, path string, config FileConfig) (_ *File, err error) {
	if path == "" {
		return nil, errors.New("blacklist: the path of the log is empty; use a file in a folder that only this program can write to")
	}
	// The program may change its working directory.
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("blacklist: %w", err)
	}
	lock, err := d.lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("blacklist: locking %s: %w", path, err)
	}
	f := &File{path: path, disk: d, lock: lock, turn: make(chan struct{}, 1), compacting: make(chan struct{}, 1)}
	if err := f.open(lock, config); err != nil {
		if f.handle != nil {
			err = errors.Join(err, f.handle.Close())
		}
		return nil, errors.Join(fmt.Errorf("%w (file %s)", err, path), lock.Close())
	}
	return f, nil
}

func (f *File) open(lock lockFile, config FileConfig) error {
	for _, left := range []string{".new", ".mended"} { // by a program that was cut off
		if err := f.disk.remove(f.path + left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("blacklist: %w", err)
		}
	}
	file, err := f.disk.open(f.path, false)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = f.create(lock)
	}
	if err != nil {
		return fmt.Errorf("blacklist: %w", err)
	}
	f.handle = &handle{file, 1}
	if err := lock.remember(); err != nil {
		return fmt.Errorf("blacklist: %w", err)
	}
	size, err := file.Size()
	if err != nil {
		return fmt.Errorf("blacklist: %w", err)
	}
	head := make([]byte, min(size, headerSize))
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, int64(len(head))), head); err != nil {
		return fmt.Errorf("blacklist: reading the header: %w", err)
	}
	h, err := parseHeader(head)
	if err != nil {
		return fmt.Errorf("%w; restore it from a backup", err)
	}
	f.base = h.base
	var skipped int64
	counting := &skipped
	if !config.InsecureSkipDamaged {
		counting = nil
	}
	end, batch, err := scan(file, size, counting, f.ends.add)
	f.end = end
	if errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w; restore it from a backup, or set FileConfig.InsecureSkipDamaged and lose what is damaged", err)
	}
	if err != nil {
		return fmt.Errorf("blacklist: %w", err)
	}
	if skipped > 0 {
		_, err := f.replace(context.Background(), ".mended", time.Now().Add(-keep), nil)
		return err
	}
	if f.end < size {
		if err := file.Truncate(f.end); err != nil {
			return fmt.Errorf("blacklist: cutting off a write that was not finished: %w", err)
		}
	}
	// The last batch was perhaps never synced, and from here on it is taken for
	// granted. A sync of a program before this one may also have failed: then
	// the system may consider data as written that the disk lacks, unless it
	// is written once more.
	again := make([]byte, f.end-batch)
	if _, err := io.ReadFull(io.NewSectionReader(file, batch, int64(len(again))), again); err != nil {
		return fmt.Errorf("blacklist: %w", err)
	}
	if _, err := file.WriteAt(again, batch); err != nil {
		return fmt.Errorf("blacklist: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("blacklist: %w", err)
	}
	// And the program before this one may have ended between the rename of a
	// compaction and its sync.
	if err := f.disk.syncFolder(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("blacklist: %w", err)
	}
	if f.end > headerSize {
		last := make([]byte, unitSize)
		if _, err := file.ReadAt(last, f.end-unitSize); err != nil {
			return fmt.Errorf("blacklist: %w", err)
		}
		f.clean = last[4] == formClosed
	}
	return nil
}

// create makes an empty log.
func (f *File) create(lock lockFile) (diskFile, error) {
	if lock.remembers() {
		return nil, fmt.Errorf("the log is gone, and with it all that was revoked; "+
			"restore it from a backup, or remove %s to begin anew", f.path+".lock")
	}
	file, err := f.disk.open(f.path+".new", true)
	if err != nil {
		return nil, err
	}
	if _, err = file.WriteAt(header{}.bytes(), 0); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = f.disk.rename(f.path+".new", f.path)
	}
	if err == nil {
		err = f.disk.syncFolder(filepath.Dir(f.path))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Append implements [Log]. It records all entries or none, unless the machine stops
// in the middle.
func (f *File) Append(ctx context.Context, entries ...Entry) (uint64, error) {
	if err := checkAll(ctx, entries); err != nil {
		return 0, err
	}
	if len(entries) == 0 {
		return 0, nil
	}
	for {
		b, mark, err := f.enqueue(entries)
		if err == nil {
			err = f.settle(ctx, b)
		}
		switch {
		case err != nil:
			return 0, err
		case mark == 0: // another batch, which is out of the way now
		case b.err != nil:
			return 0, b.err
		default:
			return b.before + uint64(mark), nil
		}
	}
}

// enqueue adds entries to the batch that is written next, and returns its number
// of units. It returns 0 if the batch is full and must be written first, because
// the callers that filled it may have been cancelled.
func (f *File) enqueue(entries []Entry) (*batch, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, 0, ErrClosed
	}
	if f.waiting == nil {
		f.waiting = &batch{done: make(chan struct{})}
	}
	b := f.waiting
	var units int64
	for _, e := range entries {
		units += e.units()
	}
	if b.count > 0 && (b.count+units)*unitSize > maxBatch {
		return b, 0, nil
	}
	for _, e := range entries {
		b.units = appendUnits(b.units, e)
		b.ends.add(e)
	}
	b.count += units
	return b, b.count, nil
}

// settle returns when the batch was written, by this caller unless another caller
// has the turn. It fails only if the context ends while another caller has the
// turn.
func (f *File) settle(ctx context.Context, b *batch) error {
	select {
	case f.turn <- struct{}{}:
	default:
		select {
		case <-b.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case f.turn <- struct{}{}:
		}
	}
	defer func() { <-f.turn }()
	select {
	case <-b.done: // by the caller who had the turn before
	default:
		f.write(b)
	}
	return nil
}

// write writes the batch, which is not written yet. The caller has the turn.
func (f *File) write(b *batch) {
	f.mu.Lock()
	f.waiting = nil
	closed := f.closed
	f.mu.Unlock()
	defer close(b.done)
	if closed {
		b.err = ErrClosed
		return
	}
	if b.err = f.mend(); b.err == nil {
		b.err = f.append(b)
	}
	if b.err != nil {
		b.err = fmt.Errorf("blacklist: %s: %w", f.path, b.err)
	}
}

// append writes units at the end. The caller has the turn, so no other goroutine changes
// f.end or f.handle.
func (f *File) append(b *batch) error {
	end := f.end
	index := (end - headerSize) / unitSize
	b.before = f.base + uint64(index)
	seal(b.units, index)
	if _, err := f.handle.WriteAt(b.units, end); err != nil {
		f.fault = fmt.Errorf("a write failed: %w", err)
		return err
	}
	if err := f.handle.Sync(); err != nil {
		// The system may now consider data as written that the disk lacks, and
		// another sync would succeed.
		f.fault, f.rewrite = fmt.Errorf("a sync failed: %w", err), true
		return err
	}
	f.clean = b.units[4] == formClosed
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end = end + int64(len(b.units))
	f.ends.join(&b.ends)
	return nil
}

// mend puts the end of the file in order after a write that failed. The caller
// has the turn.
func (f *File) mend() error {
	if f.fault == nil {
		return nil
	}
	var err error
	if f.rewrite {
		_, err = f.replace(context.Background(), ".mended", time.Now().Add(-keep), nil)
	} else if err = f.handle.Truncate(f.end); err == nil {
		if err = f.handle.Sync(); err != nil {
			f.rewrite = true
		}
	}
	if err != nil {
		return fmt.Errorf("nothing can be recorded since %w; putting it in order: %w", f.fault, err)
	}
	f.fault, f.rewrite = nil, false
	return nil
}

// Since implements [Log], with entries that are on the disk.
func (f *File) Since(ctx context.Context, after uint64, max int) ([]Entry, uint64, error) {
	if err := checkSince(ctx, max); err != nil {
		return nil, 0, err
	}
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, 0, ErrClosed
	}
	h, base, end := f.handle, f.base, f.end
	h.users++
	f.mu.Unlock()
	defer f.release(h)

	total := (end - headerSize) / unitSize
	if after > base+uint64(total) {
		return nil, 0, ErrRewound
	}
	index := int64(0)
	if after > base {
		index = int64(after - base)
	}
	buffer := min(max, 4096) * 2 * unitSize
	r := newReader(h, end, index, buffer)
	// After a compaction the number may be within an entry. The entry is then
	// returned.
	if u, err := r.peek(); err == nil && len(u) == unitSize && u[4] == formSecond && index > 0 {
		r = newReader(h, end, index-1, buffer)
	}
	last := after
	var entries []Entry
	for len(entries) < max {
		e, err := r.entry()
		if err == io.EOF {
			break
		}
		if err == errBroken {
			return nil, 0, fmt.Errorf("%w: %s at byte %d", ErrDamaged, f.path, r.offset())
		}
		if err != nil {
			return nil, 0, fmt.Errorf("blacklist: %w", err)
		}
		if entries == nil {
			entries = make([]Entry, 0, min(int64(max), total-index+1))
		}
		entries = append(entries, e)
		last = base + uint64(r.index)
	}
	return entries, last, nil
}

// release closes a handle that is no longer used.
func (f *File) release(h *handle) {
	f.mu.Lock()
	h.users--
	last := h.users == 0
	f.mu.Unlock()
	if last {
		_ = h.Close() // of a file that was replaced, and has nothing to lose
	}
}

// Close waits for the write in progress and closes the file. Unacknowledged entries
// may be lost.
func (f *File) Close() error {
	f.compacting <- struct{}{}
	defer func() { <-f.compacting }()
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return ErrClosed
	}
	f.closed = true
	if f.waiting != nil { // no goroutine has the turn for it: its callers were cancelled, or get the turn next
		f.waiting.err = ErrClosed
		close(f.waiting.done)
		f.waiting = nil
	}
	f.mu.Unlock()
	var err error
	if f.fault == nil && !f.clean {
		// With it, a unit that is damaged later is not mistaken for one
		// that was being written.
		err = f.append(&batch{units: closedUnit()})
	}
	f.release(f.handle)
	if err = errors.Join(err, f.lock.Close()); err != nil {
		return fmt.Errorf("blacklist: closing %s: %w", f.path, err)
	}
	return nil
}
