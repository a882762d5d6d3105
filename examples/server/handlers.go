package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
)

// A profile is what others may see of a user.
type profile struct {
	Username string `json:"username"`
	Email    string `json:"email"`
	FullName string `json:"full_name"`
	Disabled bool   `json:"disabled"`
}

func profileOf(u *user) profile { return profile{u.Username, u.Email, u.FullName, u.Disabled} }

// showMe is GET /users/me.
func (a *app) showMe(w http.ResponseWriter, r *http.Request) {
	u, err := a.current(r) // loaded by the guard already
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, profileOf(u))
}

// showUser is GET /users/{username}.
func (a *app) showUser(w http.ResponseWriter, r *http.Request) {
	u, err := a.named(r)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, profileOf(u))
}

// A registration is the body of POST /users/.
type registration struct{ Username, Email, FullName, Password string }

// register is POST /users/. It tells whether a name is taken, as it must; to
// find out about many takes as many password hashes.
func (a *app) register(w http.ResponseWriter, r *http.Request) {
	var in registration
	err := a.readJSON(w, r, map[string]any{
		"username":  &in.Username,
		"email":     &in.Email,
		"full_name": &in.FullName,
		"password":  &in.Password,
	})
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	u, err := in.user(a.policy)
	if err != nil {
		a.hooks.Refuse(w, r, invalid(err))
		return
	}
	// Before the look-up: names that are taken cost the same.
	u.PasswordHash, err = a.hash(password.WithClient(r.Context(), r.RemoteAddr), in.Password)
	if err == nil {
		err = a.users.create(r.Context(), u)
	}
	if errors.Is(err, errTaken) {
		err = &guard.Denial{Status: http.StatusConflict, Code: "username_taken", Detail: "This username is taken.", Err: err}
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	a.hooks.Emit(r, guard.Event{Name: guard.EventUserCreated, Login: u.Username})
	w.Header().Set("Location", "/users/"+u.Username)
	writeJSON(w, http.StatusCreated, profileOf(u))
}

// hash returns the hash of a new password. It is measured, as verifications are.
func (a *app) hash(ctx context.Context, wanted string) (string, error) {
	begun := a.hooks.Begin()
	encoded, err := a.passwords.Hash(ctx, wanted)
	a.hooks.Measured(ctx, begun, "hash", "password.Hash", err)
	return encoded, err
}

// service is the name of this one, which nobody should have for a password.
const service = "Gatewright"

// usernameForm keeps usernames fit for a path: "/users/.." would be another.
var usernameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// onlyDigits is what a username must not have, or it could be taken for an ID.
var onlyDigits = regexp.MustCompile(`^[0-9]+$`)

// minPassword is how many characters a password has at least.
const minPassword = 15

// badPassword says why the policy refuses the password in a member of a body.
func badPassword(member string, err error) error {
	if errors.Is(err, password.ErrTooShort) {
		return fmt.Errorf("%s: must have at least %d characters", member, minPassword)
	}
	return errors.New(member + ": " + strings.TrimPrefix(err.Error(), "password: "))
}

// user checks a registration and returns the user it asks for. Its error names
// every mistake.
func (in registration) user(policy *password.Policy) (*user, error) {
	var errs []error
	username, err := auth.CanonicalLogin(in.Username)
	if err != nil || !usernameForm.MatchString(username) || onlyDigits.MatchString(username) || username == "me" {
		errs = append(errs, errors.New("username: must have 1 to 64 letters, digits, dots, dashes or underscores, begin with a letter or digit, and be neither a number nor me"))
	}
	if in.Email != "" {
		if address, err := mail.ParseAddress(in.Email); err != nil || address.Address != in.Email || len(in.Email) > 254 {
			errs = append(errs, errors.New("email: is not an address"))
		}
	}
	if len(in.FullName) > 200 || strings.ContainsFunc(in.FullName, unicode.IsControl) {
		errs = append(errs, errors.New("full_name: must have at most 200 bytes and no control characters"))
	}
	if err := policy.Check(in.Password, service, username, in.Email, in.FullName); err != nil {
		errs = append(errs, badPassword("password", err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &user{
		Username: username,
		Email:    in.Email,
		FullName: in.FullName,
		Roles:    identity.NewSet("user"),
		Scopes:   identity.NewSet("read:items", "write:items"),
	}, nil
}

// healthz is GET /healthz.
func (a *app) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// A readiness is the answer of /readyz: names and numbers, and why something is
// not well is in the log.
type readiness struct {
	Status    string            `json:"status"`                   // "ready" or "unavailable"
	Staleness *int64            `json:"revocations_staleness_ms"` // null: they were never read
	Stores    map[string]string `json:"stores"`                   // "ok" or "failing", by name
	Limits    string            `json:"limits"`                   // "shared", or "local": each process counts for itself
}

// readyz is GET /readyz: whether this process can decide about requests. It is
// what a load balancer asks. What only limits are kept in is reported and no
// reason to send requests elsewhere: the others miss it too.
func (a *app) readyz(w http.ResponseWriter, r *http.Request) {
	ready := readiness{Status: "ready", Stores: make(map[string]string), Limits: "local"}
	if s := a.revoked.Staleness(); s != math.MaxInt64 {
		ms := s.Milliseconds()
		ready.Staleness = &ms
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	var database, redis error
	var asking sync.WaitGroup
	asking.Go(func() { database = cmp.Or(a.db.PingContext(ctx), a.databaseProof.run(ctx)) })
	if a.backends.redis != nil {
		asking.Go(func() { redis = a.redisProof.run(ctx) })
	}
	asking.Wait()
	word := func(err error) string {
		if err != nil {
			return "failing"
		}
		return "ok"
	}
	ready.Stores["database"] = word(database)
	limits := database
	if a.backends.redis != nil {
		ready.Stores["redis"] = word(redis)
		limits = redis
	}
	if a.backends.limits != nil && limits == nil {
		ready.Limits = "shared"
	}
	err := errors.Join(a.revoked.Ready(r.Context()), database)
	if a.backends.redisNeeded {
		err = errors.Join(err, redis)
	}
	status := http.StatusOK
	if err != nil {
		status, ready.Status = http.StatusServiceUnavailable, "unavailable"
		w.Header().Set("Retry-After", "1")
		a.hooks.Emit(r, guard.Event{Name: guard.EventUnavailable, Err: err})
	}
	writeJSON(w, status, ready)
}

// A proof is a check that writes: requests share one a second, so that a flood of
// them costs the store nothing. Its error is a second old at most.
type proof struct {
	check func(context.Context) error
	turn  sync.Mutex
	last  time.Time
	err   error
}

func (p *proof) run(ctx context.Context) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	if time.Since(p.last) >= time.Second {
		// The request of one client may be cancelled.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		p.err = p.check(ctx)
		p.last = time.Now()
	}
	return p.err
}

func notFound() error {
	return &guard.Denial{Status: http.StatusNotFound, Code: "not_found", Detail: "There is nothing here."}
}

// invalid tells the client what is wrong with its input.
func invalid(err error) error {
	return &guard.Denial{
		Status: http.StatusUnprocessableEntity,
		Code:   "invalid_input",
		Detail: strings.ReplaceAll(err.Error(), "\n", "; "),
		Err:    err,
	}
}

// stillThere refuses a caller who was signed out, disabled or deleted since the
// request began.
func (a *app) stillThere(ctx context.Context) error {
	p, ok := identity.FromContext(ctx)
	if !ok {
		return nil
	}
	revoked, err := a.revoked.Revoked(ctx, p)
	if err != nil {
		return err
	}
	u, err := a.users.byID(ctx, p.Subject)
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		return err
	}
	if revoked || err != nil || u.Disabled {
		return fmt.Errorf("%w: ended while the request was sent", guard.ErrInactive)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the status is sent; an error means that the client went away
}
