package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/ratelimit"
)

// recorder is a Store that admits all and remembers the keys.
type recorder struct{ keys []ratelimit.Key }

func (s *recorder) Take(_ context.Context, charges []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	s.keys = s.keys[:0]
	for _, c := range charges {
		s.keys = append(s.keys, c.Key)
	}
	return make([]ratelimit.State, len(charges)), ratelimit.NewReceipt(0, charges), nil
}

func (s *recorder) Refund(context.Context, ratelimit.Receipt) error { return nil }

// keysOf returns what a request is counted for.
func keysOf(t testing.TB, key ratelimit.KeyFunc, requests ...*http.Request) [][]ratelimit.Key {
	store := new(recorder)
	l := newLimiterBy(t, key, ratelimit.Config{Store: store, Name: "n", Secret: guard.NewSecret(make([]byte, 16)), Local: &ratelimit.Memory{Bytes: 1}},
		ratelimit.Limit{Quota: 1_000_000_000, Window: time.Second})
	var all [][]ratelimit.Key
	for _, r := range requests {
		if err := l.Check(r); err != nil {
			t.Fatal(err)
		}
		all = append(all, append([]ratelimit.Key(nil), store.keys...))
	}
	return all
}

// how an address may be written.
func TestSpellingsOfOneAddressCountTogether(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"1.2.3.4:1", "1.2.3.4:65535", true},
		{"1.2.3.4:1", "1.2.3.4", true},
		{"1.2.3.4:1", "[::ffff:1.2.3.4]:1", true},
		{"1.2.3.4:1", "[::ffff:102:304]:1", true},
		{"1.2.3.4:1", "::ffff:1.2.3.4", true},
		{"1.2.3.4:1", "1.2.3.5:1", false},
		{"[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.5]:1", false},
		{"[2001:db8::1.2.3.4]:1", "1.2.3.4:1", false},
		{"[2001:db8::1.2.3.4]:1", "[2001:db8::102:304]:9", true},
		{"[2001:db8::1]:1", "2001:DB8:0:0:ffff::1", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::1%eth1]:1", true},
		{"[fe80::1%eth0]:1", "[fe80::1]:1", true},
		// None of these has an address, and all are one bucket.
		{"", "@", true},
		{"@", "/run/app.sock", true},
		{"@", "unknown:1", true},
		{"@", "1.2.3.4.5:1", true},
		{"@", "01.2.3.4:1", true},
		{"@", "[::1", true},
		{"@", "[::1]x", true},
		{"@", strings.Repeat("1", 10_000), true},
		{"@", "1.2.3.4:1", false},
		{"@", "0.0.0.0:0", false},
		{"@", "[::]:0", false},
	} {
		keys := keysOf(t, ratelimit.ByIP, request(tt.a), request(tt.b))
		if same := keys[0][0] == keys[1][0]; same != tt.same {
			t.Errorf("%.40q and %.40q count together: %t, want %t", tt.a, tt.b, same, tt.same)
		}
	}
}

func TestRequestsWithoutAnAddressShareAQuotaAndAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log audit
		h := newLimiter(t, ratelimit.Config{Hooks: log.hooks()}, hourly(2)).Handler(new(counting))
		if got := statuses(h, 4, func(i int) *http.Request { return request([]string{"@", "", "x", "/a"}[i]) }); got != "200 200 429 429" {
			t.Error(got)
		}
		if n := log.count(ratelimit.EventSharedQuota); n != 1 {
			t.Errorf("%d events within a minute, want 1", n)
		}
		time.Sleep(time.Minute + time.Second)
		send(h, request("@"))
		if n := log.count(ratelimit.EventSharedQuota); n != 2 {
			t.Errorf("%d events, want another a minute later", n)
		}
		if w := send(h, request("192.0.2.1:1")); w.Code != 200 {
			t.Errorf("who has an address: %d", w.Code)
		}
	})
}

