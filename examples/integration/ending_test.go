package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
	keystore "github.com/gatewright/gatewright/apikey/sqlstore"
	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	passwordhash "github.com/gatewright/gatewright/auth/password"
	"github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	"github.com/gatewright/gatewright/examples/integration/servers"
)

// A password is changed on one node while a thief who has it signs in, answers
// challenges, steps up, refreshes and makes API keys on the other one. When the
// change is acknowledged nothing of that is left, ever.

// endingRounds is how many there are of each race: GATEWRIGHT_ENDING_ROUNDS, 500
// by hand, or 20.
func endingRounds() int {
	if n, err := strconv.Atoi(os.Getenv("GATEWRIGHT_ENDING_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 20
}

// An endingNode has connections and a replica of its own.
type endingNode struct {
	replica  *blacklist.Replica
	verifier *token.Verifier
	manager  *apikey.Manager
	sessions sessionLister
	wake     chan struct{}

	token, refresh, exchange, stepUp http.Handler
	server                           *auth.Server
}

type sessionLister interface {
	refreshStore
	Sessions(ctx context.Context, subject string) ([]auth.Session, error)
}

// switched is a second factor that a test switches on for a subject.
type switched struct{ on sync.Map }

func (s *switched) Required(_ context.Context, subject string) (bool, error) {
	_, on := s.on.Load(subject)
	return on, nil
}

func (*switched) VerifyFactor(context.Context, *identity.Principal, string) (string, error) {
	return "otp", nil
}

// endingStores opens what a node keeps things in.
type endingStores struct {
	log      func(t *testing.T) blacklist.Log
	sessions func(t *testing.T) sessionLister
	keys     func(t *testing.T) *keystore.Store
	forget   func(t *testing.T) // all revocations, as if they had expired
}

// An endingPair is two nodes that share users, sessions, keys and a log.
type endingPair struct {
	users  *auth.Memory
	factor *switched
	hasher *passwordhash.Hasher
	node   func(t *testing.T, listens bool) *endingNode
}

func openEnding(t *testing.T, stores endingStores) *endingPair {
	t.Helper()
	hasher, err := passwordhash.New(passwordhash.Config{Argon2id: passwordhash.Argon2id{Memory: 64, Passes: 1, Lanes: 1}, InsecureArgon2id: true})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("a secret of access tokens, 32 b."))})
	if err != nil {
		t.Fatal(err)
	}
	format, err := apikey.NewFormat("acme")
	if err != nil {
		t.Fatal(err)
	}
	p := &endingPair{users: &auth.Memory{MaxSessions: 10_000_000}, factor: new(switched), hasher: hasher}
	p.node = func(t *testing.T, listens bool) *endingNode {
		t.Helper()
		n := &endingNode{sessions: stores.sessions(t), wake: make(chan struct{}, 1)}
		config := blacklist.ReplicaConfig{}
		if listens {
			config.Wake = n.wake
		}
		tokens, errTokens := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: issuer})
		var errReplica, errVerifier, errServer, errKeys, errManager error
		n.replica, errReplica = blacklist.NewReplica(stores.log(t), config)
		if err := errors.Join(errTokens, errReplica, n.replica.Refresh(t.Context())); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { n.replica.Run(ctx); close(done) }()
		t.Cleanup(func() { stop(); <-done })
		n.verifier, errVerifier = token.NewVerifier(ring, token.VerifierConfig{Issuer: issuer, Audience: issuer, Revoker: n.replica})
		n.server, errServer = auth.New(p.users, tokens, auth.Config{
			Sessions:     n.sessions,
			RefreshKeys:  []guard.Secret{guard.NewSecret([]byte("32 bytes that all servers share."))},
			Revoker:      n.replica,
			Verifier:     n.verifier,
			Passwords:    hasher,
			SecondFactor: p.factor,
			Challenges:   n.sessions,
		})
		keys := stores.keys(t)
		authenticator, errKeys := apikey.New(keys, apikey.Config{Format: format, Peppers: []apikey.Pepper{{ID: "1", Secret: guard.NewSecret(make([]byte, 32))}}})
		if err := errors.Join(errVerifier, errServer, errKeys); err != nil {
			t.Fatal(err)
		}
		n.manager, errManager = apikey.NewManager(authenticator, keys, apikey.ManagerConfig{Revoker: n.replica})
		if errManager != nil {
			t.Fatal(errManager)
		}
		n.token, n.refresh, n.exchange, n.stepUp = n.server.Token(), n.server.Refresh(), n.server.MFA(), n.server.StepUp()
		return n
	}
	return p
}

func (p *endingPair) set(t *testing.T, subject, password string) {
	hash, err := p.hasher.Hash(context.Background(), password)
	if err == nil {
		err = p.users.SetUser("user"+subject, auth.User{ID: subject, Tenant: "acme", PasswordHash: hash})
	}
	if err != nil {
		t.Error(err)
	}
}

