package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/ticket"
)

// Messages to users. On a developer's machine they go to an outbox that the page
// shows, and are sent nowhere.

// A letter is a message in the outbox. It has secrets.
type letter struct {
	At      time.Time `json:"at"`
	To      string    `json:"to"`
	Purpose string    `json:"purpose"`
	Text    string    `json:"text"`
	Link    string    `json:"link,omitempty"`
	Code    string    `json:"code,omitempty"`
}

// maxLetters is how many messages an outbox keeps.
const maxLetters = 100

// An outbox keeps the newest messages in memory.
type outbox struct {
	mu  sync.Mutex
	all []letter // the newest first
}

func (o *outbox) put(l letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append([]letter{l}, o.all...)
	if len(o.all) > maxLetters {
		o.all = slices.Clip(o.all[:maxLetters])
	}
}

func (o *outbox) list() []letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]letter{}, o.all...)
}

// A post sends messages to the outbox or by SMTP.
type post struct {
	outbox  *outbox                                   // nil: none
	send    func(ctx context.Context, l letter) error // nil: nothing can be sent
	address func(ctx context.Context, subject string) (string, error)
	fail    func(error)

	notices chan notice
	done    sync.WaitGroup
	mu      sync.RWMutex
	closed  bool
}

// A notice is to be sent to a user.
type notice struct{ subject, text string }

// errNoMail is the error of a server that cannot send mail.
var errNoMail = errors.New("no message was sent: -smtp names a mail server")

func newPost(box *outbox, send func(context.Context, letter) error, address func(context.Context, string) (string, error), fail func(error)) *post {
	p := &post{outbox: box, send: send, address: address, fail: fail, notices: make(chan notice, 256)}
	p.done.Go(func() {
		for n := range p.notices {
			if err := p.sendNotice(n); err != nil {
				p.fail(err)
			}
		}
	})
	return p
}

// tell sends a notice about a sign-in or a session: see notify.
func (p *post) tell(subject, text string) {
	p.notify(subject, text+" If this was not you, change your password and sign out everywhere.")
}

// notify sends a notice to a user without waiting. If too many wait, it is reported
// and lost.
func (p *post) notify(subject, text string) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return
	}
	select {
	case p.notices <- notice{subject, text}:
	default:
		p.fail(errors.New("a notice to a user was dropped: too many wait to be sent"))
	}
}

func (p *post) sendNotice(n notice) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	to, err := p.address(ctx, n.subject)
	if err != nil || to == "" {
		return err
	}
	return p.put(ctx, letter{To: to, Purpose: "notice", Text: n.text})
}

// deliver is of ticket.Config.
func (p *post) deliver(ctx context.Context, m ticket.Message) error {
	l := letter{To: m.To, Purpose: string(m.Purpose), Link: string(m.Link.Bytes()), Code: string(m.Code.Bytes())}
	switch {
	case m.Notice != "":
		l.Text = "This happened to your account: " + m.Notice + "."
	case l.Code != "":
		l.Text = "Your code. It is valid until " + m.Expires.UTC().Format("15:04 MST") + "."
	default:
		l.Text = texts[m.Purpose] + " The link is valid until " + m.Expires.UTC().Format("2 January 15:04 MST") + "."
	}
	return p.put(ctx, l)
}

// texts are what a link is for.
var texts = map[ticket.Purpose]string{
	ticket.ResetPassword: "Choose a new password.",
	ticket.VerifyEmail:   "Confirm that this is your address.",
	ticket.ChangeEmail:   "Confirm your new address.",
	ticket.UndoEmail:     "The address of your account was changed. Undo that if it was not you.",
	ticket.SignInLink:    "Sign in, in the browser in which you asked for this.",
	ticket.Invitation:    "You are invited to make an account.",
}

func (p *post) put(ctx context.Context, l letter) error {
	l.At = time.Now().UTC()
	if p.outbox != nil {
		p.outbox.put(l)
		return nil
	}
	if p.send == nil {
		return errNoMail
	}
	return p.send(ctx, l)
}

// close sends the notices that wait.
func (p *post) close() {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	if !closed {
		close(p.notices)
	}
	p.mu.Unlock()
	p.done.Wait()
}

// showOutbox is GET /outbox/: the messages, for a browser on this machine, of a
// server that only this machine can reach.
func (a *app) showOutbox(w http.ResponseWriter, r *http.Request) {
	if a.ways.post.outbox == nil || !isLoopback(r.RemoteAddr) || !isLoopback(r.Host) || r.Context().Value(forwardedKey{}) != nil || strings.HasPrefix(r.Header.Get("Sec-Fetch-Site"), "cross") {
		a.hooks.Refuse(w, r, guard.NotFound(errors.New("there is no outbox, or the request comes from elsewhere")))
		return
	}
	writeJSON(w, http.StatusOK, a.ways.post.outbox.list())
}

type forwardedKey struct{}

// noteProxies marks requests that a proxy says it has passed on, before
// headers.TrustedProxies takes what a proxy without trust says.
func noteProxies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded", "Via"} {
			if r.Header.Get(name) != "" {
				r = r.WithContext(context.WithValue(r.Context(), forwardedKey{}, true))
				break
			}
		}
		next.ServeHTTP(w, r)
	})
}
