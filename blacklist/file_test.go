package blacklist_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
)

func logPath(t testing.TB) string { return filepath.Join(t.TempDir(), "revocations.log") }

// openLog opens the file at the path, which is closed when the test ends.
func openLog(t testing.TB, path string) *blacklist.File {
	t.Helper()
	f, err := blacklist.OpenFile(path, blacklist.FileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() }) // a test may have done so
	return f
}

func TestFileKeepsTheRules(t *testing.T) {
	t.Run("one for each rule", func(t *testing.T) {
		blacklisttest.RunLog(t, func(t *testing.T) blacklist.Log { return openLog(t, logPath(t)) })
	})
	t.Run("the same for all", func(t *testing.T) {
		path := logPath(t)
		blacklisttest.RunLog(t, func(t *testing.T) blacklist.Log { return openLog(t, path) })
	})
}

func TestMemoryLogKeepsTheRules(t *testing.T) {
	t.Run("one for each rule", func(t *testing.T) {
		blacklisttest.RunLog(t, func(*testing.T) blacklist.Log { return new(blacklist.MemoryLog) })
	})
	t.Run("the same for all", func(t *testing.T) {
		shared := new(blacklist.MemoryLog)
		blacklisttest.RunLog(t, func(*testing.T) blacklist.Log { return shared })
	})
}

