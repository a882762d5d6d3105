// Command bench measures Gatewright beside its peers, in one run on one
// machine, and prints a table of ratios:
//
//	go -C examples/bench run .
//	go -C examples/bench run . -job '^bearer RS256'
//	go -C examples/bench run . -load 5s -write /tmp
//
// With -load it also measures a whole API over the loopback interface, at 1, 32 and
// 256 connections, beside a handler without guards. With -write it writes a table and
// charts into a folder.
//
// Command timing, in the folder of that name, compares the times of failed
// sign-ins instead.
//
// Jobs that need a redis-server or a PostgreSQL start their own, and are left out
// where it is not installed. A job that fails is reported with its reason, and the
// command then exits with status 2.
//
// Nanoseconds depend on the machine and on what else it does; the ratio to the
// peer of the same run is what counts. It is a module of its own, so that the
// peers decide nobody else's dependencies.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

// A job is one thing to do, by a peer and by us.
type job struct {
	name  string
	peer  string
	run   map[string]func(*testing.B) // by who does it; "gatewright" is ours
	bound string                      // what we mean to reach
}

func jobs(s *stay) []job {
	return slices.Concat(
		bearerJobs(),
		ratelimitJobs(),
		storeJobs(s),
		blacklistJobs(),
		headersJobs(),
		apikeyJobs(),
		rbacJobs(),
		scopesJobs(),
		totpJobs(),
		chainJobs(),
	)
}

func main() {
	testing.Init()
	runs := flag.Int("runs", 5, "runs of each job, of which the median counts")
	only := flag.String("job", "", "run only the jobs whose name this regular expression matches")
	span := flag.Duration("load", 0, "measure the chain over HTTP too, this long for each number of connections")
	folder := flag.String("write", "", "write results.md and charts into this folder")
	server := flag.String("serve", "", "be the server of this name, for -load")
	flag.Parse()
	if *server != "" {
		exitIf(serveLoad(*server))
		return
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		exitIf(fmt.Errorf("-job: %w", err))
	}
	servers := new(stay)
	defer servers.end()
	servers.endOnInterrupt()
	var all report
	failed := false
	// Each row as it is known: all of them take a while.
	const line = "%-44s %-16s %8v %6v %8v %6v %5v  %s\n"
	fmt.Printf(line, "job", "peer", "its ns", "allocs", "our ns", "allocs", "ratio", "to reach")
	for _, j := range jobs(servers) {
		if !wanted.MatchString(j.name) {
			continue
		}
		r, err := j.measure(*runs)
		all.rows = append(all.rows, r)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", j.name, err)
			failed = failed || !errors.Is(err, errLeftOut)
			continue
		}
		fmt.Printf(line, j.name, j.peer, int(r.theirs), r.theirAllocs, int(r.ours), r.allocs,
			fmt.Sprintf("%.2f", r.ours/r.theirs), j.bound)
	}
	if *span > 0 {
		const line = "%-9s %5v %-20s %9v %9v %9v %9v %7v %7v\n"
		fmt.Printf(line, "protocol", "conns", "server", "req/s", "p50", "p99", "p99.9", "bytes", "allocs")
		exitIf(loads(*span, []int{1, 32, 256}, func(l load) {
			all.loads = append(all.loads, l)
			fmt.Printf(line, l.protocol, l.connections, l.server, int(l.perSecond), l.p50.Round(time.Microsecond),
				l.p99.Round(time.Microsecond), l.p999.Round(time.Microsecond), int(l.bytes), fmt.Sprintf("%.1f", l.allocs))
		}))
	}
	if *folder != "" {
		exitIf(all.write(*folder))
	}
	if failed {
		exitIf(errors.New("jobs failed"))
	}
}

// measure runs the job, and returns the row of the medians. If one of the runs fails or
// is skipped, the row has the reason.
func (j job) measure(runs int) (row, error) {
	// In turn, so that a machine that slows down slows both.
	results := make(map[string][]testing.BenchmarkResult)
	for range runs {
		for _, who := range []string{j.peer, "gatewright"} {
			result, err := benchmark(j.run[who])
			if err != nil {
				err = fmt.Errorf("%s: %w", who, err)
				return row{job: j, missing: err.Error()}, err
			}
			results[who] = append(results[who], result)
		}
	}
	p, o := median(results[j.peer]), median(results["gatewright"])
	return row{job: j, theirs: nanos(p), ours: nanos(o), theirAllocs: p.AllocsPerOp(), allocs: o.AllocsPerOp()}, nil
}

// benchmark is testing.Benchmark, which discards the reason of a failure.
func benchmark(run func(*testing.B)) (testing.BenchmarkResult, error) {
	var ran *testing.B
	result := testing.Benchmark(func(b *testing.B) { ran = b; run(b) })
	reason, _ := reasons.LoadAndDelete(ran)
	switch {
	case ran.Skipped():
		return result, fmt.Errorf("%w: %v", errLeftOut, reason)
	case ran.Failed() || result.N == 0:
		return result, fmt.Errorf("failed: %v", reason)
	}
	return result, nil
}

var (
	errLeftOut = errors.New("left out")
	reasons    sync.Map // *testing.B to the reason why it failed or was skipped
)

// fail is b.Fatalf, and keeps the reason for benchmark.
func fail(b *testing.B, format string, args ...any) {
	b.Helper()
	reasons.LoadOrStore(b, fmt.Sprintf(format, args...))
	b.Fatalf(format, args...)
}

func exitIf(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
}

func nanos(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }

func median(all []testing.BenchmarkResult) testing.BenchmarkResult {
	slices.SortFunc(all, func(a, b testing.BenchmarkResult) int { return int(nanos(a) - nanos(b)) })
	return all[len(all)/2]
}
