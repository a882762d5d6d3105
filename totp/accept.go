package totp

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
)

const (
	mediaPNG  = "image/png"
	mediaSVG  = "image/svg+xml"
	mediaJSON = "application/json"
)

// maxRanges is how many ranges of an Accept header are looked at.
const maxRanges = 32

// negotiate returns the acceptable media type with the highest weight (RFC 9110
// section 12.5.1); of equal ones the first of PNG, SVG, JSON.
func negotiate(accept []string) (string, error) {
	ranges := strings.Split(strings.Join(accept, ","), ",")
	if len(ranges) > maxRanges {
		ranges = ranges[:maxRanges]
	}
	if len(accept) == 0 || strings.TrimSpace(strings.Join(accept, "")) == "" {
		return mediaPNG, nil
	}
	best, highest := "", 0.0
	for _, offer := range []string{mediaPNG, mediaSVG, mediaJSON} {
		if weight := weightOf(offer, ranges); weight > highest {
			best, highest = offer, weight
		}
	}
	if best == "" {
		return "", guard.NewDenial(http.StatusNotAcceptable, "not_acceptable",
			"This is available as image/png, image/svg+xml and application/json.",
			errors.New("totp: the Accept header allows none of the formats"))
	}
	return best, nil
}

// weightOf returns the weight of offer by the most specific of the ranges, 0 to 1.
func weightOf(offer string, ranges []string) float64 {
	kind, _, _ := strings.Cut(offer, "/")
	patterns := []string{"*/*", kind + "/*", offer} // from broad to specific
	specific, weight := -1, 0.0
	for _, r := range ranges {
		pattern, params, _ := strings.Cut(r, ";")
		at := slices.Index(patterns, strings.ToLower(strings.TrimSpace(pattern)))
		if at < 0 || at < specific {
			continue
		}
		q := 1.0
		for param := range strings.SplitSeq(params, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
			if !strings.EqualFold(name, "q") {
				continue
			}
			var err error
			if q, err = strconv.ParseFloat(value, 64); err != nil || !(q >= 0 && q <= 1) {
				q = 0
			}
		}
		specific, weight = at, q
	}
	return weight
}
