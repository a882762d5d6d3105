package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/internal/redisdb"
	"github.com/gatewright/gatewright/ratelimit"
)

// pkg begins each error.
const pkg = "ratelimit/redisstore"

// Config configures a [Store]. The zero Config is ready for use.
type Config struct {
	// Prefix begins every key: 1 to 64 letters, digits and any of ":._-/". Stores
	// with the same Prefix share their data. Default: "gatewright:ratelimit".
	Prefix string

	// SpreadKeys lets a cluster count each [ratelimit.Key] on its own node. A Take
	// with different keys then returns an error, as does every request by IPv6
	// address, which has a key for /64 and one for /48. All processes need the same
	// value.
	SpreadKeys bool

	// InsecureEviction accepts a server that evicts keys or hides its
	// maxmemory-policy: an attacker who fills its memory gets a new quota.
	InsecureEviction bool
}

// A Store implements [ratelimit.Store]. It is safe for concurrent use, also by
// several processes.
type Store struct {
	db      *redisdb.DB
	spread  bool
	breaker ratelimit.Breaker
}

// Breaker returns the Breaker that all limiters of s share.
func (s *Store) Breaker() *ratelimit.Breaker { return &s.breaker }

var _ ratelimit.Store = (*Store)(nil)

// New returns a Store that runs its scripts with eval: see
// [github.com/gatewright/gatewright/auth/redisstore]. It does not use the server.
// The error lists all mistakes.
func New(eval func(ctx context.Context, script string, keys []string, args ...any) (any, error), config Config) (*Store, error) {
	return redisdb.Open(pkg, eval, redisdb.Settings{
		Prefix: config.Prefix, DefaultPrefix: "gatewright:ratelimit",
		AllowEviction: config.InsecureEviction, AllowVolatile: true,
		Keeps: "what was spent", Rights: rights,
	}, func(db *redisdb.DB) *Store { return &Store{db: db, spread: config.SpreadKeys} })
}

// rights are the commands of the scripts.
const rights = "+eval +evalsha +info +time +get +set +setrange +del"

// Ready checks that the server is a primary that accepts writes and meets [Config].
// Call it at start and for readiness. Until it succeeded once, Take calls it first.
func (s *Store) Ready(ctx context.Context) error {
	return s.db.Ready(ctx, redisdb.ReadyKey(s.key(&ratelimit.Charge{})))
}

// Take implements [ratelimit.Store] in one round trip.
func (s *Store) Take(ctx context.Context, charges []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return nil, ratelimit.Receipt{}, err
	}
	if err := ratelimit.Validate(charges); err != nil {
		return nil, ratelimit.Receipt{}, err
	}
	if s.spread {
		for i := range charges {
			if charges[i].Key != charges[0].Key {
				return nil, ratelimit.Receipt{}, errors.New(pkg + ": one Take charges different keys, which Config.SpreadKeys" +
					" puts into different slots; use a Store without SpreadKeys")
			}
		}
	}
	keys, packed := s.command(charges)
	answer, err := s.db.Run(ctx, takeScript, keys, packed)
	if err != nil {
		return nil, ratelimit.Receipt{}, s.db.Wrap(err, "charging")
	}
	moment, states, err := read(answer, charges)
	switch {
	case err != nil:
		return nil, ratelimit.Receipt{}, s.db.Wrap(err, "charging")
	case moment == 0:
		return states, ratelimit.Receipt{}, nil
	}
	return states, ratelimit.NewReceipt(time.Duration(moment)*time.Microsecond, charges), nil
}

// Refund implements [ratelimit.Store]. It does not return charges that the server
// has lost.
func (s *Store) Refund(ctx context.Context, receipt ratelimit.Receipt) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at, charges := receipt.Use()
	if len(charges) == 0 {
		return nil
	}
	keys, packed := s.command(charges)
	moment := strconv.FormatInt(at.Microseconds(), 10)
	if _, err := s.db.RunUnchecked(ctx, refundScript, keys, packed, moment); err != nil {
		return s.db.Wrap(err, "refunding")
	}
	return nil
}

