package headers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/httpfield"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// Config selects the security headers of responses. The zero Config is for APIs,
// [HTML] for pages.
type Config struct {
	// CSP is the Content-Security-Policy. Default: nothing may be loaded, framed
	// or submitted.
	CSP *CSP

	// CSPReportOnly is a second policy, reported on but not enforced. If nil, it
	// is not sent.
	CSPReportOnly *CSP

	ReportingEndpoints []ReportingEndpoint

	// HSTS is Strict-Transport-Security, sent over https only. Default: two years,
	// with subdomains.
	HSTS HSTS

	// Frame is X-Frame-Options: DENY or SAMEORIGIN. Default: DENY.
	Frame string

	// Referrer is the Referrer-Policy, which may send at most the origin to other
	// origins. Default: no-referrer.
	Referrer string

	// Opener is Cross-Origin-Opener-Policy: same-origin, same-origin-allow-popups
	// or noopener-allow-popups. Default: same-origin.
	Opener string

	// Resource is Cross-Origin-Resource-Policy: same-origin, same-site or
	// cross-origin. Default: same-origin.
	Resource string

	// Embedder is Cross-Origin-Embedder-Policy: require-corp or credentialless.
	// Default: not sent, because it breaks pages with foreign resources.
	Embedder string

	// Permissions is the Permissions-Policy. Default: powerful features like
	// camera are denied, passkeys limited to this origin.
	Permissions []Permission

	// Credentials are headers that, like Authorization, Cookie and X-Api-Key, mark
	// a request as authenticated. Its response is no-store.
	Credentials []string

	// Enforce sets the headers when they are sent, whatever handlers like
	// httputil.ReverseProxy, http.Error and http.FileServer did. It wraps the
	// ResponseWriter. Responses that set cookies or are for authenticated requests
	// are no-store unless the handler set private. Default: headers are set before
	// the handler, which may change them.
	Enforce bool

	// Remove are headers to delete, like X-Powered-By. It requires Enforce.
	Remove []string

	// InsecureXSSFilter sends X-XSS-Protection: 1; mode=block instead of 0. An
	// attacker can use the filter of old browsers to disable scripts and to read
	// pages.
	InsecureXSSFilter bool

	// InsecureOmit are headers of this package that are not sent, and so no longer
	// prevent script injection, framing, MIME sniffing, leaked referrers or cached
	// secrets.
	InsecureOmit []string
}

// HSTS is Strict-Transport-Security (RFC 6797).
type HSTS struct {
	// MaxAge is in whole seconds, a year to a hundred years. Default: two years.
	MaxAge time.Duration

	// Preload requests an entry in the list of browsers (https://hstspreload.org),
	// whose removal takes months. It requires a MaxAge of a year and subdomains.
	Preload bool

	// InsecureHostOnly omits includeSubDomains. An attacker in the network can
	// then serve http://x.example.com and set cookies for example.com.
	InsecureHostOnly bool

	// InsecureShort permits a MaxAge below a year. Browsers that return later
	// begin in clear text.
	InsecureShort bool

	// InsecureForget sends max-age=0: browsers forget HSTS and begin in clear
	// text.
	InsecureForget bool
}

// A Permission limits a feature of the browser to origins.
type Permission struct {
	Feature string   // "camera"
	Allow   []string // "self" and origins; empty denies the feature
}

// HTML returns a Config for pages: scripts require the nonce of the response (see
// [Nonce]) or a script with it; other resources come from this origin.
func HTML() Config {
	return Config{
		CSP: &CSP{
			DefaultSrc:              []string{Self},
			ScriptSrc:               []string{NonceSource, StrictDynamic},
			StyleSrc:                []string{Self, NonceSource},
			ImgSrc:                  []string{Self, "data:"},
			ObjectSrc:               []string{None},
			BaseURI:                 []string{None},
			FormAction:              []string{Self},
			FrameAncestors:          []string{None},
			UpgradeInsecureRequests: true,
		},
		Referrer: "strict-origin-when-cross-origin",
	}
}

// FastAPI returns a Config with only the headers of the FastAPI guide, for comparison.
// The zero Config is safer.
func FastAPI() Config {
	return Config{
		HSTS:              HSTS{MaxAge: year, InsecureHostOnly: true},
		InsecureXSSFilter: true,
		InsecureOmit: []string{
			hCSP, hReferrer, hOpener, hResource, hPermissions, hCache,
		},
	}
}

// Names of headers, as http.Header has them.
const (
	hCSP         = "Content-Security-Policy"
	hReportOnly  = "Content-Security-Policy-Report-Only"
	hReporting   = "Reporting-Endpoints"
	hHSTS        = "Strict-Transport-Security"
	hNosniff     = "X-Content-Type-Options"
	hFrame       = "X-Frame-Options"
	hXSS         = "X-Xss-Protection"
	hReferrer    = "Referrer-Policy"
	hOpener      = "Cross-Origin-Opener-Policy"
	hResource    = "Cross-Origin-Resource-Policy"
	hEmbedder    = "Cross-Origin-Embedder-Policy"
	hPermissions = "Permissions-Policy"
	hCache       = "Cache-Control"
)

