package password_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/password"
)

// imports lists every scheme that can be imported, at costs that tests can
// afford.
var imports = []password.Scheme{
	password.Bcrypt(4), password.BcryptSHA256(4), password.PBKDF2SHA256(1), password.Scrypt{LogN: 1, R: 1, P: 1},
}

// Each hash here was made by another implementation than the one under test.
func TestVerifyImportedHashes(t *testing.T) {
	const (
		table   = "t\u00e1\u0411\u2113\u0259" // what passlib's tests call UPASS_TABLE
		wav     = "\u0399\u03c9\u03b1\u03bd\u03bd\u03b7\u03c2"
		letmein = "l\u00e8tmein"
		hashers = "ExjGmyUT73bFoT"
	)
	abc72 := strings.Repeat("abc123", 12)
	x64, x65, x200 := strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 200)
	const nul, snowman = "nul\x00byte", "pässwörd☃"
	for _, tt := range []struct {
		source   string
		password string
		encoded  string
	}{
		// Django, tests/auth_tests/test_hashers.py.
		{"Django's PBKDF2", letmein, "pbkdf2_sha256$390000$seasalt$8xBlGd3jVgvJ+92hWPxi5ww0uuAuAnKgC45eudxro7c="},
		{"Django's PBKDF2, of 5.2", letmein, "pbkdf2_sha256$1000000$seasalt$r1uLUxoxpP2Ued/qxvmje7UH9PUJBkRrvf9gGPL7Cps="},
		{"Django's scrypt", letmein, "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw=="},
		{"Django's scrypt, of 5.1", letmein, "scrypt$16384$seasalt$8$5$ECMIUp+LMxMSK8xB/IVyba+KYGTI7FTnet025q/1f/vBAVnnP3hdYqJuRi+mJn6ji6ze3Fbb7JEFPKGpuEf5vw=="},
		{"Django's argon2, tag of 16 bytes", "secret", "argon2$argon2id$v=19$m=102400,t=2,p=8$Y041dExhNkljRUUy$TMa6A8fPJhCAUXRhJXCXdw"},

		// Racum/rust-djangohashers, tests, made by Django 1.9.
		{"Django 1.9's PBKDF2", hashers, "pbkdf2_sha256$24000$KQ8zeK6wKRuR$cmhbSt1XVKuO4FGd9+AX8qSBD4Z0395nZatXTJpEtTY="},
		{"Django 1.9's bcrypt_sha256", hashers, "bcrypt_sha256$$2b$12$LZSJchsWG/DrBy1erNs4eeYo6tZNlLFQmONdxN9HPesa1EyXVcTXK"},
		{"Django 1.9's bcrypt", hashers, "bcrypt$$2b$12$LZSJchsWG/DrBy1erNs4ee31eJ7DaWiuwhDOC7aqIyqGGggfu6Y/."},

		// passlib, tests/test_handlers_django.py, made by Django 1.4 and 1.6.
		{"Django 1.4's PBKDF2", table, "pbkdf2_sha256$10000$bEwAfNrH1TlQ$OgYUblFNUX1B8GfMqaCYUK/iHyO0pa7STTDdaEJBuY0="},
		{"Django 1.6's bcrypt_sha256", letmein, "bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC"},
		{"Django 1.6's bcrypt_sha256, more than 72 bytes", abc72 + "qwr", "bcrypt_sha256$$2a$06$Tg/oYyZTyAf.Nb3qSgN61Ocy0BEz1RK6xslSNi8PlaLX2pe7x/KQG"},
		{"Django 1.4's bcrypt", "abcdefghijklmnopqrstuvwxyz", "bcrypt$$2a$10$fVH8e28OQRj9tqiDXs1e1uxpsjN0c7II7YPKXua2NAKYvM6iQk7dq"},

		// passlib, tests/test_handlers_pbkdf2.py, test_handlers_bcrypt.py and
		// test_handlers_scrypt.py, and the documentation of pbkdf2_sha256.
		{"passlib's PBKDF2", "password", "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ"},
		{"passlib's PBKDF2, not ASCII", wav, "$pbkdf2-sha256$1212$3SABFJGDtyhrQMVt1uABPw$WyaUoqCLgvz97s523nF4iuOqZNbp5Nt8do/cuaa7AiI"},
		{"passlib's bcrypt_sha256, version 1 of 2a", "password", "$bcrypt-sha256$2a,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu"},
		{"passlib's bcrypt_sha256, version 1 of 2b", table, "$bcrypt-sha256$2b,5$.US1fQ4TQS.ZTz/uJ5Kyn.$QNdPDOTKKT5/sovNz1iWg26quOU4Pje"},
		{"passlib's bcrypt_sha256, version 2", "password", "$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"},
		{"passlib's bcrypt_sha256, version 2, not ASCII", table, "$bcrypt-sha256$v=2,t=2b,r=5$.US1fQ4TQS.ZTz/uJ5Kyn.$pzzgp40k8reM1CuQb03PvE0IDPQSdV6"},
		{"passlib's scrypt", "test", "$scrypt$ln=8,r=8,p=1$wlhLyXmP8b53bm1NKYVQqg$mTpvG8lzuuDk+DWz8HZIB6Vum6erDuUm0As5yU+VxWA"},
		{"passlib's scrypt, r=2", "password", "$scrypt$ln=8,r=2,p=1$dO6d0xoDoLT2PofQGoNQag$g/Wf2A0vhHhaJM+addK61QPBthSmYB6uVTtQzh8CM3o"},
		{"passlib's scrypt, p=2", "nacl", "$scrypt$ln=1,r=4,p=2$yhnD+J+Tci4lZCwFgHCuVQ$fAsEWmxSHuC0cHKMwKVFPzrQukgvK09Sj+NueTSxKds"},
		{"passlib's scrypt, p=16, salt of 4 bytes", "password", "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWI"},
		{"passlib's scrypt, of RFC 7914", "pleaseletmein", "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI"},

		// OpenSSL's PBKDF2 and scrypt and libxcrypt's bcrypt, through Python's
		// hashlib and crypt, put together as Django and passlib do.
		{"PBKDF2, as long as a block of SHA-256", x64, "pbkdf2_sha256$1000$abcdefghijklmnopqrstuv$58LZ1maUAG206bTN/Wi/H3UVPZqF8D+OSYbGkMFA7aU="},
		{"PBKDF2, longer than a block of SHA-256", x65, "pbkdf2_sha256$1000$abcdefghijklmnopqrstuv$1i/dEIM9UFrEGOt7RP448R/nTkAqNN8pG9vzfe7ZoJw="},
		{"PBKDF2 of passlib, 200 bytes", x200, "$pbkdf2-sha256$1000$....MDEyMzQ1Njc4OWFiYw$BDfGBKM1LYhmXJaiRNfmL5hyy.zoxONizwnqI/hAw3g"},
		{"PBKDF2, with a NUL", nul, "$pbkdf2-sha256$1000$....MDEyMzQ1Njc4OWFiYw$Tu5TFCH0sMSmYTcS04Y/ZiP8gHe77959HpbN3PBp3.A"},
		{"scrypt of Django, 200 bytes", x200, "scrypt$1024$abcdefghijklmnopqrstuv$8$5$C1fEUoCVWNIhVi7eWyiHhAQVX/j5Ug8S1Jc07BfxpntSljx7RUohwpMW3Vip7rmQxW/8tLGU1nEAfGctrcubgg=="},
		{"scrypt of Django, with a NUL", nul, "scrypt$1024$abcdefghijklmnopqrstuv$8$5$ugS3lKpRNDHibi0ten7xnuAXH+NRLxiwHEBvZxLMMCQShAPz6cyhCC8j4PoLZwELvnQRst7LRrWCXVCXSDURuA=="},
		{"scrypt, r=3, 65 bytes", x65, "$scrypt$ln=4,r=3,p=2$++++MDEyMzQ1Njc4OWFiYw$/c20mqxllgaX3meAOKQ1dnep+yiDGyg5VolFDJQMCxo"},
		{"bcrypt_sha256 of Django, with a NUL", nul, "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuMSNzHGXNTzgOiMmbRwIrzF4V28F8t6G"},
		{"bcrypt_sha256 of Django, not ASCII", snowman, "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuqq6aB1EEsHE5BBDphEe9yI.f2B9NDXS"},
		{"bcrypt_sha256 of passlib, with a NUL", nul, "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$XJxheZWn0dBbhW3ts0y9L1KlfQpgZ46"},
		{"bcrypt_sha256 of passlib, 200 bytes", x200, "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$6MCVSX.3bB/NKVjJ2IOtou1ZmrYaVpK"},
		{"bcrypt_sha256 of passlib's first version, 200 bytes", x200, "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$ueSFaMpsWMofcGeyfd2qrCnzAQVEOYq"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			dear := strings.HasPrefix(tt.source, "Django") // it costs what it did when it was made
			if dear && raceDetector {
				t.Skip("it takes too long with the race detector")
			}
			h := newHasher(t, password.Config{Imported: imports})
			ok, upgraded, err := h.Verify(t.Context(), tt.password, tt.encoded)
			if !ok || err != nil {
				t.Fatalf("verifies with %v, %v", ok, err)
			}
			// Of Django's argon2 only the spelling is foreign, and it is
			// stronger than what tests have.
			if strings.Contains(tt.encoded, "argon2id") {
				if upgraded != "" && !strings.Contains(tt.source, "16 bytes") {
					t.Errorf("upgraded is %q", upgraded)
				}
			} else if !strings.HasPrefix(upgraded, "$argon2id$v=19$m=64,t=1,p=1$") {
				t.Fatalf("upgraded is %q, want argon2id of the Config", upgraded)
			} else if ok, again, err := h.Verify(t.Context(), tt.password, upgraded); !ok || again != "" || err != nil {
				t.Errorf("the upgraded hash verifies with %v, %q, %v", ok, again, err)
			}
			wrongs := []string{tt.password + "\x00", tt.password[1:], tt.password + "y", tt.password[:len(tt.password)-1], ""}
			if dear {
				wrongs = wrongs[:1]
			}
			for _, wrong := range wrongs {
				if ok, upgraded, err := h.Verify(t.Context(), wrong, tt.encoded); ok || upgraded != "" || err != nil {
					t.Errorf("%q verifies with %v, %q, %v", wrong, ok, upgraded, err)
				}
			}
		})
	}
}