func TestIPv6CountsByNetwork(t *testing.T) {
	h := newLimiter(t, ratelimit.Config{}, hourly(5)).Handler(new(counting))
	// 2^16 hosts of one /64 have one quota.
	ok := 0
	for i := range 1 << 16 {
		if send(h, request(fmt.Sprintf("[2001:db8:1::%x]:1", i))).Code == 200 {
			ok++
		}
	}
	if ok != 5 {
		t.Errorf("%d requests of one /64 were admitted, want 5", ok)
	}
	// 2^12 networks of one /48 have sixteen.
	h = newLimiter(t, ratelimit.Config{}, hourly(5)).Handler(new(counting))
	ok = 0
	var last string
	for i := range 1 << 12 {
		w := send(h, request(fmt.Sprintf("[2001:db8:1:%x::1]:1", i)))
		if w.Code == 200 {
			ok++
		}
		last = w.Header().Get("RateLimit")
	}
	if ok != 5*16 {
		t.Errorf("%d requests of one /48 were admitted, want 80", ok)
	}
	// How long it takes until something remains depends on how long this took.
	if !strings.HasPrefix(last, `"hour";r=0;t=3`) {
		t.Errorf("RateLimit is %s, want that nothing remains", last)
	}
	if w := send(h, request("[2001:db8:2::1]:1")); w.Code != 200 {
		t.Errorf("another /48: %d", w.Code)
	}
}

// FuzzByIP: two addresses count together exactly if they are one address of
// IPv4 or share the first 64 bits, and RemoteAddr of whatever form never panics.
func FuzzByIP(f *testing.F) {
	for _, s := range []string{"1.2.3.4:1", "[::ffff:1.2.3.4]:1", "2001:db8::1", "[fe80::1%e]:1", "@", "", "[", "[]:", ":"} {
		f.Add(s, "1.2.3.4")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		keys := keysOf(t, ratelimit.ByIP, request(a), request(b))
		of := func(s string) string {
			host := s
			if ap, err := netip.ParseAddrPort(s); err == nil {
				host = ap.Addr().String()
			} else if strings.HasPrefix(s, "[") || strings.Count(s, ":") == 1 {
				return "?" // ByIP is more lenient about the port
			}
			addr, err := netip.ParseAddr(host)
			if err != nil {
				return "none"
			}
			if addr = addr.Unmap().WithZone(""); addr.Is6() {
				p, _ := addr.Prefix(64)
				return p.String()
			}
			return addr.String()
		}
		if x, y := of(a), of(b); x != "?" && y != "?" && (x == y) != (keys[0][0] == keys[1][0]) {
			t.Errorf("%q is %s and %q is %s, one key: %t", a, x, b, y, keys[0][0] == keys[1][0])
		}
	})
}

