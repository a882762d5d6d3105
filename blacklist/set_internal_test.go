package blacklist

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
)

// The set does not look at the clock, so here the clock does what it wants.

const minute = int64(time.Minute / time.Microsecond)

func at(micros int64) func() int64 { return func() int64 { return micros } }

// letter reports whether r matches p at now by the letter of Revoker's comment.
func letter(r identity.Revocation, p *identity.Principal, now int64) bool {
	return unexpired(r, p) && (r.Expires.IsZero() || now < r.Expires.UnixMicro())
}

func unexpired(r identity.Revocation, p *identity.Principal) bool {
	return r.Issuer == p.Issuer &&
		(r.Credential == "" || r.Credential == p.Credential) &&
		(r.Session == "" || r.Session == p.Session) &&
		(r.Subject == "" || r.Subject == p.Subject) &&
		(r.Tenant == "" || r.Tenant == p.Tenant) &&
		(r.Spare == "" || r.Spare != p.Session) &&
		(r.Before.IsZero() || p.IssuedAt.Before(r.Before))
}

func add(t *testing.T, s *set, r identity.Revocation, now int64) {
	t.Helper()
	e, err := s.entry(r)
	if err == nil {
		err = s.add(e, now)
	}
	if err != nil {
		t.Fatalf("adding %+v: %v", r, err)
	}
}

type chooser struct{ *rand.Rand }

func (c chooser) of(values ...string) string { return values[c.IntN(len(values))] }

func (c chooser) principal(issued int64) *identity.Principal {
	return &identity.Principal{
		Issuer:     c.of("a", "b"),
		Credential: c.of("", "a", "b", "c"),
		Session:    c.of("", "a", "b", "c"),
		Subject:    c.of("", "a", "b"),
		Tenant:     c.of("", "a", "b"),
		IssuedAt:   time.UnixMicro(issued),
	}
}

// R11 and R13: in every order, watermarks combine to what each refuses by
// itself, and no more; and what is dropped has expired.
func TestSetAgreesWithTheLetter(t *testing.T) {
	const start = 1_800_000_000_000_000
	for _, expiring := range []bool{false, true} {
		asked, hits := 0, 0
		for round := range uint64(150) {
			c := chooser{rand.New(rand.NewPCG(round, 1))}
			s := newSet(1 << 20)
			var all []identity.Revocation
			now := int64(start)
			for step := range 400 {
				if c.IntN(3) == 0 {
					r := identity.Revocation{
						Issuer:     c.of("a", "b"),
						Credential: c.of("", "", "a", "b"),
						Session:    c.of("", "", "", "a", "b"),
						Subject:    c.of("", "a", "b"),
						Tenant:     c.of("", "", "a", "b"),
					}
					if c.IntN(2) == 0 {
						r.Before = time.UnixMicro(now + c.Int64N(60*minute) - 30*minute)
						if r.Credential+r.Session == "" {
							r.Spare = c.of("", "a", "b", "c")
						}
					}
					if expiring && c.IntN(4) > 0 {
						r.Expires = time.UnixMicro(now + c.Int64N(40*minute)/1000*1000)
					}
					if Validate(r) != nil {
						continue
					}
					// Now and then a whole set in another order.
					if !expiring && step == 200 {
						c.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
						s = newSet(1 << 20)
						for _, r := range all {
							add(t, s, r, now)
						}
					}
					add(t, s, r, now)
					all = append(all, r)
					continue
				}
				if expiring && c.IntN(10) == 0 {
					now += c.Int64N(5*minute) / 1000 * 1000
				}
				if c.IntN(10) == 0 {
					for part := range shardCount {
						s.sweep(part, now)
					}
				}
				p := c.principal(now + c.Int64N(60*minute) - 30*minute)
				must, may := false, false
				for _, r := range all {
					must = must || letter(r, p, now)
					may = may || unexpired(r, p)
				}
				got := s.revoked(p, at(now))
				if must && !got {
					t.Fatalf("round %d, step %d: %+v is revoked and let in", round, step, *p)
				}
				if got && !may || !expiring && got != must {
					t.Fatalf("round %d, step %d: %+v is refused, and was never revoked", round, step, *p)
				}
				asked++
				if got {
					hits++
				}
			}
		}
		if hits < asked/10 || hits > asked*9/10 {
			t.Errorf("%d of %d were revoked: a question with one answer proves nothing", hits, asked)
		}
	}
}

