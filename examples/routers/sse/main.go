// Command sse guards a stream of server-sent events, which ends when its caller is
// revoked, its token expires or the client stops reading.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

// newHandler returns the routes, with an event every so often.
func newHandler(hooks guard.Hooks, tokens guard.Authenticator, revoker blacklist.Revoker, every time.Duration) (http.Handler, error) {
	scope, err1 := scopes.New(scopes.Config{Hooks: hooks})
	streams, err2 := ratelimit.New(ratelimit.ByPrincipal, ratelimit.Config{Hooks: hooks}, ratelimit.InFlight(2))
	revoked, err3 := blacklist.NewGuard(revoker, blacklist.GuardConfig{})
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	valid := func(r *http.Request) error {
		if caller, err := guard.Caller(r); err == nil && !caller.Expires.IsZero() && time.Now().After(caller.Expires) {
			return guard.InvalidToken("Bearer", errors.New("the token has expired"))
		}
		return revoked.Check(r.Context())
	}
	stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := guard.Caller(r)
		if err != nil { // behind no guard
			hooks.Refuse(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		control := http.NewResponseController(w)
		for i, tick := 1, time.Tick(every); ; i++ {
			if err := valid(r); err != nil { // too late for a status: an EventSource comes back and receives it
				d := guard.DenialOf(r.Context(), err)
				hooks.Emit(r, guard.Event{Denial: d})
				fmt.Fprintf(w, "event: refused\ndata: %s\n\n", d.Code)
				return
			}
			control.SetWriteDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(w, "id: %d\ndata: hello %s\n\n", i, caller.Subject)
			if control.Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-tick:
			}
		}
	})
	mux := guard.NewMux(hooks, tokens)
	mux.Handle("GET /events", scope.Require("read:items")(streams.Handler(stream)))
	return mux, nil
}

func main() {
	authority := demo.New()
	handler, err := newHandler(demo.Log(), authority.Tokens, authority.Revoked, time.Second)
	demo.Check(err)
	authority.Serve(handler, "/events")
}
