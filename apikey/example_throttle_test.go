package apikey_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/ratelimit"
)

// Guesses are limited by address. A key that was good from there goes on.
func ExampleThrottle() {
	guesses, err := ratelimit.NewKeyThrottle(ratelimit.Config{}, ratelimit.MustParse("3/minute")...)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	issue := func(throttle apikey.Throttle) (*apikey.Authenticator, apikey.Secret) {
		format, err := apikey.NewFormat("acme")
		if err != nil {
			log.Fatal(err)
		}
		store := new(apikey.Memory)
		keys, err := apikey.New(store, apikey.Config{
			Format:   format,
			Peppers:  []apikey.Pepper{{ID: "2026", Secret: guard.NewSecret(bytes.Repeat([]byte("example "), 4))}},
			Throttle: throttle,
		})
		if err != nil {
			log.Fatal(err)
		}
		manager, err := apikey.NewManager(keys, store, apikey.ManagerConfig{Revoker: new(blacklist.Memory)})
		if err != nil {
			log.Fatal(err)
		}
		key, _, err := manager.Issue(ctx, &identity.Principal{Issuer: "cli", Subject: "ada"}, apikey.Spec{Owner: "ada"})
		if err != nil {
			log.Fatal(err)
		}
		return keys, key
	}
	keys, good := issue(guesses)

	const addr = "192.0.2.1:1234"
	verify := func(key apikey.Secret) {
		_, err := keys.Verify(ctx, key.Plain(), addr)
		if d, ok := errors.AsType[*guard.Denial](err); ok && d.Status == http.StatusTooManyRequests {
			fmt.Println("not looked at")
			return
		}
		fmt.Println(err == nil)
	}
	verify(good)
	for range 4 {
		_, guess := issue(nil) // well-formed, and of another store
		verify(guess)
	}
	verify(good)
	// Output:
	// true
	// false
	// false
	// false
	// not looked at
	// true
}
