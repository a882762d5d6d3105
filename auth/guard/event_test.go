package guard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

func TestEventOfARefusal(t *testing.T) {
	denied := func(status int) error { return &guard.Denial{Status: status, Code: "c", Err: errSecret} }
	tests := []struct {
		name  string
		err   error
		event guard.EventName
		level slog.Level
	}{
		{"an anonymous request to a guarded route is no news", guard.Unauthenticated(), guard.EventLoginFail, slog.LevelInfo},
		{"bad credentials", guard.InvalidToken("Bearer", errSecret), guard.EventLoginFail, slog.LevelWarn},
		{"a known caller refused", guard.Forbidden(errSecret), guard.EventAuthzFail, slog.LevelWarn},
		{"too many requests", denied(429), guard.EventRateLimit, slog.LevelWarn},
		{"too many attempts", guard.TooManyAttempts(1, errSecret), guard.EventLoginFailMax, slog.LevelWarn},
		{"a sign-in that is too old", guard.StepUp(guard.Challenge{}, errSecret), guard.EventAuthzFail, slog.LevelWarn},
		{"a malformed request", denied(400), guard.EventInputFail, slog.LevelWarn},
		{"a body over the limit", &http.MaxBytesError{Limit: 1}, guard.EventInputFail, slog.LevelWarn},
		{"a store that does not answer", errSecret, guard.EventUnavailable, slog.LevelError},
		{"a broken guard", denied(0), guard.EventUnavailable, slog.LevelError},
		{"the denial's own name", &guard.Denial{Status: 401, Event: guard.EventLoginFailMax}, guard.EventLoginFailMax, slog.LevelWarn},
		{"a token that came back", &guard.Denial{Status: 401, Event: guard.EventTokenReuse}, guard.EventTokenReuse, slog.LevelError},
		{"a call cancelled on the server", fmt.Errorf("store: %w", context.Canceled), guard.EventUnavailable, slog.LevelError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			heard := new(events)
			ada := &identity.Principal{Subject: "ada"}
			r := get("/a?token=QUERY")
			r = r.WithContext(identity.NewContext(r.Context(), ada))
			w := httptest.NewRecorder()
			guard.Hooks{Observe: heard.observe}.Refuse(w, r, test.err)
			if len(heard.all) != 1 {
				t.Fatalf("%d events, want 1", len(heard.all))
			}
			e := heard.all[0]
			if e.Name != test.event || e.Principal != ada || e.Denial == nil || e.Denial.Status != w.Code || e.Request.Path != "/a" {
				t.Errorf("event = %+v", e)
			}
			if line := logged(t, e); line["level"] != test.level.String() || line["msg"] != string(test.event) {
				t.Errorf("logged as %v %v, want %v %v", line["level"], line["msg"], test.level, test.event)
			}
		})
	}
}

// Whoever hangs up while a store works must not be able to ring the alarm.
func TestEventOfAClientThatWentAway(t *testing.T) {
	heard := new(events)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	guard.Hooks{Observe: heard.observe}.Refuse(httptest.NewRecorder(), get("/").WithContext(ctx), fmt.Errorf("store: %w", ctx.Err()))
	line := logged(t, heard.all[0])
	if line["level"] != "INFO" || line["reason"] != "guard: the client went away: store: context canceled" {
		t.Errorf("%v", line)
	}
}

func TestEventIsObservedBeforeTheResponse(t *testing.T) {
	w := httptest.NewRecorder()
	hooks := guard.Hooks{Observe: func(context.Context, guard.Event) {
		if len(w.Header()) != 0 || w.Body.Len() != 0 {
			t.Errorf("already there: %v %q", w.Header(), w.Body)
		}
	}}
	hooks.Refuse(w, get("/"), guard.Forbidden(nil))
}

