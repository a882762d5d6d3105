package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/ticket"
)

// What becomes of a user after the registration: another password, being
// disabled, being enabled again.

// endTimeout is how long it may take to end what somebody has. It is less than
// the server's WriteTimeout, so that there is an answer.
const endTimeout = 20 * time.Second

// changePassword is POST /users/me/password. It answers 204 when the password
// is changed and all that the user had is ended, API keys among it, but for the
// session of the caller.
func (a *app) changePassword(w http.ResponseWriter, r *http.Request) {
	p, err := guard.Caller(r)
	if err == nil {
		err = a.newPassword(w, r, p)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *app) newPassword(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	var current, wanted string
	err := a.readJSON(w, r, map[string]any{"current_password": &current, "new_password": &wanted})
	if err != nil {
		return err
	}
	u, err := a.current(r) // as the guard has loaded it
	if err != nil {
		return err
	}
	if err := a.policy.Check(wanted, service, u.Username, u.Email, u.FullName); err != nil {
		return invalid(badPassword("new_password", err))
	}
	// A token is not enough: whoever finds one must not be able to lock its
	// owner out.
	if err := a.prove(r, u, current); err != nil {
		return err
	}
	hash, err := a.hash(password.WithClient(r.Context(), r.RemoteAddr), wanted)
	if err != nil {
		return busy(err)
	}
	replaced, err := a.users.changePassword(r.Context(), u.ID, u.PasswordHash, hash)
	if err != nil {
		return err
	}
	if !replaced {
		return &guard.Denial{
			Status: http.StatusConflict,
			Code:   "conflict",
			Detail: "The account was changed at the same time. Please try again.",
			Err:    errors.New("the password was changed, or the account disabled, at the same time"),
		}
	}
	a.hooks.Emit(r, guard.Event{Name: guard.EventPassword, Login: u.Username})
	a.ways.post.tell(p.Subject, "The password was changed.")
	// Keys too: whoever had the password, or a session, may have made one. The
	// sessions first: a key that is being made finds that its maker is revoked,
	// or is in the list of keys.
	ctx, cancel := context.WithTimeout(guard.NestedChange(context.WithoutCancel(r.Context())), endTimeout)
	defer cancel()
	if err := errors.Join(a.endOthers(ctx, p), a.revokeKeysOf(ctx, u)); err != nil {
		return &guard.Denial{
			Status: http.StatusServiceUnavailable,
			Code:   guard.CodeUnavailable,
			Detail: "The password is changed, but it is not certain that other sessions and API keys are ended. Please sign out everywhere and revoke the keys.",
			Err:    fmt.Errorf("ending what else there is after a change of the password: %w", err),
		}
	}
	return nil
}

// prove checks the current password of u, with the care of a sign-in: the same
// work whatever is stored, and an alarm if that is damaged.
func (a *app) prove(r *http.Request, u *user, given string) (err error) {
	if signIn := a.limits.signIn; signIn != nil {
		// Guesses count wherever they are made.
		settle, wait, failed := signIn.Reserve(r.Context(), u.Username, r.RemoteAddr)
		if failed != nil {
			return failed
		}
		if wait > 0 {
			return guard.TooManyAttempts(wait, errors.New("too many guesses at a password"))
		}
		defer func() {
			outcome := guard.Failed
			if err == nil {
				outcome = guard.Succeeded
			} else if d, ok := errors.AsType[*guard.Denial](err); !ok || d.Status != http.StatusBadRequest {
				outcome = guard.Undecided
			}
			settle(outcome)
		}()
	}
	begun := a.hooks.Begin()
	ok, _, err := a.passwords.Verify(password.WithClient(r.Context(), r.RemoteAddr), given, u.PasswordHash)
	measured := err
	if err == nil && !ok {
		measured = identity.ErrNotProven
	}
	a.hooks.Measured(r.Context(), begun, "hash", "password.Verify", measured)
	reason := errors.New("wrong current password")
	switch {
	case errors.Is(err, password.ErrMalformed), errors.Is(err, password.ErrUnsupported):
		a.hooks.Emit(r, guard.Event{Name: guard.EventUnavailable, Login: u.Username, Err: err})
		reason = errors.New("the stored password hash cannot be used")
	case err != nil:
		return busy(err)
	case ok:
		return nil
	}
	return &guard.Denial{
		Status: http.StatusBadRequest,
		Code:   "wrong_password",
		Detail: "The current password is not right.",
		Event:  guard.EventLoginFail,
		Login:  u.Username,
		Err:    reason,
	}
}

// busy tells when to come back, if too many passwords are being hashed.
func busy(err error) error {
	if errors.Is(err, password.ErrBusy) {
		return guard.Unavailable(2*time.Second, err)
	}
	return err
}

// endOthers ends the sessions and tokens that p's user got before now, but for
// p's own session.
func (a *app) endOthers(ctx context.Context, p *identity.Principal) error {
	return a.signIn.EndSessions(ctx, identity.Revocation{Subject: p.Subject, Spare: p.Session})
}

// disableUser is POST /users/{username}/disable. It answers 200 when all that
// the user had is ended.
func (a *app) disableUser(w http.ResponseWriter, r *http.Request) {
	a.change(w, r, func(by, u *user) error {
		if err := a.setDisabled(r, by, u, true); err != nil {
			return err
		}
		return a.endWithLinks(r.Context(), u)
	})
}

// enableUser is POST /users/{username}/enable. The user can sign in again;
// nothing that was ended comes back.
func (a *app) enableUser(w http.ResponseWriter, r *http.Request) {
	a.change(w, r, func(by, u *user) error {
		if !u.Disabled {
			return nil
		}
		// Once more, and first: disabling may have come no further than to
		// the mark, or not have been done here.
		if err := a.endWithLinks(r.Context(), u); err != nil {
			return err
		}
		return a.setDisabled(r, by, u, false)
	})
}

// setRoles is PUT /users/{username}/roles. What it takes away is gone at the
// next request, whatever the tokens and keys of the user say.
func (a *app) setRoles(w http.ResponseWriter, r *http.Request) {
	var roles, permissions []string // nil: the member is missing
	if err := a.readJSON(w, r, map[string]any{"roles": &roles, "permissions": &permissions}); err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	var errs []error
	if roles == nil || permissions == nil {
		errs = append(errs, errors.New("roles and permissions: both are needed, for they replace what is there"))
	}
	if names := unknown(roles, rolesOfPeople(a.access.Listing())); len(names) > 0 {
		errs = append(errs, fmt.Errorf("roles: there is no %q", names))
	}
	if names := unknown(permissions, grantable()); len(names) > 0 {
		errs = append(errs, fmt.Errorf("permissions: there is no %q", names))
	}
	if err := errors.Join(errs...); err != nil {
		a.hooks.Refuse(w, r, invalid(err))
		return
	}
	a.change(w, r, func(by, u *user) error {
		before := *u
		u.Roles, u.Permissions = identity.NewSet(roles...), identity.NewSet(permissions...)
		may := func(by, now *user) error {
			if err := a.mayAdminister(by, now, writeUsers); err != nil {
				return err
			}
			return a.mayGive(by, now, u)
		}
		if err := a.users.setRights(r.Context(), u.ID, by.ID, may, u.Roles, u.Permissions); err != nil {
			return gone(err)
		}
		a.hooks.Emit(r, guard.Event{Name: guard.EventAuthzChange, Target: strconv.FormatInt(u.ID, 10), Changes: []slog.Attr{
			slog.String("roles_before", before.Roles.String()), slog.String("roles", u.Roles.String()),
			slog.String("permissions_before", before.Permissions.String()), slog.String("permissions", u.Permissions.String()),
		}})
		return nil
	})
}

// deleteUser is DELETE /users/{id}. It answers when all that the user had is
// ended and gone.
func (a *app) deleteUser(w http.ResponseWriter, r *http.Request) {
	if err := a.removeUser(r); err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "User deleted"})
}

