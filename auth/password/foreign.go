package password

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// foreignSchemes are the prefixes of hashes that parse recognises without verifying
// them; the first match counts. Error texts contain only the names, because the text
// between the first two dollar signs of a bad hash may be a password.
var foreignSchemes = [...]struct{ prefix, name string }{
	{"$argon2i$", "argon2i"},
	{"argon2$argon2i$", "Django's argon2i"},
	{"$argon2d$", "argon2d"},
	{"argon2$argon2d$", "Django's argon2d"},
	{"$7$", "scrypt in the spelling of crypt(3), or Mosquitto's PBKDF2"},
	{"$y$", "yescrypt"},
	{"$gy$", "gost-yescrypt"},
	{"$sm3$", "sm3crypt"},
	{"$8$", "Cisco's PBKDF2"},
	{"$9$", "Cisco's scrypt"},
	{"$pbkdf2$", "passlib's PBKDF2 with SHA-1"},
	{"$pbkdf2-sha1$", "PBKDF2 with SHA-1"},
	{"$pbkdf2-sha512$", "passlib's PBKDF2 with SHA-512"},
	{"pbkdf2_sha1$", "Django's PBKDF2 with SHA-1"},
	{"pbkdf2_sha512$", "PBKDF2 with SHA-512"},
	{"pbkdf2:sha1:", "Werkzeug's PBKDF2 with SHA-1"},
	{"pbkdf2:sha224:", "Werkzeug's PBKDF2 with SHA-224"},
	{"pbkdf2:sha384:", "Werkzeug's PBKDF2 with SHA-384"},
	{"pbkdf2:sha512:", "Werkzeug's PBKDF2 with SHA-512"},
	{"pbkdf2:sha256$", "Werkzeug's PBKDF2 without a number of iterations"},
	{"pbkdf2:", "Werkzeug's PBKDF2 with another digest than SHA-256"},
	{"pbkdf2$", "PBKDF2 in the spelling of another library"},
	{"PBKDF2$", "PBKDF2 in the spelling of another library"},
	{"$PBKDF2$", "Jenkins's PBKDF2"},
	{"#pbkdf2:", "Jenkins's PBKDF2"},
	{"grub.pbkdf2.", "GRUB's PBKDF2"},
	{"$p5k2$", "PBKDF2 in the spelling of crypt(3)"},
	{"$5$", "sha256crypt"},
	{"$6$", "sha512crypt"},
	{"$1$", "md5crypt"},
	{"$apr1$", "Apache's md5crypt"},
	{"$sha1$", "sha1crypt"},
	{"$md5", "Sun's md5crypt"},
	{"$3$", "the NT hash of crypt(3)"},
	{"$NT$", "the NT hash"},
	{"$P$", "phpass"},
	{"$H$", "phpass"},
	{"$S$", "Drupal's phpass with SHA-512"},
	{"U$", "Drupal's phpass of an imported hash"},
	{"$shiro1$", "Apache Shiro's iterated digest"},
	{"$shiro2$", "Apache Shiro's own spelling"},
	{"$bcrypt$", "bcrypt in the spelling of another library"},
	{"sha1$", "Django's salted SHA-1"},
	{"md5$", "Django's salted MD5"},
	{"unsalted_md5$", "Django's MD5"},
	{"unsalted_sha1$", "Django's SHA-1"},
	{"crypt$", "Django's crypt(3)"},
	{"sha224$", "a salted SHA-224"},
	{"sha256$", "a salted SHA-256"},
	{"sha384$", "a salted SHA-384"},
	{"sha512$", "a salted SHA-512"},
	{"plain$", "Werkzeug's plain text"},
	{"SCRAM-SHA-1$", "a SCRAM verifier"},
	{"SCRAM-SHA-256$", "PostgreSQL's SCRAM verifier"},
	{"SCRAM-SHA-512$", "a SCRAM verifier"},
	{"0x0100", "SQL Server's SHA-1"},
	{"0x0200", "SQL Server's SHA-512"},
	{"c2NyeXB0", "scrypt-kdf in base64"}, // "scrypt"
}

