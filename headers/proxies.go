package headers

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/httpfield"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// Headers in which proxies send the client's address. Other names are vendors' headers
// with one address, like "Cf-Connecting-Ip".
const (
	XForwarded = "X-Forwarded-For" // with X-Forwarded-Proto; see ProxiesConfig.Host
	Forwarded  = "Forwarded"       // RFC 7239
)

// ProxiesConfig configures [TrustedProxies].
type ProxiesConfig struct {
	// Header is the only header that is read: XForwarded, Forwarded or a vendor's
	// header. The proxies must overwrite it or append to it, and X-Forwarded-Proto
	// too; otherwise clients choose their address. Default: XForwarded.
	Header string

	// Hops is the maximum number of trusted proxies of a request, 1 to 16. The
	// client is the last address that is not trusted. Default: 1.
	Hops int

	// Host takes the host from X-Forwarded-Host or Forwarded, if present. The
	// outermost proxy must overwrite it; otherwise clients choose the host.
	// Default: the Host header.
	Host bool

	// SchemeHeader is the header with the scheme, for a vendor's Header. Default:
	// the scheme of the connection.
	SchemeHeader string

	// Port states that the address in a vendor's Header always has a port, also
	// after IPv6 without brackets. Default: true for CloudFront-Viewer-Address
	// only.
	Port bool

	// InsecureAnyPeer permits trusted prefixes that cover nearly all addresses. A
	// client that reaches the server directly then chooses address, host and
	// scheme.
	InsecureAnyPeer bool

	Hooks guard.Hooks
}

// TrustedProxies sets r.RemoteAddr, r.Host and [guard.Scheme] to the values of the
// client. It reports [guard.EventMisconfigured] if an untrusted peer sends headers of
// a proxy, or if there seem to be more proxies than Hops.
type TrustedProxies struct {
	untrusted, hops warning
	config          ProxiesConfig
	trusted         []netip.Prefix
	unix            bool
	strip           map[string]bool
}

// NewTrustedProxies returns middleware that trusts the given peers: addresses,
// prefixes like "10.0.0.0/8", or "unix" for UNIX sockets. Without elements the headers
// are only removed.
func NewTrustedProxies(trusted []string, c ProxiesConfig) (*TrustedProxies, error) {
	p := mistakes.List{Package: "headers"}
	t := &TrustedProxies{strip: make(map[string]bool)}
	for i, s := range trusted {
		if s == "unix" {
			t.unix = true
			continue
		}
		prefix, want := parsePrefix(s)
		if want != "" {
			p.Bad(mistakes.At("trusted", i), s, want)
			continue
		}
		widest := 7 // fc00::/7 is the widest private network of IPv6,
		if prefix.Addr().Is4() {
			widest = 8 // and 10.0.0.0/8 of IPv4
		}
		if prefix.Bits() < widest && !c.InsecureAnyPeer {
			p.Bad(mistakes.At("trusted", i), s, "the prefixes of the proxies, or ProxiesConfig.InsecureAnyPeer; this one covers nearly all addresses")
		}
		if slices.Contains(t.trusted, prefix) {
			p.Bad(mistakes.At("trusted", i), s, "each prefix once")
		}
		t.trusted = append(t.trusted, prefix)
	}
	if c.Header == "" {
		c.Header = XForwarded
	}
	if c.Hops == 0 {
		c.Hops = 1
	}
	if c.Hops < 1 || c.Hops > 16 {
		p.Bad("ProxiesConfig.Hops", c.Hops, "1 to 16")
	}
	for _, f := range []struct {
		field string
		name  *string
	}{{"ProxiesConfig.Header", &c.Header}, {"ProxiesConfig.SchemeHeader", &c.SchemeHeader}} {
		field, name := f.field, f.name
		canonical := http.CanonicalHeaderKey(*name)
		switch {
		case *name == "":
		case !httpfield.IsToken(*name):
			p.Bad(field, *name, "the name of a header")
		case slices.Contains([]string{"Host", "Authorization", "Cookie", "Origin", "Referer", "User-Agent", "Via"}, canonical):
			p.Bad(field, *name, "a header that proxies write and clients do not")
		case canonical == "X-Forwarded-Proto" && field == "ProxiesConfig.Header", canonical == "X-Forwarded-Host":
			p.Bad(field, *name, "X-Forwarded-For, which includes it")
		}
		*name = canonical
	}
	if vendor := c.Header != XForwarded && c.Header != Forwarded; vendor {
		if c.Hops != 1 {
			p.Bad("ProxiesConfig.Hops", c.Hops, "1 with a vendor's Header, which has one address")
		}
		if c.Host {
			p.Bad("ProxiesConfig.Host", true, "false with a vendor's Header, which has an address only")
		}
	} else if c.Port {
		p.Bad("ProxiesConfig.Port", true, "false with "+c.Header+", which has IPv6 addresses with a port in brackets")
	} else if c.SchemeHeader != "" {
		p.Bad("ProxiesConfig.SchemeHeader", c.SchemeHeader, "no SchemeHeader with "+c.Header+", which has its own")
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	c.Port = c.Port || c.Header == "Cloudfront-Viewer-Address"
	t.config = c
	t.strip[c.Header], t.strip[c.SchemeHeader] = true, true
	return t, nil
}

// parsePrefix reads an address or a prefix, or returns what to use instead.
func parsePrefix(s string) (prefix netip.Prefix, want string) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), ""
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return prefix, `an address, a prefix (10.0.0.0/8), or "unix"`
	case prefix.Addr().Is4In6():
		return prefix, "the prefix in IPv4 notation"
	case prefix != prefix.Masked():
		return prefix, prefix.Masked().String()
	}
	return prefix, ""
}

