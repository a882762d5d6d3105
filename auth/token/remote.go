package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// RemoteConfig says where the keys of another issuer are, and how much to rely
// on that place.
type RemoteConfig struct {
	// URL is where the issuer publishes its JWK Set: the "jwks_uri" of its
	// metadata (RFC 8414 section 2). It is https, or http to this machine.
	// Required.
	URL string

	// Algorithms are those that its keys may be for. A key for another is
	// left out. An HS algorithm is an error: who can verify with its key can
	// sign with it, so nobody publishes one. Required.
	Algorithms []Algorithm

	// Client makes the requests. Redirects to another scheme or host are
	// refused whatever it says about them. A fetch takes as long as its
	// Timeout, or 5 seconds without one. Default: a client for this Remote
	// alone, which keeps no connections open.
	Client *http.Client

	// Refresh is the age at which keys are fetched again, in the background
	// of a request that needs one. Issuers of this package publish a key for
	// ten minutes before it signs, and a withdrawn key verifies here until
	// the next fetch. Default: 5 minutes.
	Refresh time.Duration

	// Cooldown is the least time from one fetch to the next, whatever is
	// asked for and whether or not the last one failed. It is also how long
	// an issuer that came back may stay unnoticed. Default: 30 seconds.
	Cooldown time.Duration

	// MaxStale is how long keys are good after the last fetch that succeeded.
	// A key that was withdrawn meanwhile stays good with the others, so
	// whoever can keep us from the URL can keep a stolen key alive for that
	// long. After it, requests are answered 503. Default: 24 hours.
	MaxStale time.Duration

	// MaxSize is the largest JWK Set that is read, in bytes. Default: 256 KiB.
	MaxSize int

	// OnError hears of each fetch that failed, and of keys in a set that were
	// refused while the others are used. It is called in the background, after
	// the fetch, and must not wait for long. Default: nobody hears of it.
	OnError func(error)

	// InsecureHTTP allows a URL with http. Whoever is on the way to it can
	// then hand us a key of their own, and sign tokens in the name of
	// everybody. Default: refused, but to this machine.
	InsecureHTTP bool
}

const (
	fetchTimeout  = 5 * time.Second
	maxRemoteKeys = 64
	maxRedirects  = 3
)

// A Remote is the published keys of another issuer, for [NewVerifier].
//
// No request waits for the network. A request that needs the keys uses those
// that are there; if they are due, or do not include the one that is asked for,
// a single fetch begins in the background, unless one began less than a
// Cooldown ago. The request is answered at once: 401 if the keys are fresh and its key is
// not among them, 503 if that cannot be known, because nothing was fetched yet,
// the keys are too old, the last fetch failed, or no fetch has begun since a
// token named that key for the first time. So an issuer that signs with a key
// before it has published it causes 503 with Retry-After, and no 401.
//
// Each fetch that succeeds replaces the keys: one that is no longer published
// verifies no longer. Nothing in a token, its "jku", "x5u" or "jwk", leads to a
// request.
//
// A Remote has no goroutine but that of a fetch, which ends by itself. It is
// safe for concurrent use.
type Remote struct {
	config RemoteConfig
	client *http.Client
	known  atomic.Pointer[knowledge]
	last   atomic.Pointer[fetch] // under way or ended
	mu     sync.Mutex            // to begin a fetch

	begun  atomic.Uint64 // that have begun
	missed missedKeys
}

// A knowledge is what is known of the issuer's keys. It is never changed.
type knowledge struct {
	state *ringState // nil if nothing was ever fetched
	print string     // of the keys in state, to tell whether others came
	at    time.Time  // when the last fetch of state began
	err   error      // of the last fetch

	number uint64 // of the last fetch of state
}

// A fetch is one request for the keys.
type fetch struct {
	began  time.Time
	number uint64        // 1 for the first one
	done   chan struct{} // closed when it has ended
	err    error         // valid then
}

