package password

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A machine is a fake one, on which a block of argon2id takes so long.
type machine struct {
	perBlock time.Duration
	tried    []kdf
	hiccup   int // each so-manieth measurement takes ten times as long
}

func (m *machine) measure(k kdf) time.Duration {
	m.tried = append(m.tried, k)
	took := time.Duration(k.blocks()) * m.perBlock
	if m.hiccup > 0 && len(m.tried)%m.hiccup == 0 {
		took *= 10
	}
	return took
}

// A calibration is what Calibrate is called with.
type calibration struct {
	Target     time.Duration
	Memory     int64
	Concurrent int
}

func (c calibration) budget() BudgetConfig {
	return BudgetConfig{Memory: c.Memory, Concurrent: c.Concurrent}
}

func TestCalibrate(t *testing.T) {
	const blocks = 250_000 // of a quarter of a second at a microsecond each
	for _, tt := range []struct {
		name   string
		config calibration
		per    time.Duration
		want   Argon2id
	}{
		{"by default there are 64 MiB for a run, and the rest of the time goes into passes", calibration{}, 500 * time.Nanosecond, Argon2id{Memory: 64 << 10, Passes: 7}},
		{"a machine twice as fast gets twice the passes", calibration{}, 250 * time.Nanosecond, Argon2id{Memory: 64 << 10, Passes: 15}},
		{"there are 16 passes at most", calibration{}, time.Nanosecond, Argon2id{Memory: 64 << 10, Passes: 16}},
		{"a slow machine gets less memory", calibration{}, 2 * time.Microsecond, Argon2id{Memory: 40 << 10, Passes: 3}},
		{"a slower one gets the floor", calibration{}, 250 * time.Millisecond / (12288 * 3), Argon2id{Memory: 12288, Passes: 3}},
		{"all of the target may be used", calibration{Target: 3 * 12288 * time.Microsecond}, time.Microsecond, Argon2id{Memory: 12288, Passes: 3}},
		{"more memory is taken before more passes", calibration{Memory: 1 << 30}, time.Microsecond, Argon2id{Memory: blocks / 3 >> 10 << 10, Passes: 3}},
		{"more time makes more of it", calibration{Memory: 4 << 30, Target: time.Second}, time.Microsecond, Argon2id{Memory: 4 * blocks / 3 >> 10 << 10, Passes: 3}},
		{"memory is divided among the runs at once", calibration{Memory: 1 << 30, Concurrent: 32, Target: time.Second}, time.Microsecond, Argon2id{Memory: 32 << 10, Passes: 16}},
		{"less than a MiB of it is left over", calibration{Memory: 100<<20 + 12345, Concurrent: 7}, time.Microsecond, Argon2id{Memory: 14 << 10, Passes: 16}},
		{"the floor is all the memory there is", calibration{Memory: 12 << 20, Concurrent: 1}, time.Microsecond, Argon2id{Memory: 12288, Passes: 16}},
		{"it never asks for more than New takes", calibration{Memory: 1 << 50, Concurrent: 1, Target: time.Hour}, time.Nanosecond, Argon2id{Memory: 4 << 20, Passes: 16}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, hiccup := range []int{0, 2, 5} {
				m := &machine{perBlock: tt.per, hiccup: hiccup}
				got, err := calibrate(t.Context(), tt.config.Target, tt.config.budget(), m.measure)
				want := tt.want
				want.Lanes, want.SaltLength, want.TagLength = 4, 16, 32
				if got != want || err != nil {
					t.Fatalf("hiccup %d: got %+v, %v, want %+v", hiccup, got, err, want)
				}
				if problems := append(got.problems(), got.tooWeak()...); len(problems) > 0 {
					t.Errorf("New would say: %s", problems)
				}
				for _, k := range m.tried {
					if k.memory > 2*uint32(got.Memory) || k.passes > 2*uint32(got.Passes) || k.lanes != 4 {
						t.Errorf("%+v is tried on the way to %+v", k, got)
					}
				}
				if len(m.tried) > 60 {
					t.Errorf("%d measurements, want fewer", len(m.tried))
				}
			}
		})
	}
}

// Whatever the machine: the most that fits, and the next step would not.
func TestCalibrateFindsTheMost(t *testing.T) {
	for per := 10 * time.Nanosecond; per < 6700*time.Nanosecond; per += 37 * time.Nanosecond {
		for _, memory := range []int64{50 << 20, 256 << 20, 2 << 30} {
			got, err := calibrate(t.Context(), 0, BudgetConfig{Memory: memory}, (&machine{perBlock: per}).measure)
			if err != nil {
				t.Fatalf("%v a block, %d bytes: %v", per, memory, err)
			}
			next := got.kdf()
			if int64(next.memory+1024)<<10 <= memory/4 {
				next.memory += 1024
			} else if next.passes++; next.passes > maxPasses {
				continue
			}
			now, then := time.Duration(got.kdf().blocks())*per, time.Duration(next.blocks())*per
			if now > 250*time.Millisecond || then <= 250*time.Millisecond {
				t.Errorf("%v a block, %d bytes: %+v takes %v, and the next step %v", per, memory, got, now, then)
			}
		}
	}
}

func TestCalibrateFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config calibration
		want   string
	}{
		{"the floor takes longer than the target", calibration{Target: 100 * time.Millisecond},
			"password: the least that is allowed, 12 MiB and 3 passes, takes 369ms on this machine, and target is 100ms; allow more time"},
		{"there is too little memory", calibration{Memory: 64 << 20, Concurrent: 6},
			"password: BudgetConfig.Memory is 67108864 bytes for 6 runs at once; allow at least 12 MiB for each (OWASP, ASVS 5.0 Appendix C)"},
		{"there is negative memory", calibration{Memory: -1 << 40},
			"password: BudgetConfig.Memory is -1099511627776 bytes for 4 runs at once; allow at least 12 MiB for each (OWASP, ASVS 5.0 Appendix C)"},
		{"all of it is wrong", calibration{Target: -time.Second, Concurrent: -1},
			"password: target is -1s; pass a positive duration\npassword: BudgetConfig.Concurrent is -1; set a positive number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := calibrate(t.Context(), tt.config.Target, tt.config.budget(), (&machine{perBlock: 10 * time.Microsecond}).measure)
			if err == nil || err.Error() != tt.want || got != (Argon2id{}) {
				t.Errorf("got %+v, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestCalibrateObeysItsContext(t *testing.T) {
	for after := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		m := &machine{perBlock: time.Microsecond}
		if after == 0 {
			cancel()
		}
		got, err := calibrate(ctx, 0, BudgetConfig{}, func(k kdf) time.Duration {
			if len(m.tried)+1 == after {
				cancel()
			}
			return m.measure(k)
		})
		if ctx.Err() == nil { // it was done before
			cancel()
			if after < 4 {
				t.Errorf("after %d measurements it was done", after)
			}
			continue
		}
		cancel()
		if err == nil && len(m.tried) == after {
			continue // it was the last one
		}
		if !errors.Is(err, context.Canceled) || got != (Argon2id{}) || len(m.tried) != after {
			t.Errorf("cancelled at measurement %d: got %+v, %v after %d", after, got, err, len(m.tried))
		}
	}
}
