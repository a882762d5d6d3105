// Package authtest has conformance suites for the stores that package auth requires.
// A host runs them in the tests of its own stores:
//
//	func TestSessions(t *testing.T) {
//		authtest.RunRefresh(t, func(t *testing.T) auth.RefreshStore { return newStore(t) })
//	}
//
// Each rule is a subtest with its own store. The suites take one or two seconds.
//
// # Security considerations
//
// The suites do not test that sessions and revocations survive a crash, nor that an
// unreachable store returns an error.
package authtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/identity"
)

// RunUsers checks an [auth.UserStore]. open stores the given users under the given
// logins, which are canonical, and returns a store with exactly these users.
//
// If the table stores another value of a field, for example an ID that the database
// makes, open writes that value into users. open must not change PasswordHash and
// Disabled. If the store is an [auth.PasswordUpdater], RunUsers checks that as well.
func RunUsers(t *testing.T, open func(t *testing.T, users map[string]auth.User) auth.UserStore) {
	given := map[string]auth.User{
		"alice": {
			ID:           "1",
			PasswordHash: "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$old",
			Tenant:       "acme",
			Roles:        identity.NewSet("user"),
			Scopes:       identity.NewSet("read:items", "write:items"),
		},
		"bob": {ID: "2", PasswordHash: "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$bob", Tenant: "globex", Disabled: true},
	}
	ctx := context.Background()

	run := func(name, why string, check func(s auth.UserStore, alice, bob auth.User) error) {
		t.Run(name, func(t *testing.T) {
			users := maps.Clone(given)
			s := open(t, users)
			alice, bob := users["alice"], users["bob"]
			for login, u := range users {
				if was, ok := given[login]; !ok || u.ID == "" || u.PasswordHash != was.PasswordHash || u.Disabled != was.Disabled {
					t.Fatalf("open returned %q as %+v; keep the logins, PasswordHash and Disabled, and give each user an ID", login, u)
				}
			}
			if len(users) != len(given) || alice.ID == bob.ID {
				t.Fatalf("open returned %d users, alice with the ID %q, bob with %q; keep both, with different IDs", len(users), alice.ID, bob.ID)
			}
			if err := check(s, alice, bob); err != nil {
				t.Errorf("%v\n\t%s", err, why)
			}
		})
	}
	byBoth := func(s auth.UserStore, login string, want auth.User) error {
		u, err := s.UserByLogin(ctx, login)
		if err := sameUser(u, err, want); err != nil {
			return fmt.Errorf("UserByLogin(%q): %w", login, err)
		}
		u, err = s.UserByID(ctx, want.ID)
		if err := sameUser(u, err, want); err != nil {
			return fmt.Errorf("UserByID(%q): %w", want.ID, err)
		}
		return nil
	}

	run("a user is found by login and by ID", "both must return the same user; otherwise the token would be for another user than the password", func(s auth.UserStore, alice, _ auth.User) error {
		return byBoth(s, "alice", alice)
	})
	run("a disabled user is returned as disabled", "auth refuses them after the same work as others; if the store omits them, the response time reveals which users are disabled", func(s auth.UserStore, _, bob auth.User) error {
		return byBoth(s, "bob", bob)
	})
	run("an unknown user is ErrNotFound", "any other error is answered 503, which reveals the users that exist; another spelling is another user", func(s auth.UserStore, alice, bob auth.User) error {
		for _, name := range []string{"carol", "", "alice ", alice.ID, "' OR '1'='1", "alice'--", "a%", "alic_"} {
			if u, err := s.UserByLogin(ctx, name); !errors.Is(err, auth.ErrNotFound) {
				return fmt.Errorf("UserByLogin(%q) = %v, %v; want auth.ErrNotFound", name, u, err)
			}
		}
		for _, id := range []string{alice.ID + bob.ID + "9", "", "alice", alice.ID + " ", "0" + alice.ID, alice.ID + " OR 1=1"} {
			if u, err := s.UserByID(ctx, id); !errors.Is(err, auth.ErrNotFound) {
				return fmt.Errorf("UserByID(%q) = %v, %v; want auth.ErrNotFound", id, u, err)
			}
		}
		return nil
	})
	run("a password hash is replaced only where the old one still stands", "a password changed during a sign-in must not be undone by the upgrade of the old one", func(s auth.UserStore, alice, bob auth.User) error {
		updater, ok := s.(auth.PasswordUpdater)
		if !ok {
			return nil
		}
		if err := updater.UpdatePasswordHash(ctx, alice.ID, "something else", "new"); err != nil {
			return err
		}
		if err := byBoth(s, "alice", alice); err != nil {
			return fmt.Errorf("after an update of another hash: %w", err)
		}
		if err := updater.UpdatePasswordHash(ctx, alice.ID, alice.PasswordHash, "new"); err != nil {
			return err
		}
		alice.PasswordHash = "new"
		if err := byBoth(s, "alice", alice); err != nil {
			return err
		}
		return byBoth(s, "bob", bob)
	})
}

