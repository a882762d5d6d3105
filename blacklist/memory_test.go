package blacklist_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/blacklisttest"
)

const issuer = "https://accounts.example.com"

func TestMemoryKeepsTheRules(t *testing.T) {
	t.Run("one for each rule", func(t *testing.T) {
		blacklisttest.Run(t, func(*testing.T) blacklist.Revoker { return new(blacklist.Memory) })
	})
	t.Run("the same for all", func(t *testing.T) {
		shared := new(blacklist.Memory)
		blacklisttest.Run(t, func(*testing.T) blacklist.Revoker { return shared })
	})
}

// ask fails the test unless m knows whether p is revoked.
func ask(t *testing.T, m *blacklist.Memory, p *identity.Principal) bool {
	t.Helper()
	revoked, err := m.Revoked(t.Context(), p)
	if err != nil {
		t.Fatalf("Revoked: %v", err)
	}
	return revoked
}

func revoke(t *testing.T, m *blacklist.Memory, r identity.Revocation) {
	t.Helper()
	if err := m.Revoke(t.Context(), r); err != nil {
		t.Fatalf("Revoke: %v", err)
	}
}

func TestValidate(t *testing.T) {
	tooLong := strings.Repeat("x", blacklist.MaxLength+1)
	for _, tt := range []struct {
		name string
		r    identity.Revocation
		want []string // parts of the error; none: valid
	}{
		{"a credential", identity.Revocation{Issuer: issuer, Credential: "id"}, nil},
		{"a session", identity.Revocation{Issuer: issuer, Session: "id"}, nil},
		{"a subject", identity.Revocation{Issuer: issuer, Subject: "id"}, nil},
		{"a tenant", identity.Revocation{Issuer: issuer, Tenant: "id"}, nil},
		{"all before a moment", identity.Revocation{Issuer: issuer, Before: time.Now()}, nil},
		{"identifiers as long as may be", identity.Revocation{Issuer: tooLong[1:], Subject: tooLong[1:]}, nil},
		{"no issuer", identity.Revocation{Subject: "id"}, []string{"Revocation.Issuer is empty"}},
		{"everybody for ever", identity.Revocation{Issuer: issuer}, []string{"for ever", "set Before"}},
		{"everybody for an hour", identity.Revocation{Issuer: issuer, Expires: time.Now().Add(time.Hour)}, []string{"for ever", "set Before"}},
		{"the others until now", identity.Revocation{Issuer: issuer, Subject: "id", Spare: "s", Before: time.Now()}, nil},
		{
			"the others for ever", identity.Revocation{Issuer: issuer, Subject: "id", Spare: "s"},
			[]string{"Revocation.Spare is set without Before"},
		},
		{
			"one session, and another spared", identity.Revocation{Issuer: issuer, Session: "id", Spare: "s", Before: time.Now()},
			[]string{"Revocation.Spare is set beside Credential or Session"},
		},
		{
			"nothing at all says both mistakes", identity.Revocation{},
			[]string{"Revocation.Issuer is empty", "set Before"},
		},
		{
			"every identifier that is too long is named",
			identity.Revocation{Issuer: tooLong, Credential: tooLong, Session: tooLong, Subject: tooLong, Tenant: tooLong},
			[]string{
				"Revocation.Issuer has 513 bytes; use at most 512", "Revocation.Credential has", "Revocation.Session has",
				"Revocation.Subject has", "Revocation.Tenant has",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := blacklist.Validate(tt.r)
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("got %v, want an error: %t", err, len(tt.want) > 0)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want %q in it", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), tooLong[:100]) {
				t.Error("the error repeats an identifier")
			}
			var m blacklist.Memory
			if got := m.Revoke(t.Context(), tt.r); fmt.Sprint(got) != fmt.Sprint(err) {
				t.Errorf("Memory.Revoke says %v, Validate %v", got, err)
			}
			if want := map[bool]int{true: 1, false: 0}[err == nil]; m.Len() != want {
				t.Errorf("Memory has %d entries, want %d", m.Len(), want)
			}
		})
	}
}

func TestMemoryForgetsAtExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m blacklist.Memory
		p := &identity.Principal{Issuer: issuer, Session: "s"}
		revoke(t, &m, identity.Revocation{Issuer: issuer, Session: "s", Expires: time.Now().Add(time.Hour)})
		time.Sleep(time.Hour - time.Nanosecond)
		if !ask(t, &m, p) {
			t.Error("a nanosecond before Expires: not revoked, want revoked")
		}
		time.Sleep(time.Nanosecond)
		if ask(t, &m, p) {
			t.Error("at Expires: revoked, want not revoked")
		}
		if m.Len() != 1 {
			t.Errorf("got %d entries, want 1: expired entries are dropped by Revoke", m.Len())
		}
		revoke(t, &m, identity.Revocation{Issuer: "other", Session: "s"})
		if m.Len() != 1 {
			t.Errorf("got %d entries after Revoke, want 1: the expired one is dropped", m.Len())
		}
	})
}

func TestMemoryDropsAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m blacklist.Memory
		const backlog = 1000
		for i := range backlog {
			revoke(t, &m, identity.Revocation{
				Issuer:     fmt.Sprint("issuer ", i%7),
				Credential: fmt.Sprint(i),
				Expires:    time.Now().Add(time.Duration(1+i*7919%backlog) * time.Second),
			})
		}
		time.Sleep(backlog * time.Second)
		left := m.Len()
		for i := range backlog / 7 {
			revoke(t, &m, identity.Revocation{Issuer: issuer, Credential: fmt.Sprint(i)})
			if dropped := left + 1 - m.Len(); dropped > 16 {
				t.Fatalf("one call dropped %d entries, and readers had to wait for all of them", dropped)
			}
			left = m.Len()
		}
		if left > backlog/7+1 {
			t.Errorf("%d entries are left, want no more than the %d live ones", left, backlog/7)
		}
	})
}

func TestMemoryFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := blacklist.Memory{MaxEntries: 3}
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }
		for i, expires := range []time.Time{in(time.Hour), in(2 * time.Hour), {}} {
			revoke(t, &m, identity.Revocation{Issuer: issuer, Session: fmt.Sprint(i), Expires: expires})
		}
		fourth := identity.Revocation{Issuer: issuer, Session: "3"}
		if err := m.Revoke(t.Context(), fourth); !errors.Is(err, blacklist.ErrFull) {
			t.Fatalf("Revoke in a full Memory = %v, want ErrFull", err)
		}
		if ask(t, &m, &identity.Principal{Issuer: issuer, Session: "3"}) {
			t.Error("what was refused with ErrFull is revoked")
		}
		for i := range 3 {
			if !ask(t, &m, &identity.Principal{Issuer: issuer, Session: fmt.Sprint(i)}) {
				t.Errorf("session %d was evicted", i)
			}
		}
		// What has an entry needs no room.
		revoke(t, &m, identity.Revocation{Issuer: issuer, Session: "0", Expires: in(90 * time.Minute)})
		// Nor does what has expired.
		revoke(t, &m, identity.Revocation{Issuer: issuer, Session: "4", Expires: in(-1)})

		time.Sleep(time.Hour)
		if err := m.Revoke(t.Context(), fourth); !errors.Is(err, blacklist.ErrFull) {
			t.Fatalf("Revoke = %v, want ErrFull: session 0 was prolonged", err)
		}
		time.Sleep(30 * time.Minute)
		revoke(t, &m, fourth)
		if m.Len() != 3 {
			t.Errorf("got %d entries, want 3", m.Len())
		}
		if err := m.Revoke(t.Context(), identity.Revocation{Issuer: issuer, Session: "5"}); !errors.Is(err, blacklist.ErrFull) {
			t.Errorf("Revoke = %v, want ErrFull again", err)
		}
	})
}

// heap returns how many bytes are in use after f, more than before.
func heap(f func()) int {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return int(after.HeapAlloc) - int(before.HeapAlloc)
}

func TestMemoryKeepsNoTokens(t *testing.T) {
	m := new(blacklist.Memory)
	const n, size = 32, 1 << 20
	got := heap(func() {
		for i := range n {
			token := fmt.Sprintf("%08d", i) + strings.Repeat("x", size)
			id := token[:8]
			revoke(t, m, identity.Revocation{Issuer: id, Credential: id, Session: id, Subject: id, Tenant: id})
		}
	})
	if got > n*size/10 {
		t.Errorf("%d identifiers keep %d bytes, and with them the tokens that they were cut from", n, got)
	}
	if m.Len() != n {
		t.Errorf("got %d entries, want %d", m.Len(), n)
	}
}

func TestMemoryGivesBackWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(blacklist.Memory)
		const n = 20_000
		got := heap(func() {
			for i := range n {
				revoke(t, m, identity.Revocation{
					Issuer:     fmt.Sprint(i),
					Credential: "id",
					Expires:    time.Now().Add(time.Second),
				})
			}
			time.Sleep(time.Second)
			for range n {
				revoke(t, m, identity.Revocation{Issuer: issuer, Credential: "id"})
			}
		})
		if m.Len() != 1 {
			t.Errorf("got %d entries, want 1", m.Len())
		}
		// The tables stay as large as they were; what they held is gone.
		if got > n*100 {
			t.Errorf("%d expired entries keep %d bytes each", n, got/n)
		}
	})
}

func TestMemoryPrincipalWithoutIssuer(t *testing.T) {
	var m blacklist.Memory
	for _, tt := range []struct {
		name string
		p    *identity.Principal
		want string
	}{
		{"no principal", nil, "blacklist: the Principal is nil"},
		{"no issuer", &identity.Principal{Subject: "alice"}, "blacklist: Principal.Issuer is empty"},
	} {
		if _, err := m.Revoked(t.Context(), tt.p); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// A moment made by this process has a monotonic reading, the same moment read
// from a token has none.
func TestMemoryComparesInstants(t *testing.T) {
	var m blacklist.Memory
	now := time.Now() // with a monotonic reading
	revoke(t, &m, identity.Revocation{Issuer: issuer, Subject: "alice", Before: now})
	for _, tt := range []struct {
		name   string
		issued time.Time
		want   bool
	}{
		{"at the moment", now, false},
		{"at the moment, read from a token", now.Round(0).UTC(), false},
		{"a nanosecond before", now.Add(-1), true},
		{"a nanosecond before, read from a token", now.Round(0).UTC().Add(-1), true},
	} {
		if got := ask(t, &m, &identity.Principal{Issuer: issuer, Subject: "alice", IssuedAt: tt.issued}); got != tt.want {
			t.Errorf("issued %s: revoked = %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestMemorySignInAfterRevokeAll(t *testing.T) {
	// A thousand times: a token, everything revoked, a new token, all within
	// one second.
	var m blacklist.Memory
	for i := range 1000 {
		subject := fmt.Sprint("user ", i)
		stolen := &identity.Principal{Issuer: issuer, Subject: subject, IssuedAt: time.Now()}
		before := time.Now()
		for !stolen.IssuedAt.Before(before) { // a coarse clock
			before = time.Now()
		}
		revoke(t, &m, identity.Revocation{Issuer: issuer, Subject: subject, Before: before})
		fresh := &identity.Principal{Issuer: issuer, Subject: subject, IssuedAt: time.Now()}
		if !ask(t, &m, stolen) || ask(t, &m, fresh) {
			t.Fatalf("round %d: stolen token revoked: %t, new one: %t; want true and false", i, ask(t, &m, stolen), ask(t, &m, fresh))
		}
	}
}

func TestMemoryParallel(t *testing.T) {
	m := &blacklist.Memory{MaxEntries: 500}
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 500 {
				session := fmt.Sprintf("%d of %d", i, g)
				// Short lives, so that dropping runs as well.
				err := m.Revoke(context.Background(), identity.Revocation{
					Issuer:  fmt.Sprint("issuer ", i%3),
					Session: session,
					Expires: time.Now().Add(time.Duration(1+i%5) * 100 * time.Microsecond),
				})
				if err != nil && !errors.Is(err, blacklist.ErrFull) {
					t.Errorf("Revoke: %v", err)
				}
				if err := m.Revoke(context.Background(), identity.Revocation{Issuer: "kept", Subject: fmt.Sprint(g)}); err != nil && !errors.Is(err, blacklist.ErrFull) {
					t.Errorf("Revoke: %v", err)
				}
				revoked, err := m.Revoked(context.Background(), &identity.Principal{Issuer: "kept", Session: session, Subject: "nobody"})
				if revoked || err != nil {
					t.Errorf("Revoked = %t, %v, want false", revoked, err)
				}
				if n := m.Len(); n > 500 {
					t.Errorf("%d entries, want at most 500", n)
				}
			}
		})
	}
	all.Wait()
	for g := range 8 {
		if !ask(t, m, &identity.Principal{Issuer: "kept", Subject: fmt.Sprint(g)}) {
			t.Errorf("subject %d was forgotten", g)
		}
	}
}

// oracle is Memory without cleverness: a list of revocations, one for those
// that name the same, read from the start. every has all of them.
type oracle struct {
	max         int
	live, every []identity.Revocation
}

func ended(r identity.Revocation) bool {
	return !r.Expires.IsZero() && !time.Now().Before(r.Expires)
}

func (o *oracle) forget() {
	now := time.Now()
	gone := func(r identity.Revocation) bool { return !r.Expires.IsZero() && !now.Before(r.Expires) }
	o.live, o.every = slices.DeleteFunc(o.live, gone), slices.DeleteFunc(o.every, gone)
}

func (o *oracle) revoke(r identity.Revocation) error {
	o.forget()
	if ended(r) {
		return nil
	}
	same := func(a, b identity.Revocation) bool {
		a.Before, a.Expires, b.Before, b.Expires = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		return a == b
	}
	for i, old := range o.live {
		if !same(old, r) {
			continue
		}
		o.every = append(o.every, r)
		switch {
		case old.Before.IsZero() || r.Before.IsZero():
			r.Before = time.Time{}
		case old.Before.After(r.Before):
			r.Before = old.Before
		}
		switch {
		case old.Expires.IsZero() || r.Expires.IsZero():
			r.Expires = time.Time{}
		case old.Expires.After(r.Expires):
			r.Expires = old.Expires
		}
		o.live[i] = r
		return nil
	}
	if len(o.live) == o.max {
		return blacklist.ErrFull
	}
	o.live, o.every = append(o.live, r), append(o.every, r)
	return nil
}

func revokedBy(list []identity.Revocation, p *identity.Principal) bool {
	for _, r := range list {
		if r.Issuer == p.Issuer &&
			(r.Credential == "" || r.Credential == p.Credential) &&
			(r.Session == "" || r.Session == p.Session) &&
			(r.Subject == "" || r.Subject == p.Subject) &&
			(r.Tenant == "" || r.Tenant == p.Tenant) &&
			(r.Spare == "" || r.Spare != p.Session) &&
			(r.Before.IsZero() || p.IssuedAt.Before(r.Before)) && !ended(r) {
			return true
		}
	}
	return false
}

func TestMemoryAgreesWithAList(t *testing.T) {
	const rounds, steps = 120, 1000
	asked, hits, full := 0, 0, 0
	for round := range rounds {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(round), 15))
			limit := 5 + random.IntN(200)
			m, o := blacklist.Memory{MaxEntries: limit}, oracle{max: limit}
			pick := func(values ...string) string { return values[random.IntN(len(values))] }
			start := time.Now()
			moment := func(ahead time.Duration) time.Time {
				return time.Now().Add(ahead - time.Duration(random.IntN(60))*time.Second)
			}
			for step := range steps {
				if random.IntN(3) == 0 {
					r := identity.Revocation{
						Issuer:     pick("a", "b", "ab"),
						Credential: pick("", "", "", "a", "b", "ab"),
						Session:    pick("", "", "", "a", "b", "ab"),
						Subject:    pick("", "", "", "a", "b", "ab"),
						Tenant:     pick("", "", "", "a", "b", "ab"),
					}
					if random.IntN(3) > 0 {
						r.Before = moment(30 * time.Second)
					}
					if random.IntN(20) > 0 {
						r.Expires = moment(90 * time.Second)
					}
					if blacklist.Validate(r) != nil {
						continue
					}
					want := o.revoke(r)
					if got := m.Revoke(t.Context(), r); !errors.Is(got, want) {
						t.Fatalf("round %d, step %d: Revoke(%+v) = %v, want %v", round, step, r, got, want)
					}
					if want != nil {
						full++
					}
				} else {
					p := &identity.Principal{
						Issuer:     pick("a", "b", "ab"),
						Credential: pick("", "a", "b", "ab", "c"),
						Session:    pick("", "a", "b", "ab", "c"),
						Subject:    pick("", "a", "b", "ab", "c"),
						Tenant:     pick("", "a", "b", "ab", "c"),
						IssuedAt:   moment(60 * time.Second),
					}
					want := revokedBy(o.live, p)
					if got := ask(t, &m, p); got != want {
						t.Fatalf("round %d, step %d, %v after the start: Revoked(%#v) = %t, want %t by %+v",
							round, step, time.Since(start), *p, got, want, o.live)
					}
					// That entries are joined must never let anybody in.
					if !want && revokedBy(o.every, p) {
						t.Fatalf("round %d, step %d: a revocation by itself matches, joined with others it does not", round, step)
					}
					asked++
					if want {
						hits++
					}
				}
				if random.IntN(4) == 0 {
					time.Sleep(time.Duration(random.IntN(4)) * time.Second)
					o.forget()
				}
				if n := m.Len(); n < len(o.live) || n > limit {
					t.Fatalf("round %d, step %d: %d entries, want from %d live ones to %d", round, step, n, len(o.live), limit)
				}
			}
		})
	}
	// A property that is only ever asked about one answer proves nothing.
	if hits < asked/10 || hits > asked*9/10 || full < 100 {
		t.Errorf("%d of %d principals were revoked and %d revocations found no room: choose other values", hits, asked, full)
	}
	t.Logf("%d questions, %d revoked, %d times full", asked, hits, full)
}

