package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	peer "github.com/pquerna/otp/totp"

	"github.com/gatewright/gatewright/totp"
	"github.com/gatewright/gatewright/totp/redisstore"
	"github.com/gatewright/gatewright/totp/totptest"
)

// raceCode sends one code 64 times, to services with a store each: one is told
// that it is right.
func raceCode(t *testing.T, stores []totp.Store) {
	keys, err := totp.NewKeyring(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	var services []*totp.Service
	for _, store := range stores {
		s, err := totp.New(store, keys, totp.Config{Issuer: "Example", VerifyPassword: verifyFactorPassword})
		if err != nil {
			t.Fatal(err)
		}
		services = append(services, s)
	}
	enrolment, err := services[0].Begin(t.Context(), caller("racer"))
	if err != nil {
		t.Fatal(err)
	}
	// The code of the next step is good too, and stays so if that begins now.
	now := time.Now()
	first, err := peer.GenerateCode(enrolment.Secret(), now)
	if err != nil {
		t.Fatal(err)
	}
	code, err := peer.GenerateCode(enrolment.Secret(), now.Add(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := services[0].Confirm(t.Context(), caller("racer"), first, totp.Password(factorPassword)); err != nil {
		t.Fatal(err)
	}
	var right atomic.Int32
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			if _, err := services[i%len(services)].Verify(t.Context(), "racer", code); err == nil {
				right.Add(1)
			}
		})
	}
	all.Wait()
	if right.Load() != 1 {
		t.Errorf("%d of 64 were told that the code is right, want 1", right.Load())
	}
}

func openRedisFactors(t *testing.T, eval evalFunc, prefix string) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(eval, redisstore.Config{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func factorsInRedis(t *testing.T, addr string) {
	for client, eval := range map[string]evalFunc{"go-redis": goRedisCall(t, addr), "rueidis": rueidisCall(t, addr)} {
		t.Run(client, func(t *testing.T) {
			totptest.Run(t, func(t *testing.T) totp.Store { return openRedisFactors(t, eval, "") })
		})
	}
	t.Run("one code is good once over three services", func(t *testing.T) {
		prefix := "test:" + rand.Text()
		var stores []totp.Store
		for range 3 {
			stores = append(stores, openRedisFactors(t, goRedisCall(t, addr), prefix))
		}
		raceCode(t, stores)
	})
}

func checkFactors(eval evalFunc, insecure bool) (check, use error) {
	store, err := redisstore.New(eval, redisstore.Config{InsecureEviction: insecure, InsecureVolatile: insecure})
	if err != nil {
		return err, err
	}
	_, use = store.LoadTOTP(context.Background(), "alice")
	return store.Ready(context.Background()), use
}