func (f *fetch) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// NewRemote returns the keys of another issuer. It makes no request: call
// [Remote.Fetch] to have them before the first one comes. The error lists every
// mistake.
func NewRemote(config RemoteConfig) (*Remote, error) {
	var errs []error
	mistake := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("auth/token: RemoteConfig."+format, args...))
	}
	if err := checkURL(config.URL, config.InsecureHTTP); err != nil {
		mistake("URL %w", err)
	}
	if len(config.Algorithms) == 0 {
		mistake("Algorithms is empty, want those that the issuer signs with, such as ES256")
	}
	config.Algorithms = slices.Clone(config.Algorithms)
	for _, alg := range config.Algorithms {
		switch s, ok := suites[alg]; {
		case !ok:
			mistake("Algorithms has %q, want of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519", string(alg))
		case s.family == familyHMAC:
			mistake("Algorithms has %s, whose key would be published to everybody, want those with a public key", alg)
		}
	}
	setDefault(&config.Refresh, 5*time.Minute)
	setDefault(&config.Cooldown, 30*time.Second)
	setDefault(&config.MaxStale, 24*time.Hour)
	if config.MaxSize == 0 {
		config.MaxSize = 256 << 10
	}
	if config.Cooldown < time.Second {
		mistake("Cooldown is %v, want at least 1s", config.Cooldown)
	}
	if config.Refresh < config.Cooldown {
		mistake("Refresh is %v, want at least the Cooldown of %v", config.Refresh, config.Cooldown)
	}
	if config.MaxStale < config.Refresh {
		mistake("MaxStale is %v, want at least the Refresh of %v", config.MaxStale, config.Refresh)
	}
	if config.MaxSize < 1<<10 || config.MaxSize > 16<<20 {
		mistake("MaxSize is %d, want 1024 to 16777216 bytes", config.MaxSize)
	}
	client := http.Client{Timeout: fetchTimeout}
	if config.Client != nil {
		client = *config.Client
	} else {
		// A connection would idle from one Refresh to the next.
		client.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	if client.Timeout < 0 {
		mistake("Client.Timeout is %v, want a positive duration", client.Timeout)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	setDefault(&client.Timeout, fetchTimeout)
	client.CheckRedirect = stayOnHost(client.CheckRedirect)
	r := &Remote{config: config, client: &client}
	r.known.Store(&knowledge{err: errors.New("no keys were fetched yet")})
	return r, nil
}

// checkURL checks where keys are to come from.
func checkURL(s string, insecure bool) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return errors.New("is empty, want where the issuer publishes its JWK Set")
	case err != nil:
		return errors.New("is not a URL") // which may hold a password
	case u.User != nil:
		return errors.New("has a user name or password, which would end up in logs; let the Client send credentials")
	case u.Hostname() == "" || u.Fragment != "":
		return fmt.Errorf("is %q, want a host and no fragment", s)
	case u.Scheme == "https" || u.Scheme == "http" && (insecure || isLoopback(u.Hostname())):
		return nil
	}
	return fmt.Errorf("is %q, want https", s)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// stayOnHost refuses to be led elsewhere, and asks next about the rest.
func stayOnHost(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		from := via[0].URL
		switch {
		case r.URL.Scheme != from.Scheme || r.URL.Host != from.Host:
			return fmt.Errorf("a redirect leads from %s://%s to %s://%s", from.Scheme, from.Host, r.URL.Scheme, r.URL.Host)
		case len(via) > maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		case next != nil:
			return next(r, via)
		}
		return nil
	}
}

// Fetch fetches the keys and waits for them, at most until ctx ends: before the
// first request comes, so that it is not answered 503. If a fetch is under way,
// or one ended and began less than a Cooldown ago, Fetch returns what that one
// leads to or led to. The error is also that of a set without a single key
// that can be used.
//
// A host need not end because of an error: the Remote goes on trying.
func (r *Remote) Fetch(ctx context.Context) error {
	f := r.begin(time.Now())
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("auth/token: waiting for the keys of %s: %w", r.config.URL, ctx.Err())
	}
}