// sameUser returns which fields of the user that a store returned differ from want.
func sameUser(got *auth.User, err error, want auth.User) error {
	switch {
	case err != nil:
		return err
	case got == nil:
		return errors.New("neither a user nor an error")
	}
	var errs []error
	differs := func(field string, same bool, got, want any) {
		if !same {
			errs = append(errs, fmt.Errorf("%s is %#v, want %#v", field, got, want))
		}
	}
	differs("ID", got.ID == want.ID, got.ID, want.ID)
	differs("PasswordHash", got.PasswordHash == want.PasswordHash, got.PasswordHash, want.PasswordHash)
	differs("Tenant", got.Tenant == want.Tenant, got.Tenant, want.Tenant)
	differs("Disabled", got.Disabled == want.Disabled, got.Disabled, want.Disabled)
	differs("Roles", got.Roles.Equal(want.Roles), got.Roles.String(), want.Roles.String())
	differs("Scopes", got.Scopes.Equal(want.Scopes), got.Scopes.String(), want.Scopes.String())
	return errors.Join(errs...)
}

// id returns the hash of a refresh token for the tests.
func id(name string) auth.TokenHash { return sha256.Sum256([]byte(name)) }

// second returns the error of a call with two results.
func second(_ []string, err error) error { return err }

// RunRefresh checks an [auth.RefreshStore]. open returns an empty store.
func RunRefresh(t *testing.T, open func(t *testing.T) auth.RefreshStore) {
	ctx := context.Background()
	// Microseconds are what a store must keep.
	now := time.Now().Truncate(time.Microsecond)
	const grace, idle = 10 * time.Second, time.Hour
	session := func(id, subject, tenant string) auth.Session {
		return auth.Session{ID: id, Subject: subject, Tenant: tenant, Client: identity.FirstParty, Created: now, Expires: now.Add(90 * time.Minute)}
	}
	create := func(s auth.RefreshStore, sessions ...auth.Session) error {
		for _, one := range sessions {
			if _, err := s.CreateRefresh(ctx, one, id("a"), now.Add(idle), auth.MaxListed); err != nil {
				return fmt.Errorf("CreateRefresh: %w", err)
			}
		}
		return nil
	}
	begin := func(s auth.RefreshStore, one auth.Session, idle time.Time, most int) error {
		_, err := s.CreateRefresh(ctx, one, id("a"), idle, most)
		return err
	}
	rotate := func(s auth.RefreshStore, session, old, new string, after time.Duration) (auth.Rotated, error) {
		return s.RotateRefresh(ctx, auth.Rotation{
			Session: session, Old: id(old), New: id(new), Now: now.Add(after), Grace: grace, Idle: idle,
		})
	}
	expect := func(s auth.RefreshStore, session, old, new string, after time.Duration, want auth.RotationOutcome) error {
		got, err := rotate(s, session, old, new, after)
		if err != nil {
			return fmt.Errorf("RotateRefresh: %w", err)
		}
		if got.Outcome != want {
			return fmt.Errorf("%s → %s after %v: outcome %v, want %v", old, new, after, got.Outcome, want)
		}
		return nil
	}
	run := func(name, why string, check func(s auth.RefreshStore) error) {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			err := create(s, session("s1", "alice", "acme"), session("s2", "alice", ""), session("s3", "bob", "acme"))
			if err == nil {
				err = check(s)
			}
			if err != nil {
				t.Errorf("%v\n\t%s", err, why)
			}
		})
	}

	run("the current token is rotated and tells what is current", "the successor's times are part of the token that is signed", func(s auth.RefreshStore) error {
		got, err := rotate(s, "s1", "a", "b", time.Minute)
		if err != nil {
			return err
		}
		want := auth.Rotated{Outcome: auth.RefreshRotated, Current: id("b"), At: now.Add(time.Minute), Expires: now.Add(time.Minute + idle)}
		return equal(got, want)
	})
	run("a token does not outlive its session", "the absolute limit is what ends a session that is refreshed for ever", func(s auth.RefreshStore) error {
		got, err := rotate(s, "s1", "a", "b", 45*time.Minute)
		if err != nil {
			return err
		}
		want := auth.Rotated{Outcome: auth.RefreshRotated, Current: id("b"), At: now.Add(45 * time.Minute), Expires: now.Add(90 * time.Minute)}
		if err := equal(got, want); err != nil {
			return err
		}
		return expect(s, "s1", "b", "c", 90*time.Minute, auth.RefreshUnknown)
	})
	run("the predecessor may come back within the grace, and gets the same answer", "a lost response must not end the session", func(s auth.RefreshStore) error {
		if err := expect(s, "s1", "a", "b", time.Minute, auth.RefreshRotated); err != nil {
			return err
		}
		for _, after := range []time.Duration{0, time.Second, grace} {
			// The caller proposes another successor, like a process with rotated
			// keys; the store must return the successor that it stored.
			got, err := rotate(s, "s1", "a", "x", time.Minute+after)
			if err != nil {
				return err
			}
			want := auth.Rotated{Outcome: auth.RefreshReplayed, Current: id("b"), At: now.Add(time.Minute), Expires: now.Add(time.Minute + idle)}
			if err := equal(got, want); err != nil {
				return err
			}
		}
		return nil
	})
	run("a replay changes nothing, so the grace does not slide", "otherwise an attacker who replays every nine seconds keeps the session", func(s auth.RefreshStore) error {
		if err := expect(s, "s1", "a", "b", 0, auth.RefreshRotated); err != nil {
			return err
		}
		if err := expect(s, "s1", "a", "x", grace-time.Second, auth.RefreshReplayed); err != nil {
			return err
		}
		return expect(s, "s1", "a", "b", grace+time.Microsecond, auth.RefreshReused)
	})
	run("a replay after the grace ends the session", "the token was copied, and the server cannot distinguish the owner from the attacker", func(s auth.RefreshStore) error {
		if err := expect(s, "s1", "a", "b", 0, auth.RefreshRotated); err != nil {
			return err
		}
		if err := expect(s, "s1", "a", "b", time.Minute, auth.RefreshReused); err != nil {
			return err
		}
		if err := expect(s, "s1", "b", "c", time.Minute, auth.RefreshUnknown); err != nil {
			return fmt.Errorf("the successor is still good: %w", err)
		}
		return expect(s, "s2", "a", "b", time.Minute, auth.RefreshRotated) // the other device
	})
	run("a token two generations old ends the session even within the grace", "the grace is for the immediate predecessor, and ends when the successor is used", func(s auth.RefreshStore) error {
		if err := expect(s, "s1", "a", "b", 0, auth.RefreshRotated); err != nil {
			return err
		}
		if err := expect(s, "s1", "b", "c", time.Second, auth.RefreshRotated); err != nil {
			return err
		}
		if err := expect(s, "s1", "a", "b", 2*time.Second, auth.RefreshReused); err != nil {
			return err
		}
		return expect(s, "s1", "c", "d", 2*time.Second, auth.RefreshUnknown)
	})
	run("a token that never was ends the session", "its signature is valid and the store never had it, so the signing key may have leaked", func(s auth.RefreshStore) error {
		if err := expect(s, "s1", "z", "b", 0, auth.RefreshReused); err != nil {
			return err
		}
		return expect(s, "s1", "a", "b", 0, auth.RefreshUnknown)
	})
	run("an idle session expires", "a forgotten token must not be good for the session's whole length", func(s auth.RefreshStore) error {
		return expect(s, "s1", "a", "b", idle, auth.RefreshUnknown)
	})
	run("an unknown session is unknown", "it may have been revoked and forgotten", func(s auth.RefreshStore) error {
		for _, name := range []string{"", "s9", "S1", "s1 ", "' OR 1=1 --"} {
			if err := expect(s, name, "a", "b", 0, auth.RefreshUnknown); err != nil {
				return fmt.Errorf("session %q: %w", name, err)
			}
		}
		return nil
	})
	run("a session ID is not given twice", "the second would inherit the first one's tokens", func(s auth.RefreshStore) error {
		if err := create(s, session("s1", "mallory", "")); err == nil {
			return errors.New("CreateRefresh of an existing ID returned nil")
		}
		return expect(s, "s1", "a", "b", 0, auth.RefreshRotated)
	})
	run("of 64 rotations at once one rotates", "get-then-set would leave several successors alive, and a replay would revoke none of them", func(s auth.RefreshStore) error {
		var mu sync.Mutex
		count := map[auth.RotationOutcome]int{}
		var failed error
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				got, err := rotate(s, "s1", "a", "b", time.Second)
				mu.Lock()
				defer mu.Unlock()
				count[got.Outcome]++
				if err != nil {
					failed = err
				} else if got.Current != id("b") {
					failed = errors.New("an answer had another current token")
				}
			})
		}
		all.Wait()
		if failed != nil {
			return failed
		}
		if count[auth.RefreshRotated] != 1 || count[auth.RefreshReplayed] != 63 {
			return fmt.Errorf("outcomes %v, want 1 rotated and 63 replayed", count)
		}
		return nil
	})

	revoke := func(name string, which identity.Revocation, ended, alive []string) {
		run(name, "sessions that match must not be refreshed any more, and no other session may end", func(s auth.RefreshStore) error {
			for range 2 { // the second time there is nothing left to do
				if err := s.RevokeRefresh(ctx, which); err != nil {
					return fmt.Errorf("RevokeRefresh: %w", err)
				}
			}
			for _, one := range ended {
				if err := expect(s, one, "a", "b", 0, auth.RefreshUnknown); err != nil {
					return fmt.Errorf("session %s: %w", one, err)
				}
			}
			for _, one := range alive {
				if err := expect(s, one, "a", "b", 0, auth.RefreshRotated); err != nil {
					return fmt.Errorf("session %s: %w", one, err)
				}
			}
			return nil
		})
	}
	revoke("one session is revoked", identity.Revocation{Issuer: "https://any.example", Session: "s1"}, []string{"s1"}, []string{"s2", "s3"})
	revoke("all sessions of a subject are revoked", identity.Revocation{Subject: "alice"}, []string{"s1", "s2"}, []string{"s3"})
	revoke("all sessions of a tenant are revoked", identity.Revocation{Tenant: "acme"}, []string{"s1", "s3"}, []string{"s2"})
	revoke("two fields narrow it down", identity.Revocation{Subject: "alice", Tenant: "acme"}, []string{"s1"}, []string{"s2", "s3"})
	revoke("a session of somebody else is left alone", identity.Revocation{Session: "s3", Subject: "alice"}, nil, []string{"s1", "s2", "s3"})
	revoke("sessions from before a moment are revoked", identity.Revocation{Before: now.Add(time.Microsecond)}, []string{"s1", "s2", "s3"}, nil)
	revoke("sessions from that moment on are left alone", identity.Revocation{Subject: "alice", Before: now}, nil, []string{"s1", "s2", "s3"})
	revoke("the session Spare is left alone", identity.Revocation{Subject: "alice", Spare: "s2"}, []string{"s1"}, []string{"s2", "s3"})
	revoke("the session Spare is left alone, up to a moment", identity.Revocation{Before: now.Add(time.Microsecond), Spare: "s1"}, []string{"s2", "s3"}, []string{"s1"})
	revoke("a Spare that is not there spares none", identity.Revocation{Tenant: "acme", Spare: "s9"}, []string{"s1", "s3"}, []string{"s2"})
	revoke("what never was is revoked without complaint", identity.Revocation{Session: "s9"}, nil, []string{"s1", "s2", "s3"})

	run("a revocation of everything, or of one credential, is refused", "the first is a mistake in the host's code, the second cannot be done here", func(s auth.RefreshStore) error {
		for _, which := range []identity.Revocation{{}, {Issuer: "https://any.example"}, {Session: "s1", Credential: "c"}, {Spare: "s1"}} {
			if err := s.RevokeRefresh(ctx, which); err == nil {
				return fmt.Errorf("RevokeRefresh(%+v) returned nil", which)
			}
		}
		return expect(s, "s1", "a", "b", 0, auth.RefreshRotated)
	})
	older := func(one auth.Session, age time.Duration) auth.Session {
		one.Created = now.Add(-age)
		return one
	}
	run("of more sessions than most the oldest end", "a stolen password opens any number of sessions, and all of them have to be found and ended", func(s auth.RefreshStore) error {
		err := errors.Join(
			begin(s, older(session("s4", "alice", ""), time.Minute), now.Add(idle), 3),
			begin(s, older(session("s5", "bob", ""), time.Minute), now.Add(idle), 2),
			begin(s, older(session("s6", "alice", ""), -time.Minute), now.Add(idle), 3),
		)
		if err != nil {
			return err
		}
		for _, one := range []struct {
			session string
			want    auth.RotationOutcome
		}{{"s4", auth.RefreshUnknown}, {"s1", auth.RefreshRotated}, {"s2", auth.RefreshRotated}, {"s3", auth.RefreshRotated}, {"s5", auth.RefreshRotated}, {"s6", auth.RefreshRotated}} {
			if err := expect(s, one.session, "a", "b", 0, one.want); err != nil {
				return fmt.Errorf("session %s: %w", one.session, err)
			}
		}
		return nil
	})
	run("the sessions that end are returned", "the event of the sign-in names them, and users look there for why they are signed out", func(s auth.RefreshStore) error {
		for _, step := range []struct {
			one  auth.Session
			most int
			want []string
		}{
			{older(session("s4", "alice", ""), -time.Second), 10, nil},
			{older(session("s5", "alice", ""), -time.Minute), 4, nil},
			{older(session("s6", "bob", ""), -time.Minute), 1, []string{"s3"}},
			{older(session("s7", "alice", ""), -time.Hour), 3, []string{"s1", "s2"}},
		} {
			got, err := s.CreateRefresh(ctx, step.one, id("a"), now.Add(idle), step.most)
			if err != nil {
				return err
			}
			if slices.Sort(got); !slices.Equal(got, step.want) {
				return fmt.Errorf("CreateRefresh of %s with most %d returned the sessions %q, want %q", step.one.ID, step.most, got, step.want)
			}
		}
		return nil
	})
	run("the session that begins is never one of those that end", "clocks differ, and the user has received its tokens", func(s auth.RefreshStore) error {
		if err := begin(s, older(session("s4", "alice", ""), time.Hour), now.Add(idle), 1); err != nil {
			return err
		}
		if err := expect(s, "s4", "a", "b", 0, auth.RefreshRotated); err != nil {
			return err
		}
		return errors.Join(expect(s, "s1", "a", "b", 0, auth.RefreshUnknown), expect(s, "s2", "a", "b", 0, auth.RefreshUnknown))
	})
	run("a session that has expired takes no place", "otherwise an expired session would evict a live one", func(s auth.RefreshStore) error {
		err := errors.Join(
			begin(s, older(session("s4", "alice", ""), -time.Second), now.Add(-time.Second), 10),
			begin(s, older(session("s5", "alice", ""), -time.Minute), now.Add(idle), 3),
		)
		if err != nil {
			return err
		}
		return errors.Join(expect(s, "s1", "a", "b", 0, auth.RefreshRotated), expect(s, "s2", "a", "b", 0, auth.RefreshRotated))
	})
	run("of 32 sessions that begin at once the next one leaves no more than most", "parallel sign-ins must not exceed the bound for good", func(s auth.RefreshStore) error {
		var all sync.WaitGroup
		errs := make([]error, 32)
		for i := range errs {
			all.Go(func() {
				errs[i] = begin(s, older(session(fmt.Sprint("p", i), "alice", ""), -time.Second), now.Add(idle), 4)
			})
		}
		all.Wait()
		errs = append(errs, begin(s, older(session("last", "alice", ""), -time.Minute), now.Add(idle), 4))
		if err := errors.Join(errs...); err != nil {
			return err
		}
		alive := 0
		for _, name := range []string{"s1", "s2", "last"} {
			if got, err := rotate(s, name, "a", "b", 0); err != nil {
				return err
			} else if got.Outcome == auth.RefreshRotated {
				alive++
			}
		}
		for i := range 32 {
			if got, err := rotate(s, fmt.Sprint("p", i), "a", "b", 0); err != nil {
				return err
			} else if got.Outcome == auth.RefreshRotated {
				alive++
			}
		}
		if alive != 4 {
			return fmt.Errorf("%d sessions are alive, want 4", alive)
		}
		return nil
	})
	run("a cancelled context is an error or a full success", "the caller would treat any other outcome as a decision", func(s auth.RefreshStore) error {
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		got, err := s.RotateRefresh(cancelled, auth.Rotation{Session: "s1", Old: id("a"), New: id("b"), Now: now, Grace: grace, Idle: idle})
		if err == nil && got.Outcome != auth.RefreshRotated {
			return fmt.Errorf("outcome %v without an error", got.Outcome)
		}
		return nil
	})
}

