package guard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestARefusalHasItsStatusChallengesAndBody(t *testing.T) {
	both := []guard.Authenticator{bearer(), apiKeys()}
	var noDenial *guard.Denial
	tests := []struct {
		name           string
		authenticators []guard.Authenticator
		err            error
		want           want
	}{
		{
			"an anonymous 401 has no error code (RFC 6750 section 3.1)", both,
			guard.Unauthenticated(),
			want{401, []string{bearerLine, keyLine}, "", unauthenticatedBody},
		},
		{
			"a 401 without authenticators asks for Bearer", nil,
			guard.Unauthenticated(),
			want{401, []string{"Bearer"}, "", unauthenticatedBody},
		},
		{
			"a step-up is challenged in Bearer (RFC 9470 section 3)", both,
			guard.StepUp(guard.Challenge{ErrorDescription: "Recent, please", ACRValues: []string{"b", "a"}, MaxAge: 90 * time.Second}, errSecret),
			want{401, []string{
				`Bearer realm="api", error="insufficient_user_authentication", error_description="Recent, please", acr_values="b a", max_age="90", resource_metadata="https://api.example/.well-known/oauth-protected-resource"`,
				keyLine,
			}, "", stepUpBody},
		},
		{
			"or in a scheme of its own, with the same body", nil,
			guard.StepUp(guard.Challenge{Scheme: "DPoP", Error: "other"}, nil),
			want{401, []string{`DPoP error="insufficient_user_authentication"`}, "", stepUpBody},
		},
		{
			"too many attempts, and when the next may be made", both,
			guard.TooManyAttempts(1500*time.Millisecond, errSecret),
			want{429, nil, "2", tooManyBody},
		},
		{
			"too many attempts, and nobody knows for how long", both,
			guard.TooManyAttempts(0, nil),
			want{429, nil, "", tooManyBody},
		},
		{
			"a bare 401 of the host has a challenge too", both,
			&guard.Denial{Status: 401},
			want{401, []string{bearerLine, keyLine}, "", problemBody(401, "", "")},
		},
		{
			"a challenge is completed from the authenticator of its scheme, and the others follow", both,
			guard.InvalidToken("ApiKey", errSecret),
			want{401, []string{badKeyLine, bearerLine}, "", invalidTokenBody},
		},
		{
			"schemes are compared without case", both,
			guard.InvalidToken("bearer", errSecret),
			want{401, []string{"b" + badBearerLine[1:], keyLine}, "", invalidTokenBody},
		},
		{
			"a challenge keeps what it says itself", both,
			&guard.Denial{Status: 401, Challenges: []guard.Challenge{{Scheme: "ApiKey", Realm: "mine"}}},
			want{401, []string{`ApiKey realm="mine"`, bearerLine}, "", problemBody(401, "", "")},
		},
		{
			"a challenge of a scheme that nobody has stands as it is", both,
			&guard.Denial{Status: 401, Challenges: []guard.Challenge{{Scheme: "DPoP"}}},
			want{401, []string{"DPoP", bearerLine, keyLine}, "", problemBody(401, "", "")},
		},
		{
			"a challenge without authenticators stands as it is", nil,
			guard.InvalidToken("Bearer", errSecret),
			want{401, []string{`Bearer error="invalid_token"`}, "", invalidTokenBody},
		},
		{
			"a challenge without a scheme is none", nil,
			guard.InvalidToken("", errSecret),
			want{401, []string{"Bearer"}, "", invalidTokenBody},
		},
		{
			"a challenge whose scheme is no token is none", both,
			guard.InvalidToken(" \r\n", errSecret),
			want{401, []string{bearerLine, keyLine}, "", invalidTokenBody},
		},
		{
			"insufficient scope is a 403 with its own challenge only", both,
			&guard.Denial{Status: 403, Code: guard.CodeInsufficientScope, Detail: "d", Challenges: []guard.Challenge{
				{Scheme: "Bearer", Error: guard.CodeInsufficientScope, Scope: identity.NewSet("write:items", "read:items")}}},
			want{403, []string{`Bearer realm="api", scope="read:items write:items", error="insufficient_scope", ` +
				`resource_metadata="https://api.example/.well-known/oauth-protected-resource"`},
				"", problemBody(403, "insufficient_scope", "d")},
		},
		{
			"a plain 403 has no challenge", both,
			guard.Forbidden(errSecret),
			want{403, nil, "", forbiddenBody},
		},
		{
			"a 400 has no challenge", both,
			guard.InvalidRequest("No.", errSecret),
			want{400, nil, "", problemBody(400, "invalid_request", "No.")},
		},
		{
			"an unknown error is a 503 that says when to come back", both,
			errSecret,
			want{503, nil, "1", unavailableBody},
		},
		{
			"no error at all is a 503", both,
			nil,
			want{503, nil, "1", unavailableBody},
		},
		{
			"a nil *Denial is a 503 and no panic", both,
			noDenial,
			want{503, nil, "1", unavailableBody},
		},
		{
			"a wrapped nil *Denial is a 503 and no panic", both,
			fmt.Errorf("check: %w", noDenial),
			want{503, nil, "1", unavailableBody},
		},
		{
			"a cancelled request is a 503", both,
			fmt.Errorf("store: %w", context.Canceled),
			want{503, nil, "1", unavailableBody},
		},
		{
			"a deadline is a 503", both,
			fmt.Errorf("store: %w", context.DeadlineExceeded),
			want{503, nil, "1", unavailableBody},
		},
		{
			"a body over the limit is a 413", both,
			fmt.Errorf("form: %w", &http.MaxBytesError{Limit: 4096}),
			want{413, nil, "", problemBody(413, "invalid_request", "The request is too large.")},
		},
		{
			"a wrapped denial is found", both,
			fmt.Errorf("rbac: %w", guard.Forbidden(errSecret)),
			want{403, nil, "", forbiddenBody},
		},
		{
			"a denial says more than the error it wraps", both,
			guard.Forbidden(&http.MaxBytesError{Limit: 1}),
			want{403, nil, "", forbiddenBody},
		},
		{
			"Retry-After is rounded up", both,
			guard.Unavailable(1001*time.Millisecond, errSecret),
			want{503, nil, "2", unavailableBody},
		},
		{
			"a nanosecond is a second", both,
			&guard.Denial{Status: 429, RetryAfter: 1},
			want{429, nil, "1", problemBody(429, "", "")},
		},
		{
			"whole seconds stay", both,
			&guard.Denial{Status: 429, RetryAfter: 60 * time.Second},
			want{429, nil, "60", problemBody(429, "", "")},
		},
		{
			"a 429 without a wait has no Retry-After", both,
			&guard.Denial{Status: 429},
			want{429, nil, "", problemBody(429, "", "")},
		},
		{
			"a wait in the past is none", both,
			&guard.Denial{Status: 429, RetryAfter: -time.Hour},
			want{429, nil, "", problemBody(429, "", "")},
		},
		{
			"a 503 with a wait in the past says one second", both,
			guard.Unavailable(-time.Hour, errSecret),
			want{503, nil, "1", unavailableBody},
		},
		{
			"the longest wait does not overflow", both,
			guard.Unavailable(math.MaxInt64, errSecret),
			want{503, nil, "9223372037", unavailableBody},
		},
		{
			"status zero is a 500", both,
			&guard.Denial{Code: "c", Err: errSecret},
			want{500, nil, "", problemBody(500, "c", "")},
		},
		{
			"a refusal cannot be a success", both,
			&guard.Denial{Status: 200, Code: "c", Err: errSecret},
			want{500, nil, "", problemBody(500, "c", "")},
		},
		{
			"a status above 599 is a 500", both,
			&guard.Denial{Status: 600, Err: errSecret},
			want{500, nil, "", problemBody(500, "", "")},
		},
		{
			"a status without a name has no title", both,
			&guard.Denial{Status: 499, Code: "c"},
			want{499, nil, "", `{"status":499,"code":"c"}` + "\n"},
		},
		{
			"markup in a detail is escaped", both,
			&guard.Denial{Status: 403, Detail: `<script>"` + "\n"},
			want{403, nil, "", problemBody(403, "", `\u003cscript\u003e\"\n`)},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var hooks guard.Hooks
			refuse := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hooks.Refuse(w, r, test.err)
			}))
			if test.authenticators != nil {
				refuse = hooks.Identify(test.authenticators...)(refuse)
			}
			test.want.check(t, serve(refuse, get("/")))
		})
	}
}

