package body

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/strictjson"
)

// Members returns the members of the body of r, all strings: a JSON object, or a
// form, application/x-www-form-urlencoded or multipart/form-data. An empty body
// has no members, whatever its Content-Type. Another Content-Type is 415, more
// than limit bytes are 413, and every other mistake is 400, with the name of the
// member: a member that is not among names, occurs twice, is no string, or stands
// in the URL, which ends up in logs.
func Members(w http.ResponseWriter, r *http.Request, limit int64, names ...string) (map[string]string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("The query cannot be read.")
	}
	for _, name := range names {
		if query.Has(name) {
			return nil, invalid("The member %s belongs into the body, not into the URL.", name)
		}
	}
	b, err := Read(w, r, limit)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return map[string]string{}, nil
	}
	types := r.Header["Content-Type"]
	media, params := "", map[string]string(nil)
	if len(types) == 1 && r.Header.Get("Content-Encoding") == "" {
		media, params, _ = mime.ParseMediaType(types[0])
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		media = ""
	}
	f := fields{make(map[string]string), names}
	switch media {
	case "application/json":
		return f.values, f.readJSON(b)
	case "application/x-www-form-urlencoded":
		return f.values, f.readForm(b)
	case "multipart/form-data":
		return f.values, f.readMultipart(b, params["boundary"])
	}
	return nil, guard.UnsupportedMediaType(fmt.Errorf("the Content-Type is %.100q", types),
		"application/json", "application/x-www-form-urlencoded", "multipart/form-data")
}

type fields struct {
	values map[string]string
	names  []string
}

// add adds a member. name is what the client sent, so no error repeats it.
func (f fields) add(name, value string) error {
	_, twice := f.values[name]
	switch {
	case !slices.Contains(f.names, name) && len(f.names) == 0:
		return invalid("The body must be empty.")
	case !slices.Contains(f.names, name):
		return invalid("The body may have these members and no others: %s.", strings.Join(f.names, ", "))
	case twice:
		return invalid("The member %s occurs twice.", name)
	case !utf8.ValidString(value):
		return invalid("The member %s must be UTF-8.", name)
	}
	f.values[name] = value
	return nil
}

func (f fields) readJSON(b []byte) error {
	err := strictjson.Object(string(b), f.names, func(name string, v strictjson.Value) error {
		text, ok := v.Text()
		if !ok {
			return invalid("The member %s must be a string, in quotation marks.", name)
		}
		return f.add(name, text)
	})
	switch {
	case errors.Is(err, strictjson.ErrDuplicate):
		return invalid("A member occurs twice, or its name is not written in small letters.")
	case errors.Is(err, strictjson.ErrSyntax):
		return invalid("The body must be a JSON object in UTF-8.")
	case err != nil:
		return err
	}
	// strictjson ignores members that are not in its list.
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return invalid("The body must be a JSON object in UTF-8.")
	}
	for name := range all {
		if _, known := f.values[name]; !known {
			return f.add("", "")
		}
	}
	return nil
}

func (f fields) readForm(b []byte) error {
	values, err := url.ParseQuery(string(b))
	if err != nil {
		return invalid("The body is not a form.")
	}
	for name, all := range values {
		for _, value := range all {
			if err := f.add(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f fields) readMultipart(b []byte, boundary string) error {
	parts := multipart.NewReader(bytes.NewReader(b), boundary)
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return invalid("The body is not a form.")
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return invalid("The body is not a form.")
		}
		if part.FileName() != "" {
			return invalid("The form must not have files.")
		}
		if err := f.add(part.FormName(), string(value)); err != nil {
			return err
		}
	}
}

func invalid(format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	return guard.InvalidRequest(detail, errors.New(detail))
}
