package apikey

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
)

// A Format is the spelling of an application's keys, one for each key:
//
//	acme_live_4kT9xQ2mWb7Z_<43 characters: 256 random bits><6 characters: CRC-32>
//
// The environment keeps test keys off the live service. The identifier may be
// logged. The checksum refuses junk without a query; an attacker can compute it.
type Format struct {
	prefix string
	heads  []head
}

// A head is what the keys of one environment begin with.
type head struct {
	text        string // "acme_live_"
	environment string
	crc         uint32 // the state of the checksum after text
}

// Widths of the parts of a key.
const (
	idWidth     = 12
	secretWidth = 43 // 62^43 is a little more than 2^256
	crcWidth    = 6  // 62^6 is more than 2^32

	afterHead = idWidth + len("_") + secretWidth + crcWidth
	maxName   = 16 // of a prefix or an environment
)

// NewFormat returns the Format of keys with the prefix and one of the environments,
// by default "live". A name is a lower-case letter and up to 15 lower-case letters
// and digits, and not "static".
func NewFormat(prefix string, environments ...string) (Format, error) {
	var errs []error
	switch {
	case !isName(prefix):
		errs = append(errs, fmt.Errorf("apikey: the prefix is %q; use a lower-case letter and up to %d more lower-case letters and digits", prefix, maxName-1))
	case prefix == staticPrefix:
		errs = append(errs, fmt.Errorf("apikey: the prefix is %q, which is reserved for NewStatic; use another", prefix))
	}
	if len(environments) == 0 {
		environments = []string{"live"}
	}
	f := Format{prefix: prefix}
	for i, environment := range environments {
		if !isName(environment) {
			errs = append(errs, fmt.Errorf("apikey: environment %d is %q; use a lower-case letter and up to %d more lower-case letters and digits", i, environment, maxName-1))
		}
		if slices.Contains(environments[:i], environment) {
			errs = append(errs, fmt.Errorf("apikey: environment %d is %q, which is there already; pass each once", i, environment))
		}
		text := prefix + "_" + environment + "_"
		f.heads = append(f.heads, head{text, environment, updateCRC(^uint32(0), text)})
	}
	if err := errors.Join(errs...); err != nil {
		return Format{}, err
	}
	return f, nil
}

// isName reports whether s may be a prefix or an environment.
func isName(s string) bool {
	if s == "" || len(s) > maxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// beginnings returns what the keys begin with: "acme_live_, acme_test_".
func (f Format) beginnings() string {
	var all []string
	for i := range f.heads {
		all = append(all, f.heads[i].text)
	}
	return strings.Join(all, ", ")
}

// names returns the names of the environments.
func (f Format) names() []string {
	var all []string
	for i := range f.heads {
		all = append(all, f.heads[i].environment)
	}
	return all
}

// Parse returns the public parts of a key, which need not exist, or an error that
// wraps [ErrMalformed].
func (f Format) Parse(key string) (id, environment string, err error) {
	for i := range f.heads {
		h := &f.heads[i]
		body, found := strings.CutPrefix(key, h.text)
		if !found {
			continue
		}
		if len(body) != afterHead {
			return "", "", errLength
		}
		if err := checkBody(body, h.crc); err != nil {
			return "", "", err
		}
		return body[:idWidth], h.environment, nil
	}
	return "", "", errHead
}

// owns reports whether text begins as the keys of the format do, whatever the
// environment: "acme_".
func (f Format) owns(text string) bool {
	rest, ok := strings.CutPrefix(text, f.prefix)
	return ok && f.prefix != "" && strings.HasPrefix(rest, "_")
}

// checkBody returns what is wrong with the spelling of body, which follows the
// head of a key. The checksum comes first: junk mostly ends there.
func checkBody(body string, crc uint32) error {
	const before = afterHead - crcWidth
	var given uint64
	for i := before; i < afterHead; i++ {
		d := digits[body[i]]
		if d == noDigit {
			return errSpelling
		}
		given = given*62 + uint64(d)
	}
	if given != uint64(^updateCRC(crc, body[:before])) {
		return errChecksum
	}
	if body[idWidth] != '_' {
		return errSpelling
	}
	for i := range before {
		if i != idWidth && digits[body[i]] == noDigit {
			return errSpelling
		}
	}
	// The digits stand in the order of their bytes, so numbers of one width
	// compare like strings.
	if body[idWidth+1:before] > maxSecret {
		return errSpelling
	}
	return nil
}

// Regexp returns an expression for secret scanners (RE2, PCRE and Go) that matches
// every key-shaped text in any surroundings.
func (f Format) Regexp() *regexp.Regexp {
	if len(f.heads) == 0 {
		return regexp.MustCompile(`[^\s\S]`) // matches nothing, as the format does
	}
	return regexp.MustCompile(fmt.Sprintf(`%s_(?:%s)_[0-9A-Za-z]{%d}_[0-9A-Za-z]{%d}`,
		f.prefix, strings.Join(f.names(), "|"), idWidth, secretWidth+crcWidth))
}

// generate returns a new key of the environment, which the format has, and its
// identifier.
func (f Format) generate(environment string) (key Secret, id string) {
	i := slices.IndexFunc(f.heads, func(h head) bool { return h.environment == environment })
	h := &f.heads[i]
	var random [32]byte
	_, _ = rand.Read(random[:]) // it does not fail: see crypto/rand
	id = newID()
	body := id + "_" + base62(random, secretWidth)
	var sum [32]byte
	crc := ^updateCRC(h.crc, body)
	sum[28], sum[29], sum[30], sum[31] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
	shown := h.text + id + "_" + redacted
	return newSecret(h.text+body+base62(sum, crcWidth), shown), id
}

// newID returns twelve random digits, each as likely as any other.
func newID() string {
	id := make([]byte, 0, idWidth)
	var random [2 * idWidth]byte
	for {
		_, _ = rand.Read(random[:])
		for _, b := range random {
			if b >= 4*62 { // 248 to 255 would make the first digits likelier
				continue
			}
			if id = append(id, alphabet[b%62]); len(id) == idWidth {
				return string(id)
			}
		}
	}
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// noDigit marks bytes that are no digit.
const noDigit = 0xff

// digits has the value of each byte.
var digits = func() (values [256]byte) {
	for i := range values {
		values[i] = noDigit
	}
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	return values
}()

// updateCRC returns the state of the CRC-32 (IEEE) after s. The first state is ^0,
// and the checksum is the complement of the last one. [crc32.Update] takes a slice
// that escapes, so each junk key would cost an allocation.
func updateCRC(crc uint32, s string) uint32 {
	for i := range len(s) {
		crc = crc32.IEEETable[byte(crc)^s[i]] ^ crc>>8
	}
	return crc
}

// maxSecret is 2^256-1: greater numbers of its width are no secrets.
var maxSecret = func() string {
	var all [32]byte
	for i := range all {
		all[i] = 0xff
	}
	return base62(all, secretWidth)
}()

// base62 writes a big-endian number with width digits, the last ones if it has
// more.
func base62(number [32]byte, width int) string {
	out := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		rest := uint32(0)
		for j, b := range number {
			n := rest<<8 | uint32(b)
			number[j], rest = byte(n/62), n%62
		}
		out[i] = alphabet[rest]
	}
	return string(out)
}
