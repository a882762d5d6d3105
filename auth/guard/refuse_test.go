package guard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// slowDown is an error type of a package that says when to come back.
type slowDown struct{ wait time.Duration }

func (s *slowDown) Error() string { return "slow down" }
func (s *slowDown) IsVerdict()    {}

var (
	errRoot    = guard.NewReason("shop: no good")
	errExpired = guard.NewReason("shop: expired", errRoot)
)

func TestWhatCannotBeDecidedCarriesNoVerdictOfAnotherSystem(t *testing.T) {
	shared := guard.Forbidden(nil)
	shared.Login = "of the other system"
	for name, cause := range map[string]error{
		"a refusal":               guard.InvalidToken("Bearer", errors.New("of another system")),
		"a wrapped refusal":       fmt.Errorf("rpc: %w", shared),
		"a joined refusal":        errors.Join(errors.New("dial"), guard.NotFound(nil)),
		"no credentials":          fmt.Errorf("rpc: %w", guard.ErrNoCredentials),
		"an inactive account":     fmt.Errorf("rpc: %w", guard.ErrInactive),
		"a body that is too long": fmt.Errorf("rpc: %w", &http.MaxBytesError{Limit: 5}),
		"a reason":                fmt.Errorf("rpc: %w", errExpired),
		"a parent of reasons":     errRoot,
		"a verdict by its type":   fmt.Errorf("rpc: %w", &slowDown{time.Hour}),
		"a 503 of its own words":  guard.NewDenial(503, "theirs", "Their words.", nil),
		"nothing at all":          nil,
	} {
		t.Run(name, func(t *testing.T) {
			for _, err := range []error{
				guard.CannotDecide("shop: loading", cause),
				fmt.Errorf("more: %w", guard.CannotDecide("shop: loading", cause)),
				guard.CannotDecide("outer", guard.CannotDecide("shop: loading", cause)),
				guard.Unavailable(0, guard.CannotDecide("shop: loading", cause)),
				guard.Unavailable(0, cause),
			} {
				w := httptest.NewRecorder()
				guard.Hooks{}.Refuse(w, httptest.NewRequest("GET", "/", nil), err)
				want := httptest.NewRecorder()
				guard.Hooks{}.Refuse(want, httptest.NewRequest("GET", "/", nil), errors.New("down"))
				if w.Code != 503 || w.Body.String() != want.Body.String() {
					t.Errorf("%v: %d %s, want %s", err, w.Code, w.Body, want.Body)
				}
				d := guard.DenialOf(t.Context(), err)
				for _, verdict := range []error{guard.ErrNoCredentials, guard.ErrInactive, errExpired, errRoot, shared} {
					if errors.Is(d, verdict) {
						t.Errorf("errors.Is finds %v in %v", verdict, d)
					}
				}
				if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
					t.Error("errors.As finds the body that is too long")
				}
				if _, ok := errors.AsType[*slowDown](err); ok {
					t.Error("errors.As finds the type that is a verdict")
				}
				if d.Err != nil {
					if inner, ok := errors.AsType[*guard.Denial](d.Err); ok {
						t.Errorf("errors.As finds %v", inner)
					}
				}
			}
		})
	}
}

func TestWhatCannotBeDecidedKeepsItsCause(t *testing.T) {
	cause := &fs.PathError{Op: "open", Path: "keys", Err: fs.ErrPermission}
	err := guard.CannotDecide("shop: loading", cause)
	if got, want := err.Error(), "shop: loading: "+cause.Error(); got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got, ok := errors.AsType[*fs.PathError](err); !ok || got != cause || !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is not found")
	}
	later := guard.Unavailable(7*time.Second, errors.New("fetching"))
	for _, c := range []struct {
		err  error
		want time.Duration
	}{
		{guard.CannotDecide("shop: loading", later), 7 * time.Second},
		{guard.CannotDecide("outer", guard.CannotDecide("shop: loading", fmt.Errorf("x: %w", later))), 7 * time.Second},
		{guard.CannotDecide("shop: loading", guard.Unavailable(9999*time.Hour, nil)), time.Hour},
		{guard.CannotDecide("shop: loading", guard.TooManyAttempts(time.Minute, nil)), 0},
	} {
		if got := guard.DenialOf(t.Context(), c.err).RetryAfter; got != c.want {
			t.Errorf("%v: RetryAfter is %v, want %v", c.err, got, c.want)
		}
	}
}

func TestReasonsAreFoundByTheirParents(t *testing.T) {
	wrapped := fmt.Errorf("token 7: %w", errExpired)
	if !errors.Is(wrapped, errExpired) || !errors.Is(wrapped, errRoot) {
		t.Error("neither itself nor its parent")
	}
	if errors.Is(errRoot, errExpired) || errors.Is(wrapped, guard.NewReason("shop: expired")) {
		t.Error("a reason is another one's")
	}
}

