package blacklist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeDisk is a folder on a disk that fails and that loses power. It keeps
// what it was told to sync, and of the rest, sector by sector, what it likes.
type fakeDisk struct {
	mu      sync.Mutex
	random  *rand.Rand
	names   map[string]*fakeInode
	durable map[string]*fakeInode // after the last syncFolder
	locked  map[string]bool
	marked  map[string]bool
	// fail is asked before each operation and returns its error. With
	// errPower the disk is off.
	fail func(op string) error
}

const sector = 512

// A fakeInode is a file. What was written is dirty until it is synced; after a
// sync that failed it is not dirty any more and not on the disk either, as with
// Linux.
type fakeInode struct {
	data, durable []byte
	dirty         map[int]bool
}

var errPower = errors.New("the power is off")

func newFakeDisk(seed uint64) *fakeDisk {
	return &fakeDisk{
		random: rand.New(rand.NewPCG(seed, 7)),
		names:  map[string]*fakeInode{}, durable: map[string]*fakeInode{},
		locked: map[string]bool{}, marked: map[string]bool{},
		fail: func(string) error { return nil },
	}
}

func (d *fakeDisk) do(op string, f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fail(op); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return f()
}

func (d *fakeDisk) open(path string, fresh bool) (diskFile, error) {
	var inode *fakeInode
	err := d.do("open", func() error {
		inode = d.names[path]
		switch {
		case fresh:
			inode = &fakeInode{dirty: map[int]bool{}}
			d.names[path] = inode
		case inode == nil:
			return fs.ErrNotExist
		}
		return nil
	})
	return fakeFile{d, inode}, err
}

func (d *fakeDisk) rename(from, to string) error {
	return d.do("rename", func() error {
		if d.names[from] == nil {
			return fs.ErrNotExist
		}
		d.names[to] = d.names[from]
		delete(d.names, from)
		return nil
	})
}

func (d *fakeDisk) remove(path string) error {
	return d.do("remove", func() error {
		if d.names[path] == nil {
			return fs.ErrNotExist
		}
		delete(d.names, path)
		return nil
	})
}

func (d *fakeDisk) syncFolder(string) error {
	return d.do("sync folder", func() error {
		d.durable = maps.Clone(d.names)
		return nil
	})
}

func (d *fakeDisk) lock(path string) (lockFile, error) {
	if d.locked[path] {
		return nil, errors.New("locked")
	}
	d.locked[path] = true
	return fakeLock{d, path}, nil
}

type fakeLock struct {
	d    *fakeDisk
	path string
}

func (l fakeLock) Close() error    { l.d.locked[l.path] = false; return nil }
func (l fakeLock) remember() error { l.d.marked[l.path] = true; return nil }
func (l fakeLock) remembers() bool { return l.d.marked[l.path] }

// afterPowerLoss returns what is found when the power is back.
func (d *fakeDisk) afterPowerLoss() *fakeDisk {
	after := newFakeDisk(d.random.Uint64())
	after.marked = d.marked
	names := d.durable
	if d.random.IntN(2) == 0 {
		names = d.names
	}
	for name, inode := range names {
		b := slices.Clone(inode.durable)
		size := len(b)
		if n := len(inode.data); n != size && d.random.IntN(3) > 0 {
			// The size may have got to the disk before the data did.
			size = n
			if n > len(b) && d.random.IntN(2) == 0 {
				size = len(b) + d.random.IntN(n-len(b))/unitSize*unitSize
			}
		}
		if size < len(b) {
			b = b[:size]
		} else {
			b = append(b, make([]byte, size-len(b))...)
		}
		for s := range inode.dirty {
			from, to := s*sector, min((s+1)*sector, len(inode.data), size)
			if from < to && d.random.IntN(2) == 0 {
				copy(b[from:to], inode.data[from:to])
			}
		}
		after.names[name] = &fakeInode{data: b, durable: slices.Clone(b), dirty: map[int]bool{}}
	}
	after.durable = maps.Clone(after.names)
	return after
}

