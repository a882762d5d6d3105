package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// payloads are texts that run a script, load something, or take the page over
// where a comment is put into it as it is: the usual ones of OWASP's and PortSwigger's
// cheat sheets by kind, and those that went through sanitisers.
var payloads = []string{
	// Elements that run.
	`<script>alert(1)</script>`, `<SCRIPT SRC=//evil.example/x.js></SCRIPT>`, `<script/src=data:,alert(1)>`, `<scr<script>ipt>alert(1)</scr</script>ipt>`,
	"<script\n>alert(1)</script\n>", `<script>/*</script><svg onload=alert(1)>*/</script>`, `<svg><script>alert&#40;1)</script>`, `<svg><script xlink:href=data:,alert(1) />`,
	`<script type="module">import("//evil.example")</script>`, `<<script>alert(1)//<</script>`, `<script x>alert(1)</script x>`, "<script\x0c>alert(1)</script>",
	`<ScRiPt>alert(1)</sCrIpT>`, `</script><script>alert(1)</script>`, `<script>alert(1)`, `<math><mi><script>alert(1)</script></mi></math>`,
	// Handlers.
	`<img src=x onerror=alert(1)>`, `<img src=x onerror=alert(1)//`, `<img/src=x/onerror=alert(1)>`, `<img src='x'onerror='alert(1)'>`, "<img src=x\tonerror\n=\talert(1)>",
	`<svg onload=alert(1)>`, `<svg/onload=alert(1)>`, `<svg><animate onbegin=alert(1) attributeName=x dur=1s>`, `<svg><set onbegin=alert(1)>`, `<body onload=alert(1)>`,
	`<input autofocus onfocus=alert(1)>`, `<select autofocus onfocus=alert(1)>`, `<textarea autofocus onfocus=alert(1)>`, `<keygen autofocus onfocus=alert(1)>`,
	`<video><source onerror=alert(1)>`, `<audio src=x onerror=alert(1)>`, `<video poster=javascript:alert(1)//>`, `<details open ontoggle=alert(1)>`, `<marquee onstart=alert(1)>`,
	`<a onmouseover=alert(1)>x</a>`, `<p onclick=alert(1)>x</p>`, `<b onpointerenter=alert(1)>x</b>`, `<div style=animation-name:x onanimationstart=alert(1)>`, `<b/onclick=alert(1)>x`,
	`<p/onmouseover=alert(1)//>x`, `<blockquote onwheel=alert(1)>x`, `<code contenteditable onbeforeinput=alert(1)>x`, `<li onfocusin=alert(1) tabindex=1>x`, `<br onresize=alert(1)>`,
	`<object data=x onerror=alert(1)>`, `<iframe onload=alert(1)>`, `<link rel=stylesheet href=x onerror=alert(1)>`, `<style onload=alert(1)>`, `<form><button onclick=alert(1)>x`,
	`<a href="https://x.example/" onclick="alert(1)">x</a>`, "<img src=`x`onerror=alert(1)>", `<img """><script>alert(1)</script>">`, `<x onclick=alert(1)>x</x>`, `<custom-x onfocus=alert(1) tabindex=0>`,
	// Addresses.
	`<a href=javascript:alert(1)>x</a>`, `<a href="JaVaScRiPt:alert(1)">x</a>`, `<a href=" javascript:alert(1)">x</a>`, `<a href="java&#09;script:alert(1)">x</a>`, `<a href="java&#10;script:alert(1)">x</a>`,
	`<a href="&#106;avascript:alert(1)">x</a>`, `<a href="&#x6A;avascript&colon;alert(1)">x</a>`, `<a href="javascript&#0000058alert(1)">x</a>`, "<a href=\"\x01javascript:alert(1)\">x</a>", `<a href="javascript://%0aalert(1)">x</a>`,
	`<a href="vbscript:msgbox(1)">x</a>`, `<a href="data:text/html,<script>alert(1)</script>">x</a>`, `<a href="data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==">x</a>`, `<a href="blob:https://x/1">x</a>`, `<a href="//evil.example">x</a>`,
	`<a href="/logout/">x</a>`, `<a href="feed:javascript:alert(1)">x</a>`, `<a href="view-source:javascript:alert(1)">x</a>`, `<a href="https:javascript:alert(1)">x</a>`, `<a href='javascript:"<svg onload=alert(1)>"'>x</a>`,
	`<iframe src=javascript:alert(1)>`, `<iframe srcdoc="<script>alert(1)</script>">`, `<embed src=javascript:alert(1)>`, `<object data="data:text/html,<script>alert(1)</script>">`, `<form action=javascript:alert(1)><input type=submit>`,
	`<button formaction=javascript:alert(1)>x`, `<isindex action=javascript:alert(1) type=submit>`, `<base href=//evil.example/>`, `<meta http-equiv=refresh content="0;url=javascript:alert(1)">`, `<math href=javascript:alert(1)>x</math>`,
	`<svg><a xlink:href=javascript:alert(1)><text x=20 y=20>x</text></a>`, `<svg><use href="data:image/svg+xml,<svg id=x xmlns=http://www.w3.org/2000/svg><script>alert(1)</script></svg>#x">`, `<area href=javascript:alert(1)>`,
	// Styles.
	`<style>@import "//evil.example/x.css";</style>`, `<p style="background:url(//evil.example/x)">x</p>`, `<div style="position:fixed;inset:0">x</div>`, `<p style="width:expression(alert(1))">x</p>`, `<link rel=stylesheet href=//evil.example/x.css>`,
	`<style>*{background:url(javascript:alert(1))}</style>`, `<xss style="behavior:url(x.htc)">`, `<b style=-moz-binding:url(//evil.example/x)>x`,
	// Parsers that disagree.
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, `<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">`, `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">`,
	`<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>`, `<!--><img src=x onerror=alert(1)>-->`, `<!--[if IE]><script>alert(1)</script><![endif]-->`, `<![CDATA[<script>alert(1)</script>]]>`, `<?xml version="1.0"?><script>alert(1)</script>`,
	`<textarea><script>alert(1)</script></textarea><img src=x onerror=alert(1)>`, `<title><img src=x onerror=alert(1)></title>`, `<xmp><script>alert(1)</script></xmp>`, `<plaintext><script>alert(1)</script>`, `<template><script>alert(1)</script></template>`,
	`<select><style><img src=x onerror=alert(1)></style></select>`, `<p title="><script>alert(1)</script>">x</p>`, `<p title='"><img src=x onerror=alert(1)>'>x</p>`, `<listing>&lt;img src=x onerror=alert(1)&gt;</listing>`, `<noembed><img src=x onerror=alert(1)></noembed>`,
	// Text that becomes HTML when somebody unescapes it, and leaving quotes.
	`&lt;script&gt;alert(1)&lt;/script&gt;`, `&amp;lt;img src=x onerror=alert(1)&amp;gt;`, `\u003cscript\u003ealert(1)\u003c/script\u003e`, `%3Cscript%3Ealert(1)%3C/script%3E`, `＜script＞alert(1)＜/script＞`, `+ADw-script+AD4-alert(1)+ADw-/script+AD4-`,
	`" onmouseover=alert(1) x="`, `' autofocus onfocus=alert(1) x='`, `"><svg onload=alert(1)>`, `{{constructor.constructor('alert(1)')()}}`, `${alert(1)}`, `javascript:alert(1)`, `';alert(1)//`, `</title><script>alert(1)</script>`, `--><script>alert(1)</script>`,
	// Names in the page.
	`<a id=document href=https://x.example/>x</a>`, `<a name=cookie>x</a>`, `<form name=document><input name=cookie></form>`, `<p class=admin-only id=csrf>x</p>`, `<img name=getElementById>`, `<p data-bind=x ng-app v-on:click=alert(1) hx-get=/x>x</p>`,
}

