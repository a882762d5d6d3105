package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/gatewright/gatewright/examples/integration/servers"
)

// backends are what servers share in these tests.
type backends struct {
	postgres, redis *servers.Server
	secrets         string
	template        string // a database that has had its first start
	databases       int
}

// shareBackends starts what is shared, and three servers on it, which find
// nothing there and are first at the same time.
func shareBackends(t *testing.T) *backends {
	t.Helper()
	s := &backends{postgres: servers.PostgreSQL(t), secrets: filepath.Join(t.TempDir(), "secrets")}
	// It does not wait for its disk, which has nothing to do with these tests
	// and takes longer than a limit may.
	s.redis = servers.Redis(t, "--appendfsync", "no")
	template := s.database(t)
	first := s.nodes(t, 3, "-db", template)
	for _, p := range first {
		if p.password() != first[0].password() {
			t.Fatal("they print different passwords")
		}
	}
	wantPair(t)(first[1].signIn(t.Context(), "alice", first[2].password()))
	for _, p := range first {
		p.kill()
	}
	u, err := url.Parse(template)
	if err != nil {
		t.Fatal(err)
	}
	s.template = strings.TrimPrefix(u.Path, "/")
	return s
}

// nodes starts servers that share what the flags say.
func (s *backends) nodes(t *testing.T, n int, flags ...string) []*process {
	t.Helper()
	flags = append([]string{"-addr", "127.0.0.1:0", "-issuer", issuer, "-demo", "-secrets", s.secrets}, flags...)
	all := make([]*process, n)
	for i := range all {
		all[i] = begin(t, "server", nil, flags...)
	}
	for _, p := range all {
		p.ready(t)
	}
	return all
}

// database returns the URL of a new database, with a password in it that nobody
// asks for.
func (s *backends) database(t *testing.T) string {
	t.Helper()
	s.databases++
	name := fmt.Sprint("nodes_", s.databases)
	create := "CREATE DATABASE " + name
	if s.template != "" {
		// Those who were killed may still be connected.
		execPostgres(t, s.postgres.URL, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+s.template+"'")
		create += " TEMPLATE " + s.template
	}
	// It may be left from another time, if the server is not of this test.
	execPostgres(t, s.postgres.URL, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	execPostgres(t, s.postgres.URL, create)
	u, err := url.Parse(s.postgres.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	if _, has := u.User.Password(); !has {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	return u.String()
}

// hidden is a password that no server may print.
const hidden = "hunter2-is-not-to-be-seen"

func execPostgres(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// emptyRedis returns the URL of a Redis that has nothing in it.
func (s *backends) emptyRedis(t *testing.T) string {
	t.Helper()
	if err := s.redisClient(t).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return "redis://" + s.redis.Addr + "/0"
}

func (s *backends) redisClient(t *testing.T) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr})
	t.Cleanup(func() { client.Close() })
	return client
}

// ask sends a request; the headers are "Name: value" lines.
func (p *process) ask(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	return read(client.Do(req))
}

func bearer(token string) string { return "Authorization: Bearer " + token }

const (
	isForm = "Content-Type: " + formType
	isJSON = "Content-Type: " + jsonType
)

// into reads the body of an answer that must have this status.
func into[T any](t *testing.T, status int) func(answer, error) T {
	return func(a answer, err error) (v T) {
		t.Helper()
		want(t, status)(a, err)
		if err := json.Unmarshal([]byte(a.body), &v); err != nil {
			t.Fatalf("%v: %s", err, a.body)
		}
		return v
	}
}

// A readiness is what /readyz answers.
type readiness struct {
	status    int
	Status    string
	Staleness *int64 `json:"revocations_staleness_ms"`
	Stores    map[string]string
	Limits    string
}

func (p *process) readiness(t *testing.T) (r readiness) {
	t.Helper()
	a, err := p.ask(t.Context(), "GET", "/readyz", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		t.Fatalf("%v: %d %s", err, a.status, a.body)
	}
	if r.status = a.status; a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
		t.Error("/readyz answers 503 without Retry-After")
	}
	return r
}

