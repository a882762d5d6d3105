package browser

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestSignInTryTheRoutesAndSignOut(t *testing.T) {
	s := startServer(t)
	p := newBrowser(t)
	b := p.open(s.local + "/")
	b.signIn("alice", "not the password")
	b.says("invalid_grant")
	b.signIn("alice", s.password)
	b.says("Signed in.")
	b.inside("alice")
	if got := b.text("#claims"); !strings.Contains(got, "pwd") || !strings.Contains(got, "read:items write:items") {
		t.Errorf("the claims are %q", got)
	}
	if stored := b.eval("JSON.stringify([document.cookie,{...localStorage},{...sessionStorage}])"); stored != `["",{},{}]` {
		t.Errorf("scripts can read %v", stored)
	}
	for route, status := range map[string]string{"GET /users/me": "200", "GET /items/": "200", "GET /admin/users": "403", "POST /moderate/": "403", "GET /protected/": "401", "GET /readyz": "200"} {
		b.pressText("#routes", route)
		b.wait(fmt.Sprintf("document.querySelector('#answer').textContent.includes(%q)", route+" → "+status))
	}
	for range 6 {
		b.press("#limited")
		b.wait("!document.querySelector('#limited').disabled")
	}
	b.wait("document.querySelector('#limit-hint').textContent.startsWith('429')")

	b.press("#f-key button.main")
	b.wait("document.querySelector('#key code')")
	if key := b.text("#key code"); !strings.HasPrefix(key, "gatewright_") {
		t.Errorf("the key is %q", key)
	}
	b.pressText("#key", "Use it at /protected/")
	b.wait("document.querySelector('#answer').textContent.includes('GET /protected/ → 200')")
	b.pressText("#key", "Hide it")
	if got := b.eval("document.body.textContent.includes('gatewright_')"); got != false {
		t.Error("a hidden key is still in the page")
	}
	b.shoot("page-light", 1280, 900, false)
	b.shoot("page-dark", 1280, 900, true)
	b.shoot("page-phone", 390, 844, false)

	b.press("#logout")
	b.says("Signed out.")
	b.outside()
	b.fine()
}

func TestAuditTrailShowsOnesOwnAccountAndAllToAdministrators(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	b.signIn("alice", "not the password")
	b.says("invalid_grant")
	b.signIn("alice", s.password)
	b.inside("alice")
	b.wait("document.querySelector('#audit').textContent.includes('authn_login_success')")
	b.press("#audit-own")
	b.wait("document.querySelector('#audit').textContent.includes('authn_login_fail')")
	if b.eval("document.querySelector('#audit-all').hidden") != true {
		t.Error("the page offers every account to a user")
	}
	b.press("#logout")
	b.says("Signed out.")
	if got := b.text("#audit"); got != "" {
		t.Errorf("after the sign-out the page still shows %q", got)
	}
	b.signIn("admin", s.password)
	b.inside("admin")
	b.press("#audit-all")
	b.wait("[...document.querySelectorAll('#audit tr')].some(r=>r.textContent.includes('authn_login_fail'))")
	b.fine()
}

func TestAdministratorComparesPoliciesByKeyboard(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	b.signIn("admin", s.password)
	b.inside("admin")
	focused := func() string {
		id, _ := b.eval("document.activeElement.name||document.activeElement.id||document.activeElement.textContent").(string)
		return id
	}
	b.run(chromedp.Focus("#f-diff [name=after]", chromedp.ByQuery), input.InsertText(`{"roles":{"user":{"allow":["read:users","moderate:content"]},"admin":{"allow":["*:users"]}}}`))
	for _, want := range []string{"diff-after", "before", "diff-before", "Compare"} {
		b.run(chromedp.KeyEvent(kb.Tab))
		if got := focused(); got != want {
			t.Fatalf("the tabulator leads to %q, want %q", got, want)
		}
	}
	b.run(chromedp.KeyEvent(kb.Enter))
	b.says("The policies are compared.")
	row := func(role, change, permission string) {
		t.Helper()
		b.wait(fmt.Sprintf("[...document.querySelectorAll('#diff tr')].some(r=>[...r.cells].slice(0,3).map(c=>c.textContent).join(' ')===%q)", role+" "+change+" "+permission))
	}
	row("user", "gains", "moderate:content")
	row("admin", "loses", "read:audit")
	row("moderator", "loses", "delete:items")
	if got := b.text("#diff-summary"); !strings.HasPrefix(got, "Gained: 1, lost: ") {
		t.Errorf("the summary is %q", got)
	}
	if missing := b.eval("[...document.querySelectorAll('#f-diff textarea,#f-diff input')].filter(e=>!e.labels.length).length"); missing != 0.0 {
		t.Errorf("%v fields have no label", missing)
	}
	b.eval("document.querySelector('#h-diff').scrollIntoView()")
	b.shootHere("policies")
	// The page says why a text is no policy.
	b.write("#f-diff [name=after]", "{")
	b.press("#f-diff button")
	b.says("422")
	if b.eval("document.querySelector('#diff-region').hidden") != true {
		t.Error("the table of before is still shown")
	}
	b.press("#logout")
	b.says("Signed out.")
	if got := b.eval("document.querySelector('#f-diff [name=after]').value"); got != "" {
		t.Errorf("after the sign-out the page has the policy %q", got)
	}
	b.fine()
}