// R9.
func TestClockThatIsSetBackUnrevokesNothing(t *testing.T) {
	const now = 1_800_000_000_000_000
	revocations := []identity.Revocation{
		{Issuer: "i", Session: "s", Expires: time.UnixMicro(now + 15*minute)},
		{Issuer: "i", Subject: "u", Before: time.UnixMicro(now), Expires: time.UnixMicro(now + 15*minute)},
		{Issuer: "i", Tenant: "t", Before: time.UnixMicro(now), Spare: "x", Expires: time.UnixMicro(now + 15*minute)},
	}
	who := []*identity.Principal{
		{Issuer: "i", Session: "s"},
		{Issuer: "i", Subject: "u", IssuedAt: time.UnixMicro(now - 1)},
		{Issuer: "i", Tenant: "t", IssuedAt: time.UnixMicro(now - 1)},
	}
	everything := func(s *set, now int64) {
		for part := range shardCount {
			s.sweep(part, now)
		}
	}
	t.Run("an hour back", func(t *testing.T) {
		s := newSet(100)
		for i, r := range revocations {
			add(t, s, r, now)
			everything(s, now-60*minute)
			if !s.revoked(who[i], at(now-60*minute)) {
				t.Errorf("%+v came undone", r)
			}
		}
	})
	t.Run("it was fast, and entries were read, swept and moved meanwhile", func(t *testing.T) {
		s := newSet(100_000)
		fast := int64(now + 60*minute)
		for _, r := range revocations {
			add(t, s, r, fast) // by then it has expired
		}
		for i := range 10_000 { // so that every shard grows
			add(t, s, identity.Revocation{Issuer: "i", Credential: fmt.Sprint(i)}, fast)
			add(t, s, identity.Revocation{Issuer: "i", Credential: fmt.Sprint(i), Before: time.UnixMicro(1)}, fast)
		}
		everything(s, fast)
		for i, r := range revocations {
			if s.revoked(who[i], at(fast)) {
				t.Errorf("%+v counts although it has expired", r)
			}
			if !s.revoked(who[i], at(now)) {
				t.Errorf("%+v came undone", r)
			}
		}
	})
}

// R13, at its edges.
func TestSweepKeepsAnHour(t *testing.T) {
	const now = 1_800_000_000_000_000
	s := newSet(100)
	add(t, s, identity.Revocation{Issuer: "i", Session: "s", Expires: time.UnixMicro(now)}, now-minute)
	add(t, s, identity.Revocation{Issuer: "i", Session: "m", Before: time.UnixMicro(1), Expires: time.UnixMicro(now)}, now-minute)
	add(t, s, identity.Revocation{Issuer: "i", Session: "for ever"}, now-minute)
	everything := func(now int64) int64 {
		for part := range shardCount {
			s.sweep(part, now)
		}
		return s.len()
	}
	if n := everything(now + 60*minute - 1000); n != 3 {
		t.Errorf("a millisecond before the hour is over: %d entries, want 3", n)
	}
	if n := everything(now + 60*minute); n != 1 {
		t.Errorf("when the hour is over: %d entries, want 1", n)
	}
	if n := everything(math.MaxInt64 / 2); n != 1 {
		t.Errorf("after very long: %d entries, want the one that never expires", n)
	}
	if !s.revoked(&identity.Principal{Issuer: "i", Session: "for ever"}, at(math.MaxInt64/2)) {
		t.Error("what never expires was dropped")
	}
}