func TestEmitFillsInTheRequestAndItsCaller(t *testing.T) {
	ada, bob := &identity.Principal{Subject: "ada"}, &identity.Principal{Subject: "bob"}
	r := get("/a")
	r = r.WithContext(identity.NewContext(r.Context(), ada))
	t.Run("nobody listens", func(t *testing.T) { guard.Hooks{}.Emit(r, guard.Event{Name: guard.EventUserCreated}) })
	t.Run("the request's caller is filled in", func(t *testing.T) {
		heard := new(events)
		guard.Hooks{Observe: heard.observe}.Emit(r, guard.Event{Name: guard.EventUserCreated})
		if e := heard.all[0]; e.Name != guard.EventUserCreated || e.Principal != ada || e.Request.Path != "/a" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("a refusal names its event", func(t *testing.T) {
		for _, test := range []struct{ given, want guard.Event }{
			{guard.Event{Denial: guard.Forbidden(nil)}, guard.Event{Name: guard.EventAuthzFail}},
			{guard.Event{Denial: guard.TooManyAttempts(0, nil)}, guard.Event{Name: guard.EventLoginFailMax}},
			{guard.Event{Name: guard.EventTokenReuse, Denial: guard.Forbidden(nil)}, guard.Event{Name: guard.EventTokenReuse}},
		} {
			heard := new(events)
			guard.Hooks{Observe: heard.observe}.Emit(r, test.given)
			guard.Hooks{Observe: heard.observe}.EmitContext(t.Context(), test.given)
			for _, e := range heard.all {
				if e.Name != test.want.Name {
					t.Errorf("%v: %q, want %q", test.given, e.Name, test.want.Name)
				}
			}
		}
	})
	t.Run("whom it concerns stands", func(t *testing.T) {
		heard := new(events)
		guard.Hooks{Observe: heard.observe}.Emit(r, guard.Event{Name: guard.EventUserUpdated, Principal: bob})
		if e := heard.all[0]; e.Principal != bob {
			t.Errorf("%+v", e)
		}
	})
}

// dirty are values that clients send to be logged.
var dirty = map[string]string{
	"a line break":          "a\nlevel=ERROR msg=forged",
	"CR LF":                 "a\r\nb",
	"NUL":                   "a\x00b",
	"an escape sequence":    "a\x1b[2Jb",
	"DEL":                   "a\x7fb",
	"a C1 control":          "a\u0085b\u009bc",
	"line separators":       "a\u2028b\u2029c",
	"bidi overrides":        "a\u202eb\u2066c\u200fd",
	"invisible characters":  "a\u200bb\ufeffc\u00add",
	"tags":                  "a\U000e0041b",
	"invalid UTF-8":         "a\xff\xc0\xafb",
	"a replacement":         "a\ufffdb",
	"a surrogate":           "a\xed\xa0\x80b",
	"very long":             strings.Repeat("x", 1<<20),
	"cut in mid-rune":       strings.Repeat("x", 255) + "€€€",
	"long and invalid":      strings.Repeat("\xff", 1000),
	"long with line breaks": strings.Repeat("\n", 1000),
	"letters of the world":  "José Ωμέγα 日本 🙂",
	"nothing":               "",
	"something plain":       "ada",
}

// isClean reports whether s is fit for one line of a log.
func isClean(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) || r == utf8.RuneError {
			return false
		}
	}
	return utf8.ValidString(s) && len(s) <= 256+len("…")
}

func TestEventFactsAreClean(t *testing.T) {
	for name, value := range dirty {
		t.Run(name, func(t *testing.T) {
			r := get("/")
			r.Method, r.Host, r.RemoteAddr, r.URL.Path, r.Pattern = value, value, value, value, value
			r.Header.Set("User-Agent", value)
			heard := new(events)
			guard.Hooks{Observe: heard.observe}.Emit(r, guard.Event{Name: guard.EventLoginFail, Login: value})
			e := heard.all[0]
			for _, got := range []string{e.Login, e.Request.Method, e.Request.Host, e.Request.RemoteAddr, e.Request.Path,
				e.Request.Pattern, e.Request.UserAgent} {
				if !isClean(got) {
					t.Errorf("%+.80q is kept as %+q", value, got)
				}
				if isClean(value) && got != value {
					t.Errorf("%+.80q is changed to %+q without need", value, got)
				}
			}
		})
	}
}