// command returns the keys of charges, and their arguments for the scripts.
func (s *Store) command(charges []ratelimit.Charge) (keys []string, packed string) {
	keys = make([]string, len(charges))
	b := make([]byte, 0, 2*chargeSize) // more than most have
	for i := range charges {
		c := &charges[i]
		l := &c.Limit
		keys[i] = s.key(c)
		window := l.Window.Microseconds()
		switch l.Kind {
		case ratelimit.Smooth:
			cost, tolerance := c.Cost*interval(l), l.Burst*interval(l)
			b = append(b, countsSmooth)
			b = numbers(b, window, cost/1000, cost%1000, tolerance/1000, tolerance%1000)
		default:
			how := byte(countsByParts)
			if l.Quota <= exactQuota {
				how = countsExactly
			}
			b = append(b, how)
			b = numbers(b, c.Cost, l.Quota, window, ceilDiv(window, parts), 0)
		}
	}
	return keys, string(b)
}

func numbers(b []byte, all ...int64) []byte {
	for _, n := range all {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(n)))
	}
	return b
}

// Numbers of limits that are [ratelimit.Strict].
const (
	parts      = 10 // of a window, where they are counted together
	exactQuota = 10
)

// interval returns the nanoseconds until the next unit of a Smooth limit comes,
// rounded up.
func interval(l *ratelimit.Limit) int64 { return ceilDiv(int64(l.Window), l.Quota) }

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// key returns where a charge is counted: a hash of what is counted together,
// behind the hash tag.
func (s *Store) key(c *ratelimit.Charge) string {
	var space [128]byte // more than a hash is of, and than a key has
	b := append(space[:0], c.Key[:]...)
	b = append(b, byte(c.Limit.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Limit.Window))
	b = append(b, c.Limit.Name...)
	digest := sha256.Sum256(b)
	if s.spread {
		b = append(append(space[:0], s.db.Prefix()...), ":{"...)
		b = base64.RawURLEncoding.AppendEncode(b, c.Key[:])
	} else {
		b = append(append(space[:0], '{'), s.db.Prefix()...)
	}
	b = append(b, "}:"...)
	return string(base64.RawURLEncoding.AppendEncode(b, digest[:16]))
}

// read checks the reply of takeScript; an unexpected reply is an error, which
// admits no request. The moment is that of the charges, or 0 if they were not
// made.
func read(answer any, charges []ratelimit.Charge) (moment int64, states []ratelimit.State, err error) {
	list, ok := answer.([]any)
	if !ok || len(list) == 0 {
		return 0, nil, fmt.Errorf("the reply is a %T of %d parts instead of integers", answer, len(list))
	}
	// integer returns the i-th, or makes an error of it.
	integer := func(i int) int64 {
		n, ok := list[i].(int64)
		if (!ok || n < 0 || n > 1<<53) && err == nil {
			err = fmt.Errorf("the reply has a %T at %d instead of an integer of 0 to 2^53", list[i], i)
		}
		return n
	}
	moment = integer(0)
	each := 2
	if moment == 0 {
		each = 4
	}
	if want := 1 + len(charges)*each; len(list) != want {
		return 0, nil, fmt.Errorf("the reply has %d integers instead of %d", len(list), want)
	}
	states = make([]ratelimit.State, len(charges))
	refused := false
	for i := range charges {
		l, s, at := &charges[i].Limit, &states[i], 1+i*each
		x, z := integer(at), integer(at+1)
		if moment == 0 {
			s.Refused = integer(at+2) != 0
			s.RetryAfter = time.Duration(integer(at+3)) * time.Microsecond
			refused = refused || s.Refused
		}
		switch l.Kind {
		case ratelimit.Smooth:
			s.Remaining, s.Reset = smooth(l, x*1000+z)
		default:
			s.Remaining, s.Reset = min(x, l.Quota), time.Duration(z)*time.Microsecond
		}
	}
	if err == nil && moment == 0 && !refused {
		err = errors.New("the reply has no charge and no refusal")
	}
	if err != nil {
		return 0, nil, err
	}
	return moment, states, nil
}

// smooth returns what remains with a debt in nanoseconds, and when it grows.
func smooth(l *ratelimit.Limit, debt int64) (int64, time.Duration) {
	if debt == 0 {
		return l.Burst, 0
	}
	one := interval(l)
	remaining := max(0, (l.Burst*one-debt)/one)
	next := min(debt, max(1, debt-(l.Burst-remaining-1)*one))
	return remaining, time.Duration(ceilDiv(next, 1000)) * time.Microsecond
}
