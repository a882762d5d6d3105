package blacklist_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/blacklist"
)

// crashLog and crashRound are the environment of the process that is killed.
const (
	crashLog   = "GATEWRIGHT_CRASH_LOG"
	crashRound = "GATEWRIGHT_CRASH_ROUND"
	// crashRounds is how many are killed, in the environment of the tests.
	crashRounds = "GATEWRIGHT_CRASHES"
)

// TestCrashWriter is no test: it is the process that TestKilledWriter kills. It
// writes until that happens, and prints the name of each session whose
// revocation was acknowledged.
func TestCrashWriter(t *testing.T) {
	path := os.Getenv(crashLog)
	if path == "" {
		t.Skip("this is the other process of TestKilledWriter")
	}
	f, err := blacklist.OpenFile(path, blacklist.FileConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := blacklist.NewReplica(f, blacklist.ReplicaConfig{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		// Something to compact, and a compaction, again and again.
		stale := make0(4096)
		for i := range stale {
			stale[i].Expires = 1
		}
		for {
			if _, err := f.Append(context.Background(), stale...); err != nil {
				panic(err)
			}
			if _, err := f.DeleteExpired(context.Background(), time.Now()); err != nil {
				panic(err)
			}
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
		}
	}()
	var mu sync.Mutex
	for g := range 4 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%s.%d.%d", os.Getenv(crashRound), g, i)
				what := identity.Revocation{Issuer: issuer, Session: name}
				if i%5 == 0 {
					what.Before = time.Now().Add(time.Hour) // two units
				}
				if err := r.Revoke(context.Background(), what); err != nil {
					panic(err)
				}
				mu.Lock()
				fmt.Println("acknowledged", name)
				mu.Unlock()
			}
		}()
	}
	time.Sleep(time.Minute) // longer than anybody waits
}

// R7: a process is killed while it writes, again and again. Everything that it
// has acknowledged is there afterwards. GATEWRIGHT_CRASHES=1000 kills as many.
func TestKilledWriter(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	if n, err := strconv.Atoi(os.Getenv(crashRounds)); err == nil {
		rounds = n
	}
	path := logPath(t)
	var acknowledged []string
	none := 0
	for round := range rounds {
		names := writeAndKill(t, path, round)
		if len(names) == 0 {
			none++
		}
		acknowledged = append(acknowledged, names...)
		f, err := blacklist.OpenFile(path, blacklist.FileConfig{})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		// Those of earlier rounds now and then, and all at the end.
		ask := names
		if round%20 == 0 || round == rounds-1 {
			ask = acknowledged
		}
		r := newReplica(t, f, patient)
		for _, name := range ask {
			wantAnswer(t, r, session(name), "revoked", fmt.Sprintf("after kill %d", round))
		}
		closeLog(t, f)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d revocations acknowledged in %d rounds, none in %d of them", len(acknowledged), rounds, none)
	if len(acknowledged) < rounds {
		t.Error("too little was acknowledged: the test proves nothing")
	}
}

// writeAndKill starts the writer, kills it at a random moment, and returns what
// it acknowledged.
func writeAndKill(t *testing.T, path string, round int) (names []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashWriter$")
	cmd.Env = append(os.Environ(), crashLog+"="+path, crashRound+"="+strconv.Itoa(round))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() { cmd.Process.Kill() })
	// In one of eight rounds it may not have opened the log yet.
	limit := time.Minute
	if round%8 == 7 {
		limit = time.Duration(rand.IntN(30)) * time.Millisecond
	}
	last := time.AfterFunc(limit, kill)
	defer last.Stop()
	var once sync.Once
	var strange []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		name, ok := strings.CutPrefix(lines.Text(), "acknowledged ")
		if !ok {
			strange = append(strange, lines.Text())
			continue
		}
		names = append(names, name)
		once.Do(func() { time.AfterFunc(time.Duration(rand.IntN(40_000))*time.Microsecond, kill) })
	}
	if cmd.Wait(); cmd.ProcessState.Success() || len(strange) > 0 {
		t.Fatalf("round %d: the writer ended by itself: %v, %q", round, cmd.ProcessState, strange)
	}
	// The last line may have been cut off.
	if n := len(names); n > 0 && strings.Count(names[n-1], ".") < 2 {
		names = names[:n-1]
	}
	return names
}
