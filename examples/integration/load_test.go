package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// peakMemory returns the most memory that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(after)
	if len(fields) < 2 || fields[1] != "kB" {
		t.Fatalf("no VmHWM in\n%s", status)
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

func TestTwoHundredSignInsAtOnceStayWithinTheMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	const limit, slack = 512 << 20, 32 << 20
	p := launch(t, "server", []string{"GOMEMLIMIT=512MiB"}, flags(filepath.Join(t.TempDir(), "server.db"))...)

	const n = 200
	var mu sync.Mutex
	got := make(map[string]int)
	var longest time.Duration
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		got[what]++
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			// A fifth has no patience, a fifth does not exist.
			patience, username := 15*time.Second, "alice"
			switch i % 5 {
			case 0:
				patience = 300 * time.Millisecond
			case 1:
				username = "nobody"
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			begin := time.Now()
			a, err := p.signIn(ctx, username, p.password())
			mu.Lock()
			longest = max(longest, time.Since(begin))
			mu.Unlock()
			switch {
			case errors.Is(err, context.DeadlineExceeded) && patience < time.Second:
				note("gave up")
			case err != nil:
				t.Errorf("a sign-in failed: %v", err)
			case a.status == http.StatusServiceUnavailable:
				if a.header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				note("503")
			case a.status == http.StatusOK && username == "alice":
				note("200")
			case a.status == http.StatusBadRequest && username == "nobody":
				note("400")
			default:
				t.Errorf("%s: got %d %s", username, a.status, a.body)
			}
		})
	}
	wg.Wait()
	peak := peakMemory(t, p.cmd.Process.Pid)
	t.Logf("%v, the longest took %v, peak memory %d MiB", got, longest.Round(time.Millisecond), peak>>20)
	if got["200"] == 0 || got["503"] == 0 {
		t.Errorf("got %v, want some who were let in and some who were sent away", got)
	}
	if peak > limit+slack {
		t.Errorf("the process took %d MiB, want at most %d", peak>>20, (limit+slack)>>20)
	}
	// The places of those who gave up are free again.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	wantPair(t)(p.signIn(ctx, "alice", p.password()))
}

func TestServersShareADatabase(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "server.db")
	// All at their first start, at the same time.
	var servers [3]*process
	for i := range servers {
		servers[i] = begin(t, "server", nil, append(flags(path), "-revocations", "database")...)
	}
	for _, p := range servers {
		p.ready(t)
	}
	a, b := servers[0], servers[1]
	for _, p := range servers {
		if p.password() != a.password() {
			t.Fatal("they print different passwords")
		}
	}
	wantPair(t)(b.signIn(ctx, "alice", a.password()))

	want(t, http.StatusCreated)(a.register(ctx, "carol", password))
	pair := wantPair(t)(b.signIn(ctx, "carol", password))
	want(t, http.StatusOK)(a.me(ctx, pair.Access))

	// However the refreshes are spread, there is one successor.
	const n = 100
	var wg sync.WaitGroup
	pairs := make([]tokens, n)
	for i := range n {
		wg.Go(func() {
			answer, err := servers[i%len(servers)].refresh(ctx, pair.Refresh)
			if err == nil {
				pairs[i], err = answer.pair()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, next := range pairs {
		if next.Refresh != pairs[0].Refresh {
			t.Fatal("there are two successors")
		}
	}

	// A logout ends the refresh token for all at once. The others hear of the
	// access token when they next read what was revoked.
	want(t, http.StatusOK)(a.logout(ctx, pairs[0].Access))
	begun := time.Now()
	want(t, http.StatusUnauthorized)(a.me(ctx, pairs[1].Access))
	want(t, http.StatusBadRequest)(b.refresh(ctx, pairs[0].Refresh))
	for _, p := range servers[1:] {
		for {
			answer, err := p.me(ctx, pairs[1].Access)
			if err != nil {
				t.Fatal(err)
			}
			if answer.status == http.StatusUnauthorized {
				break
			}
			if time.Since(begun) > 10*time.Second { // a second is what is promised; this machine may be busy
				t.Fatal("another process still takes the access token")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	t.Logf("the others refused the access token %v after the logout", time.Since(begun).Round(time.Millisecond))
}

// Two processes cannot each keep a file of their own and believe that they
// know everything.
func TestSecondServerOnAFileOfRevocationsDoesNotStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.db")
	server(t, path)
	second := begin(t, "server", nil, flags(path)...)
	select {
	case <-second.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it started")
	}
	if message := second.stderr.String(); second.err == nil || !strings.Contains(message, "-revocations database") {
		t.Errorf("it ended with %v: %s", second.err, message)
	}
}