func TestEventWithoutURL(t *testing.T) {
	heard := new(events)
	guard.Hooks{Observe: heard.observe}.Emit(&http.Request{Method: "GET"}, guard.Event{Name: guard.EventLoginFail})
	if f := heard.all[0].Request; f != (guard.RequestFacts{Method: "GET"}) {
		t.Errorf("%+v", f)
	}
}

// FuzzEventFacts: whatever a client sends, one event is one line.
func FuzzEventFacts(f *testing.F) {
	for _, value := range dirty {
		f.Add(value[:min(len(value), 2000)])
	}
	f.Fuzz(func(t *testing.T, value string) {
		heard := new(events)
		hooks := guard.Hooks{Observe: heard.observe}
		hooks.Emit(get("/"), guard.Event{Name: guard.EventLoginFail, Login: value})
		got := heard.all[0].Login
		if !isClean(got) {
			t.Errorf("%+q is kept as %+q", value, got)
		}
		hooks.Emit(get("/"), guard.Event{Name: guard.EventLoginFail, Login: got})
		if again := heard.all[1].Login; len(got) <= 256 && again != got {
			t.Errorf("%+q is not stable: %+q", got, again)
		}
	})
}

// logged returns the line that Log makes of e as JSON.
func logged(t *testing.T, e guard.Event) map[string]any {
	t.Helper()
	var b bytes.Buffer
	guard.Log(slog.New(slog.NewJSONHandler(&b, nil)))(t.Context(), e)
	if n := bytes.Count(b.Bytes(), []byte("\n")); n != 1 {
		t.Fatalf("%d lines:\n%s", n, &b)
	}
	line := map[string]any{}
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	return line
}

func TestAnEventIsOneLineOfTheLog(t *testing.T) {
	e := guard.Event{
		Name: guard.EventLoginFail,
		Principal: &identity.Principal{Issuer: "https://id.example", Subject: "ada", Tenant: "t", Session: "s", Credential: "c",
			Client: identity.FirstParty, Claims: `{"email":"SECRET"}`},
		Login:   "ada@example.com",
		Denial:  guard.InvalidToken("Bearer", errors.New("expired")),
		Request: guard.RequestFacts{Method: "GET", Pattern: "GET /a", Path: "/a", Host: "h", RemoteAddr: "192.0.2.1:1", UserAgent: "curl/8"},
	}
	noTime := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	tests := []struct {
		name    string
		handler func(*bytes.Buffer) slog.Handler
		want    string
	}{
		{"text", func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, noTime) },
			`level=WARN msg=authn_login_fail principal.issuer=https://id.example principal.subject=ada principal.tenant=t ` +
				`principal.session=s principal.credential=c principal.client=first-party login=ada@example.com outcome=refused status=401 code=invalid_token ` +
				`reason=expired request.method=GET request.pattern="GET /a" request.path=/a request.host=h ` +
				`request.remote_addr=192.0.2.1:1 request.user_agent=curl/8` + "\n"},
		{"JSON", func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, noTime) },
			`{"level":"WARN","msg":"authn_login_fail","principal":{"issuer":"https://id.example","subject":"ada","tenant":"t",` +
				`"session":"s","credential":"c","client":"first-party"},"login":"ada@example.com","outcome":"refused","status":401,"code":"invalid_token",` +
				`"reason":"expired","request":{"method":"GET","pattern":"GET /a","path":"/a","host":"h",` +
				`"remote_addr":"192.0.2.1:1","user_agent":"curl/8"}}` + "\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			guard.Log(slog.New(test.handler(&b)))(t.Context(), e)
			if b.String() != test.want {
				t.Errorf("\n got %s\nwant %s", &b, test.want)
			}
		})
	}
}

// recordHandler keeps the strings of a record as they are, as a handler does
// that writes them without quotes.
type recordHandler struct{ strings *[]string }