// Handler returns next for requests settled by [TrustedProxies.Resolve]. It answers
// 400 if the header of a trusted proxy cannot be read.
func (t *TrustedProxies) Handler(next http.Handler) http.Handler {
	mustHandle(next)
	return guard.Describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		settled, found, err := t.resolve(r)
		if err != nil {
			t.config.Hooks.Refuse(w, settled, err)
			return
		}
		t.warn(settled, found)
		next.ServeHTTP(w, settled)
	}), next)
}

// Resolve returns r, or a copy with settled RemoteAddr, Host and scheme, without
// undeclared trailers and without headers and trailers that claim an address, host,
// scheme, path or method. If the header of a trusted peer cannot be read, it returns a
// [guard.Denial] with status 400. A missing header is no error.
func (t *TrustedProxies) Resolve(r *http.Request) (*http.Request, error) {
	settled, _, err := t.resolve(r)
	return settled, err
}

// found is what resolve noticed beside the request.
type found struct {
	peer     string // the original RemoteAddr of r
	ignored  string // a header of proxies that an untrusted peer sent
	moreHops bool   // see hop.more
}

func (t *TrustedProxies) resolve(r *http.Request) (*http.Request, found, error) {
	h, trusted, err := t.settle(r)
	f := found{peer: r.RemoteAddr, moreHops: h.more}
	h.more = false
	claims := false
	for name := range r.Header {
		if t.strips(name) {
			claims = true
			break
		}
	}
	if claims && !trusted {
		f.ignored = t.byProxy(r.Header)
	}
	// net/http adds undeclared trailers of a chunked body to r only, not to a
	// copy of r.
	trailers := r.Trailer != nil || len(r.TransferEncoding) > 0
	if !claims && !trailers && (h == hop{}) {
		return r, f, err
	}
	ctx := r.Context()
	if trusted && h.scheme != "" {
		ctx = guard.WithScheme(ctx, h.scheme)
	}
	settled := r.WithContext(ctx)
	if claims {
		settled.Header = make(http.Header, len(r.Header))
		for name, values := range r.Header {
			if !t.strips(name) {
				settled.Header[name] = values
			}
		}
	}
	if r.Trailer != nil {
		settled.Trailer = make(http.Header, len(r.Trailer))
		for name, values := range r.Trailer {
			if !t.strips(name) {
				settled.Trailer[name] = values
			}
		}
		if r.Body != nil {
			settled.Body = &trailed{r.Body, r.Trailer, settled.Trailer}
		}
	}
	if h.client.IsValid() {
		settled.RemoteAddr = h.client.String()
	}
	if h.host != "" {
		settled.Host = h.host
	}
	return settled, f, err
}

