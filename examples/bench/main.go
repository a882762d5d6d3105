// Command bench measures Gatewright beside its peers, in one run on one
// machine, and prints a table of ratios:
//
//	go -C examples/bench run .
//	go -C examples/bench run . -job '^bearer RS256'
//
// Command timing, in the folder of that name, compares the times of failed
// sign-ins instead.
//
// Jobs that need a redis-server or a PostgreSQL start their own, and are left out
// where it is not installed.
//
// Nanoseconds depend on the machine and on what else it does; the ratio to the
// peer of the same run is what counts. It is a module of its own, so that the
// peers decide nobody else's dependencies.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
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
	)
}

func main() {
	testing.Init()
	runs := flag.Int("runs", 5, "runs of each job, of which the median counts")
	only := flag.String("job", "", "run only the jobs whose name this regular expression matches")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -job:", err)
		os.Exit(2)
	}
	servers := new(stay)
	defer servers.end()
	servers.endOnInterrupt()
	// Each row as it is known: all of them take a while.
	const row = "%-44s %-16s %8v %6v %8v %6v %5v  %s\n"
	fmt.Printf(row, "job", "peer", "its ns", "allocs", "our ns", "allocs", "ratio", "to reach")
	for _, j := range jobs(servers) {
		if !wanted.MatchString(j.name) {
			continue
		}
		// In turn, so that a machine that slows down slows both.
		var peer, ours []testing.BenchmarkResult
		for range *runs {
			peer = append(peer, testing.Benchmark(j.run[j.peer]))
			ours = append(ours, testing.Benchmark(j.run["gatewright"]))
		}
		p, o := median(peer), median(ours)
		if p.N == 0 || o.N == 0 {
			continue // and stderr has the reason
		}
		fmt.Printf(row, j.name, j.peer, int(nanos(p)), p.AllocsPerOp(), int(nanos(o)), o.AllocsPerOp(),
			fmt.Sprintf("%.2f", nanos(o)/nanos(p)), j.bound)
	}
}

func nanos(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }

func median(all []testing.BenchmarkResult) testing.BenchmarkResult {
	slices.SortFunc(all, func(a, b testing.BenchmarkResult) int { return int(nanos(a) - nanos(b)) })
	return all[len(all)/2]
}
