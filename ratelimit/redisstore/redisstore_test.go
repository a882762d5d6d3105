package redisstore_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/redisdb/redisdbtest"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
)

// These tests have no server: they are about what is asked, and what is made of
// answers. What the scripts do is shown on a real server in
// examples/integration.

func open(t *testing.T, f *redisdbtest.Server, config redisstore.Config) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(f.Eval, config)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

const now = int64(1_764_000_000_000_000)

func integers(n ...int64) []any {
	all := make([]any, len(n))
	for i, v := range n {
		all[i] = v
	}
	return all
}

var (
	hour   = ratelimit.Limit{Name: "hour", Quota: 5, Window: time.Hour}
	second = ratelimit.Limit{Name: "second", Kind: ratelimit.Smooth, Quota: 3, Burst: 2, Window: time.Second}
	many   = ratelimit.Limit{Name: "many", Quota: 20, Window: time.Hour}
)

func bill(limits ...ratelimit.Limit) []ratelimit.Charge {
	var charges []ratelimit.Charge
	for _, l := range limits {
		charges = append(charges, ratelimit.Charge{Key: ratelimit.Key{1}, Limit: l, Cost: 1})
	}
	return charges
}

func TestNew(t *testing.T) {
	_, err := redisstore.New(nil, redisstore.Config{Prefix: "a{b}"})
	for _, want := range []string{"ratelimit/redisstore: eval is nil", `ratelimit/redisstore: Config.Prefix is "a{b}"; use`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want %q in it", err, want)
		}
	}
	for _, prefix := range []string{"", "a", "A.b:c_d-e/9", strings.Repeat("x", 64)} {
		if _, err := redisstore.New(new(redisdbtest.Server).Eval, redisstore.Config{Prefix: prefix}); err != nil {
			t.Errorf("New with Prefix %q = %v", prefix, err)
		}
	}
	for _, prefix := range []string{" ", "a b", "a}", "ä", "a\n", strings.Repeat("x", 65)} {
		if _, err := redisstore.New(new(redisdbtest.Server).Eval, redisstore.Config{Prefix: prefix}); err == nil {
			t.Errorf("New with Prefix %q is no error", prefix)
		}
	}
}

func TestAnswersAreRead(t *testing.T) {
	f := &redisdbtest.Server{Answer: integers(now, 4, 3_600_000_000, 333_333, 334, 1, 77)}
	states, receipt, err := open(t, f, redisstore.Config{}).Take(t.Context(), bill(hour, second, many))
	if err != nil {
		t.Fatal(err)
	}
	want := []ratelimit.State{
		{Remaining: 4, Reset: time.Hour},
		{Remaining: 1, Reset: 333_334 * time.Microsecond},
		{Remaining: 1, Reset: 77 * time.Microsecond},
	}
	if !slices.Equal(states, want) {
		t.Errorf("the states are %+v, want %+v", states, want)
	}
	if at, charges := receipt.Use(); at != time.Duration(now)*time.Microsecond || !slices.Equal(charges, bill(hour, second, many)) {
		t.Errorf("the receipt is of %v, %v", at, charges)
	}
	f.Answer = integers(0, 0, 5, 1, 5, 666_667, 2, 1, 333_335, 2, 0, 0, 0)
	states, receipt, err = open(t, f, redisstore.Config{}).Take(t.Context(), bill(hour, second, many))
	if err != nil || receipt != (ratelimit.Receipt{}) {
		t.Errorf("a refusal is %v, with a receipt: %t", err, receipt != ratelimit.Receipt{})
	}
	want = []ratelimit.State{
		{Refused: true, RetryAfter: 5 * time.Microsecond, Reset: 5 * time.Microsecond},
		{Refused: true, RetryAfter: 333_335 * time.Microsecond, Reset: 333_334 * time.Microsecond},
		{Remaining: 2},
	}
	if !slices.Equal(states, want) {
		t.Errorf("the states are %+v, want %+v", states, want)
	}
}

// TestBadAnswersAdmitNobody: what is not understood is an error.
func TestBadAnswersAdmitNobody(t *testing.T) {
	for name, answer := range map[string]any{
		"nothing":                  nil,
		"a string":                 "OK",
		"an integer":               int64(1),
		"an empty array":           integers(),
		"too short":                integers(now, 4),
		"too long":                 integers(now, 4, 5, 0),
		"a refusal, too short":     integers(0, 0, 5, 1),
		"made, as long as refused": integers(now, 4, 5, 0, 0),
		"strings":                  []any{"1764000000000000", "4", "5"},
		"a nil in it":              []any{now, nil, int64(5)},
		"a negative time":          integers(-now, 4, 5),
		"a negative rest":          integers(now, -4, 5),
		"a negative wait":          integers(0, 0, 5, 1, -5),
		"more than 2^53":           integers(0, 0, 5, 1, 1<<53+1),
		"neither made nor refused": integers(0, 4, 5, 0, 0),
	} {
		states, receipt, err := open(t, &redisdbtest.Server{Answer: answer}, redisstore.Config{}).Take(t.Context(), bill(hour))
		if err == nil || states != nil || receipt != (ratelimit.Receipt{}) {
			t.Errorf("%s: Take = %v, %v, %v, want an error and nothing else", name, states, receipt, err)
		}
	}
}