// What bcrypt_sha256 was made for: all of a password counts.
func TestBcryptSHA256HasNoLimits(t *testing.T) {
	abc72 := strings.Repeat("abc123", 12)
	hashes := map[string][]string{ // passlib, tests/test_handlers_bcrypt.py and test_handlers_django.py
		abc72: {
			"$bcrypt-sha256$2b,5$X1g1nh3g0v4h6970O68cxe$r/hyEtqJ0teqPEmfTLoZ83ciAI1Q74.",
			"bcrypt_sha256$$2a$06$Tg/oYyZTyAf.Nb3qSgN61OySmyXA8FoY4PjGizjE1QSDfuL5MXNni",
		},
		abc72 + "qwr": {
			"$bcrypt-sha256$2b,5$X1g1nh3g0v4h6970O68cxe$021KLEif6epjot5yoxk0m8I0929ohEa",
			"bcrypt_sha256$$2a$06$Tg/oYyZTyAf.Nb3qSgN61Ocy0BEz1RK6xslSNi8PlaLX2pe7x/KQG",
		},
		abc72 + "xyz": {
			"$bcrypt-sha256$2b,5$X1g1nh3g0v4h6970O68cxe$7.1kgpHduMGEjvM3fX6e/QCvfn6OKja",
			"bcrypt_sha256$$2a$06$Tg/oYyZTyAf.Nb3qSgN61OvY2zoRVUa2Pugv2ExVOUT2YmhvxUFUa",
		},
	}
	for _, truncate := range []bool{false, true} {
		h := newHasher(t, password.Config{Imported: []password.Scheme{password.BcryptSHA256(5)}, InsecureTruncate72: truncate})
		for own, encoded := range hashes {
			for given := range hashes {
				for _, e := range encoded {
					if ok, _, err := h.Verify(t.Context(), given, e); ok != (own == given) || err != nil {
						t.Errorf("truncation %v: the password with %q behind 72 bytes, given with %q: %v, %v", truncate, own[72:], given[72:], ok, err)
					}
				}
			}
		}
	}
}

