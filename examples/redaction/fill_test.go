package redaction

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// A leaf is a place of a value that was filled with known content: a string, a
// run of bytes, or a number of 64 bits. Its content has its index in it.
type leaf struct {
	name  string // the innermost named type and field, "auth.User.PasswordHash"
	typ   string // the named type, "ratelimit.Key", if it has one of ours
	bytes bool   // or what a func returns: secret unless listed
}

// prefix begins the content of every leaf but numbers; six digits follow.
const prefix = "gLeaf!"

const firstNumber = 7443210000000000000

// A filler fills values. Leaves of one name share their content.
type filler struct {
	leaves []leaf
	index  map[leaf]int
	chain  []reflect.Type // the structs that are being filled
}

func (f *filler) leaf(name string, t reflect.Type, bytes bool) int {
	key := leaf{name: name, bytes: bytes}
	if t.Name() != "" && strings.HasPrefix(t.PkgPath(), module) {
		key.typ = short(t)
	}
	i, ok := f.index[key]
	if !ok {
		i = len(f.leaves)
		f.index[key] = i
		f.leaves = append(f.leaves, key)
	}
	return i
}

func (f *filler) content(name string, t reflect.Type, bytes bool) string {
	return fmt.Sprintf("%s%06d", prefix, f.leaf(name, t, bytes))
}

// deepest is how many structs within one another are filled.
const deepest = 9

// fill fills v, which is addressable, and all that it refers to.
func (f *filler) fill(v reflect.Value, name string, opaque bool) {
	if !v.CanSet() {
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	t := v.Type()
	if t == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Now()))
		return
	}
	if t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "Pointer[") && t.PkgPath() == "sync/atomic" {
		store := v.Addr().MethodByName("Store")
		target := reflect.New(store.Type().In(0).Elem())
		f.fill(target.Elem(), name, opaque)
		store.Call([]reflect.Value{target})
		return
	}
	if t.Kind() == reflect.Struct && foreign(t) {
		return
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString(f.content(name, t, opaque))
	case reflect.Uint64:
		// Most numbers are counts; keys of SipHash and the like have such names.
		v.SetUint(firstNumber + uint64(f.leaf(name, t, opaque)))
	case reflect.Struct:
		if len(f.chain) >= deepest || count(f.chain, t) > 1 {
			return
		}
		f.chain = append(f.chain, t)
		for i := range t.NumField() {
			if t.Field(i).Name == "_" {
				continue // padding
			}
			within := name
			if t.Name() != "" {
				within = short(t)
			}
			f.fill(v.Field(i), within+"."+t.Field(i).Name, opaque)
		}
		f.chain = f.chain[:len(f.chain)-1]
	case reflect.Pointer:
		if foreign(t.Elem()) && t.Elem().Kind() == reflect.Struct {
			return
		}
		target := reflect.New(t.Elem())
		f.fill(target.Elem(), name, opaque)
		v.Set(target)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(f.content(name, t, true)))
			return
		}
		v.Set(reflect.MakeSlice(t, 2, 2))
		f.fill(v.Index(0), name+"[]", opaque)
		f.fill(v.Index(1), name+"[]", opaque)
	case reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			if t.Len() < len(prefix)+6 {
				return // an ID, or a part of an address
			}
			content := f.content(name, t, true)
			for i := range min(t.Len(), len(content)) {
				v.Index(i).SetUint(uint64(content[i]))
			}
			return
		}
		for i := range min(t.Len(), 2) {
			f.fill(v.Index(i), name+"[]", opaque)
		}
	case reflect.Map:
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		f.fill(key, name+"[key]", opaque)
		f.fill(value, name+"[]", opaque)
		v.Set(reflect.MakeMap(t))
		if key.Comparable() {
			v.SetMapIndex(key, value)
		}
	case reflect.Func:
		if foreign(t) && t.Name() != "" {
			return
		}
		results := make([]reflect.Value, t.NumOut())
		for i := range results {
			results[i] = reflect.New(t.Out(i)).Elem()
			f.fill(results[i], fmt.Sprintf("%s()%d", name, i), true)
		}
		v.Set(reflect.MakeFunc(t, func([]reflect.Value) []reflect.Value { return results }))
	case reflect.Interface:
		f.fillInterface(v, name, opaque)
	}
}

// fillInterface puts into v one of our own types that implements it, and a
// private key or a cipher where that is what it takes.
func (f *filler) fillInterface(v reflect.Value, name string, opaque bool) {
	t := v.Type()
	switch t {
	case reflect.TypeFor[crypto.Signer]():
		seed := strings.Repeat(f.content(name, t, true), 3)[:ed25519.SeedSize]
		v.Set(reflect.ValueOf(ed25519.NewKeyFromSeed([]byte(seed))))
	case reflect.TypeFor[cipher.AEAD]():
		block, _ := aes.NewCipher([]byte(strings.Repeat(f.content(name, t, true), 3)[:32]))
		aead, _ := cipher.NewGCMWithRandomNonce(block)
		v.Set(reflect.ValueOf(aead))
	case reflect.TypeFor[error](), reflect.TypeFor[fmt.Stringer]():
	default:
		if t.NumMethod() == 0 || len(f.chain) >= deepest-3 {
			return
		}
		for _, own := range exported {
			if p := reflect.PointerTo(own); own.Kind() == reflect.Struct && p.Implements(t) && count(f.chain, own) == 0 {
				target := reflect.New(own)
				f.fill(target.Elem(), name, opaque)
				v.Set(target)
				return
			}
		}
	}
}

func count(chain []reflect.Type, t reflect.Type) int {
	n := 0
	for _, one := range chain {
		if one == t {
			n++
		}
	}
	return n
}

