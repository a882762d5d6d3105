package password_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/password"
)

// Each of these hashes was made by another implementation, or is one of theirs
// with its parameters in another order.
func TestHashesOfOtherFrameworksAreVerified(t *testing.T) {
	const right = "correct horse 7 battery"
	h := newHasher(t, password.Config{Imported: []password.Scheme{
		password.Bcrypt(5), password.BcryptSHA256(5), password.PBKDF2SHA256(2750), password.Scrypt{LogN: 10, R: 8, P: 1},
	}})
	for _, tt := range []struct{ name, encoded string }{
		{"the scrypt of Spring", "{scrypt}$a0801$AAECAwQFBgcICQoLDA0ODw==$laA1ssIRib03SgpAnzo6r2RDfX+nWwok3tVdsZY5REo="},
		{"the scrypt of Spring 5.8", "{scrypt@SpringSecurity_v5_8}$a0801$AAECAwQFBgcICQoLDA0ODw==$laA1ssIRib03SgpAnzo6r2RDfX+nWwok3tVdsZY5REo="},
		{"the scrypt of lambdaworks", "$s0$a0801$AAECAwQFBgcICQoLDA0ODw==$laA1ssIRib03SgpAnzo6r2RDfX+nWwok3tVdsZY5REo="},
		{"the scrypt of Werkzeug", "scrypt:1024:8:1$k2Wj9sPq0vTz1yXa$181dcf340319f56f9338b18bdb34190c887f04e5f55b5a623ca9326499cac0db7536634177f6e2ad6bafcea1eaa2eed637de6c968ebd801f79f85d2fd976f473"},
		{"the PBKDF2 of Werkzeug", "pbkdf2:sha256:2000$k2Wj9sPq0vTz1yXa$bdf9529a79f9a38177d27a181dfa6124a1a40dbfed4937f14a9eac05d27880bd"},
		{"passlib's PBKDF2, a tag of 16 bytes", "$pbkdf2-sha256$2750$AAECAwQFBgcICQoLDA0ODw$mXelBEAVPmoJUEgt2Bm73A"},
		{"Django's PBKDF2, a tag of 16 bytes", "pbkdf2_sha256$2750$seasalt$DW0aPllny6/OWEXHzSGN7A=="},
		{"passlib's PBKDF2, a tag of 20 bytes", "$pbkdf2-sha256$2750$AAECAwQFBgcICQoLDA0ODw$mXelBEAVPmoJUEgt2Bm73Nd0Myk"},
		{"Django's PBKDF2, a tag of 20 bytes", "pbkdf2_sha256$2750$seasalt$DW0aPllny6/OWEXHzSGN7Hox3NI="},
		{"passlib's PBKDF2, a tag of 32 bytes", "$pbkdf2-sha256$2750$AAECAwQFBgcICQoLDA0ODw$mXelBEAVPmoJUEgt2Bm73Nd0Mymoo8Ffe3ZpqeSJlrk"},
		{"Django's PBKDF2, a tag of 32 bytes", "pbkdf2_sha256$2750$seasalt$DW0aPllny6/OWEXHzSGN7Hox3NL4YuVmjkMUS4SGIow="},
		{"passlib's PBKDF2, a tag of 33 bytes", "$pbkdf2-sha256$2750$AAECAwQFBgcICQoLDA0ODw$mXelBEAVPmoJUEgt2Bm73Nd0Mymoo8Ffe3ZpqeSJlrlm"},
		{"Django's PBKDF2, a tag of 33 bytes", "pbkdf2_sha256$2750$seasalt$DW0aPllny6/OWEXHzSGN7Hox3NL4YuVmjkMUS4SGIoxO"},
		{"passlib's PBKDF2, a tag of 48 bytes", "$pbkdf2-sha256$2750$AAECAwQFBgcICQoLDA0ODw$mXelBEAVPmoJUEgt2Bm73Nd0Mymoo8Ffe3ZpqeSJlrlm/RkQfA8LEyy8CiOgG9jI"},
		{"Django's PBKDF2, a tag of 48 bytes", "pbkdf2_sha256$2750$seasalt$DW0aPllny6/OWEXHzSGN7Hox3NL4YuVmjkMUS4SGIoxOXcxhd167GIHbDz/SIRNM"},
		{"passlib's PBKDF2, a tag of 64 bytes", "$pbkdf2-sha256$2750$AAECAwQFBgcICQoLDA0ODw$mXelBEAVPmoJUEgt2Bm73Nd0Mymoo8Ffe3ZpqeSJlrlm/RkQfA8LEyy8CiOgG9jIuMuQfQoRbC0iPlmBcsEXrA"},
		{"Django's PBKDF2, a tag of 64 bytes", "pbkdf2_sha256$2750$seasalt$DW0aPllny6/OWEXHzSGN7Hox3NL4YuVmjkMUS4SGIoxOXcxhd167GIHbDz/SIRNM9bOpbDb341tV6gBuiorQtQ=="},
		{"PBKDF2 of an LDAP server", "{PBKDF2-SHA256}2750$AAECAwQFBgcICQoLDA0ODw$mXelBEAVPmoJUEgt2Bm73Nd0Mymoo8Ffe3ZpqeSJlrk"},
		{"wordpress 6.8", "$wp$2y$05$oMrtLoppIOzzH60cr9hRF.X7xFubRvrnWBN2Ljt6Dl0mm7XCxfdje"},
		{"spring {bcrypt}", "{bcrypt}$2a$05$UlOfZr6FKgY7cc9d2Xb0xeDFRGMQywf2vovDrHP8W514T487vmtqq"},
		{"passlib scrypt", "$scrypt$ln=10,r=8,p=1$e08J4Vyr1dp7Tynl3DvnXA$+ZzHxEehsZsONVlAcFlpKwyyD1CwINW262ZfGPY6aaA"},
		{"Dovecot's bcrypt", "{BLF-CRYPT}$2a$05$5pAE2dQsHkcYzEIlA47Vdei1bqqTrQd5WNEQk6IKfzbU.4xxgCGb6"},
		{"bcrypt behind {CRYPT}", "{CRYPT}$2a$05$5pAE2dQsHkcYzEIlA47Vdei1bqqTrQd5WNEQk6IKfzbU.4xxgCGb6"},
		{"Jenkins's bcrypt", "#jbcrypt:$2a$05$5pAE2dQsHkcYzEIlA47Vdei1bqqTrQd5WNEQk6IKfzbU.4xxgCGb6"},
		{"OpenLDAP's argon2", "{ARGON2}$argon2id$v=19$m=19456,t=2,p=1$7yLX1eOQAn/YEYOM1LKZ0A$vzTkOzwzUJfrAfGHJfTuAw"},
		{"Spring's argon2, older", "{argon2}$argon2id$v=19$m=19456,t=2,p=1$7yLX1eOQAn/YEYOM1LKZ0A$vzTkOzwzUJfrAfGHJfTuAw"},
		{"argon2 of npm, m, p and t", "$argon2id$v=19$m=19456,p=1,t=2$sf3fDKI08thHzr65PHYagQ$hrP1Y8XXKMEpPDHtjqfnzdB5m6z2Qjr3hshCJC1Xbx0"},
		{"argon2id, order 0", "$argon2id$v=19$m=19456,t=2,p=1$sf3fDKI08thHzr65PHYagQ$hrP1Y8XXKMEpPDHtjqfnzdB5m6z2Qjr3hshCJC1Xbx0"},
		{"argon2id, order 1", "$argon2id$v=19$m=19456,p=1,t=2$sf3fDKI08thHzr65PHYagQ$hrP1Y8XXKMEpPDHtjqfnzdB5m6z2Qjr3hshCJC1Xbx0"},
		{"argon2id, order 2", "$argon2id$v=19$t=2,m=19456,p=1$sf3fDKI08thHzr65PHYagQ$hrP1Y8XXKMEpPDHtjqfnzdB5m6z2Qjr3hshCJC1Xbx0"},
		{"argon2id, order 3", "$argon2id$v=19$t=2,p=1,m=19456$sf3fDKI08thHzr65PHYagQ$hrP1Y8XXKMEpPDHtjqfnzdB5m6z2Qjr3hshCJC1Xbx0"},
		{"argon2id, order 4", "$argon2id$v=19$p=1,m=19456,t=2$sf3fDKI08thHzr65PHYagQ$hrP1Y8XXKMEpPDHtjqfnzdB5m6z2Qjr3hshCJC1Xbx0"},
		{"argon2id, order 5", "$argon2id$v=19$p=1,t=2,m=19456$sf3fDKI08thHzr65PHYagQ$hrP1Y8XXKMEpPDHtjqfnzdB5m6z2Qjr3hshCJC1Xbx0"},
		{"scrypt, another order", "$scrypt$p=1,ln=10,r=8$e08J4Vyr1dp7Tynl3DvnXA$+ZzHxEehsZsONVlAcFlpKwyyD1CwINW262ZfGPY6aaA"},
		{"passlib's bcrypt_sha256, another order", "$bcrypt-sha256$r=5,t=2b,v=2$rYIZv2/XiiWwPOti0wrNDO$wDadTVIZrySDEuySjTaQUECJm8oSi2e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok, upgraded, err := h.Verify(t.Context(), right, tt.encoded)
			if !ok || err != nil {
				t.Fatalf("the right password: %v, %v", ok, err)
			}
			if !strings.Contains(tt.encoded, "argon2id") && upgraded == "" {
				t.Error("the hash is not upgraded")
			}
			for _, wrong := range []string{right + "x", right[1:], right + "\x00", ""} {
				if ok, _, err := h.Verify(t.Context(), wrong, tt.encoded); ok || err != nil {
					t.Errorf("%q: %v, %v", wrong, ok, err)
				}
			}
		})
	}
}

