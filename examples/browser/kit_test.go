package browser

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// chromium returns the path of a Chromium, or skips the test.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("GATEWRIGHT_REQUIRE_BROWSER") != "" {
		t.Fatal("no Chromium is installed")
	}
	t.Skip("no Chromium is installed")
	return ""
}

var built struct {
	once sync.Once
	path string
	err  error
}

// A server is a running reference server with a database of its own.
type server struct {
	local    string // http://localhost:PORT, where passkeys work
	password string // of the demo users
}

func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	chromium(t)
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "gatewright-browser-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "server")
		cmd := exec.Command("go", "-C", "..", "build", "-o", built.path, "./server")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	out := new(lines)
	cmd := exec.Command(built.path, append([]string{"-addr", addr, "-db", filepath.Join(t.TempDir(), "server.db")}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("the server wrote\n%s", out)
		}
	})
	var found []string
	for range 150 {
		found = regexp.MustCompile(`(?m)^curl .* password=(\S+)$`).FindStringSubmatch(out.String())
		if r, err := http.Get("http://" + addr + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == 200 && found != nil {
				break
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	if found == nil {
		t.Fatalf("the server wrote\n%s", out)
	}
	_, port, _ := strings.Cut(addr, ":")
	return &server{local: "http://localhost:" + port, password: found[1]}
}

// lines collects what a process writes.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A profile is a browser with cookies of its own.
type profile struct {
	t   *testing.T
	ctx context.Context
}

// newBrowser starts a Chromium.
func newBrowser(t *testing.T) *profile {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox,
		chromedp.WindowSize(1280, 1000), chromedp.WSURLReadTimeout(60*time.Second))
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return &profile{t, ctx}
}

// A tab is an open page. It keeps what the page reported and loaded.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	exceptions []string
	reports    []string // of the console, among them violations of a policy
	requested  []string // URLs
	weight     int64    // bytes of the responses
}

func (p *profile) open(url string) *tab {
	p.t.Helper()
	ctx, stop := chromedp.NewContext(p.ctx)
	p.t.Cleanup(stop)
	b := &tab{t: p.t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.exceptions = append(b.exceptions, e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			b.reports = append(b.reports, e.Entry.Text)
		case *network.EventRequestWillBeSent:
			b.requested = append(b.requested, e.Request.URL)
		case *network.EventLoadingFinished:
			b.weight += int64(e.EncodedDataLength)
		case *page.EventJavascriptDialogOpening:
			b.exceptions = append(b.exceptions, "a dialog: "+e.Message)
			go chromedp.Run(ctx, page.HandleJavaScriptDialog(false))
		}
	})
	// Without a deadline, since the tab ends with the context of its first action.
	if err := chromedp.Run(ctx); err != nil {
		p.t.Fatal(err)
	}
	// Passkeys need a page in front.
	b.run(network.Enable(), log.Enable(), webauthn.Enable(), page.BringToFront(), chromedp.Navigate(url))
	return b
}

func (b *tab) run(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, stop := context.WithTimeout(b.ctx, 40*time.Second)
	defer stop()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.t.Fatalf("%v; the page says %q", err, b.text("#status"))
	}
}

// eval returns the value of an expression of JavaScript, which may be a promise.
func (b *tab) eval(expression string) (value any) {
	b.t.Helper()
	awaited := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	ctx, stop := context.WithTimeout(b.ctx, 40*time.Second)
	defer stop()
	var raw []byte
	if err := chromedp.Run(ctx, chromedp.Evaluate(expression, &raw, awaited)); err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &value); err != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
	}
	return value
}

// wait waits until an expression is true.
func (b *tab) wait(expression string) {
	b.t.Helper()
	for range 300 {
		if b.eval("!!("+expression+")") == true {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.t.Fatalf("after 15 s, not true: %s; the page says %q", expression, b.text("#status"))
}

func (b *tab) text(selector string) string {
	s, _ := b.eval(fmt.Sprintf("(document.querySelector(%q)||{}).textContent||''", selector)).(string)
	return s
}

// says waits until the status line of the page has the text.
func (b *tab) says(text string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("document.querySelector('#status').textContent.includes(%q)", text))
}

// press clicks with the mouse.
func (b *tab) press(selector string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("(e=>e&&!e.disabled&&e.checkVisibility())(document.querySelector(%q))", selector))
	b.run(chromedp.ScrollIntoView(selector, chromedp.ByQuery), chromedp.Click(selector, chromedp.ByQuery))
}

