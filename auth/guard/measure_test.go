package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// slow is an authenticator that takes its time.
type slow struct {
	took time.Duration
	err  error
}

func (s slow) Authenticate(r *http.Request) (*identity.Principal, error) {
	time.Sleep(s.took)
	if r.Header.Get("Authorization") == "" {
		return nil, guard.ErrNoCredentials
	}
	return &identity.Principal{Issuer: "test", Subject: "1"}, s.err
}

func (slow) Challenge() guard.Challenge { return guard.Challenge{Scheme: "Slow"} }

func TestIdentifyAndGuardsAreMeasured(t *testing.T) {
	for name, tt := range map[string]struct {
		authorization string
		err, refused  error
		want          []string
	}{
		"let through": {"Slow x", nil, nil, []string{"identify Slow succeeded 3s", "guard caller succeeded 0s", "guard check role succeeded 5s"}},
		"anonymous":   {"", nil, nil, []string{"identify  succeeded 3s", "guard caller failed 0s"}},
		"rejected":    {"Slow x", guard.InvalidToken("Slow", errors.New("expired")), nil, []string{"identify Slow failed 3s"}},
		"unreadable":  {"Slow x", guard.CannotDecide("test", guard.Forbidden(nil)), nil, []string{"identify Slow undecided 3s"}},
		"refused":     {"Slow x", nil, guard.Forbidden(errors.New("no")), []string{"identify Slow succeeded 3s", "guard caller succeeded 0s", "guard check role failed 5s"}},
		"disabled":    {"Slow x", nil, fmt.Errorf("test: %w", guard.ErrInactive), []string{"identify Slow succeeded 3s", "guard caller succeeded 0s", "guard check role failed 5s"}},
		"not proven":  {"Slow x", nil, identity.ErrNotProven, []string{"identify Slow succeeded 3s", "guard caller succeeded 0s", "guard check role failed 5s"}},
		"a reason":    {"Slow x", nil, guard.NewReason("test: no"), []string{"identify Slow succeeded 3s", "guard caller succeeded 0s", "guard check role failed 5s"}},
		"undecided":   {"Slow x", nil, guard.Unavailable(0, nil), []string{"identify Slow succeeded 3s", "guard caller succeeded 0s", "guard check role undecided 5s"}},
		"any error":   {"Slow x", nil, context.Canceled, []string{"identify Slow succeeded 3s", "guard caller succeeded 0s", "guard check role undecided 5s"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			hooks := guard.Hooks{Measure: func(_ context.Context, m guard.Measurement) {
				got = append(got, fmt.Sprint(m.Operation, " ", m.Name, " ", m.Outcome, " ", m.Duration))
			}}
			check := hooks.Require(func(*http.Request) error { time.Sleep(5 * time.Second); return tt.refused },
				guard.Requirement{Kind: guard.KindCheck}, guard.Requirement{Kind: guard.KindRole})
			handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) })
			h := hooks.Identify(slow{3 * time.Second, tt.err})(hooks.Authenticated(check(handler)))
			r := httptest.NewRequest("GET", "/", nil)
			if tt.authorization != "" {
				r.Header.Set("Authorization", tt.authorization)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
				t.Errorf("%s:\ngot  %q\nwant %q", name, got, tt.want)
			}
		})
	}
}