// An authenticator's standing challenge completes the challenges of its scheme,
// and accuses nobody who showed no credentials.
func TestStandingChallengesCompleteRefusals(t *testing.T) {
	standing := &authenticator{
		challenge: guard.Challenge{Scheme: "DPoP", Realm: "api", Scope: identity.NewSet("base"), ErrorURI: "https://docs.example/errors",
			Params: []guard.Param{{Name: "algs", Value: "ES256"}}},
		authenticate: bearer().authenticate,
	}
	other := &authenticator{challenge: guard.Challenge{Scheme: "Other", ErrorURI: "https://docs.example/other"}, authenticate: apiKeys().authenticate}
	const anonymousLine = `DPoP realm="api", scope="base", algs="ES256"`
	tests := []struct {
		name  string
		guard func(guard.Hooks, http.Handler) http.Handler
		want  []string
	}{
		{"nobody is told of errors without one", guard.Hooks.Authenticated, []string{anonymousLine, "Other"}},
		{"Accept tells nobody of errors either", func(h guard.Hooks, next http.Handler) http.Handler {
			return h.Accept(standing, other)(next)
		}, []string{anonymousLine, "Other"}},
		{"a challenge without an error is told of none", func(h guard.Hooks, next http.Handler) http.Handler {
			return h.Require(func(*http.Request) error {
				return &guard.Denial{Status: 401, Challenges: []guard.Challenge{{Scheme: "DPoP", Realm: "mine"}}}
			})(next)
		}, []string{`DPoP realm="mine", scope="base", algs="ES256"`, "Other"}},
		{"an error is explained", func(h guard.Hooks, next http.Handler) http.Handler {
			return h.Require(func(*http.Request) error { return guard.InvalidToken("DPoP", errSecret) })(next)
		}, []string{`DPoP realm="api", scope="base", error="invalid_token", error_uri="https://docs.example/errors", algs="ES256"`, "Other"}},
		{"what a challenge says itself stands", func(h guard.Hooks, next http.Handler) http.Handler {
			return h.Require(func(*http.Request) error {
				return &guard.Denial{Status: 401, Challenges: []guard.Challenge{{Scheme: "DPoP", Error: "e", ErrorURI: "u",
					Scope: identity.NewSet("own"), Params: []guard.Param{{Name: "nonce", Value: "n"}}}}}
			})(next)
		}, []string{`DPoP realm="api", scope="own", error="e", error_uri="u", nonce="n"`, "Other"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			next, hooks := new(spy), guard.Hooks{}
			w := serve(hooks.Identify(standing, other)(test.guard(hooks, next)), get("/"))
			if got := w.Header().Values("WWW-Authenticate"); w.Code != 401 || !slices.Equal(got, test.want) {
				t.Errorf("%d\n got %q\nwant %q", w.Code, got, test.want)
			}
			if next.ran() {
				t.Error("next ran")
			}
		})
	}
}