func (a *app) removeUser(r *http.Request) error {
	by, err := a.current(r)
	if err != nil {
		return err
	}
	u, err := a.users.byID(r.Context(), r.PathValue("id"))
	if errors.Is(err, auth.ErrNotFound) {
		return notFound()
	}
	if err != nil {
		return err
	}
	if u.ID == by.ID {
		return ownAccount()
	}
	// First the row, so that nobody signs in any more, and nothing that the
	// user still holds is good for the next request. What follows drops what
	// nobody can use, and if it fails the user is gone all the same.
	if err := a.users.delete(r.Context(), u.ID, by.ID, a.may(deleteUsers)); err != nil {
		return gone(err)
	}
	a.hooks.Emit(r, guard.Event{Name: guard.EventUserDeleted, Target: strconv.FormatInt(u.ID, 10)})
	ctx, cancel := context.WithTimeout(guard.NestedChange(context.WithoutCancel(r.Context())), endTimeout)
	defer cancel()
	subject := strconv.FormatInt(u.ID, 10)
	return errors.Join(a.endEverything(ctx, u), a.removeFactors(ctx, subject), a.ways.tickets.End(ctx, ticket.Which{Subject: subject}))
}

// moderate is POST /moderate/.
func (a *app) moderate(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"message": "Content moderated"})
}