// enrol sets a second factor up and returns its secret and the time of the code
// that was used for it.
func (p *process) enrol(t *testing.T, access, password string) (secret string, used time.Time) {
	t.Helper()
	ctx := t.Context()
	setup := into[struct{ Secret string }](t, 200)(p.ask(ctx, "POST", "/2fa/setup/", "", bearer(access), "Accept: application/json"))
	used = time.Now().Add(-30 * time.Second)
	code := url.Values{"code": {authenticatorCode(t, setup.Secret, used)}, "password": {password}}
	want(t, 200)(p.ask(ctx, "POST", "/2fa/confirm/", code.Encode(), bearer(access), isForm))
	return setup.Secret, used
}

// crossing measures how long after a logout on one server the other one still
// takes the token.
func crossing(t *testing.T, a, b *process, times int) []time.Duration {
	t.Helper()
	ctx := t.Context()
	var took []time.Duration
	for range times {
		pair := wantPair(t)(a.signIn(ctx, "alice", a.password()))
		want(t, 200)(b.me(ctx, pair.Access))
		want(t, 200)(a.logout(ctx, pair.Access))
		began := time.Now()
		// Soon at first, and less often than a caller may ask.
		for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
			got, err := b.me(ctx, pair.Access)
			if err != nil {
				t.Fatal(err)
			}
			if got.status == http.StatusUnauthorized {
				break
			}
			if got.status != http.StatusOK {
				t.Fatalf("got %d %s, want 200 or 401", got.status, got.body)
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal("the other server still takes the token")
			}
			time.Sleep(pause)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took
}

// logsOutWithin fails the test unless half of the logouts cross over in time:
// all of them do where nothing else keeps the machine busy.
func logsOutWithin(t *testing.T, times int, how string, most time.Duration, a, b *process) {
	t.Helper()
	took := crossing(t, a, b, times)
	median, longest := took[len(took)/2], took[len(took)-1]
	t.Logf("%s: refused on the other server after %v (median), %v (the longest)", how, median.Round(10*time.Microsecond), longest.Round(10*time.Microsecond))
	if median > most {
		t.Errorf("%s: refused on the other server after %v, want half of them within %v", how, took, most)
	}
}

// patient is for tests that count: on a machine that is busy a limit would now
// and then not wait for its store any longer.
const patient = "-limit-timeout=5s"

// poll is how long the servers wait before they look by themselves.
const poll = 250 * time.Millisecond

// TestServersOnSeveralMachines is about servers that share a PostgreSQL and a
// Redis: that they act as one, and what they do when one of these is gone.
func TestServersOnSeveralMachines(t *testing.T) {
	shared := shareBackends(t)
	t.Run("two share everything", shared.withTwo)
	t.Run("many agree", shared.withMany)
	t.Run("Redis is down at the start", shared.withoutRedis)
	t.Run("Redis is killed", shared.withRedisKilled)
	t.Run("PostgreSQL is killed", shared.withPostgresKilled)
}

func (s *backends) withTwo(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags []string
	}{
		{"in PostgreSQL, and limits in Redis", nil},
		{"in Redis, what it can have", []string{"-revocations", "redis", "-sessions", "redis", "-factors", "redis"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			database := s.database(t)
			both := s.nodes(t, 2, append(tt.flags, patient, "-db", database, "-redis", s.emptyRedis(t))...)
			share(t, both[0], both[1])

			logsOutWithin(t, 5, "announced", poll/5, both[0], both[1])
			if tt.flags != nil {
				// Nobody may announce anything any more.
				acl := func(rule string) {
					if err := s.redisClient(t).Do(context.Background(), "ACL", "SETUSER", "default", rule).Err(); err != nil {
						t.Error(err)
					}
				}
				acl("-publish")
				defer acl("+publish")
			} else {
				losesItsConnection(t, s.postgres, both[0], both[1])
				execPostgres(t, database, "ALTER TABLE gatewright_revocations DISABLE TRIGGER announce")
			}
			logsOutWithin(t, 3, "by polling alone", time.Second, both[0], both[1])
			saysNoPassword(t, both)
		})
	}
}

