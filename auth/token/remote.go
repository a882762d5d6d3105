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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/strictjson"
)

// RemoteConfig configures a [Remote].
type RemoteConfig struct {
	// URL is the "jwks_uri" of the issuer (RFC 8414 section 2): https, or http to this
	// machine.
	URL string

	// Issuer is the issuer whose metadata has the URL and this exact "issuer". Set URL
	// or Issuer.
	Issuer string

	// MetadataURL is the URL of the metadata. Default:
	// /.well-known/openid-configuration below Issuer.
	MetadataURL string

	// KeyHosts are further hosts that the metadata may name. Risk: an attacker that
	// controls one can publish keys.
	KeyHosts []string

	// Uses are the accepted values of "use" in keys. Default: "sig". Risk: keys for
	// other purposes.
	Uses []string

	// Algorithms are the accepted algorithms of the keys, except HS algorithms.
	// Required.
	Algorithms []Algorithm

	// Client makes the requests, without redirects to another scheme or host. Its
	// Timeout bounds a fetch. Default: a client with a Timeout of 5 seconds.
	Client *http.Client

	// Refresh is the age at which keys are fetched again; a withdrawn key verifies
	// until then. A shorter max-age of the response counts, down to Cooldown. Default:
	// 5 minutes.
	Refresh time.Duration

	// Cooldown is the minimum time between two fetches, also after a failure, at least
	// 1 second. Default: 30 seconds.
	Cooldown time.Duration

	// MaxStale is how long keys are used after the last successful fetch; then
	// requests are answered 503. Default: 24 hours.
	MaxStale time.Duration

	// MaxSize is the largest response in bytes, 1 KiB to 16 MiB. Default: 256 KiB.
	MaxSize int

	// OnError is called in the background after a fetch that failed or rejected keys,
	// and with the number of tokens with unknown key IDs that were answered 503
	// without an event. It must return soon.
	OnError func(error)

	// Measure receives the duration and outcome of each fetch; see [guard.Hooks].
	Measure func(context.Context, guard.Measurement)

	// InsecureHTTP allows http URLs to other machines. Risk: an attacker on the
	// network signs tokens for each user of the issuer.
	InsecureHTTP bool
}

const (
	fetchTimeout  = 5 * time.Second
	maxRemoteKeys = 64
	maxRedirects  = 3
)

// A Remote is a [KeySource] with the published keys of another issuer. It is safe for
// concurrent use.
//
// A request that needs keys older than Refresh, or an unknown key, begins a fetch in
// the background, at most one per Cooldown, and does not wait for it. It is answered
// 401 if a fetch that began after the key was first named succeeded without it, and
// 503 with Retry-After if that is unknown or the keys are older than MaxStale. A
// token that no key would make valid is 401 and causes no fetch. A successful fetch
// replaces all keys. Nothing in a token chooses the URL of a request.
type Remote struct {
	config RemoteConfig
	client *http.Client
	known  atomic.Pointer[knowledge]
	last   atomic.Pointer[fetch] // under way or ended
	mu     sync.Mutex            // to begin a fetch

	keysURL atomic.Pointer[foundURL] // from the metadata
	unseen  atomic.Int64             // tokens answered 503 for errUnseen since the last fetch
	begun   atomic.Uint64            // fetches that have begun
	missed  missedKeys
}