func TestErrorsThatDecideNothingAreUndecided(t *testing.T) {
	var none *guard.Denial
	for name, tt := range map[string]struct {
		operation string
		err       error
		want      guard.Outcome
	}{
		"a nil *Denial":                  {"guard", none, guard.Undecided},
		"a wrapped nil *Denial":          {"guard", fmt.Errorf("test: %w", none), guard.Undecided},
		"a client that went away":        {"limit", guard.NewDenial(499, guard.CodeClientGone, "", nil), guard.Undecided},
		"a refusal of a store's server":  {"store", fmt.Errorf("test: %w", guard.Forbidden(nil)), guard.Undecided},
		"a refusal of an issuer":         {"fetch", guard.Unauthenticated(), guard.Undecided},
		"a limit that is exceeded":       {"limit", guard.TooManyAttempts(0, nil), guard.Failed},
		"a row that the store has not":   {"store", nil, guard.Succeeded},
		"a store without an answer":      {"store", context.DeadlineExceeded, guard.Undecided},
		"a password that does not match": {"hash", identity.ErrNotProven, guard.Failed},
	} {
		var got []guard.Outcome
		hooks := guard.Hooks{Measure: func(_ context.Context, m guard.Measurement) { got = append(got, m.Outcome) }}
		hooks.Measured(t.Context(), hooks.Begin(), tt.operation, "x", tt.err)
		if len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestMeasureDoesNotChangeTheAnswerToANilDenial(t *testing.T) {
	var none *guard.Denial
	hooks := guard.Hooks{Measure: func(context.Context, guard.Measurement) {}}
	w := httptest.NewRecorder()
	hooks.Require(func(*http.Request) error { return none })(nothing).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("the answer is %d, want 503", w.Code)
	}
}

func TestMeasuredWithoutMeasureDoesNothing(t *testing.T) {
	var hooks guard.Hooks
	hooks.Measured(t.Context(), hooks.Begin(), "store", "x", nil)
}

func TestProvideGivesMeasureToHooksWithoutOne(t *testing.T) {
	type host struct{ guard.Hooks } // as a package embeds it
	synctest.Test(t, func(t *testing.T) {
		var outer, inner []string
		record := func(to *[]string) func(context.Context, guard.Measurement) {
			return func(_ context.Context, m guard.Measurement) {
				*to = append(*to, fmt.Sprint(m.Operation, " ", m.Name, " ", m.Outcome, m.Code, " ", m.Duration))
			}
		}
		provided := guard.Hooks{Measure: record(&outer)}
		own := host{guard.Hooks{Measure: record(&inner)}}
		none := host{}
		h := provided.Provide(none.Identify(slow{3 * time.Second, nil})(own.Authenticated(none.Authenticated(
			http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				begun := none.Begin()
				time.Sleep(time.Second)
				none.Measured(r.Context(), begun, "store", "users.ByID", nil)
			})))))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Slow x")
		h.ServeHTTP(httptest.NewRecorder(), r)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		wantOuter := []string{"identify Slow succeeded 3s", "guard caller succeeded 0s", "store users.ByID succeeded 1s", "identify  succeeded 3s"}
		wantInner := []string{"guard caller succeeded 0s", "guard caller failedunauthenticated 0s"}
		if fmt.Sprintf("%q %q", outer, inner) != fmt.Sprintf("%q %q", wantOuter, wantInner) {
			t.Errorf("provided %q, want %q;\nown %q, want %q", outer, wantOuter, inner, wantInner)
		}
	})
}

func TestActiveIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		hooks := guard.Hooks{
			Measure: func(_ context.Context, m guard.Measurement) {
				got = append(got, fmt.Sprint(m.Operation, " ", m.Outcome, " ", m.Code, " ", m.Duration))
			},
			Active: func(context.Context, *identity.Principal) error {
				time.Sleep(2 * time.Second)
				return guard.ErrInactive
			},
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Slow x")
		hooks.Identify(slow{3 * time.Second, nil})(nothing).ServeHTTP(httptest.NewRecorder(), r)
		if want := []string{"identify succeeded  3s", "active failed invalid_token 2s"}; fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// BenchmarkMeasure is a guard without Measure, with one that does nothing, and with one
// of Provide. Run it with -run '^$' and -count 1: after a Provide with Measure, Hooks
// without Measure search the context.
func BenchmarkMeasure(b *testing.B) {
	measure := guard.Hooks{Measure: func(context.Context, guard.Measurement) {}}
	as := func(h http.Handler) http.Handler { return h }
	for _, row := range []struct {
		name    string
		hooks   guard.Hooks
		provide func(http.Handler) http.Handler
	}{{"nil", guard.Hooks{}, as}, {"set", measure, as}, {"provided", guard.Hooks{}, measure.Provide}} {
		b.Run(row.name, func(b *testing.B) {
			guarded := row.hooks.Require(func(*http.Request) error { return nil })(nothing)
			row.provide(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b.ReportAllocs()
				for b.Loop() {
					guarded.ServeHTTP(w, r)
				}
			})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		})
	}
}