// pressText clicks the button with the text within an element. The page may replace the
// button before the click arrives, by a list that it loads again; then the next one is
// clicked.
func (b *tab) pressText(within, text string) {
	b.t.Helper()
	find := fmt.Sprintf("[...document.querySelectorAll(%q)].find(e=>e.textContent.trim()===%q&&!e.disabled)", within+" button", text)
	for {
		b.wait(find)
		b.eval("(e=>e&&e.setAttribute('data-press',''))(" + find + ")")
		ctx, stop := context.WithTimeout(b.ctx, 5*time.Second)
		err := chromedp.Run(ctx, chromedp.ScrollIntoView("[data-press]", chromedp.ByQuery), chromedp.Click("[data-press]", chromedp.ByQuery))
		stop()
		gone := b.eval("!document.querySelector('[data-press]')") == true
		b.eval("document.querySelectorAll('[data-press]').forEach(e=>e.removeAttribute('data-press'))")
		if err == nil {
			return
		}
		if !gone {
			b.t.Fatalf("%s in %s: %v; the page says %q", text, within, err, b.text("#status"))
		}
	}
}

// write types into a field, and replaces what was there.
func (b *tab) write(selector, text string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("(e=>e&&e.checkVisibility())(document.querySelector(%q))", selector))
	b.eval(fmt.Sprintf("document.querySelector(%q).value=''", selector))
	b.run(chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

// signIn signs in on the page with a password.
func (b *tab) signIn(username, password string) {
	b.t.Helper()
	b.write("#f-password [name=username]", username)
	b.write("#f-password [name=password]", password)
	b.press("#f-password button.main")
}

// inside waits until the page shows the session of a user.
func (b *tab) inside(username string) {
	b.t.Helper()
	b.wait(fmt.Sprintf("!document.querySelector('#in').hidden&&document.querySelector('#name').textContent===%q&&document.querySelector('#sessions').children.length", username))
}

// outside waits until the page shows no session, and nothing of one.
func (b *tab) outside() {
	b.t.Helper()
	b.wait("document.querySelector('#in').hidden&&document.querySelector('#who').hidden&&!document.querySelector('#claims').children.length&&!document.querySelector('#keys').children.length")
}

// authenticator adds a virtual authenticator that has the user's consent.
func (b *tab) authenticator() {
	b.t.Helper()
	b.run(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{
			Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
		}).Do(ctx)
		return err
	}))
}

// fine fails the test if a script of the page failed or a policy was violated.
func (b *tab) fine() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.exceptions {
		b.t.Errorf("the page failed: %s", e)
	}
	for _, r := range b.reports {
		if strings.Contains(r, "Content Security Policy") || strings.Contains(r, "TrustedHTML") {
			b.t.Errorf("the page violates its policy: %s", r)
		}
	}
}

// shoot writes a picture of the page to the folder GATEWRIGHT_SCREENSHOTS.
func (b *tab) shoot(name string, width, height int64, dark bool) {
	b.t.Helper()
	folder := os.Getenv("GATEWRIGHT_SCREENSHOTS")
	if folder == "" {
		return
	}
	scheme := map[bool]string{false: "light", true: "dark"}[dark]
	var picture []byte
	b.run(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.EmulateViewport(width, height), chromedp.Evaluate("scrollTo(0,0)", nil), chromedp.CaptureScreenshot(&picture))
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.run(emulation.SetEmulatedMedia(), chromedp.EmulateViewport(1280, 1000))
}

// shootHere is shoot of what is in view.
func (b *tab) shootHere(name string) {
	b.t.Helper()
	folder := os.Getenv("GATEWRIGHT_SCREENSHOTS")
	if folder == "" {
		return
	}
	var picture []byte
	b.run(chromedp.CaptureScreenshot(&picture))
	if err := os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// oneTimeCode returns the code of RFC 6238 for a secret at a time.
func oneTimeCode(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha1.New, key)
	binary.Write(h, binary.BigEndian, at.Unix()/30)
	sum := h.Sum(nil)
	offset := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[offset:])&0x7fffffff)%1000000)
}