func TestSignOutEndsTheOtherTabAndTheHistory(t *testing.T) {
	s := startServer(t)
	p := newBrowser(t)
	a := p.open(s.local + "/")
	a.signIn("alice", s.password)
	a.inside("alice")
	b := p.open(s.local + "/")
	b.inside("alice")
	a.run(chromedp.Navigate(s.local + "/healthz"))
	b.press("#logout")
	b.outside()
	a.run(chromedp.NavigateBack())
	a.outside()
	c := p.open(s.local + "/")
	c.outside()
	c.signIn("alice", s.password)
	c.inside("alice")
	a.inside("alice") // the first tab follows
	c.press("#logout")
	c.says("Signed out.")
	a.says("Signed out in another tab.")
	a.outside()
	c.fine()
}

func TestScriptsOfOthersAreBlocked(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	b.signIn("alice", s.password)
	b.inside("alice")
	b.eval(`(() => {
		window.ran = [];
		const script = document.createElement("script");
		try { script.textContent = "ran.push('inline')"; } catch { }
		document.body.append(script);
		try { document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\"ran.push('html')\">"); } catch { }
		const handler = document.createElement("button");
		try { handler.setAttribute("onclick", "ran.push('handler')"); } catch { }
		document.body.append(handler);
		handler.click();
		// Later, since the debugger may call eval where the page may not.
		setTimeout(() => { try { (0, window["ev" + "al"])("ran.push('eval')"); } catch { } });
		const link = document.createElement("a");
		link.href = "javascript:ran.push('link')";
		document.body.append(link);
		link.click();
	})()`)
	if ran := b.eval("new Promise(done=>setTimeout(()=>done(ran.join(' ')),300))"); ran != "" {
		t.Errorf("these scripts ran: %v", ran)
	}
	if got := b.eval(`fetch("http://127.0.0.1:1/steal",{mode:"no-cors"}).then(()=>"sent",e=>e.name)`); got != "TypeError" {
		t.Errorf("a request to another host is %v", got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !strings.Contains(strings.Join(b.reports, "\n"), "Content Security Policy") {
		t.Errorf("the browser reports no violation: %q", b.reports)
	}
}

func TestStoredScriptsStayText(t *testing.T) {
	s := startServer(t, "-insecure-no-limits")
	b := newBrowser(t).open(s.local + "/")
	b.signIn("alice", s.password)
	b.inside("alice")
	sent := b.eval(`(async () => {
		for (const content of ` + attacks() + `) {
			const r = await fetch("/comments/", {method:"POST",headers:{"Content-Type":"application/json"},body:JSON.stringify({content})});
			if (r.status !== 201) return r.status + " for " + content;
		}
		return "all";
	})()`)
	if sent != "all" {
		t.Fatal(sent)
	}
	b.run(chromedp.Reload())
	b.inside("alice")
	b.wait("document.querySelectorAll('#comments>li').length>=94")
	bad := b.eval(`[...document.querySelectorAll("#comments *")].filter(e =>
		!["LI","B","I","SPAN","DIV","DETAILS","SUMMARY","BUTTON","A","P","BR","EM","STRONG","UL","OL","CODE","PRE","BLOCKQUOTE","DEL","H1","H2","H3","H4","H5","H6","Q"].includes(e.tagName) ||
		[...e.attributes].some(a => a.name.startsWith("on") || a.name === "id" || a.name === "style" || a.name === "src") ||
		e.tagName === "A" && !["https:","http:","mailto:"].includes(e.protocol)
	).map(e => e.outerHTML).join("\n")`)
	if bad != "" {
		t.Errorf("the page has\n%v", bad)
	}
	b.fine()
}

// attacks returns a list in JavaScript of texts that run a script where they are put
// into a page as they are.
func attacks() string {
	var list []string
	for _, tag := range []string{"img src=x onerror", "svg onload", "body onload", "iframe onload", "details open ontoggle", "input autofocus onfocus", "video src=x onerror", "audio src=x onerror",
		"object data=x onerror", "marquee onstart", "select autofocus onfocus", "textarea autofocus onfocus", "b onclick", "p onmouseover", "a onfocus", "svg/onload", "img/src=x/onerror", "style onload", "link rel=stylesheet href=x onerror", "math onclick"} {
		for _, script := range []string{"alert(1)", `"alert(1)"`, "'alert&#40;1)'", "alert`1`"} {
			list = append(list, fmt.Sprintf("<%s=%s>x", tag, script))
		}
	}
	for _, address := range []string{"javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java&#09;script:alert(1)", "&#106;avascript:alert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:alert(1)"} {
		list = append(list, `<a href="`+address+`">x</a>`, `<iframe src="`+address+`">`, `<form action="`+address+`"><input type=submit>`)
	}
	list = append(list, "<script>alert(1)</script>", "<scr<script>ipt>alert(1)</scr</script>ipt>", "<svg><script>alert(1)</script></svg>", `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`,
		`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, `<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">`, "&lt;script&gt;alert(1)&lt;/script&gt;", "</textarea><script>alert(1)</script>", "<template><script>alert(1)</script></template>")
	quoted := make([]string, len(list))
	for i, text := range list {
		quoted[i] = `decodeURIComponent("` + strings.ReplaceAll(url.QueryEscape(text), "+", "%20") + `")`
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

func TestPageIsSmallAndLoadsNothingFromElsewhere(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	b.wait("document.querySelector('#nav').children.length")
	b.mu.Lock()
	first := b.weight
	b.mu.Unlock()
	if first == 0 || first > 60<<10 {
		t.Errorf("the page has %d bytes, want at most 60 KiB", first)
	}
	t.Logf("the page has %d bytes in all", first)
	b.signIn("admin", s.password)
	b.inside("admin")
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.requested {
		if !strings.HasPrefix(u, s.local+"/") && !strings.HasPrefix(u, "blob:") {
			t.Errorf("it requests %s", u)
		}
	}
}
