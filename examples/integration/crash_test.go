package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const password = "a quite usual passphrase"

func TestKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "server.db")
	p := server(t, path)
	restart := func() {
		t.Helper()
		p.kill()
		p = server(t, path)
	}

	want(t, http.StatusCreated)(p.register(ctx, "carol", password))
	restart()
	first := wantPair(t)(p.signIn(ctx, "carol", password))
	restart()
	want(t, http.StatusOK)(p.me(ctx, first.Access))
	second := wantPair(t)(p.refresh(ctx, first.Refresh))
	restart()
	// Whoever lost the answer is led to the same successor.
	again := wantPair(t)(p.refresh(ctx, first.Refresh))
	if again.Refresh != second.Refresh {
		t.Error("the same refresh token has another successor after the restart")
	}
	third := wantPair(t)(p.refresh(ctx, second.Refresh))
	want(t, http.StatusOK)(p.logout(ctx, third.Access))
	restart()
	for _, pair := range []tokens{first, second, again, third} {
		want(t, http.StatusUnauthorized)(p.me(ctx, pair.Access))
		want(t, http.StatusBadRequest)(p.refresh(ctx, pair.Refresh))
	}
	want(t, http.StatusConflict)(p.register(ctx, "carol", password))
	wantPair(t)(p.signIn(ctx, "carol", password))
}

func TestReuseThatWasFoundOutBeforeAKillStaysFoundOut(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "server.db")
	p := server(t, path)
	first := wantPair(t)(p.signIn(ctx, "alice", p.password()))
	second := wantPair(t)(p.refresh(ctx, first.Refresh))
	third := wantPair(t)(p.refresh(ctx, second.Refresh))
	want(t, http.StatusBadRequest)(p.refresh(ctx, first.Refresh))
	p.kill()
	p = server(t, path)
	for _, pair := range []tokens{first, second, third} {
		want(t, http.StatusUnauthorized)(p.me(ctx, pair.Access))
		want(t, http.StatusBadRequest)(p.refresh(ctx, pair.Refresh))
	}
}

func TestKilledServerKeepsTheLifecycleOfUsers(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "server.db")
	p := server(t, path)
	// Each change is acknowledged, and the next thing that happens is a kill.
	restart := func() {
		t.Helper()
		p.kill()
		p = server(t, path)
	}
	over := func(pairs ...tokens) {
		t.Helper()
		for _, pair := range pairs {
			want(t, http.StatusUnauthorized)(p.me(ctx, pair.Access))
			want(t, http.StatusBadRequest)(p.refresh(ctx, pair.Refresh))
		}
	}
	signIn := func(word string) tokens {
		t.Helper()
		return wantPair(t)(p.signIn(ctx, "carol", word))
	}
	const changed = "quite another passphrase"
	admin := wantPair(t)(p.signIn(ctx, "admin", p.password()))
	want(t, http.StatusCreated)(p.register(ctx, "carol", password))

	own, other := signIn(password), signIn(password)
	want(t, http.StatusNoContent)(p.changePassword(ctx, own.Access, password, changed))
	restart()
	over(other)
	want(t, http.StatusOK)(p.me(ctx, own.Access))
	own = wantPair(t)(p.refresh(ctx, own.Refresh))
	want(t, http.StatusBadRequest)(p.signIn(ctx, "carol", password))

	other = signIn(changed)
	id, err := p.session(ctx, other.Access)
	if err != nil {
		t.Fatal(err)
	}
	want(t, http.StatusNoContent)(p.endSession(ctx, own.Access, id))
	restart()
	over(other)
	want(t, http.StatusOK)(p.me(ctx, own.Access))

	other = signIn(changed)
	want(t, http.StatusOK)(p.revoke(ctx, other.Refresh))
	restart()
	over(other)
	want(t, http.StatusOK)(p.revoke(ctx, own.Access))
	restart()
	want(t, http.StatusUnauthorized)(p.me(ctx, own.Access))
	own = wantPair(t)(p.refresh(ctx, own.Refresh))

	other = signIn(changed)
	want(t, http.StatusOK)(p.logoutAll(ctx, own.Access))
	restart()
	over(own, other)

	own = signIn(changed)
	want(t, http.StatusOK)(p.administer(ctx, admin.Access, "carol", "disable"))
	restart()
	over(own)
	want(t, http.StatusBadRequest)(p.signIn(ctx, "carol", changed))
	want(t, http.StatusOK)(p.administer(ctx, admin.Access, "carol", "enable"))
	restart()
	over(own)
	own = signIn(changed)
	want(t, http.StatusOK)(p.me(ctx, own.Access))
}

// A patron is a client that writes until the server is gone, and remembers
// what was acknowledged.
type patron struct {
	username   string
	registered bool
	last       tokens   // of the session that goes on
	signedIn   bool     // there is one
	leaving    bool     // a logout was sent and not acknowledged
	over       []tokens // of sessions that were ended
	writes     int      // acknowledged ones
}

