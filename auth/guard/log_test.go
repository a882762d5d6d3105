package guard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// A schema is the part of JSON Schema that event.schema.json uses.
type schema struct {
	Schema               string `json:"$schema"`
	Title                string
	Type                 any
	Required             []string
	AdditionalProperties json.RawMessage
	Properties           map[string]schema
	Items                *schema
	Enum                 []string
	Pattern              string
	MaxLength            int
	Minimum              *float64
}

// mistakes returns what is wrong with the value at path.
func (s schema) mistakes(path string, value any) (wrong []string) {
	no := func(format string, args ...any) { wrong = append(wrong, path+": "+fmt.Sprintf(format, args...)) }
	if !s.takes(value) {
		no("is a %T, want %v", value, s.Type)
	}
	if s.Enum != nil && !slices.Contains(s.Enum, fmt.Sprint(value)) {
		no("is %v, want one of %q", value, s.Enum)
	}
	switch v := value.(type) {
	case string:
		if s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			no("%q does not match %s", v, s.Pattern)
		}
		if n := utf8.RuneCountInString(v); s.MaxLength > 0 && n > s.MaxLength {
			no("has %d characters, want at most %d", n, s.MaxLength)
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum {
			no("is %v, want at least %v", v, *s.Minimum)
		}
	case []any:
		for i, item := range v {
			if s.Items != nil {
				wrong = append(wrong, s.Items.mistakes(fmt.Sprintf("%s[%d]", path, i), item)...)
			}
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				no("has no %s", name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner, ok := s.Properties[name]
			if !ok && string(s.AdditionalProperties) == "false" {
				no("has %q", name)
				continue
			}
			if !ok && json.Unmarshal(s.AdditionalProperties, &inner) != nil {
				no("the schema does not describe %q", name)
			}
			wrong = append(wrong, inner.mistakes(path+"."+name, v[name])...)
		}
	}
	return wrong
}

func (s schema) takes(value any) bool {
	for _, name := range regexp.MustCompile(`[a-z]+`).FindAllString(fmt.Sprint(s.Type), -1) {
		switch v := value.(type) {
		case string:
			if name == "string" {
				return true
			}
		case bool:
			if name == "boolean" {
				return true
			}
		case float64:
			if name == "number" || name == "integer" && v == math.Trunc(v) {
				return true
			}
		case []any:
			if name == "array" {
				return true
			}
		case map[string]any:
			if name == "object" {
				return true
			}
		}
	}
	return s.Type == nil
}

func eventSchema(t testing.TB) schema {
	t.Helper()
	b, err := os.ReadFile("testdata/event.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // the checker knows every keyword
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// full returns an event in which every value of a string is text.
func full(text string) guard.Event {
	e := guard.Event{
		Name:      guard.EventLoginFail,
		Principal: &identity.Principal{Issuer: text, Subject: text, Tenant: text, Session: text, Credential: text, Client: text},
		Login:     text,
		Way:       text,
		Target:    text,
		Session:   text,
		Denial:    &guard.Denial{Status: 403, Code: text, Err: errors.New(text)},
		Err:       errors.New(text),
		Request: guard.RequestFacts{Method: text, Pattern: text, Path: text, Host: text, RemoteAddr: text, UserAgent: text,
			TraceID: "0af7651916cd43dd8448eb211c80319c"},
	}
	for i := range 20 {
		key := fmt.Sprintf("%02d%s", i, text)
		switch i % 5 {
		case 0:
			e.Changes = append(e.Changes, slog.Any(key, slices.Repeat([]string{text}, 50)))
		default:
			e.Changes = append(e.Changes, slog.String(key, text))
		}
	}
	return e
}

// lines returns the lines of e by slog's two handlers.
func lines(t testing.TB, e guard.Event) (jsonLine, textLine string) {
	t.Helper()
	var j, x bytes.Buffer
	guard.Log(slog.New(slog.NewJSONHandler(&j, nil)))(t.Context(), e)
	guard.Log(slog.New(slog.NewTextHandler(&x, nil)))(t.Context(), e)
	return j.String(), x.String()
}

func TestLinesOfTheLogFollowTheSchema(t *testing.T) {
	s := eventSchema(t)
	var all []guard.Event
	hooks := guard.Hooks{Observe: func(_ context.Context, e guard.Event) { all = append(all, e) }}
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	names, root := map[string]bool{}, moduleRoot(t)
	for _, dir := range folders(t, root) {
		maps.Copy(names, parseFolder(t, filepath.Join(root, dir)).events)
	}
	if len(names) < 35 {
		t.Errorf("only %d names of events were found", len(names))
	}
	for text := range names {
		name := guard.EventName(text)
		hooks.EmitContext(t.Context(), guard.Event{Name: name})
		hooks.Emit(get("/"), guard.Event{Name: name, Time: at, Changes: []slog.Attr{
			slog.Int("left", 7), slog.Bool("active", true), slog.Duration("overlap", time.Hour), slog.Time("before", at),
			slog.Any("roles", []string{"admin"}), slog.Float64("ratio", 0.5), slog.Float64("none", math.NaN()),
		}})
		hooks.Emit(get("/"), guard.Event{Name: name, Err: errSecret})
	}
	for _, status := range []int{0, 400, 401, 403, 404, 429, 503} {
		hooks.Emit(get("/"), guard.Event{Denial: &guard.Denial{Status: status, Err: errSecret}})
	}
	for _, value := range dirty {
		hooks.EmitContext(t.Context(), full(value))
		all = append(all, full(value)) // without Emit
	}
	for _, e := range all {
		line, _ := lines(t, e)
		var value any
		if err := json.Unmarshal([]byte(line), &value); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, wrong := range s.mistakes("line", value) {
			t.Errorf("%s\n%s", wrong, line)
		}
	}
}

func TestChangesAreTypedAndHoldNoSecret(t *testing.T) {
	e := guard.Event{Name: guard.EventAuthzChange, Time: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("", 3600))}
	e.Changes = []slog.Attr{
		slog.Int("left", 7), slog.Duration("overlap", time.Hour), slog.Any("added", []string{"a", "b\n"}), slog.Time("before", e.Time),
		slog.Any("secret", guard.NewSecret([]byte("SECRET"))), slog.Any("bytes", []byte("SECRET")), slog.Any("error", errors.New("SECRET")),
		slog.Group("group", slog.String("a", "SECRET")), slog.String("Key=1 x\n", "value"),
	}
	var got guard.Event
	guard.Hooks{Observe: func(_ context.Context, e guard.Event) { got = e }}.EmitContext(t.Context(), e)
	line, text := lines(t, got)
	want := `"changes":{"left":7,"overlap":"1h0m0s","added":["a","b?"],"before":"2026-03-01T11:00:00.123456Z","secret":"[redacted]",` +
		`"bytes":"[redacted]","error":"[redacted]","group":"[redacted]","_ey_1_x_":"value"}`
	if !strings.HasPrefix(line, `{"time":"2026-03-01T11:00:00.123456Z"`) || !strings.Contains(line, want) {
		t.Errorf("%s\nwant %s", line, want)
	}
	if !strings.Contains(text, `changes.left=7 changes.overlap=1h0m0s changes.added="[a b?]" changes.before=2026-03-01T11:00:00.123Z`) {
		t.Error(text)
	}
}

func TestALineOfTheLogIsShort(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 5000), strings.Repeat(`"`, 5000), strings.Repeat(`\`, 5000), strings.Repeat("\u00a0", 5000),
		strings.Repeat("\u3000", 5000), strings.Repeat("日", 5000), strings.Repeat("\U0001f642", 5000), strings.Repeat("\n", 5000), strings.Repeat("\U000e0100", 5000)} {
		j, x := lines(t, full(text))
		for _, line := range []string{j, x} {
			if len(line) > 4096 {
				t.Errorf("%.4q: %d bytes: %.200s", text, len(line), line)
			}
			if len(line) < 1000 {
				t.Errorf("%.4q: only %d bytes are left: %.200s", text, len(line), line)
			}
		}
	}
}

func TestTraceID(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	const good = "00-" + id + "-b7ad6b7169203331-01"
	for _, test := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"a header", []string{good}, id},
		{"none", nil, ""},
		{"two headers", []string{good, good}, ""},
		{"upper case", []string{strings.ToUpper(good)}, ""},
		{"version ff", []string{"ff" + good[2:]}, ""},
		{"a later version", []string{"cc" + good[2:]}, id},
		{"a later version with more", []string{"cc" + good[2:] + "-what the future holds"}, id},
		{"a later version with something else", []string{"cc" + good[2:] + ".x"}, ""},
		{"version 00 with more", []string{good + "-x"}, ""},
		{"no trace", []string{"00-00000000000000000000000000000000-b7ad6b7169203331-01"}, ""},
		{"no parent", []string{"00-" + id + "-0000000000000000-01"}, ""},
		{"malformed flags", []string{good[:53] + "0g"}, ""},
		{"short", []string{good[:54]}, ""},
		{"other separators", []string{strings.ReplaceAll(good, "-", "_")}, ""},
		{"a line break", []string{"00-" + id[:31] + "\n-b7ad6b7169203331-01"}, ""},
		{"empty", []string{""}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			heard := new(events)
			r := get("/")
			if test.headers != nil {
				r.Header["Traceparent"] = test.headers
			}
			guard.Hooks{Observe: heard.observe}.Emit(r, guard.Event{Name: guard.EventUserCreated})
			if got := heard.all[0].Request.TraceID; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestEmitContextKnowsTheRequestOfIdentifyAndProvide(t *testing.T) {
	heard := new(events)
	hooks := guard.Hooks{Observe: heard.observe}
	var inner http.HandlerFunc = func(_ http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		r.Header.Set("User-Agent", "changed by a handler")
		hooks.EmitContext(ctx, guard.Event{Name: guard.EventUserCreated})
		hooks.EmitContext(guard.WithCaller(ctx, &identity.Principal{Subject: "bob"}, trivial()), guard.Event{Name: guard.EventUserCreated})
		guard.Hooks{Observe: heard.observe}.EmitContext(t.Context(), guard.Event{Name: guard.EventUserCreated})
	}
	mux := http.NewServeMux()
	mux.Handle("GET /items/{id}", inner)
	for name, h := range map[string]http.Handler{
		"Identify": hooks.Identify(anonymous())(mux),
		"Provide":  hooks.Provide(mux),
	} {
		t.Run(name, func(t *testing.T) {
			*heard = events{}
			r := get("/items/7", "User-Agent: curl/8", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			serve(h, r)
			want := guard.RequestFacts{Method: "GET", Pattern: "GET /items/{id}", Path: "/items/7", Host: r.Host, RemoteAddr: r.RemoteAddr,
				UserAgent: "curl/8", TraceID: "0af7651916cd43dd8448eb211c80319c"}
			if got := heard.all[0].Request; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if name == "Identify" && heard.all[1].Request != want {
				t.Errorf("within WithCaller: %+v", heard.all[1].Request)
			}
			if got := heard.all[2]; got.Request != (guard.RequestFacts{}) || got.Time.IsZero() || got.Time.Location() != time.UTC {
				t.Errorf("without a request: %+v at %v", got.Request, got.Time)
			}
		})
	}
}

func TestANestedChangeIsNoEventOfItsOwn(t *testing.T) {
	heard := new(events)
	hooks := guard.Hooks{Observe: heard.observe}
	ctx := guard.NestedChange(guard.NestedChange(t.Context()))
	hooks.EmitContext(ctx, guard.Event{Name: guard.EventTokenRevoked})
	hooks.Emit(get("/").WithContext(ctx), guard.Event{Name: guard.EventTokenRevoked})
	if len(heard.all) != 0 {
		t.Errorf("events %+v", heard.all)
	}
	hooks.EmitContext(ctx, guard.Event{Name: guard.EventUnavailable, Err: errSecret})
	hooks.EmitContext(ctx, guard.Event{Denial: guard.Forbidden(nil)})
	if len(heard.all) != 2 {
		t.Errorf("%d events, want the failure and the refusal", len(heard.all))
	}
}

// textKeys are the keys that a line of the TextHandler may have.
var textKeys = regexp.MustCompile(`^(time|level|msg|login|way|target|session|outcome|status|code|reason|error|` +
	`principal\.(issuer|subject|tenant|session|credential|client)|changes\.[a-z0-9_]*|` +
	`request\.(method|pattern|path|host|remote_addr|user_agent|trace_id))$`)

// textPair is a pair of the TextHandler at the beginning of a line.
var textPair = regexp.MustCompile(`^([a-z0-9_.]+)=("(?:[^"\\]|\\.)*"|[^ "=]*)(?: |$)`)

// FuzzLogLines: no value makes a second line, a pair of its own, or a line of more
// than 4 KiB.
func FuzzLogLines(f *testing.F) {
	for _, value := range dirty {
		f.Add(value[:min(len(value), 2000)])
	}
	f.Add(`a" level=ERROR msg="forged`)
	f.Add(`a","msg":"forged`)
	f.Add("level=ERROR")
	s := eventSchema(f)
	f.Fuzz(func(t *testing.T, value string) {
		j, x := lines(t, full(value))
		for _, line := range []string{j, x} {
			if len(line) > 4096 || strings.IndexFunc(line, unicode.IsControl) != len(line)-1 || !utf8.ValidString(line) {
				t.Fatalf("%d bytes: %q", len(line), line)
			}
		}
		var parsed any
		if err := json.Unmarshal([]byte(j), &parsed); err != nil {
			t.Fatal(err)
		}
		if wrong := s.mistakes("line", parsed); wrong != nil {
			t.Fatal(wrong)
		}
		seen := map[string]bool{}
		for rest := strings.TrimSuffix(x, "\n"); rest != ""; {
			pair := textPair.FindStringSubmatch(rest)
			if pair == nil || !textKeys.MatchString(pair[1]) || seen[pair[1]] && !strings.HasPrefix(pair[1], "changes.") {
				t.Fatalf("at %q of %s", rest, x)
			}
			seen[pair[1]] = true
			rest = rest[len(pair[0]):]
		}
	})
}
