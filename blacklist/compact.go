package blacklist

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// DeleteExpired deletes entries that expired before the moment, and returns their
// number. It does nothing unless half of the file has expired and the file has 128
// KiB or more. Append waits only while the files are exchanged.
func (f *File) DeleteExpired(ctx context.Context, before time.Time) (deleted int64, err error) {
	select {
	case f.compacting <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-f.compacting }()
	f.mu.Lock()
	units := (f.end - headerSize) / unitSize
	gone := f.ends.before(before)
	closed := f.closed
	f.mu.Unlock()
	switch {
	case closed:
		return 0, ErrClosed
	case gone*2 < units || units < 4096:
		return 0, ctx.Err()
	}
	take := func() error {
		select {
		case f.turn <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var have bool
	deleted, err = f.replace(ctx, ".new", before, func() error {
		err := take()
		have = err == nil
		return err
	})
	if have {
		<-f.turn
	}
	if err != nil {
		return 0, fmt.Errorf("blacklist: deleting what has expired from %s: %w", f.path, err)
	}
	return deleted, nil
}

// replace writes a new file, without entries that expired before the moment and without
// damaged parts, and renames it to the old one. It copies the entries, calls take, which
// gets the turn, and copies the entries appended meanwhile. If take is nil, the caller has
// the turn from the start.
//
// The remaining entries receive the numbers of the last entries before: no number
// becomes smaller, so a reader that continues from a number misses no entry, but may
// read entries again.
//
// An append while a compaction runs may have to repair the file by replacing it. Each of
// the two therefore uses its own name for the new file.
func (f *File) replace(ctx context.Context, suffix string, before time.Time, take func() error) (deleted int64, err error) {
	name := f.path + suffix
	file, err := f.disk.open(name, true)
	if err != nil {
		return 0, err
	}
	kept := false
	defer func() {
		if !kept {
			err = errors.Join(err, file.Close(), f.disk.remove(name))
		}
	}()
	f.mu.Lock()
	h, end := f.handle, f.end
	h.users++
	f.mu.Unlock()
	defer f.release(h)

	c := &copier{out: bufio.NewWriterSize(&atWriter{file, headerSize}, 1<<18), before: micros(before)}
	index, err := c.copy(ctx, h, 0, end)
	if err != nil {
		return 0, err
	}
	if take != nil {
		if err := take(); err != nil {
			return 0, err
		}
		// Another goroutine had the turn and may have replaced the file, so that
		// the copied entries are from another file.
		if f.handle != h {
			return 0, errors.New("the file was replaced meanwhile; next time")
		}
		if _, err := c.copy(ctx, h, index, f.end); err != nil {
			return 0, err
		}
	}
	if err := c.out.Flush(); err != nil {
		return 0, err
	}
	last := f.base + uint64(f.end-headerSize)/unitSize
	base := last - uint64(c.index)
	if _, err := file.WriteAt(header{base}.bytes(), 0); err != nil {
		return 0, err
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	if err := f.disk.rename(name, f.path); err != nil {
		return 0, err
	}
	kept = true
	f.mu.Lock()
	f.handle = &handle{file, 1}
	f.base, f.end, f.ends = base, headerSize+c.index*unitSize, c.ends
	f.mu.Unlock()
	f.clean = false
	f.release(h) // the File's own use
	if err := f.disk.syncFolder(filepath.Dir(f.path)); err != nil {
		// After a loss of power the old file may be back, without what is
		// appended to the new one from now on.
		f.fault, f.rewrite = fmt.Errorf("a sync of the folder failed: %w", err), true
		return 0, err
	}
	return c.dropped, nil
}

// A copier writes entries that have not expired.
type copier struct {
	out     *bufio.Writer
	before  int64
	index   int64 // of the next unit
	dropped int64 // entries
	ends    endingUnits
}

// copy copies the entries from the index up to the end, and returns the index
// there.
func (c *copier) copy(ctx context.Context, from io.ReaderAt, index, end int64) (int64, error) {
	r := newReader(from, end, index, 1<<18)
	var units []byte
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		e, err := r.entry()
		switch {
		case err == io.EOF:
			return r.index, nil
		case err == errBroken:
			// In a file that opened, only with InsecureSkipDamaged.
			r.skip()
			continue
		case err != nil:
			return 0, err
		}
		if e.expired(c.before) {
			c.dropped++
			continue
		}
		units = appendUnits(units[:0], e)
		// Each is a batch of its own: all are on the disk before the file is
		// used.
		seal(units, c.index)
		if _, err := c.out.Write(units); err != nil {
			return 0, err
		}
		c.index += e.units()
		c.ends.add(e)
	}
}

// atWriter writes to a file from an offset on.
type atWriter struct {
	to io.WriterAt
	at int64
}

func (w *atWriter) Write(p []byte) (int, error) {
	n, err := w.to.WriteAt(p, w.at)
	w.at += int64(n)
	return n, err
}

// endingUnits counts units by the hour in which they expire, so that
// DeleteExpired can compute what it would free without reading the file.
type endingUnits map[int64]int64

const hour = int64(time.Hour / time.Microsecond)

func (n *endingUnits) add(e Entry) {
	if e.Expires == 0 {
		return
	}
	if *n == nil {
		*n = make(endingUnits)
	}
	// The last hour stands for all after it, some hundred years from 1970.
	(*n)[min(e.Expires/hour, 1<<20)] += e.units()
}

func (n *endingUnits) join(other *endingUnits) {
	if *n == nil {
		*n = make(endingUnits)
	}
	for h, units := range *other {
		(*n)[h] += units
	}
}

// before returns how many units have expired at the beginning of the hour.
func (n *endingUnits) before(moment time.Time) (units int64) {
	now := micros(moment) / hour
	for h, count := range *n {
		if h < now {
			units += count
		}
	}
	return units
}
