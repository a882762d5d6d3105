package ticket

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/gatewright/gatewright/auth/guard"
)

// script moves the secret from the fragment into the form and out of the address
// bar. It does not submit the form, because mail scanners run scripts.
const script = `const t=document.querySelector("input[name=token]");if(location.hash.length>1){t.value=location.hash.slice(1);history.replaceState(null,"",location.pathname)}`

const style = `body{font:1rem system-ui;max-width:28rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}label,button{display:block;margin-top:1rem}input{width:100%;box-sizing:border-box;font:inherit;padding:.5rem}button{font:inherit;padding:.5rem 1rem}`

// texts are the heading and the button of each page.
var texts = map[Purpose][2]string{
	ResetPassword: {"Choose a new password", "Set the password"},
	VerifyEmail:   {"Confirm your address", "Confirm"},
	ChangeEmail:   {"Confirm your new address", "Confirm"},
	UndoEmail:     {"Undo the change of your address", "Undo"},
	SignInLink:    {"Sign in", "Sign in"},
	Invitation:    {"Accept the invitation", "Accept"},
}

// Page returns the handler of the page at Base + purpose that a link opens. GET
// answers constant HTML: a form that POSTs the secret to the same URL when the user
// clicks. The page loads nothing and has its own Content-Security-Policy. Page
// panics for SignInCode.
func (s *Service) Page(p Purpose) http.Handler {
	text, ok := texts[p]
	if !ok {
		panic("ticket: Page(" + string(p) + ") is not possible; use a purpose with a link")
	}
	form := []byte(pageOf(text[0], `<form method="post" action="`+string(p)+`"><label>Code from the link <input name="token" required autocomplete="off"></label>`+
		fieldsOf(p, s.config.AcceptFields)+`<button>`+text[1]+`</button></form><script>`+script+`</script>`))
	done := []byte(pageOf(text[0], `<p role="status">Done. You can close this page.</p>`))
	policy := "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; script-src " + hashSource(script) + "; style-src " + hashSource(style)
	return guard.Public("ticket page " + string(p))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			s.config.Hooks.Refuse(w, r, guard.MethodNotAllowed(w, http.MethodGet, http.MethodHead))
			return
		}
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", policy)
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		header.Set("X-Content-Type-Options", "nosniff")
		if r.URL.RawQuery == "done" {
			w.Write(done)
			return
		}
		w.Write(form)
	}))
}

func fieldsOf(p Purpose, accept []string) string {
	const password = `<label>New password <input name="password" type="password" required autocomplete="new-password"></label>`
	switch p {
	case ResetPassword:
		return password
	case Invitation:
		var b strings.Builder
		for _, name := range accept {
			if name == "password" {
				b.WriteString(password)
				continue
			}
			safe := strings.Map(func(r rune) rune {
				if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' {
					return r
				}
				return -1
			}, name)
			b.WriteString(`<label>` + safe + ` <input name="` + safe + `"></label>`)
		}
		return b.String()
	}
	return ""
}

func pageOf(title, content string) string {
	return `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>` + title +
		`</title><style>` + style + `</style></head><body><main><h1>` + title + `</h1>` + content + `</main></body></html>`
}

// hashSource returns the CSP source expression of an inline script or style.
func hashSource(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
