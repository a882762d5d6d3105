package password

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
		return cmp.Or(
			cmp.Compare(a.function(), b.function()), a.cost-b.cost, cmp.Compare(a.blocks(), b.blocks()),
			cmp.Compare(a.iterations, b.iterations), cmp.Compare(a.scryptBlocks(), b.scryptBlocks()),
		)
	})
	return runs
}

// work sums up runs by their function: the blocks of argon2id, the rounds of
// bcrypt, the iterations of PBKDF2 and the blocks of scrypt.
func work(runs []kdf) (sum [4]uint64) {
	for _, k := range runs {
		switch k.function() {
		case argon2idFunction:
			sum[argon2idFunction] += k.blocks()
		case bcryptFunction:
			sum[bcryptFunction] += 1 << k.cost
		case pbkdf2Function:
			sum[pbkdf2Function] += uint64(k.iterations)
		case scryptFunction:
			sum[scryptFunction] += k.scryptBlocks()
		}
	}
	return sum
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

// pbkdf2Of returns one of PBKDF2.
func pbkdf2Of(t testing.TB, iterations uint32) string {
	t.Helper()
	d := dummy(kdf{iterations: iterations})
	d.tag = derive(d, []byte("right"))
	return d.String()
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
	scrypt := Scrypt{LogN: 5, R: 2, P: 3}
	spelled := func(k kdf, s spelling, minor byte) string { // a hash that no password has
		d := dummy(k)
		d.spelling, d.minor = s, minor
		if s == django {
			d.salt = []byte("seasalt")
			if k.function() == scryptFunction {
				d.tag = make([]byte, 64)
			}
		}
		return d.String()
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
		{"Django's bcrypt", "wrong", spelled(kdf{cost: 6}, django, 'b')},
		{"Django's bcrypt_sha256", "wrong", spelled(kdf{cost: 6}, djangoSHA256, 'b')},
		{"Django's bcrypt_sha256, empty password", "", spelled(kdf{cost: 6}, djangoSHA256, 'b')},
		{"Django's bcrypt_sha256, NUL", "a\x00", spelled(kdf{cost: 6}, djangoSHA256, 'b')},
		{"passlib's bcrypt_sha256, version 1", "wrong", spelled(kdf{cost: 6}, passlibSHA256v1, 'a')},
		{"passlib's bcrypt_sha256, version 2", x72 + "x", spelled(kdf{cost: 6}, passlibSHA256v2, 'b')},
		{"malformed bcrypt_sha256", "right", "bcrypt_sha256$$2b$06$"},
		{"Django's PBKDF2", "wrong", spelled(kdf{iterations: 100}, django, 0)},
		{"Django's PBKDF2, empty password", "", spelled(kdf{iterations: 100}, django, 0)},
		{"passlib's PBKDF2", "wrong", spelled(kdf{iterations: 100}, native, 0)},
		{"passlib's PBKDF2, NUL at the end", "wrong\x00", spelled(kdf{iterations: 100}, native, 0)},
		{"passlib's PBKDF2, over-long password", long, spelled(kdf{iterations: 100}, native, 0)},
		{"malformed PBKDF2", "right", "pbkdf2_sha256$100$seasalt$"},
		{"PBKDF2 out of bounds", "right", "pbkdf2_sha256$4294967295$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c="},
		{"Django's scrypt", "wrong", spelled(scrypt.kdf(), django, 0)},
		{"scrypt", "wrong", spelled(scrypt.kdf(), native, 0)},
		{"scrypt, empty password", "", spelled(scrypt.kdf(), native, 0)},
		{"scrypt, NUL at the end", "wrong\x00", spelled(scrypt.kdf(), native, 0)},
		{"scrypt, over-long password", long, spelled(scrypt.kdf(), native, 0)},
		{"malformed scrypt", "right", "$scrypt$ln=5,r=2,p=3$"},
		{"scrypt out of bounds", "right", "$scrypt$ln=23,r=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"},
		{"Django's argon2", "wrong", "argon2" + argon},
	}
	// What there is of less work than is listed, each function on its own.
	weaker := []string{
		b4,
		spelled(kdf{cost: 5}, django, 'b'),
		spelled(kdf{cost: 4}, djangoSHA256, 'b'),
		spelled(kdf{cost: 5}, passlibSHA256v1, 'a'),
		spelled(kdf{cost: 4}, passlibSHA256v2, 'b'),
		spelled(kdf{iterations: 1}, django, 0),
		spelled(kdf{iterations: 99}, native, 0),
		spelled(kdf{logN: 5, r: 2, p: 2}, django, 0),
		spelled(kdf{logN: 4, r: 2, p: 3}, native, 0),
		spelled(kdf{logN: 1, r: 2, p: 1}, native, 0),
		spelled(kdf{logN: 3, r: 2, p: 11}, native, 0),
		spelled(kdf{logN: 6, r: 2, p: 1}, native, 0), // of more memory
	}
	for _, tt := range []struct {
		name     string
		imported []Scheme
	}{
		{"nothing imported", nil},
		{"bcrypt imported", []Scheme{Bcrypt(6)}},
		{"argon2id imported", []Scheme{listed}},
		{"argon2id and bcrypt imported", []Scheme{listed, Bcrypt(6)}},
		{"bcrypt_sha256 imported", []Scheme{BcryptSHA256(6)}},
		{"PBKDF2 imported", []Scheme{PBKDF2SHA256(100)}},
		{"scrypt imported", []Scheme{scrypt}},
		{"Django imported", []Scheme{PBKDF2SHA256(100), BcryptSHA256(6), scrypt}},
		{"all imported", []Scheme{listed, PBKDF2SHA256(100), Bcrypt(6), scrypt, BcryptSHA256(6)}},
		{"all imported, and bcrypt_sha256 the cheaper bcrypt", []Scheme{BcryptSHA256(4), Bcrypt(6), scrypt, PBKDF2SHA256(100), listed}},
		{"all imported, and bcrypt_sha256 the costlier bcrypt", []Scheme{Bcrypt(5), BcryptSHA256(6), scrypt, PBKDF2SHA256(100), listed}},
	} {
		h := newInternal(t, Config{Argon2id: params, Imported: tt.imported})
		c := count(h, len(tt.imported) > 1) // the others show that it fails if it is run
		want := []kdf{params.kdf()}
		for _, s := range tt.imported {
			if s.kdf().isBcrypt() { // both of it are one, of cost 6
				if !slices.Contains(want, kdf{cost: 6}) {
					want = append(want, kdf{cost: 6})
				}
				continue
			}
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
					if work(got) != work(want) {
						t.Errorf("work is %d, want %d", work(got), work(want))
					}
					return
				}
				if !slices.Equal(got, want) {
					t.Errorf("runs are\n%+v\nwant\n%+v", got, want)
				}
			})
		}
		for _, encoded := range weaker {
			t.Run(tt.name+"/less than listed/"+encoded, func(t *testing.T) {
				for _, pw := range []string{"wrong", "", "right\x00", x72 + "x"} {
					h.Verify(t.Context(), pw, encoded)
					if got := c.sorted(); work(got) != work(want) {
						t.Errorf("work is %d, want %d, by %+v", work(got), work(want), got)
					}
				}
			})
		}
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
			got := work(c.sorted())
			if want := [4]uint64{argon2idFunction: 8, bcryptFunction: 1 << max(listed, stored)}; got != want {
				t.Errorf("cost %d under a listed %d: work is %d, want %d", stored, listed, got, want)
			}
		}
	}
}

