package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
)

// rows returns the audit trail, when everything so far is written.
func (s *site) rows(t *testing.T) []auditRow {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	check(s.audit.flush(ctx))
	return must(rowsAfter(ctx, s.db, 0, 100000))
}

// point returns a checkpoint of the trail as it is.
func (s *site) point(t *testing.T) checkpoint {
	t.Helper()
	end := must(s.audit.last(t.Context(), s.db))
	return must(s.audit.keys.parse(s.audit.keys.sign(end, time.Now())))
}

// problems returns what verify finds.
func (s *site) problems(t *testing.T, points ...checkpoint) []string {
	t.Helper()
	return must(s.audit.verify(t.Context(), points)).problems
}

// put replaces all rows of the trail.
func (s *site) put(t *testing.T, rows []auditRow) {
	t.Helper()
	must(s.db.ExecContext(t.Context(), "DELETE FROM audit_events"))
	for _, r := range rows {
		s.exec(t, insertStatement(1), r.seq, r.at, r.name, r.subject, r.target, r.login, r.event, r.mac)
	}
}

// busy fills the trail with some events.
func (s *site) busy(t *testing.T) {
	t.Helper()
	alice := s.signInAlice(t)
	s.do(t, "POST", "/token", form("username", "alice", "password", "wrong"), formType)
	s.do(t, "POST", "/moderate/", "", bearer(alice.Access))
	s.refresh(t, alice.Refresh).tokens(t)
	s.signIn(t, "mod", s.keys.DemoPassword)
}

func TestTamperingWithAnyRowOfTheAuditTrailIsFound(t *testing.T) {
	s := openSite(t)
	s.busy(t)
	all := s.rows(t)
	if len(all) < 5 {
		t.Fatalf("the trail has %d rows", len(all))
	}
	point := s.point(t)
	if found := s.problems(t, point); len(found) > 0 {
		t.Fatalf("before anything was changed: %q", found)
	}
	last := len(all) - 1
	for i := range all {
		for name, change := range map[string]func(rows []auditRow) []auditRow{
			"time":      func(rows []auditRow) []auditRow { rows[i].at++; return rows },
			"name":      func(rows []auditRow) []auditRow { rows[i].name += "x"; return rows },
			"subject":   func(rows []auditRow) []auditRow { rows[i].subject = "999"; return rows },
			"target":    func(rows []auditRow) []auditRow { rows[i].target = "999"; return rows },
			"login":     func(rows []auditRow) []auditRow { rows[i].login = "mallory"; return rows },
			"event":     func(rows []auditRow) []auditRow { rows[i].event = "{}"; return rows },
			"HMAC":      func(rows []auditRow) []auditRow { rows[i].mac = make([]byte, 32); return rows },
			"removal":   func(rows []auditRow) []auditRow { return append(rows[:i:i], rows[i+1:]...) },
			"tail":      func(rows []auditRow) []auditRow { return rows[:i] },
			"insertion": func(rows []auditRow) []auditRow { r := rows[i]; r.seq = all[last].seq + 1; return append(rows, r) },
			"exchange": func(rows []auditRow) []auditRow {
				j := (i + 1) % len(rows)
				rows[i].seq, rows[j].seq = rows[j].seq, rows[i].seq
				return rows
			},
			"removal with new numbers": func(rows []auditRow) []auditRow {
				rows = append(rows[:i:i], rows[i+1:]...)
				for j := i; j < len(rows); j++ {
					rows[j].seq--
				}
				return rows
			},
			// A value that moves from one column to the next.
			"border": func(rows []auditRow) []auditRow {
				r := &rows[i]
				r.subject, r.target, r.login = r.login, r.subject, r.target
				if r.subject == r.target && r.target == r.login {
					r.login = "x"
				}
				return rows
			},
		} {
			s.put(t, change(append([]auditRow(nil), all...)))
			if found := s.problems(t, point); len(found) == 0 {
				t.Errorf("%s, row %d of %d: not found", name, i+1, len(all))
			}
		}
	}
	s.put(t, nil)
	if found := s.problems(t, point); len(found) == 0 {
		t.Error("the removal of all rows was not found")
	}
	s.put(t, all)
	if found := s.problems(t, point); len(found) > 0 {
		t.Errorf("after everything was put back: %q", found)
	}
}

