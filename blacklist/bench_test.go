package blacklist_test

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

func BenchmarkMemoryRevoked(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		m := filled(b, n)
		who := callers()
		for _, name := range slices.Sorted(maps.Keys(who)) {
			p := who[name]
			b.Run(fmt.Sprintf("entries=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := m.Revoked(b.Context(), p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		// The callers above stay in the processor's cache; these do not.
		many := make([]identity.Principal, 1<<16)
		for i := range many {
			many[i] = *who["miss"]
			many[i].Credential = fmt.Sprintf("%026d", i*7919%n)
		}
		b.Run(fmt.Sprintf("entries=%d/many callers", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := m.Revoked(b.Context(), &many[i%len(many)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("entries=%d/parallel", n), func(b *testing.B) {
			b.ReportAllocs()
			p := who["miss"]
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := m.Revoked(b.Context(), p); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkMemoryRevoke(b *testing.B) {
	ids := make([]string, 1<<20)
	for i := range ids {
		ids[i] = fmt.Sprintf("%026d", i)
	}
	for _, bench := range []struct {
		name  string
		lives time.Duration
	}{
		{"new", time.Hour},
		{"while others expire", time.Millisecond},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			m := new(blacklist.Memory)
			i := 0
			for b.Loop() {
				if i%len(ids) == 0 {
					m = new(blacklist.Memory)
				}
				err := m.Revoke(b.Context(), identity.Revocation{
					Issuer:     issuer,
					Credential: ids[i%len(ids)],
					Expires:    time.Now().Add(bench.lives),
				})
				if err != nil && i%len(ids) < 1_000_000 {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkReplicaRevoked asks a replica that has three kinds of revocations, so
// that a caller with a session, a subject and a credential costs three hashes,
// and one that has only those of logouts, which cost one.
func BenchmarkReplicaRevoked(b *testing.B) {
	for _, n := range blacklist.Sizes() {
		r := newReplica(b, new(blacklist.MemoryLog), patient)
		who := fillReplica(b, r, 1000)
		r.FillSet(n)
		for _, name := range slices.Sorted(maps.Keys(who)) {
			p := who[name]
			b.Run(fmt.Sprintf("entries=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := r.Revoked(b.Context(), p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		many := make([]identity.Principal, 1<<16)
		for i := range many {
			many[i] = *who["miss"]
			many[i].Credential, many[i].Session, many[i].Subject = fmt.Sprintf("%026d", i+n), fmt.Sprintf("%026d", i+2*n), fmt.Sprintf("%026d", i+3*n)
		}
		b.Run(fmt.Sprintf("entries=%d/many callers", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if revoked, err := r.Revoked(b.Context(), &many[i%len(many)]); err != nil || revoked {
					b.Fatal(revoked, err)
				}
				i++
			}
		})
		b.Run("floor: the identifiers of many callers are read and hashed once", func(b *testing.B) {
			seed, sum := maphash.MakeSeed(), uint64(0)
			i := 0
			for b.Loop() {
				p := &many[i%len(many)]
				sum ^= maphash.String(seed, p.Credential) ^ maphash.String(seed, p.Session) ^ maphash.String(seed, p.Subject)
				i++
			}
			runtime.KeepAlive(sum)
		})
		b.Run(fmt.Sprintf("entries=%d/parallel", n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := r.Revoked(b.Context(), &many[i%len(many)]); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run(fmt.Sprintf("entries=%d/hostile: identifiers as long as may be", n), func(b *testing.B) {
			b.ReportAllocs()
			p := *who["miss"]
			long := strings.Repeat("x", blacklist.MaxLength)
			p.Credential, p.Session, p.Subject, p.Tenant = long, long, long, long
			for b.Loop() {
				if _, err := r.Revoked(b.Context(), &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("logouts only", func(b *testing.B) {
		b.ReportAllocs()
		r := newReplica(b, new(blacklist.MemoryLog), patient)
		for i := range 1000 {
			if err := r.Revoke(b.Context(), identity.Revocation{Issuer: issuer, Session: fmt.Sprint(i)}); err != nil {
				b.Fatal(err)
			}
		}
		p := callers()["miss"]
		for b.Loop() {
			if _, err := r.Revoked(b.Context(), p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFileAppend is a logout: written and synced. With many writers a sync
// is shared.
func BenchmarkFileAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			b.ReportAllocs()
			f := openLog(b, logPath(b))
			e := make0(1)[0]
			b.SetParallelism((writers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
			if writers == 1 {
				for b.Loop() {
					if _, err := f.Append(b.Context(), e); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := f.Append(b.Context(), e); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

// BenchmarkReplay is a start: opening a file, and reading all of it into a
// replica.
func BenchmarkReplay(b *testing.B) {
	for _, n := range blacklist.Sizes() {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			path := logPath(b)
			f := openLog(b, path)
			batch := make0(100_000)
			for i := range n / len(batch) {
				for j := range batch {
					binary.LittleEndian.PutUint64(batch[j].ID[:], uint64(i*len(batch)+j)*0x9e3779b97f4a7c15)
				}
				appendTo(b, f, batch...)
			}
			closeLog(b, f)
			for b.Loop() {
				f := openLog(b, path)
				r := newReplica(b, f, patient)
				if r.Len() != n {
					b.Fatalf("%d entries, want %d", r.Len(), n)
				}
				closeLog(b, f)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