func TestPBKDF2IsPaddedExactly(t *testing.T) {
	for _, listed := range []int{1, 2, 29000, 1_000_000, maxIterations} {
		h := newInternal(t, Config{Argon2id: Argon2id{Memory: 8, Passes: 1, Lanes: 1}, Imported: []Scheme{PBKDF2SHA256(listed)}})
		c := count(h, true)
		for _, stored := range []int{1, 2, 28999, 29000, 29001, 999_999, 1_000_000, maxIterations} {
			encoded := dummy(PBKDF2SHA256(stored).kdf()).String()
			if _, _, err := h.Verify(t.Context(), "x", encoded); err != nil {
				t.Fatal(err)
			}
			runs := c.sorted()
			if got, want := work(runs), ([4]uint64{argon2idFunction: 8, pbkdf2Function: uint64(max(listed, stored))}); got != want || len(runs) > 3 {
				t.Errorf("%d iterations under a listed %d: work is %d, want %d, by %+v", stored, listed, got, want, runs)
			}
		}
	}
}

// Exactly for the same r, and otherwise up to what no run is as small as: two
// times r blocks. No run that is added takes more memory than the listed one.
func TestScryptIsPaddedInBlocks(t *testing.T) {
	budget := newBudget(t, BudgetConfig{Memory: 2 << 30})
	for _, listed := range []Scrypt{{14, 8, 5}, {14, 8, 1}, {16, 8, 1}, {17, 8, 1}, {15, 8, 3}, {10, 4, 16}, {1, 1, 1}, {12, 3, 2}} {
		h := newInternal(t, Config{Argon2id: Argon2id{Memory: 8, Passes: 1, Lanes: 1}, Imported: []Scheme{listed}, Budget: budget})
		c := count(h, true)
		for logN := 1; logN <= 17; logN++ {
			for r := 1; r <= 9; r++ {
				for p := 1; p <= maxP; p++ {
					stored := Scrypt{logN, r, p}
					if len(stored.problems()) > 0 {
						continue
					}
					if _, _, err := h.Verify(t.Context(), "x", dummy(stored.kdf()).String()); err != nil {
						t.Fatal(err)
					}
					runs := c.sorted()
					want := max(listed.kdf().scryptBlocks(), stored.kdf().scryptBlocks())
					short := want - work(runs)[scryptFunction]
					if short >= 2*uint64(listed.R) || r == listed.R && short != 0 {
						t.Errorf("%+v under %+v: %d blocks are missing of %d, by %+v", stored, listed, short, want, runs)
					}
					for _, run := range runs {
						if run.function() == scryptFunction && run != stored.kdf() && run.kib() > listed.kdf().kib() {
							t.Errorf("%+v under %+v: a run of %+v is added", stored, listed, run)
						}
					}
				}
			}
		}
	}
}