// bracedSchemes are the names that may stand in braces in front of a hash, as
// RFC 2307, Dovecot and Spring Security have them, in lower case and without
// what follows an at sign.
var bracedSchemes = map[string]struct {
	name  string
	parse func(fields string, maxMemory uint32) (digest, error) // nil: not verified
}{
	"bcrypt":        {"bcrypt", nested("$2", parseBcrypt)},
	"blf-crypt":     {"bcrypt", nested("$2", parseBcrypt)},
	"argon2":        {"argon2", nested("$argon2id$", parseArgon2id)},
	"argon2id":      {"argon2id", nested("$argon2id$", parseArgon2id)},
	"argon2i":       {"argon2i", nil},
	"pbkdf2-sha256": {"PBKDF2-SHA256", parsePBKDF2(native)},
	"scrypt":        {"scrypt", nested("$", parseSpringScrypt)},
	"crypt":         {"crypt(3)", nested("$2", parseBcrypt)},

	"pbkdf2":         {"PBKDF2 of Spring or an LDAP server, which does not spell its digest", nil},
	"pbkdf2-sha1":    {"PBKDF2 with SHA-1", nil},
	"pbkdf2-sha512":  {"PBKDF2 with SHA-512", nil},
	"pbkdf2_sha256":  {"PBKDF2 of 389 Directory Server", nil},
	"pkcs5s2":        {"Atlassian's PBKDF2 with SHA-1", nil},
	"noop":           {"plain text", nil},
	"plain":          {"plain text", nil},
	"cleartext":      {"plain text", nil},
	"ldap":           {"Spring's LDAP digest", nil},
	"md4":            {"MD4", nil},
	"md5":            {"MD5", nil},
	"smd5":           {"salted MD5", nil},
	"sha":            {"SHA-1", nil},
	"sha-1":          {"SHA-1", nil},
	"sha1":           {"SHA-1", nil},
	"ssha":           {"salted SHA-1", nil},
	"sha-256":        {"SHA-256", nil},
	"sha256":         {"SHA-256", nil},
	"ssha256":        {"salted SHA-256", nil},
	"ssha-256":       {"salted SHA-256", nil},
	"sha384":         {"SHA-384", nil},
	"ssha384":        {"salted SHA-384", nil},
	"sha-512":        {"SHA-512", nil},
	"sha512":         {"SHA-512", nil},
	"ssha512":        {"salted SHA-512", nil},
	"ssha-512":       {"salted SHA-512", nil},
	"sha256-crypt":   {"sha256crypt", nil},
	"sha512-crypt":   {"sha512crypt", nil},
	"md5-crypt":      {"md5crypt", nil},
	"des-crypt":      {"DES crypt", nil},
	"sasl":           {"a reference to a SASL server", nil},
	"x-pbkdf2":       {"PBKDF2 with SHA-1", nil},
	"scram-sha-1":    {"a SCRAM verifier", nil},
	"scram-sha-256":  {"a SCRAM verifier", nil},
	"cram-md5":       {"a CRAM-MD5 context", nil},
	"digest-md5":     {"a DIGEST-MD5 verifier", nil},
	"nt":             {"the NT hash", nil},
	"lanman":         {"the LM hash", nil},
	"x-fusiondirect": {"a scheme of FusionDirectory", nil},
}

// notVerified is the error for a hash of a scheme that parse only recognises.
func notVerified(name string) error {
	return unsupported("it is %s, which this package does not verify; its user needs a new password, "+
		"or the host verifies it once with the old code and stores what Hash returns", name)
}

