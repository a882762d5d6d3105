package ratelimit_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/ratelimit"
)

// TestGuide is the guide's route: 5 requests per minute and address, the sixth
// is refused, and after the minute it works again.
func TestGuide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log audit
		next := new(counting)
		h := newLimiter(t, ratelimit.Config{Hooks: log.hooks()}, ratelimit.MustParse("5/minute")...).Handler(next)
		for i := range 5 {
			w := send(h, request("192.0.2.1:1000"))
			if w.Code != 200 || next.ran() != i+1 || w.Body.String() != "ok" {
				t.Fatalf("request %d: %d %s, next ran %d times", i, w.Code, w.Body, next.ran())
			}
			if got, want := w.Header().Get("RateLimit"), fmt.Sprintf(`"minute";r=%d;t=%d`, 4-i, 60-10*i); got != want {
				t.Errorf("request %d: RateLimit is %s, want %s", i, got, want)
			}
			if got, want := w.Header().Get("RateLimit-Policy"), `"minute";q=5;w=60`; got != want {
				t.Errorf("RateLimit-Policy is %s, want %s", got, want)
			}
			time.Sleep(10 * time.Second)
		}
		time.Sleep(-100*time.Millisecond + 500*time.Millisecond)
		w := send(h, request("192.0.2.1:1000")) // the first one is 50.4 s ago
		if w.Code != 429 || next.ran() != 5 {
			t.Fatalf("the sixth: %d, next ran %d times", w.Code, next.ran())
		}
		if got := w.Header().Get("Retry-After"); got != "10" && got != "11" {
			t.Errorf("Retry-After is %s, want 9.6 s, rounded up, and a tenth more at most", got)
		}
		if got, want := w.Header().Get("RateLimit"), `"minute";r=0;t=10`; got != want {
			t.Errorf("RateLimit is %s, want %s", got, want)
		}
		if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("Content-Type is %s", got)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control is %s", got)
		}
		var problem struct {
			Status int
			Code   string
			Detail string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != 429 || problem.Code != ratelimit.CodeQuotaExceeded {
			t.Errorf("body is %s (%v)", w.Body, err)
		}
		if e := log.last(); e.Name != guard.EventRateLimit || e.Denial == nil || !strings.Contains(e.Denial.Err.Error(), `"minute", 5 per minute`) {
			t.Errorf("observed %+v", e)
		}
		if w := send(h, request("192.0.2.2:1000")); w.Code != 200 {
			t.Errorf("another address: %d", w.Code)
		}
		time.Sleep(9600 * time.Millisecond)
		if w := send(h, request("192.0.2.1:1000")); w.Code != 200 {
			t.Errorf("after a minute: %d", w.Code)
		}
		if w := send(h, request("192.0.2.1:1000")); w.Code != 429 {
			t.Errorf("one had come back, and two were admitted: %d", w.Code)
		}
	})
}

// is a thousand goroutines at once against a limit of N.
func TestParallelRequestsGetExactlyTheLimit(t *testing.T) {
	for _, limit := range []ratelimit.Limit{
		hourly(7), hourly(100),
		{Kind: ratelimit.Smooth, Quota: 100, Burst: 100, Window: 24 * time.Hour},
	} {
		h := newLimiter(t, ratelimit.Config{}, limit).Handler(new(counting))
		var ok, refused, other atomic.Int64
		var ready, done sync.WaitGroup
		ready.Add(1000)
		for range 1000 {
			done.Go(func() {
				ready.Done()
				ready.Wait()
				switch send(h, request("192.0.2.1:1")).Code {
				case 200:
					ok.Add(1)
				case 429:
					refused.Add(1)
				default:
					other.Add(1)
				}
			})
		}
		done.Wait()
		if ok.Load() != limit.Quota || refused.Load() != 1000-limit.Quota || other.Load() != 0 {
			t.Errorf("%v: %d admitted, %d refused, %d else", limit, ok.Load(), refused.Load(), other.Load())
		}
	}
}

func TestARefusedRequestIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLimiter(t, ratelimit.Config{}, ratelimit.MustParse("2/second;4/hour")...).Handler(new(counting))
		// Two a second: the third of each second is refused by the first limit
		// and must not be charged to the second.
		if got := statuses(h, 10, from("192.0.2.1:1")); got != "200 200 429 429 429 429 429 429 429 429" {
			t.Error(got)
		}
		time.Sleep(time.Second)
		if got := statuses(h, 4, from("192.0.2.1:1")); got != "200 200 429 429" {
			t.Error("refused requests were charged to the hour:", got)
		}
		time.Sleep(time.Second)
		w := send(h, request("192.0.2.1:1"))
		if got, want := w.Header().Get("RateLimit"), `"second";r=2;t=`; w.Code != 429 || !strings.HasPrefix(got, want) && !strings.HasPrefix(got, `"second";r=2,`) {
			t.Errorf("%d, RateLimit is %s: want 2 left in the second, for the hour refused", w.Code, got)
		}
		if wait, _ := strconv.Atoi(w.Header().Get("Retry-After")); wait < 3598 || wait > 3960 {
			t.Errorf("Retry-After is %d, want what is left of the hour", wait)
		}
	})
}

func TestACostAboveTheQuotaIs413(t *testing.T) {
	next := new(counting)
	h := newLimiter(t, ratelimit.Config{
		Cost: func(r *http.Request) int64 { n, _ := strconv.ParseInt(r.Header.Get("Cost"), 10, 64); return n },
	}, hourly(10), ratelimit.InFlight(1)).Handler(next)
	cost := func(n int64) *httptest.ResponseRecorder {
		r := request("192.0.2.1:1")
		r.Header.Set("Cost", strconv.FormatInt(n, 10))
		return send(h, r)
	}
	for _, n := range []int64{11, math.MaxInt64} {
		w := cost(n)
		if w.Code != 413 || w.Header().Get("Retry-After") != "" || next.ran() != 0 || !strings.Contains(w.Body.String(), "cost_too_large") {
			t.Errorf("cost %d: %d, Retry-After %q, %s", n, w.Code, w.Header().Get("Retry-After"), w.Body)
		}
	}
	if w := cost(9); w.Code != 200 {
		t.Errorf("cost 9: %d: a cost that is too large was charged", w.Code)
	}
	if w := cost(2); w.Code != 429 || w.Header().Get("RateLimit") != `"hour";r=1;t=3600, "in-flight";r=1` {
		t.Errorf("cost 2 of 1: %d, %s", w.Code, w.Header().Get("RateLimit"))
	}
	if w := cost(-5); w.Code != 200 || w.Header().Get("RateLimit") != `"hour";r=0;t=3600, "in-flight";r=0` {
		t.Errorf("a negative cost is not 1: %d, %s", w.Code, w.Header().Get("RateLimit"))
	}
}

func TestACancelledRequestIsNotCharged(t *testing.T) {
	next := new(counting)
	h := newLimiter(t, ratelimit.Config{}, hourly(1)).Handler(next)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if w := send(h, request("192.0.2.1:1").WithContext(ctx)); w.Code != 499 || next.ran() != 0 {
			t.Errorf("%d, next ran %d times", w.Code, next.ran())
		}
	}
	if w := send(h, request("192.0.2.1:1")); w.Code != 200 {
		t.Errorf("%d: a cancelled request was charged", w.Code)
	}
}

// draws Retry-After many times: never earlier than the time it is about,
// never a tenth later, and evenly spread by a chi-squared test.
func TestRetryAfterIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLimiter(t, ratelimit.Config{}, ratelimit.Limit{Quota: 1, Window: 1000 * time.Second}).Handler(new(counting))
		send(h, request("192.0.2.1:1"))
		var buckets [10]int
		const n = 2000
		for range n {
			wait, err := strconv.Atoi(send(h, request("192.0.2.1:1")).Header().Get("Retry-After"))
			if err != nil || wait < 1000 || wait > 1100 {
				t.Fatalf("Retry-After is %d, want 1000 to 1100 (%v)", wait, err)
			}
			buckets[min(9, max(0, wait-1001)/10)]++
		}
		chi := 0.0
		for _, got := range buckets {
			chi += math.Pow(float64(got)-n/10, 2) / (n / 10)
		}
		// 9 degrees of freedom: 60 is exceeded with a probability of 1e-9.
		if chi > 60 {
			t.Errorf("Retry-After is not spread evenly: %v, chi² = %.1f", buckets, chi)
		}
	})
}

