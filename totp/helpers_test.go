package totp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pquerna/otp"
	peer "github.com/pquerna/otp/totp"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/totp"
)

// sealKey is a secret of a Keyring in tests.
var sealKey = []byte("0123456789abcdef0123456789abcdef")

func keyring(t testing.TB, secrets ...[]byte) *totp.Keyring {
	t.Helper()
	if len(secrets) == 0 {
		secrets = [][]byte{sealKey}
	}
	k, err := totp.NewKeyring(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// password is the password of every user.
const password = "correct horse battery staple"

var byPassword = totp.Password(password)

// caller returns a caller who signed in just now with the password.
func caller(name string) *identity.Principal {
	return &identity.Principal{
		Issuer: "https://auth.example.com", Subject: name, Session: "session", Credential: "token",
		Factors: identity.NewSet("pwd"), AuthTime: time.Now(),
	}
}

// laterCaller is the caller of another session.
func laterCaller(name string) *identity.Principal {
	p := caller(name)
	p.Session = "later session"
	return p
}

// verifyPassword is a Config.VerifyPassword.
func verifyPassword(_ context.Context, _ *identity.Principal, given string) error {
	if given != password {
		return identity.ErrNotProven
	}
	return nil
}

// service returns a service on store, whose Issuer is Example unless it is set, and
// which verifies passwords.
func service(t testing.TB, store totp.Store, config totp.Config) *totp.Service {
	t.Helper()
	if config.Issuer == "" {
		config.Issuer = "Example"
	}
	if config.VerifyPassword == nil {
		config.VerifyPassword = verifyPassword
	}
	s, err := totp.New(store, keyring(t), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// codeAt returns the code of six digits of a secret in base32, by another
// library.
func codeAt(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	code, err := peer.GenerateCodeCustom(secret, at, peer.ValidateOpts{Period: 30, Digits: otp.DigitsSix})
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// enrol gives the user a factor, and returns its secret and recovery codes. The
// code of the present step is used up.
func enrol(t testing.TB, s *totp.Service, user string) (secret string, recovery []string) {
	t.Helper()
	e, err := s.Begin(context.Background(), caller(user))
	if err != nil {
		t.Fatal(err)
	}
	codes, err := s.Confirm(context.Background(), caller(user), codeAt(t, e.Secret(), time.Now()), byPassword)
	if err != nil {
		t.Fatal(err)
	}
	return e.Secret(), codes.All()
}

// wrong returns a code that none of the steps around at has.
func wrong(t testing.TB, secret string, at time.Time) string {
	t.Helper()
next:
	for _, code := range []string{"000000", "111111", "222222", "333333", "444444", "555555", "666666", "777777"} {
		for i := -3; i <= 3; i++ {
			if codeAt(t, secret, at.Add(time.Duration(i)*30*time.Second)) == code {
				continue next
			}
		}
		return code
	}
	t.Fatal("no wrong code")
	return ""
}

var errDown = errors.New("the store is down")

// probed is a store that can be down, and that calls a function before it saves.
type probed struct {
	totp.Store
	load, save func() error
	saves      int
}

func (p *probed) LoadTOTP(ctx context.Context, user string) (totp.Record, error) {
	if p.load != nil {
		if err := p.load(); err != nil {
			return totp.Record{}, err
		}
	}
	return p.Store.LoadTOTP(ctx, user)
}

func (p *probed) SaveTOTP(ctx context.Context, user string, r totp.Record) (bool, error) {
	p.saves++
	if p.save != nil {
		if err := p.save(); err != nil {
			return false, err
		}
	}
	return p.Store.SaveTOTP(ctx, user, r)
}

func asDenial(err error) *guard.Denial {
	d, _ := errors.AsType[*guard.Denial](err)
	return d
}
