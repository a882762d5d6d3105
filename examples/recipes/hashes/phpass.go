package main

import (
	"crypto/md5"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
)

// An adapter verifies phpass, and everything else by package password.
type adapter struct {
	users     *auth.Memory
	passwords *password.Hasher
}

func (a adapter) prove(r *http.Request) (*identity.Proof, error) {
	ctx, given, user := password.WithClient(r.Context(), r.RemoteAddr), r.PostFormValue("password"), new(auth.User)
	login, err := auth.CanonicalLogin(r.PostFormValue("username"))
	if err == nil {
		found, err := a.users.UserByLogin(ctx, login)
		switch {
		case err == nil && !found.Disabled:
			user = found
		case err != nil && !errors.Is(err, auth.ErrNotFound):
			return nil, err
		}
	}
	stored, upgraded := user.PasswordHash, ""
	var ok bool
	if phpass(given, stored) {
		ok = true
		upgraded, err = a.passwords.Hash(ctx, given)
	} else {
		if strings.HasPrefix(stored, "$P$") {
			stored = "" // a failure takes the same time for each scheme, but for a millisecond
		}
		ok, upgraded, err = a.passwords.Verify(ctx, given, stored)
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: wrong password or unknown user", identity.ErrNotProven)
	}
	if upgraded != "" {
		if err := a.users.UpdatePasswordHash(ctx, user.ID, user.PasswordHash, upgraded); err != nil {
			slog.Warn("the hash was not upgraded", "error", err) // next time
		}
	}
	return &identity.Proof{Subject: user.ID, Factors: identity.NewSet("pwd")}, nil
}

// phpass reports whether a password has a $P$ hash: salted MD5, 2^n times.
func phpass(given, stored string) bool {
	const digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if len(stored) != 34 || !strings.HasPrefix(stored, "$P$") || given == "" || len(given) > 1024 {
		return false
	}
	rounds := strings.IndexByte(digits, stored[3])
	if rounds < 7 || rounds > 16 {
		return false
	}
	sum := md5.Sum([]byte(stored[4:12] + given))
	for range 1 << rounds {
		sum = md5.Sum(append(sum[:], given...))
	}
	got := []byte(stored[:12])
	for i := 0; i < len(sum); i += 3 {
		bits, n := 0, min(3, len(sum)-i)
		for j := range n {
			bits |= int(sum[i+j]) << (8 * j)
		}
		for range n + 1 {
			got, bits = append(got, digits[bits&63]), bits>>6
		}
	}
	return subtle.ConstantTimeCompare(got, []byte(stored)) == 1
}
