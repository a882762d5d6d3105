package password

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// A counter records the runs of a Hasher's key derivation functions.
type counter struct{ runs []kdf }

// count makes h report to a counter. When skip is set the functions are not
// run, and what they return matches nothing.
func count(h *Hasher, skip bool) *counter {
	c := new(counter)
	h.derive = func(d digest, password []byte) []byte {
		c.runs = append(c.runs, d.kdf)
		if skip {
			return nil
		}
		return derive(d, password)
	}
	return c
}

// sorted returns the runs so far in an order of their own, and forgets them.
func (c *counter) sorted() []kdf {
	runs := c.runs
	c.runs = nil
	slices.SortFunc(runs, func(a, b kdf) int {
		return 1000*(a.cost-b.cost) + int(a.blocks()) - int(b.blocks())
	})
	return runs
}

// work sums up runs: the rounds of bcrypt, and the blocks of argon2id.
func work(runs []kdf) (rounds, blocks uint64) {
	for _, k := range runs {
		if k.isBcrypt() {
			rounds += 1 << k.cost
		} else {
			blocks += k.blocks()
		}
	}
	return rounds, blocks
}

func newInternal(t testing.TB, c Config) *Hasher {
	t.Helper()
	c.InsecureArgon2id = true
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// bcryptOf returns a bcrypt hash of the password "right".
func bcryptOf(t testing.TB, cost int) string {
	t.Helper()
	encoded, err := bcrypt.GenerateFromPassword([]byte("right"), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// Corpus row 30: whoever watches the time of a refused sign-in learns nothing
// about the user, because all of them are the same runs.
func TestEveryFailureDoesTheSameWork(t *testing.T) {
	params := Argon2id{Memory: 96, Passes: 2, Lanes: 1}
	listed := Argon2id{Memory: 64, Passes: 1, Lanes: 2}
	made := func(a Argon2id, pw string) string {
		encoded, err := newInternal(t, Config{Argon2id: a}).Hash(t.Context(), pw)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	argon, old, b6, b4 := made(params, "right"), made(listed, "right"), bcryptOf(t, 6), bcryptOf(t, 4)
	x72 := strings.Repeat("x", 72)
	long := strings.Repeat("x", 1025)
	classes := []struct{ name, password, encoded string }{
		{"unknown or passwordless user", "right", ""},
		{"unknown user, empty password", "", ""},
		{"unknown user, over-long password", long, ""},
		{"unknown user, more than 72 bytes", x72 + "x", ""},
		{"wrong password", "wrong", argon},
		{"empty password", "", argon},
		{"over-long password", long, argon},
		{"malformed hash", "right", argon[:len(argon)-1] + "!"},
		{"hash out of bounds", "right", strings.Replace(argon, "m=96", "m=4294967295", 1)},
		{"junk", "right", "!"},
		{"unsupported hash", "right", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA"},
		{"malformed bcrypt", "right", b6[:59]},
		{"listed argon2id, wrong password", "wrong", old},
		{"listed argon2id, empty password", "", old},
		{"bcrypt, wrong password", "wrong", b6},
		{"bcrypt, empty password", "", b6},
		{"bcrypt, NUL", "right\x00right", b6},
		{"bcrypt, more than 72 bytes", x72 + "x", b6},
		{"bcrypt, over-long password", long, b6},
	}
	for _, tt := range []struct {
		name     string
		imported []Scheme
	}{
		{"nothing imported", nil},
		{"bcrypt imported", []Scheme{Bcrypt(6)}},
		{"argon2id imported", []Scheme{listed}},
		{"both imported", []Scheme{listed, Bcrypt(6)}},
	} {
		h := newInternal(t, Config{Argon2id: params, Imported: tt.imported})
		c := count(h, false)
		want := []kdf{params.kdf()}
		for _, s := range tt.imported {
			want = append(want, s.kdf())
		}
		want = (&counter{want}).sorted()
		for _, class := range classes {
			t.Run(tt.name+"/"+class.name, func(t *testing.T) {
				ok, upgraded, err := h.Verify(t.Context(), class.password, class.encoded)
				if ok || upgraded != "" {
					t.Fatalf("got %v, %q, %v, want a failure", ok, upgraded, err)
				}
				got := c.sorted()
				if class.encoded == old && !slices.Contains(want, listed.kdf()) {
					// Not listed, so it is charged to the parameters of
					// new hashes: as many blocks in more runs.
					_, blocks := work(got)
					if _, wanted := work(want); blocks != wanted {
						t.Errorf("%d blocks, want %d", blocks, wanted)
					}
					return
				}
				if !slices.Equal(got, want) {
					t.Errorf("runs are\n%+v\nwant\n%+v", got, want)
				}
			})
		}
		t.Run(tt.name+"/bcrypt of a lower cost", func(t *testing.T) {
			for _, pw := range []string{"wrong", "", "right\x00", x72 + "x"} {
				h.Verify(t.Context(), pw, b4)
				rounds, blocks := work(c.sorted())
				if wantRounds, wantBlocks := work(want); rounds != wantRounds || blocks != wantBlocks {
					t.Errorf("%d rounds and %d blocks, want %d and %d", rounds, blocks, wantRounds, wantBlocks)
				}
			}
		})
	}
}

// Every pair of costs that can meet, without running them.
func TestBcryptIsPaddedExactly(t *testing.T) {
	for listed := minCost; listed <= maxCost; listed++ {
		h := newInternal(t, Config{Argon2id: Argon2id{Memory: 8, Passes: 1, Lanes: 1}, Imported: []Scheme{Bcrypt(listed)}})
		c := count(h, true)
		for stored := minCost; stored <= maxCost; stored++ {
			encoded := dummy(kdf{cost: stored}).String()
			if _, _, err := h.Verify(t.Context(), "x", encoded); err != nil {
				t.Fatal(err)
			}
			rounds, blocks := work(c.sorted())
			if want := uint64(1) << max(listed, stored); rounds != want || blocks != 8 {
				t.Errorf("cost %d under a listed %d: %d rounds and %d blocks, want %d and 8", stored, listed, rounds, blocks, want)
			}
		}
	}
}

// For argon2id what cannot be made up for is less than 8 KiB a lane in one
// pass: no run is as small as that.
func TestArgon2idIsPaddedInBlocks(t *testing.T) {
	h := newInternal(t, Config{})
	c := count(h, true)
	for _, tt := range []struct {
		memory, passes uint32
		lanes          uint8
		want           []kdf
	}{
		{65536, 3, 4, []kdf{{memory: 65536, passes: 3, lanes: 4}}},
		{19456, 2, 1, []kdf{{memory: 26624, passes: 1, lanes: 4}, {memory: 19456, passes: 2, lanes: 1}, {memory: 65536, passes: 2, lanes: 4}}},
		{47104, 1, 1, []kdf{{memory: 18432, passes: 1, lanes: 4}, {memory: 47104, passes: 1, lanes: 1}, {memory: 65536, passes: 2, lanes: 4}}},
		{65536, 2, 4, []kdf{{memory: 65536, passes: 1, lanes: 4}, {memory: 65536, passes: 2, lanes: 4}}},
		{65530, 3, 1, []kdf{{memory: 65530, passes: 3, lanes: 1}}},
		{262144, 1, 4, []kdf{{memory: 262144, passes: 1, lanes: 4}}},
	} {
		d := dummy(kdf{memory: tt.memory, passes: tt.passes, lanes: tt.lanes})
		if _, _, err := h.Verify(t.Context(), "x", d.String()); err != nil {
			t.Fatal(err)
		}
		if got := c.sorted(); !slices.Equal(got, tt.want) {
			t.Errorf("%+v is made\n%+v\nwant\n%+v", d.kdf, got, tt.want)
		}
	}
}

// A dummy that its library turned down would cost nothing.
func TestDummiesAreRun(t *testing.T) {
	for cost := minCost; cost <= 8; cost++ {
		d := dummy(kdf{cost: cost})
		if err := bcrypt.CompareHashAndPassword([]byte(d.String()), nil); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			t.Errorf("cost %d: got %v", cost, err)
		}
	}
	for _, k := range []kdf{{cost: 4}, {memory: 64, passes: 1, lanes: 1}} {
		d := dummy(k)
		if got, err := parse(d.String(), maxMemory); err != nil || got.String() != d.String() {
			t.Errorf("%s is read as %s, %v", d, got, err)
		}
	}
}

func TestSuccessCostsWhatItNeeds(t *testing.T) {
	params := Argon2id{Memory: 64, Passes: 1, Lanes: 1}
	h := newInternal(t, Config{Argon2id: params, Imported: []Scheme{Bcrypt(5)}})
	stored, err := h.Hash(t.Context(), "right")
	if err != nil {
		t.Fatal(err)
	}
	c := count(h, false)
	for _, tt := range []struct {
		name, encoded string
		want          []kdf
	}{
		{"a new hash costs one run", stored, []kdf{params.kdf()}},
		{"bcrypt costs its own and that of its replacement", bcryptOf(t, 5), []kdf{params.kdf(), {cost: 5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if ok, _, err := h.Verify(t.Context(), "right", tt.encoded); !ok || err != nil {
				t.Fatalf("got %v, %v", ok, err)
			}
			if got := c.sorted(); !slices.Equal(got, tt.want) {
				t.Errorf("runs are %+v, want %+v", got, tt.want)
			}
		})
	}
}

// The sign-in of somebody whose request ended while bcrypt was running does
// not fail; only the replacement is left for the next time.
func TestNoUpgradeAfterTheContextEnded(t *testing.T) {
	h := newInternal(t, Config{Argon2id: Argon2id{Memory: 64, Passes: 1, Lanes: 1}, Imported: []Scheme{Bcrypt(4)}})
	ctx, cancel := context.WithCancel(t.Context())
	runs := 0
	h.derive = func(d digest, password []byte) []byte {
		runs++
		cancel()
		return derive(d, password)
	}
	ok, upgraded, err := h.Verify(ctx, "right", bcryptOf(t, 4))
	if !ok || upgraded != "" || err != nil || runs != 1 {
		t.Errorf("got %v, %q, %v after %d runs, want true without a replacement after 1", ok, upgraded, err, runs)
	}
}

// A failure that has begun ends like any other, or the moment at which it was
// cut off would tell which scheme comes first.
func TestFailureIsFinishedAfterTheContextEnded(t *testing.T) {
	h := newInternal(t, Config{Argon2id: Argon2id{Memory: 64, Passes: 1, Lanes: 1}, Imported: []Scheme{Bcrypt(4)}})
	ctx, cancel := context.WithCancel(t.Context())
	c := count(h, false)
	counting := h.derive
	h.derive = func(d digest, password []byte) []byte {
		cancel()
		return counting(d, password)
	}
	ok, upgraded, err := h.Verify(ctx, "wrong", bcryptOf(t, 4))
	if ok || upgraded != "" || err != nil || len(c.runs) != 2 {
		t.Errorf("got %v, %q, %v after %+v, want false after 2 runs", ok, upgraded, err, c.runs)
	}
}

func TestListedParametersRaiseTheBound(t *testing.T) {
	budget, err := NewBudget(BudgetConfig{Memory: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		config Config
		want   uint32
	}{
		{"by default it is 256 MiB", Config{}, 256 << 10},
		{"a larger budget does not raise it", Config{Budget: budget}, 256 << 10},
		{"an imported scheme does", Config{Budget: budget, Imported: []Scheme{Argon2id{Memory: 512 << 10}}}, 512 << 10},
		{"so do the parameters of new hashes", Config{Budget: budget, Argon2id: Argon2id{Memory: 1 << 20}}, 1 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := newInternal(t, tt.config).readMemory; got != tt.want {
				t.Errorf("it is %d KiB, want %d", got, tt.want)
			}
		})
	}
}

// What a permit is for: the largest memory of all the runs, so that a failed
// verification never waits a second time.
func TestWeightIsTheLargestMemory(t *testing.T) {
	budget, err := NewBudget(BudgetConfig{Memory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	h := newInternal(t, Config{
		Argon2id: Argon2id{Memory: 64, Passes: 1, Lanes: 1},
		Imported: []Scheme{Argon2id{Memory: 256, Passes: 1, Lanes: 1}},
		Budget:   budget,
	})
	var used []int64
	h.derive = func(d digest, _ []byte) []byte {
		used = append(used, budget.used>>10)
		return nil
	}
	for _, tt := range []struct {
		name, encoded string
		want          []int64
	}{
		{"an unknown user", "", []int64{256, 256}},
		{"a new hash", dummy(kdf{memory: 64, passes: 1, lanes: 1}).String(), []int64{256, 256}},
		{"a hash of more memory than any listed", dummy(kdf{memory: 512, passes: 1, lanes: 1}).String(), []int64{512, 512}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			used = nil
			if _, _, err := h.Verify(t.Context(), "x", tt.encoded); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(used, tt.want) {
				t.Errorf("%d KiB are taken during the runs, want %d", used, tt.want)
			}
			if budget.used != 0 || budget.running != 0 {
				t.Errorf("%d bytes and %d permits are out afterwards", budget.used, budget.running)
			}
		})
	}
	t.Run("a new hash asks for its own", func(t *testing.T) {
		used = nil
		if _, err := h.Hash(t.Context(), "x"); err != nil || !slices.Equal(used, []int64{64}) {
			t.Errorf("%d KiB were taken, %v", used, err)
		}
	})
	t.Run("a panic gives the permit back", func(t *testing.T) {
		h.derive = func(digest, []byte) []byte { panic("out of luck") }
		func() {
			defer func() { recover() }()
			h.Verify(t.Context(), "x", "")
		}()
		if budget.used != 0 || budget.running != 0 {
			t.Errorf("%d bytes and %d permits are out afterwards", budget.used, budget.running)
		}
	})
}

// All that is not hashing: reading the hash, the budget, the comparison.
func BenchmarkVerifyWithoutHashing(b *testing.B) {
	h := newInternal(b, Config{Imported: []Scheme{Bcrypt(12)}})
	h.derive = func(digest, []byte) []byte { return nil }
	for _, bm := range []struct{ name, encoded string }{
		{"argon2id", dummy(h.bill[0]).String()},
		{"bcrypt", dummy(h.bill[1]).String()},
		{"junk", "$argon2id$v=19$m=4294967295,t=0,p=1$c29tZXNhbHQ$AAAA"},
		{"unknown", ""},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Verify(b.Context(), "correct horse", bm.encoded)
			}
		})
	}
}