// A SessionStore is what [RunSessions] checks.
type SessionStore interface {
	auth.RefreshStore
	auth.SessionLister
}

// RunSessions checks the listing of sessions; run [RunRefresh] too. open returns an
// empty store.
func RunSessions(t *testing.T, open func(t *testing.T) SessionStore) {
	ctx := context.Background()
	now := time.Now().Truncate(time.Microsecond)
	session := func(id, subject string, age time.Duration) auth.Session {
		return auth.Session{ID: id, Subject: subject, Tenant: "acme", Client: identity.FirstParty, Created: now.Add(-age), Expires: now.Add(time.Hour)}
	}
	oldest, middle, newest := session("s1", "alice", 3*time.Minute), session("s3", "alice", 2*time.Minute), session("s2", "alice", time.Minute)
	other := session("s4", "bob", 0)
	run := func(name, why string, check func(s SessionStore) error) {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			var err error
			for _, one := range []auth.Session{middle, oldest, newest, other} {
				err = errors.Join(err, second(s.CreateRefresh(ctx, one, id("a"), now.Add(time.Hour), auth.MaxListed)))
			}
			if err == nil {
				err = check(s)
			}
			if err != nil {
				t.Errorf("%v\n\t%s", err, why)
			}
		})
	}
	expect := func(s SessionStore, subject string, want ...auth.Session) error {
		got, err := s.Sessions(ctx, subject)
		if err != nil {
			return fmt.Errorf("Sessions(%q): %w", subject, err)
		}
		same := func(a, b auth.Session) bool {
			return a.ID == b.ID && a.Subject == b.Subject && a.Tenant == b.Tenant && a.Client == b.Client &&
				a.Created.Equal(b.Created) && a.Expires.Equal(b.Expires)
		}
		if !slices.EqualFunc(got, want, same) {
			return fmt.Errorf("Sessions(%q) = %v, want %v", subject, got, want)
		}
		return nil
	}
	run("the sessions of a subject are listed, the newest first", "people look for the one that they do not know", func(s SessionStore) error {
		return expect(s, "alice", newest, middle, oldest)
	})
	run("sessions of other subjects are not listed", "otherwise users can see and end sessions of other users", func(s SessionStore) error {
		for _, subject := range []string{"", "carol", "ALICE", "alice ", "alic_", "%", "s1", "' OR '1'='1"} {
			if err := expect(s, subject); err != nil {
				return err
			}
		}
		return expect(s, "bob", other)
	})
	run("a session that was refreshed is listed as it began", "a refresh is no other sign-in", func(s SessionStore) error {
		got, err := s.RotateRefresh(ctx, auth.Rotation{Session: "s1", Old: id("a"), New: id("b"), Now: now, Grace: time.Second, Idle: time.Hour})
		if err != nil || got.Outcome != auth.RefreshRotated {
			return fmt.Errorf("RotateRefresh: outcome %v, %v", got.Outcome, err)
		}
		return expect(s, "alice", newest, middle, oldest)
	})
	run("a session that was ended is not listed", "people would try in vain to end it", func(s SessionStore) error {
		if err := s.RevokeRefresh(ctx, identity.Revocation{Session: "s3"}); err != nil {
			return err
		}
		return expect(s, "alice", newest, oldest)
	})
	run("the sessions of all subjects are counted", "the count is a metric of how many are signed in", func(s SessionStore) error {
		counter, ok := s.(auth.SessionCounter)
		if !ok {
			return nil
		}
		count := func(want int) error {
			if n, err := counter.CountSessions(ctx); err != nil || n != want {
				return fmt.Errorf("CountSessions = %d, %v; want %d", n, err, want)
			}
			return nil
		}
		if err := count(4); err != nil {
			return err
		}
		if err := s.RevokeRefresh(ctx, identity.Revocation{Session: "s3"}); err != nil {
			return err
		}
		return count(3)
	})
	run("a session that has expired is not listed", "it cannot be refreshed", func(s SessionStore) error {
		idle, over := session("s5", "alice", time.Hour), session("s6", "alice", time.Hour)
		over.Expires = now.Add(-time.Second)
		err := errors.Join(
			second(s.CreateRefresh(ctx, idle, id("a"), now.Add(-time.Second), auth.MaxListed)),
			second(s.CreateRefresh(ctx, over, id("a"), now.Add(time.Hour), auth.MaxListed)),
		)
		if err != nil {
			return err
		}
		return expect(s, "alice", newest, middle, oldest)
	})
}

