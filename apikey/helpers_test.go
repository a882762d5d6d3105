package apikey_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	acme    = must(apikey.NewFormat("acme", "live"))
	both    = must(apikey.NewFormat("acme", "live", "test"))
	pepper1 = apikey.Pepper{ID: "one", Secret: guard.NewSecret(bytes.Repeat([]byte{1}, 32))}
	pepper2 = apikey.Pepper{ID: "two", Secret: guard.NewSecret(bytes.Repeat([]byte{2}, 32))}
)

// A counted store counts what it is asked, and fails or waits if it is told to.
type counted struct {
	apikey.Memory
	asked, written, batches atomic.Int64

	mu    sync.Mutex
	fail  error
	block func(ctx context.Context) error
	uses  []apikey.Use
}

func (c *counted) KeyByID(ctx context.Context, id string) (*apikey.Record, error) {
	c.asked.Add(1)
	c.mu.Lock()
	fail, block := c.fail, c.block
	c.mu.Unlock()
	if block != nil {
		if err := block(ctx); err != nil {
			return nil, err
		}
	}
	if fail != nil {
		return nil, fail
	}
	return c.Memory.KeyByID(ctx, id)
}

func (c *counted) KeyByHash(ctx context.Context, hash apikey.Hash) (*apikey.Record, error) {
	c.asked.Add(1)
	return c.Memory.KeyByHash(ctx, hash)
}

func (c *counted) WriteKeys(ctx context.Context, update, created *apikey.Record) error {
	c.written.Add(1)
	return c.Memory.WriteKeys(ctx, update, created)
}

func (c *counted) RecordUse(ctx context.Context, uses []apikey.Use) error {
	c.batches.Add(1)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.mu.Lock()
	fail := c.fail
	if fail == nil {
		c.uses = append(c.uses, uses...)
	}
	c.mu.Unlock()
	if fail != nil {
		return fail
	}
	return c.Memory.RecordUse(ctx, uses)
}

func (c *counted) set(fail error, block func(ctx context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail, c.block = fail, block
}

// maker asks for the keys of most tests.
var maker = &identity.Principal{Issuer: "https://id.example", Subject: "ada", Session: "session", Credential: "token"}

// A room is what most tests begin with.
type room struct {
	t       testing.TB
	store   *counted
	keys    *apikey.Authenticator
	manager *apikey.Manager

	unbounded *apikey.Manager // which does not look at the owner's rights
	events    *events
	next      *spy
	handler   http.Handler
}

// open makes one. Config may lack what is required.
func open(t testing.TB, config apikey.Config) *room {
	t.Helper()
	return openOn(t, new(counted), config)
}

func openOn(t testing.TB, store *counted, config apikey.Config) *room {
	t.Helper()
	r := &room{t: t, store: store, events: new(events), next: new(spy)}
	if reflect.ValueOf(config.Format).IsZero() {
		config.Format = acme
	}
	if config.Peppers == nil {
		config.Peppers = []apikey.Pepper{pepper1}
	}
	if config.Hooks.Observe == nil {
		config.Hooks.Observe = r.events.observe
	}
	var err error
	if r.keys, err = apikey.New(store, config); err != nil {
		t.Fatal(err)
	}
	if r.manager, err = apikey.NewManager(r.keys, store, apikey.ManagerConfig{Revoker: new(blacklist.Memory), Hooks: config.Hooks}); err != nil {
		t.Fatal(err)
	}
	// It makes keys that are good for more than their owners are.
	config.OwnerRights, config.Throttle = nil, nil
	if r.unbounded, err = apikey.NewManager(must(apikey.New(store, config)), store, apikey.ManagerConfig{Revoker: new(blacklist.Memory), Hooks: config.Hooks}); err != nil {
		t.Fatal(err)
	}
	r.handler = r.keys.Handler(r.next)
	return r
}

// issue makes a key of ada's, whose record edit may change afterwards, behind
// everybody's back.
func (r *room) issue(edit func(*apikey.Record)) (string, apikey.Record) {
	r.t.Helper()
	key, record, err := r.unbounded.Issue(context.Background(), maker, apikey.Spec{
		Owner: "ada", Name: "backup job", Tenant: "math",
		Roles: identity.NewSet("user"), Scopes: identity.NewSet("read:items", "write:items"),
		Limits: "5/minute",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if edit != nil {
		record = r.edit(record.ID, edit)
	}
	return key.Plain(), record
}

// edit changes a record in the store, as another process would.
func (r *room) edit(id string, edit func(*apikey.Record)) apikey.Record {
	r.t.Helper()
	record, err := r.store.Memory.KeyByID(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	edit(record)
	if err := r.store.Memory.WriteKeys(context.Background(), record, nil); err != nil {
		r.t.Fatal(err)
	}
	record.Version++
	return *record
}

// get sends a request with the header lines, "Name: value".
func (r *room) get(lines ...string) *httptest.ResponseRecorder {
	return send(r.handler, request("/", lines...))
}

// with is the line of a key.
func with(key string) string { return "X-API-Key: " + key }

func request(target string, lines ...string) *http.Request {
	q := httptest.NewRequest("GET", target, nil)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		q.Header.Add(name, value)
	}
	return q
}

func send(h http.Handler, q *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q)
	return w
}

// A spy is a handler that tells who came.
type spy struct {
	mu      sync.Mutex
	callers []identity.Principal
	urls    []string
}

func (s *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := identity.FromContext(r.Context())
	if !ok {
		p = new(identity.Principal)
	}
	s.callers = append(s.callers, *p)
	s.urls = append(s.urls, r.URL.String()+" "+r.RequestURI)
	io.WriteString(w, "hello "+p.Subject)
}

func (s *spy) ran() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.callers)
}

