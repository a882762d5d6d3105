package main

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/auth/password"
)

// The data are those of Student (1908), which R has as "sleep": its t.test says
// t = -1.8608.
func TestWelch(t *testing.T) {
	a := momentsOf([]float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0})
	b := momentsOf([]float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4})
	if got := welch(a, b); math.Abs(got - -1.8608) > 5e-5 {
		t.Errorf("t is %.5f, want -1.8608", got)
	}
	if got := welch(b, a); math.Abs(got-1.8608) > 5e-5 {
		t.Errorf("the other way round t is %.5f, want 1.8608", got)
	}
	// Of classes of several sizes: means of 2 and 6, variances of 1 and 10.
	c, d := momentsOf([]float64{1, 2, 3}), momentsOf([]float64{2, 4, 6, 8, 10})
	if got, want := welch(c, d), -4/math.Sqrt(1.0/3+10.0/5); math.Abs(got-want) > 1e-12 {
		t.Errorf("t is %v, want %v", got, want)
	}
}

func TestQuantile(t *testing.T) {
	s := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.95: 5, 1: 5} {
		if got := quantile(s, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

// It runs. What it finds with so few samples means nothing.
func TestRun(t *testing.T) {
	cheap := options{n: 20, argon2: password.Argon2id{Memory: 64, Passes: 1, Lanes: 1}, bcrypt: 4, log: true}
	measured := func(o options) string {
		t.Helper()
		var out bytes.Buffer
		if err := run(&out, o); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	out := measured(cheap)
	for _, want := range []string{"unknown", "over-long", "legacy-nul", "largest |t|", "t of each pair"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}

	unmixed := cheap
	unmixed.bcrypt = 0
	if out := measured(unmixed); strings.Contains(out, "legacy") {
		t.Errorf("with nothing imported:\n%s", out)
	}
	some := cheap
	some.n, some.bcrypt, some.classes = 2, 5, []string{"wrong", "legacy-cheaper"}
	if out := measured(some); strings.Contains(out, "unknown") {
		t.Errorf("of two classes:\n%s", out)
	}
	some.classes = []string{"wrong", "right"}
	if run(io.Discard, some) == nil {
		t.Error("a class that there is not is no error")
	}
}