// Revocations that spare sessions combine to what each of them refuses, and no
// more, in every order.
func TestMemorySparesByTheLetter(t *testing.T) {
	now := time.Now()
	for round := range uint64(300) {
		random := rand.New(rand.NewPCG(round, 3))
		var m blacklist.Memory
		var all []identity.Revocation
		for range 1 + random.IntN(8) {
			r := identity.Revocation{
				Issuer:  issuer,
				Subject: []string{"", "u", "v"}[random.IntN(3)],
				Tenant:  []string{"", "", "t"}[random.IntN(3)],
				Spare:   []string{"", "a", "b", "c"}[random.IntN(4)],
				Before:  now.Add(time.Duration(random.IntN(6)) * time.Second),
			}
			revoke(t, &m, r)
			all = append(all, r)
			for i := range 7 {
				for _, session := range []string{"", "a", "b", "c", "d"} {
					for _, subject := range []string{"u", "v", "w"} {
						p := &identity.Principal{Issuer: issuer, Subject: subject, Session: session, Tenant: "t", IssuedAt: now.Add(time.Duration(i) * time.Second)}
						if got, want := ask(t, &m, p), revokedBy(all, p); got != want {
							t.Fatalf("round %d: session %q of %q, issued %d s later: revoked = %t, want %t by %+v", round, session, subject, i, got, want, all)
						}
					}
				}
			}
		}
	}
}