func TestRowsAfterTheLastCheckpointAreNotCovered(t *testing.T) {
	s := openSite(t)
	s.busy(t)
	early := s.point(t)
	s.busy(t)
	all := s.rows(t)
	late := s.point(t)
	s.put(t, all[:len(all)-2])
	if found := s.problems(t, early); len(found) > 0 {
		t.Errorf("with the early checkpoint: %q; the documents state that this is not found", found)
	}
	if found := s.problems(t, early, late); len(found) == 0 {
		t.Error("with the late checkpoint: not found")
	}
	// The server that wrote the rows knows that they were there.
	s.signInAlice(t)
	s.rows(t)
	if !strings.Contains(s.log.String(), "rows of the audit trail were removed or changed while the server ran") {
		t.Error("the server did not log that the end is missing")
	}
	// Rows that were written over the gap do not fit the late checkpoint.
	for len(s.rows(t)) < len(all) {
		s.busy(t)
	}
	if found := s.problems(t, early, late); len(found) == 0 {
		t.Error("rows that took the place of others were not found")
	}
}

func TestCheckpointsAreSigned(t *testing.T) {
	s := openSite(t)
	s.busy(t)
	s.rows(t)
	good := s.audit.keys.sign(must(s.audit.last(t.Context(), s.db)), time.Now())
	if !checkpointForm.MatchString("x checkpoint=" + good + "\n") {
		t.Errorf("%s is not found in a log", good)
	}
	fields := strings.Split(good, ".")
	for _, bad := range []string{
		"", "v1", "v1....", good + "x", good[:len(good)-3] + "AAA", strings.Replace(good, "v1.", "v2.", 1),
		strings.Join([]string{"v1", "1", fields[2], fields[3], fields[4]}, "."),
		strings.Join([]string{"v1", fields[1], "1", fields[3], fields[4]}, "."),
		strings.Join([]string{"v1", fields[1], fields[2], strings.Repeat("A", 43), fields[4]}, "."),
	} {
		if _, err := s.audit.keys.parse(bad); err == nil && bad != good {
			t.Errorf("%s is accepted", bad)
		}
	}
	others := must(newAuditKeys(must(newSecrets())))
	if _, err := others.parse(good); err == nil {
		t.Error("a checkpoint of other secrets is accepted")
	}
}

func TestCheckpointsAreLoggedEveryIntervalAndAtStop(t *testing.T) {
	how := testSettings
	how.auditInterval = 20 * time.Millisecond
	s := openSiteAs(t, how)
	s.signInAlice(t)
	if !s.log.await(checkpointForm.MatchString) {
		t.Fatal("there is no checkpoint")
	}
	path := fromTemplate(t)
	p := start(t, "-db", path)
	(&site{url: p.url}).signIn(t, "alice", func() string { _, keys := template(); return keys.DemoPassword }())
	p.stop()
	check(p.stopped(t))
	points := checkpointForm.FindAllString(p.stderr.String(), -1)
	if len(points) == 0 {
		t.Fatalf("a server that stops logs no checkpoint:\n%s", p.stderr.String())
	}
	newest := points[len(points)-1]
	var out record
	if err := run(t.Context(), []string{"-verify-audit", "-db", path, "-checkpoint", newest}, &out, &out); err != nil || !strings.Contains(out.String(), "verifies") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	// All lines of the log at once.
	o := must(parse([]string{"-verify-audit", "-db", path, "-checkpoint", "-"}, &out))
	check(verifyAudit(t.Context(), o, strings.NewReader(p.stderr.String()), &out))
	if err := verifyAudit(t.Context(), o, strings.NewReader("nothing\n"), &out); err == nil {
		t.Error("a log without a checkpoint is accepted")
	}
	db := openTestDatabase(t, path)
	if n := must(must(db.Exec("DELETE FROM audit_events WHERE seq = (SELECT max(seq) FROM audit_events)")).RowsAffected()); n != 1 {
		t.Fatal(n)
	}
	out = record{}
	if err := run(t.Context(), []string{"-verify-audit", "-db", path, "-checkpoint", newest}, &out, &out); err == nil || !strings.Contains(out.String(), "missing at the end") {
		t.Errorf("a row is missing: %v\n%s", err, out.String())
	}
	if _, err := refusedToStart(t, "-db", path, "-checkpoint", newest); !strings.Contains(err.Error(), "-verify-audit") {
		t.Error(err)
	}
}