func entryOf(t testing.TB, r identity.Revocation) blacklist.Entry {
	t.Helper()
	if r.Issuer == "" {
		r.Issuer = issuer
	}
	e, err := blacklist.NewEntry(r)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// someEntries returns n entries of all sizes.
func someEntries(t testing.TB, n int) (all []blacklist.Entry) {
	for i := range n {
		r := identity.Revocation{Subject: fmt.Sprint(i), Expires: time.Now().Add(time.Hour)}
		if i%3 == 1 {
			r.Before = time.Now()
		}
		if i%3 == 2 {
			r.Before, r.Spare = time.Now(), "own"
		}
		all = append(all, entryOf(t, r))
	}
	return all
}

func appendTo(t testing.TB, log blacklist.Log, entries ...blacklist.Entry) {
	t.Helper()
	if _, err := log.Append(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
}

func everything(log blacklist.Log) ([]blacklist.Entry, error) {
	entries, _, err := log.Since(context.Background(), 0, 1<<20)
	return entries, err
}

func wantEntries(t testing.TB, log blacklist.Log, want []blacklist.Entry, when string) {
	t.Helper()
	got, err := everything(log)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: %d entries (%v), want %d", when, len(got), err, len(want))
	}
}

func closeLog(t testing.TB, f *blacklist.File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFileSurvivesClose(t *testing.T) {
	path := logPath(t)
	var want []blacklist.Entry
	for round := range 4 {
		f := openLog(t, path)
		wantEntries(t, f, want, fmt.Sprint("round ", round))
		more := someEntries(t, 5)
		appendTo(t, f, more...)
		want = append(want, more...)
		wantEntries(t, f, want, fmt.Sprint("round ", round))
		closeLog(t, f)
	}
	size := len(readFile(t, path))
	for range 5 { // does not grow by being opened
		closeLog(t, openLog(t, path))
	}
	if n := len(readFile(t, path)); n != size {
		t.Errorf("the file grew from %d to %d bytes by being opened and closed", size, n)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the file is %v (%v), want 0600", info.Mode(), err)
	}
}

func TestFileAfterClose(t *testing.T) {
	f := openLog(t, logPath(t))
	closeLog(t, f)
	if _, err := f.Append(t.Context(), someEntries(t, 1)...); !errors.Is(err, blacklist.ErrClosed) {
		t.Errorf("Append = %v, want ErrClosed", err)
	}
	if _, _, err := f.Since(t.Context(), 0, 1); !errors.Is(err, blacklist.ErrClosed) {
		t.Errorf("Since = %v, want ErrClosed", err)
	}
	if _, err := f.DeleteExpired(t.Context(), time.Now()); !errors.Is(err, blacklist.ErrClosed) {
		t.Errorf("DeleteExpired = %v, want ErrClosed", err)
	}
	if err := f.Close(); !errors.Is(err, blacklist.ErrClosed) {
		t.Errorf("Close = %v, want ErrClosed", err)
	}
}

func TestFileIsLocked(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	_, err := blacklist.OpenFile(path, blacklist.FileConfig{})
	if err == nil || !strings.Contains(err.Error(), "has it open") {
		t.Fatalf("a second OpenFile = %v, want an error that says why", err)
	}
	appendTo(t, f, someEntries(t, 1)...)
	closeLog(t, f)
	closeLog(t, openLog(t, path))
}

func TestFileThatIsGoneIsNotBegunAnew(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	appendTo(t, f, someEntries(t, 1)...)
	closeLog(t, f)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, err := blacklist.OpenFile(path, blacklist.FileConfig{})
	if err == nil || !strings.Contains(err.Error(), "the log is gone") || !strings.Contains(err.Error(), ".lock") {
		t.Fatalf("OpenFile = %v, want an error that names the way out", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a new log was made all the same")
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, openLog(t, path), nil, "after the lock was removed on purpose")
}

func TestOpenFileMistakes(t *testing.T) {
	folder := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(folder, name)
		writeFile(t, path, b)
		return path
	}
	f := openLog(t, filepath.Join(folder, "good"))
	closeLog(t, f)
	good := readFile(t, filepath.Join(folder, "good"))
	version := slices.Clone(good)
	version[8] = 2
	binary.LittleEndian.PutUint32(version[60:], crc32.Checksum(version[:60], crc32.MakeTable(crc32.Castagnoli)))
	for _, tt := range []struct {
		name, path, want string
		damaged          bool
	}{
		{"no path", "", "the path of the log is empty", false},
		{"a folder that does not exist", filepath.Join(folder, "none", "log"), "no such file", false},
		{"a folder", folder, "directory", false},
		{"an empty file", write("empty", nil), "restore it from a backup", true},
		{"half a header", write("half", good[:30]), "restore it from a backup", true},
		{"another file", write("other", []byte(strings.Repeat("SQLite format 3 ", 10))), "never was a log of revocations", true},
		{"a later version", write("later", version), "version 2 instead of 1", false},
		{"zeros", write("zeros", make([]byte, 4096)), "never was a log", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := blacklist.OpenFile(tt.path, blacklist.FileConfig{})
			if err == nil {
				f.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "blacklist: ") || errors.Is(err, blacklist.ErrDamaged) != tt.damaged {
				t.Errorf("got %q, want %q in it, damaged: %t", err, tt.want, tt.damaged)
			}
		})
	}
}

// R7: a file that was cut off anywhere, as a crash does it, opens with all that
// is whole, and goes on.
func TestFileCutOffAnywhere(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	all := someEntries(t, 9)
	for _, batch := range [][]blacklist.Entry{all[:1], all[1:2], all[2:6], all[6:]} {
		appendTo(t, f, batch...)
	}
	whole := readFile(t, path) // without the mark of Close
	crashed := logPath(t)
	for size := 64; size <= len(whole); size++ {
		tails := []int{0} // of zeros, where a file had grown already
		if size%32 == 0 { // and disks write sectors
			tails = []int{0, 1, 31, 32, 5000}
		}
		n, at := 0, 64
		for _, e := range all {
			if at += 32; e.Before != 0 {
				at += 32
			}
			if at <= size {
				n++
			}
		}
		for _, tail := range tails {
			when := fmt.Sprintf("cut off after %d bytes and %d zeros", size, tail)
			writeFile(t, crashed, append(slices.Clone(whole[:size]), make([]byte, tail)...))
			f, err := blacklist.OpenFile(crashed, blacklist.FileConfig{})
			if err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			wantEntries(t, f, all[:n], when)
			if size%16 == 0 {
				more := someEntries(t, 2)
				appendTo(t, f, more...)
				want := append(slices.Clone(all[:n]), more...)
				closeLog(t, f)
				f = openLog(t, crashed)
				wantEntries(t, f, want, when+", after going on and opening again")
			}
			closeLog(t, f)
		}
	}
}

// R7: whatever bit is flipped, in a file that a program was using or that it has
// closed, OpenFile refuses and says what to do.
func TestFileWithAFlippedBit(t *testing.T) {
	for _, closed := range []bool{true, false} {
		path := logPath(t)
		f := openLog(t, path)
		all := someEntries(t, 4)
		for _, e := range all {
			appendTo(t, f, e)
		}
		if closed {
			closeLog(t, f)
		}
		good := readFile(t, path)
		damaged := filepath.Join(t.TempDir(), "damaged")
		for bit := range len(good) * 8 {
			b := slices.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			writeFile(t, damaged, b)
			f, err := blacklist.OpenFile(damaged, blacklist.FileConfig{})
			if err == nil {
				f.Close()
				t.Fatalf("bit %d of byte %d flipped, closed %t: opened", bit%8, bit/8, closed)
			}
			if !errors.Is(err, blacklist.ErrDamaged) || !strings.Contains(err.Error(), "backup") || !strings.Contains(err.Error(), damaged) {
				t.Fatalf("bit %d of byte %d flipped: got %v, want what to do, and which file", bit%8, bit/8, err)
			}
		}
	}
}

// R7: records that are whole and in the wrong place, or not there.
func TestFileWithMovedRecords(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	all := someEntries(t, 6)
	for _, e := range all {
		appendTo(t, f, e)
	}
	closeLog(t, f)
	good := readFile(t, path)
	unit := func(i int) []byte { return good[64+32*i : 64+32*(i+1)] }
	units := (len(good) - 64) / 32
	damaged := filepath.Join(t.TempDir(), "damaged")
	refused := func(what string, b []byte) {
		t.Helper()
		writeFile(t, damaged, b)
		f, err := blacklist.OpenFile(damaged, blacklist.FileConfig{})
		if err == nil {
			f.Close()
		}
		if !errors.Is(err, blacklist.ErrDamaged) {
			t.Errorf("%s: OpenFile = %v, want ErrDamaged", what, err)
		}
	}
	for i := range units - 1 {
		for j := range i {
			b := slices.Clone(good)
			copy(b[64+32*i:], unit(j))
			refused(fmt.Sprintf("unit %d in the place of %d", j, i), b)
			copy(b[64+32*j:], unit(i))
			refused(fmt.Sprintf("units %d and %d exchanged", j, i), b)
		}
		refused(fmt.Sprintf("without unit %d", i), slices.Delete(slices.Clone(good), 64+32*i, 64+32*(i+1)))
		b := slices.Clone(good)
		clear(b[64+32*i : 64+32*(i+1)])
		refused(fmt.Sprintf("unit %d zero", i), b)
	}
}

func TestInsecureSkipDamaged(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	all := someEntries(t, 30)
	for _, e := range all {
		appendTo(t, f, e)
	}
	_, last, err := f.Since(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, f)
	b := readFile(t, path)
	b[64+5] ^= 1        // of the first entry, one unit
	b[64+32*20] ^= 1    // somewhere
	clear(b[1000:1300]) // and a hole
	writeFile(t, path, b)
	if _, err := blacklist.OpenFile(path, blacklist.FileConfig{}); !errors.Is(err, blacklist.ErrDamaged) {
		t.Fatalf("OpenFile = %v, want ErrDamaged", err)
	}
	f, err = blacklist.OpenFile(path, blacklist.FileConfig{InsecureSkipDamaged: true})
	if err != nil {
		t.Fatal(err)
	}
	got, end, err := f.Since(t.Context(), 0, 100)
	if err != nil || end < last {
		t.Errorf("Since leads to %d (%v), and led to %d before the damage", end, err, last)
	}
	at := 0
	for _, e := range got {
		i := slices.Index(all[at:], e)
		if i < 0 {
			t.Fatalf("%+v was never written, or not in this order", e)
		}
		at += i + 1
	}
	if len(got) >= len(all) || len(got) < len(all)-12 {
		t.Errorf("%d of %d entries are left", len(got), len(all))
	}
	appendTo(t, f, all[0])
	closeLog(t, f)
	wantEntries(t, openLog(t, path), append(got, all[0]), "opened again, without InsecureSkipDamaged")
}

func TestFileDamagedWhileItIsOpen(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	appendTo(t, f, someEntries(t, 3)...)
	b := readFile(t, path)
	raw, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.WriteAt([]byte{^b[70]}, 70); err != nil {
		t.Fatal(err)
	}
	if _, err := everything(f); !errors.Is(err, blacklist.ErrDamaged) {
		t.Errorf("Since = %v, want ErrDamaged: left out, an entry would come undone", err)
	}
}

func TestFileTakesMoreThanABatchAtOnce(t *testing.T) {
	f := openLog(t, logPath(t))
	appendTo(t, f, make0(200_000)...)
	appendTo(t, f, make0(10_000)...)
	if _, last, err := f.Since(t.Context(), 0, math.MaxInt); err != nil || last != 210_000 {
		t.Errorf("Since leads to %d (%v), want 210,000", last, err)
	}
}

// make0 returns n entries of one unit.
func make0(n int) []blacklist.Entry {
	all := make([]blacklist.Entry, n)
	for i := range all {
		all[i] = blacklist.Entry{Kind: blacklist.KindCredential, ID: blacklist.ID{byte(i), byte(i >> 8), byte(i >> 16)}}
	}
	return all
}

func TestDeleteExpiredWhileOthersAppend(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	stale := make0(20_000)
	for i := range stale {
		stale[i].Expires = time.Now().Add(-3 * time.Hour).UnixMicro()
	}
	appendTo(t, f, stale...)
	r := newReplica(t, f, patient)
	before := len(readFile(t, path))
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 100 {
				if err := r.Revoke(context.Background(), identity.Revocation{Issuer: issuer, Session: fmt.Sprintf("%d of %d", i, g)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range 20 {
			if _, err := f.DeleteExpired(context.Background(), time.Now().Add(-time.Hour)); err != nil {
				t.Error(err)
			}
			if err := r.Refresh(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	if n := len(readFile(t, path)); n > before/2 {
		t.Errorf("the file has %d bytes, and had %d", n, before)
	}
	closeLog(t, f)
	again := newReplica(t, openLog(t, path), patient)
	for g := range 4 {
		for i := range 100 {
			wantAnswer(t, again, session(fmt.Sprintf("%d of %d", i, g)), "revoked", "after compactions and a restart")
		}
	}
	for _, left := range []string{".new", ".mended"} {
		if _, err := os.Stat(path + left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left behind", left)
		}
	}
}

func TestDeleteExpiredThatIsCancelled(t *testing.T) {
	path := logPath(t)
	f := openLog(t, path)
	stale := make0(20_000)
	for i := range stale {
		stale[i].Expires = 1
	}
	appendTo(t, f, stale...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.DeleteExpired(ctx, time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("DeleteExpired = %v, want the error of the context", err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("half a file is left behind")
	}
	appendTo(t, f, someEntries(t, 1)...)
	if got, err := everything(f); err != nil || len(got) != 20_001 {
		t.Errorf("%d entries (%v), want 20,001", len(got), err)
	}
}

// R7: a disk that is full gives an error to whoever logs out, and nothing is
// acknowledged until there is room.
func TestFileOnAFullDisk(t *testing.T) {
	folder := t.TempDir()
	if err := mountSmall(folder, 256<<10); err != nil {
		t.Skip("no small file system to fill: ", err)
	}
	t.Cleanup(func() { unmount(folder) })
	path := filepath.Join(folder, "log")
	f := openLog(t, path)
	r := newReplica(t, f, patient)
	n := 0
	var err error
	for err == nil {
		if err = r.Revoke(t.Context(), identity.Revocation{Issuer: issuer, Session: fmt.Sprint(n)}); err == nil {
			n++
		}
		if n > 20_000 {
			t.Fatal("the disk does not become full")
		}
		if n%1000 == 1 { // quicker
			appendTo(t, f, make0(500)...)
		}
	}
	if !strings.Contains(err.Error(), "no space left") {
		t.Errorf("on a full disk: Revoke = %v", err)
	}
	for range 3 {
		if err := r.Revoke(t.Context(), identity.Revocation{Issuer: issuer, Subject: "u", Before: time.Now()}); err == nil {
			// A single unit may fit where two did not; four do not.
			break
		}
	}
	wantAnswer(t, r, session("0"), "revoked", "on a full disk")
	wantAnswer(t, r, session(fmt.Sprint(n)), "good", "what was not acknowledged")
	closeLog(t, f)
	again := newReplica(t, openLog(t, path), patient)
	for i := range n {
		wantAnswer(t, again, session(fmt.Sprint(i)), "revoked", "after a full disk and a restart")
	}
}

// R7: a file system that is read-only is an error at the start already.
func TestFileOnAReadOnlyDisk(t *testing.T) {
	folder := t.TempDir()
	if err := mountSmall(folder, 1<<20); err != nil {
		t.Skip("no file system to make read-only: ", err)
	}
	t.Cleanup(func() { unmount(folder) })
	path := filepath.Join(folder, "log")
	f := openLog(t, path)
	appendTo(t, f, someEntries(t, 3)...)
	closeLog(t, f)
	if err := mountReadOnly(folder); err != nil {
		t.Skip(err)
	}
	f, err := blacklist.OpenFile(path, blacklist.FileConfig{})
	if err == nil {
		f.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("OpenFile = %v, want an error that says read-only", err)
	}
}
