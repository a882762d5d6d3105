// Package totptest is the conformance suite of [totp.Store]:
//
//	func TestFactors(t *testing.T) {
//		totptest.Run(t, func(t *testing.T) totp.Store { return newStore(t) })
//	}
//
// # Security considerations
//
// The suite does not test that a record survives a crash, nor that an unreachable store
// returns an error.
package totptest

import (
	"testing"

	"github.com/gatewright/gatewright/totp"
)

// Run checks each rule of [totp.Store] in a subtest, on a store of open. A failure
// prints the reason for the rule. User names are random, so open may return the same
// store every time. open cleans up with [testing.T.Cleanup].
func Run(t *testing.T, open func(t *testing.T) totp.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if err := rule.check(t.Context(), open(t)); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}
