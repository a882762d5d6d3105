package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/apikey"
	"github.com/gatewright/gatewright/auth/guard"
)

// Reading the audit trail: all of it for administrators, and for everybody the events
// of their own account, without what the log alone may have.

const (
	maxAudited  = 1000  // rows of an answer
	maxExported = 50000 // rows of an export
)

// An auditQuery is which rows of the trail are wanted.
type auditQuery struct {
	name, subject string
	since, until  int64 // microseconds since 1970; until is excluded
	after, before int64 // sequence numbers, both excluded
	order         string
	limit         int
	lines         bool // JSON lines, in the order of the sequence

	own *user // whose events alone are wanted; nil: all
}

// auditOrders are the values of the parameter order, and what each is in SQL.
var auditOrders = map[string]string{
	"seq":   "seq",
	"-seq":  "seq DESC",
	"time":  "at, seq",
	"-time": "at DESC, seq DESC",
	"name":  "name, seq",
	"-name": "name DESC, seq DESC",
}

var eventNameForm = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// parseAuditQuery reads the query of GET /audit/: each parameter at most once, and
// nothing else.
func parseAuditQuery(query string) (q auditQuery, err error) {
	q = auditQuery{until: 1<<63 - 1, before: 1<<63 - 1}
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, errors.New("the query cannot be read")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name][0]
		if len(values[name]) > 1 {
			return q, fmt.Errorf("the parameter %.40q is given more than once", name)
		}
		ok := true
		switch name {
		case "event":
			if q.name = value; !eventNameForm.MatchString(value) {
				return q, errors.New("event: must be the name of an event, as authn_login_success")
			}
		case "subject":
			if q.subject = value; value == "" || len(value) > 256 {
				return q, errors.New("subject: must be the ID of a user")
			}
		case "since":
			q.since, ok = parseMoment(value)
		case "until":
			q.until, ok = parseMoment(value)
		case "after":
			q.after, ok = parseID(value)
		case "before":
			q.before, ok = parseID(value)
		case "order":
			if q.order, ok = auditOrders[value]; !ok {
				return q, fmt.Errorf("order: must be one of %s", strings.Join(slices.Sorted(maps.Keys(auditOrders)), ", "))
			}
		case "limit":
			if q.limit, ok = parseCount(value, maxExported); !ok || q.limit == 0 {
				return q, fmt.Errorf("limit: must be a number of 1 to %d, or to %d with format=jsonl", maxAudited, maxExported)
			}
		case "format":
			if q.lines = value == "jsonl"; !q.lines && value != "json" {
				return q, errors.New("format: must be json or jsonl")
			}
		default:
			return q, fmt.Errorf("there is no parameter %.40q; there are after, before, event, format, limit, order, since, subject and until", name)
		}
		switch {
		case !ok && (name == "since" || name == "until"):
			return q, fmt.Errorf("%s: must be a time of RFC 3339, as 2026-12-01T12:00:00Z", name)
		case !ok:
			return q, fmt.Errorf("%s: must be a sequence number", name)
		}
	}
	switch {
	case q.lines && q.order != "" && q.order != auditOrders["seq"]:
		return q, errors.New("order: must be seq with format=jsonl")
	case !q.lines && q.limit > maxAudited:
		return q, fmt.Errorf("limit: must be a number of 1 to %d, or to %d with format=jsonl", maxAudited, maxExported)
	case q.lines && q.limit == 0:
		q.limit = maxExported
	case q.limit == 0:
		q.limit = 100
	}
	if q.order == "" {
		q.order = auditOrders["-seq"]
	}
	return q, nil
}

// parseMoment reads a time of this millennium.
func parseMoment(s string) (int64, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UnixMicro(), err == nil && t.Year() >= 2000 && t.Year() < 3000
}

