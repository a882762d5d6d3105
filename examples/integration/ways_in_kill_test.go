package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey/passkeytest"
	"github.com/gatewright/gatewright/auth/ticket"
)

// waysVariable holds, in the environment of a worker, what it does.
const waysVariable = "GATEWRIGHT_WORKER_OF_WAYS"

// A waysWork is what a worker does before it is killed at a step.
type waysWork struct {
	Place  waysPlace
	Kill   int64 // the number of the step
	Do     string
	Who    *identity.Principal
	Input  string
	Cookie string
}

// TestWorkerOfWays is no test: it is another process of this program, which kills
// itself at a step or prints what it acknowledged.
func TestWorkerOfWays(t *testing.T) {
	text := os.Getenv(waysVariable)
	if text == "" {
		t.Skip("the tests of killed processes run it")
	}
	var work waysWork
	if err := json.Unmarshal([]byte(text), &work); err != nil {
		t.Fatal(err)
	}
	var steps atomic.Int64
	m := work.Place.machine(t, func(name string) {
		if steps.Add(1) == work.Kill {
			fmt.Printf("killed %s\n", name)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	fmt.Printf("acknowledged %d\n", work.run(m))
}

// run does the work on a machine and returns the status of the answer.
func (work waysWork) run(m *waysMachine) (status int) {
	switch work.Do {
	case "reset":
		status, _, _ = m.post(m.mail.Use(ticket.ResetPassword), nil, "", work.Input)
	case "link":
		status, _, _ = m.post(m.server.SignIn(m.byMail()), nil, work.Cookie, work.Input)
	case "assertion":
		status, _, _ = m.post(m.server.SignIn(m.byPasskey()), nil, "", work.Input)
	case "registration":
		status, _, _ = m.post(m.keys.Register(), work.Who, "", work.Input)
	case "recovery code":
		status = 400
		if _, err := m.codes.Verify(context.Background(), work.Who.Subject, work.Input); err == nil {
			status = 200
		}
	}
	return status
}

// killed runs the work in another process and returns the step at which it was
// killed, or the status that it acknowledged.
func (work waysWork) killed(t *testing.T) (step string, status int) {
	t.Helper()
	spec, err := json.Marshal(work)
	if err != nil {
		t.Fatal(err)
	}
	worker := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWorkerOfWays$", "-test.v")
	worker.Env = append(os.Environ(), waysVariable+"="+string(spec), workerVariable+"=of another test")
	var out, errs bytes.Buffer
	worker.Stdout, worker.Stderr = &out, &errs
	err = worker.Run()
	for line := range strings.Lines(out.String()) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "killed "); ok && err != nil {
			step = name
		}
		if n, _ := fmt.Sscanf(line, "acknowledged %d", &status); n == 1 {
			return "", status
		}
	}
	if step == "" {
		t.Fatalf("the worker failed: %v\n%s\n%s", err, &out, &errs)
	}
	return step, 0
}

// A process is killed before and after each step of a sign-in or a recovery. What
// it was given is used at most once, and what it acknowledged stays.
func TestKilledWaysInUseNothingTwice(t *testing.T) {
	eachWaysPlace(t, func(t *testing.T, place waysPlace) {
		m := place.machine(t, nil)
		fresh := 0
		newUser := func(password string) string {
			fresh++
			subject := fmt.Sprintf("user%d", fresh)
			m.add(subject, password)
			return subject
		}
		// again does the work once more on this machine, and reports whether it
		// was accepted.
		again := func(work waysWork) bool {
			t.Helper()
			status := work.run(m)
			if status != 200 && status != 201 && status != 204 && status != 400 {
				t.Errorf("%s again: status %d", work.Do, status)
			}
			return status < 300
		}
		kinds := []struct {
			name  string
			begin func() waysWork
			check func(what string, work waysWork, acknowledged bool)
		}{
			{"reset", func() waysWork {
				subject := newUser("the old password")
				token, _ := m.mailed(ticket.ResetPassword, subject)
				g := m.must(200, m.signIn(subject, "the old password"))
				return waysWork{Who: &identity.Principal{Subject: subject}, Cookie: g.Refresh, Input: `{"token":"` + token + `","password":"the new password"}`}
			}, func(what string, work waysWork, acknowledged bool) {
				subject := work.Who.Subject
				m.enrolledNothing(subject)
				changed := m.signIn(subject, "the new password").status == 200
				if acknowledged && !changed {
					t.Errorf("%s: the new password is lost", what)
				}
				if changed && ask(m.server.Refresh(), nil, "refresh_token", work.Cookie).status == 200 {
					t.Errorf("%s: a session of before the new password goes on", what)
				}
				work.Input = strings.Replace(work.Input, "the new password", "the third password", 1)
				if again(work) && changed {
					t.Errorf("%s: the link was used twice", what)
				}
				if again(work) {
					t.Errorf("%s: the link is good for ever", what)
				}
				token, _ := m.mailed(ticket.ResetPassword, subject)
				work.Input = `{"token":"` + token + `","password":"the last password"}`
				if !again(work) || m.signIn(subject, "the last password").status != 200 {
					t.Errorf("%s: a new link does not reset the password", what)
				}
			}},
			{"link", func() waysWork {
				token, cookie := m.mailed(ticket.SignInLink, newUser("a password"))
				return waysWork{Cookie: cookie, Input: `{"token":"` + token + `"}`}
			}, func(what string, work waysWork, acknowledged bool) {
				if again(work) && acknowledged || again(work) {
					t.Errorf("%s: the link was used twice", what)
				}
			}},
			{"assertion", func() waysWork {
				subject := newUser("a password")
				return waysWork{Who: &identity.Principal{Subject: subject}, Input: m.assertion(m.enrolled(subject))}
			}, func(what string, work waysWork, acknowledged bool) {
				if again(work) && acknowledged || again(work) {
					t.Errorf("%s: the assertion was used twice", what)
				}
				all, err := m.passkeys.Passkeys(t.Context(), work.Who.Subject)
				if err != nil || len(all) != 1 || acknowledged && all[0].Used.IsZero() {
					t.Errorf("%s: %v, %v", what, all, err)
				}
			}},
			{"registration", func() waysWork {
				p := &identity.Principal{Issuer: issuer, Subject: newUser("a password"), Session: "s", Factors: identity.NewSet("pwd"), AuthTime: time.Now()}
				return waysWork{Who: p, Input: m.created(p, passkeytest.New(waysOrigin))}
			}, func(what string, work waysWork, acknowledged bool) {
				subject := work.Who.Subject
				all, err := m.passkeys.Passkeys(t.Context(), subject)
				if err != nil || acknowledged && len(all) != 1 {
					t.Errorf("%s: %v, %v", what, all, err)
				}
				if again(work) && len(all) > 0 || again(work) {
					t.Errorf("%s: the registration was used twice", what)
				}
				strong := *work.Who
				strong.Factors = identity.NewSet("pop")
				b := passkeytest.New(waysOrigin)
				work.Who, work.Input = &strong, m.created(&strong, b)
				if !again(work) || m.by(m.byPasskey(), "", m.assertion(b)).status != 200 {
					t.Errorf("%s: another passkey cannot be registered", what)
				}
			}},
			{"recovery code", func() waysWork {
				subject := newUser("a password")
				return waysWork{Who: &identity.Principal{Subject: subject}, Input: m.recoveryCodes(subject)[0]}
			}, func(what string, work waysWork, acknowledged bool) {
				if again(work) && acknowledged || again(work) {
					t.Errorf("%s: the recovery code was used twice", what)
				}
			}},
		}
		for _, kind := range kinds {
			t.Run(kind.name, func(t *testing.T) {
				var steps []string
				for kill := int64(1); ; kill++ {
					work := kind.begin()
					work.Place, work.Do, work.Kill = place, kind.name, kill
					step, status := work.killed(t)
					what := step
					if step == "" {
						what = "at the end"
						if status < 200 || status >= 300 {
							t.Fatalf("without a kill: status %d", status)
						}
					}
					kind.check(fmt.Sprintf("%s, killed %s", kind.name, what), work, step == "")
					if step == "" {
						break
					}
					steps = append(steps, step)
				}
				t.Logf("killed %d times: %s", len(steps), strings.Join(steps, ", "))
				if len(steps) < 4 {
					t.Errorf("only %d steps", len(steps))
				}
			})
		}
	})
}

// enrolledNothing fails if subject has a second factor that would hide whether a
// password is right.
func (m *waysMachine) enrolledNothing(subject string) {
	m.Helper()
	for _, required := range []func(context.Context, string) (bool, error){m.keys.Required, m.codes.Required} {
		if on, err := required(m.Context(), subject); on || err != nil {
			m.Fatal(on, err)
		}
	}
}