// TestAuditAppender is the process that TestKilledServerLeavesAChainThatVerifies
// kills: it appends rows until then.
func TestAuditAppender(t *testing.T) {
	from, secretsFile := os.Getenv("GATEWRIGHT_AUDIT_DB"), os.Getenv("GATEWRIGHT_AUDIT_SECRETS")
	if from == "" {
		t.Skip("a part of another test")
	}
	o := must(parse([]string{"-db", from, "-secrets", secretsFile}, os.Stderr))
	db := must(o.open(t.Context()))
	trail := must(newTrail(db, must(readSecrets(secretsFile)), 3*time.Millisecond, slog.New(slog.NewTextHandler(os.Stdout, nil))))
	go trail.run(t.Context())
	for i := 0; ; i++ {
		trail.observe(t.Context(), guard.Event{Name: guard.EventLoginSuccess, Target: os.Getenv("GATEWRIGHT_AUDIT_ROUND") + strconv.Itoa(i)})
		if i%7 == 0 {
			check(trail.flush(t.Context()))
			fmt.Println("flushed", i)
		}
	}
}

func TestKilledServerLeavesAChainThatVerifies(t *testing.T) {
	s := openSite(t)
	database := s.path
	if isPostgres(s.db) {
		var name string
		check(s.db.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&name))
		u := must(url.Parse(postgresURL))
		u.Path = "/" + name
		database = u.String()
	}
	secretsFile := filepath.Join(t.TempDir(), "secrets")
	check(writeSecrets(secretsFile, s.keys))
	var points []checkpoint
	for round := range 8 {
		process := exec.Command(os.Args[0], "-test.run=^TestAuditAppender$")
		process.Env = append(os.Environ(), "GATEWRIGHT_AUDIT_DB="+database, "GATEWRIGHT_AUDIT_SECRETS="+secretsFile, fmt.Sprintf("GATEWRIGHT_AUDIT_ROUND=%d-", round))
		output := must(process.StdoutPipe())
		check(process.Start())
		flushed, lines := 0, bufio.NewScanner(output)
		for lines.Scan() {
			if n, ok := strings.CutPrefix(lines.Text(), "flushed "); ok {
				flushed = must(strconv.Atoi(n))
				if flushed >= 30+11*round {
					// At some point of the next appends.
					time.AfterFunc(time.Duration(round)*700*time.Microsecond, func() { process.Process.Kill() })
				}
			}
			for _, text := range checkpointForm.FindAllString(lines.Text(), -1) {
				points = append(points, must(s.audit.keys.parse(text)))
			}
		}
		if err := process.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
		if found := s.problems(t, points...); len(found) > 0 {
			t.Fatalf("round %d: %q", round, found)
		}
		// What was acknowledged is there.
		if n := s.count(t, "SELECT count(*) FROM audit_events WHERE name = 'authn_login_success' AND target = ?", fmt.Sprint(round, "-", flushed)); n != 1 {
			t.Fatalf("round %d: the last row that was acknowledged is there %d times", round, n)
		}
	}
	if len(points) < 8 {
		t.Errorf("there were only %d checkpoints", len(points))
	}
}

