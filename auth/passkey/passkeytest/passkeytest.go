// Package passkeytest has a conformance suite for [passkey.Store] and a software
// authenticator.
//
//	func TestPasskeys(t *testing.T) {
//		passkeytest.Run(t, func(t *testing.T) passkey.Store { return newStore(t) })
//	}
package passkeytest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/passkey"
)

// Run checks each rule of [passkey.Store] in a subtest. IDs and subjects are
// random, so open may return the same store every time.
func Run(t *testing.T, open func(t *testing.T) passkey.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) { rule.check(&probe{T: t, ctx: t.Context(), store: open(t), subject: rand.Text()}) })
	}
}

// A probe is a store under test with a subject of its own.
type probe struct {
	*testing.T
	ctx     context.Context
	store   passkey.Store
	subject string
}

var rules = []struct {
	name  string
	check func(p *probe)
}{
	{"a passkey comes back as it was added", func(p *probe) {
		want := newPasskey(p.subject)
		want.ID = append(want.ID, 0, 0xff, '\'')
		p.add(want)
		p.has(want)
		got, err := p.store.PasskeyByID(p.ctx, want.ID)
		if err != nil || !equal(got, want) {
			p.Errorf("PasskeyByID returned %+v, %v, want %+v", got, err, want)
		}
	}},
	{"IDs are compared byte for byte", func(p *probe) {
		p.add(newPasskey(p.subject))
		a := newPasskey(p.subject)
		copy(a.ID, "ABCDEFGHIJKLMNOP")
		p.add(a)
		for _, id := range [][]byte{append(bytes.Clone(a.ID), 0), a.ID[:len(a.ID)-1], bytes.ToLower(a.ID)} {
			if _, err := p.store.PasskeyByID(p.ctx, id); !errors.Is(err, passkey.ErrNotFound) {
				p.Errorf("PasskeyByID(%x) returned %v, want ErrNotFound; the only ID is %x", id, err, a.ID)
			}
		}
	}},
	{"an ID belongs to one subject", func(p *probe) {
		a := newPasskey(p.subject)
		p.add(a)
		b := newPasskey(rand.Text())
		b.ID = a.ID
		if err := p.store.AddPasskey(p.ctx, b, 10); !errors.Is(err, passkey.ErrExists) {
			p.Errorf("AddPasskey of another subject's ID returned %v, want ErrExists", err)
		}
		if err := p.store.AddPasskey(p.ctx, a, 10); !errors.Is(err, passkey.ErrExists) {
			p.Errorf("AddPasskey of the subject's own ID returned %v, want ErrExists", err)
		}
		p.has(a)
	}},
	{"a subject has at most max passkeys, however many are added at once", func(p *probe) {
		var added, refused atomic.Int64
		parallel(16, func(int) {
			switch err := p.store.AddPasskey(p.ctx, newPasskey(p.subject), 3); {
			case err == nil:
				added.Add(1)
			case errors.Is(err, passkey.ErrTooMany):
				refused.Add(1)
			default:
				p.Errorf("AddPasskey: %v", err)
			}
		})
		if added.Load() != 3 || refused.Load() != 13 {
			p.Errorf("%d were added and %d refused, want 3 and 13", added.Load(), refused.Load())
		}
	}},
	{"passkeys are listed from the oldest, for their subject only", func(p *probe) {
		a, b, c := newPasskey(p.subject), newPasskey(p.subject), newPasskey(p.subject+"x")
		b.Created = a.Created.Add(time.Second)
		p.add(a)
		p.add(c)
		p.add(b)
		p.has(a, b)
		if all, err := p.store.Passkeys(p.ctx, rand.Text()); err != nil || len(all) != 0 {
			p.Errorf("Passkeys of an unknown subject returned %v, %v", all, err)
		}
	}},
	{"a use keeps the highest counter and the latest time", func(p *probe) {
		a := newPasskey(p.subject)
		a.SignCount = 5
		p.add(a)
		t1, t2 := a.Created.Add(time.Minute), a.Created.Add(2*time.Minute)
		p.use(passkey.Use{ID: a.ID, SignCount: 7, BackedUp: true, At: t2}, a)
		a.SignCount, a.BackedUp, a.Used = 7, true, t2
		p.use(passkey.Use{ID: a.ID, SignCount: 6, BackedUp: false, At: t1}, a)
		p.has(a)
		p.use(passkey.Use{ID: a.ID, SignCount: 1<<32 - 1, At: t2.Add(time.Second)}, a)
		a.SignCount, a.BackedUp, a.Used = 1<<32-1, false, t2.Add(time.Second)
		p.has(a)
	}},
	{"parallel uses are recorded one after another", func(p *probe) {
		a := newPasskey(p.subject)
		p.add(a)
		var mu sync.Mutex
		seen := map[uint32]int{}
		parallel(16, func(i int) {
			previous, err := p.store.UsePasskey(p.ctx, passkey.Use{ID: a.ID, SignCount: uint32(i + 1), At: a.Created})
			if err != nil {
				p.Errorf("UsePasskey: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[previous.SignCount]++
		})
		if seen[0] != 1 {
			p.Errorf("%d uses saw the counter before all of them, want 1", seen[0])
		}
		if got, err := p.store.PasskeyByID(p.ctx, a.ID); err != nil || got.SignCount != 16 {
			p.Errorf("the counter is %d, %v, want 16", got.SignCount, err)
		}
	}},
	{"a subject renames its own passkeys only", func(p *probe) {
		a := newPasskey(p.subject)
		p.add(a)
		if err := p.store.RenamePasskey(p.ctx, rand.Text(), a.ID, "stolen"); !errors.Is(err, passkey.ErrNotFound) {
			p.Errorf("RenamePasskey by another subject returned %v, want ErrNotFound", err)
		}
		p.has(a)
		if err := p.store.RenamePasskey(p.ctx, p.subject, a.ID, "Café ☕"); err != nil {
			p.Error(err)
		}
		a.Name = "Café ☕"
		p.has(a)
	}},
	{"a subject removes its own passkeys only", func(p *probe) {
		a, b := newPasskey(p.subject), newPasskey(p.subject)
		b.Created = a.Created.Add(time.Second)
		p.add(a)
		p.add(b)
		if err := p.store.RemovePasskey(p.ctx, rand.Text(), a.ID, false); !errors.Is(err, passkey.ErrNotFound) {
			p.Errorf("RemovePasskey by another subject returned %v, want ErrNotFound", err)
		}
		if err := p.store.RemovePasskey(p.ctx, p.subject, a.ID, true); err != nil {
			p.Error(err)
		}
		p.has(b)
		if _, err := p.store.PasskeyByID(p.ctx, a.ID); !errors.Is(err, passkey.ErrNotFound) {
			p.Errorf("PasskeyByID of a removed passkey returned %v, want ErrNotFound", err)
		}
		if _, err := p.store.UsePasskey(p.ctx, passkey.Use{ID: a.ID, At: a.Created}); !errors.Is(err, passkey.ErrNotFound) {
			p.Errorf("UsePasskey of a removed passkey returned %v, want ErrNotFound", err)
		}
		if err := p.store.RemovePasskey(p.ctx, p.subject, a.ID, false); !errors.Is(err, passkey.ErrNotFound) {
			p.Errorf("RemovePasskey of a removed passkey returned %v, want ErrNotFound", err)
		}
		if err := p.store.RemovePasskey(p.ctx, p.subject, b.ID, true); !errors.Is(err, passkey.ErrLast) {
			p.Errorf("RemovePasskey of the last passkey returned %v, want ErrLast", err)
		}
		if err := p.store.RemovePasskey(p.ctx, p.subject, b.ID, false); err != nil {
			p.Error(err)
		}
		p.has()
		p.add(a) // the ID is free again
	}},
	{"the last passkey stays when all are removed at once", func(p *probe) {
		all := make([]passkey.Passkey, 8)
		for i := range all {
			all[i] = newPasskey(p.subject)
			p.add(all[i])
		}
		var last atomic.Int64
		parallel(len(all), func(i int) {
			switch err := p.store.RemovePasskey(p.ctx, p.subject, all[i].ID, true); {
			case errors.Is(err, passkey.ErrLast):
				last.Add(1)
			case err != nil:
				p.Errorf("RemovePasskey: %v", err)
			}
		})
		if rest, err := p.store.Passkeys(p.ctx, p.subject); err != nil || len(rest) != 1 || last.Load() != 1 {
			p.Errorf("%d passkeys are left and %d removals were ErrLast, want 1 and 1: %v", len(rest), last.Load(), err)
		}
	}},
	{"changes of what was passed or returned do not reach the store", func(p *probe) {
		a := newPasskey(p.subject)
		given := a
		given.ID, given.Handle = bytes.Clone(a.ID), bytes.Clone(a.Handle)
		p.add(given)
		given.ID[0]++
		given.Handle[0]++
		got, err := p.store.PasskeyByID(p.ctx, a.ID)
		if err != nil {
			p.Fatal(err)
		}
		got.Handle[0]++
		p.has(a)
	}},
}

func newPasskey(subject string) passkey.Passkey {
	id, handle := make([]byte, 32), make([]byte, 64)
	rand.Read(id)
	rand.Read(handle)
	return passkey.Passkey{
		Record: "$webauthn$v=1$AAAA", Subject: subject, ID: id, Handle: handle, Session: "session", Name: "My phone",
		Created: time.Date(2026, 3, 4, 5, 6, 7, 89_012_000, time.UTC),
	}
}

func (p *probe) add(k passkey.Passkey) {
	p.Helper()
	if err := p.store.AddPasskey(p.ctx, k, 100); err != nil {
		p.Fatalf("AddPasskey: %v", err)
	}
}

func (p *probe) use(u passkey.Use, previous passkey.Passkey) {
	p.Helper()
	if got, err := p.store.UsePasskey(p.ctx, u); err != nil || !equal(got, previous) {
		p.Errorf("UsePasskey(%+v) returned %s, %v, want %s", u, detail(got), err, detail(previous))
	}
}

// has demands that the subject's passkeys are want.
func (p *probe) has(want ...passkey.Passkey) {
	p.Helper()
	got, err := p.store.Passkeys(p.ctx, p.subject)
	if err != nil || len(got) != len(want) {
		p.Fatalf("Passkeys returned %d, %v, want %d", len(got), err, len(want))
	}
	for i := range want {
		if !equal(got[i], want[i]) {
			p.Errorf("passkey %d is\n%s, want\n%s", i, detail(got[i]), detail(want[i]))
		}
	}
}

func detail(p passkey.Passkey) string {
	type plain passkey.Passkey // without its String
	return fmt.Sprintf("%+v", plain(p))
}

func equal(a, b passkey.Passkey) bool {
	return a.Record == b.Record && a.Subject == b.Subject && a.Session == b.Session && a.Name == b.Name && bytes.Equal(a.ID, b.ID) && bytes.Equal(a.Handle, b.Handle) &&
		a.SignCount == b.SignCount && a.BackedUp == b.BackedUp && a.Created.Equal(b.Created) && a.Used.Equal(b.Used)
}

func parallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}