func TestStoredScriptsStayHarmless(t *testing.T) {
	if len(payloads) < 94 {
		t.Fatalf("only %d payloads", len(payloads))
	}
	s := openSite(t)
	alice := s.signInAlice(t)
	for _, payload := range payloads {
		body := `{"content":` + strconv.QuoteToASCII("before "+payload+" after") + `}`
		body = strings.NewReplacer(`\x01`, `\u0001`, `\f`, `\u000c`, `\'`, `'`).Replace(body)
		made := s.do(t, "POST", "/comments/", body, bearer(alice.Access), jsonType)
		if strings.ContainsAny(payload, "\x01\x0c") {
			made.has(t, payload, 422, "invalid_input")
			continue
		}
		one := into[shownComment](t, made, http.StatusCreated)
		harmless(t, payload, one)
		// What is in the database is what was sent.
		if n := s.count(t, "SELECT count(*) FROM comments WHERE id = ? AND content = ?", one.ID, "before "+payload+" after"); n != 1 {
			t.Errorf("%s was changed on its way into the database", payload)
		}
		// The answer is no page, whatever a browser thinks of it.
		if strings.ContainsAny(made.body, "<>") || made.header.Get("X-Content-Type-Options") != "nosniff" || made.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: the answer is %v %s", payload, made.header, made.body)
		}
	}
	for offset := 0; ; offset += maxShown {
		all := into[[]shownComment](t, s.do(t, "GET", fmt.Sprintf("/comments/?offset=%d", offset), "", bearer(alice.Access)), 200)
		for _, one := range all {
			harmless(t, one.Content, one)
		}
		if len(all) == 0 {
			break
		}
	}
}