// gone is err, or 403 if one of the two users is not there any more.
func gone(err error) error {
	if errors.Is(err, auth.ErrNotFound) {
		return guard.Forbidden(errors.New("one of the two users was deleted at the same time"))
	}
	return err
}

func ownAccount() error {
	return &guard.Denial{
		Status: http.StatusConflict,
		Code:   "own_account",
		Detail: "This cannot be done to one's own account.",
	}
}

// change carries out what an administrator wants to be done to the user of the
// path, and shows the user as it is then.
func (a *app) change(w http.ResponseWriter, r *http.Request, do func(by, u *user) error) {
	u, err := a.changed(r, do)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, account{u.ID, profileOf(u), u.Roles, u.Permissions})
}

// An account is what administrators see of a user.
type account struct {
	ID int64 `json:"id"` // for DELETE /users/{id}
	profile
	Roles       identity.Set `json:"roles"`
	Permissions identity.Set `json:"permissions"`
}

func (a *app) changed(r *http.Request, do func(by, u *user) error) (*user, error) {
	by, err := a.current(r)
	if err != nil {
		return nil, err
	}
	u, err := a.named(r)
	if err != nil {
		return nil, err
	}
	if u.ID == by.ID {
		return nil, ownAccount()
	}
	if err := do(by, u); err != nil {
		return nil, err
	}
	return u, nil
}

func (a *app) setDisabled(r *http.Request, by, u *user, disabled bool) error {
	if err := a.users.setDisabled(r.Context(), u.ID, by.ID, a.may(writeUsers), disabled); err != nil {
		return gone(err)
	}
	u.Disabled = disabled
	a.hooks.Emit(r, guard.Event{Name: guard.EventAuthzChange, Target: strconv.FormatInt(u.ID, 10), Changes: []slog.Attr{
		slog.Bool("disabled", disabled),
	}})
	return nil
}

// endEverything ends the sessions of u and revokes their keys, as a part of another
// change, which is the event.
func (a *app) endEverything(ctx context.Context, u *user) error {
	ctx, cancel := context.WithTimeout(guard.NestedChange(context.WithoutCancel(ctx)), endTimeout)
	defer cancel()
	return errors.Join(a.endAll(ctx, u), a.revokeKeysOf(ctx, u))
}

// endWithLinks is endEverything, and ends the mailed links and codes of u, which would
// pass again when the account is enabled. A link to undo a change of the address stays.
func (a *app) endWithLinks(ctx context.Context, u *user) error {
	tickets := a.ways.tickets.End(guard.NestedChange(ctx), ticket.Which{Subject: strconv.FormatInt(u.ID, 10), Except: ticket.UndoEmail})
	return errors.Join(a.endEverything(ctx, u), tickets)
}

// endAll ends every session of u, at once.
func (a *app) endAll(ctx context.Context, u *user) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	return a.signIn.EndSessions(ctx, identity.Revocation{Subject: strconv.FormatInt(u.ID, 10)})
}

// named returns the user whose name is in the path.
func (a *app) named(r *http.Request) (*user, error) {
	username, err := auth.CanonicalLogin(r.PathValue("username"))
	if err != nil {
		return nil, notFound()
	}
	u, err := a.users.byUsername(r.Context(), username)
	if errors.Is(err, auth.ErrNotFound) {
		return nil, notFound()
	}
	return u, err
}