func TestRefuseBodiesOfOneClassAreEqual(t *testing.T) {
	reasons := []error{nil, errSecret, errors.New("expired"), errors.New("signature"), errors.New(`"}`)}
	classes := map[string]func(error) error{
		"invalid token": func(err error) error { return guard.InvalidToken("Bearer", err) },
		"forbidden":     func(err error) error { return guard.Forbidden(err) },
		"unavailable":   func(err error) error { return guard.Unavailable(time.Second, err) },
		"step up": func(err error) error {
			return guard.StepUp(guard.Challenge{MaxAge: time.Minute}, err)
		},
		"too many attempts": func(err error) error { return guard.TooManyAttempts(time.Second, err) },
		"invalid request":   func(err error) error { return guard.InvalidRequest("No.", err) },
		"any other error":   func(err error) error { return err },
	}
	for class, make := range classes {
		t.Run(class, func(t *testing.T) {
			var first *httptest.ResponseRecorder
			for _, reason := range reasons {
				w := httptest.NewRecorder()
				guard.Hooks{}.Refuse(w, get("/"), make(reason))
				if first == nil {
					first = w
				}
				if w.Code != first.Code || w.Body.String() != first.Body.String() || !reflect.DeepEqual(w.Header(), first.Header()) {
					t.Errorf("%v is told apart:\n%d %v %s\n%d %v %s", reason,
						w.Code, w.Header(), w.Body, first.Code, first.Header(), first.Body)
				}
			}
		})
	}
}