func (h recordHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h recordHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h recordHandler) WithGroup(string) slog.Handler            { return h }
func (h recordHandler) Handle(_ context.Context, r slog.Record) error {
	var walk func(a slog.Attr)
	walk = func(a slog.Attr) {
		v := a.Value.Resolve()
		if v.Kind() == slog.KindGroup {
			for _, a := range v.Group() {
				walk(a)
			}
			return
		}
		*h.strings = append(*h.strings, v.String())
	}
	r.Attrs(func(a slog.Attr) bool { walk(a); return true })
	return nil
}

func TestLogIsClean(t *testing.T) {
	for name, value := range dirty {
		t.Run(name, func(t *testing.T) {
			var kept []string
			log := guard.Log(slog.New(recordHandler{&kept}))
			r := get("/")
			r.Host, r.URL.Path = value, value
			r.URL.RawQuery = "token=QUERY"
			// A subject may be what a remote issuer chose.
			p := &identity.Principal{Issuer: value, Subject: value, Tenant: value, Session: value, Credential: value, Client: value}
			guard.Hooks{Observe: log}.Emit(r, guard.Event{
				Name:      guard.EventLoginFail,
				Principal: p,
				Login:     value,
				Denial:    &guard.Denial{Status: 401, Code: value, Err: errors.New(value)},
				Err:       errors.New(value),
			})
			if len(kept) < 8 {
				t.Fatalf("logged %q", kept)
			}
			for _, s := range kept {
				if !isClean(s) || strings.Contains(s, "QUERY") {
					t.Errorf("%+.80q is logged", s)
				}
			}
		})
	}
}

func TestEventsHaveTheLevelOfTheirGravity(t *testing.T) {
	tests := []struct {
		name  string
		event guard.Event
		want  slog.Level
	}{
		{"a sign-in", guard.Event{Name: guard.EventLoginSuccess}, slog.LevelInfo},
		{"a change of rights", guard.Event{Name: guard.EventAuthzChange}, slog.LevelInfo},
		{"a failure beside the point", guard.Event{Name: guard.EventLoginSuccess, Err: errSecret}, slog.LevelError},
		{"a refusal", guard.Event{Denial: guard.Forbidden(nil)}, slog.LevelWarn},
		{"a refusal for want of credentials", guard.Event{Denial: guard.Unauthenticated()}, slog.LevelInfo},
		{"a server error", guard.Event{Denial: guard.Unavailable(0, nil)}, slog.LevelError},
		{"a server error for want of credentials", guard.Event{Denial: guard.Unavailable(0, guard.ErrNoCredentials)}, slog.LevelError},
		{"a token that came back, without refusal", guard.Event{Name: guard.EventTokenReuse}, slog.LevelError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := logged(t, test.event)["level"]; got != test.want.String() {
				t.Errorf("level = %v, want %v", got, test.want)
			}
			var b bytes.Buffer
			guard.Log(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: test.want + 1})))(t.Context(), test.event)
			if b.Len() != 0 {
				t.Errorf("logged below the level of the logger: %s", &b)
			}
		})
	}
	t.Run("no logger is a mistake", func(t *testing.T) { mustPanic(t, func() { guard.Log(nil) }) })
}

