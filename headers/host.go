package headers

import (
	"net/netip"
	"strconv"
	"strings"
)

// A host is the value of a Host header or the host of an origin.
type host struct {
	name string // without port and trailing dot, in its original case; IPv6 in brackets, canonical
	port uint16 // zero: none
	dot  bool   // the name ended in a dot
	ip   bool   // the name is an address
}

// maxHost is the length of the longest Host: a name of 253 bytes (255 on the wire, RFC
// 1035 section 2.3.4), its dot, and a port.
const maxHost = 253 + len(".") + len(":65535")

// parseHost reads "name", "name:port", "192.0.2.1" or "[2001:db8::1]:port". It is
// stricter than RFC 3986 and rejects hosts that two parsers could read differently:
// userinfo, zones, percent-encoding, an empty port, unusual IPv4 notations.
func parseHost(s string) (h host, ok bool) {
	if len(s) == 0 || len(s) > maxHost {
		return host{}, false
	}
	if s[0] == '[' {
		return parseIPv6(s)
	}
	end := len(s)
	label := 0      // start of the current label
	number := false // whether it has only digits so far
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			if i == label {
				number = true
			}
			continue
		case 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_':
			number = false
			continue
		case c == '-' && i > label:
			number = false
			continue
		case c == '.':
			if !labelEnds(s, label, i) {
				return host{}, false
			}
			if i+1 < len(s) && s[i+1] != ':' {
				label = i + 1
				continue
			}
			h.dot = true
			end = i
		case c == ':':
			if !labelEnds(s, label, i) {
				return host{}, false
			}
			end = i
		default:
			return host{}, false
		}
		break
	}
	if end == len(s) && !labelEnds(s, label, end) {
		return host{}, false
	}
	h.name = s[:end]
	if len(h.name) > 253 {
		return host{}, false
	}
	rest := s[end:]
	if h.dot {
		rest = rest[1:]
	}
	if number || isHex(h.name[label:]) {
		// To browsers, a host that ends in a number is an IPv4 address, also
		// 127.1 and 0x7f.1 (URL Standard, "ends in a number").
		addr, err := netip.ParseAddr(h.name)
		if err != nil || !addr.Is4() || h.dot {
			return host{}, false
		}
		h.ip = true
	}
	h.port, ok = parsePort(rest)
	return h, ok
}

// labelEnds reports whether s[from:to] is a valid label.
func labelEnds(s string, from, to int) bool {
	return to > from && to-from <= 63 && s[to-1] != '-'
}

func isHex(label string) bool {
	if len(label) < 2 || label[0] != '0' || label[1]|0x20 != 'x' {
		return false
	}
	for i := 2; i < len(label); i++ {
		c := label[i]
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

func parseIPv6(s string) (h host, ok bool) {
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return host{}, false
	}
	addr, err := netip.ParseAddr(s[1:end])
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return host{}, false
	}
	h.ip = true
	h.name = s[:end+1]
	if canonical := addr.String(); canonical != s[1:end] {
		h.name = "[" + canonical + "]"
	}
	h.port, ok = parsePort(s[end+1:])
	return h, ok
}

// parsePort reads "" or ":443".
func parsePort(s string) (port uint16, ok bool) {
	if s == "" {
		return 0, true
	}
	if s[0] != ':' || len(s) < 2 || s[1] == '0' || s[1] == '+' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[1:], 10, 16)
	if err != nil {
		return 0, false
	}
	return uint16(n), true
}

// lower returns s in ASCII lower case.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// suffixes calls match with the part after each dot of name, longest first, until
// match returns true: "a.b.c" has "b.c" and "c".
func suffixes(name string, match func(suffix string) bool) bool {
	for {
		i := strings.IndexByte(name, '.')
		if i < 0 {
			return false
		}
		name = name[i+1:]
		if match(name) {
			return true
		}
	}
}

// isLoopback reports whether name is this machine to every browser.
func isLoopback(name string) bool {
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && addr.IsLoopback()
}

// isASCII reports whether s has only ASCII bytes.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] > 127 {
			return false
		}
	}
	return true
}

// isShared reports whether registration directly under suffix is open. It has common
// names only, not the Public Suffix List, which changes weekly and would be a
// dependency.
func isShared(suffix string) bool {
	switch suffix {
	case "github.io", "githubusercontent.com", "gitlab.io", "bitbucket.io", "codeberg.page", "github.dev", "gitpod.io",
		"herokuapp.com", "vercel.app", "now.sh", "netlify.app", "netlify.com", "pages.dev", "workers.dev", "r2.dev",
		"trycloudflare.com", "fly.dev", "onrender.com", "railway.app", "up.railway.app", "deno.dev", "surge.sh",
		"web.app", "firebaseapp.com", "appspot.com", "run.app", "a.run.app", "cloudfunctions.net",
		"azurewebsites.net", "azurestaticapps.net", "cloudapp.net", "blob.core.windows.net", "web.core.windows.net",
		"azureedge.net", "azurefd.net", "trafficmanager.net", "cloudfront.net", "amazonaws.com", "s3.amazonaws.com",
		"elasticbeanstalk.com", "amplifyapp.com", "awsapprunner.com", "lambda-url.us-east-1.on.aws", "on.aws",
		"digitaloceanspaces.com", "ondigitalocean.app", "linodeobjects.com", "fastly.net", "edgekey.net",
		"blogspot.com", "wordpress.com", "wixsite.com", "weebly.com", "webflow.io", "myshopify.com", "tumblr.com",
		"glitch.me", "repl.co", "replit.app", "replit.dev", "codesandbox.io", "csb.app", "stackblitz.io",
		"webcontainer.io", "ngrok.io", "ngrok.app", "ngrok-free.app", "ngrok.dev", "loca.lt", "localhost.run",
		"duckdns.org", "no-ip.org", "ddns.net", "dyndns.org", "sslip.io", "nip.io", "readthedocs.io", "gitbook.io",
		"streamlit.app", "hf.space", "lovable.app", "bolt.host", "framer.app", "notion.site", "zendesk.com",
		"co.uk", "org.uk", "gov.uk", "ac.uk", "me.uk", "ltd.uk", "com.au", "net.au", "org.au", "co.nz", "co.jp",
		"ne.jp", "or.jp", "com.br", "com.mx", "com.ar", "com.tr", "com.cn", "com.tw", "com.hk", "com.sg", "co.in",
		"co.kr", "co.za", "co.il", "co.id", "co.th", "com.my", "com.ua", "com.pl", "uk.com", "us.com", "eu.com",
		"de.com", "br.com", "eu.org":
		return true
	}
	return false
}

// isPlain reports whether s is visible ASCII without spaces.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
