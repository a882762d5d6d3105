package passkey_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
)

func TestASignInIsFreshUpToTheConfiguredAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for age, status := range map[time.Duration]int{
			0: 200, 10 * time.Minute: 200, 10*time.Minute + 1: 401,
			-time.Second: 200, -time.Second - 1: 401, // clocks differ
		} {
			p := caller("ada")
			p.AuthTime = time.Now().Add(-age)
			if w := s.call(s.rp.RegisterOptions(), "POST", p, `{"proof":"right"}`); w.Code != status {
				t.Errorf("signed in %v ago: %d, want %d", age, w.Code, status)
			}
		}
	})
}

func TestOptionsDemandADiscoverableCredential(t *testing.T) {
	s := newSite(t)
	var o struct {
		AuthenticatorSelection struct{ RequireResidentKey bool }
		Extensions             struct{ CredProps bool }
	}
	if err := json.Unmarshal(s.creation(caller("ada")), &o); err != nil || !o.AuthenticatorSelection.RequireResidentKey || !o.Extensions.CredProps {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestNamesAndTransportsAreBounded(t *testing.T) {
	many := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("transport-%d", i))
		}
		return all
	}
	for _, test := range []struct {
		name       string
		transports []string
		status     int
	}{
		{strings.Repeat("é", 32), many(16), 201}, // 64 bytes
		{strings.Repeat("é", 32) + "x", nil, 400},
		{"", many(17), 400},
		{"\xff", nil, 400},
	} {
		s := newSite(t)
		a := passkeytest.New(origin)
		created, err := a.Create(s.creation(caller("ada")))
		if err != nil {
			t.Fatal(err)
		}
		text := edit(t, string(created), func(c, r map[string]any) {
			c["name"], r["transports"] = "NAME", test.transports
			if test.transports == nil {
				delete(r, "transports")
			}
		})
		s.ok(s.call(s.rp.Register(), "POST", caller("ada"), strings.Replace(text, "NAME", test.name, 1)), test.status)
	}
}

// The proof for another passkey is a second factor, for which the user need not be
// verified.
func TestAnAssertionWithoutUserVerificationIsAProof(t *testing.T) {
	s := newSite(t)
	a := passkeytest.New(origin)
	a.Flags = passkeytest.UserPresent
	first := caller("ada")
	first.Session = "session of the enrolment"
	s.register(first, a)
	weak := caller("ada", "pwd")
	proof, err := json.Marshal(map[string]string{"proof": s.answer(a, s.call(s.rp.StepUpOptions(), "POST", weak, ""))})
	if err != nil {
		t.Fatal(err)
	}
	s.ok(s.call(s.rp.RegisterOptions(), "POST", weak, string(proof)), 200)
}

// Decoders of base64 skip line breaks, wherever they stand.
func TestLineBreaksInBase64AreMalformed(t *testing.T) {
	s := newSite(t)
	a := s.registered("ada")
	for _, lineBreak := range []string{"\n", "\r"} {
		for _, at := range []int{0, 4} {
			text := edit(t, s.assertion(a), func(_, r map[string]any) {
				handle := r["userHandle"].(string)
				r["userHandle"] = handle[:at] + lineBreak + handle[at:]
			})
			_, err := s.prove(text)
			refused(t, err, 400)
		}
	}
}