const year = 365 * 24 * time.Hour

// compile checks c and returns its Headers.
func (c Config) compile() (*Headers, error) {
	p := mistakes.List{Package: "headers"}
	if c.CSP == nil {
		c.CSP = apiPolicy()
	}
	lintCSP(&p, "Config.CSP", c.CSP, c.ReportingEndpoints)
	if only := c.CSPReportOnly; only != nil {
		lintCSP(&p, "Config.CSPReportOnly", only, c.ReportingEndpoints)
		if only.UpgradeInsecureRequests {
			p.Bad("Config.CSPReportOnly.UpgradeInsecureRequests", true, "false: browsers ignore it there")
		}
		if only.Sandbox != nil {
			p.Bad("Config.CSPReportOnly.Sandbox", only.Sandbox, "nil: browsers ignore it there")
		}
		if only.ReportTo == "" && len(only.ReportURI) == 0 {
			p.Bad("Config.CSPReportOnly.ReportTo", "", "an endpoint, or ReportURI; otherwise the reports are lost")
		}
	}
	reporting := endpoints(&p, c.ReportingEndpoints)
	omit := names(&p, "Config.InsecureOmit", c.InsecureOmit)
	frame := choice(&p, "Config.Frame", c.Frame, "DENY", "SAMEORIGIN")
	framed := slices.ContainsFunc(c.CSP.FrameAncestors, func(s string) bool { return s != None })
	if framed && frame == "DENY" && !slices.Contains(omit, hFrame) {
		p.Bad("Config.Frame", frame, "SAMEORIGIN, or X-Frame-Options in InsecureOmit: CSP.FrameAncestors allows framing")
	}
	referrer := choice(&p, "Config.Referrer", c.Referrer, "no-referrer", "same-origin", "strict-origin",
		"strict-origin-when-cross-origin")
	opener := choice(&p, "Config.Opener", c.Opener, "same-origin", "same-origin-allow-popups", "noopener-allow-popups")
	resource := choice(&p, "Config.Resource", c.Resource, "same-origin", "same-site", "cross-origin")
	embedder := ""
	if c.Embedder != "" {
		embedder = choice(&p, "Config.Embedder", c.Embedder, "require-corp", "credentialless")
	}
	xss := "0"
	if c.InsecureXSSFilter {
		xss = "1; mode=block"
	}
	strict := c.HSTS.compile(&p)
	permissions := permissions(&p, c.Permissions)

	managed := []string{
		hCSP, hReportOnly, hReporting, hHSTS, hNosniff, hFrame, hXSS, hReferrer, hOpener, hResource, hEmbedder,
		hPermissions, hCache,
	}
	for i, name := range omit {
		if httpfield.IsToken(name) && !slices.Contains(managed, name) {
			p.Bad(mistakes.At("Config.InsecureOmit", i), name, "a header that this package sets: "+strings.Join(managed, ", "))
		}
	}
	h := &Headers{
		enforce:     c.Enforce,
		noStore:     !slices.Contains(omit, hCache),
		credentials: names(&p, "Config.Credentials", c.Credentials),
		remove:      names(&p, "Config.Remove", c.Remove),
	}
	if len(c.Remove) > 0 && !c.Enforce {
		p.Bad("Config.Remove", strings.Join(c.Remove, ", "), "it with Config.Enforce; handlers set headers later")
	}
	for i, name := range h.remove {
		if slices.Contains(managed, name) {
			p.Bad(mistakes.At("Config.Remove", i), name, "a header that this package does not set, or InsecureOmit")
		}
		if name == "Content-Type" || name == "Content-Length" || name == "Location" || name == "Set-Cookie" || name == "Www-Authenticate" {
			p.Bad(mistakes.At("Config.Remove", i), name, "a header that clients do not need")
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}

	for _, https := range []bool{false, true} {
		s := &h.plain
		if https {
			s = &h.secure
		}
		s.csp, s.only = c.CSP.compile(https), policy{}
		add := func(name, value string) {
			if value != "" && !slices.Contains(omit, name) {
				s.names = append(s.names, name)
				s.values = append(s.values, value)
			}
		}
		add(hCSP, s.csp.without)
		if c.CSPReportOnly != nil {
			s.only = c.CSPReportOnly.compile(https)
			add(hReportOnly, s.only.without)
		}
		add(hReporting, reporting)
		if https {
			add(hHSTS, strict)
		}
		add(hNosniff, "nosniff")
		add(hFrame, frame)
		add(hXSS, xss)
		add(hReferrer, referrer)
		add(hOpener, opener)
		add(hResource, resource)
		add(hEmbedder, embedder)
		add(hPermissions, permissions)
		if slices.Contains(omit, hCSP) {
			s.csp.around = nil
		}
		if slices.Contains(omit, hReportOnly) {
			s.only.around = nil
		}
		h.nonce = h.nonce || s.csp.around != nil || s.only.around != nil
	}
	return h, nil
}

func (c HSTS) compile(p *mistakes.List) string {
	age := c.MaxAge
	if age == 0 {
		age = 2 * year
	}
	switch {
	case c.InsecureForget:
		if c.MaxAge != 0 {
			p.Bad("Config.HSTS.MaxAge", c.MaxAge, "0 together with InsecureForget")
		}
		if c.Preload {
			p.Bad("Config.HSTS.Preload", true, "false together with InsecureForget")
		}
		return "max-age=0"
	case age < 0:
		p.Bad("Config.HSTS.MaxAge", age, "a year or more, or InsecureForget to make browsers forget")
	case age%time.Second != 0:
		p.Bad("Config.HSTS.MaxAge", age, "whole seconds")
	case age < year && !c.InsecureShort:
		p.Bad("Config.HSTS.MaxAge", age, "at least 31536000 s (a year), or InsecureShort for a trial")
	case age > 100*year:
		p.Bad("Config.HSTS.MaxAge", age, "no more than a hundred years")
	}
	if c.Preload && (age < year || age%time.Second != 0) {
		p.Bad("Config.HSTS.Preload", true, "false with a MaxAge of less than 31536000 s; the list rejects the host")
	}
	if c.Preload && c.InsecureHostOnly {
		p.Bad("Config.HSTS.Preload", true, "false with InsecureHostOnly; the list requires subdomains")
	}
	value := fmt.Sprintf("max-age=%d", age/time.Second)
	if !c.InsecureHostOnly {
		value += "; includeSubDomains"
	}
	if c.Preload {
		value += "; preload"
	}
	return value
}

// choice returns value, or the first of the choices if it is empty.
func choice(p *mistakes.List, field, value string, choices ...string) string {
	if value == "" {
		return choices[0]
	}
	if !slices.Contains(choices, value) {
		p.Bad(field, value, "one of "+strings.Join(choices, ", "))
	}
	return value
}

// names returns the names of headers in the spelling of [http.Header].
func names(p *mistakes.List, field string, all []string) []string {
	var canonical []string
	for i, name := range all {
		if !httpfield.IsToken(name) {
			p.Bad(mistakes.At(field, i), name, "the name of a header")
		}
		canonical = append(canonical, http.CanonicalHeaderKey(name))
	}
	return canonical
}

// powerful are the features that the zero Config limits.
var powerful = [...]string{
	"accelerometer", "autoplay", "bluetooth", "camera", "display-capture", "encrypted-media", "fullscreen",
	"geolocation", "gyroscope", "hid", "idle-detection", "local-fonts", "magnetometer", "microphone", "midi",
	"payment", "picture-in-picture", passkeyCreate, passkeyGet,
	"screen-wake-lock", "serial", "usb", "web-share", "xr-spatial-tracking",
}

// The features of WebAuthn stay allowed for this origin, as without the header.
const passkeyCreate, passkeyGet = "publickey-credentials-create", "publickey-credentials-get"

// permissions renders the Permissions-Policy header, a dictionary of RFC 9651.
func permissions(p *mistakes.List, all []Permission) string {
	if len(all) == 0 {
		for _, feature := range powerful {
			permission := Permission{Feature: feature}
			if feature == passkeyCreate || feature == passkeyGet {
				permission.Allow = []string{"self"}
			}
			all = append(all, permission)
		}
	}
	var parts []string
	seen := make(map[string]bool)
	for i, permission := range all {
		field := mistakes.At("Config.Permissions", i)
		f := permission.Feature
		ok := f != "" && 'a' <= f[0] && f[0] <= 'z' && f == strings.ToLower(f) && strings.Trim(f, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
		if !ok {
			p.Bad(field+".Feature", f, "a feature in lower case, for example camera")
		}
		if seen[f] {
			p.Bad(field+".Feature", f, "each feature once")
		}
		seen[f] = true
		var allow []string
		for j, a := range permission.Allow {
			if a == "self" {
				allow = append(allow, a)
				continue
			}
			if o, ok := parseOrigin(a); !ok || o.scheme != "https" {
				p.Bad(mistakes.At(field+".Allow", j), a, `"self" without more quotation marks, or an origin, for example https://example.com`)
			}
			allow = append(allow, fmt.Sprintf("%q", a))
		}
		parts = append(parts, f+"=("+strings.Join(allow, " ")+")")
	}
	return strings.Join(parts, ", ")
}
