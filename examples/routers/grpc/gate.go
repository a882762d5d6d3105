package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/gatewright/gatewright/auth/guard"
)

// A gate decides about calls with the checks of HTTP guards.
type gate struct {
	hooks  guard.Hooks
	tokens guard.Authenticator
	checks map[string][]func(*http.Request) error // by method; the list of a public method is empty
}

func (g *gate) unary(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	r, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, g.refusal(r, err)
	}
	return next(r.Context(), in)
}

func (g *gate) stream(impl any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	r, err := g.admit(s.Context(), info.FullMethod)
	if err != nil {
		return g.refusal(r, err)
	}
	return next(impl, stream{s, r.Context()})
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

// admit returns the call as a request with its caller, or the error of a check.
func (g *gate) admit(ctx context.Context, method string) (*http.Request, error) {
	r := (&http.Request{Method: "POST", URL: &url.URL{Path: method}, Pattern: "POST " + method, Header: http.Header{}}).WithContext(ctx)
	r.Header["Authorization"] = metadata.ValueFromIncomingContext(ctx, "authorization")
	if p, ok := peer.FromContext(ctx); ok {
		r.RemoteAddr = p.Addr.String()
	}
	caller, err := g.tokens.Authenticate(r)
	if err == nil {
		r = r.WithContext(guard.WithCaller(ctx, caller, g.tokens))
	} else if !errors.Is(err, guard.ErrNoCredentials) {
		return r, err
	}
	if g.checks[method] == nil {
		return r, guard.Forbidden(fmt.Errorf("the method %s has no checks", method))
	}
	for _, check := range g.checks[method] {
		if err := check(r); err != nil {
			return r, err
		}
	}
	return r, nil
}
