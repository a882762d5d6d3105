package ratelimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Kind is how a [Limit] counts. Default: [Strict].
type Kind uint8

const (
	// Strict admits at most Quota in every window of length Window, wherever it
	// begins. Quotas above ten come back in tenths, after 1.0 to 1.1 windows.
	Strict Kind = iota

	// Smooth is a token bucket: in any time t it admits at most Burst +
	// Quota·t/Window, in one window more than Quota.
	Smooth

	// Concurrent admits Quota requests at a time in this process.
	Concurrent
)

// String returns the name in lower case.
func (k Kind) String() string {
	switch k {
	case Strict:
		return "strict"
	case Smooth:
		return "smooth"
	case Concurrent:
		return "concurrent"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// A Down is the behaviour of a limit while a shared Store does not answer. Default:
// [Local].
type Down uint8

const (
	// Local counts in this process, with the quota divided by [Config.Nodes].
	Local Down = iota

	// Closed refuses with 503.
	Closed

	// InsecureOpen does not limit: a client that can make the Store fail is not
	// limited.
	InsecureOpen
)

// String returns the name in lower case.
func (d Down) String() string {
	switch d {
	case Local:
		return "local"
	case Closed:
		return "closed"
	case InsecureOpen:
		return "open"
	}
	return "Down(" + strconv.Itoa(int(d)) + ")"
}

// maxQuota is the largest Quota.
const maxQuota = 1_000_000_000

// Bounds of a Limit. With maxQuota they keep products of two numbers within 63 bits, and
// numbers of a store within the 53 bits of a double.
const (
	minWindow = time.Millisecond
	maxWindow = 366 * 24 * time.Hour
	maxName   = 64 // bytes
)

// A Limit is an amount per time. Limits with the same Name, Kind and Window count
// together for a key.
type Limit struct {
	// Name is for response fields and logs: 1 to 64 bytes of printable ASCII,
	// different for each limit of a request. Default: the window ("minute",
	// "10-seconds") or "in-flight".
	Name string

	// Quota is the amount per Window, 1 to 1,000,000,000, for Smooth at most one
	// per microsecond. Required.
	Quota int64

	// Window is 1 millisecond to 366 days, in whole microseconds. Required, but
	// zero for Concurrent.
	Window time.Duration

	Kind Kind

	// Burst is the amount at once, 1 to Quota, for Smooth only. Default: a tenth
	// of Quota, at least 1.
	Burst int64

	Down Down
}

// InFlight returns a limit of n concurrent requests in each process.
func InFlight(n int64) Limit { return Limit{Quota: n, Kind: Concurrent} }

// Max returns the largest cost that can ever be admitted.
func (l Limit) Max() int64 {
	if l.Kind == Smooth {
		return l.Burst
	}
	return l.Quota
}

// String returns the limit for logs: "5 per minute", "20 in flight".
func (l Limit) String() string {
	switch l.Kind {
	case Concurrent:
		return fmt.Sprintf("%d in flight", l.Quota)
	case Smooth:
		return fmt.Sprintf("%d per %s, smooth, burst %d", l.Quota, wordsOf(l.Window, " "), l.Burst)
	}
	return fmt.Sprintf("%d per %s", l.Quota, wordsOf(l.Window, " "))
}

// validate returns all mistakes in l, which has its defaults.
func (l Limit) validate() error {
	var wrong []error
	errorf := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("ratelimit: Limit."+format, args...))
	}
	if n := len(l.Name); n == 0 || n > maxName {
		errorf("Name has %d bytes; set 1 to %d", n, maxName)
	}
	for i := range len(l.Name) {
		if c := l.Name[i]; c < ' ' || c > '~' {
			errorf("Name is %q; use printable ASCII", l.Name)
			break
		}
	}
	if l.Quota < 1 || l.Quota > maxQuota {
		errorf("Quota is %d; set 1 to %d", l.Quota, maxQuota)
	}
	switch {
	case l.Kind == Concurrent && l.Window != 0:
		errorf("Window is %v; leave it zero for a Concurrent limit", l.Window)
	case l.Kind != Concurrent && (l.Window < minWindow || l.Window > maxWindow || l.Window%time.Microsecond != 0):
		errorf("Window is %v; set %v to %v in whole microseconds", l.Window, minWindow, maxWindow)
	}
	if l.Kind > Concurrent {
		errorf("Kind is %d; set Strict, Smooth or Concurrent", l.Kind)
	}
	switch {
	case l.Kind == Smooth && l.Quota > int64(l.Window/time.Microsecond):
		errorf("Quota is %d per %v; set at most one per microsecond for a Smooth limit", l.Quota, l.Window)
	case l.Kind == Smooth && (l.Burst < 1 || l.Burst > l.Quota):
		errorf("Burst is %d; set 1 to the Quota, %d", l.Burst, l.Quota)
	case l.Kind != Smooth && l.Burst != 0:
		errorf("Burst is %d; leave it zero for a limit that is %v", l.Burst, l.Kind)
	}
	if l.Down > InsecureOpen {
		errorf("Down is %d; set Local, Closed or InsecureOpen", l.Down)
	}
	return errors.Join(wrong...)
}

