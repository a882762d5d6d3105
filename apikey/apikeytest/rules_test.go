package apikeytest

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
)

// naive is a store by the letter of the rules: a list that is read from the
// start. It shows that the suite accepts something else than Memory, and is
// what the faults below are planted into.
type naive struct {
	fault string

	mu       sync.Mutex
	list     []*apikey.Record
	networks []used
}

type used struct {
	id      string
	network netip.Prefix
	at      time.Time
}

func (n *naive) has(fault string) bool { return n.fault == fault }

func (n *naive) find(match func(*apikey.Record) bool) *apikey.Record {
	if i := slices.IndexFunc(n.list, match); i >= 0 {
		return n.list[i]
	}
	return nil
}

func (n *naive) byID(id string) *apikey.Record {
	return n.find(func(r *apikey.Record) bool {
		return r.ID == id || n.has("ignores case") && len(id) == len(r.ID) && fold(id) == fold(r.ID)
	})
}

func fold(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] |= 0x20
	}
	return string(b)
}

func (n *naive) answer(r *apikey.Record) (*apikey.Record, error) {
	switch {
	case r == nil && n.has("returns nothing for nothing"):
		return nil, nil
	case r == nil:
		return nil, apikey.ErrNotFound
	case n.has("hides what is revoked") && !r.RevokedAt.IsZero():
		return nil, apikey.ErrNotFound
	case n.has("returns what it keeps"):
		return r, nil
	}
	c := r.Clone()
	if n.has("keeps seconds") {
		c.ExpiresAt = c.ExpiresAt.Truncate(time.Second)
	}
	if n.has("forgets networks") {
		c.AllowedPrefixes = nil
	}
	return &c, nil
}

func (n *naive) KeyByID(_ context.Context, id string) (*apikey.Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.answer(n.byID(id))
}

func (n *naive) KeyByHash(_ context.Context, hash apikey.Hash) (*apikey.Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.answer(n.find(func(r *apikey.Record) bool {
		if n.has("finds no legacy key") {
			return false
		}
		return r.Hash == hash && (r.PepperID == "" || n.has("finds any key by its hash"))
	}))
}

func (n *naive) KeysByOwner(_ context.Context, owner string) ([]apikey.Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []apikey.Record
	for _, r := range n.list {
		if r.Owner == owner && (n.has("lists what has ended") || !r.Ended(time.Now())) && (r.Active || !n.has("does not list what is off")) {
			all = append(all, r.Clone())
		}
	}
	if !n.has("lists in any order") {
		slices.SortFunc(all, func(a, b apikey.Record) int { return b.CreatedAt.Compare(a.CreatedAt) })
	}
	return all, nil
}

func (n *naive) WriteKeys(_ context.Context, update, created *apikey.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var old *apikey.Record
	if update != nil {
		if old = n.byID(update.ID); old == nil {
			if n.has("updates what is not there") {
				c := update.Clone()
				n.list = append(n.list, &c)
				return nil
			}
			return apikey.ErrNotFound
		}
		if old.Version != update.Version && !n.has("does not look at the version") {
			if n.has("adds before it looks") && created != nil {
				n.add(created)
			}
			return apikey.ErrConflict
		}
		if n.has("gets, then sets") {
			n.mu.Unlock()
			time.Sleep(time.Millisecond)
			n.mu.Lock()
		}
		if n.has("updates before it adds") {
			n.update(old, update)
			old = nil
		}
	}
	if created != nil && n.byID(created.ID) != nil && !n.has("takes an ID twice") {
		return apikey.ErrConflict
	}
	if created != nil && n.crowded(old, update, created) {
		if n.has("refuses half of it") && old != nil {
			n.update(old, update)
		}
		return apikey.ErrTooMany
	}
	if n.has("counts, then adds") {
		n.mu.Unlock()
		time.Sleep(time.Millisecond)
		n.mu.Lock()
	}
	if old != nil {
		n.update(old, update)
	}
	if created != nil {
		n.add(created)
	}
	return nil
}

func (n *naive) KeysPerOwner() int { return 6 }

func (n *naive) crowded(old, update, created *apikey.Record) bool {
	now := time.Now()
	if created.Ended(now) && !n.has("counts what has ended") || n.has("has no bound") {
		return false
	}
	living := 0
	for _, r := range n.list {
		if r == old && !n.has("counts before the update") {
			r = update
		}
		switch {
		case r.Owner != created.Owner && !n.has("counts all owners"),
			r.Ended(now) && !n.has("counts what has ended"),
			!r.Active && n.has("does not count what is off"),
			r.Successor != "" && n.has("does not count graces"):
		default:
			living++
		}
	}
	return living >= n.KeysPerOwner()
}

func (n *naive) update(old, update *apikey.Record) {
	used, version, owner := old.LastUsedAt, old.Version, old.Owner
	*old = update.Clone()
	if !n.has("a change sets the last use") {
		old.LastUsedAt = used
	}
	old.Version = version + 1
	if n.has("keeps the owner") {
		old.Owner = owner
	}
}

func (n *naive) add(created *apikey.Record) {
	c := created.Clone()
	c.LastUsedAt = time.Time{}
	if !n.has("keeps the version of a new record") {
		c.Version = 1
	}
	if n.has("takes an ID twice") {
		n.list = slices.DeleteFunc(n.list, func(r *apikey.Record) bool { return r.ID == c.ID })
	}
	n.list = append(n.list, &c)
}

