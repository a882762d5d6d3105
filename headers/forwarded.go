package headers

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gatewright/gatewright/internal/httpfield"
)

// A hop is the information of one proxy about the request that it received.
type hop struct {
	client       netip.AddrPort
	scheme, host string // empty if unknown
	more         bool   // another proxy seems to precede the last counted one
}

// Errors of reading a header of a trusted proxy, without its value, which may be long.
var (
	errEmptyElement = errors.New("an element is empty")
	errNoAddress    = errors.New("the client's address is withheld")
	errAddress      = errors.New("the client's address is malformed")
	errNoPort       = errors.New("the client's address is not followed by a port")
)

// fromRight calls yield with the elements of a list over several lines, last one
// first, until yield returns false. It makes no slice, because of thousands of
// elements only the last few may be needed.
func fromRight(lines []string, yield func(element string) bool) {
	for i := len(lines) - 1; i >= 0; i-- {
		rest := lines[i]
		for {
			comma := strings.LastIndexByte(rest, ',')
			if !yield(httpfield.TrimOWS(rest[comma+1:])) {
				return
			}
			if comma < 0 {
				break
			}
			rest = rest[:comma]
		}
	}
}

// parseNode reads an address with or without a port, IPv6 with or without brackets. It
// returns IPv4 for an IPv4 address in IPv6 notation.
func parseNode(s string) (netip.AddrPort, error) {
	switch {
	case s == "":
		return netip.AddrPort{}, errEmptyElement
	case len(s) > len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535"):
		return netip.AddrPort{}, errAddress
	case strings.EqualFold(s, "unknown") || s[0] == '_': // RFC 7239 section 6
		return netip.AddrPort{}, errNoAddress
	}
	addr, port := s, ""
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return netip.AddrPort{}, errAddress
		}
		addr, port = s[1:end], s[end+1:]
		if strings.IndexByte(addr, ':') < 0 {
			return netip.AddrPort{}, errAddress
		}
	} else if i := strings.IndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i+1:], ':') < 0 {
		addr, port = s[:i], s[i:]
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return netip.AddrPort{}, errAddress
	}
	n, ok := parsePort(port)
	if !ok && port != ":0" {
		return netip.AddrPort{}, errAddress
	}
	return netip.AddrPortFrom(a.Unmap(), n), nil
}

// parseNodeWithPort reads an address that is always followed by a port, also IPv6
// without brackets.
func parseNodeWithPort(s string) (netip.AddrPort, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return netip.AddrPort{}, errNoPort
	}
	addr := s[:i]
	if strings.HasPrefix(addr, "[") != strings.HasSuffix(addr, "]") || strings.HasPrefix(addr, "[[") {
		return netip.AddrPort{}, errAddress
	}
	a, err := parseNode(strings.Trim(addr, "[]"))
	if err != nil || a.Port() != 0 {
		return netip.AddrPort{}, errAddress
	}
	n, ok := parsePort(s[i:])
	if !ok {
		return netip.AddrPort{}, errNoPort
	}
	return netip.AddrPortFrom(a.Addr(), n), nil
}

// maxForwarded bounds a Forwarded header in bytes. It is read from the left because of
// its quotation marks.
const maxForwarded = 4096

// parseForwarded reads a Forwarded header (RFC 7239 section 4). Elements do
// not reach over lines, and a quotation mark that is not closed on its line
// makes all of it unreadable: it could have been put there to swallow what the
// proxy appended.
func parseForwarded(lines []string) ([]element, error) {
	size := 0
	var all []element
	for _, line := range lines {
		if size += len(line); size > maxForwarded {
			return nil, fmt.Errorf("it has more than %d bytes", maxForwarded)
		}
		s := scanner{line}
		for {
			e, err := s.element()
			if err != nil {
				return nil, err
			}
			all = append(all, e)
			if s.rest == "" {
				break
			}
			s.rest = s.rest[1:] // the comma
		}
	}
	return all, nil
}

// An element has the parameters of one hop, unquoted.
type element struct{ node, proto, host string }

// hop returns e as a hop.
func (e element) hop() (hop, error) {
	// IPv6 requires brackets here (RFC 7239 section 6).
	if strings.Count(e.node, ":") > 1 && e.node[0] != '[' {
		return hop{}, errAddress
	}
	node := e.node
	if i := strings.LastIndex(node, ":_"); i > 0 && isObfuscated(node[i+2:]) {
		node = node[:i] // an obfuscated port
	}
	client, err := parseNode(node)
	return hop{client: client, scheme: e.proto, host: e.host}, err
}

func isObfuscated(s string) bool {
	for i := range len(s) {
		if !httpfield.IsAlnum(s[i]) && s[i] != '.' && s[i] != '_' && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

type scanner struct{ rest string }

var errPair = errors.New("a parameter is malformed")

// element reads up to a comma or the end.
func (s *scanner) element() (e element, err error) {
	seen := 0
	for {
		s.rest = strings.TrimLeft(s.rest, " \t")
		if seen == 0 && (s.rest == "" || s.rest[0] == ',') {
			return e, errEmptyElement
		}
		name, value, err := s.pair()
		if err != nil {
			return e, err
		}
		seen++
		var to *string
		switch lower(name) {
		case "for":
			to = &e.node
		case "proto":
			to = &e.proto
		case "host":
			to = &e.host
		}
		if to != nil {
			if *to != "" {
				return e, errors.New("a parameter occurs twice in one element")
			}
			if value == "" {
				return e, errPair
			}
			*to = value
		}
		s.rest = strings.TrimLeft(s.rest, " \t")
		switch {
		case s.rest == "" || s.rest[0] == ',':
			return e, nil
		case s.rest[0] != ';':
			return e, errPair
		}
		s.rest = s.rest[1:]
	}
}

// pair reads name=token or name="quoted string".
func (s *scanner) pair() (name, value string, err error) {
	name, s.rest = token(s.rest)
	if name == "" || s.rest == "" || s.rest[0] != '=' {
		return "", "", errPair
	}
	s.rest = s.rest[1:]
	if s.rest == "" || s.rest[0] != '"' {
		// Colons and brackets require quotes, but are often unquoted. They
		// are accepted, because the meaning is clear.
		end := 0
		for end < len(s.rest) && (httpfield.IsTokenByte(s.rest[end]) || strings.IndexByte(":[]", s.rest[end]) >= 0) {
			end++
		}
		value, s.rest = s.rest[:end], s.rest[end:]
		return name, value, nil
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return name, b.String(), nil
		case c == '\\' && i+1 < len(s.rest):
			i++
			b.WriteByte(s.rest[i])
		case c < ' ' && c != '\t' || c == 127:
			return "", "", errPair
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("a quotation mark is not closed")
}

func token(s string) (token, rest string) {
	end := 0
	for end < len(s) && httpfield.IsTokenByte(s[end]) {
		end++
	}
	return s[:end], s[end:]
}