func TestExpiryIsNeverEarly(t *testing.T) {
	for _, micros := range []int64{1, 999, 1000, 1001, 1_800_000_000_000_001, 1_800_000_000_000_999} {
		w := expiry(micros)
		if expired(w, floorMillis(micros-1)) {
			t.Errorf("%d expires before its moment", micros)
		}
		if !expired(w, floorMillis(micros+1999)) {
			t.Errorf("%d has not expired two milliseconds later", micros)
		}
	}
	for _, micros := range []int64{0, math.MaxInt64, expiryMax * 1000, (expiryMax - 1) * 1000} {
		if expired(expiry(micros), math.MaxInt64) != (micros == (expiryMax-1)*1000) {
			t.Errorf("%d: expired = %t", micros, !expired(expiry(micros), math.MaxInt64))
		}
	}
	if !expired(expiry(-5), 0) {
		t.Error("a moment before 1970 has not expired")
	}
}

// Readers take no lock: while a shard grows and its watermarks change they see
// what was there before, or what is there now.
func TestSetParallel(t *testing.T) {
	const now = 1_800_000_000_000_000
	s := newSet(1 << 20)
	old := make([]*identity.Principal, 500)
	for i := range old {
		id := fmt.Sprint("old ", i)
		old[i] = &identity.Principal{Issuer: "i", Session: id, Subject: id, IssuedAt: time.UnixMicro(now)}
		if i%2 == 0 {
			add(t, s, identity.Revocation{Issuer: "i", Session: id}, now)
		} else {
			add(t, s, identity.Revocation{Issuer: "i", Subject: id, Before: time.UnixMicro(now + 1)}, now)
		}
	}
	// Two moments take turns in sparing; who is neither was refused from the
	// first one on, and the one that is spared second not before the second.
	moving := &identity.Principal{Issuer: "i", Subject: "moving", Session: "neither", IssuedAt: time.UnixMicro(now)}
	latest := &identity.Principal{Issuer: "i", Subject: "moving", Session: "spared", IssuedAt: time.UnixMicro(now + minute)}
	add(t, s, identity.Revocation{Issuer: "i", Subject: "moving", Before: time.UnixMicro(now + 1), Spare: "somebody"}, now)
	var readers, writers sync.WaitGroup
	over := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				default:
				}
				if !s.revoked(old[i%len(old)], at(now)) || !s.revoked(moving, at(now)) {
					t.Error("what was revoked is let in while others are")
					return
				}
				if s.revoked(latest, at(now)) {
					t.Error("the session that is spared, or signed in later, is refused")
					return
				}
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			for i := range 20_000 {
				id := fmt.Sprintf("%d of %d", i, w)
				add(t, s, identity.Revocation{Issuer: "i", Session: id}, now)
				if i%4 == 0 {
					add(t, s, identity.Revocation{Issuer: "i", Subject: id, Before: time.UnixMicro(now)}, now)
				}
				// Up to the same minute, sparing one or another.
				add(t, s, identity.Revocation{Issuer: "i", Subject: "moving", Before: time.UnixMicro(now + int64(i)), Spare: fmt.Sprint(i % 7)}, now)
			}
		})
	}
	writers.Wait()
	close(over)
	readers.Wait()
	for w := range 2 {
		for i := range 20_000 {
			if !s.revoked(&identity.Principal{Issuer: "i", Session: fmt.Sprintf("%d of %d", i, w)}, at(now)) {
				t.Fatalf("entry %d of %d is gone", i, w)
			}
		}
	}
}