// harmless parses a comment as a browser does, in several places of a page, and
// fails the test for anything that is not on the list.
func harmless(t *testing.T, payload string, one shownComment) {
	t.Helper()
	if strings.ContainsAny(one.Content, `<>"'`) {
		t.Errorf("%s: the text is %s", payload, one.Content)
	}
	elements := []string{"b", "blockquote", "br", "code", "em", "i", "li", "ol", "p", "pre", "strong", "ul", "a"}
	for _, place := range []atom.Atom{atom.Div, atom.P, atom.Td, atom.Template, atom.Noscript} {
		text := one.HTML
		// Parsed, written and parsed again: the second time is what a page does
		// that puts innerHTML somewhere else.
		for range 2 {
			parent := &html.Node{Type: html.ElementNode, Data: place.String(), DataAtom: place}
			nodes, err := html.ParseFragment(strings.NewReader(text), parent)
			if err != nil {
				t.Fatal(err)
			}
			var written strings.Builder
			for _, node := range nodes {
				inspect(t, payload, node, elements)
				if err := html.Render(&written, node); err != nil {
					t.Fatal(err)
				}
			}
			text = written.String()
		}
	}
}

func inspect(t *testing.T, payload string, node *html.Node, elements []string) {
	t.Helper()
	switch node.Type {
	case html.TextNode:
	case html.ElementNode:
		if !slices.Contains(elements, node.Data) || node.Namespace != "" {
			t.Errorf("%s leaves the element %s", payload, node.Data)
		}
		for _, attribute := range node.Attr {
			switch {
			case node.Data == "a" && attribute.Key == "rel" && strings.Contains(attribute.Val, "nofollow"):
			case node.Data == "a" && attribute.Key == "href":
				u, err := url.Parse(attribute.Val)
				if err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "mailto" || u.Scheme != "mailto" && u.Host == "" {
					t.Errorf("%s leaves the address %s", payload, attribute.Val)
				}
			default:
				t.Errorf("%s leaves the attribute %s=%q", payload, attribute.Key, attribute.Val)
			}
		}
	default:
		t.Errorf("%s leaves a node of type %d", payload, node.Type)
	}
	for child := range node.ChildNodes() {
		inspect(t, payload, child, elements)
	}
}

func TestCommentKeepsWhatIsHarmless(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	for _, tt := range []struct{ content, text, html string }{
		{"1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2", "1 &lt; 2 &amp; 3 &gt; 2"},
		{"<b>bold</b> <em>x</em>", "&lt;b&gt;bold&lt;/b&gt; &lt;em&gt;x&lt;/em&gt;", "<b>bold</b> <em>x</em>"},
		{`<a href="https://a.example/?b=c&d">x</a>`, "&lt;a href=&#34;https://a.example/?b=c&amp;d&#34;&gt;x&lt;/a&gt;", `<a href="https://a.example/?b=c&amp;d" rel="nofollow noreferrer">x</a>`},
		{"<p>one</p><ul><li>two</li></ul><pre>a\n b</pre>", "&lt;p&gt;one&lt;/p&gt;&lt;ul&gt;&lt;li&gt;two&lt;/li&gt;&lt;/ul&gt;&lt;pre&gt;a\n b&lt;/pre&gt;", "<p>one</p><ul><li>two</li></ul><pre>a\n b</pre>"},
		{"Ünï ☃ \U0001f600", "Ünï ☃ \U0001f600", "Ünï ☃ \U0001f600"},
	} {
		one := into[shownComment](t, s.do(t, "POST", "/comments/", `{"content":`+strconv.Quote(tt.content)+`}`, bearer(alice.Access), jsonType), 201)
		if one.Content != tt.text || one.HTML != tt.html || one.Author != "alice" || one.Edited != nil {
			t.Errorf("%q is shown as %+v", tt.content, one)
		}
	}
}

