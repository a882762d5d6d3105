package authtest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/identity"
)

// The suites are tested with stores that break one rule each: a suite that
// passes such a store is worth nothing. As a failing subtest fails its test,
// they run in a process of their own, whose output is read.

// inside is set in the environment of that process.
const inside = "GATEWRIGHT_AUTHTEST_BROKEN_STORES"

// A defect names a way to be broken, and a rule that must find it.
type defect struct{ name, rule string }

var refreshDefects = []defect{
	{"Spare is not looked at", "the session Spare is left alone"},
	{"Spare is not looked at", "the session Spare is left alone, up to a moment"},
	{"with a Spare nothing ends", "a Spare that is not there spares none"},
	{"any number of sessions", "of more sessions than most the oldest end"},
	{"the newest sessions end", "of more sessions than most the oldest end"},
	{"the sessions of all subjects are counted", "of more sessions than most the oldest end"},
	{"evicted sessions are not returned", "the sessions that end are returned"},
	{"the session that begins is returned as evicted", "the sessions that end are returned"},
	{"the session that begins may end", "the session that begins is never one of those that end"},
	{"expired sessions are counted", "a session that has expired takes no place"},
	{"any number of sessions that begin at once", "of 32 sessions that begin at once the next one leaves no more than most"},
	{"the times of the successor are wrong", "the current token is rotated and tells what is current"},
	{"the expiry is not cut to the session's", "a token does not outlive its session"},
	{"the session does not expire", "a token does not outlive its session"},
	{"no grace", "the predecessor may come back within the grace, and gets the same answer"},
	{"a replay has times of its own", "the predecessor may come back within the grace, and gets the same answer"},
	{"a replay is told what it asked for", "the predecessor may come back within the grace, and gets the same answer"},
	{"the grace slides", "a replay changes nothing, so the grace does not slide"},
	{"the grace never ends", "a replay after the grace ends the session"},
	{"a reuse ends nothing", "a replay after the grace ends the session"},
	{"a reuse ends all sessions of the subject", "a replay after the grace ends the session"},
	{"every predecessor has a grace", "a token two generations old ends the session even within the grace"},
	{"what never was is unknown", "a token that never was ends the session"},
	{"a token that never was ends nothing", "a token that never was ends the session"},
	{"idle sessions live", "an idle session expires"},
	{"unknown sessions are reused", "an unknown session is unknown"},
	{"session IDs in any case", "an unknown session is unknown"},
	{"a second session takes the place of the first", "a session ID is not given twice"},
	{"get, then set", "of 64 rotations at once one rotates"},
	{"revocation does nothing", "one session is revoked"},
	{"revocation ends everything", "one session is revoked"},
	{"a second revocation is an error", "what never was is revoked without complaint"},
	{"subject is not looked at", "all sessions of a subject are revoked"},
	{"tenant is not looked at", "all sessions of a tenant are revoked"},
	{"one field is enough", "two fields narrow it down"},
	{"a session is revoked whosever it is", "a session of somebody else is left alone"},
	{"Before includes its moment", "sessions from that moment on are left alone"},
	{"Before is not looked at", "sessions from that moment on are left alone"},
	{"seconds only", "sessions from before a moment are revoked"},
	{"an empty revocation passes", "a revocation of everything, or of one credential, is refused"},
	{"a credential is revoked with its session", "a revocation of everything, or of one credential, is refused"},
	{"a cancelled request is unknown", "a cancelled context is an error or a full success"},
}

var sessionDefects = []defect{
	{"the oldest first", "the sessions of a subject are listed, the newest first"},
	{"the sessions of one subject are counted", "the sessions of all subjects are counted"},
	{"the count is stale", "the sessions of all subjects are counted"},
	{"the tenant is forgotten", "the sessions of a subject are listed, the newest first"},
	{"the sessions of everybody", "sessions of other subjects are not listed"},
	{"subjects in any case", "sessions of other subjects are not listed"},
	{"a refresh is a beginning", "a session that was refreshed is listed as it began"},
	{"ended sessions are listed", "a session that was ended is not listed"},
	{"idle sessions are listed", "a session that has expired is not listed"},
	{"expired sessions are listed", "a session that has expired is not listed"},
}

