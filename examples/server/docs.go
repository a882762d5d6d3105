package main

import (
	"bytes"
	_ "embed"
	htmltemplate "html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	swagger "github.com/swaggo/files/v2"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/guard/openapi"
	"github.com/gatewright/gatewright/headers"
)

// The documents for programs and people: /openapi.json, and /docs/, where the
// routes can be tried out.

// openapiFile is what the ledger does not know: summaries, bodies, examples. What
// guards demand is not in it.
//
//go:embed openapi.json
var openapiFile []byte

// scopeNames are the scopes of the server, for people who choose them.
var scopeNames = map[string]string{
	"read:items":  "Read items",
	"write:items": "Write items; implies read:items",
	"admin":       "Administer users",
	"introspect":  "Introspect tokens",
}

// openapiConfig names the schemes of the ledger.
var openapiConfig = openapi.Config{Schemes: []openapi.Scheme{
	openapi.PasswordFlow("password", "/token", "/token/refresh", scopeNames),
	openapi.HeaderKey("key", "ApiKey", "X-API-Key"),
	{Name: "cookie", Challenge: "Cookie", Definition: map[string]any{"type": "apiKey", "in": "cookie", "name": "__Host-access_token"}},
}}

// describe makes the document, when all routes are registered.
func (a *app) describe() (err error) {
	a.document, err = openapi.Merge(openapiFile, a.mux.Routes(), openapiConfig)
	return err
}

// showOpenAPI is GET /openapi.json.
func (a *app) showOpenAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.document))
}

// docsHeaders are the headers of /docs/: scripts need the nonce of the page, and
// everything comes from this server. Swagger UI has pictures of its own in data:
// URLs.
func docsHeaders() (*headers.Headers, error) {
	return headers.New(headers.Config{
		Enforce: true,
		CSP: &headers.CSP{
			DefaultSrc:     []string{headers.None},
			ScriptSrc:      []string{headers.NonceSource, headers.StrictDynamic},
			StyleSrc:       []string{headers.Self},
			ImgSrc:         []string{headers.Self, "data:"},
			ConnectSrc:     []string{headers.Self},
			ObjectSrc:      []string{headers.None},
			BaseURI:        []string{headers.None},
			FormAction:     []string{headers.None},
			FrameAncestors: []string{headers.None},
		},
	})
}

// isDocs reports whether a path is part of the page.
func isDocs(path string) bool { return path == "/docs" || strings.HasPrefix(path, "/docs/") }

var docsPage = htmltemplate.Must(htmltemplate.New("docs").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gatewright's reference server: API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<main id="swagger-ui"></main>
<script nonce="{{.}}" src="/docs/swagger-ui-bundle.js"></script>
<script nonce="{{.}}" src="/docs/start.js"></script>
</body>
</html>
`))

// docsStart starts Swagger UI. Tokens are kept in the memory of the page.
const docsStart = `"use strict";
window.ui = SwaggerUIBundle({
	url: "/openapi.json",
	dom_id: "#swagger-ui",
	deepLinking: true,
	persistAuthorization: false,
	validatorUrl: null,
	// Not the cookies of the page at /: two credentials in one request are refused.
	requestInterceptor: (r) => { r.credentials = "omit"; return r; },
	presets: [SwaggerUIBundle.presets.apis],
	layout: "BaseLayout",
});
`

// docsFiles are the files of Swagger UI that the page uses.
var docsFiles = []string{"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"}

// showDocs is GET /docs/.
func (a *app) showDocs(w http.ResponseWriter, r *http.Request) {
	nonce := headers.Nonce(w, r)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := docsPage.Execute(w, nonce); err != nil {
		a.log.Debug("the page of /docs/ was not sent", "error", err)
	}
}

// showDocsFile is GET /docs/{file}.
func (a *app) showDocsFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".png": "image/png"}
	w.Header().Set("Content-Type", kinds[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=86400")
	if name == "start.js" {
		http.ServeContent(w, r, name, time.Time{}, strings.NewReader(docsStart))
		return
	}
	content, err := []byte(nil), error(guard.NotFound(nil))
	if slices.Contains(docsFiles, name) {
		content, err = fs.ReadFile(swagger.FS, name)
	}
	if err != nil {
		w.Header().Del("Cache-Control")
		a.hooks.Refuse(w, r, err)
		return
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}
