package identity_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/auth/identity"
)

func TestFromContext(t *testing.T) {
	alice := &identity.Principal{Issuer: "test", Subject: "alice"}
	bob := &identity.Principal{Issuer: "test", Subject: "bob"}
	background := context.Background()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		want *identity.Principal
	}{
		{"nobody was put in", background, nil},
		{"somebody was", identity.NewContext(background, alice), alice},
		{"another caller is ambiguous", identity.NewContext(identity.NewContext(background, alice), bob), nil},
		{"and stays so", identity.NewContext(identity.NewContext(identity.NewContext(background, alice), bob), bob), nil},
		{"a caller in place of another on purpose", identity.NewContext(identity.NewContext(identity.NewContext(background, alice), nil), bob), bob},
		{"the same caller again", identity.NewContext(identity.NewContext(background, new(*alice)), alice), alice},
		{"a nil principal is anonymous", identity.NewContext(background, nil), nil},
		{"a nil principal makes anonymous again", identity.NewContext(identity.NewContext(background, alice), nil), nil},
		{"a value of another type is nobody", context.WithValue(background, identity.ContextKey{}, "alice"), nil},
		{"a principal by value is nobody", context.WithValue(background, identity.ContextKey{}, *alice), nil},
		{"contexts derived from it have it too", context.WithoutCancel(identity.NewContext(background, alice)), alice},
		{"a context of the host's own", hostContext{background, alice}, alice},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := identity.FromContext(tt.ctx)
			if got != tt.want || ok != (tt.want != nil) {
				t.Errorf("got %v, %t, want %v, %t", got, ok, tt.want, tt.want != nil)
			}
		})
	}
}

func TestTwoCallersMakeARequestAmbiguous(t *testing.T) {
	alice := identity.Principal{Issuer: "test", Subject: "alice", Tenant: "acme", Session: "s", Credential: "c"}
	for _, tt := range []struct {
		name   string
		change func(*identity.Principal)
		want   bool
	}{
		{"equal", func(*identity.Principal) {}, false},
		{"with other rights", func(p *identity.Principal) { p.Roles, p.Scopes = identity.NewSet("r"), identity.NewSet("s") }, false},
		{"of another issuer", func(p *identity.Principal) { p.Issuer = "other" }, true},
		{"another subject", func(p *identity.Principal) { p.Subject = "other" }, true},
		{"in another tenant", func(p *identity.Principal) { p.Tenant = "other" }, true},
		{"in another session", func(p *identity.Principal) { p.Session = "other" }, true},
		{"with another credential", func(p *identity.Principal) { p.Credential = "other" }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			second := alice
			tt.change(&second)
			for _, pair := range [][2]*identity.Principal{{&alice, &second}, {&second, &alice}} {
				ctx := identity.NewContext(identity.NewContext(t.Context(), pair[0]), pair[1])
				if got := identity.Ambiguous(ctx); got != tt.want {
					t.Errorf("ambiguous: %v, want %v", got, tt.want)
				}
				if got := pair[0].Same(pair[1]); got == tt.want {
					t.Errorf("Same: %v, want %v", got, !tt.want)
				}
				if identity.Ambiguous(identity.NewContext(ctx, nil)) {
					t.Error("nil does not end it")
				}
			}
		})
	}
	if identity.Ambiguous(t.Context()) || identity.Ambiguous(identity.NewContext(t.Context(), &alice)) {
		t.Error("a request with one caller is ambiguous")
	}
	if (*identity.Principal)(nil).Same(&alice) || alice.Same(nil) {
		t.Error("a caller is the same as nobody")
	}
}

func TestNewContextLeavesTheOuterOneAlone(t *testing.T) {
	outer := identity.NewContext(t.Context(), &identity.Principal{Subject: "alice"})
	identity.NewContext(outer, &identity.Principal{Subject: "bob"})
	identity.NewContext(outer, nil)
	if p, ok := identity.FromContext(outer); !ok || p.Subject != "alice" {
		t.Errorf("the outer context has %v, want alice", p)
	}
}

// hostContext carries a principal among other things, as ContextKey is
// exported for.
type hostContext struct {
	context.Context
	principal *identity.Principal
}

func (c hostContext) Value(key any) any {
	if key == (identity.ContextKey{}) {
		return c.principal
	}
	return c.Context.Value(key)
}

// otherKey is where somebody else keeps something in a context.
type otherKey struct{}