var challengeDefects = []defect{
	{"no limit", "the limit is the limit, for each challenge"},
	{"one too many", "the limit is the limit, for each challenge"},
	{"one limit for all", "the limit is the limit, for each challenge"},
	{"get, then set", "of 64 attempts at once the limit is allowed"},
	{"the last attempt cannot finish", "an answer to the last attempt counts"},
	{"finishing ends nothing", "a finished challenge is over"},
	{"everybody is first", "of 64 that finish at once one is first"},
	{"finish: get, then set", "of 64 that finish at once one is first"},
	{"finishing what was never attempted", "a challenge that was never attempted cannot be finished"},
}

var userDefects = []defect{
	{"found by ID only under another ID", "a user is found by login and by ID"},
	{"roles are forgotten", "a user is found by login and by ID"},
	{"scopes are forgotten", "a user is found by login and by ID"},
	{"the tenant is forgotten", "a user is found by login and by ID"},
	{"disabled users are hidden", "a disabled user is returned as disabled"},
	{"disabled is forgotten", "a disabled user is returned as disabled"},
	{"nobody and no error", "an unknown user is ErrNotFound"},
	{"another error", "an unknown user is ErrNotFound"},
	{"login and ID are one", "an unknown user is ErrNotFound"},
	{"logins are patterns", "an unknown user is ErrNotFound"},
	{"a hash is replaced whatever it is", "a password hash is replaced only where the old one still stands"},
	{"a hash is never replaced", "a password hash is replaced only where the old one still stands"},
	{"the hash of everybody is replaced", "a password hash is replaced only where the old one still stands"},
}