func TestTwoNodesAppendToOneChain(t *testing.T) {
	s := openSite(t)
	before := len(s.rows(t))
	const nodes, each = 4, 60
	var all sync.WaitGroup
	for node := range nodes {
		db := s.db
		if s.path != "" {
			db = openTestDatabase(t, s.path)
		}
		one := must(newTrail(db, s.keys, 0, slog.New(slog.DiscardHandler)))
		all.Go(func() {
			for i := range each {
				var rows []auditRow
				for range 1 + i%10 {
					rows = append(rows, rowOf(t.Context(), guard.Event{Name: guard.EventUserUpdated, Target: fmt.Sprint(node, "-", i)}))
				}
				if err := one.append(t.Context(), rows); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	rows := s.rows(t)
	if got, want := len(rows)-before, nodes*each/10*55; got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
	if found := s.problems(t, s.point(t)); len(found) > 0 {
		t.Errorf("%q", found)
	}
	if log := s.log.String(); strings.Contains(log, "removed or changed") {
		t.Error("the rows of another node are taken for tampering")
	}
}

func TestAppendWhoseCommitArrivedIsNotRepeated(t *testing.T) {
	s := openSite(t)
	one := must(newTrail(s.db, s.keys, 0, slog.New(slog.DiscardHandler)))
	rows := []auditRow{rowOf(t.Context(), guard.Event{Name: guard.EventUserUpdated, Target: "once"}), rowOf(t.Context(), guard.Event{Name: guard.EventUserUpdated, Target: "once"})}
	check(one.append(t.Context(), rows))
	one.inDoubt = one.head
	check(one.append(t.Context(), rows))
	if n := s.count(t, "SELECT count(*) FROM audit_events WHERE target = 'once'"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	// One that did not arrive is.
	one.inDoubt = position{one.head.seq + 2, make([]byte, 32)}
	check(one.append(t.Context(), rows))
	if n := s.count(t, "SELECT count(*) FROM audit_events WHERE target = 'once'"); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
	if found := s.problems(t); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

func TestFullQueueOfTheAuditTrailDelaysNoRequest(t *testing.T) {
	s := openSite(t)
	one := must(newTrail(s.db, s.keys, time.Hour, slog.New(slog.DiscardHandler)))
	const more = 1000
	for range auditQueue + more { // which nobody writes yet; an observe that waits would wait for ever
		one.observe(t.Context(), guard.Event{Name: guard.EventUserUpdated})
	}
	if got := one.lostEvents(); got != more {
		t.Errorf("%d events were dropped, want %d", got, more)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	one.run(ctx) // which writes what there is
	if n := s.count(t, "SELECT count(*) FROM audit_events WHERE name = 'user_updated'"); n != auditQueue {
		t.Errorf("%d rows, want %d", n, auditQueue)
	}
	if n := s.count(t, "SELECT count(*) FROM audit_events WHERE name = 'audit_skipped' AND event LIKE ?", fmt.Sprintf(`%%"dropped":%d%%`, more)); n != 1 {
		t.Errorf("%d rows count what was dropped, want 1", n)
	}
	if found := s.problems(t); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

func TestFloodOfRefusalsIsCountedInTheAuditTrail(t *testing.T) {
	s := openSite(t)
	one := must(newTrail(s.db, s.keys, time.Hour, slog.New(slog.DiscardHandler)))
	const flood = 20000
	refused := guard.Event{Name: guard.EventLoginFail, Denial: guard.InvalidToken("Bearer", errors.New("expired"))}
	began := time.Now()
	for range flood {
		one.observe(t.Context(), refused)
	}
	allowed := refusalBurst + int(refusalRate*time.Since(began).Seconds()) + 1
	anonymous := guard.Event{Name: guard.EventLoginFail, Denial: guard.Unauthenticated()}
	one.observe(t.Context(), anonymous)
	// A change has its place all the same, and a refusal of another name.
	one.observe(t.Context(), guard.Event{Name: guard.EventAuthzChange, Target: "5"})
	one.observe(t.Context(), guard.Event{Name: guard.EventAuthzFail, Denial: guard.Forbidden(errors.New("no"))})
	ctx, stop := context.WithCancel(t.Context())
	stop()
	one.run(ctx)
	stored := s.count(t, "SELECT count(*) FROM audit_events WHERE name = 'authn_login_fail'")
	if stored < refusalBurst || stored > allowed {
		t.Errorf("%d refusals are stored, want %d to %d", stored, refusalBurst, allowed)
	}
	var text string
	check(s.db.QueryRow("SELECT event FROM audit_events WHERE name = 'audit_skipped'").Scan(&text))
	var line struct {
		Changes struct {
			Failed  int `json:"authn_login_fail"`
			Dropped int
		}
	}
	check(json.Unmarshal([]byte(text), &line))
	if line.Changes.Failed != flood+1-stored || line.Changes.Dropped != 0 {
		t.Errorf("%d are counted, want %d: %s", line.Changes.Failed, flood+1-stored, text)
	}
	for _, name := range []string{"authz_change", "authz_fail"} {
		if s.count(t, "SELECT count(*) FROM audit_events WHERE name = ?", name) != 1 {
			t.Errorf("there is no row of %s", name)
		}
	}
}

func TestDatabaseThatComesBackGetsTheEventsOfTheOutage(t *testing.T) {
	s := openSite(t)
	before := len(s.rows(t))
	// Nothing can be inserted.
	s.db.Exec("ALTER TABLE audit_events RENAME TO audit_elsewhere")
	s.busy(t)
	if !s.log.await(func(text string) bool { return strings.Contains(text, "the audit trail is not written") }) {
		t.Fatal("the failure is not logged")
	}
	s.db.Exec("ALTER TABLE audit_elsewhere RENAME TO audit_events")
	if n := len(s.rows(t)); n < before+5 {
		t.Errorf("%d rows, want %d", n, before+5)
	}
	if found := s.problems(t); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

func TestRetentionLeavesAChainThatVerifies(t *testing.T) {
	s := openSite(t)
	s.busy(t)
	first := s.point(t)
	s.rows(t)
	cutoff := time.Now()
	s.busy(t)
	s.rows(t)
	point := s.point(t)
	removed := must(s.audit.prune(t.Context(), cutoff))
	left := s.rows(t)
	if removed == 0 || len(left) == 0 || left[0].seq != int64(removed)+1 {
		t.Fatalf("%d rows were removed, %d are left", removed, len(left))
	}
	v := must(s.audit.verify(t.Context(), []checkpoint{first, point}))
	if len(v.problems) > 0 || v.older != 1 {
		t.Errorf("%+v", v)
	}
	if n := must(s.audit.prune(t.Context(), cutoff)); n != 0 {
		t.Errorf("%d more rows were removed", n)
	}
	// Another beginning is found: a chain that begins later looks whole otherwise.
	s.exec(t, "UPDATE audit_start SET seq = ?, mac = ?", left[0].seq, left[0].mac)
	s.exec(t, "DELETE FROM audit_events WHERE seq = ?", left[0].seq)
	if found := s.problems(t); len(found) == 0 {
		t.Error("a forged beginning was not found")
	}
	if _, err := s.audit.prune(t.Context(), time.Now()); err == nil {
		t.Error("rows were removed behind a forged beginning")
	}
}

// The server must not sign away the traces of who made rows look old.
func TestRetentionRemovesNoRowThatDoesNotVerify(t *testing.T) {
	s := openSite(t)
	s.busy(t)
	n := len(s.rows(t))
	s.exec(t, "UPDATE audit_events SET at = 0")
	if removed, err := s.audit.prune(t.Context(), time.Now().Add(-time.Hour)); err == nil || removed != 0 {
		t.Errorf("%d rows were removed, %v", removed, err)
	}
	if len(s.rows(t)) != n {
		t.Error("rows are missing")
	}
}

func TestRetentionCanRemoveEverything(t *testing.T) {
	s := openSite(t)
	s.busy(t)
	n := len(s.rows(t))
	if removed := must(s.audit.prune(t.Context(), time.Now().Add(time.Hour))); removed != n {
		t.Errorf("%d of %d rows were removed", removed, n)
	}
	s.busy(t)
	if rows := s.rows(t); rows[0].seq != int64(n)+1 {
		t.Errorf("the chain goes on at %d", rows[0].seq)
	}
	if found := s.problems(t, s.point(t)); len(found) > 0 {
		t.Errorf("%q", found)
	}
}

func TestChainBeginsAnewWithOtherSecrets(t *testing.T) {
	s := openSite(t)
	s.busy(t)
	n := len(s.rows(t))
	other := s.again(t, must(newSecrets()), testSettings)
	if v := must(other.audit.verify(t.Context(), nil)); len(v.problems) == 0 {
		t.Error("rows of other secrets verify")
	}
	check(other.audit.restart(t.Context()))
	check(other.audit.append(t.Context(), []auditRow{rowOf(t.Context(), guard.Event{Name: guard.EventUserUpdated})}))
	v := must(other.audit.verify(t.Context(), nil))
	if len(v.problems) > 0 || v.rows != 2 || v.unknown != int64(n) {
		t.Errorf("%+v", v)
	}
	if removed := must(other.audit.prune(t.Context(), time.Now().Add(time.Hour))); removed != 2 || s.count(t, "SELECT count(*) FROM audit_events") != 0 {
		t.Errorf("%d rows were removed", removed)
	}
}

func TestAuditTrailIsFilteredForAdministrators(t *testing.T) {
	s := openSite(t)
	s.busy(t)
	admin := bearer(s.signIn(t, "admin", s.keys.DemoPassword).Access)
	get := func(query string) (all []shownRow) {
		t.Helper()
		return into[[]shownRow](t, s.do(t, "GET", "/audit/"+query, "", admin), 200)
	}
	all := get("?order=seq&limit=1000")
	if len(all) < 7 {
		t.Fatalf("%d rows", len(all))
	}
	for i, r := range all {
		if r.Seq != int64(i)+1 || r.Name == "" || len(r.MAC) != 32 || !bytes.Contains(r.Event, []byte(`"msg":"`+r.Name+`"`)) {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	alice := s.id(t, "alice")
	middle := all[len(all)/2]
	at := url.QueryEscape(middle.Time.Format(time.RFC3339Nano))
	for query, fits := range map[string]func(shownRow) bool{
		"event=authn_login_success": func(r shownRow) bool { return r.Name == "authn_login_success" },
		"subject=" + alice:          func(r shownRow) bool { return r.Subject == alice || r.Target == alice },
		"since=" + at:               func(r shownRow) bool { return !r.Time.Before(middle.Time) },
		"until=" + at:               func(r shownRow) bool { return r.Time.Before(middle.Time) },
		"after=" + strconv.FormatInt(middle.Seq, 10):  func(r shownRow) bool { return r.Seq > middle.Seq },
		"before=" + strconv.FormatInt(middle.Seq, 10): func(r shownRow) bool { return r.Seq < middle.Seq },
		"subject=" + alice + "&event=authz_fail":      func(r shownRow) bool { return r.Subject == alice && r.Name == "authz_fail" },
	} {
		want := 0
		for _, r := range all {
			if fits(r) {
				want++
			}
		}
		var got []shownRow
		for _, r := range get("?order=seq&limit=1000&" + query) {
			if r.Seq <= int64(len(all)) { // not what this test caused since
				got = append(got, r)
			}
		}
		for _, r := range got {
			if !fits(r) {
				t.Errorf("%s: got %+v", query, r)
			}
		}
		if len(got) != want || want == 0 {
			t.Errorf("%s: %d rows, want %d", query, len(got), want)
		}
	}
	// The reading itself is in the trail, the newest first.
	if newest := get("?limit=1"); len(newest) != 1 || newest[0].Name != "sensitive_read" || newest[0].Subject != s.id(t, "admin") {
		t.Errorf("%+v", newest)
	}
	if names := get("?order=name&limit=1000"); names[0].Name > names[len(names)-1].Name {
		t.Error("not in the order of the names")
	}
	for _, query := range []string{
		"x=1", "event=", "event=a%20b", "event=a&event=b", "subject=", "since=yesterday", "until=1", "since=0001-01-01T00:00:00Z", "after=0", "after=-1", "before=x", "order=mac",
		"order=seq;drop%20table%20users", "limit=0", "limit=1001", "limit=-1", "format=csv", "format=jsonl&order=-seq", "%zz",
	} {
		s.do(t, "GET", "/audit/?"+query, "", admin).has(t, query, 400, "invalid_request")
	}
	if got := get("?event=nothing"); got == nil || len(got) != 0 {
		t.Errorf("%v, want an empty array", got)
	}
	if got := s.do(t, "POST", "/audit/", "", admin); got.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.status)
	}
}

func TestAuditTrailIsExportedAsJSONLines(t *testing.T) {
	s := openSite(t)
	for range 3 {
		s.busy(t)
	}
	more := make([]auditRow, 0, 1200)
	for range 1200 {
		more = append(more, rowOf(t.Context(), guard.Event{Name: guard.EventUserUpdated, Target: s.id(t, "alice")}))
	}
	s.rows(t)
	one := must(newTrail(s.db, s.keys, 0, s.app.log))
	check(one.append(t.Context(), more))
	admin := bearer(s.signIn(t, "admin", s.keys.DemoPassword).Access)
	got := s.do(t, "GET", "/audit/?format=jsonl", "", admin)
	if got.status != 200 || got.header.Get("Content-Type") != "application/jsonl" || !strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment") {
		t.Fatalf("%d %v", got.status, got.header)
	}
	// It can be verified with the secrets alone.
	var before []byte
	n := int64(0)
	for line := range strings.Lines(got.body) {
		var r shownRow
		check(json.Unmarshal([]byte(line), &r))
		n++
		row := auditRow{r.Seq, r.Time.UnixMicro(), r.Name, r.Subject, r.Target, r.Login, string(r.Event), r.MAC}
		if r.Seq != n || !bytes.Equal(s.audit.keys.mac(before, &row), r.MAC) {
			t.Fatalf("line %d does not verify: %s", n, line)
		}
		before = r.MAC
	}
	if n < 1200 {
		t.Errorf("%d lines", n)
	}
	if got := s.do(t, "GET", "/audit/?format=jsonl&limit=777&event=user_updated&after=3", "", admin); strings.Count(got.body, "\n") != 777 {
		t.Errorf("%d lines, want 777", strings.Count(got.body, "\n"))
	}
	own := s.do(t, "GET", "/users/me/audit?format=jsonl", "", bearer(s.signInAlice(t).Access))
	if strings.Count(own.body, "\n") < 1200 || strings.Contains(own.body, `"mac"`) {
		t.Errorf("%d lines of one's own", strings.Count(own.body, "\n"))
	}
}

func TestUsersReadTheEventsOfTheirOwnAccountOnly(t *testing.T) {
	s := openSite(t)
	const stranger = "User-Agent: stranger-at-the-door"
	s.do(t, "POST", "/token", form("username", "alice", "password", "wrong"), formType, stranger)
	alice, mod := s.signInAlice(t), s.signIn(t, "mod", s.keys.DemoPassword)
	adminPair := s.signIn(t, "admin", s.keys.DemoPassword)
	s.do(t, "PUT", "/users/alice/roles", `{"roles":["user"],"permissions":["moderate:content"]}`, bearer(adminPair.Access), jsonType, "User-Agent: of-the-administrator").is(t, 200)
	s.do(t, "POST", "/moderate/", "", bearer(mod.Access))
	get := func(access, query string) []ownEvent {
		t.Helper()
		return into[[]ownEvent](t, s.do(t, "GET", "/users/me/audit"+query, "", bearer(access)), 200)
	}
	mine := get(alice.Access, "?limit=1000")
	raw := s.do(t, "GET", "/users/me/audit?limit=1000", "", bearer(alice.Access)).body
	by := make(map[string]int)
	for _, e := range mine {
		by[e.By]++
		if e.By == "another" && (e.Address != "" || e.UserAgent != "" || e.Session != "") {
			t.Errorf("what an administrator did tells about the administrator: %+v", e)
		}
	}
	if by["you"] == 0 || by["nobody"] != 1 || by["another"] != 1 {
		t.Errorf("by %v: %+v", by, mine)
	}
	if !strings.Contains(raw, "stranger-at-the-door") || strings.Contains(raw, "of-the-administrator") || strings.Contains(raw, "reason") || strings.Contains(raw, "wrong") {
		t.Errorf("%s", raw)
	}
	// Nothing of another, whatever is asked for.
	rows := s.rows(t)
	of := make(map[int64]*auditRow)
	for i := range rows {
		of[rows[i].seq] = &rows[i]
	}
	id := s.id(t, "mod")
	for _, query := range []string{"?limit=1000", "?event=authn_login_success", "?after=1", "?order=time", "?limit=1000&since=2001-01-01T00:00:00Z"} {
		for _, e := range get(mod.Access, query) {
			if r := of[e.Seq]; r != nil && r.subject != id && r.target != id && r.login != "mod" {
				t.Errorf("%s: mod sees %+v", query, *r)
			}
		}
	}
	s.do(t, "GET", "/users/me/audit?subject="+s.id(t, "alice"), "", bearer(mod.Access)).has(t, "events of another", 400, "invalid_request")
	s.do(t, "GET", "/audit/", "", bearer(mod.Access)).has(t, "all events as a moderator", 403, "forbidden")
	s.do(t, "GET", "/audit/?subject="+id, "", bearer(mod.Access)).has(t, "one's own events at /audit/", 403, "forbidden")
	s.do(t, "GET", "/audit/", "").has(t, "all events, anonymously", 401, "unauthenticated")
	s.do(t, "GET", "/users/me/audit", "").has(t, "own events, anonymously", 401, "unauthenticated")
	limited := s.signIn(t, "admin", s.keys.DemoPassword, "scope", "read:items")
	s.do(t, "GET", "/audit/", "", bearer(limited.Access)).has(t, "an administrator without the scope", 403, "insufficient_scope")
	key := withKey(s.key(t, alice.Access, `{"name":"reader","scopes":["read:items"]}`).Key)
	s.do(t, "GET", "/users/me/audit", "", key).has(t, "own events with a key", 403, "forbidden")
	s.do(t, "GET", "/audit/", "", key).has(t, "all events with a key", 403, "forbidden")
}

func TestTheAuditTrailAnswersWhichFactorWasUsedWhen(t *testing.T) {
	s := openSiteAs(t, withOutbox())
	s.register(t, map[string]string{"username": "ada", "password": testPassword}).is(t, 201)
	all := s.rows(t)
	start := all[len(all)-1].seq
	alice := s.signInAlice(t)
	// since returns the events since the last call, in short.
	since := func(access string) string {
		t.Helper()
		var all []string
		for _, e := range into[[]ownEvent](t, s.do(t, "GET", "/users/me/audit?order=seq&after="+strconv.FormatInt(start, 10), "", bearer(access)), 200) {
			line := e.Name
			for _, part := range append(slices.Clone(e.Factors), e.Factor, e.Passkey) {
				if part != "" {
					line += " " + part
				}
			}
			all = append(all, line)
			start = e.Seq
		}
		return strings.Join(all, ", ")
	}
	want := func(access, want string) {
		t.Helper()
		if got := since(access); got != want {
			t.Errorf("the events are\n%s\nwant\n%s", got, want)
		}
	}
	want(alice.Access, "authn_login_success pwd")

	p, recovery := s.enrol(t, alice.Access)
	want(alice.Access, "factor_begun totp, factor_confirmed totp")
	alice = s.respond(t, s.challenged(t, "alice"), p.code(t)).tokens(t)
	want(alice.Access, "authn_token_created pwd, factor_used totp, authn_login_success otp")
	alice = s.respond(t, s.challenged(t, "alice"), recovery[0]).tokens(t)
	want(alice.Access, "authn_token_created pwd, factor_recovery_used totp, authn_login_success otp")
	alice = s.do(t, "POST", "/2fa/verify/", form("code", p.code(t)), bearer(alice.Access), formType).tokens(t)
	want(alice.Access, "factor_used totp, authn_login_success otp")

	b := s.browser()
	b.signIn(t, "mod")
	device, _ := b.addPasskey(t, "laptop")
	assertion := func(path string, from *browser) string {
		t.Helper()
		return string(must(device.Get([]byte(from.do(t, "POST", path, "").body))))
	}
	mod := s.do(t, "POST", "/token/passkey", assertion("/passkeys/sign-in", b), jsonType).tokens(t)
	want(mod.Access, "authn_login_success pwd, factor_confirmed passkey laptop, factor_used passkey laptop, authn_login_success mfa pop user")
	mod = s.respond(t, s.challenged(t, "mod"), assertion("/passkeys/second-factor", b)).tokens(t)
	want(mod.Access, "authn_token_created pwd, factor_used passkey laptop, authn_login_success pop")
}

// A name may be that of another user who was deleted.
func TestUserDoesNotReadTheEventsOfAFormerUserOfTheName(t *testing.T) {
	s := openSite(t)
	register := map[string]string{"username": "ghost", "password": testPassword}
	s.register(t, register).is(t, 201)
	s.do(t, "POST", "/token", form("username", "ghost", "password", "wrong"), formType, "User-Agent: former")
	admin := bearer(s.signIn(t, "admin", s.keys.DemoPassword).Access)
	s.do(t, "DELETE", "/users/"+s.id(t, "ghost"), "", admin).is(t, 200)
	s.register(t, register).is(t, 201)
	got := s.do(t, "GET", "/users/me/audit?limit=1000", "", bearer(s.signIn(t, "ghost", testPassword).Access))
	if got.status != 200 || strings.Contains(got.body, "former") || !strings.Contains(got.body, "user_created") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestAuditRowHasWhatTheLogHas(t *testing.T) {
	p := &identity.Principal{Issuer: testIssuer, Subject: "5", Session: "s"}
	at := time.Date(2026, 12, 1, 12, 0, 0, 123456000, time.UTC)
	e := guard.Event{Name: guard.EventAuthzChange, Time: at, Principal: p, Target: "6", Login: "x", Changes: []slog.Attr{slog.String("role", "admin")}}
	r := rowOf(t.Context(), e)
	var log bytes.Buffer
	guard.Log(slog.New(slog.NewJSONHandler(&log, nil)))(t.Context(), e)
	if r.event+"\n" != log.String() || r.at != at.UnixMicro() || r.subject != "5" || r.target != "6" || r.login != "x" || r.name != "authz_change" {
		t.Errorf("%+v", r)
	}
	p.Subject = "7" // which belongs to the request
	if r.subject != "5" {
		t.Error("the row changes with the request")
	}
}
