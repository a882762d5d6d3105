package passkey

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// A challenge is 16 random bytes, the expiry in microseconds, the purpose and a
// MAC over all three and over what the challenge is bound to. Nothing is stored
// when a challenge is made, so requests for challenges cannot fill a store;
// Config.Once records it when it is used.

const (
	challengeSize = 16 + 8 + 1 + macSize
	macSize       = 16

	signInLifetime = 10 * time.Minute
	boundLifetime  = 5 * time.Minute // of challenges for a known session

	clockMargin = time.Minute // how much longer the use of a challenge is recorded
)

// The purposes of challenges. One that was made for a purpose passes for no other.
const (
	purposeRegister     = 'r'
	purposeSignIn       = 's'
	purposeFactor       = 'f' // bound to a session
	purposeSecondFactor = 'm' // between password and session
)

var (
	errChallenge = errors.New("the challenge was not made here for this purpose and session")
	errExpired   = errors.New("the challenge has expired")
)

// A binding is what a challenge is bound to. Its fields are empty where nothing
// is known yet.
type binding struct {
	subject, session string
	handle           []byte
}

func (rp *RelyingParty) newChallenge(purpose byte, lifetime time.Duration, b binding) []byte {
	return rp.seal(newRandom(), purpose, lifetime, b)
}

// newRandom returns the random bytes of a challenge.
func newRandom() []byte {
	c := make([]byte, 16, challengeSize)
	rand.Read(c) // never fails
	return c
}

// seal appends expiry, purpose and MAC to the random bytes of a challenge.
func (rp *RelyingParty) seal(c []byte, purpose byte, lifetime time.Duration, b binding) []byte {
	c = binary.BigEndian.AppendUint64(c, uint64(time.Now().Add(lifetime).UnixMicro()))
	c = append(c, purpose)
	return append(c, challengeMAC(&rp.macs[0], c, b)...)
}

// checkChallenge returns when a challenge that was made for this purpose and
// binding expires.
func (rp *RelyingParty) checkChallenge(c []byte, purpose byte, b binding) (time.Time, error) {
	if len(c) != challengeSize || c[24] != purpose {
		return time.Time{}, errChallenge
	}
	body, mac := c[:challengeSize-macSize], c[challengeSize-macSize:]
	for i := range rp.macs {
		if !hmac.Equal(mac, challengeMAC(&rp.macs[i], body, b)) {
			continue
		}
		expires := time.UnixMicro(int64(binary.BigEndian.Uint64(c[16:])))
		if !time.Now().Before(expires) {
			return time.Time{}, errExpired
		}
		return expires, nil
	}
	return time.Time{}, errChallenge
}

// macs returns a pool of HMACs for each key. One that is used again does not hash its
// key again.
func macs(keys []guard.Secret) []sync.Pool {
	all := make([]sync.Pool, len(keys))
	for i, key := range keys {
		all[i].New = func() any { return hmac.New(sha256.New, key.Bytes()) }
	}
	return all
}

func challengeMAC(pool *sync.Pool, body []byte, b binding) []byte {
	h := pool.Get().(hash.Hash)
	defer pool.Put(h)
	h.Reset()
	writeField(h, []byte("gatewright/passkey challenge"))
	writeField(h, body)
	writeField(h, []byte(b.subject))
	writeField(h, []byte(b.session))
	writeField(h, b.handle)
	return h.Sum(nil)[:macSize]
}

// newHandle returns the user handle (WebAuthn section 5.4.3) of a subject
// without passkeys: 64 bytes that reveal nothing of the subject and differ from
// one registration to the next.
func (rp *RelyingParty) newHandle(key guard.Secret, random []byte, subject string) []byte {
	h := hmac.New(sha512.New, key.Bytes())
	writeField(h, []byte("gatewright/passkey handle"))
	writeField(h, random)
	writeField(h, []byte(subject))
	return h.Sum(nil)
}

// writeField writes a field with its length, so that different sequences of
// fields never have the same bytes.
func writeField(h interface{ Write([]byte) (int, error) }, field []byte) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(field)))
	h.Write(size[:])
	h.Write(field)
}