// HMAC fills short keys up with NULs, so PBKDF2 and scrypt cannot tell some
// passwords apart. That is no reason to let the wrong one in.
func TestVerifyTellsNULsAtTheEndApart(t *testing.T) {
	const (
		pbkdf2x64 = "pbkdf2_sha256$1000$abcdefghijklmnopqrstuv$58LZ1maUAG206bTN/Wi/H3UVPZqF8D+OSYbGkMFA7aU="
		scryptNul = "scrypt$1024$abcdefghijklmnopqrstuv$8$5$ugS3lKpRNDHibi0ten7xnuAXH+NRLxiwHEBvZxLMMCQShAPz6cyhCC8j4PoLZwELvnQRst7LRrWCXVCXSDURuA=="
	)
	h := newHasher(t, password.Config{Imported: imports})
	for _, tt := range []struct {
		name, password, encoded string
		want                    bool
	}{
		{"scrypt, itself", "nul\x00byte", scryptNul, true},
		{"scrypt, a NUL more", "nul\x00byte\x00", scryptNul, false},
		{"scrypt, NULs up to 64 bytes", "nul\x00byte" + strings.Repeat("\x00", 56), scryptNul, false},
		{"scrypt, NULs up to 65 bytes, of which another digest is the key", "nul\x00byte" + strings.Repeat("\x00", 57), scryptNul, false},
		{"PBKDF2 of 64 bytes, itself", strings.Repeat("x", 64), pbkdf2x64, true},
		{"PBKDF2 of 64 bytes, a NUL more", strings.Repeat("x", 64) + "\x00", pbkdf2x64, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if ok, _, err := h.Verify(t.Context(), tt.password, tt.encoded); ok != tt.want || err != nil {
				t.Errorf("got %v, %v, want %v", ok, err, tt.want)
			}
		})
	}
}

