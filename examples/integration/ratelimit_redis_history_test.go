package integration

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
)

// inRedis are four processes with two clients.
func inRedis(server *servers.Server, limits ...ratelimit.Limit) []workerSpec {
	var specs []workerSpec
	key := rand.Text()
	for _, engine := range []string{"go-redis", "rueidis", "go-redis", "rueidis"} {
		specs = append(specs, workerSpec{Engine: engine, Server: server.Addr, Key: key, Limits: limits})
	}
	return specs
}

// TestHistoryOfLimitsInRedis: the policy that clients are told is true of what
// happened, in every window, while processes are killed and paused, and the
// server is killed, paused and started again with what it had acknowledged. A
// limit that is Closed without its store is exact: nobody is admitted whom the
// server did not count.
func TestHistoryOfLimitsInRedis(t *testing.T) {
	t.Parallel()
	server := servers.Redis(t, "--appendfsync", "always")
	limits := []ratelimit.Limit{
		{Name: "exact", Quota: 7, Window: 400 * time.Millisecond, Down: ratelimit.Closed},
		{Name: "counted", Quota: 40, Window: 400 * time.Millisecond, Down: ratelimit.Closed},
	}
	w := work(t, inRedis(server, limits...)...)
	w.await(time.Time{})
	for i := range 2 {
		w.each[2*i].kill()
		w.each[2*i+1].pause()
		server.Kill(t)
		server.Start(t)
		w.start(2 * i)
		w.await(time.Now())
		w.each[2*i+1].resume()
		server.Pause()
		time.Sleep(300 * time.Millisecond)
		server.Continue()
		w.await(time.Now())
	}
	w.stop()
	for _, l := range limits {
		all := w.all[l.Name]
		most, ok := all.most(l.Window, int(l.Quota))
		t.Logf("%s: %d were admitted, at most %d of %d in a window", l.Name, all.len(), most, l.Quota)
		if !ok {
			t.Errorf("%s: %d were admitted in a window of %v, want at most %d", l.Name, most, l.Window, l.Quota)
		}
	}
}

// TestHistoryOfLimitsInRedisThatForgets: with its data lost, the server counts
// anew. Each process goes on with what it saw itself, so that none of them
// admits more than the quota in a window, and all together no more than that
// times their number, where one that was started within the window is one more.
func TestHistoryOfLimitsInRedisThatForgets(t *testing.T) {
	server := servers.Redis(t, "--appendfsync", "always")
	l := ratelimit.Limit{Name: "minute", Quota: 40, Window: time.Minute}
	w := work(t, inRedis(server, l)...)
	first := w.each[0]
	lose := func() {
		server.Kill(t)
		server.Lose(t)
		server.Start(t)
		time.Sleep(700 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond)
	w.each[1].pause()
	lose()
	w.each[1].resume()
	first.kill()
	w.start(0)
	lose()
	w.stop()
	processes := append(w.each, first)
	for i, one := range processes {
		if most, ok := one.own[l.Name].most(l.Window, int(l.Quota)); !ok {
			t.Errorf("process %d admitted %d in a window, want at most %d", i, most, l.Quota)
		}
	}
	most, ok := w.all[l.Name].most(l.Window, len(processes)*int(l.Quota))
	t.Logf("%d were admitted in a window, with a quota of %d, %d processes and two losses", most, l.Quota, len(processes))
	if !ok || most <= int(l.Quota) {
		t.Errorf("%d were admitted in a window, want more than %d, for its data was lost, and at most %d", most, l.Quota, len(processes)*int(l.Quota))
	}
}