// WordPress trims passwords. A user who types a space more is let in, and the
// hash stays until the password is typed as it is.
func TestWordPressIgnoresSpaceAroundAPassword(t *testing.T) {
	const right, encoded = "correct horse 7 battery", "$wp$2y$05$oMrtLoppIOzzH60cr9hRF.X7xFubRvrnWBN2Ljt6Dl0mm7XCxfdje"
	h := newHasher(t, password.Config{Imported: []password.Scheme{password.BcryptSHA256(5)}})
	for _, given := range []string{" " + right, right + "\n", "\t" + right + " "} {
		if ok, upgraded, err := h.Verify(t.Context(), given, encoded); !ok || upgraded != "" || err != nil {
			t.Errorf("%q: %v, %q, %v, want it to match and the hash to stay", given, ok, upgraded, err)
		}
	}
	if ok, upgraded, err := h.Verify(t.Context(), right, encoded); !ok || upgraded == "" || err != nil {
		t.Errorf("the password itself: %v, %q, %v", ok, upgraded, err)
	}
}

// A hash of a scheme that is not verified is named, and is not called damaged.
func TestSchemesThatAreNotVerifiedAreNamed(t *testing.T) {
	h := newHasher(t, password.Config{Imported: imports})
	hex64 := strings.Repeat("0123456789abcdef", 4)
	for _, tt := range []struct{ encoded, says string }{
		{"$P$6Ha45xB.o7CF7nkLDHXFIi6NT9xpnz/", "phpass"},
		{"$H$9aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "phpass"},
		{"$6$ird8D2Jn.5/bWIoA$B.yYy8BAssM5iWm9KOFTpIt0Cb0OKVG6wFYnU/CQ.4PtZgUGdbiZI5YpAt.xu2LJ7DvfWs3X85WyVTOLgokzG/", "sha512crypt"},
		{"$5$rounds=5000$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha256crypt"},
		{"$1$salt$aaaaaaaaaaaaaaaaaaaaaa", "md5crypt"},
		{"$apr1$salt$aaaaaaaaaaaaaaaaaaaaaa", "Apache"},
		{"$y$j9T$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "yescrypt"},
		{"$gy$j9T$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "gost-yescrypt"},
		{"$7$C6..../....S$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "scrypt in the spelling of crypt(3)"},
		{"$sha1$40000$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha1crypt"},
		{"$md5,rounds=5$salt$$aaaaaaaaaaaaaaaaaaaaaa", "Sun"},
		{"$3$$8846f7eaee8fb117ad06bdd830b7586c", "NT hash"},
		{"abJnggxhB/yWI", "DES crypt"},
		{"_J9..K0AyUubDrMquiAE", "BSDi"},
		{"$S$Daaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Drupal"},
		{"U$S$Daaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Drupal"},
		{"AQAAAAIAAAfQAAAAEGPgx+D4vcHnmBobaL6wAFGCeOuB9qpRo1WVf7JgdbIo40vAeqlm6miKHQrPLvTFmw==", "ASP.NET Core Identity's version 3"},
		{"AQAAAAEAACcQAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "ASP.NET Core Identity's version 3"},
		{"AAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0uLw==", "ASP.NET Identity's version 2"},
		{"{SSHA}Qm3IVszRiReYV9y91+mlCotTZMjtvTeG", "salted SHA-1"},
		{"{ssha}Qm3IVszRiReYV9y91+mlCotTZMjtvTeG", "salted SHA-1"},
		{"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"},
		{"{MD5}X03MO1qnZdYdgyfeuILPmQ==", "MD5"},
		{"{SMD5}YWJj", "salted MD5"},
		{"{SSHA256}YWJj", "salted SHA-256"},
		{"{SSHA512}YWJj", "salted SHA-512"},
		{"{CRYPT}$6$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha512crypt"},
		{"{CRYPT}abJnggxhB/yWI", "DES crypt"},
		{"{SHA512-CRYPT}$6$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha512crypt"},
		{"{noop}hunter2", "plain text"},
		{"{PLAIN}hunter2", "plain text"},
		{"{CLEARTEXT}hunter2", "plain text"},
		{"{pbkdf2}5d923b44a6d129f3ddf3e3c8d29412723dcbde72445e8ef6bf3b508fbf17fa4ed4d6b99ca763d8dc", "PBKDF2 of Spring"},
		{"{pbkdf2@SpringSecurity_v5_8}5d923b44a6d129f3", "PBKDF2 of Spring"},
		{"{PBKDF2-SHA512}10000$c2FsdA$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "PBKDF2 with SHA-512"},
		{"{PBKDF2}10000$c2FsdA$YWJj", "PBKDF2"},
		{"{PBKDF2_SHA256}AAAIAB", "389"},
		{"{PKCS5S2}YWJj", "Atlassian"},
		{"{SHA-256}{salt}abcdef", "SHA-256"},
		{"{MD4}abcdef", "MD4"},
		{"{ldap}{SSHA}abc", "LDAP digest"},
		{"{ARGON2}$argon2i$v=19$m=8,t=1,p=1$c2FsdA$YWJj", "argon2i"},
		{"{argon2@x}$argon2d$v=19$m=8,t=1,p=1$c2FsdA$YWJj", "argon2d"},
		{"{hunter2}abc", "no name for"},
		{"{hunter2", "brace"},
		{"pbkdf2:sha1:1000$salt$abababababababababababababababababababab", "Werkzeug's PBKDF2 with SHA-1"},
		{"pbkdf2:sha512:1000$salt$abababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababab", "Werkzeug's PBKDF2 with SHA-512"},
		{"pbkdf2:sha256$salt$abababababababababababababababababababababababababababababababab", "without a number of iterations"},
		{"pbkdf2:blake2b:1000$salt$abababababababababababababababababababababababababababababababab", "another digest"},
		{"sha256$salt$abababababababababababababababababababababababababababababababab", "salted SHA-256"},
		{"md5$salt$abababababababababababababababab", "salted MD5"},
		{"sha1$salt$abababababababababababababababababababab", "salted SHA-1"},
		{"plain$$hunter2", "plain text"},
		{"$pbkdf2-sha512$2000$lnKOsXYuxdgbo1QqpVSKsQ$kcRbrz1JSZPiG4Xt7JZGtcc/e4bbLozbGrxL/DJMltNp.wlgaDLVeKPaGyi1QGUX4NVhiCvyVF9N3ey4zyZ1Cw", "PBKDF2 with SHA-512"},
		{"$pbkdf2$131000$c2FsdA$aaaaaaaaaaaaaaaaaaaaaaaaaaa", "SHA-1"},
		{"pbkdf2_sha1$1000$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaa=", "SHA-1"},
		{"grub.pbkdf2.sha512.10000.AB.CD", "GRUB"},
		{"$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "argon2i"},
		{"$argon2d$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "argon2d"},
		{"$argon2id$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "version 16"},
		{"$2x$05$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bcrypt 2x"},
		{"{bcrypt}$2x$05$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bcrypt 2x"},
		{"$2$05$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bcrypt 2,"},
		{"5f4dcc3b5aa765d61d8327deb882cf99", "128 bits"},
		{"5f4dcc3b5aa765d61d8327deb882cf99:saltsalt", "and a salt"},
		{"5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8", "160 bits"},
		{"*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", "MySQL"},
		{"md55f4dcc3b5aa765d61d8327deb882cf99", "PostgreSQL's MD5"},
		{"SCRAM-SHA-256$4096:c2FsdA==$YWJj:YWJj", "PostgreSQL's SCRAM"},
		{"0x0200ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB", "SQL Server"},
		{"$shiro1$SHA-256$500000$c2FsdA==$YWJj", "Shiro"},
		{"$PBKDF2$HMACSHA512:210000:ab$cd", "Jenkins"},
		{"!3urROd0oqaTExteQyU1MrvNAfkNm3fwh5sadwkjV", "without a password"},
		{"!!", "without a password"},
		{"*LK*", "without a password"},
		{"*", "without a password"},
		{"hunter2", "no known scheme"},
		{hex64, "such as SHA-256"},
		{hex64 + hex64, "such as SHA-512"},
		{hex64 + ":salt:1", "and a salt"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			ok, upgraded, err := h.Verify(t.Context(), "hunter2", tt.encoded)
			if ok || upgraded != "" || !errors.Is(err, password.ErrUnsupported) || errors.Is(err, password.ErrMalformed) {
				t.Fatalf("got %v, %q, %v, want ErrUnsupported", ok, upgraded, err)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "new password") && !strings.Contains(err.Error(), "empty hash") {
				t.Errorf("%v, want it to name %s and what to do", err, tt.says)
			}
			leaksNothing(t, err, "hunter2", tt.encoded)
		})
	}
}

// Up to 32 bytes of a tag of PBKDF2 are compared, each of them, and no more.
func TestAllOfTheFirstBlockOfATagIsCompared(t *testing.T) {
	const right, salt = "correct horse 7 battery", "$pbkdf2-sha256$2750$AAECAwQFBgcICQoLDA0ODw$"
	h := newHasher(t, password.Config{Imported: []password.Scheme{password.PBKDF2SHA256(2750)}})
	for _, tt := range []struct {
		name, tag string
		want      bool
	}{
		{"the tag of 64 bytes", "mXelBEAVPmoJUEgt2Bm73Nd0Mymoo8Ffe3ZpqeSJlrlm/RkQfA8LEyy8CiOgG9jIuMuQfQoRbC0iPlmBcsEXrA", true},
		{"byte 16 is another", "mXelBEAVPmoJUEgt2Bm73dd0Mymoo8Ffe3ZpqeSJlrlm/RkQfA8LEyy8CiOgG9jIuMuQfQoRbC0iPlmBcsEXrA", false},
		{"byte 17 is another", "mXelBEAVPmoJUEgt2Bm73NZ0Mymoo8Ffe3ZpqeSJlrlm/RkQfA8LEyy8CiOgG9jIuMuQfQoRbC0iPlmBcsEXrA", false},
		{"byte 32 is another", "mXelBEAVPmoJUEgt2Bm73Nd0Mymoo8Ffe3ZpqeSJlrhm/RkQfA8LEyy8CiOgG9jIuMuQfQoRbC0iPlmBcsEXrA", false},
	} {
		if ok, _, err := h.Verify(t.Context(), right, salt+tt.tag); ok != tt.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", tt.name, ok, err, tt.want)
		}
	}
}

// A hash of a known spelling that is damaged, or out of bounds, is malformed.
func TestDamagedHashesOfOtherFrameworksAreMalformed(t *testing.T) {
	h := newHasher(t, password.Config{Imported: imports})
	hex15, hex16 := strings.Repeat("ab", 15), strings.Repeat("ab", 16)
	for _, encoded := range []string{
		"pbkdf2:sha256:2000$salt$" + hex15,
		"pbkdf2:sha256:2000$salt$",
		"pbkdf2:sha256:2000$salt$" + hex16 + "0",
		"pbkdf2:sha256:2000$$" + hex16,
		"pbkdf2:sha256:2000$sa lt$" + hex16,
		"pbkdf2:sha256:0$salt$" + hex16,
		"pbkdf2:sha256:10000001$salt$" + hex16,
		"pbkdf2:sha256:2000$salt",
		"scrypt:1024:8:1$salt$" + hex15,
		"scrypt:1024:8:1$salt$" + strings.Repeat("ab", 65),
		"scrypt:1023:8:1$salt$" + hex16,
		"scrypt:1024:8$salt$" + hex16,
		"scrypt:4294967295:8:1$salt$" + hex16,
		"scrypt:1024:8:1$$" + hex16,
		"$s0$a0801$c2FsdA==$AAAA",
		"$s0$0a$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==",
		"$s0$ffffff$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==",
		"$s0$00801$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAA==",
		"{scrypt}$a0801$c2FsdA==",
		"{bcrypt}$2a$05$short",
		"{bcrypt}$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$wp$2y$05$short",
		"$wp$2y$31$" + strings.Repeat("a", 53),
	} {
		if ok, _, err := h.Verify(t.Context(), "hunter2", encoded); ok || !errors.Is(err, password.ErrMalformed) {
			t.Errorf("%s: %v, %v, want ErrMalformed", encoded, ok, err)
		}
	}
}
