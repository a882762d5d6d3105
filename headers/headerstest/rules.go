package headerstest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A response is a response with its request.
type response struct {
	request *http.Request
	secure  bool
	status  int
	header  http.Header
	body    bool // there is one
}

// oshp is cited for rules without an ASVS number.
const oshp = "OWASP Secure Headers"

// judge returns the findings of r. In early responses headers may be missing, because
// the final one can have them.
func (r response) judge(c Config) []Finding {
	j := &judge{response: r, config: c}
	for _, rule := range rules {
		j.header, j.cite = rule.header, rule.cite
		values := r.header[http.CanonicalHeaderKey(rule.header)]
		switch {
		case rule.once && len(values) > 1:
			j.find(Duplicate, fmt.Sprintf("there are %d values, %q; send one", len(values), values))
		case len(values) == 0 && rule.needed != nil:
			if r.status >= 200 || r.status == http.StatusSwitchingProtocols {
				rule.needed(j)
			}
		case len(values) > 0 && rule.value != nil:
			rule.value(j, strings.Join(values, ", "))
		}
	}
	return j.findings
}

// A judge collects the findings of one response.
type judge struct {
	response
	config       Config
	header, cite string
	findings     []Finding
}

func (j *judge) find(problem, detail string) {
	j.findings = append(j.findings, Finding{Header: j.header, Problem: problem, Detail: detail, Cite: j.cite})
}

func (j *judge) missing(want string) { j.find(Missing, "use "+want) }

func (j *judge) weak(value, want string) {
	j.find(Weak, fmt.Sprintf("it is %.200q; use %s", value, want))
}

// A rule is about one header.
type rule struct {
	header, cite string
	once         bool
	needed       func(*judge)         // adds the finding if it is missing
	value        func(*judge, string) // adds findings in the value
}

// required is for headers of every response.
func required(want string) func(*judge) {
	return func(j *judge) { j.missing(want) }
}

// oneOf is for headers with a few good values.
func oneOf(good ...string) func(*judge, string) {
	return func(j *judge, value string) {
		if !slices.Contains(good, strings.ToLower(strings.TrimSpace(value))) {
			j.weak(value, strings.Join(good, " or "))
		}
	}
}

var rules = []rule{
	{"Strict-Transport-Security", "ASVS 5.0 3.4.1", true, func(j *judge) {
		if j.secure {
			j.missing("max-age of a year or more; includeSubDomains")
		}
	}, hsts},
	{"Content-Security-Policy", "ASVS 5.0 3.4.3", true, required("a policy"), csp},
	{"X-Content-Type-Options", "ASVS 5.0 3.4.4", true, required("nosniff"), oneOf("nosniff")},
	{"Referrer-Policy", "ASVS 5.0 3.4.5", true, required("no-referrer"),
		oneOf("no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin")},
	{"X-Frame-Options", oshp, true, required("DENY"), oneOf("deny", "sameorigin")},
	{"X-XSS-Protection", oshp, true, nil, oneOf("0")},
	{"Cross-Origin-Opener-Policy", "ASVS 5.0 3.4.8", true, required("same-origin"),
		oneOf("same-origin", "same-origin-allow-popups", "noopener-allow-popups")},
	{"Cross-Origin-Resource-Policy", "ASVS 5.0 3.5.8", true, required("same-origin"), oneOf("same-origin", "same-site", "cross-origin")},
	{"Permissions-Policy", oshp, true, required("denied features, for example camera=()"), nil},
	{"Cache-Control", "ASVS 5.0 14.3.2", true, func(j *judge) {
		if j.private() {
			j.missing("no-store on a response for one caller")
		}
	}, func(j *judge, value string) {
		if j.private() && !strings.Contains(strings.ToLower(value), "no-store") {
			j.weak(value, "no-store on a response for one caller")
		}
	}},
	{"Content-Type", "ASVS 5.0 4.1.1", true, func(j *judge) {
		if j.body {
			j.missing("the type of the body")
		}
	}, func(j *judge, value string) {
		if strings.HasPrefix(strings.ToLower(value), "text/") && !strings.Contains(strings.ToLower(value), "charset=") {
			j.weak(value, "it with a charset")
		}
	}},
	{"Access-Control-Allow-Origin", "ASVS 5.0 3.4.2", true, nil, allowOrigin},
	{"Access-Control-Allow-Credentials", "ASVS 5.0 3.4.2", true, nil, nil},
	{"Location", "ASVS 5.0 4.1.2", true, nil, func(j *judge, value string) {
		if j.secure && strings.HasPrefix(strings.ToLower(value), "http://") {
			j.weak(value, "https, or a path")
		}
	}},
	{"Server", "ASVS 5.0 13.4.6", false, nil, version},
	{"X-Powered-By", "ASVS 5.0 13.4.6", false, nil, leak},
	{"X-AspNet-Version", "ASVS 5.0 13.4.6", false, nil, leak},
	{"X-AspNetMvc-Version", "ASVS 5.0 13.4.6", false, nil, leak},
	{"X-Generator", "ASVS 5.0 13.4.6", false, nil, leak},
	{"X-Runtime", "ASVS 5.0 13.4.6", false, nil, leak},
}

// private reports whether the response is for one caller.
func (j *judge) private() bool {
	r := j.request
	return r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("X-Api-Key") != "" ||
		len(j.response.header["Set-Cookie"]) > 0
}