// The moments of a watermark and the session that it spares change together: a
// session that is spared is never refused on the way from one to the next.
func TestWatermarkChangesAtOnce(t *testing.T) {
	const base = 1_800_000_000_000_000
	s := newSet(100)
	var ready, done atomic.Int64
	var reader sync.WaitGroup
	const rounds = 3000
	reader.Go(func() {
		for r := range int64(rounds) {
			// By the one before it was issued too late to be revoked, and by
			// this one it is spared.
			p := &identity.Principal{Issuer: "i", Subject: "u", Session: fmt.Sprint("s", r), IssuedAt: time.UnixMicro(base + r - 1)}
			ready.Store(r + 1)
			for done.Load() <= r {
				if s.revoked(p, at(base)) {
					t.Errorf("round %d: the session that is spared was refused", r)
					ready.Store(rounds)
					return
				}
			}
		}
	})
	for r := range int64(rounds) {
		for ready.Load() <= r {
			runtime.Gosched()
		}
		add(t, s, identity.Revocation{Issuer: "i", Subject: "u", Before: time.UnixMicro(base + r), Spare: fmt.Sprint("s", r)}, base)
		done.Store(r + 1)
	}
	reader.Wait()
}

// Identifiers are given out by others: they must not all fall into one place.
func TestSetIsNotFloodedByIDs(t *testing.T) {
	s := newSet(1 << 20)
	e := Entry{Kind: KindSession, Expires: 0}
	for i := range uint32(20_000) {
		// What an attacker can do by trying: IDs that begin and end alike.
		binary.LittleEndian.PutUint32(e.ID[2:], i)
		if err := s.add(e, 1); err != nil {
			t.Fatal(err)
		}
	}
	most := 0
	for i := range s.flat.shards {
		most = max(most, s.flat.shards[i].used)
	}
	if most > 3*20_000/shardCount {
		t.Errorf("one shard of %d has %d of 20000 entries", shardCount, most)
	}
	// Nor is one taken for another that is alike in a part.
	for i := range uint32(40_000) {
		binary.LittleEndian.PutUint32(e.ID[2:], i)
		if s.revokedFlat(&e.ID, at(1)) != (i < 20_000) {
			t.Fatalf("ID %d: found %t", i, i >= 20_000)
		}
		other := e.ID
		other[15] = 1
		if s.revokedFlat(&other, at(1)) {
			t.Fatalf("ID %d is found although its end differs", i)
		}
	}
}

func TestSetCostsFewBytes(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, n := range []int{100_000, 110_000, 120_000, 130_000} {
		s := newSet(1 << 20)
		before := heap()
		fill(s, n)
		per := float64(heap()-before) / float64(n)
		t.Logf("%d entries: %.1f bytes each", n, per)
		if per > 26 {
			t.Errorf("%d entries cost %.1f bytes each", n, per)
		}
		runtime.KeepAlive(s)
	}
}

// Callers whose identifiers share the slots of the memo get their own IDs.
func TestMemoGivesEachTheirOwn(t *testing.T) {
	m := newMemo(1 << 10)
	many := make([]identity.Principal, 1000)
	for i := range many {
		id := fmt.Sprint(i)
		many[i] = identity.Principal{Issuer: fmt.Sprint("issuer ", i%3), Credential: id, Session: id, Subject: id, Tenant: fmt.Sprint(i % 5)}
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			var known issuers
			for range 20_000 {
				p := &many[random.IntN(len(many))]
				// What two writers have mixed looks like this.
				if random.IntN(50) == 0 {
					m.slots[random.IntN(len(m.slots))][random.IntN(len(memoSlot{}))].Store(random.Uint64())
				}
				i := known.of(p.Issuer)
				k := Kind(random.IntN(kinds))
				if got, want := m.fields(i, p, k), i.fields(p, k); got != want {
					t.Errorf("%v of %+v: got %x, want %x", k, *p, got, want)
					return
				}
			}
		})
	}
	all.Wait()
}

// fill adds n entries that are hashes, as those of files are.
func fill(s *set, n int) {
	random := rand.NewChaCha8([32]byte{1})
	e := Entry{Kind: KindCredential, Expires: nowMicros() + 60*minute}
	for range n {
		random.Read(e.ID[:])
		if err := s.add(e, 1); err != nil {
			panic(err)
		}
	}
}

var sink bool

