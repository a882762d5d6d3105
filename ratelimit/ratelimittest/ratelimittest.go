// Package ratelimittest proves that a [ratelimit.Store] keeps the rules that its
// comment states. A host that counts in its own database runs it from a test:
//
//	func TestLimits(t *testing.T) {
//		ratelimittest.Run(t, func(t *testing.T) ratelimit.Store {
//			return &limits{db: openTestDatabase(t)}
//		})
//	}
//
// # Security considerations
//
// What a test cannot see stays unproven: that a store that cannot be reached
// gives an error in time, and that its clock does not jump.
package ratelimittest

import (
	"testing"

	"github.com/gatewright/gatewright/ratelimit"
)

// Run checks each rule of [ratelimit.Store] in a subtest of its own, on a Store
// that open makes for it. When one is broken the subtest tells what happened,
// and why the rule is there.
//
// Keys are chosen at random, so that open may return the same store every time.
// It cleans up with [testing.T.Cleanup]. Run waits about two seconds in all for
// windows to pass, and needs a store that answers within some 10 ms.
func Run(t *testing.T, open func(t *testing.T) ratelimit.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if err := rule.check(t.Context(), open(t)); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}
