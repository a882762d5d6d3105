package headers

import (
	"net/http"
	"path"
	"strings"

	"github.com/gatewright/gatewright/internal/mistakes"
)

// exempt has paths that a middleware ignores: "/healthz" is one path, "/public/"
// everything under it.
type exempt []string

func newExempt(p *mistakes.List, field string, paths []string) exempt {
	for i, s := range paths {
		switch {
		case !strings.HasPrefix(s, "/") || !isPlain(s) || strings.ContainsAny(s, "%?#*{}"):
			p.Bad(mistakes.At(field, i), s, `a path, for example "/healthz", or "/public/" for everything under it`)
		case s == "/":
			p.Bad(mistakes.At(field, i), s, "other paths; this exempts all")
		case !isClean(s):
			p.Bad(mistakes.At(field, i), s, path.Clean(s))
		}
	}
	return append(exempt(nil), paths...)
}

// has reports whether r is for one of the paths. It returns false for paths that a
// router could read differently, with dots or an escaped slash.
func (e exempt) has(r *http.Request) bool {
	if len(e) == 0 || r.URL.RawPath != "" || !isClean(r.URL.Path) {
		return false
	}
	for _, s := range e {
		if r.URL.Path == s || strings.HasSuffix(s, "/") && strings.HasPrefix(r.URL.Path, s) {
			return true
		}
	}
	return false
}

func isClean(s string) bool {
	clean := path.Clean(s)
	return s == clean || s == clean+"/"
}
