// Command websocket guards coder/websocket: handshakes, messages, idle connections.
package main

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

// newHandler returns the routes. A connection ends when its caller is revoked or its
// token has expired, which is checked at each message and every so often.
func newHandler(hooks guard.Hooks, tokens guard.Authenticator, revoker blacklist.Revoker, every time.Duration) (http.Handler, error) {
	scope, err1 := scopes.New(scopes.Config{Hooks: hooks})
	connections, err2 := ratelimit.New(ratelimit.ByPrincipal, ratelimit.Config{Hooks: hooks}, ratelimit.InFlight(2))
	messages, err3 := ratelimit.New(ratelimit.ByPrincipal, ratelimit.Config{}, ratelimit.MustParse("3/minute")...)
	revoked, err4 := blacklist.NewGuard(revoker, blacklist.GuardConfig{})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	valid := func(r *http.Request) error {
		if caller, err := guard.Caller(r); err == nil && !caller.Expires.IsZero() && time.Now().After(caller.Expires) {
			return guard.InvalidToken("Bearer", errors.New("the token has expired"))
		}
		return revoked.Check(r.Context())
	}
	mux := guard.NewMux(hooks, tokens)
	mux.Handle("GET /chat", scope.Require("read:items")(connections.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil) // refuses pages of other origins
		if err != nil {
			return
		}
		defer conn.CloseNow()
		end := func(err error) {
			d := guard.DenialOf(r.Context(), err)
			hooks.Emit(r, guard.Event{Denial: d})
			conn.Close(cmp.Or(codes[d.Status], websocket.StatusPolicyViolation), d.Code)
		}
		go func() {
			for tick := time.Tick(every); r.Context().Err() == nil; <-tick {
				if err := valid(r); err != nil {
					end(err)
					return
				}
			}
		}()
		for {
			_, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			for _, check := range []func(*http.Request) error{valid, messages.Check} {
				if err := check(r); err != nil {
					end(err)
					return
				}
			}
			caller, _ := guard.Caller(r)
			conn.Write(r.Context(), websocket.MessageText, append([]byte("hello "+caller.Subject+", "), message...))
		}
	}))))
	return mux, nil
}

var codes = map[int]websocket.StatusCode{401: 3000, 403: 3003, 429: websocket.StatusTryAgainLater, 503: websocket.StatusTryAgainLater} // of IANA

func main() {
	authority := demo.New()
	handler, err := newHandler(demo.Log(), authority.Tokens, authority.Revoked, time.Second)
	demo.Check(err)
	authority.Serve(handler, "/chat")
}
