package headers

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/httpfield"
	"github.com/gatewright/gatewright/internal/mistakes"
)

// Keyword sources of a [CSP], with their quotation marks.
const (
	None           = "'none'"
	Self           = "'self'"
	StrictDynamic  = "'strict-dynamic'"
	ReportSample   = "'report-sample'"
	WasmUnsafeEval = "'wasm-unsafe-eval'"
	UnsafeInline   = "'unsafe-inline'" // requires CSP.InsecureUnsafeInline
	UnsafeHashes   = "'unsafe-hashes'" // requires CSP.InsecureUnsafeInline
	UnsafeEval     = "'unsafe-eval'"   // requires CSP.InsecureUnsafeEval

	// NonceSource is the nonce of the response, omitted until [Nonce] is called.
	NonceSource = "'nonce'"
)

// A CSP is a Content-Security-Policy (CSP Level 3). Each element of a list is a
// keyword of this package, a hash, a scheme like "data:", or a host like
// "https://cdn.example.com" or "*.example.com". Empty fields are omitted.
type CSP struct {
	// Fetch directives fall back to DefaultSrc. Without it, ScriptSrc, ObjectSrc
	// and BaseURI are required.
	DefaultSrc, ScriptSrc, ScriptSrcElem, ScriptSrcAttr, StyleSrc, StyleSrcElem, StyleSrcAttr,
	ImgSrc, FontSrc, ConnectSrc, MediaSrc, ObjectSrc, FrameSrc, ChildSrc, WorkerSrc, ManifestSrc []string

	// An empty BaseURI, FormAction or FrameAncestors allows every base, form
	// target or framing page.
	BaseURI, FormAction, FrameAncestors []string

	// Sandbox has flags. If empty and not nil, the directive has no flags.
	Sandbox []string

	// TrustedTypes are the policies that scripts may create, or "*".
	// RequireTrustedTypes requires them for script sinks.
	TrustedTypes        []string
	RequireTrustedTypes bool

	// UpgradeInsecureRequests, sent over https only, makes browsers load http
	// resources by https.
	UpgradeInsecureRequests bool

	// ReportTo is the Name of one of Config.ReportingEndpoints. ReportURI is the
	// older directive.
	ReportTo  string
	ReportURI []string

	// InsecureUnsafeInline permits 'unsafe-inline' and 'unsafe-hashes'. Injected
	// markup then runs scripts, or reads the page by style sheets.
	InsecureUnsafeInline bool

	// InsecureUnsafeEval permits 'unsafe-eval'. A string that an attacker controls
	// can then run as a script.
	InsecureUnsafeEval bool

	// InsecureAnySource permits every host, schemes like "https:" or "data:", and
	// "*.com" for scripts, objects, bases, forms and framing. Injected markup can
	// then load scripts from any server.
	InsecureAnySource bool

	// InsecureSharedDomains permits wildcards under domains with open
	// registration, like "https://*.github.io", where an attacker can serve
	// scripts.
	InsecureSharedDomains bool
}

// A directive is one directive of a policy, as configured.
type directive struct {
	field, name string
	values      []string
	check       func(lint, directive)
	empty       bool // sent even without values
}

