package main

import (
	"bytes"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/guard"
)

// TestEachLineOfTheGuide walks the FastAPI guide "Authentication & Security" from
// its first section to its last: what each line of code there does, done here.
func TestEachLineOfTheGuide(t *testing.T) {
	how := testSettings
	how.corsOrigins = []string{"https://yourdomain.com"}
	how.hosts = append(how.hosts, "yourdomain.com", "*.yourdomain.com")
	s := openSiteAs(t, how)
	alice, mod, admin := s.signInAlice(t), s.signIn(t, "mod", s.keys.DemoPassword), s.signIn(t, "admin", s.keys.DemoPassword)
	as := func(p tokens) string { return bearer(p.Access) }
	contains := func(a answer, parts ...string) bool {
		for _, part := range parts {
			if !strings.Contains(a.body, part) {
				return false
			}
		}
		return true
	}
	for _, line := range []struct {
		section, line string
		works         func() bool
	}{
		{"Password Hashing", "pwd_context.hash(password)", func() bool {
			return s.count(t, "SELECT count(*) FROM users WHERE password_hash LIKE '$argon2id%'") == len(demoUsers)
		}},
		{"Password Hashing", "pwd_context.verify(plain_password, hashed_password)", func() bool {
			return s.do(t, "POST", "/token", form("username", "alice", "password", "wrong"), formType).code() == "invalid_grant"
		}},
		{"Basic OAuth2 Setup", `OAuth2PasswordBearer(tokenUrl="token")`, func() bool {
			return contains(s.do(t, "GET", "/openapi.json", ""), `"tokenUrl": "/token"`, `"password"`)
		}},
		{"Token Creation", `to_encode.update({"exp": expire})`, func() bool {
			return strings.Count(alice.Access, ".") == 2 && contains(s.do(t, "POST", "/introspect", form("token", alice.Access), formType, as(admin)), `"active":true`, `"exp":`)
		}},
		{"User Authentication", `payload.get("sub")`, func() bool {
			return contains(s.do(t, "POST", "/introspect", form("token", alice.Access), formType, as(admin)), `"sub":"`+s.id(t, "alice")+`"`)
		}},
		{"User Authentication", `raise credentials_exception, WWW-Authenticate: Bearer`, func() bool {
			got := s.do(t, "GET", "/users/me", "", bearer(alice.Access+"x"))
			return got.status == 401 && strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer")
		}},
		{"User Authentication", `if current_user.disabled: raise HTTPException`, func() bool {
			return s.do(t, "POST", "/token", form("username", "dora", "password", s.keys.DemoPassword), formType).status == 400
		}},
		{"Login Endpoint", `@app.post("/token")`, func() bool {
			return contains(s.do(t, "POST", "/token", form("username", "alice", "password", s.keys.DemoPassword), formType), `"access_token"`, `"token_type":"bearer"`)
		}},
		{"Login Endpoint", `@app.get("/users/me", response_model=User)`, func() bool {
			return contains(s.me(t, alice.Access), `"username":"alice"`, `"email"`, `"full_name"`, `"disabled":false`)
		}},
		{"Enhanced Token System", `"refresh_token": refresh_token`, func() bool { return alice.Refresh != "" }},
		{"Enhanced Token System", `@app.post("/token/refresh")`, func() bool {
			return s.refresh(t, s.signInAlice(t).Refresh).tokens(t).Access != ""
		}},
		{"Enhanced Token System", `if payload.get("type") != "refresh"`, func() bool {
			return s.refresh(t, alice.Access).code() == "invalid_grant" && s.me(t, alice.Refresh).status == 401
		}},
		{"API Key with Database", `class APIKey(Base): name, is_active, created_at, user_id`, func() bool {
			s.key(t, alice.Access, `{"name":"listed"}`)
			return contains(s.do(t, "GET", "/keys/", "", as(alice)), `"name":"listed"`, `"is_active":true`, `"created_at"`)
		}},
		{"Simple API Key", `@app.get("/protected/"), X-API-Key`, func() bool {
			return contains(s.do(t, "GET", "/protected/", "", withKey(s.key(t, alice.Access, `{"name":"ci"}`).Key)), `"message":"Access granted"`, `"key_name":"ci"`)
		}},
		{"API Key with Database", `"API key required", "Invalid API key"`, func() bool {
			return s.do(t, "GET", "/protected/", "").status == 401 && s.do(t, "GET", "/protected/", "", withKey("your-api-key")).status == 401
		}},
		{"User Roles", `@app.post("/moderate/"), require_role(Role.MODERATOR)`, func() bool {
			return contains(s.do(t, "POST", "/moderate/", "", as(mod)), "Content moderated") && s.do(t, "POST", "/moderate/", "", as(alice)).status == 403
		}},
		{"User Roles", `@app.delete("/users/{user_id}"), require_role(Role.ADMIN)`, func() bool {
			return s.do(t, "DELETE", "/users/"+s.id(t, "dora"), "", as(alice)).status == 403 && contains(s.do(t, "DELETE", "/users/"+s.id(t, "dora"), "", as(admin)), "User deleted")
		}},
		{"Permission-Based Access", `has_permission(Permission.DELETE_USERS)`, func() bool {
			s.register(t, map[string]string{"username": "victim", "password": testPassword}).is(t, http.StatusCreated)
			s.do(t, "PUT", "/users/alice/roles", `{"roles":["user"],"permissions":["delete:users"]}`, as(admin), jsonType).is(t, http.StatusOK)
			return s.do(t, "DELETE", "/users/"+s.id(t, "victim"), "", as(alice)).status == 200
		}},
		{"Implementing Scopes", `Security(get_current_user, scopes=["read:items"])`, func() bool {
			return s.do(t, "GET", "/items/", "", as(alice)).status == 200
		}},
		{"Implementing Scopes", `Security(get_current_user, scopes=["write:items"])`, func() bool {
			reader := s.signIn(t, "alice", s.keys.DemoPassword, "scope", "read:items")
			refused := s.do(t, "POST", "/items/", `{"name":"x"}`, as(reader), jsonType)
			return s.do(t, "POST", "/items/", `{"name":"x"}`, as(alice), jsonType).status == 201 && refused.status == 403 &&
				strings.Contains(refused.header.Get("WWW-Authenticate"), `scope="write:items"`)
		}},
		{"CORS Configuration", `allow_origins=["https://yourdomain.com"], allow_headers, max_age`, func() bool {
			got := s.do(t, "OPTIONS", "/items/", "", "Origin: https://yourdomain.com", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type")
			other := s.do(t, "OPTIONS", "/items/", "", "Origin: https://evil.example", "Access-Control-Request-Method: POST")
			return got.header.Get("Access-Control-Allow-Origin") == "https://yourdomain.com" && other.header.Get("Access-Control-Allow-Origin") == ""
		}},
		{"Rate Limiting", `@limiter.limit("5/minute")`, func() bool {
			for range 5 {
				s.do(t, "GET", "/limited/", "").is(t, http.StatusOK)
			}
			got := s.do(t, "GET", "/limited/", "")
			return got.status == 429 && got.header.Get("Retry-After") != ""
		}},
		{"HTTPS Enforcement", `app.add_middleware(HTTPSRedirectMiddleware)`, func() bool {
			how := testSettings
			how.https = true
			got := openSiteAs(t, how).do(t, "GET", "/items/", "")
			return got.status == http.StatusPermanentRedirect && strings.HasPrefix(got.header.Get("Location"), "https://")
		}},
		{"Security Headers", `allowed_hosts=["yourdomain.com", "*.yourdomain.com"]`, func() bool {
			return statusFor(t, s.url, "api.yourdomain.com") == 200 && statusFor(t, s.url, "yourdomain.com") == 200 && statusFor(t, s.url, "evilyourdomain.com") == 400
		}},
		{"Security Headers", `X-Content-Type-Options, X-Frame-Options`, func() bool {
			h := s.do(t, "GET", "/healthz", "").header
			return h.Get("X-Content-Type-Options") == "nosniff" && h.Get("X-Frame-Options") == "DENY"
		}},
		{"SQL Injection Prevention", `db.query(User).filter(User.username == username)`, func() bool {
			return s.do(t, "GET", "/users/alice", "", as(mod)).status == 200 && s.do(t, "GET", "/users/'%20OR%20'1'='1", "", as(mod)).status == 404
		}},
		{"XSS Prevention", `bleach.clean(v), @app.post("/comments/")`, func() bool {
			got := into[shownComment](t, s.do(t, "POST", "/comments/", `{"content":"<script>alert(1)</script>hello"}`, as(alice), jsonType), 201)
			return got.HTML == "hello" && !strings.Contains(got.Content, "<")
		}},
		{"Implementing Token Revocation", `@app.post("/logout/"), "Successfully logged out"`, func() bool {
			p := s.signInAlice(t)
			return contains(s.do(t, "POST", "/logout/", "", as(p)), "Successfully logged out") && s.me(t, p.Access).status == 401
		}},
		{"TOTP Implementation", `@app.post("/2fa/setup/"), media_type="image/png"`, func() bool {
			got := s.do(t, "POST", "/2fa/setup/", "", as(mod))
			_, err := png.Decode(bytes.NewReader([]byte(got.body)))
			return got.header.Get("Content-Type") == "image/png" && err == nil
		}},
		{"TOTP Implementation", `@app.post("/2fa/verify/"), "Invalid 2FA code"`, func() bool {
			return s.do(t, "POST", "/2fa/verify/", form("code", "000000"), formType, as(mod)).status == 400
		}},
		{"Best Practices", "Audit Logging: Log authentication and authorization events", func() bool {
			return strings.Contains(s.log.String(), string(guard.EventLoginFail)) && strings.Contains(s.log.String(), "authz_fail")
		}},
	} {
		if !line.works() {
			t.Errorf("%s: %s does not work", line.section, line.line)
		}
	}
}