func TestInFlightAdmitsAsManyAtATime(t *testing.T) {
	t.Run("HTTP/2 with 500 streams at once", func(t *testing.T) {
		const limit = 20
		var now, most atomic.Int64
		h := newLimiter(t, ratelimit.Config{}, ratelimit.InFlight(limit)).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for n := now.Add(1); ; {
				if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			time.Sleep(2 * time.Millisecond)
			now.Add(-1)
		}))
		server := httptest.NewUnstartedServer(h)
		server.EnableHTTP2 = true
		server.StartTLS()
		defer server.Close()
		// One connection, which all streams share.
		if res, err := server.Client().Get(server.URL); err != nil || res.ProtoMajor != 2 {
			t.Fatalf("the first request: %v %v", res, err)
		} else {
			res.Body.Close()
		}
		var ok, refused, other atomic.Int64
		var done sync.WaitGroup
		for range 500 {
			done.Go(func() {
				res, err := server.Client().Get(server.URL)
				if err != nil {
					other.Add(1)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				switch {
				case res.ProtoMajor != 2:
					other.Add(1)
				case res.StatusCode == 200:
					ok.Add(1)
				case res.StatusCode == 429:
					refused.Add(1)
				default:
					other.Add(1)
				}
			})
		}
		done.Wait()
		if most.Load() > limit || other.Load() != 0 || ok.Load() < limit {
			t.Errorf("at most %d at once, want %d; %d admitted, %d refused, %d else", most.Load(), limit, ok.Load(), refused.Load(), other.Load())
		}
		if res, err := server.Client().Get(server.URL); err != nil || res.StatusCode != 200 {
			t.Errorf("after all have ended: %v %v", res, err)
		}
	})
	t.Run("a handler that panics gives its place back", func(t *testing.T) {
		h := newLimiter(t, ratelimit.Config{}, ratelimit.InFlight(1)).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("handler") }))
		for range 3 {
			func() {
				defer func() {
					if recover() != "handler" {
						t.Error("the panic was swallowed, or the request refused")
					}
				}()
				send(h, request("192.0.2.1:1"))
			}()
		}
	})
	for _, refund := range []func(int) bool{nil, func(int) bool { return false }} {
		t.Run(fmt.Sprintf("hijack and stream keep it until they end, status watched: %t", refund != nil), func(t *testing.T) {
			inside, leave := make(chan bool), make(chan bool)
			h := newLimiter(t, ratelimit.Config{Refund: refund}, ratelimit.InFlight(1)).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hijack" {
					conn, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
				} else if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				inside <- true
				<-leave
			}))
			for _, path := range []string{"/hijack", "/events", "/hijack"} {
				done := make(chan bool)
				go func() {
					defer close(done)
					r := request("192.0.2.1:1")
					r.URL.Path = path
					h.ServeHTTP(hijackable{httptest.NewRecorder()}, r)
				}()
				select {
				case <-inside:
				case <-done:
					t.Fatalf("%s was refused", path)
				}
				w := send(h, request("192.0.2.1:1"))
				if got := w.Header().Get("Retry-After"); w.Code != 429 || got != "1" && got != "2" {
					t.Errorf("beside %s: %d, Retry-After %s", path, w.Code, got)
				}
				leave <- true
				<-done
			}
		})
	}
}

// hijackable is a recorder of a connection that can be taken over.
type hijackable struct{ *httptest.ResponseRecorder }

func (hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a, b := net.Pipe()
	b.Close()
	return a, nil, nil
}

func TestAQuotaMayChangeWhileKeysLive(t *testing.T) {
	plans := map[string]*ratelimit.Plan{}
	for name, quota := range map[string]int64{"free": 3, "pro": 30} {
		p, err := ratelimit.NewPlan(hourly(quota))
		if err != nil {
			t.Fatal(err)
		}
		plans[name] = p
	}
	broken := errors.New("no plan")
	h := newLimiter(t, ratelimit.Config{LimitsFor: func(r *http.Request) (*ratelimit.Plan, error) {
		if r.Header.Get("Plan") == "broken" {
			return nil, broken
		}
		return plans[r.Header.Get("Plan")], nil
	}}, hourly(1)).Handler(new(counting))
	with := func(plan string) func(int) *http.Request {
		return func(int) *http.Request {
			r := request("192.0.2.1:1")
			r.Header.Set("Plan", plan)
			return r
		}
	}
	for _, step := range []struct {
		plan string
		n    int
		want string
	}{
		{"free", 4, "200 200 200 429"},
		{"pro", 2, "200 200"},
		{"free", 1, "429"},
		{"none", 1, "429"},
		{"broken", 1, "503"},
		{"pro", 26, strings.TrimSpace(strings.Repeat("200 ", 25)) + " 429"},
	} {
		if got := statuses(h, step.n, with(step.plan)); got != step.want {
			t.Errorf("%s: %s, want %s", step.plan, got, step.want)
		}
	}
}

