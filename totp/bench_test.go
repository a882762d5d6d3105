package totp_test

import (
	"context"
	"errors"
	"testing"

	"github.com/gatewright/gatewright/totp"
)

// frozen is a store whose record never changes: each attempt is the first one
// after a right code, so none has to wait.
type frozen struct{ totp.Record }

func (f *frozen) LoadTOTP(context.Context, string) (totp.Record, error) { return f.Record, nil }
func (f *frozen) SaveTOTP(context.Context, string, totp.Record) (bool, error) {
	return true, nil
}

// frozenService returns a service of which alice's record never changes.
func frozenService(b *testing.B) *totp.Service {
	b.Helper()
	ctx := context.Background()
	store := new(totp.Memory)
	if _, err := service(b, store, totp.Config{}).Import(ctx, "alice", []byte("12345678901234567890")); err != nil {
		b.Fatal(err)
	}
	r, err := store.LoadTOTP(ctx, "alice")
	if err != nil {
		b.Fatal(err)
	}
	r.Step = 0 // or else the codes of used steps are not even computed
	return service(b, &frozen{r}, totp.Config{})
}

// BenchmarkWrongCode has what an attempt costs beside its store: opening the
// sealed secret and the codes of three steps.
func BenchmarkWrongCode(b *testing.B) {
	s, ctx := frozenService(b), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(ctx, "alice", "000000"); !errors.Is(err, totp.ErrWrongCode) {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrongCodeParallel(b *testing.B) {
	s, ctx := frozenService(b), context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Verify(ctx, "alice", "000000"); !errors.Is(err, totp.ErrWrongCode) {
				b.Error(err)
			}
		}
	})
}

// BenchmarkWrongRecoveryCode is an attempt at one of ten.
func BenchmarkWrongRecoveryCode(b *testing.B) {
	s, ctx := frozenService(b), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(ctx, "alice", "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA"); !errors.Is(err, totp.ErrWrongCode) {
			b.Fatal(err)
		}
	}
}

// BenchmarkHostile is what costs an attacker nothing to send: no store is asked.
func BenchmarkHostile(b *testing.B) {
	s, ctx := frozenService(b), context.Background()
	for name, code := range map[string]string{"long": string(make([]byte, 4<<10)), "letters": "not a code"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Verify(ctx, "alice", code); !errors.Is(err, totp.ErrWrongCode) {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkThrottled is an attempt that has to wait.
func BenchmarkThrottled(b *testing.B) {
	ctx := context.Background()
	s := service(b, new(totp.Memory), totp.Config{})
	s.Verify(ctx, "alice", "000000")
	b.ReportAllocs()
	for b.Loop() {
		s.Verify(ctx, "alice", "000000")
	}
}

func BenchmarkQR(b *testing.B) {
	e, err := service(b, new(totp.Memory), totp.Config{}).Begin(context.Background(), caller("alice"))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("PNG", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.PNG(320); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("SVG", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.SVG(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