// fields that hold separators do not make two keys alike.
func TestKeysDoNotCollide(t *testing.T) {
	by := func(fields ...string) ratelimit.KeyFunc {
		return func(_ *http.Request, k *ratelimit.KeyBuilder) error {
			for _, f := range fields {
				k.Add(f)
			}
			return nil
		}
	}
	addr := func(s string) ratelimit.KeyFunc {
		return func(_ *http.Request, k *ratelimit.KeyBuilder) error { k.AddAddr(netip.MustParseAddr(s)); return nil }
	}
	keys := map[string]ratelimit.KeyFunc{
		"a,b":             by("a", "b"),
		"ab":              by("ab"),
		"ab,":             by("ab", ""),
		",ab":             by("", "ab"),
		"a:b":             by("a:b"),
		"a\\nb":           by("a\nb"),
		"a\\0b":           by("a\x00b"),
		"a,\\0b":          by("a", "\x00b"),
		"\\1a\\1b":        by("\x01a\x01b"),
		"long":            by(strings.Repeat("x", 300)),
		"longer":          by(strings.Repeat("x", 301)),
		"bytes of v4":     by("\x01\x02\x03\x05"),
		"none":            by(),
		"empty":           by(""),
		"join a b":        ratelimit.Join(by("a"), by("b")),
		"join a,b":        ratelimit.Join(by("a", "b")),
		"join a,b none":   ratelimit.Join(by("a", "b"), by()),
		"join none a,b":   ratelimit.Join(by(), by("a", "b")),
		"join ab":         ratelimit.Join(by("ab")),
		"join (a b)":      ratelimit.Join(ratelimit.Join(by("a"), by("b"))),
		"v4":              addr("1.2.3.4"),
		"v6":              addr("2001:db8::1"),
		"join v6 a":       ratelimit.Join(addr("2001:db8::1"), by("a")),
		"join a v6":       ratelimit.Join(by("a"), addr("2001:db8::1")),
		"v6 and its text": by("2001:db8::1"),
	}
	seen := map[ratelimit.Key]string{}
	for name, key := range keys {
		for _, k := range keysOf(t, key, request(""))[0] {
			if other, ok := seen[k]; ok {
				t.Errorf("%s and %s have one key", name, other)
			}
			seen[k] = name
		}
	}
}

// FuzzJoin: two lists of lists of fields have one key exactly if they are equal.
func FuzzJoin(f *testing.F) {
	f.Add("a|b;c", "a;b|c")
	f.Add("a|", "a")
	f.Add(";", "|")
	f.Fuzz(func(t *testing.T, a, b string) {
		of := func(s string) ratelimit.KeyFunc {
			var parts []ratelimit.KeyFunc
			for part := range strings.SplitSeq(s, ";") {
				parts = append(parts, func(_ *http.Request, k *ratelimit.KeyBuilder) error {
					for field := range strings.SplitSeq(part, "|") {
						k.Add(field)
					}
					return nil
				})
			}
			return ratelimit.Join(parts...)
		}
		x, y := keysOf(t, of(a), request(""))[0][0], keysOf(t, of(b), request(""))[0][0]
		if (a == b) != (x == y) {
			t.Errorf("%q and %q: one key is %t", a, b, x == y)
		}
	})
}

func TestKeysDependOnSecretAndName(t *testing.T) {
	store := new(recorder)
	seen := map[ratelimit.Key]bool{}
	for _, c := range []ratelimit.Config{
		{Store: store, Name: "a", Secret: guard.NewSecret([]byte("secret number one"))},
		{Store: store, Name: "b", Secret: guard.NewSecret([]byte("secret number one"))},
		{Store: store, Name: "a", Secret: guard.NewSecret([]byte("secret number two"))},
	} {
		if err := newLimiter(t, c, hourly(1)).Check(request("192.0.2.1:1")); err != nil {
			t.Fatal(err)
		}
		if seen[store.keys[0]] {
			t.Error("two limiters have one key")
		}
		seen[store.keys[0]] = true
	}
}

func TestByRoute(t *testing.T) {
	var log audit
	l := newLimiterBy(t, ratelimit.Join(ratelimit.ByRoute, ratelimit.ByIP), ratelimit.Config{Hooks: log.hooks()}, hourly(1))
	mux := http.NewServeMux()
	mux.Handle("GET /items/{id}", l.Handler(new(counting)))
	mux.Handle("GET /other", l.Handler(new(counting)))
	to := func(path string) int {
		r := request("192.0.2.1:1")
		r.URL.Path = path
		return send(mux, r).Code
	}
	for _, step := range []struct {
		path string
		want int
	}{{"/items/1", 200}, {"/items/2", 429}, {"/items/%32", 429}, {"/other", 200}, {"/other", 429}} {
		if got := to(step.path); got != step.want {
			t.Errorf("%s: %d, want %d", step.path, got, step.want)
		}
	}
	if log.count(ratelimit.EventSharedQuota) != 0 {
		t.Error("behind the mux there is a route")
	}
	send(l.Handler(new(counting)), request("192.0.2.1:1"))
	if log.count(ratelimit.EventSharedQuota) != 1 {
		t.Error("in front of the mux there is none, and nobody was told")
	}
}

