// Package apikeytest is a conformance suite for stores of API keys:
//
//	func TestKeys(t *testing.T) {
//		apikeytest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore {
//			return newStore(t, records)
//		})
//	}
//
// It cannot check that a change survives a crash, nor that an unreachable
// database gives an error.
package apikeytest

import (
	"context"
	"testing"

	"github.com/gatewright/gatewright/apikey"
)

// Run checks each rule of [apikey.KeyStore], and of each optional interface that
// the store implements, in a subtest. open returns a store with the given records,
// with Version 1 and without LastUsedAt for a KeyWriter. IDs and owners are random,
// so the store may have other records. Run fills a KeyBounder: use a small bound,
// at least four.
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

// Open adds the records to an empty [apikey.KeyWriter] and returns it, for [Run].
func Open(t *testing.T, store apikey.KeyWriter, records ...apikey.Record) apikey.KeyStore {
	t.Helper()
	for i := range records {
		if err := store.WriteKeys(context.Background(), nil, &records[i]); err != nil {
			t.Fatalf("adding a record: %v", err)
		}
	}
	return store
}