func TestErrorsAdmitNobody(t *testing.T) {
	broken := errors.New("broken pipe")
	f := &redisdbtest.Server{Err: broken}
	states, receipt, err := open(t, f, redisstore.Config{InsecureEviction: true}).Take(t.Context(), bill(hour))
	if !errors.Is(err, broken) || states != nil || receipt != (ratelimit.Receipt{}) {
		t.Errorf("Take = %v, %v, %v, want the error and nothing else", states, receipt, err)
	}
	if len(f.Calls) != 1 {
		t.Errorf("there were %d calls, want 1: a second one may charge twice", len(f.Calls))
	}
}

func TestNothingIsAskedInVain(t *testing.T) {
	f := &redisdbtest.Server{Answer: integers(now, 4, 5)}
	store := open(t, f, redisstore.Config{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := store.Take(over, bill(hour)); !errors.Is(err, context.Canceled) {
		t.Errorf("Take with a context that is over = %v", err)
	}
	if err := store.Ready(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Ready with a context that is over = %v", err)
	}
	if _, _, err := store.Take(t.Context(), nil); err == nil {
		t.Error("Take of nothing is no error")
	}
	expensive := bill(hour)
	expensive[0].Cost = 6
	if _, _, err := store.Take(t.Context(), expensive); !errors.Is(err, ratelimit.ErrCost) {
		t.Errorf("Take of too much = %v, want ErrCost", err)
	}
	if err := store.Refund(t.Context(), ratelimit.Receipt{}); err != nil {
		t.Errorf("Refund of nothing = %v", err)
	}
	if len(f.Calls) != 0 {
		t.Errorf("the server was asked %d times", len(f.Calls))
	}
	receipt := ratelimit.NewReceipt(time.Duration(now)*time.Microsecond, bill(hour))
	if err := store.Refund(over, receipt); !errors.Is(err, context.Canceled) {
		t.Errorf("Refund with a context that is over = %v", err)
	}
	for range 3 {
		if err := store.Refund(t.Context(), receipt); err != nil {
			t.Error(err)
		}
	}
	if len(f.Calls) != 1 {
		t.Errorf("a receipt was sent %d times, want once", len(f.Calls))
	}
	if f.Calls[0].Args[1] != fmt.Sprint(now) {
		t.Errorf("the refund is of the moment %v, want %d", f.Calls[0].Args[1], now)
	}
}

// A refund that failed is not sent again, because the server may have made it.
func TestARefundIsSentOnce(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, 1},
		{&net.OpError{Op: "read", Err: errors.New("connection reset")}, 1},
		{errors.New("READONLY"), 1},
		{context.DeadlineExceeded, 1},
	} {
		f := &redisdbtest.Server{Err: tt.err}
		store := open(t, f, redisstore.Config{})
		receipt := ratelimit.NewReceipt(1, bill(many))
		if err := store.Refund(t.Context(), receipt); !errors.Is(err, tt.err) {
			t.Errorf("Refund = %v, want %v", err, tt.err)
		}
		f.Err = nil
		if err := store.Refund(t.Context(), receipt); err != nil || len(f.Calls) != tt.want {
			t.Errorf("%v: the second Refund = %v after %d calls, want %d", tt.err, err, len(f.Calls), tt.want)
		}
	}
}

// TestPolicy: a server that evicts, or does not say, is refused until it is
// another, and one that keeps is asked once.
func TestPolicy(t *testing.T) {
	for _, policy := range []any{"allkeys-lru", "volatile-ttl", "allkeys-random", "", int64(1), []any{}, errors.New("no")} {
		f := &redisdbtest.Server{Settings: []any{"master", policy, "0"}, Answer: integers(now, 4, 5)}
		store := open(t, f, redisstore.Config{})
		for range 2 {
			if _, _, err := store.Take(t.Context(), bill(hour)); err == nil {
				t.Errorf("%v: Take is no error", policy)
			}
			if err := store.Ready(t.Context()); err == nil {
				t.Errorf("%v: Ready is no error", policy)
			}
		}
		for _, c := range f.Calls {
			if !c.Ready() {
				t.Errorf("%v: something was charged", policy)
			}
		}
		f.Settings = []any{"master", []byte("noeviction"), "0"}
		for range 3 {
			if _, _, err := store.Take(t.Context(), bill(hour)); err != nil {
				t.Errorf("Take on a server that keeps = %v", err)
			}
		}
		if n := len(f.Calls); n != 4+1+3 {
			t.Errorf("%d calls, want 8: a good answer is not asked for again", n)
		}
		f.Settings, f.Calls = []any{"master", policy, "0"}, nil
		insecure := open(t, f, redisstore.Config{InsecureEviction: true})
		if _, _, err := insecure.Take(t.Context(), bill(hour)); err != nil || len(f.Calls) != 1 {
			t.Errorf("Take with InsecureEviction = %v, after %d calls", err, len(f.Calls))
		}
	}
	if err := open(t, &redisdbtest.Server{Settings: []any{"master", "allkeys-lru", "0"}}, redisstore.Config{InsecureEviction: true}).Ready(t.Context()); err != nil {
		t.Errorf("Ready with InsecureEviction = %v", err)
	}
}

