package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/examples/integration/servers"
)

// through returns the URL with another address.
func through(t *testing.T, target, addr string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = addr
	return u.String()
}

func failoverFlags(t *testing.T, db string, more ...string) []string {
	return append([]string{"-addr", "127.0.0.1:0", "-issuer", issuer, "-demo", "-db", db}, more...)
}

// The name of the database leads to a standby for a while, as the reader endpoint
// of a cluster does after a failover.
func TestServerRecoversWhenTheNameLedToAStandby(t *testing.T) {
	ctx := t.Context()
	primary := servers.PostgreSQL(t)
	standby := servers.Standby(t, primary)
	name := newSwitch(t, primary.Addr)
	p := launch(t, "server", nil, failoverFlags(t, through(t, primary.URL, name.addr), "-secrets", filepath.Join(t.TempDir(), "secrets"))...)
	wantPair(t)(p.signIn(ctx, "alice", p.password()))
	admin := openDatabase(t, "pgx", primary.URL)
	disconnect := func() {
		t.Helper()
		if _, err := admin.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gatewright'"); err != nil {
			t.Fatal(err)
		}
	}
	name.to(standby.Addr)
	disconnect()
	if status := p.statusOf(t, "/readyz", http.StatusServiceUnavailable); status != http.StatusServiceUnavailable {
		t.Errorf("on a standby /readyz is %d", status)
	}
	if got, err := p.signIn(ctx, "alice", p.password()); err != nil || got.status != http.StatusServiceUnavailable {
		t.Errorf("a sign-in on a standby: %d, %v, want 503", got.status, err)
	}
	name.to(primary.Addr)
	began := time.Now()
	eventually(t, "a sign-in on the primary", func() error { return p.signsIn(ctx) })
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v to leave the standby", d)
	}
	if status := p.statusOf(t, "/readyz", http.StatusOK); status != http.StatusOK {
		t.Errorf("on the primary /readyz is %d", status)
	}
}

// A former primary is fenced by default_transaction_read_only, and the name leads
// to its successor: a logout on another node, which has the successor already, is
// refused on this one within the bound, and this one leaves the former primary.
func TestServerLeavesAFencedPrimary(t *testing.T) {
	ctx := t.Context()
	former, next := servers.PostgreSQL(t), servers.PostgreSQL(t)
	secrets := filepath.Join(t.TempDir(), "secrets")
	name := newSwitch(t, former.Addr)
	first := launch(t, "server", nil, failoverFlags(t, through(t, former.URL, name.addr), "-secrets", secrets)...)
	second := launch(t, "server", nil, failoverFlags(t, next.URL, "-secrets", secrets)...)
	pair := wantPair(t)(second.signIn(ctx, "alice", second.password()))
	want(t, http.StatusOK)(first.me(ctx, pair.Access)) // the same secrets, and the same demo users

	admin := openDatabase(t, "pgx", former.URL)
	for _, s := range []string{"ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"} {
		if _, err := admin.ExecContext(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	name.to(next.Addr)
	want(t, http.StatusOK)(second.logout(ctx, pair.Access))
	began := time.Now()
	eventually(t, "the token is refused", func() error {
		got, err := first.me(ctx, pair.Access)
		if err == nil && got.status == http.StatusOK {
			err = fmt.Errorf("%d", got.status)
		}
		return err
	})
	if d := time.Since(began); d > 6*time.Second {
		t.Errorf("a logout was unseen for %v, want 5 s at most", d)
	}
	eventually(t, "a sign-in on the successor", func() error { return first.signsIn(ctx) })
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v to leave the fenced primary", d)
	}
	want(t, http.StatusUnauthorized)(first.me(ctx, pair.Access))
}

// statusOf asks until the path has the status, for three seconds.
func (p *process) statusOf(t *testing.T, path string, want int) int {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		got, err := p.ask(t.Context(), "GET", path, "")
		if err == nil && got.status == want || time.Since(began) > 3*time.Second {
			return got.status
		}
	}
}

// signsIn returns an error unless alice can sign in.
func (p *process) signsIn(ctx context.Context) error {
	got, err := p.signIn(ctx, "alice", p.password())
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("%d %s", got.status, got.body)
	}
	return err
}

// With pgbouncer in transaction pooling prepared statements get lost.
func TestServerBehindPgBouncer(t *testing.T) {
	ctx := t.Context()
	primary := servers.PostgreSQL(t)
	pooler := servers.PgBouncer(t, primary)
	secrets := filepath.Join(t.TempDir(), "secrets")
	t.Run("without its setting the error says what to set", func(t *testing.T) {
		// A pooled connection is given out to another client with the
		// statements of the first, if not at once then with the next server.
		for range 3 {
			p := begin(t, "server", nil, failoverFlags(t, pooler.URL, "-secrets", secrets)...)
			select {
			case <-p.ended:
				if !strings.Contains(p.stderr.String(), "default_query_exec_mode=exec") {
					t.Errorf("the error does not say what to set: %s", p.stderr.String())
				}
				return
			case <-time.After(5 * time.Second):
				p.kill()
			}
		}
		t.Skip("this pgbouncer keeps prepared statements")
	})
	t.Run("with it two servers work", func(t *testing.T) {
		url := pooler.URL + "&default_query_exec_mode=exec"
		a := launch(t, "server", nil, failoverFlags(t, url, "-secrets", secrets)...)
		b := launch(t, "server", nil, failoverFlags(t, url, "-secrets", secrets)...)
		pair := wantPair(t)(a.signIn(ctx, "alice", a.password()))
		want(t, http.StatusOK)(b.me(ctx, pair.Access))
		want(t, http.StatusOK)(b.logout(ctx, pair.Access))
		eventually(t, "the logout is seen", func() error {
			got, err := a.me(ctx, pair.Access)
			if err == nil && got.status != http.StatusUnauthorized {
				err = fmt.Errorf("%d", got.status)
			}
			return err
		})
		if status := a.statusOf(t, "/readyz", http.StatusOK); status != http.StatusOK {
			t.Errorf("/readyz is %d", status)
		}
	})
}