func TestRefundByStatus(t *testing.T) {
	status := http.StatusOK
	h := newLimiter(t, ratelimit.Config{Refund: func(status int) bool { return status >= 500 }}, hourly(2)).
		Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			switch status {
			case 0:
			case -1:
				panic("handler")
			case -2:
				w.WriteHeader(103)
				w.WriteHeader(500)
				w.WriteHeader(200)
			default:
				w.WriteHeader(status)
			}
		}))
	do := func(s int) int {
		defer func() { recover() }()
		status = s
		return send(h, request("192.0.2.1:1")).Code
	}
	for range 5 {
		if got := do(500); got != 500 {
			t.Fatalf("%d: a refunded request was charged", got)
		}
		if do(-2); t.Failed() {
			t.Fatal()
		}
	}
	do(-1) // not refunded
	if got := do(0); got != 200 {
		t.Errorf("%d, want 200: one of two is left", got)
	}
	if got := do(500); got != 429 {
		t.Errorf("%d, want 429: a panic and a 200 were charged", got)
	}
}

func TestSkipAndShadow(t *testing.T) {
	next := new(counting)
	h := newLimiter(t, ratelimit.Config{Skip: func(r *http.Request) bool { return r.URL.Path == "/healthz" }}, hourly(1)).Handler(next)
	health := func(int) *http.Request { r := request("192.0.2.1:1"); r.URL.Path = "/healthz"; return r }
	if got := statuses(h, 3, health) + " " + statuses(h, 2, from("192.0.2.1:1")); got != "200 200 200 200 429" || next.ran() != 4 {
		t.Error(got)
	}

	var log audit
	next = new(counting)
	h = newLimiter(t, ratelimit.Config{InsecureShadow: true, Hooks: log.hooks()}, hourly(1)).Handler(next)
	if got := statuses(h, 3, from("192.0.2.1:1")); got != "200 200 200" || next.ran() != 3 {
		t.Error(got)
	}
	if log.count(guard.EventRateLimit) != 2 {
		t.Errorf("observed %d refusals that were none, want 2", log.count(guard.EventRateLimit))
	}
	if w := send(h, request("192.0.2.1:1")); len(w.Header()["Ratelimit"]) != 0 {
		t.Error("a limit that does not count is told to clients")
	}
}

func TestCheckAndReserve(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{}, hourly(2))
	for i, want := range []int{0, 0, 429} {
		d, _ := errors.AsType[*guard.Denial](l.Check(request("192.0.2.1:1")))
		if d == nil && want != 0 || d != nil && (d.Status != want || d.RetryAfter < 50*time.Minute) {
			t.Errorf("check %d: %v", i, d)
		}
	}
	rooms := newLimiterBy(t, func(r *http.Request, k *ratelimit.KeyBuilder) error { k.Add(r.PathValue("room")); return nil },
		ratelimit.Config{}, hourly(3), ratelimit.InFlight(1))
	if err := rooms.Check(request("192.0.2.1:1")); err == nil {
		t.Error("Check of a Concurrent limit is no error")
	}
	first, err := rooms.Reserve(t.Context(), 2, "blue")
	if err != nil || len(first.States) != 2 || first.States[0].Remaining != 1 || first.States[1].Remaining != 0 {
		t.Fatalf("%+v %v", first, err)
	}
	if _, err := rooms.Reserve(t.Context(), 1, "blue"); err == nil {
		t.Error("two at once, want one")
	}
	first.End(t.Context(), false)
	first.End(t.Context(), true)
	second, err := rooms.Reserve(t.Context(), 1, "blue")
	if err != nil {
		t.Fatal(err)
	}
	second.End(t.Context(), true)
	// The same fields from a request are the same key.
	r := request("192.0.2.1:1")
	r.SetPathValue("room", "blue")
	h := rooms.Handler(new(counting))
	if got := statuses(h, 2, func(int) *http.Request { return r }); got != "200 429" {
		t.Error(got)
	}
	if _, err := rooms.Reserve(t.Context(), 4, "red"); err == nil || err.(*guard.Denial).Status != 413 {
		t.Errorf("cost above the quota: %v", err)
	}
}

