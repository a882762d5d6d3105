package password

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A CalibrateConfig says what [Calibrate] looks for. The zero CalibrateConfig
// is a good start.
type CalibrateConfig struct {
	// Target is how long one run should take on a machine that does nothing
	// else. Each attempt to sign in costs it, and so does each guess of those
	// who steal the hashes.
	//
	// Default: 250 milliseconds.
	Target time.Duration

	// Memory is how many bytes there are for all that is hashed at once. Give
	// the number of [BudgetConfig.Memory].
	//
	// Default: 256 MiB, as it is there.
	Memory int64

	// Concurrent is how many runs should fit into that memory at the same
	// time.
	//
	// Default: 4.
	Concurrent int
}

// Calibrate proposes parameters for [Config.Argon2id]: the strongest of which
// one run takes at most the target on this machine, and Concurrent of them at
// most the memory. They are never below the floor named at [Config.Argon2id],
// nor above what [New] takes.
//
//	params, err := password.Calibrate(ctx, password.CalibrateConfig{Target: 500 * time.Millisecond})
//
// It is for a tool or a test, and its result for the configuration: do not
// call it whenever the server starts. It would find something else each time,
// and on each machine, and while hashes of several strengths are stored, the
// time of a failure tells more than it does otherwise. When the parameters are
// changed, list the earlier ones in [Config.Imported].
//
// All proposals have 4 lanes, which the result depends on and which are
// therefore not those of the machine (RFC 9106 section 4), 16 bytes of salt and
// 32 of tag. The search begins with 12 MiB and 3 passes, which are the cheapest
// of the floor. It raises the memory first, in steps of 1 MiB, and the passes
// only when all the memory is taken, up to 16, since memory is what makes a
// guess expensive on other hardware than ours. RFC 9106 section 4 goes about it
// from above, with all the memory and one pass, and takes less memory where that
// is too slow, or more passes where there is time; but its own recommendation
// for less memory than 2 GiB has 3.
//
// It measures parameters three times and takes the fastest, for whatever else
// the machine does can only slow it down. The whole takes some 10 to 60 times
// the target. When ctx ends, so does the search, after the run that has begun,
// with its error. It is also an error when 12 MiB and 3 passes take longer than
// the target, or more memory than there is.
func Calibrate(ctx context.Context, c CalibrateConfig) (Argon2id, error) {
	return calibrate(ctx, c, measure)
}

// measure returns how long a run of k takes.
func measure(k kdf) time.Duration {
	d := dummy(k)
	began := time.Now()
	derive(d, []byte("a password of some length"))
	return time.Since(began)
}

// measurements is how often each choice of parameters is measured.
const measurements = 3

func calibrate(ctx context.Context, c CalibrateConfig, measure func(kdf) time.Duration) (Argon2id, error) {
	if c.Target == 0 {
		c.Target = 250 * time.Millisecond
	}
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	if c.Concurrent == 0 {
		c.Concurrent = 4
	}
	const lanes, leastPasses = 4, 3
	var (
		least = floor(leastPasses) >> 10 // MiB, like the next one
		most  int
		errs  []error
	)
	if c.Target < 0 {
		errs = append(errs, fmt.Errorf("password: CalibrateConfig.Target is %v, want a positive duration", c.Target))
	}
	if c.Concurrent < 0 {
		errs = append(errs, fmt.Errorf("password: CalibrateConfig.Concurrent is %d, want a positive number", c.Concurrent))
	} else if most = int(min(c.Memory/int64(c.Concurrent)>>20, maxConfigMemory>>10)); most < least {
		errs = append(errs, fmt.Errorf("password: CalibrateConfig.Memory is %d bytes for %d runs at once, want at least %d MiB for each (OWASP, ASVS 5.0 Appendix C)",
			c.Memory, c.Concurrent, least))
	}
	if len(errs) > 0 {
		return Argon2id{}, errors.Join(errs...)
	}

	// within reports whether a run takes no longer than the target. The
	// first measurement that shows it is enough.
	within := func(mib, passes int) (bool, time.Duration, error) {
		fastest := time.Duration(-1)
		for range measurements {
			if err := ctx.Err(); err != nil {
				return false, 0, fmt.Errorf("password: calibrating: %w", err)
			}
			took := measure(kdf{memory: uint32(mib) << 10, passes: uint32(passes), lanes: lanes})
			if took <= c.Target {
				return true, took, nil
			}
			if fastest < 0 || took < fastest {
				fastest = took
			}
		}
		return false, fastest, nil
	}

	ok, took, err := within(least, leastPasses)
	if err != nil {
		return Argon2id{}, err
	}
	if !ok {
		return Argon2id{}, fmt.Errorf("password: the least that is allowed, %d MiB and %d passes, takes %v on this machine, and CalibrateConfig.Target is %v; allow more time",
			least, leastPasses, took.Round(time.Millisecond), c.Target)
	}
	mib, err := largest(least, most, func(mib int) (bool, error) {
		ok, _, err := within(mib, leastPasses)
		return ok, err
	})
	if err != nil {
		return Argon2id{}, err
	}
	passes := leastPasses
	if mib == most {
		passes, err = largest(leastPasses, maxPasses, func(passes int) (bool, error) {
			ok, _, err := within(most, passes)
			return ok, err
		})
		if err != nil {
			return Argon2id{}, err
		}
	}
	return Argon2id{Memory: mib << 10, Passes: passes, Lanes: lanes}.withDefaults(), nil
}

// largest returns the largest number from low to high that fits, where low is
// known to. It doubles what it tries until one does not, and then looks between
// the last two: so it tries nothing above twice the result, each try taking as
// long as the number is large.
func largest(low, high int, fits func(int) (bool, error)) (int, error) {
	tooMuch := high + 1
	for next := low; low < high && tooMuch > high; {
		next = min(2*next, high)
		ok, err := fits(next)
		if err != nil {
			return 0, err
		}
		if ok {
			low = next
		} else {
			tooMuch = next
		}
	}
	for tooMuch-low > 1 {
		middle := low + (tooMuch-low)/2
		ok, err := fits(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			tooMuch = middle
		}
	}
	return low, nil
}