// write sends one request after another until one is not acknowledged, and
// tells of each that was.
func (c *patron) write(ctx context.Context, p *process, acknowledged chan<- struct{}) error {
	for {
		switch {
		case !c.registered:
			a, err := p.register(ctx, c.username, password)
			if err != nil {
				return nil
			}
			// After a kill the answer may have been lost, and the name be
			// taken by this very client.
			if a.status != http.StatusCreated && a.status != http.StatusConflict {
				return fmt.Errorf("%s registers: %d %s", c.username, a.status, a.body)
			}
			c.registered = true
		case !c.signedIn:
			a, err := p.signIn(ctx, c.username, password)
			if err != nil {
				return nil
			}
			if c.last, err = a.pair(); err != nil {
				return fmt.Errorf("%s signs in: %w", c.username, err)
			}
			c.signedIn = true
		case rand.IntN(20) == 0:
			c.leaving = true
			a, err := p.logout(ctx, c.last.Access)
			if err != nil {
				return nil
			}
			if a.status != http.StatusOK {
				return fmt.Errorf("%s signs out: %d %s", c.username, a.status, a.body)
			}
			c.over = append(c.over, c.last)
			c.signedIn, c.leaving = false, false
		default:
			a, err := p.refresh(ctx, c.last.Refresh)
			if err != nil {
				return nil
			}
			next, err := a.pair()
			if err != nil {
				return fmt.Errorf("%s refreshes: %w", c.username, err)
			}
			c.last = next
		}
		c.writes++
		select {
		case acknowledged <- struct{}{}:
		default: // nobody waits for more
		}
	}
}

// verify checks that everything acknowledged is there. reader is an access
// token of somebody else.
func (c *patron) verify(ctx context.Context, p *process, reader string) error {
	if c.registered {
		if a, err := p.user(ctx, reader, c.username); err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%s was registered: got %d %s (%v)", c.username, a.status, a.body, err)
		}
	}
	for _, pair := range c.over {
		if a, err := p.me(ctx, pair.Access); err != nil || a.status != http.StatusUnauthorized {
			return fmt.Errorf("%s had signed out: the access token gets %d %s (%v)", c.username, a.status, a.body, err)
		}
		if a, err := p.refresh(ctx, pair.Refresh); err != nil || a.status != http.StatusBadRequest {
			return fmt.Errorf("%s had signed out: the refresh token gets %d %s (%v)", c.username, a.status, a.body, err)
		}
	}
	if !c.signedIn {
		return nil
	}
	a, err := p.refresh(ctx, c.last.Refresh)
	if err != nil {
		return err
	}
	next, err := a.pair()
	switch {
	case err == nil:
		c.last, c.leaving = next, false
	case c.leaving && a.status == http.StatusBadRequest:
		// The logout took effect, though nobody was told.
		c.signedIn, c.leaving = false, false
	default:
		return fmt.Errorf("%s was signed in: %w", c.username, err)
	}
	return nil
}

func TestKilledServerKeepsWhatItAcknowledgedWheneverItIsKilled(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "server.db")
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	var patrons []*patron
	p := server(t, path)
	reader := wantPair(t)(p.signIn(ctx, "alice", p.password())).Access
	for round := range rounds {
		// Some are new, so that there are writes of all kinds.
		if round%3 == 0 {
			for range 4 {
				patrons = append(patrons, &patron{username: fmt.Sprintf("patron-%d", len(patrons))})
			}
		}
		active := patrons[max(0, len(patrons)-6):]
		errs := make([]error, len(active))
		acknowledged := make(chan struct{}, 1)
		var wg sync.WaitGroup
		for i, c := range active {
			wg.Go(func() { errs[i] = c.write(ctx, p, acknowledged) })
		}
		// A kill before there is anything to lose proves nothing, and on a busy
		// machine that may take a while.
		select {
		case <-acknowledged:
		case <-time.After(20 * time.Second):
			t.Errorf("round %d: nothing was acknowledged", round)
		}
		time.Sleep(time.Duration(rand.IntN(1400)) * time.Millisecond)
		p.kill()
		wg.Wait()
		p = server(t, path)
		for i, c := range active {
			if errs[i] != nil {
				t.Errorf("round %d: %v", round, errs[i])
			}
			if err := c.verify(ctx, p, reader); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
	writes := 0
	for _, c := range patrons {
		writes += c.writes
		// Those of earlier rounds too, for whom the grace is over.
		if c.registered {
			want(t, http.StatusOK)(p.user(ctx, reader, c.username))
		}
		for _, pair := range c.over {
			want(t, http.StatusUnauthorized)(p.me(ctx, pair.Access))
			want(t, http.StatusBadRequest)(p.refresh(ctx, pair.Refresh))
		}
	}
	t.Logf("%d acknowledged writes, %d kills", writes, rounds)
	if writes < rounds {
		t.Errorf("only %d writes in %d rounds: the test proves nothing", writes, rounds)
	}
}

func TestServerKilledDuringItsFirstStartStartsAgain(t *testing.T) {
	for range 4 {
		path := filepath.Join(t.TempDir(), "server.db")
		for range 2 {
			p := begin(t, "server", nil, flags(path)...)
			time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond)
			p.kill()
		}
		p := server(t, path)
		wantPair(t)(p.signIn(t.Context(), "alice", p.password()))
		p.kill()
	}
}
