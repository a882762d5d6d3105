package integration

import (
	"testing"

	"github.com/gatewright/gatewright/auth/passkey"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
	passkeyredis "github.com/gatewright/gatewright/auth/passkey/redisstore"
	"github.com/gatewright/gatewright/auth/ticket"
	ticketredis "github.com/gatewright/gatewright/auth/ticket/redisstore"
	"github.com/gatewright/gatewright/auth/ticket/tickettest"
	"github.com/gatewright/gatewright/examples/integration/servers"
)

func TestPasskeysAndTicketsInRedis(t *testing.T) {
	server := servers.Redis(t, "--appendonly", "yes")
	eval := goRedisCall(t, server.Addr)
	passkeys, err := passkeyredis.New(eval, passkeyredis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tickets, err := ticketredis.New(eval, ticketredis.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ready := range []error{passkeys.Ready(t.Context()), tickets.Ready(t.Context())} {
		if ready != nil {
			t.Error(ready)
		}
	}
	t.Run("passkeys", func(t *testing.T) {
		passkeytest.Run(t, func(*testing.T) passkey.Store { return passkeys })
	})
	t.Run("tickets", func(t *testing.T) {
		tickettest.Run(t, func(*testing.T) ticket.Store { return tickets })
	})
}
