package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

func TestAuthorizeOfSwaggerUISignsIn(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/docs/")
	b.press(".auth-wrapper .authorize")
	b.write("#oauth_username", "alice")
	b.write("#oauth_password", s.password)
	b.eval("document.querySelector('#oauth_username').closest('.auth-container').id='flow'")
	b.press("#flow .authorize")
	b.wait("[...document.querySelectorAll('#flow button')].some(e=>e.textContent==='Logout')")
	b.press("#flow .btn-done")
	route := "[id^=operations] .opblock-summary-path[data-path='/users/me']"
	b.wait(fmt.Sprintf("document.querySelector(%q)", route))
	b.eval(fmt.Sprintf("document.querySelector(%q).closest('.opblock').id='this'", route))
	b.press("#this .opblock-summary-control")
	b.press("#this .try-out__btn")
	b.press("#this .execute")
	b.wait("document.querySelector('#this .live-responses-table tbody .response-col_status')")
	if got := b.text("#this .live-responses-table tbody .response-col_status"); !strings.HasPrefix(got, "200") {
		t.Errorf("GET /users/me is %q", got)
	}
	if got := b.text("#this .live-responses-table"); !strings.Contains(got, `"alice"`) {
		t.Errorf("the answer is %q", got)
	}
	b.fine()
}

func TestPagesOfOtherOriginsReadOnlyWhatTheyMay(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<!DOCTYPE html><title>x</title>")) }))
	defer site.Close()
	listed := strings.Replace(site.URL, "127.0.0.1", "localhost", 1) // the same port under two names: two origins
	s := startServer(t, "-cors-origin", listed)
	request := fmt.Sprintf(`fetch(%q,{headers:{Authorization:"Bearer x"}}).then(r=>r.status+" "+r.headers.get("WWW-Authenticate")?.slice(0,6),e=>e.name)`, s.local+"/users/me")
	p := newBrowser(t)
	b := p.open(listed)
	if got := b.eval(request); got != "401 Bearer" {
		t.Errorf("a listed origin reads %v", got)
	}
	b.run(chromedp.Navigate(site.URL))
	if got := b.eval(request); got != "TypeError" {
		t.Errorf("an origin that is not listed reads %v", got)
	}

	// Cookies of a session are no help to either.
	own := p.open(s.local + "/")
	own.signIn("alice", s.password)
	own.inside("alice")
	steal := fmt.Sprintf(`fetch(%q,{credentials:"include"}).then(r=>r.text(),e=>e.name)`, s.local+"/users/me")
	change := fmt.Sprintf(`fetch(%q,{method:"POST",mode:"no-cors",credentials:"include"}).then(()=>"sent",e=>e.name)`, s.local+"/session/logout")
	for _, origin := range []string{listed, site.URL} {
		b.run(chromedp.Navigate(origin))
		if got, _ := b.eval(steal).(string); strings.Contains(got, "alice") {
			t.Errorf("%s reads %q", origin, got)
		}
		b.eval(change)
	}
	own.run(chromedp.Reload())
	own.inside("alice")
	own.fine()
}

// TestPageIsAccessible runs axe-core with the rules of WCAG 2.2, levels A and AA, on
// each state of the page.
func TestPageIsAccessible(t *testing.T) {
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		if os.Getenv("GATEWRIGHT_REQUIRE_BROWSER") != "" {
			t.Fatalf("%v; run npm ci in examples/browser", err)
		}
		t.Skip("axe-core is not installed; run npm ci in examples/browser")
	}
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	check := func(state string) {
		t.Helper()
		b.eval(string(axe) + ";0")
		found := b.eval(`axe.run(document,{runOnly:["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]}).then(r=>r.violations.map(v=>v.id+": "+v.nodes.map(n=>n.html).join(" | ")).join("\n"))`)
		if found != "" {
			t.Errorf("%s: %v", state, found)
		}
	}
	b.wait("document.querySelector('#nav').children.length")
	check("signed out")
	b.signIn("admin", s.password)
	b.inside("admin")
	b.wait("document.querySelector('#users').children.length")
	b.press("#setup")
	b.wait("document.querySelector('#qr img')")
	b.pressText("#routes", "GET /items/")
	b.wait("document.querySelector('#answer-status')")
	b.write("#f-diff [name=after]", `{"roles":{"user":{"allow":["moderate:content"]}}}`)
	b.press("#f-diff button")
	b.wait("document.querySelector('#diff tr')")
	check("signed in")
	b.run(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	check("in the dark")
	b.run(chromedp.Navigate(s.local + "/account/reset-password"))
	check("the page of a mailed link")
}