func TestInsecureByHeader(t *testing.T) {
	h := newLimiterBy(t, ratelimit.InsecureByHeader("x-client"), ratelimit.Config{}, hourly(1)).Handler(new(counting))
	with := func(v ...string) func(int) *http.Request {
		return func(int) *http.Request { r := request("192.0.2.1:1"); r.Header["X-Client"] = v; return r }
	}
	if got := statuses(h, 2, with("a")) + " " + statuses(h, 1, with("b", "a")) + " " + statuses(h, 2, with()); got != "200 429 200 200 429" {
		t.Error(got)
	}
}

// who does not know the key cannot choose addresses that share a place:
// the same million of them are placed differently by two limiters, and evenly.
func TestClientsCannotChooseWhereTheirKeysArePlaced(t *testing.T) {
	store := new(recorder)
	sets := func() [256]int {
		var n [256]int
		l := newLimiter(t, ratelimit.Config{Store: store, Name: "n", Secret: guard.NewSecret(fmt.Appendf(nil, "%020d", rand.Uint64()))}, hourly(5))
		for i := range 25_600 {
			l.Check(request(fmt.Sprintf("10.0.%d.%d:1", i>>8, i&255)))
			n[store.keys[0][7]]++
		}
		return n
	}
	a, b := sets(), sets()
	if a == b {
		t.Error("two limiters with different secrets place keys alike")
	}
	chi := 0.0
	for _, n := range a {
		chi += float64((n-100)*(n-100)) / 100
	}
	// 255 degrees of freedom, σ = 22.6: nine of them.
	if chi > 255+9*22.6 {
		t.Errorf("keys are not spread evenly: chi² = %.0f", chi)
	}
}

// TestReserveAddr: where there is no request, an address counts as it does in
// one.
func TestReserveAddr(t *testing.T) {
	parse := netip.MustParseAddr
	reserve := func(l *ratelimit.Limiter, n int, addr func(i int) netip.Addr, fields ...string) (ok int) {
		for i := range n {
			if _, err := l.ReserveAddr(t.Context(), 1, addr(i), fields...); err == nil {
				ok++
			}
		}
		return ok
	}
	is := func(s string) func(int) netip.Addr { return func(int) netip.Addr { return parse(s) } }
	for _, tt := range []struct {
		name string
		addr func(i int) netip.Addr
		want int
	}{
		{"IPv4", is("192.0.2.1"), 5},
		{"IPv4 in the form of IPv6 is the same", func(i int) netip.Addr { return parse([]string{"192.0.2.1", "::ffff:192.0.2.1"}[i%2]) }, 5},
		{"IPv4 neighbours", func(i int) netip.Addr { return parse(fmt.Sprintf("192.0.2.%d", i)) }, 100},
		{"all of a /64", func(i int) netip.Addr { return parse(fmt.Sprintf("2001:db8:1:2::%x", i)) }, 5},
		{"with zones", func(i int) netip.Addr { return parse(fmt.Sprintf("fe80::1%%eth%d", i)) }, 5},
		{"all of a /48", func(i int) netip.Addr { return parse(fmt.Sprintf("2001:db8:1:%x::1", i)) }, 20},
		{"no address", func(int) netip.Addr { return netip.Addr{} }, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, fields := range [][]string{nil, {"message"}} {
				l := newLimiter(t, ratelimit.Config{NetworkFactor: 4}, hourly(5))
				if got := reserve(l, 100, tt.addr, fields...); got != tt.want {
					t.Errorf("with %q %d of 100, want %d", fields, got, tt.want)
				}
			}
		})
	}
	l := newLimiter(t, ratelimit.Config{}, hourly(5))
	if got := reserve(l, 3, is("192.0.2.1")); got != 3 {
		t.Fatal(got)
	}
	if got := statuses(l.Handler(new(counting)), 3, from("192.0.2.1:1")); got != "200 200 429" {
		t.Errorf("with ByIP: %s, want that they count together", got)
	}
	if got := reserve(l, 9, is("192.0.2.1"), "message"); got != 5 {
		t.Errorf("with a field %d, want a quota of its own", got)
	}
	if got := reserve(l, 9, is("192.0.2.1"), "other"); got != 5 {
		t.Errorf("with another field %d, want a quota of its own", got)
	}
}

