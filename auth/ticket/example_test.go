package ticket_test

import (
	"context"
	"errors"
	"log"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/ticket"
)

// A forgotten password, with a store in memory. The store of a host is that of package
// sqlstore or redisstore, and the key comes from its secrets.
func Example() {
	var (
		key   []byte // 32 random bytes
		users ticket.Users
		mux   = http.NewServeMux()
	)
	tickets, err := ticket.New(new(ticket.Memory), users, ticket.Config{
		Base: "https://example.com/account/", Issuer: "https://example.com",
		Keys: []guard.Secret{guard.NewSecret(key)},
		Deliver: func(ctx context.Context, m ticket.Message) error {
			return send(ctx, m.To, string(m.Link.Bytes())+string(m.Code.Bytes()), m.Notice)
		},
		Limit: func(ctx context.Context, key string) error { return nil }, // a ratelimit.Limiter
		CheckPassword: func(password string) error { // a password.Policy
			if len(password) < 15 {
				return errors.New("The password is too short.")
			}
			return nil
		},
		EndSessions: func(ctx context.Context, subject string) error { return nil }, // auth.Server.EndSessions
	})
	if err != nil {
		log.Print(err) // each mistake: here users and the key are missing
		return
	}
	defer tickets.Close(context.Background())
	mux.Handle("POST /forgot", tickets.Request(ticket.ResetPassword)) // behind a limit by client address
	mux.Handle("GET /account/reset-password", tickets.Page(ticket.ResetPassword))
	mux.Handle("POST /account/reset-password", tickets.Use(ticket.ResetPassword))
}

// send stands for the host's mail.
func send(ctx context.Context, to string, parts ...string) error { return nil }