// What a handler said about the body that it did not get to send must not
// describe the refusal.
func TestRefuseForgetsTheBodyThatWillNotBeSent(t *testing.T) {
	w := httptest.NewRecorder()
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Range", "Content-Disposition",
		"Content-Language", "Content-Location", "Etag", "Last-Modified", "Expires"} {
		h.Set(name, "stale")
	}
	h.Set("Content-Type", "text/csv")
	h.Set("Cache-Control", "public")
	h.Set("WWW-Authenticate", "Basic")
	h.Set("Retry-After", "5")
	h.Set("Vary", "Origin")
	h.Set("Access-Control-Allow-Origin", "https://app.example")
	guard.Hooks{}.Refuse(w, get("/"), guard.Forbidden(nil))
	want{403, nil, "", forbiddenBody}.check(t, w)
	wantHeader := http.Header{
		"Cache-Control":               {"no-store"},
		"Content-Type":                {"application/problem+json"},
		"Vary":                        {"Origin"},
		"Access-Control-Allow-Origin": {"https://app.example"},
	}
	if !reflect.DeepEqual(h, wantHeader) {
		t.Errorf("header\n got %v\nwant %v", h, wantHeader)
	}
}

func TestRefuseOverHTTP(t *testing.T) {
	srv := httptest.NewServer(guard.Hooks{}.Identify(bearer())(guard.Hooks{}.Authenticated(new(spy))))
	defer srv.Close()
	for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
		t.Run(method, func(t *testing.T) {
			req, err := http.NewRequest(method, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") != bearerLine ||
				res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
			if method == "HEAD" {
				if len(body) != 0 {
					t.Errorf("HEAD has a body: %q", body)
				}
				return
			}
			var problem struct {
				Type, Title  string
				Status       int
				Code, Detail string
			}
			if err := json.Unmarshal(body, &problem); err != nil {
				t.Fatal(err)
			}
			if problem.Type != "" || problem.Title != "Unauthorized" || problem.Status != 401 ||
				problem.Code != "unauthenticated" || problem.Detail == "" {
				t.Errorf("problem = %+v", problem)
			}
		})
	}
}