func TestBrokenStores(t *testing.T) {
	if os.Getenv(inside) != "" {
		t.Run("refresh", func(t *testing.T) {
			for _, d := range append(refreshDefects, defect{}) {
				t.Run("<"+d.name+">", func(t *testing.T) {
					authtest.RunRefresh(t, func(*testing.T) auth.RefreshStore { return &store{broken: d.name} })
				})
			}
		})
		t.Run("sessions", func(t *testing.T) {
			for _, d := range append(sessionDefects, defect{}) {
				t.Run("<"+d.name+">", func(t *testing.T) {
					authtest.RunSessions(t, func(*testing.T) authtest.SessionStore { return &store{broken: d.name} })
				})
			}
		})
		t.Run("challenges", func(t *testing.T) {
			for _, d := range append(challengeDefects, defect{}) {
				t.Run("<"+d.name+">", func(t *testing.T) {
					authtest.RunChallenges(t, func(*testing.T) auth.ChallengeStore { return &store{broken: d.name} })
				})
			}
		})
		t.Run("users", func(t *testing.T) {
			for _, d := range append(userDefects, defect{}) {
				t.Run("<"+d.name+">", func(t *testing.T) {
					authtest.RunUsers(t, func(_ *testing.T, users map[string]auth.User) auth.UserStore {
						s := &userStore{broken: d.name, users: map[string]auth.User{}}
						for login, u := range users {
							s.users[login] = u
						}
						return s
					})
				})
			}
		})
		return
	}

	cmd := exec.Command(os.Args[0], "-test.run=^TestBrokenStores$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("every suite passed every broken store")
	}
	failed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`).FindAllStringSubmatch(string(out), -1) {
		failed[m[1]] = true
	}
	if len(failed) == 0 {
		t.Fatalf("nothing can be read from the output:\n%s", out)
	}
	underscored := func(s string) string { return strings.ReplaceAll(s, " ", "_") }
	for suite, defects := range map[string][]defect{"refresh": refreshDefects, "sessions": sessionDefects, "challenges": challengeDefects, "users": userDefects} {
		for _, d := range defects {
			t.Run(suite+": "+d.name, func(t *testing.T) {
				if !failed["TestBrokenStores/"+suite+"/<"+underscored(d.name)+">/"+underscored(d.rule)] {
					t.Errorf("the rule %q does not find it", d.rule)
				}
			})
		}
		t.Run(suite+": a store that is not broken passes", func(t *testing.T) {
			if failed["TestBrokenStores/"+suite+"/<>"] {
				t.Errorf("it fails:\n%s", out)
			}
		})
	}
}

// store is a RefreshStore and ChallengeStore that can be broken.
type store struct {
	broken string

	mu         sync.Mutex
	sessions   map[string]*session
	challenges map[auth.TokenHash]*challenge
}

type session struct {
	auth.Session
	current auth.TokenHash
	before  []auth.TokenHash // the last is the predecessor
	rotated time.Time
	idle    time.Time
}

type challenge struct {
	attempts int
	finished bool
}

func (s *store) CreateRefresh(_ context.Context, one auth.Session, first auth.TokenHash, idle time.Time, most int) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[one.ID] != nil && s.broken != "a second session takes the place of the first" {
		return nil, errors.New("taken")
	}
	if s.sessions == nil {
		s.sessions = make(map[string]*session)
	}
	s.sessions[one.ID] = &session{Session: one, current: first, rotated: one.Created, idle: idle}
	evicted := s.bound(one, most)
	switch s.broken {
	case "evicted sessions are not returned":
		evicted = nil
	case "the session that begins is returned as evicted":
		evicted = append(evicted, one.ID)
	}
	return evicted, nil
}

// bound ends the oldest sessions of the subject of one. The caller has the lock.
func (s *store) bound(one auth.Session, most int) (evicted []string) {
	if s.broken == "any number of sessions" || s.broken == "any number of sessions that begin at once" && strings.HasPrefix(one.ID, "last") {
		return nil
	}
	var all []*session
	for _, other := range s.sessions {
		mine := other.Subject == one.Subject || s.broken == "the sessions of all subjects are counted"
		if mine && other.ID != one.ID && (time.Now().Before(other.idle) || s.broken == "expired sessions are counted") {
			all = append(all, other)
		}
	}
	slices.SortFunc(all, func(a, b *session) int {
		if s.broken == "the newest sessions end" {
			return a.Created.Compare(b.Created)
		}
		return b.Created.Compare(a.Created)
	})
	if s.broken == "the session that begins may end" {
		all = append(all, s.sessions[one.ID])
		slices.SortFunc(all, func(a, b *session) int { return b.Created.Compare(a.Created) })
		most++
	}
	for _, other := range all[min(len(all), most-1):] {
		delete(s.sessions, other.ID)
		evicted = append(evicted, other.ID)
	}
	return evicted
}

func (s *store) RotateRefresh(ctx context.Context, r auth.Rotation) (auth.Rotated, error) {
	if s.broken == "a cancelled request is unknown" && ctx.Err() != nil {
		return auth.Rotated{}, nil
	}
	if s.broken == "get, then set" {
		s.mu.Lock()
		one := s.sessions[r.Session]
		isCurrent := one != nil && one.current == r.Old
		s.mu.Unlock()
		runtime.Gosched()
		time.Sleep(time.Millisecond)
		if isCurrent {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.replace(one, r), nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.Session
	if s.broken == "session IDs in any case" {
		id = strings.ToLower(id)
	}
	one := s.sessions[id]
	if one == nil {
		if s.broken == "unknown sessions are reused" {
			return auth.Rotated{Outcome: auth.RefreshReused}, nil
		}
		return auth.Rotated{}, nil
	}
	if !r.Now.Before(one.idle) && s.broken != "idle sessions live" && s.broken != "the session does not expire" ||
		!r.Now.Before(one.Expires) && s.broken != "the session does not expire" {
		return auth.Rotated{}, nil
	}
	if r.Old == one.current {
		return s.replace(one, r), nil
	}
	grace := r.Grace
	switch s.broken {
	case "no grace":
		grace = -1
	case "the grace never ends":
		grace = time.Hour
	}
	for i, old := range one.before {
		if r.Old != old || i < len(one.before)-1 && s.broken != "every predecessor has a grace" || r.Now.Sub(one.rotated) > grace {
			continue
		}
		out := auth.Rotated{Outcome: auth.RefreshReplayed, Current: one.current, At: one.rotated, Expires: one.idle}
		switch s.broken {
		case "a replay has times of its own":
			out.At = r.Now
		case "a replay is told what it asked for":
			out.Current = r.New
		case "the grace slides":
			one.rotated = r.Now
		}
		return out, nil
	}
	was := false
	for _, old := range one.before {
		was = was || old == r.Old
	}
	switch {
	case s.broken == "what never was is unknown" && !was:
		return auth.Rotated{}, nil
	case s.broken == "a token that never was ends nothing" && !was:
		return auth.Rotated{Outcome: auth.RefreshReused}, nil
	case s.broken == "a reuse ends nothing":
		return auth.Rotated{Outcome: auth.RefreshReused}, nil
	}
	for id, other := range s.sessions {
		if other == one || s.broken == "a reuse ends all sessions of the subject" && other.Subject == one.Subject {
			delete(s.sessions, id)
		}
	}
	return auth.Rotated{Outcome: auth.RefreshReused}, nil
}

func (s *store) replace(one *session, r auth.Rotation) auth.Rotated {
	one.before = append(one.before, one.current)
	one.current, one.rotated, one.idle = r.New, r.Now, r.Now.Add(r.Idle)
	if one.idle.After(one.Expires) && s.broken != "the expiry is not cut to the session's" {
		one.idle = one.Expires
	}
	out := auth.Rotated{Outcome: auth.RefreshRotated, Current: one.current, At: one.rotated, Expires: one.idle}
	if s.broken == "the times of the successor are wrong" {
		out.At = one.Created
	}
	return out
}

func (s *store) RevokeRefresh(_ context.Context, which identity.Revocation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	empty := which.Session == "" && which.Subject == "" && which.Tenant == "" && which.Before.IsZero()
	if empty && s.broken != "an empty revocation passes" ||
		which.Credential != "" && s.broken != "a credential is revoked with its session" {
		return errors.New("refused")
	}
	if s.broken == "revocation does nothing" || s.broken == "ended sessions are listed" {
		return nil
	}
	created := func(t time.Time) time.Time {
		if s.broken == "seconds only" {
			return t.Truncate(time.Second)
		}
		return t
	}
	ended := 0
	for id, one := range s.sessions {
		matches := []bool{
			which.Session == "" || which.Session == id,
			which.Subject == "" || which.Subject == one.Subject || s.broken == "subject is not looked at",
			which.Tenant == "" || which.Tenant == one.Tenant || s.broken == "tenant is not looked at",
			which.Before.IsZero() || created(one.Created).Before(created(which.Before)) || s.broken == "Before is not looked at" ||
				s.broken == "Before includes its moment" && one.Created.Equal(which.Before),
		}
		all := matches[0] && matches[1] && matches[2] && matches[3] && (which.Spare == "" || which.Spare != id || s.broken == "Spare is not looked at")
		if s.broken == "with a Spare nothing ends" && which.Spare != "" {
			all = false
		}
		switch s.broken {
		case "one field is enough":
			all = which.Session == id || which.Subject != "" && which.Subject == one.Subject || which.Tenant != "" && which.Tenant == one.Tenant
		case "a session is revoked whosever it is":
			all = all || which.Session == id
		case "revocation ends everything":
			all = true
		}
		if all {
			delete(s.sessions, id)
			ended++
		}
	}
	if ended == 0 && s.broken == "a second revocation is an error" {
		return errors.New("there is no such session")
	}
	return nil
}

func (s *store) Sessions(_ context.Context, subject string) ([]auth.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var all []auth.Session
	for _, one := range s.sessions {
		switch {
		case one.Subject == subject, s.broken == "the sessions of everybody",
			s.broken == "subjects in any case" && strings.EqualFold(one.Subject, subject):
		default:
			continue
		}
		if !now.Before(one.idle) && s.broken != "idle sessions are listed" || !now.Before(one.Expires) && s.broken != "expired sessions are listed" {
			continue
		}
		listed := one.Session
		if s.broken == "a refresh is a beginning" {
			listed.Created = one.rotated
		}
		if s.broken == "the tenant is forgotten" {
			listed.Tenant = ""
		}
		all = append(all, listed)
	}
	slices.SortFunc(all, func(a, b auth.Session) int {
		if s.broken == "the oldest first" {
			return a.Created.Compare(b.Created)
		}
		return b.Created.Compare(a.Created)
	})
	return all, nil
}

func (s *store) CountSessions(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.broken {
	case "the sessions of one subject are counted":
		return min(len(s.sessions), 3), nil
	case "the count is stale":
		return 4, nil
	}
	return len(s.sessions), nil
}

func (s *store) AttemptChallenge(_ context.Context, id auth.TokenHash, limit int, _ time.Time) (bool, error) {
	if s.broken == "one limit for all" {
		id = auth.TokenHash{}
	}
	s.mu.Lock()
	if s.challenges == nil {
		s.challenges = make(map[auth.TokenHash]*challenge)
	}
	one := s.challenges[id]
	if one == nil {
		one = new(challenge)
		s.challenges[id] = one
	}
	attempts := one.attempts
	if s.broken == "get, then set" {
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	switch s.broken {
	case "no limit":
		limit = 1000
	case "one too many":
		limit++
	}
	if one.finished || attempts >= limit {
		return false, nil
	}
	one.attempts = attempts + 1
	return true, nil
}

func (s *store) FinishChallenge(_ context.Context, id auth.TokenHash) (bool, error) {
	s.mu.Lock()
	one := s.challenges[id]
	if one == nil {
		defer s.mu.Unlock()
		return s.broken == "finishing what was never attempted", nil
	}
	finished := one.finished
	if s.broken == "finish: get, then set" {
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	switch {
	case s.broken == "everybody is first":
		one.finished = true
		return true, nil
	case finished, s.broken == "the last attempt cannot finish" && one.attempts >= 3:
		return false, nil
	}
	one.finished = s.broken != "finishing ends nothing"
	return true, nil
}

// userStore is a UserStore and PasswordUpdater that can be broken.
type userStore struct {
	broken string
	users  map[string]auth.User
}

func (s *userStore) answer(u auth.User, ok bool) (*auth.User, error) {
	switch {
	case !ok && s.broken == "nobody and no error":
		return nil, nil
	case !ok && s.broken == "another error":
		return nil, errors.New("no rows")
	case !ok, s.broken == "disabled users are hidden" && u.Disabled:
		return nil, auth.ErrNotFound
	}
	switch s.broken {
	case "roles are forgotten":
		u.Roles = identity.Set{}
	case "scopes are forgotten":
		u.Scopes = identity.Set{}
	case "the tenant is forgotten":
		u.Tenant = ""
	case "disabled is forgotten":
		u.Disabled = false
	}
	return &u, nil
}

func (s *userStore) UserByLogin(_ context.Context, login string) (*auth.User, error) {
	for name, u := range s.users {
		like, _ := regexp.MatchString("^"+strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(login))+"$", name)
		if name == login || s.broken == "logins are patterns" && like || s.broken == "login and ID are one" && u.ID == login {
			return s.answer(u, true)
		}
	}
	return s.answer(auth.User{}, false)
}

func (s *userStore) UserByID(_ context.Context, id string) (*auth.User, error) {
	for _, u := range s.users {
		if u.ID == id {
			if s.broken == "found by ID only under another ID" {
				u.ID = "x" + u.ID
			}
			return s.answer(u, true)
		}
	}
	return s.answer(auth.User{}, false)
}

func (s *userStore) UpdatePasswordHash(_ context.Context, id, old, new string) error {
	for login, u := range s.users {
		if s.broken == "the hash of everybody is replaced" && s.users["alice"].PasswordHash == old ||
			u.ID == id && (u.PasswordHash == old || s.broken == "a hash is replaced whatever it is") && s.broken != "a hash is never replaced" {
			defer func() {
				u.PasswordHash = new
				s.users[login] = u
			}()
		}
	}
	return nil
}