type fakeFile struct {
	d *fakeDisk
	*fakeInode
}

func (f fakeFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.d.do("read", func() error {
		if off >= int64(len(f.data)) {
			return io.EOF
		}
		if n = copy(p, f.data[off:]); n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (f fakeFile) WriteAt(p []byte, off int64) (int, error) {
	d := f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.fail("write")
	switch {
	case errors.Is(err, errPower):
		return 0, err
	case err != nil:
		p = p[:d.random.IntN(len(p)+1)] // as far as it got
	}
	return f.put(p, off), err
}

func (f fakeFile) put(p []byte, off int64) int {
	if need := int(off) + len(p); need > len(f.data) {
		f.data = append(f.data, make([]byte, need-len(f.data))...)
	}
	copy(f.data[off:], p)
	for s := int(off) / sector; s*sector < int(off)+len(p); s++ {
		f.dirty[s] = true
	}
	return len(p)
}

func (f fakeFile) Sync() error {
	d := f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.fail("sync")
	if errors.Is(err, errPower) {
		return err
	}
	size := len(f.data)
	if size < len(f.durable) {
		f.durable = f.durable[:size]
	} else {
		f.durable = append(f.durable, make([]byte, size-len(f.durable))...)
	}
	for s := range f.dirty {
		if err != nil && d.random.IntN(2) == 0 {
			continue // lost, and nobody will try again
		}
		to := min((s+1)*sector, size)
		if s*sector < to {
			copy(f.durable[s*sector:to], f.data[s*sector:to])
		}
	}
	clear(f.dirty)
	return err
}

func (f fakeFile) Truncate(size int64) error {
	return f.d.do("truncate", func() error {
		f.data = f.data[:size]
		f.dirty[int(size)/sector] = true
		return nil
	})
}

func (f fakeFile) Size() (n int64, err error) {
	err = f.d.do("size", func() error { n = int64(len(f.data)); return nil })
	return n, err
}

func (f fakeFile) Close() error { return nil }

var errDisk = errors.New("input/output error")

// numbered returns an entry with a number of its own, of one unit or two.
func numbered(n int, stale bool) Entry {
	e := Entry{Kind: KindSession}
	binary.LittleEndian.PutUint64(e.ID[:], uint64(n))
	if n%3 == 0 {
		e.Before = int64(n) + 1
	}
	if n%6 == 0 {
		e.Spare = ID{1, 2, 3}
	}
	if stale {
		e.Expires = 1
	}
	return e
}

func readAll(f *File) ([]Entry, error) {
	entries, _, err := f.Since(context.Background(), 0, 1<<20)
	return entries, err
}

// R7: operations fail at random, programs end at random, and the power goes at
// random, also in the middle of a compaction. Every entry that was acknowledged
// is there afterwards, in its order, and never is a file taken for damaged that
// was not.
func TestFileOnADiskThatFails(t *testing.T) {
	rounds := uint64(300)
	if n := os.Getenv("GATEWRIGHT_DISK_ROUNDS"); n != "" {
		var err error
		if rounds, err = strconv.ParseUint(n, 10, 32); err != nil {
			t.Fatal(err)
		}
	}
	acknowledgedTotal, cuts, mended, compacted := 0, 0, 0, 0
	for round := range rounds {
		random := rand.New(rand.NewPCG(round, 1))
		d := newFakeDisk(round)
		chance := []float64{0, 0.02, 0.1, 0.3}[random.IntN(4)]
		only := []string{"", "", "write", "sync", "sync folder", "rename", "truncate"}[random.IntN(7)]
		arm := func(d *fakeDisk, ops int) {
			off := false
			d.fail = func(op string) error {
				if ops--; ops < 0 || off {
					off = true
					return errPower
				}
				if (only == "" || op == only) && op != "read" && op != "size" && random.Float64() < chance {
					return errDisk
				}
				return nil
			}
		}
		var tried, acknowledged []Entry
		number := 0
		for range 1 + random.IntN(4) { // programs, one after the other
			d.fail = func(string) error { return nil }
			f, err := openFile(d, "/log", FileConfig{})
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			got, err := readAll(f)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			check(t, round, got, tried, acknowledged)
			arm(d, random.IntN(120))
			failed := false
			for range random.IntN(40) {
				var batch []Entry
				n := 1 + random.IntN(40)
				if random.IntN(60) == 0 {
					n = 4096 // so that there is something to compact
				}
				for range n {
					batch = append(batch, numbered(number, n == 4096))
					number++
				}
				tried = append(tried, batch...)
				if _, err := f.Append(context.Background(), batch...); err == nil {
					acknowledged = append(acknowledged, batch...)
					if failed {
						mended++
					}
					failed = false
				} else {
					failed = true
				}
				if random.IntN(10) == 0 {
					f.mu.Lock()
					base := f.base
					f.mu.Unlock()
					f.DeleteExpired(context.Background(), time.Now()) // may fail, like everything
					if f.base != base {
						compacted++
					}
				}
			}
			switch random.IntN(3) {
			case 0: // ends in good order
				f.Close()
				d.locked = map[string]bool{}
			case 1: // is killed: what was written is written
				d.locked = map[string]bool{}
			default: // and the power with it
				d = d.afterPowerLoss()
				cuts++
			}
		}
		acknowledgedTotal += len(acknowledged)
		d.fail = func(string) error { return nil }
		f, err := openFile(d, "/log", FileConfig{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got, err := readAll(f)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		check(t, round, got, tried, acknowledged)
	}
	t.Logf("%d entries acknowledged, %d losses of power, %d appends after a failure, %d compactions", acknowledgedTotal, cuts, mended, compacted)
	if cuts < int(rounds)/2 || mended < int(rounds)/20 || compacted < int(rounds)/50 {
		t.Error("too little happened: the test proves nothing")
	}
}

// check fails unless got has all that was acknowledged and has not expired, and
// nothing that was not tried, in its order.
func check(t *testing.T, round uint64, got, tried, acknowledged []Entry) {
	t.Helper()
	number := func(e Entry) uint64 { return binary.LittleEndian.Uint64(e.ID[:]) }
	have := map[Entry]bool{}
	last := -1
	for _, e := range got {
		n := int(number(e))
		if n <= last || n >= len(tried) || tried[n] != e {
			t.Fatalf("round %d: entry %d comes after %d, or is not what was appended", round, n, last)
		}
		last = n
		have[e] = true
	}
	for _, e := range acknowledged {
		if !have[e] && e.Expires == 0 {
			t.Fatalf("round %d: entry %d was acknowledged and is gone; the last of %d that are there is %d", round, number(e), len(got), last)
		}
	}
}

// After a write that failed nothing is acknowledged until the end of the file is
// in order.
func TestFileThatCannotBeMended(t *testing.T) {
	for _, broken := range []string{"write", "sync"} {
		t.Run(broken+" fails", func(t *testing.T) {
			d := newFakeDisk(1)
			f, err := openFile(d, "/log", FileConfig{})
			if err != nil {
				t.Fatal(err)
			}
			appendOne := func(n int) error {
				_, err := f.Append(t.Context(), numbered(n, false))
				return err
			}
			if err := appendOne(0); err != nil {
				t.Fatal(err)
			}
			d.fail = func(op string) error {
				if op == broken {
					return errDisk
				}
				return nil
			}
			if err := appendOne(1); !errors.Is(err, errDisk) {
				t.Errorf("Append = %v, want the error of the disk", err)
			}
			// The disk writes again, but the end cannot be put in order: by
			// cutting it off, and after a sync that failed, when nobody
			// knows what is on the disk, by a new file.
			d.fail = func(op string) error {
				if op == map[string]string{"write": "truncate", "sync": "open"}[broken] {
					return errDisk
				}
				return nil
			}
			for range 3 {
				if err := appendOne(1); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "nothing can be recorded since a "+broken+" failed") {
					t.Errorf("Append = %v, want what happened first, and why it is not mended", err)
				}
			}
			if got, err := readAll(f); err != nil || len(got) != 1 {
				t.Errorf("%d entries (%v) while it is broken, want the one that was acknowledged", len(got), err)
			}
			d.fail = func(string) error { return nil }
			if err := appendOne(1); err != nil {
				t.Errorf("Append = %v, when the disk is well again", err)
			}
			if got, err := readAll(f); err != nil || len(got) != 2 {
				t.Errorf("%d entries (%v), want 2", len(got), err)
			}
		})
	}
}

// What is read is on the disk for certain, and not only written.
func TestSinceDoesNotReturnWhatIsNotSynced(t *testing.T) {
	d := newFakeDisk(1)
	f, err := openFile(d, "/log", FileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var during []Entry
	d.fail = func(op string) error {
		if op == "sync" {
			d.mu.Unlock()
			during, _ = readAll(f)
			d.mu.Lock()
		}
		return nil
	}
	if _, err := f.Append(t.Context(), numbered(0, false)); err != nil {
		t.Fatal(err)
	}
	if len(during) != 0 {
		t.Error("an entry was read before it was synced: a loss of power would take it back")
	}
}

// Calls that come while the disk syncs share the next sync.
func TestGroupSync(t *testing.T) {
	d := newFakeDisk(1)
	f, err := openFile(d, "/log", FileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const callers = 50
	var syncs atomic.Int64
	d.fail = func(op string) error {
		if op != "sync" {
			return nil
		}
		if syncs.Add(1) == 1 {
			// Until all the others wait.
			for {
				f.mu.Lock()
				waiting := f.waiting != nil && f.waiting.count == callers
				f.mu.Unlock()
				if waiting {
					return nil
				}
				time.Sleep(time.Microsecond)
			}
		}
		return nil
	}
	var all sync.WaitGroup
	numbers := make(chan uint64, callers+1)
	call := func(e Entry) {
		n, err := f.Append(context.Background(), e)
		if err != nil {
			t.Error(err)
		}
		numbers <- n
	}
	one := Entry{Kind: KindSession}
	all.Go(func() { call(one) })
	for syncs.Load() == 0 {
		time.Sleep(time.Microsecond)
	}
	for range callers {
		all.Go(func() { call(one) })
	}
	all.Wait()
	close(numbers)
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d syncs for %d calls, want 2", n, callers+1)
	}
	seen := map[uint64]bool{}
	for n := range numbers {
		if n < 1 || n > callers+1 || seen[n] {
			t.Errorf("the number %d was given twice, or is none", n)
		}
		seen[n] = true
	}
}

// queue returns how many units wait.
func (f *File) queue() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == nil {
		return 0
	}
	return f.waiting.count
}

// Whoever hangs up while they wait does not stop the others.
func TestAppendThatIsCancelledWhileItWaits(t *testing.T) {
	d := newFakeDisk(1)
	f, err := openFile(d, "/log", FileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	f.turn <- struct{}{} // somebody writes
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := f.Append(ctx, numbered(0, false))
		done <- err
	}()
	for f.queue() == 0 {
		time.Sleep(time.Microsecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Append = %v, want the error of the context", err)
	}
	<-f.turn
	if _, err := f.Append(t.Context(), numbered(1, false)); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(f); err != nil || len(got) != 2 {
		t.Errorf("%d entries (%v), want both: the first one was already waiting", len(got), err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestFileRecoversFromAFullBatchWithoutARestart(t *testing.T) {
	full := make([]Entry, maxBatch/unitSize)
	for i := range full {
		full[i] = numbered(3*i+1, false) // of one unit
	}
	one := numbered(2, false)
	for _, tt := range []struct {
		name string
		fill func(t *testing.T, f *File) error // while another caller has the turn
	}{
		{"one call that fills it is cancelled", func(t *testing.T, f *File) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := f.Append(ctx, full...)
			return err
		}},
		{"many calls that fill it are cancelled", func(t *testing.T, f *File) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var calls sync.WaitGroup
			for part := range slices.Chunk(full, 4096) {
				calls.Go(func() { _, _ = f.Append(ctx, part...) })
			}
			calls.Wait()
			return ctx.Err()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, err := openFile(newFakeDisk(1), "/log", FileConfig{})
				if err != nil {
					t.Fatal(err)
				}
				f.turn <- struct{}{} // a disk that has stalled
				if err := tt.fill(t, f); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("Append on a stalled disk = %v", err)
				}
				for range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if _, err := f.Append(ctx, one); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Append while the disk stalls = %v", err)
					}
					cancel()
				}
				<-f.turn // it goes on
				for range 2 {
					if _, err := f.Append(t.Context(), one); err != nil {
						t.Errorf("Append after the disk went on = %v", err)
					}
				}
				got, err := readAll(f)
				if err != nil || len(got) != len(full)+2 || got[len(full)] != one {
					t.Errorf("%d entries (%v), want %d: cancelled calls were waiting", len(got), err, len(full)+2)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAppendToAFullBatchOfAClosedFileEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := openFile(newFakeDisk(1), "/log", FileConfig{})
		if err != nil {
			t.Fatal(err)
		}
		full := make([]Entry, maxBatch/unitSize)
		for i := range full {
			full[i] = numbered(3*i+1, false) // of one unit
		}
		f.turn <- struct{}{}
		ended := make(chan error, 2)
		go func() { _, err := f.Append(t.Context(), full...); ended <- err }()
		synctest.Wait()
		go func() { _, err := f.Append(t.Context(), full[0]); ended <- err }()
		synctest.Wait()
		f.mu.Lock()
		f.closed = true
		f.mu.Unlock()
		<-f.turn
		for range 2 {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Errorf("Append = %v, want ErrClosed", err)
			}
		}
	})
}

// FuzzFile changes a file. Whatever it has become, reading it ends in an error
// or in a part of what was written, from the beginning.
func FuzzFile(f *testing.F) {
	f.Add(uint16(5), uint32(0), uint8(0), []byte(nil))
	f.Add(uint16(9), uint32(100), uint8(1), []byte{1})
	f.Add(uint16(9), uint32(64), uint8(2), make([]byte, 64))
	f.Add(uint16(20), uint32(96), uint8(3), []byte("abc"))
	f.Add(uint16(3), uint32(3), uint8(4), []byte("gwrevoke"))
	f.Fuzz(func(t *testing.T, count uint16, at uint32, how uint8, put []byte) {
		d := newFakeDisk(1)
		log, err := openFile(d, "/log", FileConfig{})
		if err != nil {
			t.Fatal(err)
		}
		var written []Entry
		for i := range int(count % 64) {
			written = append(written, numbered(i, false))
			if _, err := log.Append(t.Context(), written[i]); err != nil {
				t.Fatal(err)
			}
		}
		if how&1 == 0 {
			log.Close()
		}
		inode := d.names["/log"]
		b := inode.data
		from := int(at) % (len(b) + 1)
		switch how / 2 % 6 {
		case 0: // other bytes
			copy(b[from:], put)
		case 1: // flipped bits
			for i := range put {
				if from+i < len(b) {
					b[from+i] ^= put[i]
				}
			}
		case 2: // cut off
			b = b[:from]
		case 3: // cut off, and something else behind
			b = append(b[:from], put...)
		case 4: // something in the middle
			b = slices.Insert(b, from, put...)
		case 5: // nothing of it
			b = put
		}
		inode.data = b
		for _, skip := range []bool{false, true} {
			d.locked = map[string]bool{}
			log, err := openFile(d, "/log", FileConfig{InsecureSkipDamaged: skip})
			if err != nil {
				continue
			}
			got, err := readAll(log)
			if err != nil {
				t.Fatalf("OpenFile found nothing wrong, and Since = %v", err)
			}
			if !skip {
				if len(got) > len(written) || !slices.Equal(got, written[:len(got)]) {
					t.Fatalf("read %d entries that are not the first of the %d that were written", len(got), len(written))
				}
				inode = d.names["/log"]
				inode.data = slices.Clone(b) // OpenFile may have cut it off
				continue
			}
			rest := written
			for _, e := range got {
				i := slices.Index(rest, e)
				if i < 0 {
					t.Fatal("read an entry that was never written, or in another order")
				}
				rest = rest[i+1:]
			}
		}
	})
}

// openFake opens the log of a disk, whose program before is gone.
func openFake(t *testing.T, d *fakeDisk) *File {
	t.Helper()
	d.fail = func(string) error { return nil }
	d.locked = map[string]bool{}
	f, err := openFile(d, "/log", FileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func appendNumbered(f *File, from, to int) error {
	var batch []Entry
	for n := from; n < to; n++ {
		batch = append(batch, numbered(n, false))
	}
	_, err := f.Append(context.Background(), batch...)
	return err
}

func wantNumbered(t *testing.T, f *File, to int) {
	t.Helper()
	got, err := readAll(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []Entry
	for n := range to {
		all = append(all, numbered(n, false))
	}
	if !slices.Equal(got, all) {
		t.Fatalf("read %d entries, want the %d that were appended", len(got), to)
	}
}

// A sync fails, the program is killed, and the next one finds in the file what
// is not on the disk: it must write it once more before it goes on.
func TestFileAfterASyncThatFailedInAnotherProgram(t *testing.T) {
	for seed := range uint64(50) {
		d := newFakeDisk(seed)
		f := openFake(t, d)
		if err := appendNumbered(f, 0, 10); err != nil {
			t.Fatal(err)
		}
		d.fail = func(op string) error {
			if op == "sync" {
				return errDisk
			}
			return nil
		}
		if err := appendNumbered(f, 10, 100); err == nil {
			t.Fatal("acknowledged without a sync")
		}
		f = openFake(t, d)
		wantNumbered(t, f, 100)
		if err := appendNumbered(f, 100, 110); err != nil {
			t.Fatal(err)
		}
		wantNumbered(t, openFake(t, d.afterPowerLoss()), 110)
	}
}

// A program is killed between the rename of a compaction and its sync.
func TestFileAfterARenameThatWasNotSynced(t *testing.T) {
	for seed := range uint64(20) {
		d := newFakeDisk(seed)
		f := openFake(t, d)
		if err := appendNumbered(f, 0, 10); err != nil {
			t.Fatal(err)
		}
		stale := make([]Entry, 5000)
		for i := range stale {
			stale[i] = numbered(1, true)
		}
		if _, err := f.Append(t.Context(), stale...); err != nil {
			t.Fatal(err)
		}
		d.fail = func(op string) error {
			if op == "sync folder" {
				return errPower
			}
			return nil
		}
		if _, err := f.DeleteExpired(t.Context(), time.Now()); !errors.Is(err, errPower) {
			t.Fatalf("DeleteExpired = %v", err)
		}
		f = openFake(t, d)
		if err := appendNumbered(f, 10, 20); err != nil {
			t.Fatal(err)
		}
		wantNumbered(t, openFake(t, d.afterPowerLoss()), 20)
	}
}

// While a compaction copies, a sync fails, and the file is replaced to mend it.
// What was copied is of a file that is no more.
func TestDeleteExpiredWhileTheFileIsMended(t *testing.T) {
	d := newFakeDisk(1)
	f := openFake(t, d)
	stale := make([]Entry, 5000)
	for i := range stale {
		stale[i] = numbered(1, true)
	}
	if _, err := f.Append(t.Context(), stale...); err != nil {
		t.Fatal(err)
	}
	if err := appendNumbered(f, 0, 10); err != nil {
		t.Fatal(err)
	}
	broken, copying := true, true
	d.fail = func(op string) error {
		switch {
		case op == "open" && copying: // of the compaction
			copying = false
			d.mu.Unlock()
			defer d.mu.Lock()
			if err := appendNumbered(f, 10, 20); !errors.Is(err, errDisk) {
				t.Errorf("Append = %v, want the error of the disk", err)
			}
		case op == "sync" && broken:
			broken = false
			return errDisk
		case op == "read" && !broken && f.rewrite && f.handle.users == 2: // of the compaction too
			d.mu.Unlock()
			defer d.mu.Lock()
			if err := appendNumbered(f, 10, 20); err != nil {
				t.Errorf("Append = %v, want it mended", err)
			}
		}
		return nil
	}
	if _, err := f.DeleteExpired(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "replaced meanwhile") {
		t.Errorf("DeleteExpired = %v, want it to give up", err)
	}
	wantNumbered(t, f, 20)
	wantNumbered(t, openFake(t, d), 20)
}

// Units that are intact and do not belong together are damage too.
func TestHalvesThatDoNotBelongTogether(t *testing.T) {
	first, second := appendUnits(nil, numbered(3, false))[:unitSize], appendUnits(nil, numbered(3, false))[unitSize:]
	whole := appendUnits(nil, numbered(1, false))
	for _, units := range [][]byte{
		slices.Concat(first, whole),
		slices.Concat(first, first, second),
		slices.Concat(whole, second),
		slices.Concat(first, closedUnit()),
	} {
		units = append(units, whole...)
		seal(units, 0)
		file := append(header{}.bytes(), units...)
		d := newFakeDisk(1)
		d.names["/log"] = &fakeInode{data: file, dirty: map[int]bool{}}
		if _, err := openFile(d, "/log", FileConfig{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%x: OpenFile = %v, want ErrDamaged", units, err)
		}
	}
}

// Numbers that were the end of an entry may be in the middle of one after a
// compaction.
func TestSinceFromEveryNumberAfterACompaction(t *testing.T) {
	f := openFake(t, newFakeDisk(1))
	var live, stale []Entry
	for i := range 50 {
		live = append(live, numbered(3*i, false)) // of two units
	}
	for i := range 5000 {
		stale = append(stale, numbered(3*i+1, true))
	}
	last, err := f.Append(t.Context(), append(live, stale...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.DeleteExpired(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for after := range last + 1 {
		got, end, err := f.Since(t.Context(), after, 1000)
		if err != nil || end != last && after < last {
			t.Fatalf("Since(%d) leads to %d (%v), want %d", after, end, err, last)
		}
		if !slices.Equal(got, live[len(live)-len(got):]) {
			t.Fatalf("Since(%d) returned %d entries that are not the last", after, len(got))
		}
		if after <= last-100 && len(got) != 50 {
			t.Fatalf("Since(%d) returned %d entries, want all 50: it was an earlier number of each", after, len(got))
		}
	}
}

// What is appended while a compaction copies is copied too.
func TestDeleteExpiredCopiesWhatComesMeanwhile(t *testing.T) {
	d := newFakeDisk(1)
	f := openFake(t, d)
	if err := appendNumbered(f, 0, 10); err != nil {
		t.Fatal(err)
	}
	stale := make([]Entry, 5000)
	for i := range stale {
		stale[i] = numbered(1, true)
	}
	if _, err := f.Append(t.Context(), stale...); err != nil {
		t.Fatal(err)
	}
	meanwhile := false
	d.fail = func(op string) error {
		if op == "read" && !meanwhile {
			meanwhile = true
			d.mu.Unlock()
			defer d.mu.Lock()
			if err := appendNumbered(f, 10, 20); err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	if _, err := f.DeleteExpired(t.Context(), time.Now()); err != nil || !meanwhile {
		t.Fatalf("DeleteExpired = %v, and something came meanwhile: %t", err, meanwhile)
	}
	wantNumbered(t, f, 20)
	if err := appendNumbered(f, 20, 30); err != nil {
		t.Fatal(err)
	}
	wantNumbered(t, openFake(t, d.afterPowerLoss()), 30)
}