// granted is what somebody was answered.
type granted struct {
	status    int
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	Challenge string `json:"mfa_token"`
}

func ask(h http.Handler, caller *identity.Principal, form ...string) (out granted) {
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", formType)
	if caller != nil {
		r = r.WithContext(identity.NewContext(r.Context(), caller))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_ = json.Unmarshal(w.Body.Bytes(), &out)
	out.status = w.Code
	return out
}

// A loot is what a thief was given, of all loops.
type loot struct {
	mu   sync.Mutex
	all  []granted
	keys int
}

func (l *loot) add(g granted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, g)
}

// steal does on a node what a password and a session are good for, until stop.
func (p *endingPair) steal(n *endingNode, subject, old string, stop *atomic.Bool, l *loot) {
	var all sync.WaitGroup
	loop := func(step func(i int)) {
		all.Go(func() {
			for i := 0; !stop.Load(); i++ {
				step(i)
			}
		})
	}
	signIn := func() granted { return ask(n.token, nil, "username", "user"+subject, "password", old) }
	caller := func(g granted) *identity.Principal {
		c, err := n.verifier.Verify(context.Background(), g.Access)
		if err != nil {
			return nil
		}
		return c
	}
	for range 3 {
		loop(func(int) {
			if g := signIn(); g.status == http.StatusOK {
				l.add(g)
			}
		})
	}
	loop(func(int) { // with a second factor that is due
		p.factor.on.Store(subject, true)
		challenge := signIn()
		p.factor.on.Delete(subject)
		if challenge.Challenge == "" {
			return
		}
		l.add(challenge)
		if g := ask(n.exchange, nil, "mfa_token", challenge.Challenge, "code", "1"); g.status == http.StatusOK {
			l.add(g)
		}
	})
	loop(func(int) {
		g := signIn()
		c := caller(g)
		if c == nil {
			return
		}
		l.add(g)
		if stepped := ask(n.stepUp, c, "code", "1"); stepped.status == http.StatusOK {
			l.add(stepped)
			if refreshed := ask(n.refresh, nil, "refresh_token", stepped.Refresh); refreshed.status == http.StatusOK {
				l.add(refreshed)
			}
		}
	})
	loop(func(int) {
		g := signIn()
		c := caller(g)
		if c == nil {
			return
		}
		l.add(g)
		_, record, err := n.manager.Issue(context.Background(), c, apikey.Spec{Owner: subject})
		if err != nil {
			return
		}
		_, _, err = n.manager.Rotate(context.Background(), c, record.ID, time.Hour)
		l.mu.Lock()
		l.keys++
		if err == nil {
			l.keys++
		}
		l.mu.Unlock()
	})
	all.Wait()
}

// endEverything is what a host does when a password is changed.
func (n *endingNode) endEverything(subject, spare string) error {
	ctx := context.Background()
	if err := n.server.EndSessions(ctx, identity.Revocation{Subject: subject, Spare: spare}); err != nil {
		return err
	}
	for {
		all, err := n.manager.List(ctx, subject)
		if err != nil || len(all) == 0 {
			return err
		}
		for _, key := range all {
			if err := n.manager.Revoke(ctx, key.ID); err != nil {
				return err
			}
		}
	}
}

// survivors reports what is good of a loot.
func survivors(t *testing.T, what string, on *endingNode, all []granted, access bool) (n int) {
	t.Helper()
	count := func(how string) {
		if n++; n < 5 {
			t.Errorf("%s: %s", what, how)
		}
	}
	for _, g := range all {
		if access && g.Access != "" {
			if _, err := on.verifier.Verify(context.Background(), g.Access); err == nil {
				count("an access token is accepted")
			}
		}
		if g.Refresh != "" {
			if got := ask(on.refresh, nil, "refresh_token", g.Refresh); got.status == http.StatusOK {
				count("a refresh token is accepted")
			}
		}
		if access && g.Challenge != "" {
			if got := ask(on.exchange, nil, "mfa_token", g.Challenge, "code", "1"); got.status == http.StatusOK {
				count("a challenge is exchanged")
			}
		}
	}
	return n
}

