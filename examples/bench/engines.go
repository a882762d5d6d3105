package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/gatewright/gatewright/examples/integration/servers"
)

// A stay is how long the servers that jobs need are kept: package servers keeps
// them for one test, and a job is run several times. It is the part of a
// testing.TB that package servers uses.
type stay struct {
	testing.TB
	mu   sync.Mutex
	ends []func()
}

// end ends the servers.
func (s *stay) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range slices.Backward(s.ends) {
		f()
	}
	s.ends = nil
}

// endOnInterrupt ends them when somebody has seen enough.
func (s *stay) endOnInterrupt() {
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupt
		s.end()
		os.Exit(1)
	}()
}

// missing is why a server cannot be started.
type missing string

func (s *stay) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, f)
}

func (s *stay) Helper()                          {}
func (s *stay) Skipf(format string, args ...any) { panic(missing(fmt.Sprintf(format, args...))) }
func (s *stay) Errorf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
func (s *stay) Fatal(args ...any) { s.Fatalf("%v", fmt.Sprint(args...)) }
func (s *stay) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	s.end()
	os.Exit(1)
}

func (s *stay) TempDir() string {
	folder := must(os.MkdirTemp("", "gatewright-bench-"))
	s.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// start returns what starts a server when a job first asks for it. Where it is
// not installed the job is skipped.
func (s *stay) start(server func(testing.TB) *servers.Server) func(testing.TB) *servers.Server {
	once := sync.OnceValues(func() (started *servers.Server, why missing) {
		defer func() {
			if v := recover(); v != nil {
				var ok bool
				if why, ok = v.(missing); !ok {
					panic(v)
				}
				s.Errorf("%s, and its jobs are left out", why)
			}
		}()
		return server(s), ""
	})
	return func(tb testing.TB) *servers.Server {
		started, why := once()
		if why != "" {
			reasons.LoadOrStore(tb, string(why))
			tb.Skip(string(why))
		}
		return started
	}
}
