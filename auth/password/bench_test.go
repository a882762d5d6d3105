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
