package totp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/totp"
)

func TestNewReportsEveryMistakeAtOnce(t *testing.T) {
	store := new(totp.Memory)
	keys := keyring(t)
	tests := []struct {
		name   string
		store  totp.Store
		sealer totp.Sealer
		config totp.Config
		want   []string // parts of the error, none: no error
	}{
		{"an Issuer is enough", store, keys, totp.Config{Issuer: "Example"}, nil},
		{"everything set", store, keys, totp.Config{
			Issuer: "Example", Algorithm: totp.SHA512, Digits: 8, Strict: true, FirstWait: time.Minute, Forgive: time.Hour,
			MaxFailures: 10, PendingFor: time.Hour, QRSize: 1024, ACRValues: []string{"mfa"},
		}, nil},
		{"every mistake at once", nil, nil, totp.Config{
			Algorithm: 3, Digits: 7, FirstWait: time.Millisecond, Forgive: time.Second, MaxFailures: 101,
			PendingFor: 2 * time.Hour, QRSize: 64,
		}, []string{
			"totp: the Store is nil; use sqlstore.New",
			"totp: the Sealer is nil or empty; use totp.NewKeyring",
			`totp: Config.Issuer is ""; use the name of the application: 1 to 64 bytes`,
			"totp: Config.Algorithm is Algorithm(3); use SHA1, SHA256 or SHA512",
			"totp: Config.Digits is 7; use 6 or 8",
			"totp: Config.FirstWait is 1ms; use 1s to 1h0m0s",
			"totp: Config.Forgive is 1s; use 1m0s to 720h0m0s",
			"totp: Config.MaxFailures is 101; use 1 to 100",
			"totp: Config.PendingFor is 2h0m0s; use 1m0s to 1h0m0s",
			"totp: Config.QRSize is 64; use 128 to 1024",
		}},
		{"a Keyring that nobody made", store, new(totp.Keyring), totp.Config{Issuer: "Example"}, []string{"the Sealer is nil or empty"}},
		{"a nil Keyring", store, (*totp.Keyring)(nil), totp.Config{Issuer: "Example"}, []string{"the Sealer is nil or empty"}},
		{"an Issuer with a colon", store, keys, totp.Config{Issuer: "a:b"}, []string{`Config.Issuer is "a:b"`, "without a colon"}},
		{"an Issuer that is too long", store, keys, totp.Config{Issuer: strings.Repeat("x", 65)}, []string{"1 to 64 bytes"}},
		{"negative values", store, keys, totp.Config{Issuer: "Example", MaxFailures: -1, Digits: -6, QRSize: -1, Forgive: -1, FirstWait: -1, Algorithm: -1},
			[]string{"MaxFailures is -1", "Digits is -6", "QRSize is -1", "Forgive is -1ns", "FirstWait is -1ns", "Algorithm is Algorithm(-1)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := totp.New(tt.store, tt.sealer, tt.config)
			if (err == nil) != (len(tt.want) == 0) || (s == nil) != (err != nil) {
				t.Fatalf("%v, %v", s, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error\n%v\ndoes not tell that %s", err, want)
				}
			}
			if err != nil && strings.Count(err.Error(), "\n")+1 != strings.Count(err.Error(), "totp: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAlgorithmStringIsTheNameInTheURI(t *testing.T) {
	for a, want := range map[totp.Algorithm]string{totp.SHA1: "SHA1", totp.SHA256: "SHA256", totp.SHA512: "SHA512", 7: "Algorithm(7)"} {
		if a.String() != want {
			t.Errorf("%v, want %s", a, want)
		}
	}
}
