package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
)

// A Pepper is a secret kept apart from the database: records hold an HMAC-SHA-256
// of the key under it.
type Pepper struct {
	// ID names the pepper in records, in up to 64 bytes. Never reuse it.
	ID string

	// Secret is at least 32 random bytes.
	Secret guard.Secret
}

const (
	minPepper   = 32 // bytes
	maxPepperID = 64
)

// mistakesOfPeppers reports what is wrong with the ring.
func mistakesOfPeppers(ring []Pepper, mistake func(format string, args ...any)) {
	if len(ring) == 0 {
		mistake("Config.Peppers is empty; use at least one with a secret of %d random bytes", minPepper)
	}
	ids := map[string]int{}
	for i, p := range ring {
		if p.ID == "" || len(p.ID) > maxPepperID {
			mistake("Config.Peppers[%d].ID is %q; use 1 to %d bytes", i, p.ID, maxPepperID)
		} else if j, twice := ids[p.ID]; twice {
			mistake("Config.Peppers[%d].ID is %q, as in [%d]; use each ID once", i, p.ID, j)
		}
		ids[p.ID] = i
		if n := len(p.Secret.Bytes()); n < minPepper {
			mistake("Config.Peppers[%d].Secret has %d bytes; use at least %d random bytes", i, n, minPepper)
		}
	}
}

// A hasher is a Pepper in use. The secret is inside a function, so that printing
// the Authenticator does not reveal it.
type hasher struct {
	id   string
	hash func(key string) Hash // returns what is kept of a key
}

func newHasher(p Pepper) hasher {
	secret := p.Secret.Bytes()
	return hasher{p.ID, func(key string) Hash {
		h := hmac.New(sha256.New, secret)
		_, _ = io.WriteString(h, key) // a hash does not fail
		return Hash(h.Sum(nil))
	}}
}

// pepperIDs returns the IDs of the ring, for the log.
func (a *Authenticator) pepperIDs() string {
	var ids []string
	for i := range a.hashers {
		ids = append(ids, strconv.Quote(a.hashers[i].id))
	}
	return strings.Join(ids, ", ")
}

// hasher returns the hasher with that ID, or nil.
func (a *Authenticator) hasher(id string) *hasher {
	for i := range a.hashers {
		if a.hashers[i].id == id {
			return &a.hashers[i]
		}
	}
	return nil
}