func TestMemoryRevokedAllocatesNothing(t *testing.T) {
	m := filled(t, 1000)
	for name, p := range callers() {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := m.Revoked(t.Context(), p); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

// filled returns a Memory with n revoked tokens, a tenth of it sessions and
// subjects each.
func filled(tb testing.TB, n int) *blacklist.Memory {
	tb.Helper()
	m := new(blacklist.Memory)
	expires := time.Now().Add(time.Hour)
	for i := range n {
		r := identity.Revocation{Issuer: issuer, Expires: expires.Add(time.Duration(i) * time.Millisecond)}
		switch id := fmt.Sprintf("%026d", i); i % 10 {
		case 0:
			r.Session = id
		case 1:
			r.Subject, r.Before = id, expires
		default:
			r.Credential = id
		}
		if err := m.Revoke(tb.Context(), r); err != nil {
			tb.Fatal(err)
		}
	}
	return m
}

// callers returns principals for a filled Memory, by what they find there.
func callers() map[string]*identity.Principal {
	free := identity.Principal{
		Issuer:     issuer,
		Credential: "01JD4Z0Y7M8Q2W3E4R5T6Y7U8I",
		Session:    "01JD4Z0Y7M8Q2W3E4R5T6Y7U8J",
		Subject:    "01JD4Z0Y7M8Q2W3E4R5T6Y7U8K",
		Tenant:     "acme",
		IssuedAt:   time.Now(),
	}
	credential, subject, stranger := free, free, free
	credential.Credential = fmt.Sprintf("%026d", 2)
	subject.Subject = fmt.Sprintf("%026d", 1)
	stranger.Issuer = "apikey:acme"
	return map[string]*identity.Principal{
		"miss":            &free,
		"hit credential":  &credential,
		"hit subject":     &subject,
		"issuer not seen": &stranger,
	}
}
