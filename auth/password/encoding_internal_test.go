package password

import (
	"encoding/hex"
	"errors"
	"reflect"
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

// RFC 7914 sections 11 and 12. The last vector of the latter takes 1 GiB.
func TestRFC7914Sections11And12Vectors(t *testing.T) {
	for _, tt := range []struct {
		password, salt string
		kdf            kdf
		tag            string
	}{
		{"passwd", "salt", kdf{iterations: 1},
			"55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"},
		{"Password", "NaCl", kdf{iterations: 80000},
			"4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"},
		{"", "", kdf{logN: 4, r: 1, p: 1},
			"77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"},
		{"password", "NaCl", kdf{logN: 10, r: 8, p: 16},
			"fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"},
		{"pleaseletmein", "SodiumChloride", kdf{logN: 14, r: 8, p: 1},
			"7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"},
	} {
		d := digest{kdf: tt.kdf, salt: []byte(tt.salt), tag: make([]byte, len(tt.tag)/2)}
		if got := hex.EncodeToString(derive(d, []byte(tt.password))); got != tt.tag {
			t.Errorf("%s of %q: tag is %s, want %s", tt.kdf.function(), tt.password, got, tt.tag)
		}
	}
}

// What is in the budget is what x/crypto allocates, with some room for its
// small pieces.
func TestScryptTakesWhatIsBudgeted(t *testing.T) {
	for _, k := range []kdf{{logN: 10, r: 8, p: 1}, {logN: 4, r: 32, p: 16}, {logN: 14, r: 8, p: 5}, {logN: 12, r: 1, p: 1}} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		derive(dummy(k), []byte("a password"))
		runtime.ReadMemStats(&after)
		got := int64(after.TotalAlloc - before.TotalAlloc)
		if got < k.weight()-1024 || got > k.weight()+k.weight()/8+8192 {
			t.Errorf("%+v allocates %d bytes, and %d are budgeted", k, got, k.weight())
		}
	}
}

// Whatever the stored hash is: no panic, parameters within the bounds, and what
// is written of it is read as the same.
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
		"pbkdf2_sha256$390000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c=",
		"$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ",
		"$pbkdf2-sha256$4294967295$$",
		"scrypt$1024$seasalt$6$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
		"scrypt$4294967295$seasalt$8$1$",
		"$scrypt$ln=8,r=8,p=1$wlhLyXmP8b53bm1NKYVQqg$mTpvG8lzuuDk+DWz8HZIB6Vum6erDuUm0As5yU+VxWA",
		"$scrypt$ln=64,r=4294967295,p=4294967295$$",
		"bcrypt$$2b$12$LZSJchsWG/DrBy1erNs4ee31eJ7DaWiuwhDOC7aqIyqGGggfu6Y/.",
		"bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC",
		"$bcrypt-sha256$2a,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu",
		"$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS",
		"$argon2id$v=19$p=1,t=16,m=8$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$wp$2y$05$oMrtLoppIOzzH60cr9hRF.X7xFubRvrnWBN2Ljt6Dl0mm7XCxfdje",
		"{bcrypt}$2a$05$UlOfZr6FKgY7cc9d2Xb0xeDFRGMQywf2vovDrHP8W514T487vmtqq",
		"{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"{scrypt}$a0801$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==",
		"{SSHA}Qm3IVszRiReYV9y91+mlCotTZMjtvTeG",
		"pbkdf2:sha256:2000$salt$00000000000000000000000000000000",
		"scrypt:1024:8:1$salt$00000000000000000000000000000000",
		"$s0$a0801$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==",
		"argon2$argon2id$v=19$m=512,t=2,p=8$Y041dExhNkljRUUy$TMa6A8fPJhCAUXRhJXCXdw",
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
		if again, err := parse(d.String(), most); err != nil || !reflect.DeepEqual(again, d) {
			t.Errorf("%q is written as %q and read as %+v, %v, want %+v", encoded, d.String(), again, err, d)
		}
		bounded := false
		switch d.function() {
		case bcryptFunction:
			bounded = d.cost >= minCost && d.cost <= maxCost && len(d.salt) == bcryptSalt && len(d.tag) == bcryptTag
		case pbkdf2Function:
			bounded = d.iterations <= maxIterations && len(d.salt) >= 1 && len(d.salt) <= maxImportedSalt && len(d.tag) >= minTag && len(d.tag) <= 32
		case scryptFunction:
			bounded = d.logN >= 1 && d.p >= 1 && d.kib() <= most && d.scryptBlocks() <= maxScryptBlocks &&
				len(d.salt) >= 1 && len(d.salt) <= maxImportedSalt && len(d.tag) >= minTag && len(d.tag) <= maxTag
		case argon2idFunction:
			bounded = d.memory >= 8*uint32(d.lanes) && d.memory <= most && d.passes >= 1 && d.passes <= maxPasses &&
				d.lanes >= 1 && d.lanes <= maxLanes &&
				len(d.salt) >= minSalt && len(d.salt) <= maxSalt && len(d.tag) >= minTag && len(d.tag) <= maxTag
		}
		if !bounded {
			t.Errorf("out of bounds: %+v", d)
		}
		if want := d.scheme(); want != nil && len(want.problems()) > 0 {
			t.Errorf("%+v is read, and cannot be listed: %s", d, want.problems())
		}
	})
}

func TestParseAllocatesNothingByTheParameters(t *testing.T) { // corpus row 32
	for _, encoded := range []string{
		"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$2b$31$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
		"$bcrypt-sha256$v=2,t=2b,r=31$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS",
		"bcrypt_sha256$$2b$31$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
		"pbkdf2_sha256$4294967295$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c=",
		"$scrypt$ln=31,r=8,p=1$wlhLyXmP8b53bm1NKYVQqg$mTpvG8lzuuDk+DWz8HZIB6Vum6erDuUm0As5yU+VxWA",
		"$scrypt$ln=1,r=4294967295,p=4294967295$wlhLyXmP8b53bm1NKYVQqg$mTpvG8lzuuDk+DWz8HZIB6Vum6erDuUm0As5yU+VxWA",
		"scrypt$2147483648$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
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
