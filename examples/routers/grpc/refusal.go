package main

import (
	"cmp"
	"net/http"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gatewright/gatewright/auth/guard"
)

// codesOf are the codes of gRPC for the statuses of refusals.
var codesOf = map[int]codes.Code{400: codes.InvalidArgument, 401: codes.Unauthenticated, 403: codes.PermissionDenied, 404: codes.NotFound,
	413: codes.ResourceExhausted, 429: codes.ResourceExhausted, 499: codes.Canceled, 503: codes.Unavailable}

// refusal reports err as an event, and returns its status with code, challenge and delay.
func (g *gate) refusal(r *http.Request, err error) error {
	d := guard.DenialOf(r.Context(), err)
	g.hooks.Emit(r, guard.Event{Denial: d})
	info := &errdetails.ErrorInfo{Reason: d.Code, Domain: "api.example.com", Metadata: map[string]string{}}
	if len(d.Challenges) > 0 {
		info.Metadata["www-authenticate"] = d.Challenges[0].String()
	} else if d.Status == http.StatusUnauthorized {
		info.Metadata["www-authenticate"] = g.tokens.Challenge().String()
	}
	s := status.New(cmp.Or(codesOf[d.Status], codes.Internal), d.Detail)
	if full, err := s.WithDetails(info, &errdetails.RetryInfo{RetryDelay: durationpb.New(d.RetryAfter)}); err == nil {
		s = full
	}
	return s.Err()
}