// byProxy returns the name of a header that proxies send by default.
func (t *TrustedProxies) byProxy(header http.Header) string {
	for _, name := range [...]string{t.config.Header, t.config.SchemeHeader, "X-Forwarded-Proto", "X-Forwarded-For", "Forwarded"} {
		if name != "" && len(header[name]) > 0 {
			return name
		}
	}
	return ""
}

// warn reports likely mistakes in the configuration.
func (t *TrustedProxies) warn(r *http.Request, f found) {
	switch {
	case f.ignored != "" && t.untrusted.due():
		t.config.Hooks.Emit(r, guard.Event{Name: guard.EventMisconfigured, Err: fmt.Errorf(
			"headers: %s was ignored, because its sender %.64q is not a trusted proxy; if it is one of yours, list it in NewTrustedProxies, "+
				"otherwise every client has its address, and https counts as http", f.ignored, f.peer)})
	case f.moreHops && t.hops.due():
		t.config.Hooks.Emit(r, guard.Event{Name: guard.EventMisconfigured, Err: fmt.Errorf(
			"headers: the client %.64q is a proxy or in a private network, and %s has more addresses; if there is another proxy, "+
				"increase ProxiesConfig.Hops (now %d), or all clients have one address", r.RemoteAddr, t.config.Header, t.config.Hops)})
	}
}

// isInside reports whether the address of a client may be the address of another
// proxy.
func (t *TrustedProxies) isInside(addr netip.Addr) bool {
	return t.trusts(addr) || addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || sharedSpace.Contains(addr)
}

// sharedSpace is for carriers and clouds (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// A trailed is a body with trailers, which net/http adds at its end, also undeclared
// ones.
type trailed struct {
	io.ReadCloser
	all, kept http.Header
}

func (b *trailed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		for name := range b.kept {
			b.kept[name] = b.all[name]
		}
	}
	return n, err
}

// settle reads the headers of r if its peer is trusted.
func (t *TrustedProxies) settle(r *http.Request) (h hop, trusted bool, err error) {
	if !t.trustsPeer(r.RemoteAddr) {
		return hop{}, false, nil
	}
	switch t.config.Header {
	case XForwarded:
		h, err = t.xForwarded(r.Header)
	case Forwarded:
		h, err = t.forwarded(r.Header)
	default:
		h, err = t.vendor(r.Header)
	}
	if err == nil {
		h.scheme, err = parseScheme(h.scheme)
	}
	if err == nil && h.host != "" {
		if _, ok := parseHost(h.host); !ok {
			err = errors.New("the host is malformed")
		}
	}
	if err != nil {
		return hop{}, true, guard.InvalidRequest("The request came through a proxy whose headers cannot be read.",
			fmt.Errorf("headers: %s from the trusted proxy %.64q: %w", t.config.Header, r.RemoteAddr, err))
	}
	return h, true, nil
}

func (t *TrustedProxies) trustsPeer(remoteAddr string) bool {
	if remoteAddr == "" || remoteAddr[0] == '@' || remoteAddr[0] == '/' {
		return t.unix
	}
	peer, err := netip.ParseAddrPort(remoteAddr)
	return err == nil && t.trusts(peer.Addr())
}

func (t *TrustedProxies) trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range t.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// xForwarded reads the X-Forwarded headers. X-Forwarded-Proto has, from the right, an
// entry for each proxy that appends, or one entry if the outermost proxy overwrites
// it.
func (t *TrustedProxies) xForwarded(header http.Header) (h hop, err error) {
	taken := 0
	fromRight(header[XForwarded], func(element string) bool {
		if taken == t.config.Hops {
			h.more = true
			return false
		}
		h.client, err = parseNode(element)
		taken++
		if taken == t.config.Hops {
			return err == nil && t.isInside(h.client.Addr())
		}
		return err == nil && t.trusts(h.client.Addr())
	})
	if err != nil {
		return hop{}, err
	}
	if h.scheme, err = nth(header["X-Forwarded-Proto"], max(taken, 1)); err != nil {
		return hop{}, fmt.Errorf("X-Forwarded-Proto: %w", err)
	}
	if t.config.Host {
		if h.host, err = nth(header["X-Forwarded-Host"], max(taken, 1)); err != nil {
			return hop{}, fmt.Errorf("X-Forwarded-Host: %w", err)
		}
	}
	return h, nil
}

