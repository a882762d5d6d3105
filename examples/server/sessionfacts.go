package main

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// What people see of their sessions beside what auth keeps: how and from where a session
// began, and when it was last used. Sessions may be in Redis; these facts are in the
// database.

// sessionFacts are the facts about one session. They are empty if they are not known.
type sessionFacts struct {
	way                string
	factors            identity.Set
	address, userAgent string
	used               time.Time
}

// began records how a session began, and sends the notices that its beginning or its end
// calls for. It is called for each event.
func (a *app) began(ctx context.Context, e guard.Event) {
	p := e.Principal
	switch {
	case p == nil:
		return
	case e.Name == apikey.EventNewNetwork:
		a.noticeNewNetwork(p.Subject, e)
		return
	case e.Name == guard.EventTokenReuse && p.Subject != "":
		a.ways.post.tell(p.Subject, "A session was ended, because one of its refresh tokens was used twice.")
		return
	case e.Name != guard.EventLoginSuccess || p.Session == "":
		return
	}
	way := e.Way
	switch {
	case strings.HasSuffix(e.Request.Path, "/2fa/verify/"), strings.HasSuffix(e.Request.Path, "/session/step-up"):
		way = wayStepUp
	case way == "":
		way = wayPassword
	}
	address, _, err := net.SplitHostPort(e.Request.RemoteAddr)
	if err != nil {
		address = e.Request.RemoteAddr
	}
	ctx = context.WithoutCancel(ctx)
	if way != wayStepUp {
		a.noticeNewDevice(ctx, p.Subject, e.Request.UserAgent, address)
	}
	now := time.Now().UnixMicro()
	_, err = a.db.ExecContext(ctx, `INSERT INTO session_beginnings (session, way, factors, began, subject, address, user_agent, used)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (session) DO NOTHING`,
		p.Session, way, p.Factors.String(), now, p.Subject, address, e.Request.UserAgent, now)
	if err != nil {
		a.log.Warn("how a session began is not recorded", "error", err)
	}
}

// noticeNewDevice sends a notice if a user who has signed in before signs in with a user
// agent that no session of theirs began with.
func (a *app) noticeNewDevice(ctx context.Context, subject, userAgent, address string) {
	var before, same int
	err := a.db.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(CASE WHEN user_agent = $1 THEN 1 ELSE 0 END), 0) FROM session_beginnings WHERE subject = $2", userAgent, subject).Scan(&before, &same)
	if err != nil {
		a.log.Warn("whether a device is new is not known", "error", err)
		return
	}
	if before > 0 && same == 0 {
		a.ways.post.tell(subject, "There was a sign-in with a new browser or program, from "+address+".")
	}
}

// noticeNewNetwork sends a notice if an API key was used before and is used from a new
// network now.
func (a *app) noticeNewNetwork(owner string, e guard.Event) {
	var network string
	var networks int64
	for _, change := range e.Changes {
		switch change.Key {
		case "network":
			network = change.Value.String()
		case "networks":
			networks = change.Value.Int64()
		}
	}
	if networks > 1 {
		a.ways.post.notify(owner, "The API key "+e.Target+" was used from a new network, "+network+". If this was none of your programs, revoke the key.")
	}
}

// facts returns the facts about a session.
func (a *app) facts(ctx context.Context, session string) (f sessionFacts, err error) {
	var factors string
	var used int64
	err = a.db.QueryRowContext(ctx, "SELECT way, factors, address, user_agent, used FROM session_beginnings WHERE session = $1", session).
		Scan(&f.way, &factors, &f.address, &f.userAgent, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return sessionFacts{}, nil // it began before this was recorded
	}
	f.factors = identity.ParseSet(factors)
	if used = max(used, a.uses.last(session)); used > 0 {
		f.used = time.UnixMicro(used).UTC()
	}
	return f, err
}

const (
	usesInterval = time.Minute // between two writes of when sessions were used
	maxUses      = 100_000     // sessions of one interval; the uses of others are not recorded
)

// uses collects when sessions were used, so that requests write nothing.
type uses struct {
	mu sync.Mutex
	at map[string]int64 // microseconds since 1970, by session
}

// note records a use of a session. It is called for each request of a caller.
func (u *uses) note(session string) {
	if session == "" {
		return
	}
	now := time.Now().UnixMicro()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = make(map[string]int64)
	}
	if _, known := u.at[session]; known || len(u.at) < maxUses {
		u.at[session] = now
	}
}

// last returns when a session was used since the last write, 0 if it was not.
func (u *uses) last(session string) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.at[session]
}

func (u *uses) take() map[string]int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.at
	u.at = nil
	return taken
}

// writeUses writes every minute, and at the end of ctx, when sessions were used.
func (a *app) writeUses(ctx context.Context) {
	tick := time.NewTicker(usesInterval)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ended = true
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if err := a.storeUses(bounded, a.uses.take()); err != nil {
			a.log.Warn("when sessions were used is not recorded", "error", err)
		}
		cancel()
	}
}

func (a *app) storeUses(ctx context.Context, used map[string]int64) error {
	if len(used) == 0 {
		return nil
	}
	tx, err := a.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	// In one order on all nodes, so that their transactions do not wait for each other.
	for _, session := range slices.Sorted(maps.Keys(used)) {
		if _, err := tx.ExecContext(ctx, "UPDATE session_beginnings SET used = $1 WHERE session = $2 AND used < $1", used[session], session); err != nil {
			return err
		}
	}
	return tx.Commit()
}