func leak(j *judge, value string) { j.find(Leak, fmt.Sprintf("it is %.100q; remove it", value)) }

func version(j *judge, value string) {
	if strings.ContainsAny(value, "0123456789") {
		j.find(Leak, fmt.Sprintf("it is %.100q; remove the version", value))
	}
}

const year = 365 * 24 * 60 * 60

func hsts(j *judge, value string) {
	if !j.secure {
		j.cite = "RFC 6797 7.2"
		j.weak(value, "it over https only")
		return
	}
	age, subdomains, preload := -1, false, false
	for part := range strings.SplitSeq(value, ";") {
		name, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch strings.ToLower(name) {
		case "max-age":
			if n, err := strconv.Atoi(strings.Trim(v, `"`)); err == nil {
				age = n
			}
		case "includesubdomains":
			subdomains = true
		case "preload":
			preload = true
		}
	}
	switch {
	case age < year:
		j.weak(value, "max-age=31536000 or more")
	case !subdomains && preload:
		j.weak(value, "includeSubDomains with preload")
	case !subdomains:
		j.weak(value, "includeSubDomains")
	}
}

// csp judges the enforced policy.
func csp(j *judge, value string) {
	policy := make(map[string][]string)
	for part := range strings.SplitSeq(value, ";") {
		words := strings.Fields(strings.ToLower(part))
		if len(words) == 0 {
			continue
		}
		if _, twice := policy[words[0]]; twice {
			j.weak(value, words[0]+" once; browsers ignore the second")
			continue
		}
		policy[words[0]] = words[1:]
	}
	directive := func(names ...string) ([]string, bool) {
		for _, name := range names {
			if sources, ok := policy[name]; ok {
				return sources, true
			}
		}
		return nil, false
	}
	if scripts, ok := directive("script-src", "default-src"); !ok {
		j.weak(value, "script-src or default-src")
	} else {
		script(j, value, scripts)
	}
	if objects, ok := directive("object-src", "default-src"); !ok || wide(objects) {
		j.weak(value, "object-src 'none'")
	}
	// A base is dangerous to scripts that are loaded by relative URLs.
	if base, ok := policy["base-uri"]; !ok || wide(base) {
		j.weak(value, "base-uri 'none'")
	}
	j.header, j.cite = "Content-Security-Policy frame-ancestors", "ASVS 5.0 3.4.6"
	if frames, ok := policy["frame-ancestors"]; !ok {
		j.missing("frame-ancestors 'none'")
	} else if wide(frames) {
		j.weak(value, "frame-ancestors 'none'")
	}
	j.header, j.cite = "Content-Security-Policy form-action", oshp
	if _, ok := policy["form-action"]; !ok {
		j.missing("form-action, which does not fall back to default-src")
	}
}

// script judges the sources of scripts.
func script(j *judge, value string, sources []string) {
	strict := slices.Contains(sources, "'strict-dynamic'")
	trusts := strict || slices.ContainsFunc(sources, func(s string) bool {
		return strings.HasPrefix(s, "'nonce-") || strings.HasPrefix(s, "'sha")
	})
	if slices.Contains(sources, "'unsafe-inline'") && !trusts {
		j.weak(value, "nonces or hashes in place of 'unsafe-inline'")
	}
	if slices.Contains(sources, "'unsafe-eval'") {
		j.weak(value, "scripts without 'unsafe-eval'")
	}
	if wide(sources) && !strict {
		j.weak(value, "hosts by name")
	}
	for _, s := range sources {
		switch s {
		case "self", "none", "unsafe-inline", "unsafe-eval", "strict-dynamic":
			j.weak(value, "'"+s+"' in quotation marks; this is the name of a host")
		}
	}
}

// wide reports whether an attacker can serve from one of the sources: every host, a
// scheme alone, or a wildcard under a single label.
func wide(sources []string) bool {
	return slices.ContainsFunc(sources, func(s string) bool {
		if strings.HasPrefix(s, "'") {
			return false
		}
		if strings.HasSuffix(s, ":") {
			return true
		}
		if _, rest, ok := strings.Cut(s, "://"); ok {
			s = rest
		}
		s, _, _ = strings.Cut(s, "/")
		s, _, _ = strings.Cut(s, ":")
		under, wild := strings.CutPrefix(s, "*.")
		return s == "*" || wild && !strings.Contains(under, ".") && under != "localhost"
	})
}

func allowOrigin(j *judge, value string) {
	origin := j.request.Header.Get("Origin")
	credentials := strings.EqualFold(j.response.header.Get("Access-Control-Allow-Credentials"), "true")
	vary := strings.ToLower(strings.Join(j.response.header["Vary"], ","))
	switch {
	case value == "*" && credentials:
		j.weak(value, "an origin by name with credentials; browsers reject *")
	case value == "*":
		if !slices.Contains(j.config.Origins, "*") {
			j.weak(value, "origins by name, or \"*\" in Config.Origins if every page may read")
		}
	case slices.Contains(strangers[:], value) && !slices.Contains(j.config.Origins, value):
		j.weak(value, "no such header for unknown origins")
	case value == origin && !strings.Contains(vary, "origin") && !strings.Contains(vary, "*"):
		j.weak(value, "it with Vary: Origin; otherwise caches serve it to other origins")
	case strings.ContainsAny(value, ", "):
		j.weak(value, "one origin")
	}
}