func (c *CSP) directives() []directive {
	flag := func(on bool, value ...string) []string {
		if on {
			return value
		}
		return nil
	}
	return []directive{
		{"DefaultSrc", "default-src", c.DefaultSrc, lint.code, false},
		{"ScriptSrc", "script-src", c.ScriptSrc, lint.code, false},
		{"ScriptSrcElem", "script-src-elem", c.ScriptSrcElem, lint.code, false},
		{"ScriptSrcAttr", "script-src-attr", c.ScriptSrcAttr, lint.code, false},
		{"StyleSrc", "style-src", c.StyleSrc, lint.sources, false},
		{"StyleSrcElem", "style-src-elem", c.StyleSrcElem, lint.sources, false},
		{"StyleSrcAttr", "style-src-attr", c.StyleSrcAttr, lint.sources, false},
		{"ImgSrc", "img-src", c.ImgSrc, lint.sources, false},
		{"FontSrc", "font-src", c.FontSrc, lint.sources, false},
		{"ConnectSrc", "connect-src", c.ConnectSrc, lint.sources, false},
		{"MediaSrc", "media-src", c.MediaSrc, lint.sources, false},
		{"ObjectSrc", "object-src", c.ObjectSrc, lint.code, false},
		{"FrameSrc", "frame-src", c.FrameSrc, lint.sources, false},
		{"ChildSrc", "child-src", c.ChildSrc, lint.sources, false},
		{"WorkerSrc", "worker-src", c.WorkerSrc, lint.sources, false},
		{"ManifestSrc", "manifest-src", c.ManifestSrc, lint.sources, false},
		{"BaseURI", "base-uri", c.BaseURI, lint.places, false},
		{"FormAction", "form-action", c.FormAction, lint.places, false},
		{"FrameAncestors", "frame-ancestors", c.FrameAncestors, lint.places, false},
		{"Sandbox", "sandbox", c.Sandbox, lint.flags, c.Sandbox != nil},
		{"RequireTrustedTypes", "require-trusted-types-for", flag(c.RequireTrustedTypes, "'script'"), nil, false},
		{"TrustedTypes", "trusted-types", c.TrustedTypes, lint.types, false},
		{"ReportTo", "report-to", flag(c.ReportTo != "", c.ReportTo), nil, false},
		{"ReportURI", "report-uri", c.ReportURI, lint.urls, false},
	}
}

// A policy is a CSP rendered for one scheme.
type policy struct {
	without string   // the header without a nonce
	around  []string // the parts before, between and after the nonces; nil without nonces
}

// with returns the header with the nonce.
func (p policy) with(nonce string) string {
	return strings.Join(p.around, "'nonce-"+nonce+"'")
}

// compile renders c, which is free of mistakes.
func (c *CSP) compile(https bool) policy {
	var without, with strings.Builder
	for _, d := range c.directives() {
		if len(d.values) == 0 && !d.empty {
			continue
		}
		// Without a nonce, an inline script must not fall back to
		// 'unsafe-inline', which is for browsers that do not support nonces.
		static := d.values
		if slices.Contains(d.values, NonceSource) {
			static = slices.DeleteFunc(slices.Clone(d.values), func(s string) bool {
				return s == NonceSource || s == UnsafeInline
			})
			if len(static) == 0 {
				static = []string{None}
			}
		}
		write(&without, d.name, static)
		write(&with, d.name, d.values)
	}
	if c.UpgradeInsecureRequests && https {
		write(&without, "upgrade-insecure-requests", nil)
		write(&with, "upgrade-insecure-requests", nil)
	}
	p := policy{without: without.String()}
	if around := strings.Split(with.String(), NonceSource); len(around) > 1 {
		p.around = around
	}
	return p
}

func write(b *strings.Builder, name string, values []string) {
	if b.Len() > 0 {
		b.WriteString("; ")
	}
	b.WriteString(name)
	for _, v := range values {
		if canonical, ok := canonicalHash(v); ok {
			v = canonical
		}
		b.WriteByte(' ')
		b.WriteString(v)
	}
}

// A lint finds the mistakes in one policy.
type lint struct {
	*mistakes.List
	field string // of Config
	*CSP
}

// lintCSP adds the mistakes of c, which is the named field of Config.
func lintCSP(p *mistakes.List, field string, c *CSP, endpoints []ReportingEndpoint) {
	l := lint{p, field, c}
	if len(c.DefaultSrc) == 0 && len(c.ScriptSrc) == 0 {
		l.Bad(field+".DefaultSrc", "", "'self', or ScriptSrc; without both every script is allowed")
	}
	if len(c.DefaultSrc) == 0 && len(c.ObjectSrc) == 0 {
		l.Bad(field+".ObjectSrc", "", "'none', or DefaultSrc; without both every plug-in is allowed")
	}
	nonces := 0
	for _, d := range c.directives() {
		if slices.Contains(d.values, NonceSource) {
			nonces++
		}
		if d.check != nil {
			d.check(l, d)
		}
	}
	if len(c.BaseURI) == 0 && (nonces > 0 || len(c.DefaultSrc) == 0) {
		l.Bad(field+".BaseURI", "", "'none' or 'self'; an injected <base> would redirect scripts and links")
	}
	if c.ReportTo != "" && !slices.ContainsFunc(endpoints, func(e ReportingEndpoint) bool { return e.Name == c.ReportTo }) {
		l.Bad(field+".ReportTo", c.ReportTo, "the Name of one of Config.ReportingEndpoints")
	}
}