// begin begins a fetch, unless one is under way or began less than a Cooldown
// ago, and returns it or that one. It does not wait for it.
func (r *Remote) begin(now time.Time) *fetch {
	if f := r.last.Load(); f != nil && now.Sub(f.began) < r.config.Cooldown {
		return f // what a flood of unknown keys comes to, without a lock
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.last.Load(); f != nil && (now.Sub(f.began) < r.config.Cooldown || !f.ended()) {
		return f
	}
	f := &fetch{began: now, number: r.begun.Add(1), done: make(chan struct{})}
	r.last.Store(f)
	go r.run(f)
	return f
}

// run does the fetch f.
func (r *Remote) run(f *fetch) {
	ctx, cancel := context.WithTimeout(context.Background(), r.client.Timeout)
	defer cancel()
	state, print, refused, err := r.get(ctx)
	old := r.known.Load()
	next := &knowledge{state: old.state, print: old.print, at: old.at, number: old.number, err: err}
	if state != nil {
		next.state, next.print, next.at, next.number = state, print, f.began, f.number
		if old.state != nil && old.print == print {
			next.state = old.state // so that tokens stay remembered
		}
	}
	r.known.Store(next)
	if state != nil {
		r.missed.forget(state)
	}
	f.err = err
	close(f.done)
	if r.config.OnError != nil {
		if err := errors.Join(err, refused); err != nil {
			defer func() { _ = recover() }() // it would end the process
			r.config.OnError(err)
		}
	}
}

// get makes the request. It returns the keys of a set without one that can be
// used beside the error: those of before are withdrawn all the same.
func (r *Remote) get(ctx context.Context) (state *ringState, print string, refused, err error) {
	defer func() {
		if failed := recover(); failed != nil {
			state, err = nil, errors.New("the Client panicked")
		}
		if err != nil {
			err = fmt.Errorf("auth/token: fetching the keys of %s: %w", r.config.URL, err)
		}
		if refused != nil {
			refused = fmt.Errorf("auth/token: in the keys of %s: %w", r.config.URL, refused)
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.config.URL, nil)
	if err != nil {
		return nil, "", nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := r.client.Do(request)
	if err != nil {
		return nil, "", nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, "", nil, fmt.Errorf("the status is %d, want 200", response.StatusCode)
	}
	contentType := response.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/jwk-set+json" && media != "application/json" {
		return nil, "", nil, fmt.Errorf("the Content-Type is %.100q, want application/jwk-set+json or application/json", contentType)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(r.config.MaxSize)+1))
	if err != nil {
		return nil, "", nil, err
	}
	if len(body) > r.config.MaxSize {
		return nil, "", nil, fmt.Errorf("the JWK Set has more than RemoteConfig.MaxSize, %d bytes", r.config.MaxSize)
	}
	state, refused, err = parseJWKS(string(body), r.config.Algorithms)
	if err != nil {
		return nil, "", nil, err
	}
	if len(state.keys) == 0 {
		err = fmt.Errorf("no key of the JWK Set can be used with %v", r.config.Algorithms)
	}
	return state, fingerprint(state), refused, err
}

// fingerprint is the same for states with the same keys.
func fingerprint(s *ringState) string {
	lines := make([]string, len(s.keys))
	for i, k := range s.keys {
		lines[i] = fmt.Sprintf("%q %s %s %q", k.id, k.alg, k.material, k.issuer)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (r *Remote) made() bool { return r != nil && r.known.Load() != nil }

func (r *Remote) current(now time.Time) (*ringState, error) {
	known := r.known.Load()
	age := now.Sub(known.at)
	if known.state != nil && age < r.config.Refresh {
		return known.state, nil
	}
	r.begin(now)
	switch {
	case known.state == nil:
		return nil, r.unavailable(now, known.err)
	case age >= r.config.MaxStale:
		return nil, r.unavailable(now, fmt.Errorf("the keys are %v old: %w", age.Round(time.Second), known.orLate()))
	}
	return known.state, nil
}

func (r *Remote) unknown(kid string, now time.Time) error {
	missed := r.missed.since(kid, &r.begun)
	known := r.known.Load()
	r.begin(now)
	if known.state != nil && known.err == nil && now.Sub(known.at) < r.config.Refresh {
		if known.number > missed {
			return ErrKey
		}
		return r.unavailable(now, errUnseen)
	}
	return r.unavailable(now, known.orLate())
}

func (r *Remote) fetches() bool { return true }

func (r *Remote) accepts(alg Algorithm) bool {
	return slices.ContainsFunc(r.config.Algorithms, alg.same)
}

var errUnseen = errors.New("a token names a key that the last JWK Set did not have; it is fetched again")

// missedKeys remembers since which fetch a key ID has been looked for. Anybody
// can send IDs, so it has a bound: if it is full, it forgets them all, and those
// that come again wait for one more fetch. It never takes a key that the issuer
// has just begun to use for one that does not exist.
type missedKeys struct {
	mu     sync.Mutex
	number map[string]uint64
}

const maxMissed = 1024

// since returns the number of fetches that had begun when kid was first missed.
// A fetch with a higher number began after that.
func (m *missedKeys) since(kid string, fetches *atomic.Uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	number, ok := m.number[kid]
	if ok {
		return number
	}
	if len(m.number) >= maxMissed || m.number == nil {
		m.number = make(map[string]uint64)
	}
	number = fetches.Load()
	m.number[strings.Clone(kid)] = number
	return number
}

// forget removes what later fetches have found.
func (m *missedKeys) forget(found *ringState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for kid := range m.number {
		if found.byID[kid] != nil {
			delete(m.number, kid)
		}
	}
}

// orLate returns why the keys of k may not be those of now.
func (k *knowledge) orLate() error {
	if k.err != nil {
		return k.err
	}
	return errors.New("nobody needed them for a while, and they are being fetched")
}

// unavailable is answered 503, and says when to come back: after the fetch that
// is under way, or when the next one may begin.
func (r *Remote) unavailable(now time.Time, err error) error {
	var wait time.Duration
	if f := r.last.Load(); f.ended() {
		wait = f.began.Add(r.config.Cooldown).Sub(now)
	}
	return guard.Unavailable(max(wait, 0), err)
}

// Format prints where the keys are from, under every verb.
func (r *Remote) Format(f fmt.State, _ rune) {
	where, _, _ := strings.Cut(r.config.URL, "?") // in which there may be a secret
	fmt.Fprintf(f, "token.Remote(%s)", where)
}
