package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
)

const (
	right = "correct horse battery"
	wrong = "incorrect horse batte" // as long
)

// A class is a reason for which a sign-in fails.
type class struct {
	name, login, password string
	body                  string // the form
}

// A host is an application that signs people in.
type host struct {
	handler http.Handler
	users   auth.Memory
	hasher  *password.Hasher
}

func newHost(o options) (*host, error) {
	c := password.Config{Argon2id: o.argon2, InsecureArgon2id: true}
	if o.bcrypt > 0 {
		c.Imported = []password.Scheme{password.Bcrypt(o.bcrypt)}
	}
	hasher, err := password.New(c)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret(secret)})
	if err != nil {
		return nil, err
	}
	issuer, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: "https://auth.example.com", Audience: "https://api.example.com"})
	if err != nil {
		return nil, err
	}
	var hooks guard.Hooks
	if o.log {
		hooks.Observe = guard.Log(slog.New(slog.NewJSONHandler(io.Discard, nil)))
	}
	refresh := make([]byte, 32)
	rand.Read(refresh)
	h := &host{hasher: hasher}
	server, err := auth.New(&h.users, issuer, auth.Config{
		Sessions:    &h.users,
		RefreshKeys: []guard.Secret{guard.NewSecret(refresh)},
		Revoker:     &blacklist.Memory{},
		Passwords:   hasher,
		Hooks:       hooks,
	})
	if err != nil {
		return nil, err
	}
	h.handler = server.Token()
	return h, nil
}

// classes adds the users that the classes need and returns those asked for.
func (h *host) classes(o options) ([]class, error) {
	hash, err := h.hasher.Hash(context.Background(), right)
	if err != nil {
		return nil, err
	}
	users := map[string]auth.User{
		"user-a": {PasswordHash: hash},
		"user-b": {PasswordHash: hash},
		"user-d": {PasswordHash: hash, Disabled: true},
		"user-p": {},
		"user-m": {PasswordHash: hash[:len(hash)-1]},
	}
	longest := strings.Repeat("x", 1024) // the default of MaxLength
	known := []class{
		{name: "wrong", login: "user-a", password: wrong},
		{name: "wrong-again", login: "user-b", password: wrong}, // the control: nothing differs
		{name: "unknown", login: "user-u", password: wrong},
		{name: "disabled", login: "user-d", password: right},
		{name: "passwordless", login: "user-p", password: wrong},
		{name: "malformed", login: "user-m", password: right},
		{name: "short", login: "user-a", password: "x"},
		{name: "nul", login: "user-a", password: wrong[:20] + "\x00"},
		{name: "longest", login: "user-a", password: longest},
		{name: "longest-unknown", login: "user-u", password: longest},
		{name: "over-long", login: "user-a", password: longest + "x"},
		{name: "over-long-unknown", login: "user-u", password: longest + "x"},
	}
	if o.bcrypt > 0 {
		known = append(known,
			class{name: "legacy", login: "user-l", password: wrong},
			class{name: "legacy-nul", login: "user-l", password: wrong[:20] + "\x00"},
			class{name: "legacy-longest", login: "user-l", password: longest})
		if err := importUser(users, "user-l", o.bcrypt); err != nil {
			return nil, err
		}
	}
	if o.bcrypt > bcrypt.MinCost {
		known = append(known, class{name: "legacy-cheaper", login: "user-c", password: wrong})
		if err := importUser(users, "user-c", o.bcrypt-1); err != nil {
			return nil, err
		}
	}
	for login, u := range users {
		u.ID = login
		if err := h.users.SetUser(login, u); err != nil {
			return nil, err
		}
	}

	chosen := known
	if o.classes != nil {
		chosen = nil
		for _, name := range o.classes {
			i := slices.IndexFunc(known, func(c class) bool { return c.name == name })
			if i < 0 {
				return nil, fmt.Errorf("no class %q", name)
			}
			chosen = append(chosen, known[i])
		}
	}

	// The length of a form is the choice of who sends it, who learns nothing
	// from the time it takes to read. So all are made equally long, by a
	// parameter that the server reads and has no use for.
	form := func(c class, filling int) string {
		return url.Values{
			"grant_type": {"password"},
			"username":   {c.login},
			"password":   {c.password},
			"filling":    {strings.Repeat("x", filling)},
		}.Encode()
	}
	length := 0
	for _, c := range chosen {
		length = max(length, len(form(c, 0)))
	}
	for i, c := range chosen {
		chosen[i].body = form(c, length-len(form(c, 0)))
	}
	return chosen, nil
}

// importUser adds a user who has a bcrypt hash.
func importUser(users map[string]auth.User, login string, cost int) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(right), cost)
	users[login] = auth.User{PasswordHash: string(hash)}
	return err
}

// A request can be sent once.
type request struct {
	w *httptest.ResponseRecorder
	r *http.Request
}

func (h *host) request(body string) request {
	r := httptest.NewRequest("POST", "/token", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return request{httptest.NewRecorder(), r}
}

// agree makes sure that all classes get one answer, to the byte.
func (h *host) agree(classes []class) error {
	var first string
	for i, c := range classes {
		r := h.request(c.body)
		h.send(r)
		answer := fmt.Sprint(r.w.Code, r.w.Header(), r.w.Body)
		if r.w.Code != http.StatusBadRequest || !strings.Contains(answer, "invalid_grant") {
			return fmt.Errorf("class %s is answered %s", c.name, answer)
		}
		if i == 0 {
			first = answer
		}
		if answer != first {
			return fmt.Errorf("class %s is answered %s\nclass %s is answered %s", classes[0].name, first, c.name, answer)
		}
	}
	return nil
}