// A knowledge is the immutable set of known keys of the issuer.
type knowledge struct {
	state *ringState // nil if nothing was ever fetched
	print string     // of the keys in state, to detect changes
	at    time.Time  // when the last fetch of state began
	err   error      // of the last fetch

	number uint64 // of the last fetch of state

	refresh time.Duration // the age at which state is due
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

// NewRemote returns a Remote without keys: call [Remote.Fetch] before the first
// request.
func NewRemote(config RemoteConfig) (*Remote, error) {
	var errs []error
	mistake := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("auth/token: RemoteConfig."+format, args...))
	}
	config.KeyHosts, config.Uses = slices.Clone(config.KeyHosts), slices.Clone(config.Uses)
	switch {
	case config.Issuer == "":
		if err := checkURL(config.URL, config.InsecureHTTP); err != nil {
			mistake("URL %w", err)
		}
		if config.MetadataURL != "" || len(config.KeyHosts) > 0 {
			mistake("MetadataURL or KeyHosts is set without Issuer; set Issuer to the issuer whose metadata has the URL")
		}
	case config.URL != "":
		mistake("URL is %q beside Issuer; set one of them", config.URL)
	default:
		if config.MetadataURL == "" {
			config.MetadataURL = strings.TrimSuffix(config.Issuer, "/") + "/.well-known/openid-configuration"
		}
		if err := checkURL(config.MetadataURL, config.InsecureHTTP); err != nil {
			mistake("MetadataURL %w", err)
		}
	}
	if len(config.Uses) == 0 {
		config.Uses = []string{"sig"}
	}
	config.Algorithms = slices.Clone(config.Algorithms)
	if err := checkPublicAlgorithms("auth/token: RemoteConfig.Algorithms", config.Algorithms); err != nil {
		errs = append(errs, err)
	}
	setDefault(&config.Refresh, 5*time.Minute)
	setDefault(&config.Cooldown, 30*time.Second)
	setDefault(&config.MaxStale, 24*time.Hour)
	if config.MaxSize == 0 {
		config.MaxSize = 256 << 10
	}
	if config.Cooldown < time.Second {
		mistake("Cooldown is %v; use at least 1s", config.Cooldown)
	}
	if config.Refresh < config.Cooldown {
		mistake("Refresh is %v; use at least the Cooldown of %v", config.Refresh, config.Cooldown)
	}
	if config.MaxStale < config.Refresh {
		mistake("MaxStale is %v; use at least the Refresh of %v", config.MaxStale, config.Refresh)
	}
	if config.MaxSize < 1<<10 || config.MaxSize > 16<<20 {
		mistake("MaxSize is %d; use 1024 to 16777216 bytes", config.MaxSize)
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
		mistake("Client.Timeout is %v; use a positive duration", client.Timeout)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	setDefault(&client.Timeout, fetchTimeout)
	client.CheckRedirect = stayOnHost(client.CheckRedirect)
	r := &Remote{config: config, client: &client}
	r.known.Store(&knowledge{err: errors.New("no keys were fetched yet"), refresh: config.Refresh})
	return r, nil
}

// checkURL returns an error if s is not a URL from which keys may be fetched.
func checkURL(s string, insecure bool) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return errors.New("is empty; use the URL where the issuer publishes its JWK Set")
	case err != nil:
		return errors.New("is not a URL") // which may hold a password
	case u.User != nil:
		return errors.New("has a user name or password, which would end up in logs; let the Client send credentials")
	case u.Hostname() == "" || u.Fragment != "":
		return fmt.Errorf("is %q; use a URL with a host and without a fragment", s)
	case u.Scheme == "https" || u.Scheme == "http" && (insecure || isLoopback(u.Hostname())):
		return nil
	}
	return fmt.Errorf("is %q; use https", s)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// stayOnHost rejects redirects to another host, and calls next for other
// redirects.
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

// Fetch fetches the keys, at most once per Cooldown, and waits for the result until
// ctx ends. After an error, requests cause further fetches.
func (r *Remote) Fetch(ctx context.Context) error {
	f := r.begin(time.Now())
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("auth/token: waiting for the keys of %s: %w", r.name(), ctx.Err())
	}
}

