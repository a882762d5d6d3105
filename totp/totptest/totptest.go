// Package totptest has the conformance suite of [totp.Store]. A host runs it in
// the tests of its own store:
//
//	func TestFactors(t *testing.T) {
//		totptest.Run(t, func(t *testing.T) totp.Store { return newStore(t) })
//	}
//
// Each rule is a subtest with a store of its own, and a failure says why the
// rule is there.
//
// # Security considerations
//
// What a test cannot see stays unproven: that a record survives a crash, and
// that a store that cannot be reached gives an error.
package totptest

import (
	"testing"

	"github.com/gatewright/gatewright/totp"
)

// Run checks each rule of [totp.Store] in a subtest of its own, on a store that
// open makes for it. When one is broken the subtest tells what happened, and why
// the rule is there.
//
// Names of users are chosen at random, so that open may return the same store
// every time, with the records of other tests in it. It cleans up with
// [testing.T.Cleanup].
func Run(t *testing.T, open func(t *testing.T) totp.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if err := rule.check(t.Context(), open(t)); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}