// Corpus row 32 for the imported schemes.
func TestVerifyRefusesImportedHashes(t *testing.T) {
	const (
		djangoPBKDF2  = "pbkdf2_sha256$1000$abcdefghijklmnopqrstuv$58LZ1maUAG206bTN/Wi/H3UVPZqF8D+OSYbGkMFA7aU="
		passlibPBKDF2 = "$pbkdf2-sha256$1000$....MDEyMzQ1Njc4OWFiYw$Tu5TFCH0sMSmYTcS04Y/ZiP8gHe77959HpbN3PBp3.A"
		djangoScrypt  = "scrypt$1024$abcdefghijklmnopqrstuv$8$5$C1fEUoCVWNIhVi7eWyiHhAQVX/j5Ug8S1Jc07BfxpntSljx7RUohwpMW3Vip7rmQxW/8tLGU1nEAfGctrcubgg=="
		phcScrypt     = "$scrypt$ln=4,r=3,p=2$++++MDEyMzQ1Njc4OWFiYw$/c20mqxllgaX3meAOKQ1dnep+yiDGyg5VolFDJQMCxo"
		djangoBcrypt  = "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuMSNzHGXNTzgOiMmbRwIrzF4V28F8t6G"
		passlib1      = "$bcrypt-sha256$2b,4$abcdefghijklmnopqrstuu$ueSFaMpsWMofcGeyfd2qrCnzAQVEOYq"
		passlib2      = "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$6MCVSX.3bB/NKVjJ2IOtou1ZmrYaVpK"
		djangoArgon   = "argon2$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + tag
	)
	with := func(encoded, old, new string) string {
		if strings.Count(encoded, old) != 1 {
			t.Fatalf("%q is not once in %q", old, encoded)
		}
		return strings.Replace(encoded, old, new, 1)
	}
	m, u := password.ErrMalformed, password.ErrUnsupported
	for _, tt := range []struct {
		name    string
		encoded string
		want    error
		says    string
	}{
		{"PBKDF2 of no iterations", with(djangoPBKDF2, "$1000$", "$0$"), m, "from 1 to 10000000"},
		{"PBKDF2 of one too many", with(djangoPBKDF2, "$1000$", "$10000001$"), m, "from 1 to 10000000"},
		{"PBKDF2 of the most that can be written", with(djangoPBKDF2, "$1000$", "$4294967295$"), m, "from 1 to 10000000"},
		{"PBKDF2 of more than can be written", with(djangoPBKDF2, "$1000$", "$"+strings.Repeat("9", 100)+"$"), m, "from 1"},
		{"PBKDF2 of a negative number", with(djangoPBKDF2, "$1000$", "$-1000$"), m, "from 1"},
		{"PBKDF2 of a number with a sign", with(djangoPBKDF2, "$1000$", "$+1000$"), m, "from 1"},
		{"PBKDF2 of a number with a zero in front", with(djangoPBKDF2, "$1000$", "$01000$"), m, "from 1"},
		{"PBKDF2 of a number with an underscore", with(djangoPBKDF2, "$1000$", "$1_000$"), m, "from 1"},
		{"PBKDF2 of no number", with(djangoPBKDF2, "$1000$", "$$"), m, "from 1"},
		{"PBKDF2 without a tag", djangoPBKDF2[:strings.LastIndex(djangoPBKDF2, "$")], m, "one is missing"},
		{"PBKDF2 with a field too many", djangoPBKDF2 + "$", m, "its tag"},
		{"PBKDF2 with no salt", with(djangoPBKDF2, "abcdefghijklmnopqrstuv", ""), m, "its salt"},
		{"PBKDF2 with a salt of 65 bytes", with(djangoPBKDF2, "abcdefghijklmnopqrstuv", strings.Repeat("s", 65)), m, "its salt"},
		{"PBKDF2 with a space in its salt", with(djangoPBKDF2, "abc", "a c"), m, "its salt"},
		{"PBKDF2 with a NUL in its salt", with(djangoPBKDF2, "abc", "a\x00c"), m, "its salt"},
		{"PBKDF2 with a salt that is not ASCII", with(djangoPBKDF2, "abc", "aéc"), m, "its salt"},
		{"PBKDF2 with a tag that is not padded", strings.TrimSuffix(djangoPBKDF2, "="), m, "its tag"},
		{"PBKDF2 with a tag that is padded twice", djangoPBKDF2 + "=", m, "its tag"},
		{"PBKDF2 with a tag of stray bits", with(djangoPBKDF2, "A7aU=", "A7aV="), m, "its tag"},
		{"PBKDF2 with a line break behind", djangoPBKDF2 + "\n", m, "its tag"},
		{"PBKDF2 with a tag of 15 bytes", "pbkdf2_sha256$1000$salt$AAAAAAAAAAAAAAAAAAAA", m, "16 to 128 bytes"},
		{"PBKDF2 with no tag", "pbkdf2_sha256$1000$salt$", m, "16 to 128 bytes"},
		{"passlib's PBKDF2 with a plus", with(passlibPBKDF2, "$....M", "$.+..M"), m, "its salt"},
		{"passlib's PBKDF2 with padding", passlibPBKDF2 + "=", m, "its tag"},
		{"passlib's PBKDF2 with stray bits", with(passlibPBKDF2, "p3.A", "p3.B"), m, "its tag"},
		{"passlib's PBKDF2 with no salt", with(passlibPBKDF2, "....MDEyMzQ1Njc4OWFiYw", ""), m, "its salt"},
		{"passlib's PBKDF2 with no tag", "$pbkdf2-sha256$1000$....MDEyMzQ1Njc4OWFiYw", m, "one is missing"},
		{"PBKDF2 with Django's name and passlib's dollar", "$" + djangoPBKDF2, u, "no known scheme"},
		{"PBKDF2 with SHA-1, Django's", "pbkdf2_sha1$390000$seasalt2$aDapRanzW8aHTz97v2TcfHzWD+I=", password.ErrUnsupported, "SHA-1"},
		{"PBKDF2 with SHA-1, passlib's", "$pbkdf2$1212$THDqatpidANpadlLeTeOEg$HV3oi1k5C5LQCgG1BMOL.BX4YZc", password.ErrUnsupported, "SHA-1"},
		{"PBKDF2 with SHA-512", "$pbkdf2-sha512$1212$RHY0Fr3IDMSVO/RSZyb5ow$eNLfBK.eVozomMr.1gYa1", password.ErrUnsupported, "SHA-512"},

		{"scrypt of the most memory that can be written", with(phcScrypt, "ln=4,r=3,p=2", "ln=4294967295,r=4294967295,p=4294967295"), m, "not 1 to 23"},
		{"scrypt of an N that wraps to nothing", with(phcScrypt, "ln=4", "ln=64"), m, "is 64, not 1 to 23"},
		{"scrypt of an N that wraps to one in 8 bits", with(phcScrypt, "ln=4", "ln=257"), m, "not 1 to 23"},
		{"scrypt of more memory than the bound", with(phcScrypt, "ln=4,r=3,p=2", "ln=19,r=8,p=1"), m, "memory is 524291 KiB; the maximum is 262144"},
		{"scrypt of the bound, which its other blocks exceed", with(phcScrypt, "ln=4,r=3,p=2", "ln=18,r=8,p=1"), m, "memory is 262147 KiB"},
		{"scrypt of too many blocks", with(phcScrypt, "ln=4,r=3,p=2", "ln=17,r=8,p=9"), m, "9437184 blocks; the maximum is 8388608"},
		{"scrypt of an r that is too large", with(phcScrypt, "r=3", "r=33"), m, "its r is 33"},
		{"scrypt of an r that wraps to nothing in 8 bits", with(phcScrypt, "r=3", "r=256"), m, "its r is 256"},
		{"scrypt of a p that is too large", with(phcScrypt, "p=2", "p=17"), m, "its p is 17"},
		{"scrypt of no r", with(phcScrypt, "r=3", "r=0"), m, "its r is 0"},
		{"scrypt of no p", with(phcScrypt, "p=2", "p=0"), m, "its p is 0"},
		{"scrypt of an N of one", with(phcScrypt, "ln=4", "ln=0"), m, "is 0, not 1"},
		{"scrypt of an N that its r is too small for", with(phcScrypt, "ln=4,r=3", "ln=16,r=1"), m, "RFC 7914 section 2"},
		{"scrypt of a parameter twice", with(phcScrypt, "ln=4,r=3,p=2", "ln=4,r=3,r=3"), m, "not spelled"},
		{"scrypt of one parameter less", with(phcScrypt, ",p=2", ""), m, "not spelled"},
		{"scrypt of one parameter more", with(phcScrypt, ",p=2", ",p=2,x=1"), m, "not spelled"},
		{"scrypt of a number with a zero in front", with(phcScrypt, "ln=4", "ln=04"), m, "not spelled"},
		{"scrypt of a letter", with(phcScrypt, "r=3", "r=A"), m, "not spelled"},
		{"scrypt with padding", phcScrypt + "=", m, "its tag"},
		{"scrypt with no salt", with(phcScrypt, "++++MDEyMzQ1Njc4OWFiYw", ""), m, "its salt"},
		{"scrypt with a dot in its salt", with(phcScrypt, "++++", "+.++"), m, "its salt"},
		{"scrypt with a tag of 15 bytes", with(phcScrypt, "/c20mqxllgaX3meAOKQ1dnep+yiDGyg5VolFDJQMCxo", "AAAAAAAAAAAAAAAAAAAA"), m, "its tag"},
		{"scrypt without a tag", phcScrypt[:strings.LastIndex(phcScrypt, "$")], m, "one is missing"},
		{"scrypt of crypt(3)", "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", password.ErrUnsupported, "crypt(3)"},
		{"Django's scrypt of an N that is no power of two", with(djangoScrypt, "$1024$", "$1023$"), m, "its N is 1023"},
		{"Django's scrypt of no N", with(djangoScrypt, "$1024$", "$0$"), m, "its N is 0"},
		{"Django's scrypt of an N of one", with(djangoScrypt, "$1024$", "$1$"), m, "is 0, not 1"},
		{"Django's scrypt of the most memory that can be written", with(djangoScrypt, "$1024$", "$2147483648$"), m, "is 31, not 1 to 23"},
		{"Django's scrypt of more than can be written", with(djangoScrypt, "$1024$", "$4294967296$"), m, "below 2^32"},
		{"Django's scrypt of a zero in front", with(djangoScrypt, "$8$", "$08$"), m, "decimal"},
		{"Django's scrypt of too large an r", with(djangoScrypt, "$8$", "$4294967295$"), m, "its r is 4294967295"},
		{"Django's scrypt of too large a p", with(djangoScrypt, "$5$", "$4294967295$"), m, "its p is 4294967295"},
		{"Django's scrypt with a field less", with(djangoScrypt, "$5$", "$"), m, "has N, a salt"},
		{"Django's scrypt with a field more", djangoScrypt + "$", m, "has N, a salt"},
		{"Django's scrypt with no salt", with(djangoScrypt, "abcdefghijklmnopqrstuv", ""), m, "its salt"},
		{"Django's scrypt with a line break in its tag", with(djangoScrypt, "C1f", "C\n1f"), m, "its tag"},
		{"Django's scrypt with a tag of 32 bytes", "scrypt$1024$salt$8$5$58LZ1maUAG206bTN/Wi/H3UVPZqF8D+OSYbGkMFA7aU=", m, "64 bytes"},

		{"Django's bcrypt_sha256 of cost 31", with(djangoBcrypt, "$04$", "$31$"), m, "cost is 31"},
		{"Django's bcrypt_sha256 of cost 3", with(djangoBcrypt, "$04$", "$03$"), m, "cost is 3"},
		{"Django's bcrypt_sha256 with something for a salt", with(djangoBcrypt, "$$", "$xyz$"), u, "no known scheme"},
		{"Django's bcrypt_sha256 of 2x", with(djangoBcrypt, "$2b$", "$2x$"), u, "2x"},
		{"Django's bcrypt_sha256 one byte short", djangoBcrypt[:len(djangoBcrypt)-1], m, "59 bytes, not 60"},
		{"Django's bcrypt of 2x", with(with(djangoBcrypt, "_sha256", ""), "$2b$", "$2x$"), u, "2x"},
		{"Django's bcrypt with one dollar sign", with(with(djangoBcrypt, "_sha256", ""), "$$", "$"), u, "no known scheme"},
		{"Django's bcrypt with nothing behind", "bcrypt$$2", m, "version"},
		{"passlib's bcrypt_sha256 of cost 31", with(passlib2, "r=4", "r=31"), m, "cost is 31"},
		{"passlib's bcrypt_sha256 of no cost", with(passlib2, "r=4", "r="), m, "are spelled"},
		{"passlib's bcrypt_sha256 of the largest cost", with(passlib1, "2b,4", "2b,4294967295"), m, "not 4 to 16"},
		{"passlib's bcrypt_sha256 of a zero in front", with(passlib1, "2b,4", "2b,04"), m, "are spelled"},
		{"passlib's bcrypt_sha256 of 2y", with(passlib1, "2b,4", "2y,4"), m, "are spelled"},
		{"passlib's bcrypt_sha256 of 2a in version 2", with(passlib2, "t=2b", "t=2a"), m, "are spelled"},
		{"passlib's bcrypt_sha256 of version 3", with(passlib2, "v=2", "v=3"), m, "are spelled"},
		{"passlib's bcrypt_sha256 with a character that is none of its own", with(passlib1, "abc", "a+c"), m, "character"},
		{"passlib's bcrypt_sha256 with stray bits in its tag", with(passlib1, "OYq", "OYr"), m, "unused bits of its tag"},
		{"passlib's bcrypt_sha256 with stray bits in its salt", with(passlib2, "stuu", "stuv"), m, "unused bits of its salt"},
		{"passlib's bcrypt_sha256 with a salt too short", with(passlib2, "abc", "ab"), m, "22 characters"},
		{"passlib's bcrypt_sha256 with a line break behind", passlib2 + "\n", m, "31"},
		{"passlib's bcrypt_sha256 with nothing behind", "$bcrypt-sha256$", m, "22 characters"},

		{"Django's argon2 of the most memory that can be written", with(djangoArgon, "m=64", "m=4294967295"), m, "the maximum is 262144"},
		{"Django's argon2 of no passes", with(djangoArgon, "t=1", "t=0"), m, "0 passes"},
		{"Django's argon2i", with(djangoArgon, "argon2id", "argon2i"), password.ErrUnsupported, "Django's argon2i"},
		{"Django's argon2, passlib's way", "argon2" + "$" + djangoArgon, u, "no known scheme"},
		{"Django's mark of a user without a password", "!GvJmZ9xv8QEbbY4NLG5Y2S1Uw2V3pTqLkHc0zXyR", u, "store an empty hash"},
		{"Django's MD5", "md5$seasalt$3f86d0d3d465b7b458c231bf3555c0e3", u, "Django's salted MD5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHasher(t, password.Config{Imported: imports})
			ok, upgraded, err := h.Verify(t.Context(), "hunter2", tt.encoded)
			if ok || upgraded != "" || !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Fatalf("got %v, %q, %v, want an error that is %q and says %q", ok, upgraded, err, tt.want, tt.says)
			}
			leaksNothing(t, err, "hunter2", tt.encoded)
		})
	}

	for _, tt := range []struct {
		encoded string
		list    password.Scheme // the one that is needed
		says    string
	}{
		{djangoPBKDF2, password.PBKDF2SHA256(1), "password.PBKDF2SHA256(1000)"},
		{passlibPBKDF2, password.PBKDF2SHA256(1), "password.PBKDF2SHA256(1000)"},
		{djangoScrypt, password.Scrypt{LogN: 1, R: 1, P: 1}, "password.Scrypt{LogN: 10, R: 8, P: 5}"},
		{phcScrypt, password.Scrypt{LogN: 1, R: 1, P: 1}, "password.Scrypt{LogN: 4, R: 3, P: 2}"},
		{djangoBcrypt, password.BcryptSHA256(4), "password.BcryptSHA256(4)"},
		{passlib1, password.BcryptSHA256(4), "password.BcryptSHA256(4)"},
		{passlib2, password.BcryptSHA256(4), "password.BcryptSHA256(4)"},
		{strings.TrimPrefix(djangoBcrypt, "bcrypt_sha256$"), password.Bcrypt(4), "password.Bcrypt(4)"},
		{with(djangoBcrypt, "_sha256", ""), password.Bcrypt(4), "password.Bcrypt(4)"},
	} {
		t.Run("a scheme that is not listed: "+tt.says, func(t *testing.T) {
			for _, listed := range append(imports, nil) {
				var c password.Config
				if listed != nil {
					c.Imported = []password.Scheme{listed}
				}
				_, _, err := newHasher(t, c).Verify(t.Context(), "hunter2", tt.encoded)
				if listed == tt.list {
					if err != nil {
						t.Errorf("with %T listed: %v", listed, err)
					}
					continue
				}
				if !errors.Is(err, password.ErrUnsupported) || !strings.Contains(err.Error(), "list "+tt.says+" in Config.Imported") {
					t.Fatalf("with %T listed: %v", listed, err)
				}
				leaksNothing(t, err, "hunter2", tt.encoded)
			}
		})
	}
	t.Run("scrypt above the budget", func(t *testing.T) {
		budget, err := password.NewBudget(password.BudgetConfig{Memory: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		h := newHasher(t, password.Config{Budget: budget, Imported: imports})
		if _, _, err := h.Verify(t.Context(), "hunter2", with(phcScrypt, "ln=4,r=3,p=2", "ln=10,r=8,p=1")); !errors.Is(err, password.ErrMalformed) {
			t.Errorf("got %v, want ErrMalformed", err)
		}
		if _, _, err := h.Verify(t.Context(), "hunter2", with(phcScrypt, "ln=4,r=3,p=2", "ln=9,r=8,p=1")); err != nil {
			t.Errorf("half of the budget is refused: %v", err)
		}
	})
}
