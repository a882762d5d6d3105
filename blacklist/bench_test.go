package blacklist_test

import (
	"fmt"
	"maps"
	"slices"
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