func TestReasonsOfRefusalsSayWhatIsMissing(t *testing.T) {
	hooks := guard.Hooks{}
	tokens, keys := bearer(), apiKeys()
	for _, test := range []struct {
		name   string
		guard  func(observed guard.Hooks) http.Handler
		header string
		status int
		says   []string
		level  slog.Level
	}{
		{"Identify was forgotten", func(h guard.Hooks) http.Handler { return h.Authenticated(new(spy)) },
			"Authorization: Bearer ada", 401, []string{"no credentials", "Hooks.Identify", "Mux"}, slog.LevelInfo},
		{"Identify was forgotten before Accept", func(h guard.Hooks) http.Handler { return h.Accept(keys)(new(spy)) },
			"X-Api-Key: robot", 401, []string{"no credentials", "Hooks.Identify", "Mux"}, slog.LevelInfo},
		{"the Mux has no authenticators", func(h guard.Hooks) http.Handler {
			mux := guard.NewMux(h)
			mux.Handle("/", h.Authenticated(new(spy)))
			return mux
		}, "X-Api-Key: robot", 401, []string{"no credentials", "Mux with authenticators"}, slog.LevelInfo},
		{"an anonymous request", func(h guard.Hooks) http.Handler { return hooks.Identify(tokens)(h.Authenticated(new(spy))) },
			"Accept: */*", 401, []string{"guard: no credentials"}, slog.LevelInfo},
		{"a scheme that no authenticator takes", func(h guard.Hooks) http.Handler { return hooks.Identify(tokens)(h.Authenticated(new(spy))) },
			"Authorization: Basic c2VjcmV0", 401, []string{"no credentials", `"Basic"`, "Bearer"}, slog.LevelInfo},
		{"an Authorization header without a scheme", func(h guard.Hooks) http.Handler { return hooks.Identify(tokens)(h.Authenticated(new(spy))) },
			"Authorization: c2VjcmV0", 401, []string{"no credentials", "no scheme"}, slog.LevelInfo},
		{"a good key where tokens are accepted", func(h guard.Hooks) http.Handler { return hooks.Identify(tokens, keys)(h.Accept(tokens)(new(spy))) },
			"X-Api-Key: robot", 401, []string{"identified by ApiKey", "accepts Bearer"}, slog.LevelWarn},
		{"a caller of the host's own where keys are accepted", func(h guard.Hooks) http.Handler {
			return hostsOwn(&identity.Principal{Subject: "bob"}, hooks.Identify(tokens, keys)(h.Accept(keys)(new(spy))))
		}, "Accept: */*", 401, []string{"host's own middleware", "accepts ApiKey"}, slog.LevelWarn},
		{"two callers", func(h guard.Hooks) http.Handler {
			return hooks.Identify(keys)(hostsOwn(&identity.Principal{Subject: "bob"}, h.Authenticated(new(spy))))
		}, "X-Api-Key: robot", 400, []string{"two different callers"}, slog.LevelWarn},
		{"a path that leads nowhere", func(h guard.Hooks) http.Handler { return guard.NewMux(h) },
			"Accept: */*", 404, []string{"no route"}, slog.LevelInfo},
		{"the same, of another router", func(h guard.Hooks) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.Refuse(w, r, guard.NotFound(nil)) })
		}, "Accept: */*", 404, nil, slog.LevelInfo},
		{"a method that another router does not know", func(h guard.Hooks) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.Refuse(w, r, guard.MethodNotAllowed(w)) })
		}, "Accept: */*", 405, nil, slog.LevelInfo},
		{"a 404 that hides a refusal", func(h guard.Hooks) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				d := guard.NotFound(nil)
				d.Event = guard.EventAuthzFail
				h.Refuse(w, r, d)
			})
		}, "Accept: */*", 404, nil, slog.LevelWarn},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			observed := guard.Hooks{Observe: guard.Log(slog.New(slog.NewJSONHandler(&log, nil)))}
			if w := serve(test.guard(observed), get("/", test.header)); w.Code != test.status {
				t.Errorf("answered %d, want %d", w.Code, test.status)
			}
			var line struct{ Level, Reason string }
			if err := json.Unmarshal(log.Bytes(), &line); err != nil {
				t.Fatalf("%v: %s", err, &log)
			}
			for _, want := range test.says {
				if !strings.Contains(line.Reason, want) {
					t.Errorf("the reason is %q, want %q in it", line.Reason, want)
				}
			}
			if line.Level != test.level.String() {
				t.Errorf("level %s, want %s", line.Level, test.level)
			}
			if strings.Contains(log.String(), "c2VjcmV0") {
				t.Errorf("the log has the credential:\n%s", &log)
			}
		})
	}
}
