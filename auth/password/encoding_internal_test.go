package password

import (
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"
)

// The vectors that can be reached through the exported functions of
// golang.org/x/crypto/argon2. The ones of RFC 9106 section 5.3 have a secret
// and associated data, which those functions do not take.
func TestArgon2idVectors(t *testing.T) {
	for _, tt := range []struct {
		source, password, salt string
		kdf                    kdf
		tag                    string
	}{
		{"golang.org/x/crypto/argon2, argon2_test.go", "password", "somesalt",
			kdf{memory: 64, passes: 1, lanes: 1}, "655ad15eac652dc59f7170a7332bf49b8469be1fdb9c28bb"},
		{"P-H-C/phc-winner-argon2, src/test.c", "password", "somesalt",
			kdf{memory: 65536, passes: 2, lanes: 1}, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			d := digest{kdf: tt.kdf, salt: []byte(tt.salt), tag: make([]byte, len(tt.tag)/2)}
			if got := hex.EncodeToString(derive(d, []byte(tt.password))); got != tt.tag {
				t.Errorf("tag is %s, want %s", got, tt.tag)
			}
		})
	}
}

// Whatever the stored hash is: no panic, parameters within the bounds, and one
// spelling only, so that what is read is written the same again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"",
		"!",
		"$argon2id$v=19$m=65536,t=3,p=4$MIIRqgvgQbgj220jfp0MPA$YfwJSVjtjSU0zzV/P3S9nnQ/USre2wvJMjfCIjrTQbg",
		"$argon2id$v=19$m=8,t=16,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=0,p=255$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=008,t=+1,p=1$c29tZX\nNhbHQ$AAAAAAAAAAAAAAAAAAAAAB",
		"$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$$$$$",
		"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"$2y$31$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq",
		"$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
		"$2b$",
	} {
		f.Add(seed)
	}
	const most = 1000 // KiB
	f.Fuzz(func(t *testing.T, encoded string) {
		d, err := parse(encoded, most)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("the error is neither: %v", err)
			}
			if len(encoded) > 4 && strings.Contains(err.Error(), encoded) {
				t.Errorf("the error has the hash in it: %v", err)
			}
			return
		}
		if got := d.String(); got != encoded {
			t.Errorf("%q is written as %q", encoded, got)
		}
		if d.isBcrypt() {
			if d.cost < minCost || d.cost > maxCost || len(d.salt) != bcryptSalt || len(d.tag) != bcryptTag {
				t.Errorf("out of bounds: %+v", d)
			}
			return
		}
		if d.memory < 8*uint32(d.lanes) || d.memory > most || d.passes < 1 || d.passes > maxPasses ||
			d.lanes < 1 || d.lanes > maxLanes ||
			len(d.salt) < minSalt || len(d.salt) > maxSalt || len(d.tag) < minTag || len(d.tag) > maxTag {
			t.Errorf("out of bounds: %+v", d)
		}
	})
}

func TestParseAllocatesNothingByTheParameters(t *testing.T) { // corpus row 32
	for _, encoded := range []string{
		"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$2b$31$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			if _, err := parse(encoded, maxMemory); err == nil {
				t.Fatalf("%s is accepted", encoded)
			}
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / 100; got > 1024 {
			t.Errorf("%s allocates %d bytes, want no more than its error", encoded, got)
		}
	}
}
