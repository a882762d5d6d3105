package totp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
)

// maxBody is the largest body that is read, in bytes.
const maxBody = 4 << 10

// member is the one name in a body.
const member = "code"

// readCode reads the code in the body of r. An empty body has none, which is a
// mistake if it is required.
func readCode(w http.ResponseWriter, r *http.Request, required bool) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || query.Has(member) {
		return "", badRequest("The code belongs into the body, not into the URL.")
	}
	if r.ContentLength > maxBody {
		// Without reading it: the server closes the connection.
		return "", &http.MaxBytesError{Limit: maxBody}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return "", err
		}
		return "", badRequest("The body cannot be read.")
	}
	if len(body) == 0 {
		if required {
			return "", badRequest("The code is missing.")
		}
		return "", nil
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || len(r.Header["Content-Type"]) > 1 || r.Header.Get("Content-Encoding") != "" ||
		charset != "" && !strings.EqualFold(charset, "utf-8") {
		media = ""
	}
	var code string
	switch media {
	case mediaJSON:
		code, err = readJSON(body)
	case "application/x-www-form-urlencoded":
		code, err = readForm(body)
	default:
		return "", &guard.Denial{
			Status: http.StatusUnsupportedMediaType,
			Code:   guard.CodeInvalidRequest,
			Detail: "The body must be application/json or application/x-www-form-urlencoded.",
			Err:    errors.New("totp: unsupported media type"),
		}
	}
	if err != nil {
		return "", badRequest("The body must have the code and nothing else.")
	}
	return code, nil
}

// errBody quotes nothing of the body, which may have a code in it.
var errBody = errors.New("totp: malformed body")

// readJSON reads an object with the one member code, once, whose value is a
// string. What encoding/json forgives is refused: names in other cases,
// duplicates, null, and whatever follows.
func readJSON(body []byte) (string, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return "", errBody
	}
	d := json.NewDecoder(bytes.NewReader(body))
	tokens := make([]json.Token, 0, 4)
	for range cap(tokens) {
		t, err := d.Token()
		if err != nil {
			return "", errBody
		}
		tokens = append(tokens, t)
	}
	code, ok := tokens[2].(string)
	if !ok || code == "" || tokens[0] != json.Delim('{') || tokens[1] != member || tokens[3] != json.Delim('}') {
		return "", errBody
	}
	return code, nil
}

func readForm(body []byte) (string, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil || len(values) != 1 || len(values[member]) != 1 {
		return "", errBody
	}
	code := values.Get(member)
	if code == "" || !utf8.ValidString(code) {
		return "", errBody
	}
	return code, nil
}

func badRequest(detail string) error {
	return guard.InvalidRequest(detail, errors.New("totp: "+detail))
}

const (
	mediaPNG  = "image/png"
	mediaSVG  = "image/svg+xml"
	mediaJSON = "application/json"
)

// maxRanges is how many ranges of an Accept header are looked at.
const maxRanges = 32

// negotiate returns the media type for the values of Accept (RFC 9110 section
// 12.5.1): of those that are acceptable the one with the highest weight, and of
// several with that the first of PNG, SVG, JSON.
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
		return "", &guard.Denial{
			Status: http.StatusNotAcceptable,
			Code:   codeNotAcceptable,
			Detail: "This is available as image/png, image/svg+xml and application/json.",
			Err:    errors.New("totp: nothing that the client accepts"),
		}
	}
	return best, nil
}

// weightOf returns the weight that the most specific of the ranges gives to
// offer, 0 to 1.
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
