package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/examples/recipes/kit"
)

func TestMain(m *testing.M) { kit.Main(m, main) }

func TestSignalsRotateAndWithdraw(t *testing.T) {
	p := kit.Start(t, nil)
	_, bearer, _ := strings.Cut(p.Line, "-H '")
	bearer = strings.TrimSuffix(bearer, "'\n")
	keys := func() int {
		_, body := kit.Do(t, "GET", p.URL+"/.well-known/jwks.json", "")
		return strings.Count(body, `"kid"`)
	}
	until := func(done func() bool) {
		t.Helper()
		for began := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatal("the signal has no effect")
			}
		}
	}
	kit.Want(t, 200, "You are ada", "GET", p.URL+"/me", "", bearer)
	p.Signal(syscall.SIGHUP)
	until(func() bool { return keys() == 2 })
	kit.Want(t, 200, "You are ada", "GET", p.URL+"/me", "", bearer)
	p.Signal(syscall.SIGUSR1)
	until(func() bool { return keys() == 1 })
	kit.Want(t, 401, "invalid_token", "GET", p.URL+"/me", "", bearer)
}

// get returns the status of a request.
func get(h http.Handler, path, access string) (int, string) {
	r := httptest.NewRequest("GET", path, nil)
	if access != "" {
		r.Header.Set("Authorization", "Bearer "+access)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestNoTokenIsRefusedWhileKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper()
		h, tokens := newServer(k, "https://app.example.com")
		type issued struct {
			access string
			at     time.Time
		}
		var all []issued
		signers := make(map[string]bool)
		for hour := range 24 * 8 {
			if hour%48 == 5 {
				if err := k.rotate(time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			for range 6 {
				access, err := tokens.Issue(t.Context(), &identity.Principal{Subject: "ada"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				header, _, _ := strings.Cut(access, ".")
				signers[header] = true
				all = append(all, issued{access, time.Now()})
				for len(all) > 0 && time.Since(all[0].at) >= lifetime {
					all = all[1:]
				}
				for _, one := range all {
					if status, body := get(h, "/me", one.access); status != 200 {
						t.Fatalf("in hour %d a token of %v before is refused: %d %s", hour, time.Since(one.at), status, body)
					}
				}
				time.Sleep(10 * time.Minute)
			}
		}
		if len(signers) != 5 || len(k.keys) > 3 {
			t.Errorf("%d keys have signed, %d are kept; want 5 and at most 3", len(signers), len(k.keys))
		}
		if _, body := get(h, "/.well-known/jwks.json", ""); strings.Count(body, `"kid"`) > 3 {
			t.Errorf("too many keys are published: %s", body)
		}
	})
}

func TestAWithdrawnKeyVerifiesNothing(t *testing.T) {
	k := newKeeper()
	h, tokens := newServer(k, "https://app.example.com")
	issue := func() string {
		access, err := tokens.Issue(t.Context(), &identity.Principal{Subject: "ada"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return access
	}
	stolen := issue()
	if err := k.withdraw(); err != nil {
		t.Fatal(err)
	}
	if status, body := get(h, "/me", stolen); status != 401 {
		t.Errorf("a token of the withdrawn key: %d %s", status, body)
	}
	if status, body := get(h, "/me", issue()); status != 200 {
		t.Errorf("a token of the new key: %d %s", status, body)
	}
}