const module = "github.com/gatewright/gatewright/"

// foreign reports whether t is a type of another module.
func foreign(t reflect.Type) bool {
	return t.PkgPath() != "" && !strings.HasPrefix(t.PkgPath(), module)
}

// short returns the name of a type without the module's path.
func short(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	return strings.TrimPrefix(t.PkgPath(), module) + "." + name
}

// finder finds the leaves that a text shows, in any of these spellings.
type finder struct {
	filler *filler
	types  []string // named types that may be printed wherever they are
	forms  []form
}

type form struct {
	name  string
	find  *regexp.Regexp
	index func(groups []string) (int, bool)
}

func newFinder(f *filler, printed []string) *finder {
	out := &finder{filler: f}
	for _, name := range printed {
		if typ, ok := strings.CutPrefix(name, "type:"); ok {
			out.types = append(out.types, typ)
		}
	}
	add := func(name, pattern string, index func([]string) (int, bool)) {
		out.forms = append(out.forms, form{name, regexp.MustCompile(pattern), index})
	}
	add("text", regexp.QuoteMeta(strings.ToLower(prefix))+`(\d{6})`, func(g []string) (int, bool) { n, err := strconv.Atoi(g[1]); return n, err == nil })
	add("hex", hex.EncodeToString([]byte(prefix))+`((?:3\d){6})`, func(g []string) (int, bool) {
		b, err := hex.DecodeString(g[1])
		n, err2 := strconv.Atoi(string(b))
		return n, err == nil && err2 == nil
	})
	add("base64", regexp.QuoteMeta(base64.StdEncoding.EncodeToString([]byte(prefix)))+`([A-Za-z0-9+/_-]{8})`, func(g []string) (int, bool) {
		b, err := base64.StdEncoding.DecodeString(g[1])
		n, err2 := strconv.Atoi(string(b))
		return n, err == nil && err2 == nil
	})
	// Byte by byte, as fmt prints slices and arrays under each verb.
	for _, verb := range []string{"%d", "%#v", "%#x", "%#X", "%x", "%X", "%o", "%b", "%c", "%q", "%U", "%08b", "%03d"} {
		var parts []string
		for _, c := range []byte(prefix) {
			if verb == "%c" {
				c := rune(c)
				parts = append(parts, regexp.QuoteMeta(fmt.Sprintf(verb, c)))
				continue
			}
			parts = append(parts, regexp.QuoteMeta(fmt.Sprintf(verb, c)))
		}
		digits := map[string]string{}
		var one []string
		for c := byte('0'); c <= '9'; c++ {
			spelled := fmt.Sprintf(verb, c)
			digits[spelled] = string(c)
			one = append(one, regexp.QuoteMeta(spelled))
		}
		any := "(" + strings.Join(one, "|") + ")"
		sep := `[, ]+`
		pattern := strings.Join(parts, sep) + strings.Repeat(sep+any, 6)
		add("bytes under "+verb, pattern, func(g []string) (int, bool) {
			var text string
			for _, d := range g[1:] {
				text += digits[d]
			}
			n, err := strconv.Atoi(text)
			return n, err == nil
		})
	}
	for _, verb := range []string{"%d", "%x", "%X", "%#x", "%o", "%b"} {
		low, high := fmt.Sprintf(verb, uint64(firstNumber)), fmt.Sprintf(verb, uint64(firstNumber+9999))
		same := 0
		for same < len(low) && low[same] == high[same] {
			same++
		}
		base := map[string]int{"%d": 10, "%x": 16, "%X": 16, "%#x": 16, "%o": 8, "%b": 2}[verb]
		add("number under "+verb, regexp.QuoteMeta(low[:same])+fmt.Sprintf(`[0-9a-fA-F]{%d}`, len(low)-same), func(g []string) (int, bool) {
			n, err := strconv.ParseUint(strings.TrimPrefix(g[0], "0x"), base, 64)
			return int(n - firstNumber), err == nil && n >= firstNumber
		})
	}
	// The first round key of AES is the key itself, in words.
	word := uint32(prefix[0])<<24 | uint32(prefix[1])<<16 | uint32(prefix[2])<<8 | uint32(prefix[3])
	add("words", fmt.Sprintf(`\b(?:%d|0x%x|%d)\b`, word, word, word>>24|word>>8&0xff00|word<<8&0xff0000|word<<24), func([]string) (int, bool) { return -1, true })
	return out
}

// shown returns the names of the leaves that text shows.
func (f *finder) shown(text string) []string {
	var names []string
	lower := strings.ToLower(text) // which is faster than (?i)
	for _, form := range f.forms {
		in := text
		if form.name == "text" || form.name == "hex" {
			in = lower
		}
		for _, groups := range form.find.FindAllStringSubmatch(in, -1) {
			i, ok := form.index(groups)
			name := "something, as " + form.name
			if ok && i >= 0 && i < len(f.filler.leaves) {
				l := f.filler.leaves[i]
				if field := l.name[strings.LastIndex(l.name, ".")+1:]; !l.bytes && !secretName.MatchString(field) {
					continue // plain text, such as a name
				}
				name = l.name
				if slices.Contains(f.types, l.typ) {
					continue
				}
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// secretName matches the strings and numbers that must not be printed. Bytes and
// what a func returns must not be printed whatever their name.
var secretName = regexp.MustCompile(`(?i)secret|passw|hash|token$|plain|pepper$|nonce|code|recovery|bearer|key$|seed|salt|sealed|digest|private|^k[0-9]$|halves`)

// settable returns a field that can be set although it is unexported.
func settable(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}