// nth returns the nth element from the right, or the only one.
func nth(lines []string, n int) (string, error) {
	count, found, only := 0, "", ""
	fromRight(lines, func(element string) bool {
		count++
		only = element
		if count == n {
			found = element
		}
		return count < n
	})
	switch {
	case count == 0:
		return "", nil
	case count == 1:
		found = only
	case count < n:
		return "", errors.New("it has entries of some proxies only")
	}
	if found == "" {
		return "", errEmptyElement
	}
	return found, nil
}

func (t *TrustedProxies) forwarded(header http.Header) (h hop, err error) {
	elements, err := parseForwarded(header[Forwarded])
	if err != nil {
		return hop{}, err
	}
	for taken := 1; taken <= min(t.config.Hops, len(elements)); taken++ {
		if h, err = elements[len(elements)-taken].hop(); err != nil {
			return hop{}, err
		}
		if !t.trusts(h.client.Addr()) {
			break
		}
	}
	h.more = len(elements) > t.config.Hops && t.isInside(h.client.Addr())
	if !t.config.Host {
		h.host = ""
	}
	return h, nil
}

func (t *TrustedProxies) vendor(header http.Header) (h hop, err error) {
	switch lines := header[t.config.Header]; len(lines) {
	case 0:
	case 1:
		parse := parseNode
		if t.config.Port {
			parse = parseNodeWithPort
		}
		if h.client, err = parse(httpfield.TrimOWS(lines[0])); err != nil {
			if strings.Count(lines[0], ":") > 2 && !t.config.Port {
				err = fmt.Errorf("%w; if it is always followed by a port, set ProxiesConfig.Port", err)
			}
			return hop{}, err
		}
	default:
		return hop{}, errors.New("it occurs more than once")
	}
	if t.config.SchemeHeader != "" {
		h.scheme, err = nth(header[t.config.SchemeHeader], 1)
	}
	return h, err
}

// parseScheme returns http or https, also for the schemes of WebSockets, which some
// proxies send.
func parseScheme(s string) (string, error) {
	switch lower(s) {
	case "":
		return "", nil
	case "https", "wss":
		return "https", nil
	case "http", "ws":
		return "http", nil
	}
	return "", errors.New("the scheme is neither http nor https")
}

// strips reports whether the header name claims address, host, scheme, path or method
// of a request. Some programs obey names that no proxy sends.
func (t *TrustedProxies) strips(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		// CGI programs and some servers treat it like a dash.
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	if strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "X-Original-") || strings.HasPrefix(name, "X-Rewrite-") {
		return true
	}
	switch name {
	case "Forwarded", "Forwarded-For", "Forwarded-Host", "Forwarded-Proto",
		"X-Forward-For", "X-Forwarder-For",
		"X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Originating-Ip",
		"X-Host", "X-Request-Uri", "X-Request-Url", "X-Proxy-Url", "X-Override-Url", "X-Http-Destinationurl",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
		"X-Http-Host-Override", "X-Scheme", "X-Url-Scheme", "X-Client-Scheme", "X-Proto", "X-Https", "X-Ssl",
		"X-Proxyuser-Ip", "Front-End-Https", "X-Arr-Ssl",
		"True-Client-Ip", "Client-Ip", "Real-Ip", "Proxy-Client-Ip", "Wl-Proxy-Client-Ip",
		"Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Cf-Visitor", "Cloudfront-Forwarded-Proto",
		"Cloudfront-Viewer-Address", "Fastly-Client-Ip", "Fastly-Ssl", "Fly-Client-Ip", "Fly-Forwarded-Proto",
		"X-Azure-Clientip", "X-Azure-Socketip", "X-Appengine-User-Ip", "X-Appengine-Remote-Addr", "X-Appengine-Https",
		"Incap-Client-Ip", "Akamai-Client-Ip", "Ali-Cdn-Real-Ip", "Eo-Client-Ip", "Cdn-Src-Ip",
		"X-Envoy-External-Address", "X-Envoy-Original-Path", "X-Envoy-Original-Method", "X-Envoy-Original-Host", "X-Nf-Client-Connection-Ip", "X-Vercel-Forwarded-For",
		"X-Coming-From", "X-Bluecoat-Via":
		return true
	}
	return t.strip[name]
}
