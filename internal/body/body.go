// Package body reads small request bodies, so that every handler has the same
// bounds and the same refusals.
package body

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/strictjson"
)

// JSON returns the body of r, which must have the Content-Type application/json.
// Its errors are refusals: 415 for another Content-Type or two of them, 413 if
// the body has more than limit bytes, at once if Content-Length declares so, and
// 400 if the body ends early.
func JSON(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if types := r.Header["Content-Type"]; mediaType(types) != "application/json" {
		return nil, guard.UnsupportedMediaType(fmt.Errorf("the Content-Type is %.100q", types), "application/json")
	}
	return Read(w, r, limit)
}

// mediaType returns the media type of the one Content-Type, or "".
func mediaType(types []string) string {
	if len(types) != 1 {
		return ""
	}
	media, _, err := mime.ParseMediaType(types[0])
	if err != nil {
		return ""
	}
	return media
}

// Read returns the body of r with any Content-Type. Its errors are a 413 or a 400
// as in [JSON].
func Read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		// The rest is not read: the client may be slow to send it.
		w.Header().Set("Connection", "close")
		return nil, tooLarge(limit)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, guard.InvalidRequest("The request body could not be read.", err)
	}
	return b, nil
}

func tooLarge(limit int64) error {
	return guard.TooLarge(fmt.Errorf("the body has more than %d bytes", limit))
}

// Fields returns the members of a JSON object, or the fields of a form, with the
// given names. Missing ones are absent. Its errors are refusals: those of [JSON],
// and 400 if a JSON member is not a string or any field occurs twice. A form whose
// fields stand in the URL instead is empty.
func Fields(w http.ResponseWriter, r *http.Request, limit int64, names ...string) (map[string]string, error) {
	types := r.Header["Content-Type"]
	media := mediaType(types)
	form := media == "application/x-www-form-urlencoded"
	if !form && media != "application/json" {
		return nil, guard.UnsupportedMediaType(fmt.Errorf("the Content-Type is %.100q", types), "application/json", "application/x-www-form-urlencoded")
	}
	b, err := Read(w, r, limit)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	if !form {
		err := strictjson.Object(string(b), names, func(name string, v strictjson.Value) (err error) {
			text, ok := v.Text()
			if !ok {
				return fmt.Errorf("the member %s is not a string", name)
			}
			fields[name] = text
			return nil
		})
		if err != nil {
			return nil, guard.InvalidRequest("The body must be a JSON object with strings: "+strings.Join(names, ", ")+".", err)
		}
		return fields, nil
	}
	values, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, guard.InvalidRequest("The form is malformed.", err)
	}
	for _, name := range names {
		switch v := values[name]; len(v) {
		case 0:
		case 1:
			fields[name] = v[0]
		default:
			return nil, guard.InvalidRequest("The field "+name+" occurs twice.", fmt.Errorf("the field %s occurs %d times", name, len(v)))
		}
	}
	return fields, nil
}