func (n *naive) RecordUse(_ context.Context, uses []apikey.Use) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, u := range uses {
		r := n.byID(u.ID)
		switch {
		case r == nil && n.has("a use makes a key"):
			n.list = append(n.list, &apikey.Record{ID: u.ID})
		case r == nil:
		case u.At.After(r.LastUsedAt) || n.has("moves the last use back"):
			r.LastUsedAt = u.At
			if n.has("a use is a change") {
				r.Version++
			}
		}
	}
	return nil
}

func (n *naive) RecordNetwork(_ context.Context, id string, network netip.Prefix, at time.Time) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byID(id) == nil && !n.has("keeps networks of no key") {
		return 0, nil
	}
	isNew := !slices.ContainsFunc(n.networks, func(u used) bool { return (u.id == id || n.has("mixes keys up")) && u.network == network })
	if n.has("looks, then records") {
		n.mu.Unlock()
		time.Sleep(time.Millisecond)
		n.mu.Lock()
	}
	if !isNew && !n.has("records a network again") {
		return 0, nil
	}
	var mine []used
	for _, u := range n.networks {
		if u.id == id {
			mine = append(mine, u)
		}
	}
	if len(mine) == apikey.MaxNetworks && !n.has("has any number of networks") {
		oldest := slices.MinFunc(mine, func(a, b used) int { return a.at.Compare(b.at) })
		if n.has("drops the newest network") {
			oldest = slices.MaxFunc(mine, func(a, b used) int { return a.at.Compare(b.at) })
		}
		n.networks = slices.DeleteFunc(n.networks, func(u used) bool { return u == oldest })
		mine = mine[1:]
	}
	n.networks = append(n.networks, used{id, network, at})
	return len(mine) + 1, nil
}

// faults are what a store may do wrong, and the rule that finds it.
var faults = map[string]string{
	"keeps seconds":                     "a record is returned with all fields",
	"forgets networks":                  "a record is returned with all fields",
	"hides what is revoked":             "a record is returned with all fields",
	"returns nothing for nothing":       "a missing key is ErrNotFound",
	"ignores case":                      "a missing key is ErrNotFound",
	"returns what it keeps":             "a returned record belongs to the caller",
	"finds any key by its hash":         "other keys are not found by their hash",
	"finds no legacy key":               "a legacy key is found by its hash",
	"lists in any order":                "an owner's keys that have not ended are listed, the latest first",
	"lists what has ended":              "an owner's keys that have not ended are listed, the latest first",
	"does not list what is off":         "an owner's keys that have not ended are listed, the latest first",
	"has no bound":                      "an owner has at most KeysPerOwner keys that have not ended",
	"refuses half of it":                "an owner has at most KeysPerOwner keys that have not ended",
	"counts, then adds":                 "an owner has at most KeysPerOwner keys that have not ended",
	"counts what has ended":             "an owner has at most KeysPerOwner keys that have not ended",
	"counts before the update":          "an owner has at most KeysPerOwner keys that have not ended",
	"counts all owners":                 "an owner has at most KeysPerOwner keys that have not ended",
	"does not count what is off":        "an owner has at most KeysPerOwner keys that have not ended",
	"does not count graces":             "an owner has at most KeysPerOwner keys that have not ended",
	"keeps the version of a new record": "a new record has version 1 and was never used",
	"takes an ID twice":                 "an ID is taken once",
	"keeps the owner":                   "an update replaces all fields",
	"does not look at the version":      "an update of an older version is ErrConflict",
	"updates what is not there":         "an update of a missing key is ErrNotFound",
	"adds before it looks":              "an update and a new record are one step",
	"updates before it adds":            "an update and a new record are one step",
	"gets, then sets":                   "of many updates at once one succeeds",
	"moves the last use back":           "the last use moves forward only",
	"a use is a change":                 "the last use moves forward only",
	"a use makes a key":                 "the last use moves forward only",
	"a change sets the last use":        "a change leaves the last use as it is",
	"keeps networks of no key":          "a network of a key is recorded once",
	"mixes keys up":                     "a network of a key is recorded once",
	"looks, then records":               "a network of a key is recorded once",
	"records a network again":           "a network of a key is recorded once",
	"has any number of networks":        "a key has at most MaxNetworks networks",
	"drops the newest network":          "a key has at most MaxNetworks networks",
}

func TestRulesAcceptTheirLetter(t *testing.T) {
	Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore { return Open(t, new(naive), records...) })
}

// A store that is a KeyStore and no more is judged as one.
func TestRulesAcceptAPlainKeyStore(t *testing.T) {
	type plain struct{ apikey.KeyStore }
	Run(t, func(t *testing.T, records ...apikey.Record) apikey.KeyStore {
		return plain{Open(t, new(naive), records...)}
	})
}

// A conformance suite is worth what it finds.
func TestRulesFindFaults(t *testing.T) {
	planted := map[string]bool{}
	for fault, breaks := range faults {
		t.Run(fault, func(t *testing.T) {
			i := slices.IndexFunc(rules, func(u rule) bool { return u.name == breaks })
			if i < 0 {
				t.Fatalf("there is no rule that %s", breaks)
			}
			p := newProbe(t.Context())
			store := new(naive)
			p.store = Open(t, store, p.given()...)
			store.fault = fault
			if fault == "keeps the version of a new record" {
				store.list[0].Version = 1
			}
			if rules[i].check(p) == nil {
				t.Errorf("the rule that %s did not notice", breaks)
			}
		})
		planted[breaks] = true
	}
	for _, rule := range rules {
		if !planted[rule.name] {
			t.Errorf("no fault was planted against the rule that %s", rule.name)
		}
	}
}
