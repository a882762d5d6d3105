// Package blacklisttest has the conformance suites of [blacklist.Revoker] and
// [blacklist.Log]:
//
//	func TestRevocations(t *testing.T) {
//		blacklisttest.Run(t, func(t *testing.T) blacklist.Revoker { return newRevoker(t) })
//	}
//
// They cannot test that a revocation survives a crash, that it takes effect on
// other machines in time, nor that an unreachable store returns an error.
package blacklisttest

import (
	"testing"

	"github.com/gatewright/gatewright/blacklist"
)

// Run checks each rule of [blacklist.Revoker] in a subtest. Issuers are random, so
// open may return the same store every time. The clocks of the store and of the
// test must agree to a few milliseconds. Run waits about half a second for
// revocations to expire.
func Run(t *testing.T, open func(t *testing.T) blacklist.Revoker) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if err := rule.check(t.Context(), open(t)); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}