// A call is one call of a KeyBuilder's method: of AddAddr, or of Add if isField is
// set.
type call struct {
	isField bool
	field   string
	addr    netip.Addr
}

// calls reads calls from bytes, so that a fuzzer can make them.
func calls(b []byte) (all []call) {
	for len(b) > 0 {
		kind, size := b[0]%4, 0
		b = b[1:]
		switch kind {
		case 0:
			if len(b) == 0 {
				return append(all, call{isField: true})
			}
			size, b = int(b[0]), b[1:]
		case 1:
			size = 4
		case 2:
			size = 16
		}
		size = min(size, len(b))
		c := call{isField: kind == 0, field: string(b[:size])}
		if kind != 0 {
			c.addr, _ = netip.AddrFromSlice(b[:size])
		}
		all, b = append(all, c), b[size:]
	}
	return all
}

// counted returns what calls count for: for their key, and for the key of their
// network, which is empty if they have no address of IPv6.
func counted(all []call) (key, network string) {
	var forKey, forNetwork []string
	hasNetwork := false
	for _, c := range all {
		addr := c.addr.Unmap().WithZone("")
		word, wide := "", ""
		switch {
		case c.isField:
			word = fmt.Sprintf("field %q", c.field)
		case addr.Is6():
			p64, _ := addr.Prefix(64)
			word = p64.String()
			if !hasNetwork {
				p48, _ := addr.Prefix(48)
				wide, hasNetwork = p48.String(), true
			}
		default:
			word = addr.String()
		}
		forKey = append(forKey, word)
		if wide == "" {
			wide = word
		}
		forNetwork = append(forNetwork, wide)
	}
	if !hasNetwork {
		return strings.Join(forKey, ", "), ""
	}
	return strings.Join(forKey, ", "), strings.Join(forNetwork, ", ")
}

