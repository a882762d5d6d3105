package peers

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/headers"
)

// A browser is Chromium, driven by the DevTools protocol over a pipe.
type browser struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	session string
	last    int
}

// openBrowser starts a browser with one page. It skips the test if Chromium is missing.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skipf("needs chromium: %v", err)
	}
	fromUs, toBrowser, err1 := os.Pipe()
	fromBrowser, toUs, err2 := os.Pipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--remote-debugging-pipe", "--user-data-dir="+profile, "about:blank")
	process.ExtraFiles = []*os.File{fromUs, toUs}
	if err := process.Start(); err != nil {
		t.Skipf("chromium does not start: %v", err)
	}
	fromUs.Close()
	toUs.Close()
	t.Cleanup(func() {
		_, _ = toBrowser.Write([]byte(`{"id":0,"method":"Browser.close"}` + "\x00"))
		toBrowser.Close()
		fromBrowser.Close()
		ended := time.AfterFunc(10*time.Second, func() { _ = process.Process.Kill() })
		_ = process.Wait()
		ended.Stop()
		_ = os.RemoveAll(profile) // a child of the browser may still write there
	})
	// A browser that hangs ends the test.
	hangs := time.AfterFunc(5*time.Minute, func() { _ = process.Process.Kill() })
	t.Cleanup(func() { hangs.Stop() })
	b := &browser{t: t, in: toBrowser, out: bufio.NewReader(fromBrowser)}
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	return b
}

// load opens a page and returns when it is complete.
func (b *browser) load(url string) {
	b.t.Helper()
	b.call("Page.enable", nil, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.wait("Page.loadEventFired")
}

// wait reads until an event.
func (b *browser) wait(event string) {
	b.t.Helper()
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("waiting for %s: %v", event, err)
		}
		var message struct{ Method string }
		if err := json.Unmarshal(text[:len(text)-1], &message); err != nil {
			b.t.Fatal(err)
		}
		if message.Method == event {
			return
		}
	}
}

func (b *browser) call(method string, params map[string]any, result any) {
	b.t.Helper()
	b.last++
	message, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		message, err = json.Marshal(map[string]any{"id": b.last, "method": method, "params": params})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(message, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(text[:len(text)-1], &answer); err != nil {
			b.t.Fatal(err)
		}
		if answer.ID != b.last {
			continue
		}
		if answer.Error != nil {
			b.t.Fatalf("%s: %s", method, answer.Error)
		}
		if result != nil {
			if err := json.Unmarshal(answer.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// run evaluates an expression that gives a promise of a text.
func (b *browser) run(expression string) string {
	b.t.Helper()
	var out struct {
		Result           struct{ Value string }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &out)
	if out.ExceptionDetails != nil {
		b.t.Fatalf("%s\n%s", expression, out.ExceptionDetails)
	}
	return out.Result.Value
}

// Chromium's authenticator in software makes what all libraries accept, with each
// algorithm, and with and without synchronization.
func TestCeremoniesOfChromiumAreAcceptedByAll(t *testing.T) {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	const rpID = "localhost"
	origin := fmt.Sprintf("http://localhost:%d", listener.Addr().(*net.TCPAddr).Port)
	rp := newPartyOf(t, new(passkey.Memory), rpID, origin)
	as := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p := *ada
			p.AuthTime, p.Subject = time.Now(), r.URL.Query().Get("subject")
			h.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), &p)))
		})
	}
	mux := http.NewServeMux()
	mux.Handle("POST /create", as(rp.RegisterOptions()))
	mux.Handle("POST /register", as(rp.Register()))
	mux.Handle("POST /get", rp.SignInOptions())
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!DOCTYPE html><title>Passkeys</title>")
	})
	// The page has the headers of a page, as a host's has: they permit passkeys.
	secure, err := headers.New(headers.HTML())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(secure.Handler(mux))
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)

	b := openBrowser(t)
	b.load(origin + "/")
	b.call("WebAuthn.enable", nil, nil)
	var ceremonies []ceremony
	n := max(rounds(100)/4, 2)
	for i, kind := range []struct {
		algorithm    int
		synchronized bool
	}{{-7, false}, {-7, true}, {-8, false}, {-257, true}} {
		var made struct{ AuthenticatorID string }
		b.call("WebAuthn.addVirtualAuthenticator", map[string]any{"options": map[string]any{"protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal",
			"hasResidentKey": true, "hasUserVerification": true, "isUserVerified": true, "automaticPresenceSimulation": true,
			"defaultBackupEligibility": kind.synchronized, "defaultBackupState": kind.synchronized}}, &made)
		for j := range n {
			text := b.run(fmt.Sprintf(`(async () => {
				const post = (url, body) => fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body})
				const subject = "user-%d-%d"
				const toCreate = await (await post("/create?subject=" + subject, '{"proof":"x"}')).json()
				const creating = {...toCreate, pubKeyCredParams: [{type: "public-key", alg: %d}]}
				const created = await navigator.credentials.create({publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(creating)})
				const registered = await post("/register?subject=" + subject, JSON.stringify(created))
				const toGet = await (await post("/get", "{}")).json()
				const asserted = await navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(toGet)})
				return JSON.stringify({status: registered.status, created: JSON.stringify(created), asserted: JSON.stringify(asserted),
					create: toCreate.challenge, get: toGet.challenge})
			})()`, i, j, kind.algorithm))
			var answer struct {
				Status                         int
				Created, Asserted, Create, Get string
			}
			if err := json.Unmarshal([]byte(text), &answer); err != nil {
				t.Fatal(err)
			}
			c := ceremony{created: answer.Created, asserted: answer.Asserted, createChallenge: answer.Create, assertChallenge: answer.Get, rpID: rpID, origin: origin}
			c.readKey(t)
			ceremonies = append(ceremonies, c)
			if answer.Status != 201 {
				t.Errorf("we refuse the registration: %d %v\n%s", answer.Status, rp.reason, c.created)
			}
			if err := prove(rp, c.asserted); err != nil {
				t.Errorf("we refuse: %v\n%s", err, c.asserted)
			}
			b.call("WebAuthn.clearCredentials", map[string]any{"authenticatorId": made.AuthenticatorID}, nil)
		}
		b.call("WebAuthn.removeVirtualAuthenticator", map[string]any{"authenticatorId": made.AuthenticatorID}, nil)
	}
	t.Logf("%d ceremonies", len(ceremonies))
	for _, j := range judges {
		t.Run(j.name, func(t *testing.T) {
			peer := j.open(t)
			for _, c := range ceremonies {
				if err := peer.registers(c, c.created); err != nil {
					t.Errorf("the peer refuses the registration: %v\n%s", err, c.created)
				}
				if err := peer.asserts(c, c.asserted); err != nil {
					t.Errorf("the peer refuses the assertion: %v\n%s", err, c.asserted)
				}
			}
		})
	}
}
