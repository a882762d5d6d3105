package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// addPasskey adds a passkey to the account of the page.
func (b *tab) addPasskey(password string) {
	b.t.Helper()
	b.write("#f-passkey [name=proof]", password)
	b.press("#f-passkey button.main")
	b.wait("document.querySelector('#passkeys').children.length===1")
}

func TestPasskeyIsAddedSignsInStepsUpAndIsRemoved(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	b.authenticator()
	b.signIn("alice", s.password)
	b.inside("alice")
	b.addPasskey(s.password)
	b.says("The passkey is added.")
	// The browser offers the passkey while the username is typed, and the virtual
	// user consents at once.
	b.press("#logout")
	b.says("Signed in with a passkey.")
	b.inside("alice")
	if got := b.text("#claims"); !strings.Contains(got, "passkey") || !strings.Contains(got, "mfa") {
		t.Errorf("the claims are %q", got)
	}
	if got := b.text("#sessions"); !strings.Contains(got, "passkey") {
		t.Errorf("the sessions are %q", got)
	}

	// The button does the same.
	b.eval("PublicKeyCredential.isConditionalMediationAvailable=async()=>false")
	b.press("#logout")
	b.outside()
	b.press("#by-passkey")
	b.inside("alice")

	b.press("#stepup-passkey")
	b.says("This is a new session, with the passkey.")
	b.inside("alice")
	b.pressText("#passkeys", "Remove")
	b.says("The passkey is removed.")
	b.wait("document.querySelector('#passkeys').children.length===0")
	b.press("#logout")
	b.says("Signed out.")
	b.signIn("alice", s.password)
	b.inside("alice")
	b.fine()
}

func TestPasskeyIsASecondFactor(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	b.authenticator()
	b.signIn("alice", s.password)
	b.inside("alice")
	b.addPasskey(s.password)
	// Without the offer of the passkey, which the virtual user accepts at once.
	b.eval("PublicKeyCredential.isConditionalMediationAvailable=async()=>false")
	b.press("#logout")
	b.outside()
	b.signIn("alice", s.password)
	b.wait("!document.querySelector('#f-second').hidden")
	b.press("#second-passkey")
	b.inside("alice")
	b.says("Signed in with a password and a passkey.")
	b.fine()
}

func TestOneTimeCodesAreSetUpWithThePage(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	b.signIn("alice", s.password)
	b.inside("alice")
	b.press("#setup")
	b.wait("document.querySelector('#qr img')&&document.querySelector('#qr img').naturalWidth>0")
	b.press("#setup-text")
	b.wait("document.querySelector('#secret')")
	secret := b.text("#secret")
	// A code is used once: the next one is that of the next half minute, which the
	// server accepts already.
	at := time.Now()
	b.write("#f-confirm [name=code]", oneTimeCode(t, secret, at))
	b.write("#f-confirm [name=password]", s.password)
	b.press("#f-confirm button.main")
	b.wait("document.querySelector('#recovery pre')")
	recovery := strings.Fields(b.text("#recovery pre"))
	if len(recovery) < 8 {
		t.Errorf("%d recovery codes", len(recovery))
	}
	b.press("#logout")
	b.outside()
	if got := b.eval(fmt.Sprintf("document.documentElement.outerHTML.includes(%q)||document.documentElement.outerHTML.includes(%q)", secret, recovery[0])); got != false {
		t.Error("secrets stay in the page after signing out")
	}
	b.signIn("alice", s.password)
	b.wait("!document.querySelector('#f-second').hidden")
	b.write("#f-second [name=code]", recovery[0])
	b.press("#f-second button.main")
	b.inside("alice")
	b.press("#logout")
	b.outside()
	b.signIn("alice", s.password)
	b.wait("!document.querySelector('#f-second').hidden")
	b.write("#f-second [name=code]", recovery[0])
	b.press("#f-second button.main")
	b.says("invalid_grant") // it was used
	b.fine()
}

// newAccount registers a user with a verified address, by the page.
func (b *tab) newAccount(username, password string) (address string) {
	b.t.Helper()
	address = username + "@example.com"
	b.write("#f-register [name=username]", username)
	b.write("#f-register [name=email]", address)
	b.write("#f-register [name=full_name]", username)
	b.write("#f-register [name=password]", password)
	b.press("#f-register button")
	b.says("Registered.")
	b.signIn(username, password)
	b.inside(username)
	b.press("#verify")
	b.follow(address, "verify-email")
	b.press("button") // of the page that the link opens
	b.wait("!document.querySelector('form button')||document.body.textContent.includes('verified')||document.body.textContent.includes('confirmed')")
	return address
}

// letter waits for a message to an address in the outbox of the page and returns its
// link, which leads to the page with the name.
func (b *tab) letter(address, page string) (link string) {
	b.t.Helper()
	for range 40 {
		b.eval("document.querySelector('#look').click()")
		time.Sleep(150 * time.Millisecond)
		link, _ = b.eval(fmt.Sprintf("(e=>e?e.querySelector('a').href:'')([...document.querySelectorAll('#letters li')].find(e=>e.querySelector('b')?.textContent===%q&&e.querySelector('a')?.pathname===%q))", address, "/account/"+page)).(string)
		if link != "" {
			return link
		}
	}
	b.t.Fatalf("no message to %s in the outbox: %q", address, b.text("#letters"))
	return ""
}

// follow opens the link of the newest message to an address that leads to the page.
func (b *tab) follow(address, page string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.letter(address, page)))
}

func TestForgottenPasswordIsReplacedByMail(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	const old, next = "an old passphrase of erin", "a new passphrase of erin"
	address := b.newAccount("erin", old)
	b.run(chromedp.Navigate(s.local + "/"))
	b.inside("erin")

	// Another device, signed out: it asks for a reset.
	other := newBrowser(t).open(s.local + "/")
	other.write("#f-mail [name=email]", "unknown@example.com")
	other.pressText("#f-mail", "I forgot my password")
	other.says("If the address is known, a message is on its way.")
	other.write("#f-mail [name=email]", address)
	other.pressText("#f-mail", "I forgot my password")
	other.says("If the address is known, a message is on its way.")
	other.follow(address, "reset-password")
	other.write("[name=password]", next)
	other.press("form button")
	other.wait("!document.querySelector('[name=password]')||document.body.textContent.includes('changed')")

	// The session of the first device is over.
	b.run(chromedp.Reload())
	b.outside()
	b.signIn("erin", old)
	b.says("invalid_grant")
	b.signIn("erin", next)
	b.inside("erin")
}

func TestMailedLinkWorksInTheBrowserThatRequestedItOnly(t *testing.T) {
	s := startServer(t)
	b := newBrowser(t).open(s.local + "/")
	address := b.newAccount("erin", "a passphrase of erin's own")
	b.run(chromedp.Navigate(s.local + "/"))
	b.inside("erin")
	b.press("#logout")
	b.outside()
	b.write("#f-mail [name=email]", address)
	b.pressText("#f-mail", "Mail me a link")
	b.says("If the address is known, a message is on its way.")
	link := b.letter(address, "sign-in-link")

	stranger := newBrowser(t).open(link)
	stranger.press("#use-link")
	stranger.says("invalid_grant")
	stranger.outside()

	b.run(chromedp.Navigate(link))
	b.press("#use-link")
	b.inside("erin")
	b.says("Signed in by mail.")
	if got := b.text("#claims"); !strings.Contains(got, "email") {
		t.Errorf("the claims are %q", got)
	}
	b.fine()
}