func saysNoPassword(t *testing.T, all []*process) {
	t.Helper()
	for _, p := range all {
		if strings.Contains(p.stderr.String()+p.stdout.String(), hidden) {
			t.Errorf("a server prints the password of the database:\n%s%s", p.stdout, p.stderr)
		}
	}
}

// share walks through what people do, half of it on another server.
func share(t *testing.T, a, b *process) {
	ctx := t.Context()
	for _, p := range []*process{a, b} {
		if r := p.readiness(t); r.status != 200 || r.Limits != "shared" || r.Staleness == nil {
			t.Errorf("a server that has just started is %+v", r)
		}
	}
	alice := wantPair(t)(a.signIn(ctx, "alice", a.password()))
	t.Run("a session that began on one is refreshed on the other", func(t *testing.T) {
		want(t, 200)(b.me(ctx, alice.Access))
		alice = wantPair(t)(b.refresh(ctx, alice.Refresh))
		want(t, 200)(a.me(ctx, alice.Access))
	})
	t.Run("five a minute are five in all", func(t *testing.T) {
		got := map[int]int{}
		for i := range 14 {
			one, err := []*process{a, b}[i%2].ask(ctx, "GET", "/limited/", "")
			if err != nil {
				t.Fatal(err)
			}
			got[one.status]++
			if one.status == 429 && one.header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
		}
		if got[200] != 5 || got[429] != 9 {
			t.Errorf("of 14 requests over both %v were answered, want 5 of 200", got)
		}
	})
	t.Run("guesses at a password count together", func(t *testing.T) {
		for i := range 5 {
			want(t, 400)([]*process{a, b}[i%2].signIn(ctx, "mod", "wrong"))
		}
		for _, p := range []*process{a, b} {
			if one := want(t, 429)(p.signIn(ctx, "mod", p.password())); one.header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
		}
	})
	t.Run("a one-time code is good once", func(t *testing.T) {
		want(t, 201)(a.register(ctx, "carol", password))
		first, second := wantPair(t)(a.signIn(ctx, "carol", password)), wantPair(t)(b.signIn(ctx, "carol", password))
		enrolling := wantPair(t)(a.signIn(ctx, "carol", password)) // which the factor does not raise
		secret, used := a.enrol(t, enrolling.Access, password)
		if got := raceCodeOf(t, []*process{a, b}, []tokens{first, second}, authenticatorCode(t, secret, used.Add(30*time.Second)), 8); got != 1 {
			t.Errorf("a code was taken %d times", got)
		}
	})
	t.Run("an API key that was made on one is good on the other, until it is revoked", func(t *testing.T) {
		key := into[struct{ ID, Key string }](t, 201)(a.ask(ctx, "POST", "/keys/", `{"name":"ci","scopes":["read:items"]}`, bearer(alice.Access), isJSON))
		protected := func() (answer, error) { return b.ask(ctx, "GET", "/protected/", "", "X-API-Key: "+key.Key) }
		want(t, 200)(protected())
		want(t, 204)(a.ask(ctx, "DELETE", "/keys/"+key.ID, "", bearer(alice.Access)))
		eventually(t, "the key is refused", func() error {
			got, err := protected()
			if err == nil && got.status != 401 {
				err = fmt.Errorf("got %d %s", got.status, got.body)
			}
			return err
		})
	})
	t.Run("a disabled user is out on both at once", func(t *testing.T) {
		admin := wantPair(t)(b.signIn(ctx, "admin", b.password()))
		want(t, 201)(b.register(ctx, "dave", password))
		dave := wantPair(t)(a.signIn(ctx, "dave", password))
		want(t, 200)(b.administer(ctx, admin.Access, "dave", "disable"))
		for _, p := range []*process{a, b} {
			want(t, 401)(p.me(ctx, dave.Access))
			want(t, 400)(p.refresh(ctx, dave.Refresh))
			want(t, 400)(p.signIn(ctx, "dave", password))
		}
	})
}

