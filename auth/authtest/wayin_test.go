package authtest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/authtest"
	"github.com/gatewright/gatewright/auth/identity"
)

// vouchers is a way in by single-use texts of the form "voucher SUBJECT NUMBER".
type vouchers struct {
	broken string

	mu   sync.Mutex
	made int
	used map[string]bool
}

func (v *vouchers) good(_ *testing.T, subject string) *http.Request {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.made++
	return ask(fmt.Sprintf("voucher %s %d", subject, v.made))
}

func ask(code string) *http.Request {
	r := httptest.NewRequest("POST", "/", strings.NewReader("code="+strings.ReplaceAll(code, " ", "+")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (v *vouchers) prove(r *http.Request) (*identity.Proof, error) {
	code := r.FormValue("code")
	var subject string
	var number int
	if n, _ := fmt.Sscanf(code, "voucher %s %d", &subject, &number); n != 2 {
		switch v.broken {
		case "a bad request is a failure":
			return nil, errors.New("no voucher")
		case "a bad request proves somebody":
			subject = "1"
		default:
			return nil, identity.ErrNotProven
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.used[code] && v.broken != "a proof is good twice" {
		return nil, identity.ErrNotProven
	}
	if v.used == nil {
		v.used = map[string]bool{}
	}
	v.used[code] = true
	p := &identity.Proof{Subject: subject, Factors: identity.NewSet("otp")}
	switch v.broken {
	case "another subject":
		p.Subject = "2"
	case "factors of its own invention":
		p.Factors = identity.NewSet("voucher")
	}
	return p, nil
}

func TestWaysIn(t *testing.T) {
	defects := map[string]string{ // by the rule that finds it
		"another subject":               "a proof opens a session",
		"factors of its own invention":  "a proof opens a session",
		"a bad request is a failure":    "bad requests and users who may not sign in are answered alike",
		"a bad request proves somebody": "bad requests and users who may not sign in are answered alike",
		"a proof is good twice":         "of 16 uses of one proof at once, one signs in",
	}
	run := func(t *testing.T, broken string) {
		authtest.RunWayIn(t, func(*testing.T) authtest.Ceremony {
			v := &vouchers{broken: broken}
			return authtest.Ceremony{
				Way:       auth.WayIn{Name: "voucher", Prove: v.prove},
				Good:      v.good,
				Bad:       func(*testing.T) []*http.Request { return []*http.Request{ask("voucher"), ask("")} },
				SingleUse: true,
			}
		})
	}
	if os.Getenv(inside) != "" {
		for broken := range defects {
			t.Run("<"+broken+">", func(t *testing.T) { run(t, broken) })
		}
		return
	}
	t.Run("a way in that is not broken passes", func(t *testing.T) { run(t, "") })
	cmd := exec.Command(os.Args[0], "-test.run=^TestWaysIn$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("every broken way in passed")
	}
	for broken, rule := range defects {
		name := strings.ReplaceAll("TestWaysIn/<"+broken+">/"+rule, " ", "_")
		if !regexp.MustCompile(`--- FAIL: ` + regexp.QuoteMeta(name) + ` `).Match(out) {
			t.Errorf("the rule %q does not find %q", rule, broken)
		}
	}
}