func TestFields(t *testing.T) {
	limits := ratelimit.MustParse("10/second;20/hour")
	for _, tt := range []struct {
		fields ratelimit.Fields
		want   map[string]string
	}{
		{ratelimit.FieldsDraft, map[string]string{
			"RateLimit": `"second";r=9;t=1, "hour";r=19;t=3960`, "RateLimit-Policy": `"second";q=10;w=1, "hour";q=20;w=3600`}},
		{ratelimit.FieldsLegacy, map[string]string{
			"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "9", "X-RateLimit-Reset": "1"}},
		{ratelimit.FieldsBoth, map[string]string{
			"RateLimit": `"second";r=9;t=1, "hour";r=19;t=3960`, "RateLimit-Policy": `"second";q=10;w=1, "hour";q=20;w=3600`,
			"X-RateLimit-Limit": "10", "X-RateLimit-Remaining": "9", "X-RateLimit-Reset": "1"}},
		{ratelimit.FieldsNone, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := send(newLimiter(t, ratelimit.Config{Fields: tt.fields}, limits...).Handler(new(counting)), request("192.0.2.1:1"))
			for name, want := range tt.want {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			n := 0
			for name := range w.Header() {
				if strings.Contains(name, "Ratelimit") {
					n++
				}
				if name != http.CanonicalHeaderKey(name) {
					t.Errorf("%s is not in canonical form", name)
				}
			}
			if n != len(tt.want) {
				t.Errorf("%d fields, want %d: %v", n, len(tt.want), w.Header())
			}
		})
	}
	t.Run("what an answer says stays as it was, however many come after it", func(t *testing.T) {
		h := newLimiter(t, ratelimit.Config{Fields: ratelimit.FieldsBoth}, hourly(300)).Handler(new(counting))
		kept := make([]http.Header, 300)
		for i := range kept {
			kept[i] = send(h, request("192.0.2.1:1")).Header()
			if i%2 == 1 { // the next ones must not hear of it
				kept[i]["Ratelimit-Policy"][0] = "poison"
			}
		}
		for i, header := range kept {
			left := strconv.Itoa(299 - i)
			if got := header.Get("RateLimit"); !strings.HasPrefix(got, `"hour";r=`+left+";") {
				t.Fatalf("RateLimit of answer %d is %s, want %s left", i, got, left)
			}
			if got := header.Get("X-RateLimit-Remaining"); got != left {
				t.Fatalf("X-RateLimit-Remaining of answer %d is %s, want %s", i, got, left)
			}
			if got := header.Get("RateLimit-Policy"); (got == "poison") != (i%2 == 1) {
				t.Fatalf("RateLimit-Policy of answer %d is %s", i, got)
			}
		}
	})
	t.Run("a handler that appends to one does not change the other", func(t *testing.T) {
		h := newLimiter(t, ratelimit.Config{Fields: ratelimit.FieldsBoth}, hourly(3)).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining"} {
				w.Header().Add(name, "poison")
			}
		}))
		for range 2 {
			w := send(h, request("192.0.2.1:1"))
			for _, name := range []string{"RateLimit-Policy", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
				if got := w.Header().Get(name); got == "poison" {
					t.Errorf("%s was overwritten", name)
				}
			}
		}
	})
	t.Run("two limiters add to each other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			inner := newLimiter(t, ratelimit.Config{Fields: ratelimit.FieldsBoth}, ratelimit.MustParse("3/hour")...).Handler(new(counting))
			outer := newLimiter(t, ratelimit.Config{Fields: ratelimit.FieldsBoth}, ratelimit.MustParse("2/second")...).Handler(inner)
			w := send(outer, request("192.0.2.1:1"))
			if got := w.Header().Values("RateLimit"); !slices.Equal(got, []string{`"second";r=1;t=1`, `"hour";r=2;t=3600`}) {
				t.Errorf("RateLimit is %q", got)
			}
			if got := w.Header().Get("X-RateLimit-Limit"); got != "2" {
				t.Errorf("X-RateLimit-Limit is %s, want that of which the least remains", got)
			}
			// Neither can be changed through the other.
			h := w.Header()
			h["Ratelimit"] = append(h["Ratelimit"][:1], "poison")
			if got := h.Get("RateLimit-Policy"); got != `"second";q=2;w=1` {
				t.Errorf("RateLimit-Policy is %s", got)
			}
		})
	})
}

