// Package totptest has the conformance suite of [totp.Store]. A host runs it in
// the tests of its own store:
//
//	func TestFactors(t *testing.T) {
//		totptest.Run(t, func(t *testing.T) totp.Store { return newStore(t) })
//	}
//
// Each rule is a subtest with its own store. A failure prints the reason for the rule.
//
// # Security considerations
//
// The suite cannot test that a record survives a crash, nor that an unreachable store
// returns an error.
package totptest

import (
	"testing"

	"github.com/gatewright/gatewright/totp"
)

// Run checks each rule of [totp.Store] in a subtest, on a store that open returns for the
// subtest. A broken rule fails with what happened and the reason for the rule.
//
// Names of users are random, so open may return the same store every time, including
// records of other tests. open cleans up with [testing.T.Cleanup].
func Run(t *testing.T, open func(t *testing.T) totp.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if err := rule.check(t.Context(), open(t)); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}
