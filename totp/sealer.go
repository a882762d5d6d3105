package totp

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/internal/hidden"
)

// A Sealer encrypts secrets for a [Store]. It is safe for concurrent use. Its errors
// are answered 503.
type Sealer interface {
	// Seal encrypts plain. Open returns plain for the same aad only.
	Seal(ctx context.Context, plain, aad []byte) (box []byte, err error)

	// Open decrypts box. It returns an error if box was changed or sealed for
	// another aad. If stale, the Service seals the secret again with the next
	// right code.
	Open(ctx context.Context, box, aad []byte) (plain []byte, stale bool, err error)
}

// A Keyring seals with AES-256-GCM under its first key and opens with each of its
// keys. It prints no key.
type Keyring struct{ keys []sealKey }

type sealKey struct {
	id   [keyIDSize]byte
	aead hidden.Value[cipher.AEAD] // printed, it would show its key
}

const (
	minKey      = 32 // bytes
	keyIDSize   = 8
	sealVersion = 1
	boxHeader   = 1 + keyIDSize
)

// NewKeyring returns a Keyring of secrets of at least 32 random bytes, each for up to
// 2^32 enrolments. Its error lists all mistakes. To rotate, put a new secret last in
// every process, then first. Keep an old one until all users have entered a code.
func NewKeyring(secrets ...[]byte) (*Keyring, error) {
	var errs []error
	if len(secrets) == 0 {
		errs = append(errs, fmt.Errorf("totp: the Keyring is empty; use at least one secret of %d random bytes", minKey))
	}
	k := new(Keyring)
	for i, secret := range secrets {
		if len(secret) < minKey {
			errs = append(errs, fmt.Errorf("totp: secret %d of the Keyring has %d bytes; use at least %d random ones", i, len(secret), minKey))
			continue
		}
		for j := range i {
			if bytes.Equal(secrets[j], secret) {
				errs = append(errs, fmt.Errorf("totp: secret %d of the Keyring equals secret %d; use different ones", i, j))
			}
		}
		key, err := newSealKey(secret)
		if err != nil {
			errs = append(errs, err)
		}
		k.keys = append(k.keys, key)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return k, nil
}

func newSealKey(secret []byte) (key sealKey, err error) {
	// Derived, so that the ID reveals nothing of the key, and a secret that has
	// another use too is a different key here.
	purpose := func(info string, size int) []byte {
		derived, err := hkdf.Key(sha256.New, secret, nil, "gatewright/totp/"+info, size)
		if err != nil { // only if size is too large
			panic(err)
		}
		return derived
	}
	copy(key.id[:], purpose("key ID", keyIDSize))
	block, err := aes.NewCipher(purpose("seal", 32))
	if err != nil {
		return sealKey{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	key.aead = hidden.New(aead)
	return key, err
}

// Seal implements [Sealer].
func (k *Keyring) Seal(_ context.Context, plain, aad []byte) ([]byte, error) {
	key := k.keys[0]
	box := make([]byte, 0, boxHeader+len(plain)+key.aead.Reveal().Overhead())
	box = append(box, sealVersion)
	box = append(box, key.id[:]...)
	return key.aead.Reveal().Seal(box, nil, plain, aad), nil
}

// Open implements [Sealer].
func (k *Keyring) Open(_ context.Context, box, aad []byte) (plain []byte, stale bool, err error) {
	if len(box) < boxHeader || box[0] != sealVersion {
		return nil, false, errors.New("totp: the stored value is not a sealed secret")
	}
	for i, key := range k.keys {
		if !bytes.Equal(box[1:boxHeader], key.id[:]) {
			continue
		}
		plain, err := key.aead.Reveal().Open(nil, nil, box[boxHeader:], aad)
		if err != nil {
			return nil, false, errors.New("totp: a sealed secret was changed, or belongs to another user")
		}
		return plain, i > 0, nil
	}
	return nil, false, fmt.Errorf("totp: a secret is sealed with the key %x, which is not in the Keyring; put its secret back", box[1:boxHeader])
}
