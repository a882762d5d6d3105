// Package apikeytest proves that a store of API keys keeps the rules that
// package apikey states. A host that keeps keys in its own database runs it
// from a test:
//
//	func TestKeys(t *testing.T) {
//		apikeytest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore {
//			return newStore(t, records)
//		})
//	}
//
// # Security considerations
//
// What a test cannot see stays unproven: that a change survives a crash, and
// that a database that cannot be reached gives an error.
package apikeytest

import (
	"context"
	"testing"

	"github.com/gatewright/gatewright/apikey"
)

// Run checks each rule of [apikey.KeyStore] in a subtest of its own, and those
// of the other interfaces that the store has: [apikey.HashFinder],
// [apikey.KeyLister], [apikey.KeyWriter], [apikey.KeyBounder] and
// [apikey.UsageRecorder]. The rules of one that it has not are skipped, which go
// test -v tells, and so are those of a KeyBounder without a bound. When one is
// broken the subtest tells what happened, and why the rule is there.
//
// open returns a store that has the given records, with Version 1 and without
// LastUsedAt if it is a KeyWriter. IDs and owners are chosen at random, so
// other records may be in it. A KeyBounder has a bound of four at least; to fill
// one of hundreds takes as many writes. It cleans up with [testing.T.Cleanup].
func Run(t *testing.T, open func(t *testing.T, records ...apikey.Record) apikey.KeyStore) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			p := newProbe(t.Context())
			p.store = open(t, p.given()...)
			if !rule.applies(p.store) {
				t.Skipf("%T is no such store", p.store)
			}
			if err := rule.check(p); err != nil {
				t.Errorf("%v\n\nWhy this matters: %s", err, rule.reason)
			}
		})
	}
}

// Open is the usual open for a store that is an [apikey.KeyWriter]: it adds the
// records to an empty one.
func Open(t *testing.T, store apikey.KeyWriter, records ...apikey.Record) apikey.KeyStore {
	t.Helper()
	for i := range records {
		if err := store.WriteKeys(context.Background(), nil, &records[i]); err != nil {
			t.Fatalf("adding a record: %v", err)
		}
	}
	return store
}
