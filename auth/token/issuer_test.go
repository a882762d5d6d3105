package token_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

func TestIssuerMistakesAreJoined(t *testing.T) {
	_, err := token.NewIssuer(nil, token.IssuerConfig{Lifetime: -time.Second})
	for _, want := range []string{"Keyring is nil", "IssuerConfig.Issuer is empty", "IssuerConfig.Audience is empty", "IssuerConfig.Lifetime is -1s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewIssuer = %v, want it to mention %q", err, want)
		}
	}
	_, err = token.NewIssuer(kits()[token.HS256].ring, token.IssuerConfig{Issuer: "a\xff", Audience: "a\n", Type: "a\x00"})
	for _, want := range []string{"Issuer", "Audience", "Type"} {
		if err == nil || !strings.Contains(err.Error(), "IssuerConfig."+want+" is \"") {
			t.Errorf("NewIssuer = %v, want it to mention %q", err, want)
		}
	}
	i := newIssuer(t, kits()[token.HS256].ring)
	if i.Name() != issuerName || i.Lifetime() != 15*time.Minute {
		t.Errorf("Name %q, Lifetime %v", i.Name(), i.Lifetime())
	}
}

func TestIssueCompletesThePrincipal(t *testing.T) {
	for _, alg := range everyday {
		t.Run(string(alg), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := kits()[alg]
				time.Sleep(1234567 * time.Nanosecond)
				now := time.Now()
				in := identity.Principal{
					Subject: `alice <"&\> é😀`, Tenant: "acme", Session: "s-1", Client: "app", Roles: identity.NewSet("admin", "a b"),
					Scopes: identity.NewSet("write:items", "read:items"), Factors: identity.NewSet("pwd", "otp"), AuthTime: now.Add(-time.Minute),
				}
				p := in
				s, err := newIssuer(t, k.ring).Issue(t.Context(), &p, nil)
				if err != nil {
					t.Fatal(err)
				}
				if want := now.Truncate(time.Microsecond); !p.IssuedAt.Equal(want) || p.IssuedAt.Nanosecond()%1000 != 0 {
					t.Errorf("IssuedAt %v, want %v", p.IssuedAt, want)
				}
				if want := now.Add(15 * time.Minute).Truncate(time.Second); !p.Expires.Equal(want) {
					t.Errorf("Expires %v, want %v", p.Expires, want)
				}
				if p.Issuer != issuerName || len(p.Credential) != 26 {
					t.Errorf("completed to %+v", p)
				}

				// RFC 9068 section 2: what it must say.
				parts := strings.Split(s, ".")
				var header, claims map[string]any
				for i, into := range []*map[string]any{&header, &claims} {
					raw, err := decode(parts[i])
					if err != nil {
						t.Fatal(err)
					}
					if err := json.Unmarshal(raw, into); err != nil {
						t.Fatal(err)
					}
				}
				if fmt.Sprint(header) != fmt.Sprint(map[string]any{"alg": string(alg), "kid": k.kid, "typ": "at+jwt"}) {
					t.Errorf("header %v", header)
				}
				want := map[string]any{
					"iss": issuerName, "exp": float64(p.Expires.Unix()), "aud": audience, "sub": in.Subject, "client_id": "app",
					"iat": float64(p.IssuedAt.UnixMicro()) / 1e6, "jti": p.Credential, "auth_time": float64(in.AuthTime.Unix()),
					"amr": []any{"otp", "pwd"}, "scope": "read:items write:items", "roles": []any{"a b", "admin"}, "sid": "s-1", "tenant": "acme",
				}
				if fmt.Sprint(claims) != fmt.Sprint(want) {
					t.Errorf("claims %v\nwant   %v", claims, want)
				}

				o := serve(newVerifier(t, k.ring), get("Bearer "+s))
				wantAccepted(t, o)
				got := *o.principal
				if !got.IssuedAt.Equal(p.IssuedAt) || !got.Expires.Equal(p.Expires) || got.AuthTime.Unix() != p.AuthTime.Unix() {
					t.Errorf("dates %v %v %v, want %v %v %v", got.IssuedAt, got.Expires, got.AuthTime, p.IssuedAt, p.Expires, p.AuthTime)
				}
				if got.Subject != in.Subject || got.Tenant != in.Tenant || got.Session != in.Session || got.Client != in.Client ||
					got.Credential != p.Credential || got.Issuer != issuerName ||
					!got.Roles.Equal(in.Roles) || !got.Scopes.Equal(in.Scopes) || !got.Factors.Equal(in.Factors) {
					t.Errorf("verified %#v, issued %#v", got, p)
				}
			})
		})
	}
	t.Run("little is said of somebody of whom little is known", func(t *testing.T) {
		k := kits()[token.HS256]
		raw, err := decode(strings.Split(issue(t, newIssuer(t, k.ring), identity.Principal{}, nil), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := json.Unmarshal(raw, &claims); err != nil || len(claims) != 7 || claims["client_id"] != "first-party" {
			t.Errorf("claims %s, %v; want the seven of RFC 9068 section 2.2", raw, err)
		}
	})
	t.Run("two tokens have two IDs", func(t *testing.T) {
		i := newIssuer(t, kits()[token.HS256].ring)
		var a, b identity.Principal
		a.Subject, b.Subject = "alice", "alice"
		i.Issue(t.Context(), &a, nil)
		i.Issue(t.Context(), &b, nil)
		if a.Credential == b.Credential || a.Credential == "" {
			t.Errorf("IDs %q and %q", a.Credential, b.Credential)
		}
	})
}

// TestIssueRejectsWhatAVerifierWouldReject shows that whatever is issued is also verified: what a
// verifier would not take back as it was is an error.
func TestIssueRejectsWhatAVerifierWouldReject(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, p := range map[string]identity.Principal{
		"no subject":                         {},
		"a subject that is not UTF-8":        {Subject: "a\xff"},
		"a subject with a line break":        {Subject: "a\nb"},
		"a subject with NUL":                 {Subject: "a\x00"},
		"a subject with a C1 control":        {Subject: "a\u0085"},
		"a tenant that is not UTF-8":         {Subject: "a", Tenant: "\xff"},
		"a session that is not UTF-8":        {Subject: "a", Session: "\xff"},
		"a client that is not UTF-8":         {Subject: "a", Client: "\xff"},
		"a credential that is not UTF-8":     {Subject: "a", Credential: "\xff"},
		"a role that is not UTF-8":           {Subject: "a", Roles: identity.NewSet("ok", "\xff")},
		"a role with a tab":                  {Subject: "a", Roles: identity.NewSet("a\tb")},
		"a factor that is not UTF-8":         {Subject: "a", Factors: identity.NewSet("\xff")},
		"a scope with a quote":               {Subject: "a", Scopes: identity.NewSet(`a"`)},
		"a scope with a backslash":           {Subject: "a", Scopes: identity.NewSet(`a\`)},
		"a scope with a tab":                 {Subject: "a", Scopes: identity.NewSet("a\tb")},
		"a scope with a space before":        {Subject: "a", Scopes: identity.NewSet(" a")},
		"a scope beyond ASCII":               {Subject: "a", Scopes: identity.NewSet("ä")},
		"an issue date before 1970":          {Subject: "a", IssuedAt: time.Unix(-5, 5000)},
		"an issue date after 9999":           {Subject: "a", IssuedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"an expiry before 1970":              {Subject: "a", Expires: time.Unix(-5, 0)},
		"an expiry before the issue":         {Subject: "a", IssuedAt: at, Expires: at.Add(-time.Second)},
		"an expiry at the issue":             {Subject: "a", IssuedAt: at, Expires: at},
		"a sign-in before 1970":              {Subject: "a", AuthTime: time.Unix(-1, 0)},
		"a sign-in in the year of something": {Subject: "a", AuthTime: time.Unix(1<<62, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := newIssuer(t, kits()[token.HS256].ring).Issue(t.Context(), &p, nil)
			if s != "" || err == nil || !strings.HasPrefix(err.Error(), "auth/token: ") {
				t.Errorf("Issue = %q, %v; want an error", s, err)
			}
		})
	}
}

type plan struct {
	Tier  string `json:"tier"`
	Seats int    `json:"seats"`
}

func TestExtraClaimsComeBack(t *testing.T) {
	k := kits()[token.HS256]
	i, v := newIssuer(t, k.ring), newVerifier(t, k.ring)
	t.Run("they come back", func(t *testing.T) {
		type custom struct {
			Plan  plan           `json:"plan"`
			Tags  []string       `json:"tags"`
			More  map[string]any `json:"more"`
			Name  string         `json:"sub"`
			Since time.Time      `json:"since"`
			Big   json.Number    `json:"big"`
		}
		in := custom{plan{"gold <&>", 7}, []string{"a", "é\n"}, map[string]any{"X": 1.5, "x2": nil}, "", time.Unix(1e9, 0).UTC(), "123456789012345678901234567890"}
		extra := map[string]any{"plan": in.Plan, "tags": in.Tags, "more": in.More, "since": in.Since, "big": in.Big}
		p, err := v.Verify(t.Context(), issue(t, i, identity.Principal{}, extra))
		if err != nil {
			t.Fatal(err)
		}
		ctx := identity.NewContext(t.Context(), p)
		got, err := token.Claims[custom](ctx)
		in.Name = "alice"
		if err != nil || fmt.Sprint(got) != fmt.Sprint(in) {
			t.Errorf("Claims = %+v, %v; want %+v", got, err, in)
		}
		// Each call decodes anew.
		got.Tags[0], got.More["X"] = "changed", "changed"
		if again, _ := token.Claims[custom](ctx); fmt.Sprint(again) != fmt.Sprint(in) {
			t.Errorf("after a change: %+v, want %+v", again, in)
		}
		if pointer, err := token.Claims[*custom](ctx); err != nil || fmt.Sprint(*pointer) != fmt.Sprint(in) {
			t.Errorf("Claims of a pointer = %+v, %v", pointer, err)
		}
		if all, err := token.Claims[map[string]json.RawMessage](ctx); err != nil || string(all["tags"]) != `["a","é\n"]` {
			t.Errorf("Claims of a map = %s, %v", all, err)
		}
	})
	many := make(map[string]int)
	for n := range 60 {
		many[fmt.Sprint("c", n)] = n
	}
	deep := any(1)
	for range 9 {
		deep = []any{deep}
	}
	for name, extra := range map[string]any{
		"a string": "x", "a number": 1, "an array": []int{1}, "true": true, "a channel": make(chan int), "a raw array": json.RawMessage("[]"),
		"raw noise": json.RawMessage("{"), "raw and something behind": json.RawMessage("{} {}"), "a raw member twice": json.RawMessage(`{"a":1,"a":2}`),
		"a raw member twice, within": json.RawMessage(`{"b":[{"a":1,"a":2}]}`),
		"an escaped registered name": json.RawMessage(`{"\u0073ub":"admin"}`), "raw that is not UTF-8": json.RawMessage("{\"a\":\"\xff\"}"),
		"half a surrogate pair": json.RawMessage(`{"a":"\ud800"}`),
		"sub":                   map[string]any{"sub": "admin"}, "SUB": map[string]any{"SUB": "admin"}, "ſub": map[string]any{"ſub": "admin"},
		"exp": map[string]any{"exp": 1}, "Exp": map[string]any{"Exp": 1}, "nbf": map[string]any{"nbf": 1}, "ſcope": map[string]any{"ſcope": "x"},
		"iss": map[string]any{"iss": "x"}, "aud": map[string]any{"aud": "x"}, "jti": map[string]any{"jti": "x"}, "iat": map[string]any{"iat": 1},
		"client_id": map[string]any{"client_id": "x"}, "scope": map[string]any{"scope": "x"}, "roles": map[string]any{"roles": "x"},
		"amr": map[string]any{"amr": "x"}, "auth_time": map[string]any{"auth_time": 1}, "sid": map[string]any{"sid": "x"}, "tenant": map[string]any{"tenant": "x"},
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			s, err := i.Issue(t.Context(), &identity.Principal{Subject: "alice"}, extra)
			if s != "" || err == nil || !strings.HasPrefix(err.Error(), "auth/token: ") {
				t.Errorf("Issue = %q, %v; want an error", s, err)
			}
		})
	}
	for name, extra := range map[string]any{
		"an empty struct": struct{}{}, "an empty map": map[string]any{}, "a nil map": map[string]any(nil), "a nil pointer": (*plan)(nil), "nothing": nil,
		"raw space": json.RawMessage(" { } "), "plain names in upper case": map[string]int{"Plan": 1},
		"names alike but for case": map[string]int{"plan": 1, "Plan": 2}, "a name with an escape": json.RawMessage(`{"\u0070lan":1}`),
		"a name with a quote": map[string]int{`a"b`: 1}, "many": many, "deep": map[string]any{"d": deep},
	} {
		t.Run("taken: "+name, func(t *testing.T) {
			wantAccepted(t, serve(v, get("Bearer "+issue(t, i, identity.Principal{}, extra))))
		})
	}
}

func TestClaimsThatDoNotFitAreAnError(t *testing.T) {
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring)
	with := func(members ...string) *identity.Principal {
		p, err := v.Verify(t.Context(), k.token(members...))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	type inner struct {
		Tier string `json:"tier"`
	}
	type embedded struct {
		Seats int `json:"seats"`
	}
	type want struct {
		Plan     inner            `json:"plan"`
		List     []inner          `json:"list"`
		ByName   map[string]inner `json:"by_name"`
		Pointer  **inner          `json:"pointer"`
		Untagged string
		Skipped  string `json:"-"`
		private  string
		embedded
	}
	for name, p := range map[string]*identity.Principal{
		"a name in another case":                 with("Plan", `{"tier":"gold"}`),
		"a name with ſ":                          with("liſt", `[]`),
		"the name of an untagged field":          with("untagged", `"x"`),
		"a name of an embedded struct":           with("Seats", `1`),
		"a name within":                          with("plan", `{"Tier":"gold"}`),
		"a name within, under the Kelvin sign":   with("plan", `{"TIER":"gold"}`),
		"a name within an array":                 with("list", `[{},{"tieR":"gold"}]`),
		"a name within a map":                    with("by_name", `{"X":{"tIer":"gold"}}`),
		"a name behind pointers":                 with("pointer", `{"TIER":"gold"}`),
		"a value of another type":                with("plan", `"gold-42"`),
		"a principal without claims":             {Subject: "alice"},
		"a principal of another maker":           {Subject: "alice", Claims: "{"},
		"a principal with a claim twice":         {Subject: "alice", Claims: `{"plan":{},"plan":{}}`},
		"no principal":                           nil,
		"a principal with something behind them": {Claims: `{} {}`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, err := range []error{
				second(token.ClaimsOf[want](p)), second(token.ClaimsOf[*want](p)),
			} {
				if err == nil || !strings.HasPrefix(err.Error(), "auth/token: ") || strings.Contains(err.Error(), "gold-42") {
					t.Errorf("ClaimsOf = %v, want an error without the value", err)
				}
			}
		})
	}
	for name, p := range map[string]*identity.Principal{
		"the exact names":         with("plan", `{"tier":"a"}`, "list", `[{"tier":"b"},null]`, "by_name", `{"TIER":{"tier":"c"}}`, "pointer", `null`, "Untagged", `"x"`, "seats", "3"),
		"what nobody asked for":   with("PRIVATE", `1`, "Skipped", "2", "Embedded", "3", "other", `{"TIER":1}`),
		"space around the object": {Claims: " \n{\"plan\":{} }\t"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := token.ClaimsOf[want](p); err != nil {
				t.Errorf("ClaimsOf = %v", err)
			}
		})
	}
	if _, err := token.Claims[want](t.Context()); err == nil {
		t.Error("Claims without a caller gave no error")
	}
	_ = want{}.private
}

func second[T any](_ T, err error) error { return err }

// TestClaimsAreMatchedExactly: a claim that differs in case from the one that is
// wanted is another claim, and one that occurs twice is an error.
func TestClaimsAreMatchedExactly(t *testing.T) {
	type want struct {
		Email string `json:"email"`
		Org   struct {
			ID string `json:"id"`
		} `json:"org"`
		ByName map[string]string `json:"by_name"`
		Any    any               `json:"any"`
	}
	k := kits()[token.HS256]
	v := newVerifier(t, k.ring)
	for claims, ok := range map[string]bool{
		`"email":"a","Email":"b"`:                      true,
		`"EMAIL":"b","email":"a"`:                      true,
		`"email":"a","x":1,"x":2,"X":{"email":"b"}`:    true,
		`"email":"a","org":{"id":"a","ID":"b","iD":1}`: true,
		`"Email":"b"`:                             false,
		`"email":"b","email":"a"`:                 false,
		`"email":"b","any":1,"email":"a"`:         false,
		`"email":"b","\u0065mail":"a"`:            false,
		`"email":"a","org":{"id":"b","id":"a"}`:   false,
		`"email":"a","by_name":{"x":"1","x":"2"}`: false,
		`"email":"a","any":{"x":[{"y":1,"y":2}]}`: false,
	} {
		p, err := v.Verify(t.Context(), k.raw(k.header(), "{"+claims+","+payload()[1:]))
		if err != nil {
			t.Fatalf("%s: %v", claims, err)
		}
		got, err := token.ClaimsOf[want](p)
		if (err == nil) != ok || err == nil && (got.Email != "a" || got.Org.ID != "" && got.Org.ID != "a") {
			t.Errorf("%s: %+v, %v", claims, got, err)
		}
	}
}