// nested returns a parse for a hash in braces that is spelled as without them.
// A hash of another scheme than the braces announce is named as itself.
func nested(prefix string, parse func(string, uint32) (digest, error)) func(string, uint32) (digest, error) {
	return func(fields string, maxMemory uint32) (digest, error) {
		if rest, ok := strings.CutPrefix(fields, prefix); ok {
			return parse(rest, maxMemory)
		}
		if name := recognise(fields); name != "" {
			return digest{}, notVerified(name)
		}
		if strings.HasPrefix(fields, "$") || len(fields) > desCryptLength {
			return digest{}, malformed("what follows its braces is not spelled as the scheme in them")
		}
		return digest{}, notVerified("crypt(3) or another scheme in braces")
	}
}

// parseBraced reads "{id}…".
func parseBraced(encoded string, maxMemory uint32) (digest, error) {
	id, fields, ok := strings.Cut(encoded[1:], "}")
	if !ok {
		return digest{}, unsupported("it begins with a brace that nothing closes; its user needs a new password")
	}
	id, _, _ = strings.Cut(id, "@") // Spring's {argon2@SpringSecurity_v5_8}
	scheme, ok := bracedSchemes[strings.ToLower(id)]
	switch {
	case !ok:
		return digest{}, notVerified("of a scheme in braces that this package has no name for")
	case scheme.parse == nil:
		return digest{}, notVerified("{" + strings.ToUpper(id) + "}, " + scheme.name)
	}
	return scheme.parse(fields, maxMemory)
}

// desCryptLength is how many characters a hash of crypt(3) with DES has.
const desCryptLength = 13

// recognise returns the name of the scheme of a hash that this package does not
// verify, or an empty string.
func recognise(encoded string) string {
	for _, s := range foreignSchemes {
		if strings.HasPrefix(encoded, s.prefix) {
			return s.name
		}
	}
	if rest, ok := strings.CutPrefix(encoded, "_"); ok && len(rest) == 19 && isCrypt(rest) {
		return "BSDi's extended DES crypt"
	}
	if rest, ok := strings.CutPrefix(encoded, "*"); ok && len(rest) == 40 && isHex(rest) {
		return "MySQL's SHA-1"
	}
	if rest, ok := strings.CutPrefix(encoded, "md5"); ok && len(rest) == 32 && isHex(rest) {
		return "PostgreSQL's MD5"
	}
	// Some append a salt or a version: Joomla's MD5:salt, Magento's SHA-256:salt:1.
	digits, _, salted := strings.Cut(encoded, ":")
	if isHex(digits) {
		name := ""
		switch len(digits) {
		case 32:
			name = "a hexadecimal digest of 128 bits, such as MD5 or the NT hash"
		case 40:
			name = "a hexadecimal digest of 160 bits, such as SHA-1"
		case 56, 64:
			name = "a hexadecimal digest such as SHA-256"
		case 96, 128:
			name = "a hexadecimal digest such as SHA-512"
		}
		if name != "" && salted {
			name += ", and a salt"
		}
		if name != "" {
			return name
		}
	}
	if len(encoded) == desCryptLength && isCrypt(encoded) {
		return "DES crypt"
	}
	return aspNet(encoded)
}

// aspNet recognises the base64 of ASP.NET Core Identity: version 3 has a one and
// the number of a pseudorandom function in front, version 2 a zero and 48 bytes.
func aspNet(encoded string) string {
	b, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return ""
	case len(b) == 49 && b[0] == 0:
		return "ASP.NET Identity's version 2"
	case len(b) >= 13+16 && b[0] == 1 && b[1] == 0 && b[2] == 0 && b[3] == 0 && b[4] <= 2:
		return "ASP.NET Core Identity's version 3"
	}
	return ""
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && s != ""
}

func isCrypt(s string) bool {
	for _, c := range []byte(s) {
		if strings.IndexByte(bcryptAlphabet, c) < 0 {
			return false
		}
	}
	return true
}

