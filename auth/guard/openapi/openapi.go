package openapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
)

// A Config says how the authentication schemes of the ledger are named in the
// document.
type Config struct {
	// Schemes are the security schemes of the document. Each scheme by which a
	// route identifies callers needs at least one. Several with the same
	// Challenge are alternatives.
	Schemes []Scheme
}

// A Scheme is one entry of components.securitySchemes.
type Scheme struct {
	// Name is the key of the entry: letters, digits, dot, dash and underscore.
	Name string

	// Challenge is the authentication scheme in the ledger, which is that of
	// WWW-Authenticate: "Bearer", "ApiKey".
	Challenge string

	// Definition is the Security Scheme Object. It is marshaled as JSON.
	Definition map[string]any
}

// BearerToken returns the scheme of a bearer token that the client got elsewhere.
func BearerToken(name string) Scheme {
	return Scheme{name, "Bearer", map[string]any{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
}

// PasswordFlow returns the scheme of a bearer token that the client gets for a
// username and a password at tokenURL. Scopes are the names of the scopes with
// their descriptions. If refreshURL is empty, the scheme has none.
func PasswordFlow(name, tokenURL, refreshURL string, scopes map[string]string) Scheme {
	flow := map[string]any{"tokenUrl": tokenURL, "scopes": toAny(scopes)}
	if refreshURL != "" {
		flow["refreshUrl"] = refreshURL
	}
	return Scheme{name, "Bearer", map[string]any{"type": "oauth2", "flows": map[string]any{"password": flow}}}
}

// HeaderKey returns the scheme of a key in a header of its own.
func HeaderKey(name, challenge, header string) Scheme {
	return Scheme{name, challenge, map[string]any{"type": "apiKey", "in": "header", "name": header}}
}

func toAny(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for name, value := range m {
		out[name] = value
	}
	return out
}

// requirements is the name of the extension.
const requirements = "x-requirements"

// Merge returns document, an OpenAPI 3.1 document in JSON, completed by routes.
// It replaces the security of each operation that has a route, and keeps the
// responses and components that the document has. A path of the document may name
// its parameters otherwise than the pattern. A route without an operation gets one
// with a summary only. Members are in alphabetical order.
//
// The error names every mistake: a document that is not OpenAPI 3.1, a scheme of
// the ledger that Config.Schemes lacks, a pattern without a method for which the
// document has no operation.
func Merge(document []byte, routes []guard.Route, config Config) ([]byte, error) {
	doc, err := parse(document)
	if err != nil {
		return nil, err
	}
	errs := config.check()
	for _, route := range routes {
		errs = append(errs, config.checkRoute(route))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	components, err := object(doc, "components")
	if err != nil {
		return nil, err
	}
	schemes, err := object(components, "securitySchemes")
	if err != nil {
		return nil, err
	}
	for _, s := range config.Schemes {
		schemes[s.Name] = s.Definition
	}
	responses, errResponses := object(components, "responses")
	schemas, errSchemas := object(components, "schemas")
	paths, errPaths := object(doc, "paths")
	if err := errors.Join(errResponses, errSchemas, errPaths); err != nil {
		return nil, err
	}
	addMissing(schemas, map[string]any{"Problem": problem()})

	used := make(map[string]bool)
	for _, route := range routes {
		method, path := split(route.Pattern)
		path = written(paths, path)
		item, err := object(paths, path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found := operations(item)
		if method != "" {
			found = []string{method}
		}
		if len(found) == 0 {
			errs = append(errs, fmt.Errorf("openapi: the pattern %q has no method; the document needs an operation at %s", route.Pattern, path))
		}
		for _, name := range found {
			operation, err := object(item, name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			addMissing(operation, map[string]any{"summary": route.Pattern, "responses": map[string]any{}})
			if err := config.complete(operation, route, path, used); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for status := range used {
		addMissing(responses, map[string]any{refusals[status].name: refusals[status].object()})
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(doc); err != nil {
		return nil, fmt.Errorf("openapi: a Definition of Config.Schemes is not JSON: %w", err)
	}
	return out.Bytes(), nil
}

// complete adds to an operation what its route demands.
func (c Config) complete(operation map[string]any, route guard.Route, path string, used map[string]bool) error {
	operation["security"] = c.security(route)
	if list := demands(route); len(list) > 0 {
		operation[requirements] = list
	} else {
		delete(operation, requirements)
	}
	responses, err := object(operation, "responses")
	if err != nil {
		return fmt.Errorf("%w, at %s", err, path)
	}
	for _, status := range statuses(route) {
		if _, has := responses[status]; has {
			continue
		}
		responses[status] = map[string]any{"$ref": "#/components/responses/" + refusals[status].name}
		used[status] = true
	}
	return nil
}

// security returns the Security Requirement Objects of a route: alternatives, each
// a scheme with the scopes that it must have.
func (c Config) security(route guard.Route) []any {
	all := []any{}
	if isPublic(route) {
		return all
	}
	challenges := route.Schemes
	scopes := [][]string{nil}
	optional := false
	for _, q := range route.Requirements {
		switch q.Kind {
		case guard.KindOptional:
			optional = true
		case guard.KindScheme:
			challenges = q.Values
		case guard.KindScope:
			scopes = and(scopes, q)
		}
	}
	if optional {
		all = append(all, map[string]any{})
	}
	for _, s := range c.Schemes {
		if !slices.Contains(challenges, s.Challenge) {
			continue
		}
		for _, one := range scopes {
			list := make([]any, 0, len(one))
			for _, scope := range slices.Compact(slices.Sorted(slices.Values(one))) {
				list = append(list, scope)
			}
			all = append(all, map[string]any{s.Name: list})
		}
	}
	return all
}

// maxAlternatives bounds what demands for one of several scopes multiply to.
const maxAlternatives = 64

// and returns each of the alternatives with the scopes of one more demand.
func and(alternatives [][]string, q guard.Requirement) (out [][]string) {
	more := [][]string{q.Values}
	if q.Any {
		more = nil
		for _, scope := range q.Values {
			more = append(more, []string{scope})
		}
	}
	for _, one := range alternatives {
		for _, other := range more {
			if len(out) < maxAlternatives {
				out = append(out, slices.Concat(one, other))
			}
		}
	}
	return out
}

// demands returns the value of the extension: what is no scheme and no scope.
func demands(route guard.Route) []any {
	var all []any
	for _, q := range route.Requirements {
		switch q.Kind {
		case guard.KindCaller, guard.KindScheme:
			continue
		}
		one := map[string]any{"kind": string(q.Kind)}
		if len(q.Values) > 0 {
			values := make([]any, len(q.Values))
			for i, v := range q.Values {
				values[i] = v
			}
			one["values"] = values
		}
		if q.Any && len(q.Values) > 1 {
			one["any"] = true
		}
		if !slices.ContainsFunc(all, func(other any) bool { return reflect.DeepEqual(other, any(one)) }) {
			all = append(all, one)
		}
	}
	return all
}

// statuses returns with which refusals the guards of a route answer.
func statuses(route guard.Route) []string {
	found := make(map[string]bool)
	if !isPublic(route) {
		found["400"], found["401"], found["503"] = true, true, true // two credentials; none or a bad one; a store is down
	}
	for _, q := range route.Requirements {
		switch q.Kind {
		case guard.KindScope, guard.KindRole, guard.KindPermission, guard.KindCheck:
			found["403"] = true
		case guard.KindLimit:
			found["429"] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func isPublic(route guard.Route) bool {
	return slices.ContainsFunc(route.Requirements, func(q guard.Requirement) bool { return q.Kind == guard.KindPublic })
}

// A refusal is a response that the guards write.
type refusal struct {
	name, description string
	headers           []string
}

var refusals = map[string]refusal{
	"400": {"BadRequest", "The request is malformed, or has two credentials.", nil},
	"401": {"Unauthenticated", "There is no credential, or it is not valid, or a newer or stronger proof is needed.", []string{"WWW-Authenticate"}},
	"403": {"Forbidden", "The credential does not permit this.", []string{"WWW-Authenticate"}},
	"429": {"TooManyRequests", "The limit is reached.", []string{"Retry-After"}},
	"503": {"Unavailable", "The service cannot decide right now.", []string{"Retry-After"}},
}

func (f refusal) object() map[string]any {
	out := map[string]any{
		"description": f.description,
		"content": map[string]any{
			"application/problem+json": map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/Problem"}},
		},
	}
	if len(f.headers) > 0 {
		headers := make(map[string]any)
		for _, name := range f.headers {
			kind := "string"
			if name == "Retry-After" {
				kind = "integer"
			}
			headers[name] = map[string]any{"schema": map[string]any{"type": kind}}
		}
		out["headers"] = headers
	}
	return out
}

// problem is the schema of a refusal's body.
func problem() map[string]any {
	return map[string]any{
		"type":        "object",
		"description": "A refusal (RFC 9457).",
		"properties": map[string]any{
			"title":  map[string]any{"type": "string"},
			"status": map[string]any{"type": "integer"},
			"code":   map[string]any{"type": "string", "description": "What programs compare."},
			"detail": map[string]any{"type": "string"},
		},
		"required": []any{"title", "status"},
	}
}

// Diff returns in which ways document, a merged OpenAPI document, and routes
// differ: a line for each route without an operation, each operation without a
// route, and each operation whose security, extension or responses are not what
// Merge writes. It returns nil if there is no difference.
func Diff(document []byte, routes []guard.Route, config Config) ([]string, error) {
	doc, err := parse(document)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(config.check()...); err != nil {
		return nil, err
	}
	paths, err := object(doc, "paths")
	if err != nil {
		return nil, err
	}
	var lines []string
	seen := make(map[string]bool)
	for _, route := range routes {
		method, path := split(route.Pattern)
		path = written(paths, path)
		item, _ := paths[path].(map[string]any)
		found := operations(item)
		if method != "" {
			found = slices.DeleteFunc(found, func(name string) bool { return name != method })
		}
		if len(found) == 0 {
			lines = append(lines, fmt.Sprintf("%s: a route without an operation in the document", route.Pattern))
		}
		for _, name := range found {
			where := strings.ToUpper(name) + " " + path
			seen[where] = true
			operation, _ := item[name].(map[string]any)
			if got, want := canonical(operation["security"]), canonical(config.security(route)); got != want {
				lines = append(lines, fmt.Sprintf("%s: security is %s in the document, %s in the ledger", where, got, want))
			}
			if got, want := canonical(operation[requirements]), canonical(demands(route)); got != want && !(got == "null" && want == "null") {
				lines = append(lines, fmt.Sprintf("%s: %s is %s in the document, %s in the ledger", where, requirements, got, want))
			}
			responses, _ := operation["responses"].(map[string]any)
			for _, status := range statuses(route) {
				if _, has := responses[status]; !has {
					lines = append(lines, fmt.Sprintf("%s: no response %s in the document", where, status))
				}
			}
		}
	}
	for path, value := range paths {
		item, _ := value.(map[string]any)
		for _, name := range operations(item) {
			if where := strings.ToUpper(name) + " " + path; !seen[where] {
				lines = append(lines, fmt.Sprintf("%s: an operation without a route", where))
			}
		}
	}
	slices.Sort(lines)
	return lines, nil
}

// canonical returns a value as JSON, members in alphabetical order.
func canonical(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// check returns what is wrong with the schemes.
func (c Config) check() (errs []error) {
	seen := make(map[string]bool)
	for i, s := range c.Schemes {
		at := "openapi: Config.Schemes[" + strconv.Itoa(i) + "]"
		if s.Name == "" || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			errs = append(errs, fmt.Errorf("%s.Name is %q; use letters, digits, dot, dash and underscore", at, s.Name))
		}
		if seen[s.Name] {
			errs = append(errs, fmt.Errorf("%s.Name is %q a second time; name each scheme once", at, s.Name))
		}
		seen[s.Name] = true
		if s.Challenge == "" {
			errs = append(errs, fmt.Errorf("%s.Challenge is empty; use the scheme in the ledger, such as Bearer", at))
		}
		if s.Definition == nil {
			errs = append(errs, fmt.Errorf("%s.Definition is nil; use BearerToken, PasswordFlow, HeaderKey or a Security Scheme Object", at))
		}
	}
	return errs
}

// checkRoute returns an error for a route whose callers the document could not
// describe: without a scheme it would read as a public one.
func (c Config) checkRoute(route guard.Route) error {
	if isPublic(route) {
		return nil
	}
	challenges := route.Schemes
	for _, q := range route.Requirements {
		if q.Kind == guard.KindScheme {
			challenges = q.Values
		}
	}
	if len(challenges) == 0 {
		return fmt.Errorf("openapi: the route %q is guarded and its ledger has no scheme; give the authenticators to guard.NewMux, or set Route.Schemes", route.Pattern)
	}
	for _, challenge := range challenges {
		if !slices.ContainsFunc(c.Schemes, func(s Scheme) bool { return s.Challenge == challenge }) {
			return fmt.Errorf("openapi: Config.Schemes has none with the Challenge %q, which the route %q accepts; add one", challenge, route.Pattern)
		}
	}
	return nil
}

// parse reads an OpenAPI 3.1 document.
func parse(document []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var doc map[string]any
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("openapi: the document is not a JSON object: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("openapi: the document has something after its end; want one JSON object")
	}
	version, _ := doc["openapi"].(string)
	if !strings.HasPrefix(version, "3.1.") {
		return nil, fmt.Errorf("openapi: the document has the version %q; use 3.1.0 or 3.1.1", version)
	}
	return doc, nil
}

// object returns the member of parent, which is made if it is missing.
func object(parent map[string]any, name string) (map[string]any, error) {
	value, has := parent[name]
	if !has {
		made := make(map[string]any)
		parent[name] = made
		return made, nil
	}
	child, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("openapi: %q in the document is a %T; want an object", name, value)
	}
	return child, nil
}

func addMissing(to, from map[string]any) {
	for name, value := range from {
		if _, has := to[name]; !has {
			to[name] = value
		}
	}
}

// methods are the members of a Path Item Object that are operations.
var methods = []string{"delete", "get", "head", "options", "patch", "post", "put", "trace"}

// operations returns the methods for which a path has an operation.
func operations(item map[string]any) (found []string) {
	for _, method := range methods {
		if _, has := item[method]; has {
			found = append(found, method)
		}
	}
	return found
}

// written returns the path of the document that differs from path in the names of
// its parameters only, and path if there is none. OpenAPI permits one such path,
// net/http any number.
func written(paths map[string]any, path string) string {
	if _, has := paths[path]; has {
		return path
	}
	for other := range paths {
		if shape(other) == shape(path) {
			return other
		}
	}
	return path
}

// shape returns a path without the names of its parameters.
func shape(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// split returns the method of a pattern of net/http, in lower case and empty if
// the pattern has none, and its path as OpenAPI has it.
func split(pattern string) (method, path string) {
	if before, after, ok := strings.Cut(pattern, " "); ok {
		method, pattern = strings.ToLower(before), strings.TrimLeft(after, " \t")
	}
	if i := strings.IndexByte(pattern, '/'); i > 0 {
		pattern = pattern[i:] // the host is in servers
	}
	pattern = strings.TrimSuffix(pattern, "{$}")
	return method, strings.ReplaceAll(pattern, "...}", "}")
}