// Two sequences of calls have one key exactly if they count for the same.
func FuzzKeyBuilder(f *testing.F) {
	v4, v6 := "\x01\x31\x32\x33\x34", "\x02\x20\x01\x0d\xb8\x00\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03"
	f.Add([]byte("\x00\x041234"), []byte(v4))
	f.Add([]byte("\x00\x0812345678"), []byte("\x0212345678\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x06123456"), []byte("\x02123456\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00"), []byte("\x03"))
	// A length that is the first byte of an address, and fields behind a /48 that
	// look like the rest of a /64.
	f.Add([]byte("\x00\x03abc"), []byte("\x01\x03abc"))
	f.Add([]byte("\x00\x07abcdefg"), []byte("\x02\x07abcdefg\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x05abcde"), []byte("\x02\x05abcde\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	for tag := range byte(16) {
		f.Add([]byte("\x02\x20\x01\x0d\xb8\x00\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00"),
			append([]byte("\x02\x20\x01\x0d\xb8\x00\x01"), tag, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	}
	f.Add([]byte(v4+v6), []byte(v6+v4))
	f.Add([]byte(v6+v6), []byte(v6))
	f.Add([]byte("\x00\x02ab\x00\x01c"), []byte("\x00\x01a\x00\x02bc"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		by := func(all []call) ratelimit.KeyFunc {
			return func(_ *http.Request, k *ratelimit.KeyBuilder) error {
				for _, c := range all {
					if c.isField {
						k.Add(c.field)
					} else {
						k.AddAddr(c.addr)
					}
				}
				return nil
			}
		}
		x, y := calls(a), calls(b)
		xKey, xNetwork := counted(x)
		yKey, yNetwork := counted(y)
		keys := [2][]ratelimit.Key{keysOf(t, by(x), request(""))[0], keysOf(t, by(y), request(""))[0]}
		if (len(keys[0]) == 2) != (xNetwork != "") || (len(keys[1]) == 2) != (yNetwork != "") {
			t.Fatalf("%d and %d keys for %s and %s", len(keys[0]), len(keys[1]), xKey, yKey)
		}
		if (keys[0][0] == keys[1][0]) != (xKey == yKey) {
			t.Errorf("%s and %s: one key is %t", xKey, yKey, keys[0][0] == keys[1][0])
		}
		if xNetwork != "" && yNetwork != "" && (keys[0][1] == keys[1][1]) != (xNetwork == yNetwork) {
			t.Errorf("%s and %s: one network is %t", xNetwork, yNetwork, keys[0][1] == keys[1][1])
		}
		for _, network := range append(keys[0][1:], keys[1][1:]...) {
			if network == keys[0][0] || network == keys[1][0] {
				t.Errorf("%s and %s: a network has the key of an address", xKey, yKey)
			}
		}
	})
}

// A limiter and a throttle of the same name, and the keys of a throttle, never
// share a quota, whatever the login is.
func TestKeysOfSignInAreTyped(t *testing.T) {
	store := &collector{seen: map[ratelimit.Key]bool{}}
	secret := guard.NewSecret(make([]byte, 16))
	for _, name := range []string{"n", "sign-in n"} {
		if err := newLimiter(t, ratelimit.Config{Store: store, Name: name, Secret: secret}, hourly(1)).Check(request("49.50.51.52:1")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := ratelimit.NewSignIn(ratelimit.SignInConfig{Store: store, Name: "n", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"1234", "12345678", ""} {
		for _, addr := range []string{"49.50.51.52", "[3132:3334:3536:3738::1]:1", "@"} {
			settle, _, err := s.Reserve(t.Context(), login, addr)
			if err != nil {
				t.Fatal(err)
			}
			settle(guard.Undecided)
		}
	}
	// Two limiters; 9 pairs, 3 addresses, 1 network, 3 logins and all of them.
	if got, want := len(store.seen), 2+9+3+1+3+1; got != want {
		t.Errorf("%d keys, want %d", got, want)
	}
}

// collector is a recorder of all keys there were.
type collector struct {
	recorder
	seen map[ratelimit.Key]bool
}

func (s *collector) Take(ctx context.Context, charges []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	for _, c := range charges {
		s.seen[c.Key] = true
	}
	return s.recorder.Take(ctx, charges)
}

// A person is one whatever credential they present; callers of issuers that are
// not named are not that person.
func TestByPersonCountsAcrossKindsOfCredentials(t *testing.T) {
	const own, keys = "https://api.example.com", "apikey:acme_live"
	as := func(issuer, tenant, subject string) *http.Request {
		r := request("192.0.2.1:1")
		return r.WithContext(identity.NewContext(r.Context(), &identity.Principal{Issuer: issuer, Tenant: tenant, Subject: subject}))
	}
	of := func(r *http.Request) ratelimit.Key {
		return keysOf(t, ratelimit.ByPerson(own, keys), r)[0][0]
	}
	alice := of(as(own, "a", "1"))
	if alice != of(as(keys, "a", "1")) {
		t.Error("a session and an API key of one person have two quotas")
	}
	for name, r := range map[string]*http.Request{
		"another subject":  as(own, "a", "2"),
		"another tenant":   as(own, "b", "1"),
		"a foreign issuer": as("https://other.example", "a", "1"),
		"no issuer":        as("", "a", "1"),
		"a split of names": as(own, "", "a1"),
	} {
		if of(r) == alice {
			t.Errorf("%s has the quota of alice", name)
		}
	}
	if of(as("https://other.example", "a", "1")) == of(as("https://third.example", "a", "1")) {
		t.Error("two foreign issuers have one quota")
	}
	l := newLimiterBy(t, ratelimit.ByPerson(own), ratelimit.Config{}, hourly(1))
	if d, ok := errors.AsType[*guard.Denial](l.Check(request("192.0.2.1:1"))); !ok || d.Status != 401 {
		t.Errorf("an anonymous request: %v, want 401", d)
	}
	defer func() {
		if recover() == nil {
			t.Error("ByPerson without issuers does not panic")
		}
	}()
	ratelimit.ByPerson()
}

// The method is part of a route where the pattern has none, and no client can get
// more quotas by inventing methods.
func TestByRouteHasTheMethod(t *testing.T) {
	with := func(method, pattern, path string) *http.Request {
		r := request("192.0.2.1:1")
		r.Method, r.Pattern, r.URL.Path = method, pattern, path
		return r
	}
	of := func(r *http.Request) ratelimit.Key { return keysOf(t, ratelimit.ByRoute, r)[0][0] }
	for _, tt := range []struct {
		name string
		a, b *http.Request
		same bool
	}{
		{"chi, GET and POST", with("GET", "/items/{id}", "/items/1"), with("POST", "/items/{id}", "/items/1"), false},
		{"chi, GET and HEAD", with("GET", "/items/{id}", "/items/1"), with("HEAD", "/items/{id}", "/items/1"), true},
		{"chi and ServeMux", with("GET", "/items/{id}", "/items/1"), with("GET", "GET /items/{id}", "/items/1"), true},
		{"ServeMux, GET and HEAD", with("GET", "GET /items/{id}", "/items/1"), with("HEAD", "GET /items/{id}", "/items/2"), true},
		{"ServeMux, two methods", with("GET", "GET /items/{id}", "/items/1"), with("POST", "POST /items/{id}", "/items/1"), false},
		{"a method with two spaces", with("GET", "GET  /items", "/items"), with("GET", "GET /items", "/items"), true},
		{"invented methods", with("BREW", "/items", "/items"), with("WHEN", "/items", "/items"), true},
		{"a method in small letters", with("get", "/items", "/items"), with("BREW", "/items", "/items"), true},
		{"an invented method and GET", with("BREW", "/items", "/items"), with("GET", "/items", "/items"), false},
		{"no route", with("GET", "", "/a"), with("POST", "", "/b"), true},
		{"two paths", with("GET", "/a", "/a"), with("GET", "/b", "/b"), false},
	} {
		if same := of(tt.a) == of(tt.b); same != tt.same {
			t.Errorf("%s: one quota is %t, want %t", tt.name, same, tt.same)
		}
	}
	for _, tt := range []struct {
		pattern, path string
		want          int
	}{
		{"/sub/*", "/sub/items", 1},
		{"/*", "/", 1},
		{"GET /files/{path...}", "/files/a", 1},
		{"/api/", "/api/items", 1},
		{"/api/", "/api/items/", 1},
		{"api.example.com/", "/a/", 1},
		{"GET /limited/", "/limited/", 0},
		{"GET /limited/{$}", "/limited/", 0},
		{"/items/{id}", "/items/1", 0},
		{"/items/{id}/", "/items/1/", 0},
	} {
		var log audit
		l := newLimiterBy(t, ratelimit.ByRoute, ratelimit.Config{Hooks: log.hooks()}, hourly(9))
		for range 2 {
			if err := l.Check(with("GET", tt.pattern, tt.path)); err != nil {
				t.Fatal(err)
			}
		}
		if got := log.count(ratelimit.EventSharedQuota); got != tt.want {
			t.Errorf("%s for %s: %d events, want %d", tt.pattern, tt.path, got, tt.want)
		}
	}
}