// race runs the rounds on two nodes.
func (p *endingPair) race(t *testing.T, stores endingStores, listens bool) {
	a, b := p.node(t, listens), p.node(t, listens)
	rounds := endingRounds()
	var everything []granted
	keys, left := 0, 0
	began := time.Now()
	for round := range rounds {
		subject, old := fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), round), "the password of before"
		p.set(t, subject, old)
		own := ask(b.token, nil, "username", "user"+subject, "password", old)
		if own.status != http.StatusOK {
			t.Fatalf("the owner cannot sign in: %d", own.status)
		}
		spare := ""
		if c, err := b.verifier.Verify(t.Context(), own.Access); err != nil {
			t.Fatal(err)
		} else if round%2 == 0 {
			spare = c.Session
		}
		var stop atomic.Bool
		var l loot
		thieves := make(chan struct{})
		go func() { p.steal(a, subject, old, &stop, &l); close(thieves) }()
		time.Sleep(20 * time.Millisecond)

		p.set(t, subject, "the password of afterwards")
		if err := b.endEverything(subject, spare); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		// Acknowledged. Somebody signs in with the new password at once, on the
		// node that has heard of nothing.
		fresh := ask(a.token, nil, "username", "user"+subject, "password", "the password of afterwards")
		if fresh.Challenge != "" { // the thief has switched the factor on
			fresh = ask(a.exchange, nil, "mfa_token", fresh.Challenge, "code", "1")
		}
		stop.Store(true)
		<-thieves
		if listens {
			select {
			case a.wake <- struct{}{}:
			default:
			}
		}
		if err := errors.Join(a.replica.Refresh(t.Context()), b.replica.Refresh(t.Context())); err != nil {
			t.Fatal(err)
		}
		for _, on := range []*endingNode{a, b} {
			left += survivors(t, fmt.Sprintf("round %d", round), on, l.all, true)
		}
		mine, err := a.sessions.Sessions(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		if spare != "" {
			want++
		}
		if len(mine) != want {
			t.Errorf("round %d: %d sessions are left, want %d", round, len(mine), want)
			left++
		}
		if good, err := b.manager.List(t.Context(), subject); err != nil || len(good) != 0 {
			t.Errorf("round %d: %d keys are left, %v", round, len(good), err)
			left++
		}
		for name, g := range map[string]granted{"the sign-in afterwards": fresh, "the own session": own} {
			if name == "the own session" && spare == "" {
				continue
			}
			if _, err := b.verifier.Verify(t.Context(), g.Access); err != nil || g.status != http.StatusOK {
				t.Errorf("round %d: %s: %d, %v", round, name, g.status, err)
			}
			if got := ask(b.refresh, nil, "refresh_token", g.Refresh); got.status != http.StatusOK {
				t.Errorf("round %d: %s is not refreshed: %d", round, name, got.status)
			}
		}
		everything, keys = append(everything, l.all...), keys+l.keys
		if left > 20 {
			t.Fatal("that is enough")
		}
	}
	// Whatever was revoked is forgotten: only what is stored counts.
	stores.forget(t)
	late := p.node(t, false)
	left += survivors(t, "when revocations are forgotten", late, everything, false)
	t.Logf("%d rounds in %v: %d answers and %d keys of a thief, %d survivors", rounds, time.Since(began).Round(time.Second), len(everything), keys, left)
	if len(everything) < rounds || keys == 0 {
		t.Errorf("the thief was given %d answers and %d keys in %d rounds: that is no race", len(everything), keys, rounds)
	}
}

func TestPasswordChangeOnOneNodeEndsWhatBeginsOnTheOther(t *testing.T) {
	postgres := servers.PostgreSQL(t)
	openKeys := func(t *testing.T) *keystore.Store {
		store, err := keystore.New(openPostgres(t, postgres, keystore.Schema(keystore.PostgreSQL)), keystore.Config{Dialect: keystore.PostgreSQL, MaxPerOwner: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	inPostgres := endingStores{
		log: func(t *testing.T) blacklist.Log {
			return revocationsIn(t, openPostgreSQL(t, postgres.URL), sqllog.PostgreSQL)
		},
		sessions: func(t *testing.T) sessionLister {
			store, err := sqlstore.New(openPostgres(t, postgres, sqlstore.Schema(sqlstore.PostgreSQL)), sqlstore.Config{Dialect: sqlstore.PostgreSQL})
			if err != nil {
				t.Fatal(err)
			}
			return store
		},
		keys:   openKeys,
		forget: func(t *testing.T) { execPostgres(t, postgres.URL, "DELETE FROM gatewright_revocations") },
	}
	t.Run("in PostgreSQL, revocations are announced", func(t *testing.T) {
		openEnding(t, inPostgres).race(t, inPostgres, true)
	})
	t.Run("in PostgreSQL, nothing is announced", func(t *testing.T) {
		openEnding(t, inPostgres).race(t, inPostgres, false)
	})
	t.Run("in PostgreSQL and Redis", func(t *testing.T) {
		redis := servers.Redis(t)
		inRedis := endingStores{
			log: func(t *testing.T) blacklist.Log {
				log, _ := goRedisLog(t, redis.Addr, redislog.Config{})
				return log
			},
			sessions: func(t *testing.T) sessionLister {
				return openRedisSessions(t, goRedisCall(t, redis.Addr), "ending")
			},
			keys: openKeys,
			forget: func(t *testing.T) {
				_, client := goRedisLog(t, redis.Addr, redislog.Config{})
				if err := client.Del(t.Context(), "{gatewright:blacklist}:log", "{gatewright:blacklist}:expires").Err(); err != nil {
					t.Fatal(err)
				}
			},
		}
		openEnding(t, inRedis).race(t, inRedis, false)
	})
}