// Sizes returns the sizes of sets to be measured: a million, and ten where
// GATEWRIGHT_LARGE is set, which takes a minute.
func Sizes() []int {
	if os.Getenv("GATEWRIGHT_LARGE") != "" {
		return []int{1_000_000, 10_000_000}
	}
	return []int{1_000_000}
}

// BenchmarkLookup asks for IDs that do not depend on each other. Beside it are
// what the machine needs for one word of as much memory, and a map.
func BenchmarkLookup(b *testing.B) {
	for _, n := range Sizes() {
		var s *set
		ids := make([]ID, 1<<16)
		b.Run(fmt.Sprintf("entries=%d/floor: one word", n), func(b *testing.B) {
			words := make([]uint64, n*22/8)
			for i := range words {
				words[i] = uint64(i)
			}
			at := rand.NewPCG(1, 2)
			places := make([]int, 1<<16)
			for i := range places {
				places[i] = int(at.Uint64() % uint64(len(words)))
			}
			i, sum := 0, uint64(0)
			for b.Loop() {
				sum += words[places[i%len(places)]]
				i++
			}
			runtime.KeepAlive(sum)
		})
		b.Run(fmt.Sprintf("entries=%d/floor: hit in a map", n), func(b *testing.B) {
			m := make(map[ID]int64)
			random := rand.NewChaCha8([32]byte{1})
			for i := range n {
				var id ID
				random.Read(id[:])
				m[id] = 1
				if i%(n/len(ids)) == 0 && i/(n/len(ids)) < len(ids) {
					ids[i/(n/len(ids))] = id
				}
			}
			i := 0
			for b.Loop() {
				sink = m[ids[i%len(ids)]] == 1
				i++
			}
		})
		for _, hit := range []bool{true, false} {
			b.Run(fmt.Sprintf("entries=%d/hit=%t", n, hit), func(b *testing.B) {
				if s == nil {
					s = newSet(1 << 30)
					fill(s, n)
				}
				random := rand.NewChaCha8([32]byte{1})
				if !hit {
					random = rand.NewChaCha8([32]byte{2})
				}
				// Of all over the set, so that few are in a cache.
				for i := range n {
					var id ID
					random.Read(id[:])
					if i%(n/len(ids)) == 0 && i/(n/len(ids)) < len(ids) {
						ids[i/(n/len(ids))] = id
					}
				}
				now := at(nowMicros())
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					sink = s.revokedFlat(&ids[i%len(ids)], now)
					i++
				}
				if sink != hit {
					b.Error(sink)
				}
			})
		}
	}
}

// BenchmarkCollect is one run of the garbage collector beside a set, and what an
// entry costs. Without entries it is what the rest of the program costs.
func BenchmarkCollect(b *testing.B) {
	for _, n := range append(Sizes(), 0) {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			s := newSet(1 << 30)
			fill(s, n)
			runtime.GC()
			runtime.ReadMemStats(&after)
			for b.Loop() {
				runtime.GC()
			}
			if n > 0 {
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/entry")
			}
			runtime.KeepAlive(s)
		})
	}
}

// BenchmarkAdd is what a new entry costs a replica that has it from its log, and
// what the slot of another one costs when it changes.
func BenchmarkAdd(b *testing.B) {
	random := rand.NewChaCha8([32]byte{3})
	for _, marks := range []bool{false, true} {
		b.Run(fmt.Sprintf("new/before=%t", marks), func(b *testing.B) {
			b.ReportAllocs()
			s := newSet(1 << 30)
			e := Entry{Kind: KindCredential, Expires: nowMicros() + 60*minute}
			if marks {
				e.Before = 1
			}
			for b.Loop() {
				random.Read(e.ID[:])
				if err := s.add(e, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("again/before=%t", marks), func(b *testing.B) {
			b.ReportAllocs()
			s := newSet(1 << 30)
			e := Entry{Kind: KindCredential, Expires: nowMicros() + 60*minute}
			for b.Loop() {
				if marks {
					e.Before++
				}
				if err := s.add(e, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