func TestDenyCannotChangeTheVerdict(t *testing.T) {
	tests := []struct {
		name string
		deny func(http.ResponseWriter, *http.Request, *guard.Denial)
		body string
	}{
		{"writes nothing", func(http.ResponseWriter, *http.Request, *guard.Denial) {}, ""},
		{"writes a body", func(w http.ResponseWriter, _ *http.Request, d *guard.Denial) {
			io.WriteString(w, d.Code)
		}, "limited"},
		{"writes 200", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			w.WriteHeader(200)
			io.WriteString(w, "fine")
		}, "fine"},
		{"writes 103", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			w.WriteHeader(103)
			io.WriteString(w, "early")
		}, "early"},
		{"writes the status twice", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			w.WriteHeader(401)
			w.WriteHeader(200)
			io.WriteString(w, "a")
			io.WriteString(w, "b")
		}, "ab"},
		{"calls http.Error", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			http.Error(w, "teapot", http.StatusTeapot)
		}, "teapot\n"},
		{"deletes the headers", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			clear(w.Header())
			io.WriteString(w, "x")
		}, "x"},
		{"deletes the headers and writes nothing", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			clear(w.Header())
		}, ""},
		{"sets the headers", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			w.Header().Set("WWW-Authenticate", "Basic")
			w.Header().Set("Retry-After", "0")
			w.Header().Set("Cache-Control", "public")
			io.WriteString(w, "x")
		}, "x"},
		{"adds to the headers", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			w.Header().Add("WWW-Authenticate", "Basic")
			w.Header().Add("Retry-After", "0")
			w.Header().Add("Cache-Control", "public")
			io.WriteString(w, "x")
		}, "x"},
		{"edits the values in place", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			for _, values := range w.Header() {
				for i := range values {
					values[i] = "evil"
				}
			}
			io.WriteString(w, "x")
		}, "x"},
		{"changes the headers after the body", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			io.WriteString(w, "x")
			clear(w.Header())
		}, "x"},
		{"flushes", func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			if f, ok := w.(http.Flusher); ok {
				f.Flush()
			}
			http.NewResponseController(w).Flush()
			io.WriteString(w, "x")
		}, "x"},
	}
	denial := &guard.Denial{Status: 429, Code: "limited", RetryAfter: 3 * time.Second,
		Challenges: []guard.Challenge{{Scheme: "Bearer"}}}
	for _, test := range tests {
		t.Run("a hook that "+test.name, func(t *testing.T) {
			hooks := guard.Hooks{Deny: func(w http.ResponseWriter, r *http.Request, d *guard.Denial) {
				if h := w.Header(); h.Get("Retry-After") != "3" || h.Get("WWW-Authenticate") != "Bearer" ||
					h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "" {
					t.Errorf("the hook finds %v", h)
				}
				test.deny(w, r, d)
			}}
			next := new(spy)
			srv := httptest.NewServer(hooks.Require(func(*http.Request) error { return denial })(next))
			defer srv.Close()
			res, err := srv.Client().Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != 429 {
				t.Errorf("status = %d, want 429", res.StatusCode)
			}
			for name, value := range map[string]string{"WWW-Authenticate": "Bearer", "Retry-After": "3", "Cache-Control": "no-store"} {
				if got := res.Header.Values(name); !slices.Equal(got, []string{value}) {
					t.Errorf("%s = %q, want %q", name, got, value)
				}
			}
			if string(body) != test.body {
				t.Errorf("body = %q, want %q", body, test.body)
			}
			if next.ran() {
				t.Error("next ran")
			}
		})
	}
}

func TestDenyCannotInventHeadersOfTheVerdict(t *testing.T) {
	hooks := guard.Hooks{Deny: func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
		w.Header().Set("WWW-Authenticate", "Negotiate")
		w.Header().Set("Retry-After", "86400")
	}}
	w := httptest.NewRecorder()
	hooks.Refuse(w, get("/"), guard.Forbidden(nil))
	if got := w.Result().Header; got.Get("WWW-Authenticate") != "" || got.Get("Retry-After") != "" {
		t.Errorf("header = %v, want neither WWW-Authenticate nor Retry-After", got)
	}
}

// statusCounter counts the status lines it is told to write.
type statusCounter struct {
	*httptest.ResponseRecorder
	statuses []int
}

func (c *statusCounter) WriteHeader(status int) {
	c.statuses = append(c.statuses, status)
	c.ResponseRecorder.WriteHeader(status)
}

