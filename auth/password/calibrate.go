package password

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Calibrate returns the strongest parameters for [Config.Argon2id] with which one run
// takes at most target on this machine, and budget.Concurrent runs at most
// budget.Memory. List the earlier parameters in [Config.Imported].
//
// It takes some 10 to 60 times the target, so call it in a tool. Defaults: target 250
// ms, budget.Memory 256 MiB, budget.Concurrent 4. It returns an error if ctx ends, or
// if 12 MiB and 3 passes exceed target or budget.
func Calibrate(ctx context.Context, target time.Duration, budget BudgetConfig) (Argon2id, error) {
	return calibrate(ctx, target, budget, measure)
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

// calibrate begins with the cheapest allowed parameters and raises the memory in
// steps of 1 MiB, then the passes, because memory makes guesses expensive on other
// hardware. RFC 9106 section 4 begins with one pass, but recommends 3 below 2 GiB.
// The fastest of three measurements counts, because other load can only slow a run
// down.
func calibrate(ctx context.Context, target time.Duration, c BudgetConfig, measure func(kdf) time.Duration) (Argon2id, error) {
	if target == 0 {
		target = 250 * time.Millisecond
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
	if target < 0 {
		errs = append(errs, fmt.Errorf("password: target is %v; pass a positive duration", target))
	}
	if c.Concurrent < 0 {
		errs = append(errs, fmt.Errorf("password: BudgetConfig.Concurrent is %d; set a positive number", c.Concurrent))
	} else if most = int(min(c.Memory/int64(c.Concurrent)>>20, maxConfigMemory>>10)); most < least {
		errs = append(errs, fmt.Errorf("password: BudgetConfig.Memory is %d bytes for %d runs at once; allow at least %d MiB for each (OWASP, ASVS 5.0 Appendix C)",
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
			if took <= target {
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
		return Argon2id{}, fmt.Errorf("password: the least that is allowed, %d MiB and %d passes, takes %v on this machine, and target is %v; allow more time",
			least, leastPasses, took.Round(time.Millisecond), target)
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

// largest returns the largest number from low to high that fits; low does. It doubles
// until a number does not fit and then bisects, because large numbers take long.
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
