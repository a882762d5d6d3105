package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	pb "google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/examples/routers/demo"
)

// call calls get or watch with the values of Authorization.
func call(ctx context.Context, client *connect.Client[pb.StringValue, pb.StringValue], path string, authorization ...string) (string, error) {
	request := connect.NewRequest(pb.String("7"))
	request.Header()["Authorization"] = authorization
	if path == get {
		response, err := client.CallUnary(ctx, request)
		if err != nil {
			return "", err
		}
		return response.Msg.Value, nil
	}
	stream, err := client.CallServerStream(ctx, request)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	if !stream.Receive() {
		return "", stream.Err()
	}
	return stream.Msg().Value, nil
}

func TestProceduresAreGuardedAndLimitedInEachProtocol(t *testing.T) {
	for protocol, options := range map[string][]connect.ClientOption{
		"Connect": nil, "Connect with JSON": {connect.WithProtoJSON()}, "gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()},
	} {
		for _, path := range []string{get, watch} {
			t.Run(protocol+path, func(t *testing.T) { drive(t, path, options) })
		}
	}
}

func drive(t *testing.T, path string, options []connect.ClientOption) {
	authority, events := demo.New(), new(demo.Events)
	handler, err := newHandler(events.Hooks(), authority.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := connect.NewClient[pb.StringValue, pb.StringValue](server.Client(), server.URL+path, options...)
	ada, bob := "Bearer "+authority.Token("ada", "read:items"), "Bearer "+authority.Token("bob", "read:items")
	for _, test := range []struct {
		name          string
		authorization []string
		code          connect.Code
		body          string
		challenge     string
		event         guard.EventName
	}{
		{"anonymous", nil, connect.CodeUnauthenticated, "", `Bearer realm="demo"`, guard.EventLoginFail},
		{"not a token", []string{"Bearer x"}, connect.CodeUnauthenticated, "", `error="invalid_token"`, guard.EventLoginFail},
		{"two credentials", []string{ada, bob}, connect.CodeInvalidArgument, "", "", guard.EventInputFail},
		{"without the scope", []string{"Bearer " + authority.Token("eve")}, connect.CodePermissionDenied, "", `scope="read:items"`, guard.EventAuthzFail},
		{"first", []string{ada}, 0, "hello ada, 7", "", ""},
		{"second", []string{ada}, 0, "hello ada, 7", "", ""},
		{"third", []string{ada}, 0, "hello ada, 7", "", ""},
		{"over the limit", []string{ada}, connect.CodeResourceExhausted, "", "", guard.EventRateLimit},
		{"another caller", []string{bob}, 0, "hello bob, 7", "", ""},
	} {
		events.Reset()
		body, err := call(t.Context(), client, path, test.authorization...)
		var code connect.Code
		header := http.Header{}
		if refused, ok := errors.AsType[*connect.Error](err); ok {
			code, header = refused.Code(), refused.Meta()
			if refused.Message() == "" || strings.Contains(refused.Message(), "guard") {
				t.Errorf("%s: the message is %q", test.name, refused.Message())
			}
		}
		if code != test.code || body != test.body {
			t.Errorf("%s: %q, %v, want %v", test.name, body, err, test.code)
		}
		if challenge := header.Get("WWW-Authenticate"); !strings.Contains(challenge, test.challenge) || (challenge == "") != (test.challenge == "") {
			t.Errorf("%s: the challenge is %q, want %q", test.name, challenge, test.challenge)
		}
		if (header.Get("Retry-After") != "") != (test.code == connect.CodeResourceExhausted) {
			t.Errorf("%s: Retry-After is %q", test.name, header.Get("Retry-After"))
		}
		if got := events.Names(); (test.event == "") != (len(got) == 0) || test.event != "" && (len(got) != 1 || got[0] != test.event) {
			t.Errorf("%s: events %v, want %q", test.name, got, test.event)
		}
	}
	if err := authority.Revoke(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t.Context(), client, path, bob); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("a revoked token: %v", err)
	}
}

// A client without connect-go, like curl, receives the statuses of HTTP.
func TestRefusalsHaveTheStatusesOfHTTP(t *testing.T) {
	authority, events := demo.New(), new(demo.Events)
	handler, err := newHandler(events.Hooks(), authority.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	for path, want := range map[string]int{get: 401, "/demo.Items/Nothing": 404} {
		if w, body := demo.Do(t, "POST", server.URL+path); w.StatusCode != want || !strings.Contains(body, `"message"`) {
			t.Errorf("%s: %d %s, want %d", path, w.StatusCode, body, want)
		}
	}
	if w, body := demo.Do(t, "POST", server.URL+get, "Bearer "+authority.Token("eve")); w.StatusCode != 403 {
		t.Errorf("without the scope: %d %s", w.StatusCode, body)
	}
}