func (s *spy) last() identity.Principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.callers[len(s.callers)-1]
}

type events struct {
	mu  sync.Mutex
	all []guard.Event
}

func (e *events) observe(_ context.Context, one guard.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, one)
}

// last returns the reason of the last refusal.
func (e *events) last() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := len(e.all) - 1; i >= 0; i-- {
		if d := e.all[i].Denial; d != nil {
			return d.Err
		}
	}
	return nil
}

func (e *events) names() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, one := range e.all {
		all = append(all, string(one.Name))
	}
	return strings.Join(all, " ")
}

// The answers that there are.
const (
	invalidBody     = `{"title":"Unauthorized","status":401,"code":"invalid_token","detail":"The credentials are not valid."}` + "\n"
	missingBody     = `{"title":"Unauthorized","status":401,"code":"unauthenticated","detail":"This needs you to be signed in."}` + "\n"
	severalBody     = `{"title":"Bad Request","status":400,"code":"invalid_request","detail":"The request carries more than one API key."}` + "\n"
	forbiddenBody   = `{"title":"Forbidden","status":403,"code":"forbidden","detail":"Access denied"}` + "\n"
	unavailableBody = `{"title":"Service Unavailable","status":503,"code":"unavailable","detail":"The service cannot decide this right now. Please try again."}` + "\n"
	tooManyBody     = `{"title":"Too Many Requests","status":429,"code":"too_many_attempts","detail":"There were too many attempts. Please wait."}` + "\n"

	invalidLine = `ApiKey error="invalid_token"`
	missingLine = `ApiKey`
)

// A want is a whole answer.
type want struct {
	status                      int
	challenge, retryAfter, body string
}

var (
	invalid     = want{401, invalidLine, "", invalidBody}
	missing     = want{401, missingLine, "", missingBody}
	several     = want{400, "", "", severalBody}
	forbidden   = want{403, "", "", forbiddenBody}
	unavailable = want{503, "", "1", unavailableBody}
	welcome     = want{200, "", "", "hello ada"}
)

func (x want) check(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	got := want{w.Code, strings.Join(w.Header().Values("WWW-Authenticate"), ", "), w.Header().Get("Retry-After"), w.Body.String()}
	if got != x {
		t.Errorf("got %+v\nwant %+v", got, x)
	}
	if x.status >= 400 && w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q, want no-store", w.Header().Get("Cache-Control"))
	}
}

// legacyHash is what an older scheme may have used.
func legacyHash(key string) apikey.Hash {
	sum := sha256.Sum256([]byte(key))
	return apikey.Hash(sum[:])
}

// other returns the key with another character in place i, counted from the
// end of its head if i is not negative, and without a new checksum.
func other(key string, i int) string {
	c := byte('0')
	if key[i] == c {
		c = '1'
	}
	return key[:i] + string(c) + key[i+1:]
}

// wrongSecret returns a well-formed key with the ID of another one.
func wrongSecret(t testing.TB, key string) string {
	t.Helper()
	head := len("acme_live_")
	stranger, _ := open(t, apikey.Config{}).issue(nil)
	return resum(key[:head+12] + stranger[head+12:])
}

// resum returns the key with the checksum that it should have.
func resum(key string) string { return apikey.Resum(key) }

// throttle is the simplest Throttle: so many failures for an address, for ever.
type throttle struct {
	limit int // zero: any number

	mu                       sync.Mutex
	open                     map[string]int
	reserved, failed, better int
	fail                     error
	broken                   bool
}

func (o *throttle) ReserveAddr(_ context.Context, addr string) (func(guard.Outcome), time.Duration, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return nil, 0, o.fail
	}
	if o.broken {
		return nil, 0, nil
	}
	if o.limit > 0 && o.open[addr] >= o.limit {
		return nil, 30 * time.Second, nil
	}
	if o.open == nil {
		o.open = make(map[string]int)
	}
	o.open[addr]++
	o.reserved++
	return func(outcome guard.Outcome) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if outcome == guard.Failed {
			o.failed++
			return
		}
		o.better++
		o.open[addr]--
	}, 0, nil
}

func (o *throttle) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("%d reserved, %d failed, %d given back", o.reserved, o.failed, o.better)
}

// revoker is a Revoker by the ID of keys.
type revoker struct {
	mu   sync.Mutex
	all  []identity.Revocation
	fail error
}

func (v *revoker) Revoke(_ context.Context, r identity.Revocation) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail == nil {
		v.all = append(v.all, r)
	}
	return v.fail
}

func (v *revoker) Revoked(_ context.Context, p *identity.Principal) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.all {
		if r.Issuer == p.Issuer && r.Credential == p.Credential {
			return true, nil
		}
	}
	return false, v.fail
}

// Checkpoint and RevokedSince answer whatever Revoke does.
func (v *revoker) Checkpoint(context.Context) (uint64, error) { return 0, nil }

func (v *revoker) RevokedSince(context.Context, *identity.Principal, uint64) (bool, error) {
	return false, nil
}

func (v *revoker) last() identity.Revocation {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.all[len(v.all)-1]
}

func jsonOf(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}
