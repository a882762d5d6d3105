// Package ratelimittest is a conformance suite for stores of package ratelimit:
//
//	func TestLimits(t *testing.T) {
//		ratelimittest.Run(t, func(t *testing.T) ratelimit.Store { return newStore(t) })
//	}
//
// It does not test that an unreachable Store returns an error in time, nor that its
// clock does not jump.
package ratelimittest

import (
	"testing"

	"github.com/gatewright/gatewright/ratelimit"
)

// Run checks each rule of [ratelimit.Store] in a subtest. Keys are random, so open may
// return the same Store every time. Run takes about two seconds, and requires a Store
// that answers within some 10 ms.
func Run(t *testing.T, open func(t *testing.T) ratelimit.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if err := rule.check(t.Context(), open(t)); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}