// TestKeys: all keys of a command have one hash tag, of what is counted together
// the same key, and of anything else another; and no key tells what it is of.
func TestKeys(t *testing.T) {
	keys := func(config redisstore.Config, charges []ratelimit.Charge) []string {
		t.Helper()
		f := &redisdbtest.Server{Err: errors.New("enough")}
		config.InsecureEviction = true
		_, _, err := open(t, f, config).Take(t.Context(), charges)
		if len(f.Calls) != 1 {
			t.Fatalf("there were %d calls: %v", len(f.Calls), err)
		}
		for _, a := range f.Calls[0].Args {
			if _, ok := a.(string); !ok {
				t.Errorf("an argument is a %T, want strings only", a)
			}
		}
		if n := len(f.Calls[0].Args); n != 1 {
			t.Errorf("there are %d arguments, want 1", n)
		}
		return f.Calls[0].Keys
	}
	one := func(change func(*ratelimit.Charge)) string {
		c := bill(hour)
		change(&c[0])
		return keys(redisstore.Config{}, c)[0]
	}
	seen := map[string]bool{}
	for _, change := range []func(*ratelimit.Charge){
		func(*ratelimit.Charge) {},
		func(c *ratelimit.Charge) { c.Key[15]++ },
		func(c *ratelimit.Charge) { c.Limit.Name = "hours" },
		func(c *ratelimit.Charge) { c.Limit.Window++; c.Limit.Window += time.Microsecond - 1 },
		func(c *ratelimit.Charge) { c.Limit.Kind = ratelimit.Smooth; c.Limit.Burst = 1 },
	} {
		key := one(change)
		if !strings.HasPrefix(key, "{gatewright:ratelimit}:") || strings.Contains(key, "hour") {
			t.Errorf("a key is %q", key)
		}
		if seen[key] {
			t.Errorf("two have the key %q", key)
		}
		seen[key] = true
	}
	for _, change := range []func(*ratelimit.Charge){
		func(c *ratelimit.Charge) { c.Limit.Quota = 9 },
		func(c *ratelimit.Charge) { c.Cost = 2 },
		func(c *ratelimit.Charge) { c.Limit.Down = ratelimit.Closed },
	} {
		if key := one(change); !seen[key] {
			t.Errorf("%q is another key, want the same", key)
		}
	}

	spread := keys(redisstore.Config{Prefix: "p", SpreadKeys: true}, bill(hour, second))
	if tag(spread[0]) != tag(spread[1]) || spread[0] == spread[1] || !strings.HasPrefix(spread[0], "p:{") {
		t.Errorf("the keys are %q, want two with one tag", spread)
	}
	other := bill(hour)
	other[0].Key[3]++
	if also := keys(redisstore.Config{Prefix: "p", SpreadKeys: true}, other); tag(also[0]) == tag(spread[0]) {
		t.Errorf("%q has the tag of %q", also, spread)
	}
	f := new(redisdbtest.Server)
	_, _, err := open(t, f, redisstore.Config{SpreadKeys: true}).Take(t.Context(), append(bill(second), other...))
	if err == nil || len(f.Calls) != 0 {
		t.Errorf("Take of two keys that are spread = %v after %d calls, want an error and none", err, len(f.Calls))
	}
}

func tag(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	t, _, _ := strings.Cut(rest, "}")
	return t
}

// TestNumbers: every number that the scripts compute with is below 2^53, at the
// largest that a Limit may have.
func TestNumbers(t *testing.T) {
	f := &redisdbtest.Server{Err: errors.New("enough")}
	store := open(t, f, redisstore.Config{InsecureEviction: true})
	for _, l := range []ratelimit.Limit{
		{Name: "strict", Quota: 1_000_000_000, Window: 366 * 24 * time.Hour},
		{Name: "smooth", Kind: ratelimit.Smooth, Quota: 1_000_000_000, Burst: 1_000_000_000, Window: 366 * 24 * time.Hour},
		{Name: "rare", Kind: ratelimit.Smooth, Quota: 1, Burst: 1, Window: 366 * 24 * time.Hour},
	} {
		c := bill(l)
		c[0].Cost = l.Max()
		f.Calls = nil
		_, _, _ = store.Take(t.Context(), c)
		told := f.Calls[0].Args[0].(string)[1:] // behind how it is counted
		if len(told) != 5*8 {
			t.Errorf("%s: the script is told %d bytes, want five numbers", l.Name, len(told))
		}
		for ; len(told) >= 8; told = told[8:] {
			n := math.Float64frombits(binary.LittleEndian.Uint64([]byte(told)))
			if n != math.Trunc(n) || n < 0 || n+4*float64(now) > 1<<53 {
				t.Errorf("%s: an argument is %v, no whole number that can be added to a time", l.Name, n)
			}
		}
	}
}
