package password_test

import (
	"errors"
	"testing"

	"github.com/gatewright/gatewright/auth/password"
)

// The benchmarks run with the default parameters. The numbers they gave are in
// the comment of the package.

func newDefault(b *testing.B, imported ...password.Scheme) *password.Hasher {
	b.Helper()
	h, err := password.New(password.Config{Imported: imported})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

func BenchmarkHash(b *testing.B) {
	h := newDefault(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hash(b.Context(), "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHashTooLong(b *testing.B) {
	h := newDefault(b)
	long := string(make([]byte, 1<<20))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Hash(b.Context(), long); !errors.Is(err, password.ErrTooLong) {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	plain, imported := newDefault(b), newDefault(b, password.Bcrypt(12))
	stored := mustHash(b, plain, "correct horse")
	weaker, err := password.New(password.Config{Argon2id: password.Argon2id{Memory: 19456, Passes: 2, Lanes: 1}})
	if err != nil {
		b.Fatal(err)
	}
	weak := mustHash(b, weaker, "correct horse")
	b12, b10 := mustBcrypt(b, "correct horse", 12), mustBcrypt(b, "correct horse", 10)
	for _, bm := range []struct {
		name              string
		hasher            *password.Hasher
		password, encoded string
		ok                bool
	}{
		{"ok", plain, "correct horse", stored, true},
		{"wrong", plain, "wrong", stored, false},
		{"unknown", plain, "wrong", "", false},
		{"junk", plain, "wrong", "$argon2id$v=19$m=4294967295,t=0,p=1$c29tZXNhbHQ$AAAA", false},
		{"weaker, wrong", plain, "wrong", weak, false},
		{"weaker, ok and upgraded", plain, "correct horse", weak, true},
		{"bcrypt imported, ok", imported, "correct horse", stored, true},
		{"bcrypt imported, wrong", imported, "wrong", stored, false},
		{"bcrypt imported, unknown", imported, "wrong", "", false},
		{"bcrypt imported, bcrypt 12 wrong", imported, "wrong", b12, false},
		{"bcrypt imported, bcrypt 10 wrong", imported, "wrong", b10, false},
		{"bcrypt imported, bcrypt 12 ok and upgraded", imported, "correct horse", b12, true},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, _, _ := bm.hasher.Verify(b.Context(), bm.password, bm.encoded); ok != bm.ok {
					b.Fatalf("got %v", ok)
				}
			}
		})
	}
}

// What a whole table of Django's costs, at the parameters of Django 5.2, and
// what each of its schemes costs when it is imported alone.
func BenchmarkVerifyImported(b *testing.B) {
	var (
		pbkdf2 = password.PBKDF2SHA256(1_000_000)
		bc     = password.BcryptSHA256(12)
		scrypt = password.Scrypt{LogN: 14, R: 8, P: 5}
		argon  = password.Argon2id{Memory: 102400, Passes: 2, Lanes: 8}
	)
	for _, bm := range []struct {
		name     string
		imported []password.Scheme
	}{
		{"PBKDF2", []password.Scheme{pbkdf2}},
		{"bcrypt_sha256", []password.Scheme{bc}},
		{"both bcrypts", []password.Scheme{bc, password.Bcrypt(12)}},
		{"scrypt", []password.Scheme{scrypt}},
		{"argon2", []password.Scheme{argon}},
		{"PBKDF2 and bcrypt_sha256", []password.Scheme{pbkdf2, bc}},
		{"all", []password.Scheme{pbkdf2, bc, scrypt, argon}},
	} {
		h := newDefault(b, bm.imported...)
		for _, encoded := range []string{
			"",
			"pbkdf2_sha256$390000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c=",
		} {
			name := bm.name + ", unknown"
			if encoded != "" {
				name = bm.name + ", PBKDF2 of fewer iterations"
			}
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if ok, _, _ := h.Verify(b.Context(), "wrong", encoded); ok {
						b.Fatal("a wrong password is right")
					}
				}
			})
		}
	}
}

// What a stored hash can cost at the bounds.
func BenchmarkVerifyAtTheBounds(b *testing.B) {
	for _, bm := range []struct {
		name, encoded string
		scheme        password.Scheme
	}{
		{"PBKDF2", "pbkdf2_sha256$10000000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c=", password.PBKDF2SHA256(1)},
		{"scrypt", "$scrypt$ln=17,r=8,p=8$++++MDEyMzQ1Njc4OWFiYw$/c20mqxllgaX3meAOKQ1dnep+yiDGyg5VolFDJQMCxo", password.Scrypt{LogN: 1, R: 1, P: 1}},
		{"bcrypt", "bcrypt_sha256$$2b$16$abcdefghijklmnopqrstuuqq6aB1EEsHE5BBDphEe9yI.f2B9NDXS", password.BcryptSHA256(4)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			h := newDefault(b, bm.scheme)
			for b.Loop() {
				if _, _, err := h.Verify(b.Context(), "wrong", bm.encoded); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// As many at once as may run: what a sign-in costs when all processors do
// nothing else.
func BenchmarkVerifyParallel(b *testing.B) {
	h := newDefault(b)
	stored := mustHash(b, h, "correct horse")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if ok, _, err := h.Verify(b.Context(), "correct horse", stored); !ok {
				b.Error(err)
			}
		}
	})
}

// What a flood gets that finds everybody's turn taken.
func BenchmarkVerifyBusy(b *testing.B) {
	budget, err := password.NewBudget(password.BudgetConfig{Concurrent: 1, MaxWaiting: -1})
	if err != nil {
		b.Fatal(err)
	}
	h, err := password.New(password.Config{Budget: budget})
	if err != nil {
		b.Fatal(err)
	}
	stored := mustHash(b, h, "correct horse")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				h.Hash(b.Context(), "correct horse")
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		h.Verify(b.Context(), "correct horse", stored)
	}
	close(stop)
	<-stopped
}
