package httpfield

import (
	"net/http"
	"strings"
)

// Cookie returns the value of the first cookie of r with the given name, and how many
// there are. Unlike [http.Request.CookiesNamed] it neither skips malformed cookies nor
// removes quotes, so that a bad credential does not count as a missing one.
func Cookie(r *http.Request, name string) (value string, n int) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			given, v, _ := strings.Cut(strings.Trim(pair, " \t\r\n"), "=")
			if strings.TrimRight(given, " \t\r\n") != name {
				continue
			}
			if n == 0 {
				value = v
			}
			n++
		}
	}
	return value, n
}
