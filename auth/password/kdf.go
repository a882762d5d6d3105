package password

import (
	"bytes"
	"slices"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// A kdf is a key derivation function with its parameters: all that the time
// of one run depends on. It is bcrypt when cost is set, and argon2id otherwise.
type kdf struct {
	cost   int    // bcrypt: 2^cost rounds
	memory uint32 // argon2id: KiB
	passes uint32
	lanes  uint8
}

func (k kdf) isBcrypt() bool { return k.cost != 0 }

// blocks is how many blocks of 1 KiB a run of argon2id computes.
func (k kdf) blocks() uint64 { return uint64(k.memory) * uint64(k.passes) }

// less returns the runs that remain of k once done has been run, for two of
// the same scheme: together they are as much work as k, or none if done was
// more.
//
// For bcrypt that is exact: 2^c + (2^c + 2^(c+1) + … + 2^(C-1)) = 2^C. For
// argon2id it is exact in the blocks computed, up to 8 for each lane, and near
// in time: a smaller memory fits the caches better, and the lanes of done may
// be fewer than there are cores.
func (k kdf) less(done kdf) (runs []kdf) {
	if k.isBcrypt() {
		for c := done.cost; c < k.cost; c++ {
			runs = append(runs, kdf{cost: c})
		}
		return runs
	}
	if done.blocks() >= k.blocks() {
		return nil
	}
	left := k.blocks() - done.blocks()
	whole, part := uint32(left/uint64(k.memory)), uint32(left%uint64(k.memory))
	if whole > 0 {
		runs = append(runs, kdf{memory: k.memory, passes: whole, lanes: k.lanes})
	}
	if part >= 8*uint32(k.lanes) {
		runs = append(runs, kdf{memory: part, passes: 1, lanes: k.lanes})
	}
	return runs
}

// rest returns what remains of a bill once done has been run. A run that is on
// the bill is taken off. Another is charged to the first of its scheme, which
// for argon2id is the one of new hashes.
func rest(bill []kdf, done kdf) []kdf {
	if i := slices.Index(bill, done); i >= 0 {
		return slices.Concat(bill[:i], bill[i+1:])
	}
	for i, k := range bill {
		if k.isBcrypt() == done.isBcrypt() {
			return slices.Concat(bill[:i], k.less(done), bill[i+1:])
		}
	}
	return bill
}

// A digest is a stored hash that has been read. For bcrypt, salt and tag are
// in its own base64, the way the library wants them; for argon2id they are
// decoded.
type digest struct {
	kdf
	minor     byte // bcrypt: 'a', 'b' or 'y'
	salt, tag []byte
}

// dummy returns a digest that costs one run of k. What comes of running it is
// thrown away.
func dummy(k kdf) digest {
	if !k.isBcrypt() {
		return digest{kdf: k, salt: make([]byte, 16), tag: make([]byte, 32)}
	}
	// A dot is six zero bits.
	return digest{
		kdf:   k,
		minor: 'b',
		salt:  bytes.Repeat([]byte("."), bcryptSalt),
		tag:   bytes.Repeat([]byte("."), bcryptTag),
	}
}

// derive runs the function of d once over password. It returns what is to be
// compared with the tag of d: for argon2id the key of that length, for bcrypt,
// whose library compares by itself and in constant time, the tag or nothing.
//
// It is the only place of this package where a key derivation function runs,
// and the Hasher reaches it through a field, so a test that looks there sees
// all the work there is.
func derive(d digest, password []byte) []byte {
	if !d.isBcrypt() {
		return argon2.IDKey(password, d.salt, d.passes, d.memory, d.lanes, uint32(len(d.tag)))
	}
	if bcrypt.CompareHashAndPassword([]byte(d.String()), password) != nil {
		return nil
	}
	return d.tag
}