// sources checks a list of a fetch directive.
func (l lint) sources(d directive) {
	field := l.field + "." + d.field
	if len(d.values) > 1 && slices.Contains(d.values, None) {
		l.Bad(field, strings.Join(d.values, " "), "'none' alone, or the other sources without it")
	}
	for i, s := range d.values {
		if slices.Contains(d.values[:i], s) {
			l.Bad(mistakes.At(field, i), s, "each source once")
			continue
		}
		l.source(mistakes.At(field, i), s)
	}
}

// code checks a list for scripts or objects.
func (l lint) code(d directive) {
	l.sources(d)
	field := l.field + "." + d.field
	strict := slices.Contains(d.values, StrictDynamic)
	trusted := slices.ContainsFunc(d.values, func(s string) bool { return s == NonceSource || isHashSource(s) && !strings.HasPrefix(s, "'eval-") })
	if strict && !trusted {
		l.Bad(field, strings.Join(d.values, " "), "NonceSource or a hash with 'strict-dynamic', which ignores hosts")
	}
	// With 'strict-dynamic' browsers ignore hosts and schemes of scripts, but
	// not of objects.
	objects := d.field == "ObjectSrc" || d.field == "DefaultSrc" && len(l.ObjectSrc) == 0
	if !strict || objects {
		l.anywhere(d)
	}
}

// places checks a list of pages, without nonces, hashes and keywords for code.
func (l lint) places(d directive) {
	l.sources(d)
	l.anywhere(d)
	for i, s := range d.values {
		if strings.HasPrefix(s, "'") && s != Self && s != None && s != ReportSample {
			l.Bad(mistakes.At(l.field+"."+d.field, i), s, "'self', 'none' or hosts in "+d.name)
		}
	}
}

// anywhere refuses sources from which an attacker can serve.
func (l lint) anywhere(d directive) {
	if l.InsecureAnySource {
		return
	}
	for i, s := range d.values {
		h, ok := parseHostSource(s)
		switch field := mistakes.At(l.field+"."+d.field, i); {
		case !ok: // a keyword, or added already
		case h.isAnybodys():
			l.Bad(field, s, "hosts by name, or "+l.field+".InsecureAnySource; an attacker can serve from there")
		case h.wild && isShared(h.name) && !l.InsecureSharedDomains:
			l.Bad(field, s, "hosts by name, or "+l.field+".InsecureSharedDomains; an attacker can register there")
		}
	}
}

// source checks one element of a list.
func (l lint) source(field, s string) {
	lower := strings.ToLower(s)
	switch {
	case s == "":
		l.Bad(field, s, "a source")
		return
	case strings.ContainsAny(s, ";,") || !isPlain(s):
		l.Bad(field, s, "one source in visible ASCII, without semicolon, comma or space; each source is an element of its own")
		return
	case isDirective(lower):
		l.Bad(field, s, "a source; this is a directive, which has its own field")
		return
	case isKeyword("'" + lower + "'"):
		l.Bad(field, s, "'"+lower+"' in single quotation marks")
		return
	case strings.ContainsAny(s, "\"`"):
		l.Bad(field, s, "single quotation marks")
		return
	}
	if s[0] != '\'' {
		if _, ok := parseHostSource(s); !ok {
			l.Bad(field, s, "a keyword in single quotation marks, a scheme (data:), or a host (https://cdn.example.com or *.example.com)")
		}
		return
	}
	switch {
	case s == UnsafeInline || s == UnsafeHashes:
		if !l.InsecureUnsafeInline {
			l.Bad(field, s, "NonceSource or a hash, or "+l.field+".InsecureUnsafeInline")
		}
	case s == UnsafeEval:
		if !l.InsecureUnsafeEval {
			l.Bad(field, s, "code without eval, or "+l.field+".InsecureUnsafeEval")
		}
	case strings.HasPrefix(s, "'nonce-"):
		l.Bad(field, s, "NonceSource; an attacker can read a constant nonce from the page")
	case isHashSource(s):
		if _, ok := canonicalHash(s); !ok {
			l.Bad(field, s, "'sha256-…', 'sha384-…' or 'sha512-…' with the digest in base64")
		}
	case !isKeyword(s):
		l.Bad(field, s, "one of the keywords "+strings.Join(keywords, " ")+", in lower case")
	}
}

