package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// blacklistJobs compares asking whether a caller was revoked. The peer is what
// hosts write themselves: a map of token IDs with the time until which each is
// kept, and a read-write lock. It knows one issuer and one kind of revocation.
// Ours asks by token ID, session and subject with its date, for the host has
// used all three, and for how old its knowledge is.
//
// A million tokens are revoked. Callers come in turn, so that what is asked is
// in no cache.
func blacklistJobs() []job {
	const entries, callers = 1_000_000, 1 << 16
	id := func(i int) string { return fmt.Sprintf("%026d", i) }
	ask := func(first int) []identity.Principal {
		all := make([]identity.Principal, callers)
		for i := range all {
			n := first + i*7919%entries
			all[i] = identity.Principal{
				Issuer: "https://auth.example.com", Credential: id(n), IssuedAt: time.Now(),
				Session: id(n + 3*entries), Subject: id(n + 4*entries),
			}
		}
		return all
	}
	peer := sync.OnceValue(func() *mapOfTokens {
		m := &mapOfTokens{until: make(map[string]time.Time)}
		for i := range entries {
			m.until[id(i)] = time.Now().Add(time.Hour)
		}
		return m
	})
	ours := sync.OnceValue(func() *blacklist.Replica {
		ctx := context.Background()
		r := must(blacklist.NewReplica(&blacklist.MemoryLog{MaxEntries: 2 * entries}, blacklist.ReplicaConfig{MaxStale: time.Hour}))
		if err := r.Refresh(ctx); err != nil {
			panic(err)
		}
		revoke := func(what identity.Revocation) {
			what.Issuer, what.Expires = "https://auth.example.com", time.Now().Add(time.Hour)
			if err := r.Revoke(ctx, what); err != nil {
				panic(err)
			}
		}
		for i := range entries {
			revoke(identity.Revocation{Credential: id(i)})
		}
		revoke(identity.Revocation{Session: "another"})
		revoke(identity.Revocation{Subject: "another", Before: time.Now()})
		return r
	})
	var all []job
	for _, c := range []struct {
		name    string
		callers []identity.Principal
		revoked bool
	}{
		{"not revoked, many callers", ask(entries), false},
		{"not revoked, one caller", ask(entries)[:1], false},
		{"revoked, many callers", ask(0), true},
	} {
		check := func(b *testing.B, revoked bool) {
			if revoked != c.revoked {
				fail(b, "revoked = %t, want %t", revoked, c.revoked)
			}
		}
		all = append(all, job{"revocation, 1 M tokens, " + c.name, "map and RWMutex", map[string]func(*testing.B){
			"map and RWMutex": func(b *testing.B) {
				m := peer()
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					check(b, m.revoked(c.callers[i%len(c.callers)].Credential))
					i++
				}
			},
			"gatewright": func(b *testing.B) {
				r := ours()
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					revoked, err := r.Revoked(context.Background(), &c.callers[i%len(c.callers)])
					if err != nil {
						fail(b, "%v", err)
					}
					check(b, revoked)
					i++
				}
			},
		}, "<= 300 ns, 0 allocs"})
	}
	return all
}

// mapOfTokens is the floor that hosts write.
type mapOfTokens struct {
	mu    sync.RWMutex
	until map[string]time.Time
}

func (m *mapOfTokens) revoked(id string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	until, ok := m.until[id]
	return ok && time.Now().Before(until)
}