// parseWerkzeugPBKDF2 reads what follows "pbkdf2:sha256:" in
//
//	pbkdf2:sha256:600000$ salt $ tag
//
// whose salt is text and whose tag is hexadecimal.
func parseWerkzeugPBKDF2(fields string, _ uint32) (digest, error) {
	iterations, fields, _ := strings.Cut(fields, "$")
	salt, tag, ok := strings.Cut(fields, "$")
	if !ok {
		return digest{}, malformed("a PBKDF2 hash has a number of iterations, a salt and a tag, and here one is missing")
	}
	var d digest
	if d.iterations, ok = decimal(iterations); !ok || d.iterations < 1 || d.iterations > maxIterations {
		return digest{}, malformed("its iterations are not a number from 1 to %d", maxIterations)
	}
	if d.salt, ok = textSalt(salt); !ok {
		return digest{}, errSalt
	}
	if d.tag, ok = hexTag(tag); !ok {
		return digest{}, errHexTag
	}
	d.tag = firstBlock(d.tag)
	return d, nil
}

// parseWerkzeugScrypt reads what follows "scrypt:" in
//
//	scrypt:32768:8:1$ salt $ tag
//
// whose salt is text and whose tag is hexadecimal.
func parseWerkzeugScrypt(fields string, maxMemory uint32) (digest, error) {
	params, fields, _ := strings.Cut(fields, "$")
	salt, tag, ok := strings.Cut(fields, "$")
	numbers := strings.Split(params, ":")
	if !ok || len(numbers) != 3 {
		return digest{}, malformed("Werkzeug's scrypt hash has N, r and p between colons, a salt and a tag")
	}
	k, err := scryptOfN(numbers[0], numbers[1], numbers[2], maxMemory)
	if err != nil {
		return digest{}, err
	}
	d := digest{kdf: k}
	if d.salt, ok = textSalt(salt); !ok {
		return digest{}, errSalt
	}
	if d.tag, ok = hexTag(tag); !ok || len(d.tag) > maxTag {
		return digest{}, errHexTag
	}
	return d, nil
}

// parseSpringScrypt reads what follows "$s0$", or the dollar sign behind
// "{scrypt}", in
//
//	$s0$e0801$ salt $ tag
//	{scrypt}$100801$ salt $ tag
//
// where the hexadecimal number is the logarithm of N, r and p, the latter two in
// eight bits each, and salt and tag are padded base64.
func parseSpringScrypt(fields string, maxMemory uint32) (digest, error) {
	params, fields, _ := strings.Cut(fields, "$")
	salt, tag, ok := strings.Cut(fields, "$")
	if !ok || len(params) < 5 || len(params) > 6 {
		return digest{}, malformed("such an scrypt hash has a hexadecimal number of its parameters, a salt and a tag")
	}
	b, err := hex.DecodeString(strings.Repeat("0", 6-len(params)) + params)
	if err != nil {
		return digest{}, malformed("its parameters are not a hexadecimal number")
	}
	k, err := scryptOf(uint32(b[0]), uint32(b[1]), uint32(b[2]), maxMemory)
	if err != nil {
		return digest{}, err
	}
	d := digest{kdf: k}
	if d.salt, ok = d.importedSalt(base64.StdEncoding, salt); !ok {
		return digest{}, errSalt
	}
	if d.tag, ok = decode(base64.StdEncoding, tag); !ok || len(d.tag) < minTag || len(d.tag) > maxTag {
		return digest{}, malformed("its tag is not %d to %d bytes of base64", minTag, maxTag)
	}
	return d, nil
}

func hexTag(s string) ([]byte, bool) {
	b, err := hex.DecodeString(s)
	return b, err == nil && len(b) >= minTag && len(b) <= maxLongTag
}

var errHexTag = malformed("its tag is not %d to %d bytes in hexadecimal", minTag, maxLongTag)

// firstBlock cuts a tag of PBKDF2 to its first block. The blocks are independent (RFC
// 8018 section 5.2), and 32 bytes distinguish passwords, so a longer tag costs no more.
func firstBlock(tag []byte) []byte { return tag[:min(len(tag), 32)] }