// begin returns a fetch that is under way or began less than a Cooldown ago, or
// begins one. It does not wait.
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
	hooks := guard.Hooks{Measure: r.config.Measure}
	begun := hooks.Begin()
	state, print, refresh, refused, err := r.get(ctx)
	old := r.known.Load()
	next := &knowledge{state: old.state, print: old.print, at: old.at, number: old.number, refresh: old.refresh, err: err}
	if err != nil {
		r.keysURL.Store(nil)
	}
	if state != nil {
		next.state, next.print, next.at, next.number, next.refresh = state, print, f.began, f.number, refresh
		if old.state != nil && old.print == print {
			next.state = old.state // so that tokens stay remembered
		}
	}
	r.known.Store(next)
	if state != nil {
		r.missed.forget(state)
	}
	n := r.unseen.Swap(0)
	f.err = err
	close(f.done)
	defer func() { _ = recover() }() // a panic of the host's functions would end the process
	hooks.Measured(ctx, begun, "fetch", r.name(), err)
	if r.config.OnError != nil {
		var unseen error
		if n > 0 {
			unseen = fmt.Errorf("auth/token: before this fetch, %d tokens with key IDs that %s had not published were answered 503", n, r.name())
		}
		if err := errors.Join(err, refused, unseen); err != nil {
			r.config.OnError(err)
		}
	}
}

// get makes the request. Without a usable key it returns the empty state beside the
// error, because the earlier keys are withdrawn.
func (r *Remote) get(ctx context.Context) (state *ringState, print string, refresh time.Duration, refused, err error) {
	defer func() {
		if failed := recover(); failed != nil {
			state, err = nil, errors.New("the Client panicked")
		}
		if err != nil {
			err = fmt.Errorf("auth/token: fetching the keys of %s: %w", r.name(), err)
		}
		if refused != nil {
			refused = fmt.Errorf("auth/token: in the keys of %s: %w", r.name(), refused)
		}
	}()
	where, err := r.locate(ctx)
	if err != nil {
		return nil, "", 0, nil, err
	}
	body, header, err := r.download(ctx, where, "application/jwk-set+json", "application/json")
	if err != nil {
		return nil, "", 0, nil, err
	}
	state, refused, err = parseJWKS(string(body), r.config.Algorithms, r.config.Uses)
	if err != nil {
		return nil, "", 0, nil, err
	}
	if len(state.keys) == 0 {
		err = fmt.Errorf("no key of the JWK Set can be used with %v", r.config.Algorithms)
	}
	refresh = r.config.Refresh
	if age, ok := maxAge(header); ok {
		refresh = min(refresh, max(age, r.config.Cooldown))
	}
	return state, fingerprint(state), refresh, refused, err
}

// A foundURL is the URL of the keys in the metadata.
type foundURL struct {
	url string
	at  time.Time
}

// metadataAge is how long the URL of the keys is used before the metadata is read
// again. After a failed fetch the metadata is read again at once.
const metadataAge = time.Hour

// locate returns where the JWK Set is.
func (r *Remote) locate(ctx context.Context) (string, error) {
	if r.config.Issuer == "" {
		return r.config.URL, nil
	}
	if found := r.keysURL.Load(); found != nil && time.Since(found.at) < metadataAge {
		return found.url, nil
	}
	body, _, err := r.download(ctx, r.config.MetadataURL, "application/json")
	if err != nil {
		return "", fmt.Errorf("metadata: %w", err)
	}
	var issuer, where string
	err = metadataMembers.Object(string(body), func(i int, v value) (err error) {
		ok := true
		if i == 0 {
			issuer, ok = text(v)
		} else {
			where, ok = text(v)
		}
		if !ok {
			return fmt.Errorf("the value of %s is malformed", metadataMembers.All()[i])
		}
		return nil
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("metadata: %w", err)
	case issuer != r.config.Issuer:
		return "", fmt.Errorf("metadata: the issuer is %.200q instead of RemoteConfig.Issuer, %q", issuer, r.config.Issuer)
	}
	if err := checkURL(where, r.config.InsecureHTTP); err != nil {
		return "", fmt.Errorf("metadata: the jwks_uri %w", err)
	}
	from, _ := url.Parse(r.config.MetadataURL)
	to, err := url.Parse(where)
	if err != nil || to.Host != from.Host && !slices.Contains(r.config.KeyHosts, to.Host) {
		return "", fmt.Errorf("metadata: the jwks_uri is on the host %.200q instead of %q; add its host to RemoteConfig.KeyHosts if it may publish keys", to.Host, from.Host)
	}
	r.keysURL.Store(&foundURL{where, time.Now()})
	return where, nil
}

var metadataMembers = strictjson.NewNames("issuer", "jwks_uri")

// download returns the body of a response with one of the media types.
func (r *Remote) download(ctx context.Context, where string, types ...string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", strings.Join(types, ", "))
	response, err := r.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the status is %d instead of 200", response.StatusCode)
	}
	contentType := response.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(contentType); err != nil || !slices.Contains(types, media) {
		return nil, nil, fmt.Errorf("the Content-Type is %.100q instead of %s", contentType, strings.Join(types, " or "))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(r.config.MaxSize)+1))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > r.config.MaxSize {
		return nil, nil, fmt.Errorf("the response has more than RemoteConfig.MaxSize, %d bytes", r.config.MaxSize)
	}
	return body, response.Header, nil
}

