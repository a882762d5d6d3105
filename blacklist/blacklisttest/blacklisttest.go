// Package blacklisttest proves that a [blacklist.Revoker] or a [blacklist.Log]
// keeps the rules that its comment states. A host that stores revocations in its
// own database runs [Run] or [RunLog] from a test:
//
//	func TestRevocations(t *testing.T) {
//		blacklisttest.Run(t, func(t *testing.T) blacklist.Revoker {
//			return &revocations{db: openTestDatabase(t)}
//		})
//	}
//
// # Security considerations
//
// What a test cannot see stays unproven: that a revocation survives a crash,
// that other machines learn of it in time, and that a store that cannot be
// reached gives an error.
package blacklisttest

import (
	"testing"

	"github.com/gatewright/gatewright/blacklist"
)

// Run checks each rule of [blacklist.Revoker] in a subtest of its own, on a
// Revoker that open makes for it. When one is broken the subtest tells what
// happened, and why the rule is there.
//
// Issuers are chosen at random, so that open may return the same store every
// time, with the entries of other tests in it. It cleans up with
// [testing.T.Cleanup]. The clocks of the store and of the test must agree to
// a few milliseconds. Run waits about half a second for revocations to expire.
func Run(t *testing.T, open func(t *testing.T) blacklist.Revoker) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if err := rule.check(t.Context(), open(t)); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}
