package integration

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/ratelimit"
)

// TestHistoryOfLimitsInPostgreSQL: as in Redis, while processes are killed and
// paused and the database is paused, and killed once, which empties a table that
// is UNLOGGED. A window around that moment may have the quota twice, so requests
// that began while the database was killed and started are left out.
func TestHistoryOfLimitsInPostgreSQL(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	if server.Addr == "" {
		t.Skip("a server that runs already is not for this test alone")
	}
	limits := []ratelimit.Limit{
		{Name: "exact", Quota: 7, Window: 400 * time.Millisecond, Down: ratelimit.Closed},
		{Name: "counted", Quota: 40, Window: 400 * time.Millisecond, Down: ratelimit.Closed},
	}
	specs := make([]workerSpec, 4)
	key := rand.Text()
	for i := range specs {
		specs[i] = workerSpec{Engine: "pgx", Server: server.URL, Key: key, Timeout: 100 * time.Millisecond, Limits: limits}
	}
	w := work(t, specs...)
	w.await(time.Time{})
	for i := range 2 {
		time.Sleep(600 * time.Millisecond)
		w.each[2*i].kill()
		w.each[2*i+1].pause()
		server.Pause()
		time.Sleep(300 * time.Millisecond)
		server.Continue()
		w.start(2 * i)
		time.Sleep(300 * time.Millisecond)
		w.each[2*i+1].resume()
	}
	w.await(time.Now())
	killed := time.Now()
	server.Kill(t)
	server.Start(t)
	started := time.Now()
	w.await(started)
	w.stop()
	for _, l := range limits {
		before, after := w.all[l.Name].split(killed, started)
		for name, h := range map[string]*history{"before the crash": before, "after it": after} {
			most, ok := h.most(l.Window, int(l.Quota))
			t.Logf("%s: %d were admitted %s, at most %d of %d in a window", l.Name, h.len(), name, most, l.Quota)
			if !ok {
				t.Errorf("%s: %d were admitted in a window %s, want at most %d", l.Name, most, name, l.Quota)
			}
		}
	}
}