// withDefaults sets the defaults of empty fields.
func (l Limit) withDefaults() Limit {
	if l.Kind == Concurrent && l.Name == "" {
		l.Name = "in-flight"
	}
	if l.Kind == Smooth && l.Burst == 0 {
		l.Burst = max(1, l.Quota/10)
	}
	if l.Name == "" && l.Window > 0 {
		// Without the quota, so that a limit keeps its name when the quota changes.
		l.Name = wordsOf(l.Window, "-")
	}
	return l
}

// words are the units of Parse, longest first, with the months and years of the Python
// package limits.
var words = [...]struct {
	name, abbreviation string
	is                 time.Duration
}{
	{"year", "y", 360 * 24 * time.Hour},
	{"month", "mo", 30 * 24 * time.Hour},
	{"day", "d", 24 * time.Hour},
	{"hour", "h", time.Hour},
	{"minute", "m", time.Minute},
	{"second", "s", time.Second},
}

// wordsOf returns d in the largest unit that divides it: "minute",
// "10 seconds".
func wordsOf(d time.Duration, space string) string {
	for _, w := range words {
		if d > 0 && d%w.is == 0 {
			if n := d / w.is; n > 1 {
				return fmt.Sprintf("%d%s%ss", n, space, w.name)
			}
			return w.name
		}
	}
	return d.String()
}

// Parse reads Strict limits of slowapi: "5/minute", "10 per 5 minutes", several
// separated by ';', ',' or '|'. Units are second, minute, hour, day, month (30 days)
// and year (360 days), singular, plural or as s, sec, m, min, h, d, mo and y, in any
// case. A Limit is named by its window; if a route has several Limiters, set other
// names.
func Parse(s string) ([]Limit, error) {
	var limits []Limit
	if len(s) > maxParse {
		return nil, fmt.Errorf("ratelimit: limits have %d bytes; use at most %d", len(s), maxParse)
	}
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ';' || r == ',' || r == '|' }) {
		if strings.TrimSpace(part) == "" {
			continue
		}
		l, err := parseOne(part)
		if err != nil {
			return nil, err
		}
		limits = append(limits, l)
	}
	if len(limits) == 0 {
		return nil, fmt.Errorf("ratelimit: limits are %q; use at least one, for example \"5/minute\"", s)
	}
	return limits, nil
}

// MustParse is [Parse] for constants: it panics on an error.
func MustParse(s string) []Limit {
	limits, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return limits
}

const maxParse = 4096

// parseOne reads count, "/" or "per", an optional multiple, and a unit.
func parseOne(part string) (Limit, error) {
	wrong := fmt.Errorf("ratelimit: limit is %q; use the form \"5/minute\" or \"10 per 5 minutes\"", part)
	count, rest := number(strings.TrimSpace(part))
	rest = strings.ToLower(strings.TrimSpace(rest))
	after, ok := strings.CutPrefix(rest, "/")
	if !ok {
		after, ok = strings.CutPrefix(rest, "per")
	}
	if count == "" || !ok {
		return Limit{}, wrong
	}
	multiple, unit := number(strings.TrimSpace(after))
	quota, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return Limit{}, wrong
	}
	n := int64(1)
	if multiple != "" {
		if n, err = strconv.ParseInt(multiple, 10, 64); err != nil {
			return Limit{}, wrong
		}
	}
	is := unitOf(strings.TrimSpace(unit))
	if is == 0 || n < 1 || n > int64(maxWindow/is) {
		return Limit{}, wrong
	}
	l := Limit{Quota: quota, Window: time.Duration(n) * is}.withDefaults()
	if err := l.validate(); err != nil {
		return Limit{}, fmt.Errorf("%w in %q", err, part)
	}
	return l, nil
}

// number splits the leading decimal digits from s.
func number(s string) (digits, rest string) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}

func unitOf(s string) time.Duration {
	switch s {
	case "sec":
		return time.Second
	case "min":
		return time.Minute
	}
	for _, w := range words {
		if s == w.name || s == w.name+"s" || s == w.abbreviation {
			return w.is
		}
	}
	return 0
}