func TestCommentsAreEditedAndDeletedByTheirAuthorsAndModerators(t *testing.T) {
	s := openSite(t)
	alice, mod := s.signInAlice(t), s.signIn(t, "mod", s.keys.DemoPassword)
	s.register(t, map[string]string{"username": "bob", "password": testPassword}).is(t, 201)
	bob := s.signIn(t, "bob", testPassword)
	post := func() string {
		t.Helper()
		made := s.do(t, "POST", "/comments/", `{"content":"first"}`, bearer(alice.Access), jsonType)
		made.is(t, 201)
		return made.header.Get("Location")
	}
	path := post()
	s.do(t, "PUT", path, `{"content":"mine"}`, bearer(bob.Access), jsonType).has(t, "editing somebody else's", 403, "forbidden")
	s.do(t, "DELETE", path, "", bearer(bob.Access)).has(t, "deleting somebody else's", 403, "forbidden")
	edited := into[shownComment](t, s.do(t, "PUT", path, `{"content":"second"}`, bearer(alice.Access), jsonType), 200)
	if edited.Content != "second" || edited.Edited == nil || edited.Author != "alice" {
		t.Errorf("edited is %+v", edited)
	}
	byMod := into[shownComment](t, s.do(t, "PUT", path, `{"content":"[moderated]"}`, bearer(mod.Access), jsonType), 200)
	if byMod.Author != "alice" {
		t.Errorf("a moderator makes it %+v", byMod)
	}
	s.do(t, "DELETE", path, "", bearer(alice.Access)).has(t, "deleting", 204, "")
	s.do(t, "DELETE", path, "", bearer(alice.Access)).has(t, "deleting twice", 404, "not_found")
	s.do(t, "PUT", path, `{"content":"x"}`, bearer(alice.Access), jsonType).has(t, "editing what is gone", 404, "not_found")
	s.do(t, "DELETE", post(), "", bearer(mod.Access)).has(t, "deleting as a moderator", 204, "")
	for _, id := range []string{"+1", "01", "0", "x", "1%20OR%201=1"} {
		s.do(t, "DELETE", "/comments/"+id, "", bearer(alice.Access)).has(t, id, 404, "not_found")
	}
	key := s.key(t, alice.Access, `{"name":"x"}`)
	s.do(t, "POST", "/comments/", `{"content":"x"}`, withKey(key.Key), jsonType).has(t, "with a key", 403, "forbidden")
	// They go with their author.
	post()
	s.exec(t, "DELETE FROM users WHERE username = 'alice'")
	if n := s.count(t, "SELECT count(*) FROM comments"); n != 0 {
		t.Errorf("%d comments are left", n)
	}
}

