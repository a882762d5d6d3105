package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/ratelimit"
	"github.com/gatewright/gatewright/ratelimit/redisstore"
	"github.com/gatewright/gatewright/ratelimit/sqlstore"
)

// workerVariable holds, in the environment of a worker, what it does.
const workerVariable = "GATEWRIGHT_WORKER_OF_LIMITS"

// A workerSpec is what a worker does: it asks each limit, by a Limiter of its
// own, for one key as fast as it can, and writes down what was admitted.
type workerSpec struct {
	Engine  string // go-redis, rueidis or pgx
	Server  string // its address or URL
	Key     string
	Timeout time.Duration
	Limits  []ratelimit.Limit
}

// TestWorkerOfLimits is no test: it is what another process of this program does
// for the tests of histories, until its standard input ends.
func TestWorkerOfLimits(t *testing.T) {
	text := os.Getenv(workerVariable)
	if text == "" {
		t.Skip("the tests of histories run it")
	}
	var spec workerSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	var store ratelimit.Store
	switch spec.Engine {
	case "go-redis":
		store = openRedisLimits(t, limitsByGoRedis(redisForLimits(t, spec.Server)), redisstore.Config{})
	case "rueidis":
		store = openRedisLimits(t, limitsByRueidis(t, spec.Server), redisstore.Config{})
	case "pgx":
		store = openSQLLimits(t, "pgx", spec.Server, sqlstore.PostgreSQL, 6)
	default:
		t.Fatalf("the engine is %q", spec.Engine)
	}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all it says
		close(stop)
	}()
	var wg sync.WaitGroup
	var out sync.Mutex
	for _, l := range spec.Limits {
		limiter, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{
			Store: store, Name: "history", Secret: guard.NewSecret(make([]byte, 32)), Timeout: spec.Timeout,
		}, l)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					before := time.Now()
					if _, err := limiter.Reserve(t.Context(), 1, spec.Key); err != nil {
						time.Sleep(2 * time.Millisecond)
						continue
					}
					after := time.Now()
					out.Lock()
					fmt.Printf("admitted %s %d %d\n", l.Name, before.UnixNano(), after.UnixNano())
					out.Unlock()
				}
			})
		}
	}
	fmt.Println("ready")
	wg.Wait()
}

// workers are processes that ask for the same key.
type workers struct {
	t     *testing.T
	specs []workerSpec
	each  []*worker
	all   map[string]*history // by limit
}

// A worker is one of them.
type worker struct {
	cmd   *exec.Cmd
	stdin io.Closer
	own   map[string]*history
	ended chan struct{}
}

// work starts a process for each of specs, which all have the same limits.
func work(t *testing.T, specs ...workerSpec) *workers {
	t.Helper()
	w := &workers{t: t, specs: specs, each: make([]*worker, len(specs)), all: histories(specs[0].Limits)}
	for i := range specs {
		w.start(i)
	}
	return w
}

func histories(limits []ratelimit.Limit) map[string]*history {
	all := make(map[string]*history)
	for _, l := range limits {
		all[l.Name] = newHistory()
	}
	return all
}

// start starts the i-th process, or another in its place.
func (w *workers) start(i int) {
	w.t.Helper()
	spec, err := json.Marshal(w.specs[i])
	if err != nil {
		w.t.Fatal(err)
	}
	one := &worker{
		cmd:   exec.Command(os.Args[0], "-test.run=^TestWorkerOfLimits$"),
		own:   histories(w.specs[i].Limits),
		ended: make(chan struct{}),
	}
	one.cmd.Env = append(os.Environ(), workerVariable+"="+string(spec))
	one.cmd.Stderr = os.Stderr
	stdout, err := one.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if one.stdin, err = one.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	if err := one.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(one.ended)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			var limit string
			var before, after int64
			if scanner.Text() == "ready" {
				close(ready)
			} else if n, _ := fmt.Sscanf(scanner.Text(), "admitted %s %d %d", &limit, &before, &after); n == 3 {
				one.own[limit].add(time.Unix(0, before), time.Unix(0, after))
				w.all[limit].add(time.Unix(0, before), time.Unix(0, after))
			}
		}
		_ = one.cmd.Wait() // it may have been killed
	}()
	w.t.Cleanup(one.kill)
	select {
	case <-ready:
	case <-one.ended:
		w.t.Fatalf("%v ended", one.cmd)
	case <-time.After(30 * time.Second):
		w.t.Fatalf("%v does not start", one.cmd)
	}
	w.each[i] = one
}

// kill ends the process as a power cut would, from its point of view.
func (one *worker) kill() {
	one.resume()
	_ = one.cmd.Process.Kill() // it may have ended by itself
	<-one.ended
}

// pause stops the process until resume, in the middle of whatever it does.
func (one *worker) pause()  { _ = one.cmd.Process.Signal(syscall.SIGSTOP) }
func (one *worker) resume() { _ = one.cmd.Process.Signal(syscall.SIGCONT) }

// await waits until more than the quota of each limit was admitted by requests that
// began at or after since, whatever the load of the machine.
func (w *workers) await(since time.Time) {
	w.t.Helper()
	for _, l := range w.specs[0].Limits {
		_, after := w.all[l.Name].split(since, since)
		for deadline := time.Now().Add(30 * time.Second); after.len() <= int(l.Quota); {
			if time.Now().After(deadline) {
				w.t.Fatalf("%s: %d were admitted within 30 s, want more than %d", l.Name, after.len(), l.Quota)
			}
			time.Sleep(20 * time.Millisecond) // other processes admit
			_, after = w.all[l.Name].split(since, since)
		}
	}
}

// stop lets all end by themselves, so that what was admitted is known.
func (w *workers) stop() {
	for _, one := range w.each {
		one.resume()
		one.stdin.Close()
	}
	for _, one := range w.each {
		select {
		case <-one.ended:
		case <-time.After(10 * time.Second):
			w.t.Errorf("%v does not end", one.cmd)
		}
	}
}