func TestConstructorsOfRefusals(t *testing.T) {
	reason := errors.New("the reason")
	w := httptest.NewRecorder()
	for _, c := range []struct {
		d      *guard.Denial
		status int
		code   string
		event  guard.EventName
	}{
		{guard.InvalidRequest("Detail.", reason), 400, "invalid_request", guard.EventInputFail},
		{guard.Unauthenticated(), 401, "unauthenticated", guard.EventLoginFail},
		{guard.InvalidToken("Bearer", reason), 401, "invalid_token", guard.EventLoginFail},
		{guard.StepUp(guard.Challenge{}, reason), 401, "insufficient_user_authentication", guard.EventAuthzFail},
		{guard.Forbidden(reason), 403, "forbidden", guard.EventAuthzFail},
		{guard.InsufficientScope("Bearer", identity.NewSet("a"), reason), 403, "insufficient_scope", guard.EventAuthzFail},
		{guard.NotFound(reason), 404, "not_found", guard.EventInputFail},
		{guard.MethodNotAllowed(w, "GET", "HEAD"), 405, "method_not_allowed", guard.EventInputFail},
		{guard.TooLarge(reason), 413, "invalid_request", guard.EventInputFail},
		{guard.UnsupportedMediaType(reason, "text/a", "text/b"), 415, "invalid_request", guard.EventInputFail},
		{guard.TooManyAttempts(time.Second, reason), 429, "too_many_attempts", guard.EventLoginFailMax},
		{guard.Unavailable(time.Second, reason), 503, "unavailable", guard.EventUnavailable},
		{guard.NewDenial(409, "conflict", "Detail.", reason), 409, "conflict", guard.EventInputFail},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.code), func(t *testing.T) {
			var seen guard.Event
			hooks := guard.Hooks{Observe: func(_ context.Context, e guard.Event) { seen = e }}
			w := httptest.NewRecorder()
			hooks.Refuse(w, httptest.NewRequest("GET", "/", nil), c.d)
			var body struct{ Code, Detail string }
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if w.Code != c.status || body.Code != c.code || body.Detail == "" || seen.Name != c.event {
				t.Errorf("%d %q %q, event %s; want %d %q and a detail, event %s", w.Code, body.Code, body.Detail, seen.Name, c.status, c.code, c.event)
			}
			if c.status == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Error("a 401 without a challenge")
			}
			if errors.Unwrap(c.d) == nil {
				t.Error("no reason for the log")
			}
		})
	}
	if got := w.Header().Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow: %q", got)
	}
	if got := guard.UnsupportedMediaType(reason, "text/a", "text/b").Detail; got != "The body must be text/a or text/b." {
		t.Errorf("detail %q", got)
	}
}

func TestARequestThatWasGivenUpRaisesNoAlarm(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"given up", gone, context.Canceled, 499},
		{"given up during a step", gone, guard.CannotDecide("shop: loading", context.Canceled), 499},
		{"given up, and refused with 503", gone, guard.Unavailable(0, fmt.Errorf("x: %w", context.Canceled)), 499},
		{"given up after a verdict", gone, guard.Forbidden(context.Canceled), 403},
		{"cancelled on the server", t.Context(), context.Canceled, 503},
		{"out of time", gone, context.DeadlineExceeded, 503},
	} {
		if got := guard.DenialOf(c.ctx, c.err); got.Status != c.want {
			t.Errorf("%s: %v, want %d", c.name, got, c.want)
		}
	}
}

// The values of a refusal's headers are parts of one array.
func TestAppendingToAHeaderOfARefusalChangesNoOther(t *testing.T) {
	var hooks guard.Hooks
	d := guard.InvalidToken("Bearer", errors.New("forged"))
	d.RetryAfter = time.Second
	w := httptest.NewRecorder()
	hooks.Refuse(w, httptest.NewRequest("GET", "/", nil), d)
	want := w.Header().Clone()
	if len(want) != 4 {
		t.Fatalf("the headers are %v, want four", want)
	}
	for _, values := range w.Header() {
		_ = append(values, "poison", "poison")
	}
	for name := range want {
		if got := w.Header().Get(name); got != want.Get(name) {
			t.Errorf("%s became %q, want %q", name, got, want.Get(name))
		}
	}
}

func TestConcurrentRefusalsHaveTheirOwnBodies(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			detail := fmt.Sprint(i, strings.Repeat("x", 100*i))
			for range 100 {
				w := httptest.NewRecorder()
				guard.Hooks{}.Refuse(w, httptest.NewRequest("GET", "/", nil), guard.NewDenial(400+i, "code", detail, nil))
				var body struct {
					Status int
					Detail string
				}
				if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Status != 400+i || body.Detail != detail {
					t.Errorf("the body is %s (%v), want status %d and detail %s", w.Body, err, 400+i, detail)
				}
			}
		})
	}
	wg.Wait()
}