func TestCommentBodyIsStrict(t *testing.T) {
	s := openSite(t)
	auth := bearer(s.signInAlice(t).Access)
	for _, tt := range []struct {
		name, body, kind string
		status           int
	}{
		{"an unknown member", `{"content":"x","author":"admin"}`, jsonType, 400},
		{"a member twice", `{"content":"x","content":"y"}`, jsonType, 400},
		{"a member in another case", `{"Content":"x"}`, jsonType, 400},
		{"a member that only folds to the same", `{"ſontent":"x"}`, jsonType, 400},
		{"something after the object", `{"content":"x"}{}`, jsonType, 400},
		{"a list", `[{"content":"x"}]`, jsonType, 400},
		{"a number", `{"content":1}`, jsonType, 400},
		{"null", `{"content":null}`, jsonType, 400},
		{"invalid UTF-8", "{\"content\":\"\xff\"}", jsonType, 400},
		{"half a surrogate pair", `{"content":"\ud800"}`, jsonType, 201}, // becomes U+FFFD
		{"a NUL", `{"content":"\u0000"}`, jsonType, 422},
		{"nothing", `{}`, jsonType, 422},
		{"white space", `{"content":" \n\t"}`, jsonType, 422},
		{"10,001 bytes", `{"content":"` + strings.Repeat("x", 10_001) + `"}`, jsonType, 422},
		{"10,000 bytes", `{"content":"` + strings.Repeat("x", 10_000) + `"}`, jsonType, 201},
		{"17 KiB", `{"content":"` + strings.Repeat("x", 17<<10) + `"}`, jsonType, 413},
		{"a form", "content=x", formType, 415},
		{"text", `{"content":"x"}`, "Content-Type: text/plain", 415},
		{"JSON by another name", `{"content":"x"}`, "Content-Type: application/vnd.api+json", 415},
		{"another charset", `{"content":"x"}`, jsonType + "; charset=utf-7", 415},
		{"compressed", `{"content":"x"}`, jsonType + "\r\nContent-Encoding: gzip", 415},
	} {
		kind, encoding, _ := strings.Cut(tt.kind, "\r\n")
		headers := []string{auth, kind}
		if encoding != "" {
			headers = append(headers, encoding)
		}
		s.do(t, "POST", "/comments/", tt.body, headers...).is(t, tt.status)
		if t.Failed() {
			t.Fatalf("%s", tt.name)
		}
	}
}

func TestCommentsAreListedByWhatIsAllowed(t *testing.T) {
	s := openSite(t)
	alice, mod := s.signInAlice(t), s.signIn(t, "mod", s.keys.DemoPassword)
	for _, one := range []struct{ access, text string }{{alice.Access, "a1"}, {mod.Access, "m1"}, {alice.Access, "a2"}} {
		s.do(t, "POST", "/comments/", `{"content":"`+one.text+`"}`, bearer(one.access), jsonType).is(t, 201)
	}
	for query, want := range map[string]string{
		"":                            "a2 m1 a1",
		"?order=created":              "a1 m1 a2",
		"?order=author":               "a1 a2 m1",
		"?order=-author":              "m1 a2 a1",
		"?author=alice&order=created": "a1 a2",
		"?author=nobody":              "",
		"?limit=1":                    "a2",
		"?limit=1&offset=1":           "m1",
		"?offset=3":                   "",
	} {
		var got []string
		for _, one := range into[[]shownComment](t, s.do(t, "GET", "/comments/"+query, "", bearer(alice.Access)), 200) {
			got = append(got, one.Content)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s gets %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{
		"order=id", "order=created%20DESC", "order=created;DROP%20TABLE%20users", "order=(SELECT%201)", "order=Created", "order=", "order=created&order=author",
		"author=%27%20OR%201=1--", "author=", "author=ALICE", "limit=0", "limit=101", "limit=-1", "limit=+1", "limit=01", "limit=1e2", "limit=", "offset=-1",
		"offset=99999999999999999999", "x=1", "Order=author", "%zz", "a;b",
	} {
		s.do(t, "GET", "/comments/?"+query, "", bearer(alice.Access)).has(t, query, 400, "invalid_request")
	}
	// The answer names what there is.
	if got := s.do(t, "GET", "/comments/?order=x", "", bearer(alice.Access)); !strings.Contains(got.body, "-created") {
		t.Errorf("got %s", got.body)
	}
}

func TestNumberOfCommentsIsBoundedForManyAtOnce(t *testing.T) {
	s := openSite(t)
	alice := s.signInAlice(t)
	u := must(s.users.byUsername(t.Context(), "alice"))
	for range maxComments - 3 {
		must(s.comments.create(t.Context(), u, "x"))
	}
	var made atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if a, err := do("POST", s.url+"/comments/", `{"content":"x"}`, bearer(alice.Access), jsonType); err == nil && a.status == 201 {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 3 {
		t.Errorf("%d were made where there was room for 3", made.Load())
	}
}