func TestLedger(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{}, append(ratelimit.MustParse("5/minute;10 per 5 minutes"), ratelimit.InFlight(3))...)
	h := l.Handler(guard.Public("limited")(new(counting)))
	got := fmt.Sprint(guard.Requirements(h))
	if want := "[limit 5 per minute 10 per 5 minutes 3 in flight public (limited)]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestNobodyIdentifiedIsRefused(t *testing.T) {
	for name, key := range map[string]ratelimit.KeyFunc{"ByPrincipal": ratelimit.ByPrincipal, "ByTenant": ratelimit.ByTenant} {
		next := new(counting)
		if w := send(newLimiterBy(t, key, ratelimit.Config{}, hourly(5)).Handler(next), request("192.0.2.1:1")); w.Code != 401 || next.ran() != 0 {
			t.Errorf("%s: %d, next ran %d times", name, w.Code, next.ran())
		}
	}
	as := func(r *http.Request, p identity.Principal) *http.Request {
		return r.WithContext(identity.NewContext(r.Context(), &p))
	}
	h := newLimiterBy(t, ratelimit.ByCaller, ratelimit.Config{}, hourly(1)).Handler(new(counting))
	alice := identity.Principal{Issuer: "i", Subject: "alice"}
	for i, step := range []struct {
		r    *http.Request
		want int
	}{
		{request("192.0.2.1:1"), 200},
		{request("192.0.2.1:1"), 429},
		{as(request("192.0.2.1:1"), alice), 200},
		{as(request("192.0.2.2:1"), alice), 429},
		{as(request("192.0.2.1:1"), identity.Principal{Issuer: "j", Subject: "alice"}), 200},
		{as(request("192.0.2.1:1"), identity.Principal{Issuer: "i", Subject: "alice", Tenant: "t"}), 200},
	} {
		if got := send(h, step.r).Code; got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
}

func TestNewFindsEveryMistake(t *testing.T) {
	var none *ratelimit.Memory
	_, err := ratelimit.New(nil, ratelimit.Config{
		Store: none, Secret: guard.NewSecret([]byte("short")), NetworkFactor: -1, Fields: 9, Timeout: time.Hour, Nodes: -1,
	}, ratelimit.Limit{Name: "a\n", Quota: -1, Window: time.Nanosecond, Kind: 7, Down: 9}, hourly(1), hourly(2),
		ratelimit.Limit{Quota: 5, Window: time.Hour, Burst: 3, Name: "b"}, ratelimit.Limit{Name: strings.Repeat("x", 62), Quota: 1, Window: time.Second})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"key is nil", "Config.Store is a nil *Memory", "Config.Secret has 5 bytes", "Config.NetworkFactor is -1",
		"Config.Fields is 9", "Config.Timeout is 1h0m0s", "Config.Nodes is -1", `Limit.Name is "a\n"`, "Limit.Quota is -1",
		"Limit.Window is 1ns", "Limit.Kind is 7", "Limit.Down is 9", `Limit.Name is "hour" of two limits`, "Limit.Burst is 3", "at most 61 bytes",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in:\n%v", want, err)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, "ratelimit: ") {
			t.Errorf("%q does not begin with the package", line)
		}
	}
	if _, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{Store: new(ratelimit.Memory)}, hourly(1)); err == nil || !strings.Contains(err.Error(), "Config.Name is empty") {
		t.Errorf("a shared Store without a Name: %v", err)
	}
	if _, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{Store: faulty{}, Name: "n"}, hourly(1)); err == nil || !strings.Contains(err.Error(), "Config.Secret is empty") {
		t.Errorf("a foreign Store without a Secret: %v", err)
	}
	if _, err := ratelimit.New(ratelimit.ByIP, ratelimit.Config{}); err == nil {
		t.Error("no limit is no error")
	}
}

// faulty is a Store that knows nothing.
type faulty struct{}

func (faulty) Take(context.Context, []ratelimit.Charge) ([]ratelimit.State, ratelimit.Receipt, error) {
	return nil, ratelimit.Receipt{}, errors.New("down")
}
func (faulty) Refund(context.Context, ratelimit.Receipt) error { return errors.New("down") }

func TestSharedMemoryIsToldApartByName(t *testing.T) {
	m := new(ratelimit.Memory)
	secret := []byte("sixteen bytes or")
	limiter := func(name string) http.Handler {
		return newLimiter(t, ratelimit.Config{Store: m, Name: name, Secret: guard.NewSecret(secret)}, hourly(1)).Handler(new(counting))
	}
	a, again, b := limiter("a"), limiter("a"), limiter("b")
	got := statuses(a, 1, from("192.0.2.1:1")) + " " + statuses(again, 1, from("192.0.2.1:1")) + " " + statuses(b, 1, from("192.0.2.1:1"))
	if got != "200 429 200" {
		t.Error(got)
	}
}
