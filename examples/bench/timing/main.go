// Command timing compares how long sign-ins take that fail for different
// reasons, as dudect does ("Dude, is my code constant time?", Reparaz, Balasch
// and Verbauwhede, 2017): by Welch's t of each pair of reasons.
//
//	go -C examples/bench run ./timing -n 10000
//
// A |t| of 4.5 or more means that the two can be told apart by so many samples,
// here, by somebody who sits in the process. Less means that this measurement
// found nothing, and no more than that. It is a measurement and not a test: it
// fails only if a class is not refused as the others are.
//
// The parameters of the hashes are far below those for production, so that
// there are many samples, and so that a difference besides the hashing is not
// lost in the time of the hashing.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatewright/gatewright/auth/password"
)

// threshold is dudect's: it is passed by chance once in 150,000 pairs.
const threshold = 4.5

// percentile is the part of all samples that is kept.
const percentile = 0.95

// options say what is measured.
type options struct {
	n       int // samples of each class
	classes []string
	argon2  password.Argon2id
	bcrypt  int  // cost of the imported hashes, 0 for none
	log     bool // events are written to a logger
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 2000, "samples of each class")
	flag.IntVar(&o.argon2.Memory, "memory", 1024, "KiB of argon2id")
	flag.IntVar(&o.argon2.Passes, "passes", 1, "passes of argon2id")
	flag.IntVar(&o.argon2.Lanes, "lanes", 1, "lanes of argon2id")
	flag.IntVar(&o.bcrypt, "bcrypt", 5, "cost of bcrypt, the imported scheme; 0 for none")
	flag.BoolVar(&o.log, "log", false, "write events to a logger, as hosts do, whose output is discarded")
	only := flag.String("classes", "", "classes to compare, separated by commas (default: all)")
	flag.Parse()
	if *only != "" {
		o.classes = strings.Split(*only, ",")
	}
	if err := run(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "timing:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, o options) error {
	if o.n < 2 {
		return fmt.Errorf("-n is %d, want at least 2", o.n)
	}
	h, err := newHost(o)
	if err != nil {
		return err
	}
	classes, err := h.classes(o)
	if err != nil {
		return err
	}
	imported := "nothing imported"
	if o.bcrypt > 0 {
		imported = fmt.Sprintf("bcrypt of cost %d imported", o.bcrypt)
	}
	fmt.Fprintf(w, "%d samples of each class, in random order; argon2id m=%d,t=%d,p=%d (reduced: the default is m=65536,t=3,p=4), %s\n",
		o.n, o.argon2.Memory, o.argon2.Passes, o.argon2.Lanes, imported)
	fmt.Fprintf(w, "events logged: %t; %s, %s/%s, %d processors\n\n",
		o.log, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	if err := h.agree(classes); err != nil {
		return err
	}
	report(w, classes, h.measure(classes, o))
	return nil
}

// garbage is how much memory of argon2id is left to the collector at a time, in
// KiB.
const garbage = 64 << 10

// measure returns the times of n requests of each class, in microseconds. One
// of each is sent in random order, and again, so that whatever changes in the
// course of time changes all classes. The collector runs in between only.
func (h *host) measure(classes []class, o options) [][]float64 {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	samples := make([][]float64, len(classes))
	for i := range samples {
		samples[i] = make([]float64, 0, o.n)
	}
	order := rand.Perm(len(classes))
	warmUp := min(o.n, 50)
	left := 0
	for round := range warmUp + o.n {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			if left += o.argon2.Memory; left > garbage {
				left = o.argon2.Memory
				runtime.GC()
				// The first request afterwards finds other caches than
				// the rest, so it is nobody's.
				h.send(h.request(classes[rand.IntN(len(classes))].body))
			}
			took := h.send(h.request(classes[i].body))
			if round >= warmUp {
				samples[i] = append(samples[i], float64(took.Nanoseconds())/1e3)
			}
		}
	}
	return samples
}

// report prints what the samples of the classes tell. What is above a
// percentile of all samples together is left out, at the same time for each
// class: an interruption has nothing to do with the class it hits.
func report(w io.Writer, classes []class, samples [][]float64) {
	limit := quantile(slices.Concat(samples...), percentile)
	kept := make([][]float64, len(samples))
	all := make([]moments, len(samples))
	for i, s := range samples {
		kept[i] = slices.DeleteFunc(slices.Clone(s), func(v float64) bool { return v > limit })
		all[i] = momentsOf(kept[i])
	}
	fmt.Fprintf(w, "Without samples above %.0f µs, the %.0fth percentile of all. The largest |t| of a class is of all pairs it is in.\n\n", limit, 100*percentile)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\tclass\tkept\tmean µs\tmedian\tstddev\tlargest |t|\tbeside\tdifference µs\t|t| < 4.5")
	for i, c := range classes {
		most, beside := 0.0, i
		for j := range classes {
			if t := math.Abs(welch(all[i], all[j])); j != i && !(t <= most) {
				most, beside = t, j
			}
		}
		verdict := "yes"
		if !(most < threshold) {
			verdict = "NO"
		}
		fmt.Fprintf(table, "%d\t%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t%+.2f\t%s\n", i+1, c.name, all[i].n,
			all[i].mean, quantile(kept[i], 0.5), math.Sqrt(all[i].variance), most, classes[beside].name,
			all[i].mean-all[beside].mean, verdict)
	}
	table.Flush()

	fmt.Fprint(w, "\nt of each pair; positive: the row takes longer\n\n")
	for j := range classes {
		fmt.Fprintf(table, "\t%d", j+1)
	}
	fmt.Fprintln(table)
	shows := 0.0
	for i := range classes {
		fmt.Fprint(table, i+1)
		for j := range i {
			fmt.Fprintf(table, "\t%.2f", welch(all[i], all[j]))
			shows = max(shows, threshold*standardError(all[i], all[j]))
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	fmt.Fprintf(w, "\nA difference of %.2f µs would have shown in any pair.\n", shows)
}

// moments describe a class.
type moments struct {
	n              int
	mean, variance float64
}

func momentsOf(s []float64) moments {
	m := moments{n: len(s)}
	for _, v := range s {
		m.mean += v / float64(m.n)
	}
	for _, v := range s {
		m.variance += (v - m.mean) * (v - m.mean) / float64(m.n-1)
	}
	return m
}

// welch returns the t of Welch's test: how many standard errors the means are
// apart.
func welch(a, b moments) float64 {
	return (a.mean - b.mean) / standardError(a, b)
}

func standardError(a, b moments) float64 {
	return math.Sqrt(a.variance/float64(a.n) + b.variance/float64(b.n))
}

// quantile returns the value that the part q of s is not above.
func quantile(s []float64, q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.SortedFunc(slices.Values(s), cmp.Compare)
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// send returns how long the request took.
func (h *host) send(r request) time.Duration {
	began := time.Now()
	h.handler.ServeHTTP(r.w, r.r)
	return time.Since(began)
}
