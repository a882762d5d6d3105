package ratelimit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/ratelimit"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"5/minute", "5 per minute"}, // the guide's
		{"10 per 5 minutes", "10 per 5 minutes"},
		{"5/minute;1000/hour", "5 per minute; 1000 per hour"},
		{"1/second, 2 per minute | 3/day", "1 per second; 2 per minute; 3 per day"},
		{"10/s;1000/h", "10 per second; 1000 per hour"},
		{"100 PER Hour", "100 per hour"},
		{"  7 / 2 days ; ", "7 per 2 days"},
		{"1 per month", "1 per month"},
		{"1/year", "1 per year"},
		{"60/60seconds", "60 per minute"},
		{"3/sec;4/2min;5/3mo;6/y", "3 per second; 4 per 2 minutes; 5 per 3 months; 6 per year"},
		{"1000000000/366d", "1000000000 per 366 days"},
		{"", ""}, {";", ""}, {"5", ""}, {"/minute", ""}, {"5/", ""}, {"5/fortnight", ""}, {"-5/minute", ""},
		{"5.5/minute", ""}, {"0/minute", ""}, {"5/0minutes", ""}, {"5 minute", ""}, {"5/minute extra", ""},
		{"1000000001/minute", ""}, {"99999999999999999999/minute", ""}, {"5/99999999999999999999s", ""}, {"5/367d", ""},
		{"5/minute;broken", ""}, {"5//minute", ""}, {"٥/minute", ""}, {strings.Repeat("5/minute;", 1000), ""},
	} {
		limits, err := ratelimit.Parse(tt.in)
		var words []string
		for _, l := range limits {
			words = append(words, l.String())
		}
		if got := strings.Join(words, "; "); got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("Parse(%.40q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "ratelimit: ") {
			t.Errorf("Parse(%.40q): %v", tt.in, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("MustParse does not panic")
		}
	}()
	ratelimit.MustParse("5/fortnight")
}

// FuzzParse: what is accepted is a valid limit, and its words mean the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"5/minute", "10 per 5 minutes;3/h", "1/mo|2/y,3/d", "5/ 7 SECONDS"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		limits, err := ratelimit.Parse(s)
		if err != nil {
			return
		}
		for _, l := range limits {
			if _, err := ratelimit.NewPlan(l); err != nil {
				t.Fatalf("%q gives %+v: %v", s, l, err)
			}
			again, err := ratelimit.Parse(l.String())
			if err != nil || len(again) != 1 || again[0] != l {
				t.Fatalf("%q gives %v, which gives %v (%v)", s, l, again, err)
			}
		}
	})
}

func TestLimitString(t *testing.T) {
	for _, tt := range []struct {
		l    ratelimit.Limit
		want string
	}{
		{ratelimit.InFlight(20), "20 in flight"},
		{ratelimit.Limit{Kind: ratelimit.Smooth, Quota: 100, Burst: 10, Window: 10 * time.Second}, "100 per 10 seconds, smooth, burst 10"},
		{ratelimit.Limit{Quota: 1, Window: 1500 * time.Millisecond}, "1 per 1.5s"},
	} {
		if got := tt.l.String(); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	if got := ratelimit.Smooth.String() + ratelimit.Closed.String(); got != "smoothclosed" {
		t.Error(got)
	}
}
