package apikey_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/apikey/apikeytest"
)

func TestMemoryIsAStore(t *testing.T) {
	apikeytest.Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore {
		return apikeytest.Open(t, new(apikey.Memory), records...)
	})
}

func TestMemoryIsFullRatherThanForgetful(t *testing.T) {
	m := &apikey.Memory{MaxPerOwner: -1}
	add := func(id string) error { return m.WriteKeys(t.Context(), nil, &apikey.Record{ID: id, PepperID: "1"}) }
	for i := range 99_999 {
		if err := add(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := add("a"); err != nil {
		t.Fatal(err)
	}
	if err := add("c"); !errors.Is(err, apikey.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	a, err := m.KeyByID(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WriteKeys(t.Context(), a, &apikey.Record{ID: "c"}); !errors.Is(err, apikey.ErrFull) {
		t.Errorf("one more with an update: %v", err)
	}
	if got, _ := m.KeyByID(t.Context(), "a"); got.Version != 1 {
		t.Error("the update was made without the new record")
	}
	if err := m.WriteKeys(t.Context(), a, nil); err != nil {
		t.Errorf("an update of a full one: %v", err)
	}
	if err := add(""); err == nil {
		t.Error("a record without an ID was taken")
	}
}

// Two legacy keys with one hash would be one key with two records.
func TestMemoryTakesALegacyHashOnce(t *testing.T) {
	m := new(apikey.Memory)
	write := func(update, created *apikey.Record) error { return m.WriteKeys(t.Context(), update, created) }
	if err := write(nil, &apikey.Record{ID: "a", Hash: "h"}); err != nil {
		t.Fatal(err)
	}
	if err := write(nil, &apikey.Record{ID: "b", Hash: "h"}); !errors.Is(err, apikey.ErrConflict) {
		t.Errorf("the same hash again: %v", err)
	}
	if err := write(nil, &apikey.Record{ID: "b", Hash: "h", PepperID: "1"}); err != nil {
		t.Errorf("a peppered hash: %v", err)
	}
	if err := write(&apikey.Record{ID: "b", Hash: "h", Version: 1}, nil); !errors.Is(err, apikey.ErrConflict) {
		t.Errorf("an update to the same hash: %v", err)
	}
	// Once it has another, nobody is found by the old one.
	if err := write(&apikey.Record{ID: "a", Hash: "i", Version: 1}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := m.KeyByHash(t.Context(), "h"); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("by the old hash: %v", err)
	}
	if r, err := m.KeyByHash(t.Context(), "i"); err != nil || r.ID != "a" {
		t.Errorf("by the new hash: %v, %v", r, err)
	}
}

func TestMemoryListsAThousandAtMost(t *testing.T) {
	m := &apikey.Memory{MaxPerOwner: -1}
	now := time.Now()
	for i := range apikey.MaxListed + 5 {
		r := apikey.Record{ID: fmt.Sprint(i), Owner: "ada", PepperID: "1", CreatedAt: now.Add(time.Duration(i) * time.Second)}
		if err := m.WriteKeys(t.Context(), nil, &r); err != nil {
			t.Fatal(err)
		}
	}
	all, err := m.KeysByOwner(t.Context(), "ada")
	if err != nil || len(all) != apikey.MaxListed || all[0].ID != "1004" {
		t.Errorf("%d keys (%v)", len(all), err)
	}
}