func equal(got, want auth.Rotated) error {
	if got.Outcome != want.Outcome || got.Current != want.Current || !got.At.Equal(want.At) || !got.Expires.Equal(want.Expires) {
		return fmt.Errorf("got outcome %v at %v until %v, want %v at %v until %v (and the current hash)",
			got.Outcome, got.At, got.Expires, want.Outcome, want.At, want.Expires)
	}
	return nil
}

// RunChallenges checks an [auth.ChallengeStore]. open returns an empty store.
func RunChallenges(t *testing.T, open func(t *testing.T) auth.ChallengeStore) {
	ctx := context.Background()
	expires := time.Now().Add(time.Minute)
	run := func(name, why string, check func(s auth.ChallengeStore) error) {
		t.Run(name, func(t *testing.T) {
			if err := check(open(t)); err != nil {
				t.Errorf("%v\n\t%s", err, why)
			}
		})
	}
	attempt := func(s auth.ChallengeStore, name string, want bool) error {
		got, err := s.AttemptChallenge(ctx, id(name), 3, expires)
		if err == nil && got != want {
			err = fmt.Errorf("AttemptChallenge = %v, want %v", got, want)
		}
		return err
	}
	finish := func(s auth.ChallengeStore, name string, want bool) error {
		got, err := s.FinishChallenge(ctx, id(name))
		if err == nil && got != want {
			err = fmt.Errorf("FinishChallenge = %v, want %v", got, want)
		}
		return err
	}
	run("the limit is the limit, for each challenge", "every attempt beyond it is a free guess", func(s auth.ChallengeStore) error {
		for _, want := range []bool{true, true, true, false, false} {
			if err := attempt(s, "a", want); err != nil {
				return err
			}
		}
		return attempt(s, "b", true)
	})
	run("of 64 attempts at once the limit is allowed", "a count that is read and then written lets parallel guesses through", func(s auth.ChallengeStore) error {
		var mu sync.Mutex
		var failed error
		allowed := 0
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				ok, err := s.AttemptChallenge(ctx, id("a"), 3, expires)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
				}
				if ok {
					allowed++
				}
			})
		}
		all.Wait()
		if failed == nil && allowed != 3 {
			failed = fmt.Errorf("%d attempts were allowed, want 3", allowed)
		}
		return failed
	})
	run("a finished challenge is over", "it was exchanged for a session, and must not be again", func(s auth.ChallengeStore) error {
		return errors.Join(attempt(s, "a", true), finish(s, "a", true), finish(s, "a", false), attempt(s, "a", false))
	})
	run("an answer to the last attempt counts", "a right answer at the last attempt is a right answer", func(s auth.ChallengeStore) error {
		return errors.Join(attempt(s, "a", true), attempt(s, "a", true), attempt(s, "a", true), finish(s, "a", true))
	})
	run("of 64 that finish at once one is first", "two codes answered in parallel would open two sessions", func(s auth.ChallengeStore) error {
		if err := attempt(s, "a", true); err != nil {
			return err
		}
		var mu sync.Mutex
		var failed error
		firsts := 0
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				first, err := s.FinishChallenge(ctx, id("a"))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = err
				}
				if first {
					firsts++
				}
			})
		}
		all.Wait()
		if failed == nil && firsts != 1 {
			failed = fmt.Errorf("%d were first, want 1", firsts)
		}
		return failed
	})
	run("a challenge that was never attempted cannot be finished", "no answer was compared", func(s auth.ChallengeStore) error {
		return finish(s, "a", false)
	})
}
