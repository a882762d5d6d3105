package passkey_test

import (
	"context"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
)

// A relying party in memory, with its routes. The store of a host is that of package
// sqlstore or redisstore, and the key comes from its secrets.
func Example() {
	var (
		key         []byte // 32 random bytes
		challenges  = new(onceInMemory)
		mux         = http.NewServeMux()
		verifyProof = func(ctx context.Context, p *identity.Principal, password string) error { return identity.ErrNotProven }
	)
	passkeys, err := passkey.New(new(passkey.Memory), passkey.Config{
		RPID: "example.com", Name: "Example", Origins: []string{"https://example.com"},
		Issuer: "https://example.com",
		Keys:   []guard.Secret{guard.NewSecret(key)},
		Once:   challenges.Once,
		User: func(ctx context.Context, subject string) (passkey.User, error) {
			return passkey.User{Name: subject}, nil
		},
		Authorize: verifyProof,
	})
	if err != nil {
		log.Print(err) // each mistake: here the key is missing
		return
	}
	mux.Handle("POST /passkeys/options", passkeys.RegisterOptions())
	mux.Handle("POST /passkeys/", passkeys.Register())
	mux.Handle("GET /passkeys/", passkeys.List())
	mux.Handle("PATCH /passkeys/{id}", passkeys.Rename())
	mux.Handle("DELETE /passkeys/{id}", passkeys.Remove())
	mux.Handle("POST /sign-in/passkey/options", passkeys.SignInOptions())
	// And with package auth:
	//
	//	mux.Handle("POST /sign-in/passkey", server.SignIn(auth.WayIn{
	//		Name: "passkey", Prove: passkeys.Prove, Second: auth.SkipIfMFA,
	//	}))
}

// onceInMemory stands for the sessions of package auth.
type onceInMemory struct {
	mu   sync.Mutex
	used map[[32]byte]time.Time
}

func (o *onceInMemory) Once(_ context.Context, id [32]byte, expires time.Time) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.used == nil {
		o.used = map[[32]byte]time.Time{}
	}
	_, seen := o.used[id]
	o.used[id] = expires
	return !seen, nil
}