func (l lint) flags(d directive) {
	for i, s := range d.values {
		if !slices.Contains(sandboxFlags, s) {
			l.Bad(mistakes.At(l.field+".Sandbox", i), s, "a flag of the sandbox directive, for example allow-forms")
		}
	}
}

func (l lint) types(d directive) {
	for i, s := range d.values {
		ok := s != ""
		for j := range len(s) {
			ok = ok && (httpfield.IsAlnum(s[j]) || strings.IndexByte("-#=_/@.%", s[j]) >= 0)
		}
		if !ok && s != None && s != "'allow-duplicates'" && s != "*" {
			l.Bad(mistakes.At(l.field+".TrustedTypes", i), s, "the name of a policy, * for every name, 'none' or 'allow-duplicates'")
		}
	}
}

func (l lint) urls(d directive) {
	for i, s := range d.values {
		path := strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//")
		if !isPlain(s) || strings.ContainsAny(s, ";,'") || !strings.HasPrefix(s, "https://") && !path {
			l.Bad(mistakes.At(l.field+"."+d.field, i), s, "an https URL or a path, without semicolon, comma or quotation mark")
		}
	}
}

var keywords = []string{
	None, Self, StrictDynamic, ReportSample, WasmUnsafeEval, UnsafeInline, UnsafeHashes, UnsafeEval, NonceSource,
	"'inline-speculation-rules'", "'trusted-types-eval'", "'report-sha256'", "'report-sha384'", "'report-sha512'",
	"'unsafe-webtransport-hashes'",
}

func isKeyword(s string) bool {
	return slices.Contains(keywords, s) || strings.HasPrefix(s, "'nonce-") || slices.ContainsFunc(hashes, func(h hash) bool {
		return strings.HasPrefix(s, h.prefix)
	})
}

func isDirective(s string) bool {
	return s == "upgrade-insecure-requests" || s == "block-all-mixed-content" ||
		slices.ContainsFunc(new(CSP).directives(), func(d directive) bool { return d.name == s })
}

var sandboxFlags = []string{
	"allow-downloads", "allow-forms", "allow-modals", "allow-orientation-lock", "allow-pointer-lock", "allow-popups",
	"allow-popups-to-escape-sandbox", "allow-presentation", "allow-same-origin", "allow-same-site-none-cookies",
	"allow-scripts", "allow-storage-access-by-user-activation",
	"allow-top-navigation", "allow-top-navigation-by-user-activation",
	"allow-top-navigation-to-custom-protocols",
}

// A hash is a kind of hash-source.
type hash struct {
	prefix string
	size   int // of the digest
}

// hashes are the hash-sources of scripts and styles, of script URLs and of evaluated
// strings.
var hashes = []hash{
	{"'sha256-", 32}, {"'sha384-", 48}, {"'sha512-", 64},
	{"'url-sha256-", 32}, {"'url-sha384-", 48}, {"'url-sha512-", 64},
	{"'eval-sha256-", 32}, {"'eval-sha384-", 48}, {"'eval-sha512-", 64},
}