func TestHolder(t *testing.T) {
	alice := &identity.Principal{Issuer: "test", Subject: "alice"}
	bob := &identity.Principal{Issuer: "test", Subject: "bob"}
	for _, tt := range []struct {
		name  string
		inner func(ctx context.Context)
		want  string // the subject; empty: nobody
	}{
		{"nobody was identified", func(context.Context) {}, ""},
		{"somebody was", func(ctx context.Context) { identity.NewContext(ctx, alice) }, "alice"},
		{"through contexts in between", func(ctx context.Context) {
			ctx, cancel := context.WithCancel(context.WithValue(ctx, otherKey{}, "value"))
			defer cancel()
			identity.NewContext(ctx, alice)
		}, "alice"},
		{"an ambiguous request is the first caller's", func(ctx context.Context) {
			identity.NewContext(identity.NewContext(ctx, alice), bob)
		}, "alice"},
		{"the last one of those on purpose counts", func(ctx context.Context) {
			identity.NewContext(identity.NewContext(identity.NewContext(ctx, alice), nil), bob)
		}, "bob"},
		{"anonymous again", func(ctx context.Context) {
			identity.NewContext(identity.NewContext(ctx, alice), nil)
		}, ""},
		{"by Tell", func(ctx context.Context) { identity.Tell(ctx, alice) }, "alice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, holder := identity.WithHolder(t.Context())
			tt.inner(ctx)
			switch p := holder.Principal(); {
			case p == nil && tt.want != "":
				t.Errorf("the holder has nobody, want %s", tt.want)
			case p != nil && p.Subject != tt.want:
				t.Errorf("the holder has %v, want %q", p, tt.want)
			}
		})
	}
}

func TestHolderIsSharedByOuterMiddlewares(t *testing.T) {
	ctx, first := identity.WithHolder(t.Context())
	ctx, second := identity.WithHolder(context.WithValue(ctx, otherKey{}, "value"))
	if first != second {
		t.Error("a second WithHolder made another holder, and the first learns nothing")
	}
	identity.NewContext(ctx, &identity.Principal{Subject: "alice"})
	if p := first.Principal(); p == nil || p.Subject != "alice" {
		t.Errorf("the first holder has %v, want alice", p)
	}
	_, other := identity.WithHolder(t.Context())
	if other == first || other.Principal() != nil {
		t.Error("requests share a holder")
	}
}

func TestHolderKeepsACopy(t *testing.T) {
	ctx, holder := identity.WithHolder(t.Context())
	p := &identity.Principal{Subject: "alice", Scopes: identity.NewSet("read")}
	ctx = identity.NewContext(ctx, p)
	p.Subject, p.Scopes = "mallory", identity.NewSet("admin")
	seen := holder.Principal()
	if seen == p || seen.Subject != "alice" || !seen.Scopes.Equal(identity.NewSet("read")) {
		t.Errorf("the holder has %v with scopes %q, want alice as she was identified", seen, seen.Scopes)
	}
	if got, _ := identity.FromContext(ctx); got != p {
		t.Error("the handler was not given the principal itself")
	}
}

func TestTellWithoutHolder(t *testing.T) {
	identity.Tell(t.Context(), &identity.Principal{Subject: "alice"})
	identity.Tell(t.Context(), nil)
}

// The access log of a request may run while a handler that outlived it, or one
// that was given up on, still changes things. The race detector judges.
func TestHolderWhileHandlersRun(t *testing.T) {
	ctx, holder := identity.WithHolder(t.Context())
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 200 {
				p := &identity.Principal{Issuer: "test", Subject: fmt.Sprint(g)}
				identity.NewContext(ctx, p)
				p.Subject = "changed by the handler"
				if i%50 == 0 {
					identity.NewContext(ctx, nil)
				}
			}
		})
		all.Go(func() {
			for range 200 {
				if p := holder.Principal(); p != nil && len(p.Subject) != 1 {
					t.Errorf("the holder has %q", p.Subject)
				}
				if _, h := identity.WithHolder(ctx); h != holder {
					t.Error("another holder")
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkNewContext(b *testing.B) {
	p := &identity.Principal{Issuer: "test", Subject: "alice"}
	held, _ := identity.WithHolder(b.Context())
	for _, bench := range []struct {
		name string
		ctx  context.Context
	}{
		{"alone", b.Context()},
		{"with holder", held},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := identity.FromContext(identity.NewContext(bench.ctx, p)); !ok {
					b.Fatal("nobody")
				}
			}
		})
	}
}