func TestRefuseWritesOneStatusLine(t *testing.T) {
	for name, deny := range map[string]func(http.ResponseWriter, *http.Request, *guard.Denial){
		"default body": nil,
		"nothing":      func(http.ResponseWriter, *http.Request, *guard.Denial) {},
		"two bodies": func(w http.ResponseWriter, _ *http.Request, _ *guard.Denial) {
			w.WriteHeader(200)
			w.WriteHeader(500)
			io.WriteString(w, "a")
			io.WriteString(w, "b")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &statusCounter{ResponseRecorder: httptest.NewRecorder()}
			guard.Hooks{Deny: deny}.Refuse(w, get("/"), guard.Forbidden(nil))
			if !slices.Equal(w.statuses, []int{403}) {
				t.Errorf("statuses = %v, want one 403", w.statuses)
			}
		})
	}
}

func TestDenyMaySetContentType(t *testing.T) {
	hooks := guard.Hooks{Deny: func(w http.ResponseWriter, _ *http.Request, d *guard.Denial) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, d.Detail)
	}}
	w := httptest.NewRecorder()
	hooks.Refuse(w, get("/"), guard.Forbidden(errSecret))
	if w.Code != 403 || w.Header().Get("Content-Type") != "text/plain" || w.Body.String() != "Access denied" {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
}

