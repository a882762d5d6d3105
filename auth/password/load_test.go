package password_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/password"
)

// loadVariable is set in the process that TestManySignInsAtOnce starts.
const loadVariable = "GATEWRIGHT_PASSWORD_LOAD"

// Corpus row 33: 200 sign-ins at the same time, with the default parameters.
// Without a budget they are 12.6 GiB and none of them is answered for a
// minute. With one the process stays small, and each gets an answer, or an
// ErrBusy, in time.
//
// It runs in a process of its own, whose peak memory is that of the load.
func TestManySignInsAtOnce(t *testing.T) {
	if os.Getenv(loadVariable) != "" {
		signInAtOnce(t)
		return
	}
	if testing.Short() {
		t.Skip("it hashes for some seconds; not with -short")
	}
	const limit = 512 // MiB
	cmd := exec.Command(os.Args[0], "-test.run=^TestManySignInsAtOnce$", "-test.v")
	cmd.Env = append(os.Environ(), loadVariable+"=1", fmt.Sprintf("GOMEMLIMIT=%dMiB", limit))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if raceDetector {
		t.Log("the peak is not looked at with the race detector")
		return
	}
	status := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(out)
	if status == nil {
		t.Log("the peak is not known on this system")
		return
	}
	peak, err := strconv.Atoi(string(status[1]))
	if err != nil {
		t.Fatal(err)
	}
	// The slack is for what is not Go's heap: the binary, stacks.
	if peak>>10 > limit+16 {
		t.Errorf("the peak was %d MiB, want at most %d", peak>>10, limit)
	}
}

// signInAtOnce is what the other process does.
func signInAtOnce(t *testing.T) {
	const (
		signIns  = 200
		patience = time.Second
	)
	// Memory is what stops them here: more may run than there is memory for.
	budget, err := password.NewBudget(password.BudgetConfig{Memory: 192 << 20, Concurrent: signIns})
	if err != nil {
		t.Fatal(err)
	}
	h, err := password.New(password.Config{Budget: budget})
	if err != nil {
		t.Fatal(err)
	}
	stored := mustHash(t, h, "correct horse")

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var (
		mu       sync.Mutex
		outcomes = make(map[string]int)
		longest  = make(map[string]time.Duration)
		start    = make(chan struct{})
		wg       sync.WaitGroup
	)
	for i := range signIns {
		pw, encoded := "correct horse", stored
		if i%2 == 1 {
			pw, encoded = "wrong", "" // half of them are somebody's guesses
		}
		wg.Go(func() {
			<-start
			began := time.Now()
			ok, _, err := h.Verify(ctx, pw, encoded)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			var outcome string
			switch {
			case errors.Is(err, password.ErrBusy):
				outcome = "busy"
			case errors.Is(err, context.DeadlineExceeded):
				outcome = "out of time"
			case err != nil:
				t.Error(err)
			case ok != (encoded != ""):
				t.Errorf("a verification got %v, want %v", ok, !ok)
			default:
				outcome = "answered"
			}
			outcomes[outcome]++
			longest[outcome] = max(longest[outcome], took)
		})
	}
	close(start)
	wg.Wait()

	t.Logf("%v; the longest took %v", outcomes, longest)
	if outcomes["answered"] < 3 || outcomes["busy"] < signIns/2 {
		t.Error("want some answered, and most turned away")
	}
	// Whoever is turned away does not wait for it, and whoever waits stops
	// when its context ends. The processors are taken, so it may be told late.
	// Those that are answered have begun in time, and are finished.
	if took := longest["busy"]; took > patience {
		t.Errorf("one was turned away after %v", took)
	}
	if took := longest["out of time"]; took > 2*patience {
		t.Errorf("one waited for %v, with a patience of %v", took, patience)
	}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		fmt.Printf("%s\n", regexp.MustCompile(`VmHWM:.*`).Find(status))
	}
}