// maxAge returns the max-age of a response (RFC 9111 section 5.2.2), and whether
// it has one. no-store and no-cache count as a max-age of 0.
func maxAge(header http.Header) (age time.Duration, ok bool) {
	for _, line := range header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				return 0, true
			case "max-age":
				seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
				if err == nil && (!ok || time.Duration(seconds)*time.Second < age) {
					age, ok = time.Duration(seconds)*time.Second, true
				}
			}
		}
	}
	return age, ok
}

// name returns where the keys are from, for logs.
func (r *Remote) name() string {
	if r.config.Issuer != "" {
		return r.config.Issuer
	}
	return r.config.URL
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
	if known.state != nil && age < known.refresh {
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

func (r *Remote) unknown(kid string, state *ringState, now time.Time) error {
	missed := r.missed.since(kid, &r.begun)
	known := r.known.Load()
	if known.state != state {
		return errKeysChanged // a fetch has just ended, and may have brought the key
	}
	r.begin(now)
	if known.state != nil && known.err == nil && now.Sub(known.at) < known.refresh {
		if known.number > missed {
			return ErrKey
		}
		r.unseen.Add(1)
		d := r.unavailable(now, errUnseen)
		if r.config.OnError != nil {
			d.Event = guard.EventNone // OnError gets their number
		}
		return d
	}
	return r.unavailable(now, known.orLate())
}

func (r *Remote) fetches() bool { return true }

func (r *Remote) accepts(alg Algorithm) bool {
	return slices.ContainsFunc(r.config.Algorithms, alg.same)
}

var errUnseen = errors.New("a token names a key that the last JWK Set did not have; it is fetched again")

// missedKeys holds, for each unknown key ID, the number of fetches when it was first
// looked for. The map is bounded, because clients can send any ID: a full map is
// cleared, and IDs that come again wait for one more fetch.
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

// forget removes the IDs of keys that a later fetch has found.
func (m *missedKeys) forget(found *ringState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for kid := range m.number {
		if found.byID[kid] != nil {
			delete(m.number, kid)
		}
	}
}

// orLate returns why the keys of k may be out of date.
func (k *knowledge) orLate() error {
	if k.err != nil {
		return k.err
	}
	return errors.New("they were not used for a while and are being fetched")
}

// unavailable returns a 503 with the time to retry: after the fetch that is under
// way, or when the next one may begin.
func (r *Remote) unavailable(now time.Time, err error) *guard.Denial {
	var wait time.Duration
	if f := r.last.Load(); f.ended() {
		wait = f.began.Add(r.config.Cooldown).Sub(now)
	}
	return guard.Unavailable(max(wait, 0), err)
}

// Format prints the URL of the keys for every verb.
func (r *Remote) Format(f fmt.State, _ rune) {
	where, _, _ := strings.Cut(r.name(), "?") // in which there may be a secret
	fmt.Fprintf(f, "token.Remote(%s)", where)
}