// Guards may keep one Denial for all requests: neither the renderer nor a Deny
// that adapts its text may change it.
func TestRefuseDoesNotModifyASharedDenial(t *testing.T) {
	shared := func() *guard.Denial {
		return &guard.Denial{Status: 999, Code: "c", Detail: "d", Err: errSecret,
			Challenges: []guard.Challenge{{Scheme: "Bearer", Params: []guard.Param{{Name: "a", Value: "b"}}}}}
	}
	denial := shared()
	hooks := guard.Hooks{
		Observe: new(events).observe,
		Deny: func(w http.ResponseWriter, _ *http.Request, d *guard.Denial) {
			d.Detail += " (translated)"
			d.Status = 200
			d.Challenges[0].Realm = "mine"
			io.WriteString(w, d.Detail)
		},
	}
	h := hooks.Identify(bearer())(hooks.Require(func(*http.Request) error { return denial })(new(spy)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			w := serve(h, get("/"))
			if w.Code != 500 || w.Body.String() != "d (translated)" {
				t.Errorf("%d %q", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if !reflect.DeepEqual(denial, shared()) {
		t.Errorf("the denial was changed to %+v", denial)
	}
}

// A middleware that edits what it finds in the header must not reach the next
// response.
func TestRefuseSharesNoHeaderSlices(t *testing.T) {
	for name, deny := range map[string]func(http.ResponseWriter, *http.Request, *guard.Denial){
		"default body": nil,
		"own body":     func(http.ResponseWriter, *http.Request, *guard.Denial) {},
	} {
		t.Run(name, func(t *testing.T) {
			hooks := guard.Hooks{Deny: deny}
			h := hooks.Identify(bearer(), apiKeys())(hooks.Authenticated(new(spy)))
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 20 {
						w := serve(h, get("/"))
						if got := w.Header()["Www-Authenticate"]; !slices.Equal(got, []string{bearerLine, keyLine}) {
							t.Errorf("WWW-Authenticate = %q", got)
						}
						for _, values := range w.Header() {
							for i := range values {
								values[i] = "poison"
							}
							_ = append(values[:cap(values)], "poison")
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestRequireRefusesWithTheErrorOfItsCheck(t *testing.T) {
	tests := []struct {
		name string
		err  error
		ran  bool
		want want
	}{
		{"nil lets the request through", nil, true, want{200, nil, "", "hello nobody"}},
		{"a denial refuses it", guard.Forbidden(errSecret), false, want{403, nil, "", forbiddenBody}},
		{"any other error refuses it", errSecret, false, want{503, nil, "1", unavailableBody}},
		{"a nil *Denial refuses it", (*guard.Denial)(nil), false, want{503, nil, "1", unavailableBody}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			next := new(spy)
			w := serve(guard.Hooks{}.Require(func(*http.Request) error { return test.err })(next), get("/"))
			test.want.check(t, w)
			if next.ran() != test.ran {
				t.Errorf("next ran = %v, want %v", next.ran(), test.ran)
			}
		})
	}
	t.Run("no check is a mistake", func(t *testing.T) {
		mustPanic(t, func() { guard.Hooks{}.Require(nil) })
	})
}

func TestAuthenticatedRefusesAnonymousRequests(t *testing.T) {
	hooks := guard.Hooks{}
	t.Run("refuses where nobody identifies", func(t *testing.T) {
		next := new(spy)
		w := serve(hooks.Authenticated(next), get("/", "Authorization: Bearer ada"))
		want{401, []string{"Bearer"}, "", unauthenticatedBody}.check(t, w)
		if next.ran() {
			t.Error("next ran")
		}
	})
	t.Run("refuses an anonymous request", func(t *testing.T) {
		next := new(spy)
		w := serve(hooks.Identify(bearer())(hooks.Authenticated(next)), get("/"))
		want{401, []string{bearerLine}, "", unauthenticatedBody}.check(t, w)
		if next.ran() {
			t.Error("next ran")
		}
	})
	t.Run("admits a caller", func(t *testing.T) {
		next := new(spy)
		w := serve(hooks.Identify(bearer())(hooks.Authenticated(next)), get("/", "Authorization: Bearer ada"))
		want{200, nil, "", "hello ada"}.check(t, w)
	})
	t.Run("admits the caller of a host's own middleware", func(t *testing.T) {
		next := new(spy)
		r := get("/")
		r = r.WithContext(identity.NewContext(r.Context(), &identity.Principal{Subject: "bob"}))
		want{200, nil, "", "hello bob"}.check(t, serve(hooks.Authenticated(next), r))
	})
	t.Run("refuses when the host made the request anonymous again", func(t *testing.T) {
		next := new(spy)
		anonymous := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hooks.Authenticated(next).ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), nil)))
		})
		w := serve(hooks.Identify(bearer())(anonymous), get("/", "Authorization: Bearer ada"))
		want{401, []string{bearerLine}, "", unauthenticatedBody}.check(t, w)
		if next.ran() {
			t.Error("next ran")
		}
	})
}

func TestCallerIsTheIdentifiedOneOrAnError(t *testing.T) {
	for name, caller := range map[string]func(context.Context) (*identity.Principal, error){
		"Caller":     func(ctx context.Context) (*identity.Principal, error) { return guard.Caller(get("/").WithContext(ctx)) },
		"CallerFrom": guard.CallerFrom,
	} {
		ctx := identity.NewContext(t.Context(), nil)
		p, err := caller(ctx)
		if d, ok := errors.AsType[*guard.Denial](err); p != nil || !ok || d.Status != 401 || !errors.Is(err, guard.ErrNoCredentials) {
			t.Errorf("%s, anonymous: %v, %v", name, p, err)
		}
		ada := &identity.Principal{Subject: "ada"}
		if p, err = caller(identity.NewContext(ctx, ada)); p != ada || err != nil {
			t.Errorf("%s, ada: %v, %v", name, p, err)
		}
	}
}

// What a hook does to one refusal is not in the next.
func TestStepUpKeepsNothingOfTheRoutes(t *testing.T) {
	route := guard.Challenge{ACRValues: []string{"mfa"}, Params: []guard.Param{{Name: "a", Value: "b"}}}
	c := guard.StepUp(route, nil).Challenges[0]
	c.ACRValues[0], c.Params[0].Value = "changed", "changed"
	if got := guard.StepUp(route, nil).Challenges[0].String(); got != `Bearer error="insufficient_user_authentication", acr_values="mfa", a="b"` {
		t.Error(got)
	}
}

func TestDenialIsAnError(t *testing.T) {
	d := guard.Forbidden(errSecret)
	if !errors.Is(d, errSecret) || d.Error() != "403 forbidden: SECRET-REASON" {
		t.Error(d)
	}
	if d := guard.Forbidden(nil); d.Error() != "403 forbidden" || errors.Unwrap(d) != nil {
		t.Error(d)
	}
}
