package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/examples/routers/demo"
	"github.com/gatewright/gatewright/examples/routers/grpc/items"
)

// dial serves on the loopback interface and returns a client.
func dial(t *testing.T, server *grpc.Server) *grpc.ClientConn {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// call calls Get or Watch with the values of authorization.
func call(ctx context.Context, conn *grpc.ClientConn, method string, authorization ...string) (string, error) {
	if len(authorization) > 0 {
		ctx = metadata.NewOutgoingContext(ctx, metadata.MD{"authorization": authorization})
	}
	id, item := wrapperspb.String("7"), new(wrapperspb.StringValue)
	if method == items.Get {
		err := conn.Invoke(ctx, method, id, item)
		return item.Value, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return "", err
	}
	if err := stream.SendMsg(id); err != nil {
		return "", err
	}
	if err := stream.CloseSend(); err != nil {
		return "", err
	}
	err = stream.RecvMsg(item)
	return item.Value, err
}

func TestCallsAreGuardedAndLimited(t *testing.T) {
	for _, method := range []string{items.Get, items.Watch} {
		authority, events := demo.New(), new(demo.Events)
		server, err := newServer(events.Hooks(), authority.Tokens)
		if err != nil {
			t.Fatal(err)
		}
		conn := dial(t, server)
		ada, bob := "Bearer "+authority.Token("ada", "read:items"), "Bearer "+authority.Token("bob", "read:items")
		for _, test := range []struct {
			name          string
			authorization []string
			code          codes.Code
			reason        string
			challenge     string
			event         guard.EventName
		}{
			{"anonymous", nil, codes.Unauthenticated, "unauthenticated", `Bearer realm="demo"`, guard.EventLoginFail},
			{"another scheme", []string{"Basic YTpi"}, codes.Unauthenticated, "unauthenticated", `Bearer realm="demo"`, guard.EventLoginFail},
			{"not a token", []string{"Bearer x"}, codes.Unauthenticated, "invalid_token", `Bearer error="invalid_token"`, guard.EventLoginFail},
			{"two credentials", []string{ada, bob}, codes.InvalidArgument, "invalid_request", "", guard.EventInputFail},
			{"without the scope", []string{"Bearer " + authority.Token("eve")}, codes.PermissionDenied, "insufficient_scope", `scope="read:items"`, guard.EventAuthzFail},
			{"first", []string{ada}, codes.OK, "hello ada, 7", "", ""},
			{"second", []string{ada}, codes.OK, "hello ada, 7", "", ""},
			{"third", []string{ada}, codes.OK, "hello ada, 7", "", ""},
			{"over the limit", []string{ada}, codes.ResourceExhausted, "quota_exceeded", "", guard.EventRateLimit},
			{"another caller", []string{bob}, codes.OK, "hello bob, 7", "", ""},
		} {
			events.Reset()
			got, err := call(t.Context(), conn, method, test.authorization...)
			s, challenge, wait := status.Convert(err), "", false
			for _, detail := range s.Details() {
				switch d := detail.(type) {
				case *errdetails.ErrorInfo:
					got, challenge = d.Reason, d.Metadata["www-authenticate"]
				case *errdetails.RetryInfo:
					wait = d.RetryDelay.AsDuration() > 0
				}
			}
			if s.Code() != test.code || got != test.reason || !strings.Contains(challenge, test.challenge) || (challenge == "") != (test.challenge == "") {
				t.Errorf("%s, %s: %v, reason %q, challenge %q", method, test.name, err, got, challenge)
			}
			if wait != (test.code == codes.ResourceExhausted) {
				t.Errorf("%s, %s: says when to try again: %v", method, test.name, wait)
			}
			all := events.All()
			if (test.event == "") != (len(all) == 0) || test.event != "" && (len(all) != 1 || all[0].Name != test.event || all[0].Request.Path != method || all[0].Request.RemoteAddr == "") {
				t.Errorf("%s, %s: events %v, want %q", method, test.name, all, test.event)
			}
		}
		if err := authority.Revoke(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		if _, err := call(t.Context(), conn, method, bob); status.Code(err) != codes.Unauthenticated {
			t.Errorf("a revoked token: %v", err)
		}
	}
}

func TestAMethodWithoutChecksStopsTheStartAndIsRefused(t *testing.T) {
	authority, events := demo.New(), new(demo.Events)
	g := &gate{events.Hooks(), authority.Tokens, map[string][]func(*http.Request) error{items.Watch: {}}}
	server := grpc.NewServer(grpc.UnaryInterceptor(g.unary), grpc.StreamInterceptor(g.stream))
	items.Register(server, service{})
	if err := g.covers(server); err == nil || !strings.Contains(err.Error(), items.Get) || strings.Contains(err.Error(), items.Watch) {
		t.Errorf("the start: %v", err)
	}
	conn := dial(t, server)
	if got, err := call(t.Context(), conn, items.Get, "Bearer "+authority.Token("ada", "read:items")); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without checks: %q, %v", got, err)
	}
	if got, err := call(t.Context(), conn, items.Watch); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "guard") {
		t.Errorf("public, and the handler needs a caller: %q, %v", got, err)
	}
}

func TestAStoreThatFailsIsUnavailable(t *testing.T) {
	events := new(demo.Events)
	server, err := newServer(events.Hooks(), failing{demo.New().Tokens})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := call(t.Context(), dial(t, server), items.Get, "Bearer x"); status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "secret") {
		t.Errorf("%q, %v", got, err)
	}
}

type failing struct{ guard.Authenticator }

func (failing) Authenticate(*http.Request) (*identity.Principal, error) {
	return nil, errors.New("a secret of the store")
}
