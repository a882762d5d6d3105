package apikey_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkAuthenticate is what a key costs before guard renders an answer.
func BenchmarkAuthenticate(b *testing.B) {
	r := open(b, apikey.Config{Hooks: guard.Hooks{Observe: nil}})
	key, _ := r.issue(nil)
	for _, c := range []struct{ name, key string }{
		{"good, from the cache", key},
		{"junk with a bad checksum", other(key, 30)},
		{"junk of another length", "not a key"},
		{"junk of 64 kB", string(make([]byte, 64<<10))},
		{"well-formed and refused a moment ago", wrongSecret(b, key)},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := request("/", with(c.key))
			q.Header["X-Api-Key"] = []string{c.key}
			r.keys.Authenticate(q)
			before := r.store.asked.Load()
			b.ReportAllocs()
			for b.Loop() {
				r.keys.Authenticate(q)
			}
			b.ReportMetric(float64(r.store.asked.Load()-before)/float64(b.N), "store-calls/op")
		})
	}
}

func BenchmarkParse(b *testing.B) {
	key, _ := open(b, apikey.Config{}).issue(nil)
	for _, c := range []struct{ name, key string }{
		{"good", key}, {"junk", other(key, 30)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				acme.Parse(c.key)
			}
		})
	}
}

func BenchmarkHandler(b *testing.B) {
	r := open(b, apikey.Config{})
	key, _ := r.issue(nil)
	h := r.keys.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.Run("good, from the cache", func(b *testing.B) {
		q, w := request("/", with(key)), &sink{make(http.Header)}
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(w, q)
		}
	})
	b.Run("good, in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			q, w := request("/", with(key)), &sink{make(http.Header)}
			for pb.Next() {
				h.ServeHTTP(w, q)
			}
		})
	})
	b.Run("good, not remembered", func(b *testing.B) {
		h := open(b, apikey.Config{CacheTTL: -1}).on(r).keys.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		q, w := request("/", with(key)), &sink{make(http.Header)}
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(w, q)
		}
	})
}

// on returns an authenticator like r's on the store of another room.
func (r *room) on(o *room) *room {
	record, err := o.store.KeysByOwner(context.Background(), "ada")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, one := range record {
		if err := r.store.Memory.WriteKeys(context.Background(), nil, &one); err != nil {
			r.t.Fatal(err)
		}
	}
	return r
}

func BenchmarkRecord(b *testing.B) {
	r := open(b, apikey.Config{})
	key, _ := r.issue(nil)
	q := request("/", with(key))
	p := must(r.keys.Authenticate(q))
	ctx := identity.NewContext(q.Context(), p)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.keys.Record(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefusal has the classes of refusal side by side, from the header to
// the verdict with one question to the store: they must take the same time.
func BenchmarkRefusal(b *testing.B) {
	r := open(b, apikey.Config{CacheTTL: -1, MissTTL: -1})
	good, _ := r.issue(nil)
	revoked, _ := r.issue(func(r *apikey.Record) { r.RevokedAt = r.CreatedAt })
	expired, _ := r.issue(func(r *apikey.Record) { r.ExpiresAt = r.CreatedAt })
	unknown, _ := open(b, apikey.Config{}).issue(nil)
	for _, c := range []struct{ name, key string }{
		{"unknown", unknown}, {"wrong secret", wrongSecret(b, good)}, {"revoked", revoked}, {"expired", expired},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := request("/", with(c.key))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.keys.Authenticate(q); err == nil {
					b.Fatal("it is good")
				}
			}
		})
	}
}
