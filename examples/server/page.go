package main

import (
	"bytes"
	"embed"
	htmltemplate "html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers"
)

// The page at /: everything that the server does, to be tried in a browser. It needs
// no build step, and loads nothing from elsewhere.

//go:embed page
var pageFiles embed.FS

var pageTemplate = htmltemplate.Must(htmltemplate.ParseFS(pageFiles, "page/index.html"))

// pageHeaders are the headers of the page. Its script runs by the nonce of the
// response; the one place that makes HTML of a string has a policy of its own, for
// comments that the server has cleaned. The QR code is a blob.
func pageHeaders() (*headers.Headers, error) {
	return headers.New(headers.Config{
		Enforce: true,
		CSP: &headers.CSP{
			DefaultSrc:     []string{headers.None},
			ScriptSrc:      []string{headers.NonceSource, headers.StrictDynamic},
			StyleSrc:       []string{headers.Self},
			ImgSrc:         []string{headers.Self, "blob:"},
			ConnectSrc:     []string{headers.Self},
			ObjectSrc:      []string{headers.None},
			BaseURI:        []string{headers.None},
			FormAction:     []string{headers.Self},
			FrameAncestors: []string{headers.None},
			TrustedTypes:   []string{"comments"}, RequireTrustedTypes: true,
		},
	})
}

// isPage reports whether a path is part of the page.
func isPage(path string) bool {
	return path == "/" || path == "/account/sign-in-link" || strings.HasPrefix(path, "/page/")
}

// showPage is GET / and GET /account/sign-in-link, to which a mailed link leads: its
// secret is in the fragment, which no server gets.
func (a *app) showPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	data := struct {
		Nonce, Page  string
		Demo, Outbox bool
	}{headers.Nonce(w, r), origin(a.ways.page), a.demoHash != "", a.ways.post.outbox != nil}
	if err := pageTemplate.Execute(w, data); err != nil {
		a.log.Debug("the page was not sent", "error", err)
	}
}

// showPageFile is GET /page/{file}.
func (a *app) showPageFile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	kinds := map[string]string{"app.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
	content, err := pageFiles.ReadFile(path.Join("page", name))
	if kinds[name] == "" || err != nil {
		a.hooks.Refuse(w, r, guard.NotFound(err))
		return
	}
	w.Header().Set("Content-Type", kinds[name])
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}
