// Command connect guards procedures of connect-go with net/http middleware, before a
// message is read, and refuses in the protocol of the client: Connect, gRPC, gRPC-Web.
package main

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
	pb "google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

const get, watch = "/demo.Items/Get", "/demo.Items/Watch"

// newHandler returns the procedures. Mux.Handle panics for one without a guard.
func newHandler(hooks guard.Hooks, tokens guard.Authenticator) (http.Handler, error) {
	hooks.Deny = func(_ http.ResponseWriter, r *http.Request, d *guard.Denial) {
		r.Context().Value((*writer)(nil)).(*writer).denial = d
	}
	scope, err1 := scopes.New(scopes.Config{Hooks: hooks})
	limit, err2 := ratelimit.New(ratelimit.Join(ratelimit.ByRoute, ratelimit.ByPrincipal), ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("3/minute")...)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	mux := guard.NewMux(hooks, tokens)
	mux.Handle(get, scope.Require("read:items")(limit.Handler(connect.NewUnaryHandlerSimple(get, hello))))
	mux.Handle(watch, scope.Require("read:items")(limit.Handler(connect.NewServerStreamHandlerSimple(watch,
		func(ctx context.Context, id *pb.StringValue, stream *connect.ServerStream[pb.StringValue]) error {
			item, err := hello(ctx, id)
			if err == nil {
				err = stream.Send(item)
			}
			return err
		}))))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner := &writer{ResponseWriter: w, r: r}
		mux.ServeHTTP(inner, r.WithContext(context.WithValue(r.Context(), (*writer)(nil), inner)))
	}), nil
}

func hello(ctx context.Context, id *pb.StringValue) (*pb.StringValue, error) {
	caller, err := guard.CallerFrom(ctx)
	if err != nil { // behind no guard
		return nil, connect.NewError(connect.CodeInternal, nil)
	}
	return pb.String("hello " + caller.Subject + ", " + id.Value), nil
}

// A writer writes a refusal in the protocol of the client. Refuse has set the headers.
type writer struct {
	http.ResponseWriter
	r      *http.Request
	denial *guard.Denial
}

var codes = map[int]connect.Code{400: connect.CodeInvalidArgument, 401: connect.CodeUnauthenticated, 403: connect.CodePermissionDenied,
	404: connect.CodeNotFound, 413: connect.CodeResourceExhausted, 429: connect.CodeResourceExhausted, 499: connect.CodeCanceled, 503: connect.CodeUnavailable}

func (w *writer) Flush() { http.NewResponseController(w.ResponseWriter).Flush() }
func (w *writer) WriteHeader(status int) {
	if w.denial != nil {
		connect.NewErrorWriter().Write(w.ResponseWriter, w.r, connect.NewError(cmp.Or(codes[status], connect.CodeInternal), errors.New(w.denial.Detail)))
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func main() {
	authority := demo.New()
	handler, err := newHandler(demo.Log(), authority.Tokens)
	demo.Check(err)
	authority.Serve(handler, get+` --json '"7"'`)
}