// canonicalHash returns a hash-source with its digest in the alphabet and padding that
// all browsers compare, and whether the digest has the length of its algorithm. The
// grammar also allows the URL alphabet.
func canonicalHash(s string) (string, bool) {
	for _, h := range hashes {
		digest, ok := strings.CutPrefix(s, h.prefix)
		if !ok {
			continue
		}
		digest, ok = strings.CutSuffix(digest, "'")
		digest = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(digest), "=")
		b, err := base64.RawStdEncoding.Strict().DecodeString(digest)
		return h.prefix + base64.StdEncoding.EncodeToString(b) + "'", ok && err == nil && len(b) == h.size
	}
	return s, false
}

// isHashSource reports whether s begins like a hash-source.
func isHashSource(s string) bool {
	return strings.HasPrefix(s, "'sha") || strings.HasPrefix(s, "'url-sha") || strings.HasPrefix(s, "'eval-sha")
}

// A hostSource is a scheme-source or a host-source without port and path, which the
// owner of the host controls.
type hostSource struct {
	name string // in lower case; "" for a scheme alone, "*" for every host
	wild bool   // the name follows "*."
}

// isAnybodys reports whether an attacker can serve from h. Registration under a single
// label is open.
func (h hostSource) isAnybodys() bool {
	return h.name == "" || h.name == "*" || h.wild && strings.IndexByte(h.name, '.') < 0 && h.name != "localhost"
}

// parseHostSource reads a scheme-source or a host-source of CSP Level 3 section
// 2.3.1.
func parseHostSource(s string) (source hostSource, ok bool) {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		if scheme, ok := strings.CutSuffix(s, ":"); ok {
			return hostSource{}, isScheme(scheme)
		}
		rest = s
	} else if !isScheme(scheme) {
		return hostSource{}, false
	}
	if found && !isWeb(scheme) && rest != "" && rest[0] != '*' {
		// An app or an extension: host-part of the grammar, not a domain.
		rest, path, _ := strings.Cut(rest, "/")
		h, ok := parseOpaque(rest)
		ok = ok && !strings.ContainsAny(path, "?#'\"")
		return hostSource{name: h.name}, ok && strings.Trim(lower(h.name), "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
	}
	rest, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(path, "?#'\"") {
		return hostSource{}, false
	}
	if port, ok := strings.CutPrefix(rest, "*"); ok && (port == "" || port[0] == ':') {
		_, ok = parsePort(port)
		return hostSource{name: "*"}, ok || port == ":*"
	}
	rest, source.wild = strings.CutPrefix(rest, "*.")
	rest, anyPort := strings.CutSuffix(rest, ":*")
	h, ok := parseHost(rest)
	source.name = lower(h.name)
	return source, ok && !h.dot && !(source.wild && h.ip) && !(anyPort && h.port != 0)
}

// isScheme reports whether s is a scheme of RFC 3986 section 3.1 in lower case.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// apiPolicy is the default policy: the response of an API loads nothing and is not
// framed.
func apiPolicy() *CSP {
	none := []string{None}
	return &CSP{DefaultSrc: none, BaseURI: none, FormAction: none, FrameAncestors: none}
}

// A ReportingEndpoint receives reports (https://www.w3.org/TR/reporting-1/).
type ReportingEndpoint struct {
	Name string // as CSP.ReportTo has it
	URL  string // https, or a path on this host
}

// endpoints renders the Reporting-Endpoints header.
func endpoints(p *mistakes.List, all []ReportingEndpoint) string {
	var parts []string
	for i, e := range all {
		field := mistakes.At("Config.ReportingEndpoints", i)
		if !httpfield.IsToken(e.Name) || e.Name != strings.ToLower(e.Name) || !('a' <= e.Name[0] && e.Name[0] <= 'z') {
			p.Bad(field+".Name", e.Name, "a lower-case word, for example csp")
		}
		path := strings.HasPrefix(e.URL, "/") && !strings.HasPrefix(e.URL, "//")
		if !isPlain(e.URL) || strings.ContainsAny(e.URL, `"\`) || !strings.HasPrefix(e.URL, "https://") && !path {
			p.Bad(field+".URL", e.URL, "an https URL or a path")
		}
		parts = append(parts, fmt.Sprintf("%s=%q", e.Name, e.URL))
	}
	return strings.Join(parts, ", ")
}
