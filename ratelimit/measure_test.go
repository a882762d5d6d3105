package ratelimit_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
)

func TestDecisionsWithoutARequestAreMeasuredWithTheirWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		hooks := guard.Hooks{Measure: func(_ context.Context, m guard.Measurement) {
			got = append(got, fmt.Sprint(m.Operation, " ", m.Name, " ", m.Outcome, " ", m.Code, " ", m.Duration))
		}}
		limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{Name: "messages", Hooks: hooks}, ratelimit.Limit{Quota: 1, Window: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		limiter.Reserve(t.Context(), 1, "alice")
		limiter.Reserve(t.Context(), 1, "alice")

		valve, err := ratelimit.NewValve(1, ratelimit.ValveConfig{Burst: 1, MaxWait: 2 * time.Second, Hooks: hooks})
		if err != nil {
			t.Fatal(err)
		}
		valve.Wait(t.Context())
		valve.Wait(t.Context())

		s := newSignIn(t, ratelimit.SignInConfig{Pair: ratelimit.Limit{Quota: 1, Window: time.Hour}, Hooks: hooks})
		try(t, s, "alice", "192.0.2.1", guard.Failed)
		try(t, s, "alice", "192.0.2.1", guard.Failed)

		want := []string{
			"limit messages succeeded  0s", "limit messages failed quota_exceeded 0s",
			"limit valve succeeded  0s", "limit valve succeeded  1.000000001s",
			"limit sign-in succeeded  0s", "limit sign-in failed too_many_attempts 0s",
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	})
}