// find returns rows of the trail.
func (t *trail) find(ctx context.Context, q auditQuery) ([]auditRow, error) {
	where := []string{"seq > $1", "seq < $2", "at >= $3", "at < $4"}
	args := []any{q.after, q.before, q.since, q.until}
	condition := func(sql string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			sql = strings.Replace(sql, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		where = append(where, sql)
	}
	if q.name != "" {
		condition("name = ?", q.name)
	}
	if q.subject != "" {
		condition("(subject = ? OR target = ?)", q.subject, q.subject)
	}
	if q.own != nil {
		// A name may have been that of a user who was deleted before.
		id := strconv.FormatInt(q.own.ID, 10)
		condition("(subject = ? OR target = ? OR login = ? AND at >= (SELECT created FROM users WHERE id = ?))", id, id, q.own.Username, q.own.ID)
	}
	args = append(args, q.limit)
	rows, err := t.db.QueryContext(ctx, "SELECT "+auditColumns+" FROM audit_events WHERE "+strings.Join(where, " AND ")+
		" ORDER BY "+q.order+" LIMIT $"+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []auditRow
	for rows.Next() {
		var r auditRow
		if err := r.scan(rows); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// A shownRow is what administrators see of a row. With the secrets it is enough to
// verify an export.
type shownRow struct {
	Seq     int64           `json:"seq"`
	Time    time.Time       `json:"time"`
	Name    string          `json:"name"`
	Subject string          `json:"subject"`
	Target  string          `json:"target"`
	Login   string          `json:"login"`
	Event   json.RawMessage `json:"event"`
	MAC     []byte          `json:"mac"`
}

func shownToAdministrators(r *auditRow) any {
	event := json.RawMessage(r.event)
	if !json.Valid(event) {
		event, _ = json.Marshal(r.event) // it was tampered with
	}
	return shownRow{r.seq, time.UnixMicro(r.at).UTC(), r.name, r.subject, r.target, r.login, event, r.mac}
}

// An ownEvent is what users see of an event of their account: not the reasons of
// refusals, and nothing about others who caused it.
type ownEvent struct {
	Seq       int64     `json:"seq"`
	Time      time.Time `json:"time"`
	Name      string    `json:"name"`
	Outcome   string    `json:"outcome"`
	By        string    `json:"by"` // "you", "nobody": not signed in, "another": an administrator, "program": the server itself
	Way       string    `json:"way,omitempty"`
	Session   string    `json:"session,omitempty"`
	Address   string    `json:"address,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
	Key       string    `json:"key,omitempty"`     // of an event about an API key
	Network   string    `json:"network,omitempty"` // from which an API key was used for the first time
	Factors   []string  `json:"factors,omitempty"` // that were proven, of a sign-in or a step of it
	Factor    string    `json:"factor,omitempty"`  // "totp" or "passkey", of an event about a factor
	Passkey   string    `json:"passkey,omitempty"` // its name
	Evicted   []string  `json:"evicted,omitempty"` // sessions that ended because there were too many
}

func shownToUser(id string) func(*auditRow) any {
	return func(r *auditRow) any {
		var line struct {
			Outcome, Way, Session string
			Principal             struct{ Session string }
			Changes               struct {
				Network, Factor, Name, Program string
				Factors, Proven                []string
				Evicted                        []string `json:"evicted_sessions"`
			}
			Request struct {
				RemoteAddr string `json:"remote_addr"`
				UserAgent  string `json:"user_agent"`
			}
		}
		_ = json.Unmarshal([]byte(r.event), &line) // what was tampered with is shown as far as it goes
		e := ownEvent{Seq: r.seq, Time: time.UnixMicro(r.at).UTC(), Name: r.name, Outcome: line.Outcome, By: "another"}
		switch r.subject {
		case id:
			e.By = "you"
			if e.Session = line.Session; e.Session == "" {
				e.Session = line.Principal.Session
			}
		case "":
			if e.By = "nobody"; line.Changes.Program != "" {
				e.By = "program"
			}
		default:
			return e
		}
		e.Way, e.Address, e.UserAgent = line.Way, line.Request.RemoteAddr, line.Request.UserAgent
		if r.name == string(apikey.EventNewNetwork) {
			e.Key, e.Network = r.target, line.Changes.Network
		}
		if e.Factors = line.Changes.Proven; e.Factors == nil {
			e.Factors = line.Changes.Factors
		}
		if e.Factor = line.Changes.Factor; e.Factor == "passkey" {
			e.Passkey = line.Changes.Name
		}
		e.Evicted = line.Changes.Evicted
		return e
	}
}

// listAudit is GET /audit/, for administrators.
func (a *app) listAudit(w http.ResponseWriter, r *http.Request) {
	q, err := parseAuditQuery(r.URL.RawQuery)
	if err != nil {
		a.hooks.Refuse(w, r, guard.InvalidRequest(sentence(err), nil))
		return
	}
	format := "json"
	if q.lines {
		format = "jsonl"
	}
	a.hooks.Emit(r, guard.Event{Name: eventAuditRead, Changes: []slog.Attr{slog.String("format", format)}})
	a.sendAudit(w, r, q, shownToAdministrators)
}

// listOwnAudit is GET /users/me/audit: the events of one's own account.
func (a *app) listOwnAudit(w http.ResponseWriter, r *http.Request) {
	q, err := parseAuditQuery(r.URL.RawQuery)
	if err == nil && q.subject != "" {
		err = errors.New("subject: administrators choose one, at /audit/")
	}
	if err != nil {
		a.hooks.Refuse(w, r, guard.InvalidRequest(sentence(err), nil))
		return
	}
	if q.own, err = a.current(r); err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	a.sendAudit(w, r, q, shownToUser(strconv.FormatInt(q.own.ID, 10)))
}

// sendAudit sends what was found. What this process has seen before is written first,
// as far as that does not take long.
func (a *app) sendAudit(w http.ResponseWriter, r *http.Request, q auditQuery, shown func(*auditRow) any) {
	waiting, cancel := context.WithTimeout(r.Context(), time.Second)
	_ = a.audit.flush(waiting)
	cancel()
	if q.lines {
		a.exportAudit(w, r, q, shown)
		return
	}
	rows, err := a.audit.find(r.Context(), q)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	out := make([]any, 0, len(rows))
	for i := range rows {
		out = append(out, shown(&rows[i]))
	}
	writeJSON(w, http.StatusOK, out)
}

// exportAudit sends JSON lines, in parts: a client that reads slowly holds no
// connection to the database.
func (a *app) exportAudit(w http.ResponseWriter, r *http.Request, q auditQuery, shown func(*auditRow) any) {
	left := q.limit
	q.order = auditOrders["seq"]
	for begun := false; ; {
		q.limit = min(left, 500)
		rows, err := a.audit.find(r.Context(), q)
		if err != nil && !begun {
			a.hooks.Refuse(w, r, err)
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // so that the client does not take a part for the whole
		}
		if !begun {
			w.Header().Set("Content-Type", "application/jsonl")
			w.Header().Set("Content-Disposition", `attachment; filename="audit.jsonl"`)
			w.Header().Set("Cache-Control", "no-store")
			begun = true
		}
		encoder := json.NewEncoder(w)
		for i := range rows {
			if encoder.Encode(shown(&rows[i])) != nil {
				return // the client went away
			}
		}
		if left -= len(rows); left == 0 || len(rows) < q.limit {
			return
		}
		q.after = rows[len(rows)-1].seq
	}
}
