// Command grpc guards a gRPC server: interceptors make the decisions of HTTP guards.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/examples/routers/grpc/items"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/scopes"
)

// service is the handlers, which find the caller in the context.
type service struct{}

func (service) Get(ctx context.Context, id *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	caller, err := guard.CallerFrom(ctx)
	if err != nil { // behind no check
		return nil, status.Error(codes.Internal, "")
	}
	return wrapperspb.String("hello " + caller.Subject + ", " + id.Value), nil
}

func (s service) Watch(id *wrapperspb.StringValue, stream grpc.ServerStream) error {
	item, err := s.Get(stream.Context(), id)
	if err == nil {
		err = stream.SendMsg(item)
	}
	return err
}

// newServer returns the server. Its error names the methods that have no checks.
func newServer(hooks guard.Hooks, tokens guard.Authenticator) (*grpc.Server, error) {
	scope, err1 := scopes.New(scopes.Config{})
	limit, err2 := ratelimit.New(ratelimit.Join(ratelimit.ByRoute, ratelimit.ByPrincipal), ratelimit.Config{}, ratelimit.MustParse("3/minute")...)
	read := func(r *http.Request) error { return scope.Check(r.Context(), "read:items") }
	gate := &gate{hooks, tokens, map[string][]func(*http.Request) error{items.Get: {read, limit.Check}, items.Watch: {read, limit.Check}}}
	server := grpc.NewServer(grpc.UnaryInterceptor(gate.unary), grpc.StreamInterceptor(gate.stream))
	items.Register(server, service{})
	return server, errors.Join(err1, err2, gate.covers(server))
}

// covers returns an error for methods of server that are not in checks.
func (g *gate) covers(server *grpc.Server) error {
	var errs []error
	for service, info := range server.GetServiceInfo() {
		for _, m := range info.Methods {
			if name := "/" + service + "/" + m.Name; g.checks[name] == nil {
				errs = append(errs, fmt.Errorf("the method %s has no checks; a public one has an empty list", name))
			}
		}
	}
	return errors.Join(errs...)
}

func main() {
	authority := demo.New()
	server, err := newServer(demo.Log(), authority.Tokens)
	demo.Check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:8080")
	demo.Check(err)
	fmt.Println("authorization: Bearer", authority.Token("ada", "read:items"))
	demo.Check(server.Serve(listener))
}