// Bcrypt and BcryptSHA256 are the same function, so one run of the costlier is
// all that a failure owes.
func TestBcryptAndBcryptSHA256ShareTheirWork(t *testing.T) {
	for _, imported := range [][]Scheme{{Bcrypt(10), BcryptSHA256(12)}, {BcryptSHA256(10), Bcrypt(12)}, {BcryptSHA256(12), PBKDF2SHA256(1), Bcrypt(10)}} {
		h := newInternal(t, Config{Imported: imported})
		if got := work(h.bill)[bcryptFunction]; got != 1<<12 {
			t.Errorf("%v owes %d rounds, want %d", imported, got, 1<<12)
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

// The order of the runs tells by the caches they leave, and the length of what
// they are run over by itself: both are the same with a stored hash and without.
func TestFailuresRunInOneOrderOverTheSameBytes(t *testing.T) {
	h := newInternal(t, Config{Argon2id: Argon2id{Memory: 64, Passes: 1, Lanes: 1}, Imported: []Scheme{Bcrypt(4), PBKDF2SHA256(9)}})
	stored, err := h.Hash(t.Context(), "right")
	if err != nil {
		t.Fatal(err)
	}
	var runs []string
	h.derive = func(d digest, password []byte) []byte {
		runs = append(runs, fmt.Sprintf("%v over %d", d.kdf, len(password)))
		return derive(d, password)
	}
	for _, given := range []string{"wrong", strings.Repeat("x", 73), strings.Repeat("x", 1024), strings.Repeat("x", 1025), "", "nul\x00"} {
		var want []string
		for name, encoded := range map[string]string{"unknown": "", "argon2id": stored, "bcrypt": bcryptOf(t, 4), "PBKDF2": pbkdf2Of(t, 9), "damaged": "$"} {
			runs = nil
			if ok, _, _ := h.Verify(t.Context(), given, encoded); ok {
				t.Fatal("it matched")
			}
			if want == nil {
				want = slices.Clone(runs)
			}
			if !slices.Equal(runs, want) {
				t.Errorf("%s with a password of %d bytes: runs are\n%q\nothers are\n%q", name, len(given), runs, want)
			}
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
	for _, k := range []kdf{{cost: 4}, {memory: 64, passes: 1, lanes: 1}, {iterations: 1}, {logN: 1, r: 1, p: 1}, {logN: 14, r: 8, p: 5}} {
		d := dummy(k)
		if k.cost == 0 && len(derive(d, nil)) != 32 {
			t.Errorf("%s is not run", d)
		}
		if got, err := parse(d.String(), maxMemory); err != nil || got.String() != d.String() {
			t.Errorf("%s is read as %s, %v", d, got, err)
		}
	}
}

func TestSuccessCostsWhatItNeeds(t *testing.T) {
	params := Argon2id{Memory: 64, Passes: 1, Lanes: 1}
	h := newInternal(t, Config{Argon2id: params, Imported: []Scheme{Bcrypt(5), PBKDF2SHA256(9)}})
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
		{"bcrypt costs what is before it, its own and that of its replacement", bcryptOf(t, 5), []kdf{params.kdf(), params.kdf(), {cost: 5}}},
		{"PBKDF2 too", pbkdf2Of(t, 7), []kdf{params.kdf(), params.kdf(), {cost: 5}, {iterations: 7}}},
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
	if !ok || upgraded != "" || err != nil || runs != 2 {
		t.Errorf("got %v, %q, %v after %d runs, want true without a replacement after 2", ok, upgraded, err, runs)
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
		{"so does scrypt, which takes a little more than its N", Config{Budget: budget, Imported: []Scheme{Scrypt{LogN: 19, R: 8, P: 1}}}, 512<<10 + 3},
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
	t.Run("scrypt counts like argon2id", func(t *testing.T) {
		h := newInternal(t, Config{
			Argon2id: Argon2id{Memory: 64, Passes: 1, Lanes: 1},
			Imported: []Scheme{Scrypt{LogN: 8, R: 8, P: 6}},
			Budget:   budget,
		})
		h.derive = func(digest, []byte) []byte {
			used = append(used, budget.used>>10)
			return nil
		}
		used = nil
		if _, _, err := h.Verify(t.Context(), "x", ""); err != nil || !slices.Equal(used, []int64{264, 264}) {
			t.Errorf("%d KiB were taken for an unknown user, %v", used, err)
		}
		used = nil
		if _, _, err := h.Verify(t.Context(), "x", dummy(kdf{logN: 9, r: 8, p: 6}).String()); err != nil || used[0] != 520 {
			t.Errorf("%d KiB were taken for a hash of more memory than listed, %v", used, err)
		}
	})
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
	h := newInternal(b, Config{Imported: []Scheme{Bcrypt(12), PBKDF2SHA256(1_000_000), Scrypt{LogN: 14, R: 8, P: 5}}})
	h.derive = func(digest, []byte) []byte { return nil }
	for _, bm := range []struct{ name, encoded string }{
		{"argon2id", dummy(h.bill[0]).String()},
		{"bcrypt", dummy(h.bill[1]).String()},
		{"PBKDF2", dummy(h.bill[2]).String()},
		{"scrypt", dummy(h.bill[3]).String()},
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