// raceCodeOf proves a code many times at once, in one session on each server,
// and returns how often it was taken.
func raceCodeOf(t *testing.T, all []*process, sessions []tokens, code string, times int) int {
	t.Helper()
	body := url.Values{"code": {code}}.Encode()
	var taken atomic.Int64
	var asking sync.WaitGroup
	for i := range times {
		asking.Go(func() {
			got, err := all[i%len(all)].ask(t.Context(), "POST", "/2fa/verify/", body, bearer(sessions[i%len(all)].Access), isForm)
			switch {
			case err != nil:
				t.Error(err)
			case got.status == 200:
				taken.Add(1)
			case got.status != 400 && got.status != 401 && got.status != 429:
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	}
	asking.Wait()
	return int(taken.Load())
}

// losesItsConnection cuts the servers off from what is announced, and waits
// until they hear of it again. Until then they look by themselves.
func losesItsConnection(t *testing.T, postgres *servers.Server, a, b *process) {
	t.Helper()
	execPostgres(t, postgres.URL, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gatewright' AND query = 'LISTEN revocations'")
	if took := crossing(t, a, b, 1); took[0] > 5*time.Second {
		t.Errorf("cut off from what is announced: refused on the other server after %v", took[0])
	}
	for _, p := range []*process{a, b} {
		eventually(t, "it listens again", func() error {
			if !strings.Contains(p.stderr.String(), "revocations are announced again") {
				return fmt.Errorf("the log has\n%s", p.stderr)
			}
			return nil
		})
	}
	logsOutWithin(t, 3, "announced again", poll/5, a, b)
}

// A thousand refreshes at once are one, and so are sixty-four uses of a code,
// however they are spread over servers, and five a minute are five.
func (s *backends) withMany(t *testing.T) {
	for _, tt := range []struct {
		name    string
		servers int
		flags   []string
	}{
		{"three in PostgreSQL", 3, nil},
		{"four in PostgreSQL and Redis", 4, []string{"-redis", s.emptyRedis(t), "-sessions", "redis", "-factors", "redis"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			all := s.nodes(t, tt.servers, append(tt.flags, patient, "-db", s.database(t), "-insecure-no-limits")...)
			pair := wantPair(t)(all[0].signIn(ctx, "alice", all[0].password()))
			const n = 1000
			next := make([]tokens, n)
			var asking sync.WaitGroup
			began := time.Now()
			for i := range n {
				asking.Go(func() {
					got, err := all[i%len(all)].refresh(ctx, pair.Refresh)
					if err == nil {
						next[i], err = got.pair()
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			asking.Wait()
			if t.Failed() {
				return
			}
			t.Logf("%d refreshes took %v", n, time.Since(began).Round(time.Millisecond))
			for i := range next {
				if next[i].Refresh != next[0].Refresh || next[i].Refresh == pair.Refresh {
					t.Fatal("there are two successors, or none")
				}
			}
			for i := range all {
				want(t, 200)(all[i].me(ctx, next[i].Access))
			}

			var sessions []tokens
			for _, p := range all {
				sessions = append(sessions, wantPair(t)(p.signIn(ctx, "mod", p.password())))
			}
			enrolling := wantPair(t)(all[0].signIn(ctx, "mod", all[0].password())) // which the factor does not raise
			secret, used := all[0].enrol(t, enrolling.Access, all[0].password())
			if got := raceCodeOf(t, all, sessions, authenticatorCode(t, secret, used.Add(30*time.Second)), 64); got != 1 {
				t.Errorf("a code was taken %d times", got)
			}

			var admitted atomic.Int64
			for range 10 { // each server once at a time
				for _, p := range all {
					asking.Go(func() {
						got, err := p.ask(ctx, "GET", "/limited/", "")
						if err != nil {
							t.Error(err)
						}
						if got.status == 200 {
							admitted.Add(1)
						}
					})
				}
				asking.Wait()
			}
			if n := admitted.Load(); n != 5 {
				t.Errorf("%d were admitted, want 5", n)
			}
		})
	}
}

// limits waits until a server says that it counts so, and returns how long that
// took.
func (p *process) limits(t *testing.T, how string) time.Duration {
	t.Helper()
	return eventually(t, "limits are "+how, func() error {
		if r := p.readiness(t); r.status != 200 || r.Limits != how || (r.Stores["redis"] == "ok") != (how == "shared") {
			return fmt.Errorf("got %+v", r)
		}
		return nil
	})
}

// countsInRedis waits until a server asks Redis again about its callers, after it
// had given up.
func (p *process) countsInRedis(t *testing.T, access string) time.Duration {
	t.Helper()
	return eventually(t, "limits are counted in Redis again", func() error {
		want(t, 200)(p.me(t.Context(), access))
		log := p.stderr.String()
		if down := strings.LastIndex(log, "ratelimit_store_down"); down < 0 || strings.LastIndex(log, "ratelimit_store_up") < down {
			return fmt.Errorf("the log has\n%s", log)
		}
		time.Sleep(15 * time.Millisecond) // or the caller would be limited
		return nil
	})
}

// pester asks both servers for a while, and returns how often each status was
// answered and how long the longest answer took. Nothing is an error of theirs.
func pester(t *testing.T, all []*process, access string, during time.Duration) (got map[int]int, longest time.Duration) {
	t.Helper()
	got = map[int]int{}
	for began := time.Now(); time.Since(began) < during; time.Sleep(15 * time.Millisecond) {
		for _, p := range all {
			for _, path := range []string{"/users/me", "/limited/"} {
				sent := time.Now()
				one, err := p.ask(t.Context(), "GET", path, "", bearer(access))
				if err != nil {
					t.Fatal(err)
				}
				longest = max(longest, time.Since(sent))
				if got[one.status]++; one.status != 200 && one.status != 429 {
					t.Errorf("%s: got %d %s", path, one.status, one.body)
				}
			}
		}
	}
	return got, longest
}

func (s *backends) withoutRedis(t *testing.T) {
	url := s.emptyRedis(t)
	s.redis.Kill(t)
	both := s.nodes(t, 2, "-db", s.database(t), "-redis", url)
	alice := wantPair(t)(both[0].signIn(t.Context(), "alice", both[0].password()))
	for _, p := range both {
		p.limits(t, "local")
	}
	got, longest := pester(t, both, alice.Access, 600*time.Millisecond)
	t.Logf("without Redis: %v, the longest took %v", got, longest.Round(time.Millisecond))
	s.redis.Start(t)
	for _, p := range both {
		t.Logf("it says that limits are shared %v after Redis is up", p.limits(t, "shared").Round(time.Millisecond))
		if again := p.countsInRedis(t, alice.Access); again > 5*time.Second {
			t.Errorf("limits are counted in Redis after %v", again)
		}
	}
	saysNoPassword(t, both)
}

func (s *backends) withRedisKilled(t *testing.T) {
	both := s.nodes(t, 2, "-db", s.database(t), "-redis", s.emptyRedis(t))
	alice := wantPair(t)(both[0].signIn(t.Context(), "alice", both[0].password()))
	pester(t, both, alice.Access, 200*time.Millisecond)
	for _, p := range both {
		p.limits(t, "shared")
	}
	for _, fault := range []struct {
		name           string
		break_, repair func()
	}{
		{"killed", func() { s.redis.Kill(t) }, func() { s.redis.Start(t) }},
		{"paused", s.redis.Pause, s.redis.Continue},
	} {
		fault.break_()
		got, longest := pester(t, both, alice.Access, time.Second)
		t.Logf("%s: %v, the longest took %v", fault.name, got, longest.Round(time.Millisecond))
		for _, p := range both {
			p.limits(t, "local")
		}
		fault.repair()
		began := time.Now()
		for _, p := range both {
			p.limits(t, "shared")
			p.countsInRedis(t, alice.Access)
		}
		took := time.Since(began)
		t.Logf("%s: all is well %v after the repair", fault.name, took.Round(time.Millisecond))
		if took > 5*time.Second { // a second is wanted; the machine may be busy
			t.Errorf("%s: all is well only %v after the repair", fault.name, took)
		}
	}
}

func (s *backends) withPostgresKilled(t *testing.T) {
	if s.postgres.Addr == "" {
		t.Skip("a server that runs already is not for this test alone")
	}
	ctx := t.Context()
	both := s.nodes(t, 2, "-db", s.database(t)) // where limits are then, too
	a, b := both[0], both[1]
	alice := wantPair(t)(a.signIn(ctx, "alice", a.password()))
	gone := wantPair(t)(a.signIn(ctx, "alice", a.password()))
	key := into[struct{ Key string }](t, 201)(a.ask(ctx, "POST", "/keys/", `{"name":"ci","scopes":["read:items"]}`, bearer(alice.Access), isJSON))
	want(t, 200)(a.logout(ctx, gone.Access))
	eventually(t, "the logout is known to both", func() error {
		got, err := b.me(ctx, gone.Access)
		if err == nil && got.status != 401 {
			err = fmt.Errorf("got %d %s", got.status, got.body)
		}
		return err
	})

	refused := func(p *process) {
		t.Helper()
		for what, ask := range map[string]func() (answer, error){
			"signing in":               func() (answer, error) { return p.signIn(ctx, "alice", p.password()) },
			"a wrong password":         func() (answer, error) { return p.signIn(ctx, "alice", "wrong") },
			"refreshing":               func() (answer, error) { return p.refresh(ctx, alice.Refresh) },
			"registering":              func() (answer, error) { return p.register(ctx, "erin", password) },
			"a good token":             func() (answer, error) { return p.me(ctx, alice.Access) },
			"items":                    func() (answer, error) { return p.ask(ctx, "GET", "/items/", "", bearer(alice.Access)) },
			"a good API key":           func() (answer, error) { return p.ask(ctx, "GET", "/protected/", "", "X-API-Key: "+key.Key) },
			"logging out":              func() (answer, error) { return p.logout(ctx, alice.Access) },
			"a list of one's sessions": func() (answer, error) { return p.ask(ctx, "GET", "/sessions/", "", bearer(alice.Access)) },
		} {
			got, err := ask()
			if err != nil {
				t.Fatal(err)
			}
			if got.status != 503 || got.header.Get("Retry-After") == "" {
				t.Errorf("%s: got %d %s, Retry-After %q, want 503 with one", what, got.status, got.body, got.header.Get("Retry-After"))
			}
		}
		want(t, 401)(p.me(ctx, gone.Access))
		want(t, 200)(p.ask(ctx, "GET", "/healthz", ""))
		if got, err := p.ask(ctx, "GET", "/limited/", ""); err != nil || got.status != 200 && got.status != 429 {
			t.Errorf("a limit alone: got %d %s (%v)", got.status, got.body, err)
		}
		if r := p.readiness(t); r.status != 503 || r.Status != "unavailable" || r.Stores["database"] != "failing" || r.Limits != "local" {
			t.Errorf("/readyz says %+v", r)
		}
	}
	s.postgres.Kill(t)
	refused(a)
	refused(b)
	// Longer than a server may go without knowing what is revoked elsewhere.
	eventually(t, "the log is too old", func() error {
		for _, p := range both {
			if r := p.readiness(t); r.Staleness == nil || *r.Staleness < 5100 {
				time.Sleep(50 * time.Millisecond)
				return fmt.Errorf("got %+v", r)
			}
		}
		return nil
	})
	refused(a)
	refused(b)

	s.postgres.Start(t)
	began := time.Now()
	for _, p := range both {
		eventually(t, "it is ready", func() error {
			if r := p.readiness(t); r.status != 200 {
				time.Sleep(10 * time.Millisecond)
				return fmt.Errorf("got %+v", r)
			}
			return nil
		})
		want(t, 200)(p.me(ctx, alice.Access))
		want(t, 401)(p.me(ctx, gone.Access))
	}
	took := time.Since(began)
	t.Logf("all is well %v after PostgreSQL is up", took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("all is well only %v after PostgreSQL is up", took)
	}
	alice = wantPair(t)(b.refresh(ctx, alice.Refresh))
	want(t, 200)(a.ask(ctx, "GET", "/protected/", "", "X-API-Key: "+key.Key))
	crossing(t, a, b, 1)
	saysNoPassword(t, both)
}
