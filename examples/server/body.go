package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
)

// maxBody is the largest JSON body that is read, in bytes.
const maxBody = 16 << 10

// readJSON reads one JSON object, the values of its members into what members
// has for their names. It refuses with 400 what encoding/json alone accepts: a
// member twice, in another case or unknown, anything after the object, anything
// that is not UTF-8. What checks the body in front of this server would
// otherwise see another user than the server does. The refusal names the member
// and the type that it should have.
//
// A client that takes long to send the body may have been signed out meanwhile,
// so the caller is checked once more.
func (a *app) readJSON(w http.ResponseWriter, r *http.Request, members map[string]any) error {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") || r.Header.Get("Content-Encoding") != "" {
		return &guard.Denial{Status: http.StatusUnsupportedMediaType, Code: guard.CodeInvalidRequest, Detail: "The body must be application/json."}
	}
	if r.ContentLength > maxBody {
		return &http.MaxBytesError{Limit: maxBody}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return err
		}
		return guard.InvalidRequest("The body cannot be read.", err)
	}
	if wrong := decodeObject(body, members); wrong != "" {
		return guard.InvalidRequest(wrong, nil)
	}
	return a.stillThere(r.Context())
}

// decodeObject decodes the members of one object, and returns a sentence for the
// client if it cannot.
func decodeObject(body []byte, members map[string]any) (wrong string) {
	names := strings.Join(slices.Sorted(maps.Keys(members)), ", ")
	malformed := fmt.Sprintf("The body must be one JSON object in UTF-8, with these members: %s.", names)
	if !utf8.Valid(body) {
		return malformed
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if begin, err := decoder.Token(); err != nil || begin != json.Delim('{') {
		return malformed
	}
	seen := make(map[string]bool)
	for decoder.More() {
		token, err := decoder.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return malformed
		}
		var text json.RawMessage
		if decoder.Decode(&text) != nil {
			return malformed
		}
		value, known := members[name]
		switch {
		case !known:
			return fmt.Sprintf("The body has the member %.40q; it may have these: %s.", name, names)
		case seen[name]:
			return fmt.Sprintf("The body has the member %s twice.", name)
		}
		seen[name] = true
		if wrong := decodeMember(name, text, value); wrong != "" {
			return wrong
		}
	}
	if _, err := decoder.Token(); err != nil {
		return malformed
	}
	if _, err := decoder.Token(); err != io.EOF {
		return malformed
	}
	return ""
}

// decodeMember decodes one value. A member that is null is refused: it would be
// as if it had been left out.
func decodeMember(name string, text json.RawMessage, value any) (wrong string) {
	wanted := "of another type"
	switch value.(type) {
	case *string:
		wanted = "a string"
	case *int64:
		wanted = "a whole number"
	case *bool:
		wanted = "true or false"
	case *[]string:
		wanted = "an array of strings"
	case *[]netip.Prefix:
		wanted = `an array of networks in CIDR notation, as "192.0.2.0/24"`
	}
	// Null in an array would be an empty string.
	var elements []json.RawMessage
	null := string(text) == "null"
	if json.Unmarshal(text, &elements) == nil {
		null = null || slices.ContainsFunc(elements, func(e json.RawMessage) bool { return string(e) == "null" })
	}
	if null || json.Unmarshal(text, value) != nil {
		return fmt.Sprintf("The member %s must be %s.", name, wanted)
	}
	return ""
}
