package main

import (
	"context"
	"encoding/base32"
	"errors"
	"testing"
	"time"

	"github.com/pquerna/otp"
	peer "github.com/pquerna/otp/totp"

	"github.com/gatewright/gatewright/totp"
)

// totpJobs compares what a wrong code of six digits costs, whose time of three
// steps is searched. pquerna/otp is given the secret. Ours loads the record,
// counts the attempt and saves that, and opens the sealed secret (AES-256-GCM)
// first; its store answers at once and never changes, so that no attempt has to
// wait.
func totpJobs() []job {
	secret := []byte("12345678901234567890")
	store := new(totp.Memory)
	keys := must(totp.NewKeyring([]byte("0123456789abcdef0123456789abcdef")))
	config := totp.Config{Issuer: "Example"}
	ctx := context.Background()
	must(must(totp.New(store, keys, config)).Import(ctx, "alice", secret))
	record := must(store.LoadTOTP(ctx, "alice"))
	record.Step = 0 // or else the codes of used steps are not even computed
	ours := must(totp.New(unchanging{record}, keys, config))
	text := base32.StdEncoding.EncodeToString(secret)
	const wrong = "000000"
	return []job{{
		name: "TOTP wrong code",
		peer: "pquerna/otp",
		run: map[string]func(*testing.B){
			"pquerna/otp": func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					ok, err := peer.ValidateCustom(wrong, text, time.Now(), peer.ValidateOpts{
						Period: 30, Skew: 1, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
					})
					if ok || err != nil {
						fail(b, "%t, %v", ok, err)
					}
				}
			},
			"gatewright": func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := ours.Verify(ctx, "alice", wrong); !errors.Is(err, totp.ErrWrongCode) {
						fail(b, "%v", err)
					}
				}
			},
		},
		bound: "<= 1.2, opening the sealed secret included",
	}}
}

// unchanging is a store in which nothing is ever changed.
type unchanging struct{ record totp.Record }

func (u unchanging) LoadTOTP(context.Context, string) (totp.Record, error) { return u.record, nil }
func (u unchanging) SaveTOTP(context.Context, string, totp.Record) (bool, error) {
	return true, nil
}
