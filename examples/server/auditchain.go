package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
)

// The chain of the audit trail. Each row has an HMAC over the row and the HMAC of the
// row before it, with a key that the database does not have. A checkpoint is the
// sequence number and the HMAC of the last row, signed, in the log: it shows that rows
// before it were there.

// An auditRow is a row of audit_events.
type auditRow struct {
	seq, at                             int64
	name, subject, target, login, event string
	mac                                 []byte
}

const auditColumns = "seq, at, name, subject, target, login, event, mac"

func (r *auditRow) scan(from interface{ Scan(...any) error }) error {
	return from.Scan(&r.seq, &r.at, &r.name, &r.subject, &r.target, &r.login, &r.event, &r.mac)
}

// A position is where a chain ends: the number of a row, and its HMAC.
type position struct {
	seq int64
	mac []byte
}

// auditKeys are the keys of the chain.
type auditKeys struct{ rows, starts, checkpoints []byte }

func newAuditKeys(keys *secrets) (k auditKeys, err error) {
	var errs [3]error
	k.rows, errs[0] = keys.derive("audit rows")
	k.starts, errs[1] = keys.derive("audit starts")
	k.checkpoints, errs[2] = keys.derive("audit checkpoints")
	return k, errors.Join(errs[:]...)
}

// mac returns the HMAC of a row. Each value has its length before it, so that no two
// rows have one encoding.
func (k auditKeys) mac(before []byte, r *auditRow) []byte {
	h := hmac.New(sha256.New, k.rows)
	b := make([]byte, 0, 512)
	b = binary.BigEndian.AppendUint64(b, uint64(r.seq))
	b = binary.BigEndian.AppendUint64(b, uint64(r.at))
	for _, s := range [...]string{string(before), r.name, r.subject, r.target, r.login, r.event} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	h.Write(b)
	return h.Sum(nil)
}

// tag returns the HMAC of the position at which a chain begins.
func (k auditKeys) tag(p position) []byte {
	h := hmac.New(sha256.New, k.starts)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(p.seq)))
	h.Write(p.mac)
	return h.Sum(nil)
}

// sign returns the checkpoint of a position as text.
func (k auditKeys) sign(p position, at time.Time) string {
	signed := "v1." + strconv.FormatInt(p.seq, 10) + "." + strconv.FormatInt(at.UnixMicro(), 10) + "." + base64.RawURLEncoding.EncodeToString(p.mac)
	return signed + "." + base64.RawURLEncoding.EncodeToString(k.signature(signed))
}

func (k auditKeys) signature(signed string) []byte {
	h := hmac.New(sha256.New, k.checkpoints)
	h.Write([]byte(signed))
	return h.Sum(nil)
}

// A checkpoint is one that was read.
type checkpoint struct {
	position
	at time.Time
}

// parse reads a checkpoint and verifies its signature.
func (k auditKeys) parse(text string) (checkpoint, error) {
	cut := strings.LastIndexByte(text, '.')
	fields := strings.Split(text, ".")
	if len(fields) != 5 || fields[0] != "v1" {
		return checkpoint{}, fmt.Errorf("-checkpoint %.40q: is no checkpoint; copy the value of checkpoint in a line \"audit checkpoint\" of the log", text)
	}
	signature, err := base64.RawURLEncoding.DecodeString(fields[4])
	if err != nil || !hmac.Equal(signature, k.signature(text[:cut])) {
		return checkpoint{}, fmt.Errorf("-checkpoint %.40q: is not signed with these secrets, or was changed", text)
	}
	seq, errSeq := strconv.ParseInt(fields[1], 10, 64)
	at, errAt := strconv.ParseInt(fields[2], 10, 64)
	mac, errMAC := base64.RawURLEncoding.DecodeString(fields[3])
	return checkpoint{position{seq, mac}, time.UnixMicro(at).UTC()}, errors.Join(errSeq, errAt, errMAC)
}

// A querier is an *sql.DB or an *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// last returns where the chain ends.
func (t *trail) last(ctx context.Context, db querier) (position, error) {
	begin, _, err := t.start(ctx, db)
	if err != nil {
		return position{}, err
	}
	var p position
	err = db.QueryRowContext(ctx, "SELECT seq, mac FROM audit_events ORDER BY seq DESC LIMIT 1").Scan(&p.seq, &p.mac)
	if errors.Is(err, sql.ErrNoRows) || err == nil && p.seq < begin.seq {
		return begin, nil
	}
	return p, err
}

// start returns the position after which the chain begins, and whether the server
// wrote it.
func (t *trail) start(ctx context.Context, db querier) (p position, genuine bool, err error) {
	var tag []byte
	err = db.QueryRowContext(ctx, "SELECT seq, mac, tag FROM audit_start").Scan(&p.seq, &p.mac, &tag)
	if errors.Is(err, sql.ErrNoRows) {
		return position{}, true, nil
	}
	return p, hmac.Equal(tag, t.keys.tag(p)), err
}

// badStart is what is wrong with a start that the server did not write.
const badStart = "the row of audit_start is not signed with these secrets, or was changed"

func (t *trail) setStart(ctx context.Context, tx *sql.Tx, p position) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit_start (one, seq, mac, tag) VALUES (1, $1, $2, $3)
		ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, mac = excluded.mac, tag = excluded.tag`, p.seq, p.mac, t.keys.tag(p))
	return err
}

// macOf returns the HMAC that is stored in a row, nil if there is no such row.
func macOf(ctx context.Context, db querier, seq int64) (mac []byte, err error) {
	err = db.QueryRowContext(ctx, "SELECT mac FROM audit_events WHERE seq = $1", seq).Scan(&mac)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return mac, err
}

// rowsAfter returns the next rows of the trail, in their order.
func rowsAfter(ctx context.Context, db querier, seq int64, most int) ([]auditRow, error) {
	rows, err := db.QueryContext(ctx, "SELECT "+auditColumns+" FROM audit_events WHERE seq > $1 ORDER BY seq LIMIT $2", seq, most)
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

// logCheckpoint writes the signed end of the chain to the log, if it has moved.
func (t *trail) logCheckpoint(ctx context.Context) error {
	p, err := t.last(ctx, t.db)
	if err != nil || p.seq == t.checkpoint.seq {
		return err
	}
	t.checkpoint = p
	t.log.Info("audit checkpoint", "rows", p.seq, "checkpoint", t.keys.sign(p, time.Now()))
	return nil
}

// prune removes the rows before a time from the beginning of the chain, and leaves
// the position at which it begins then. It verifies what it removes: rows that were
// changed so that they look old stay, as evidence.
func (t *trail) prune(ctx context.Context, before time.Time) (removed int, err error) {
	for more := true; more && err == nil; {
		err = t.exclusively(ctx, func(tx *sql.Tx) error {
			more = false
			begin, genuine, err := t.start(ctx, tx)
			if err != nil {
				return err
			}
			if !genuine {
				return errors.New(badStart)
			}
			rows, err := rowsAfter(ctx, tx, begin.seq, 1000)
			if err != nil {
				return err
			}
			at := begin
			for i := range rows {
				r := &rows[i]
				if r.seq != at.seq+1 || !hmac.Equal(r.mac, t.keys.mac(at.mac, r)) {
					return fmt.Errorf("row %d of the audit trail does not verify, so that no row is removed; run the server with -verify-audit", r.seq)
				}
				if r.at >= before.UnixMicro() {
					break
				}
				at = position{r.seq, r.mac}
			}
			if at.seq == begin.seq {
				return nil
			}
			removed += int(at.seq - begin.seq)
			more = int(at.seq-begin.seq) == len(rows)
			if err := t.setStart(ctx, tx, at); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "DELETE FROM audit_events WHERE seq <= $1", at.seq)
			return err
		})
	}
	return removed, err
}

// restart begins the chain anew after the last row, with the present secrets: what is
// there was written with others, which are lost.
func (t *trail) restart(ctx context.Context) error {
	return t.exclusively(ctx, func(tx *sql.Tx) error {
		var p position
		err := tx.QueryRowContext(ctx, "SELECT seq, mac FROM (SELECT seq, mac FROM audit_events UNION ALL SELECT seq, mac FROM audit_start) AS every ORDER BY seq DESC LIMIT 1").Scan(&p.seq, &p.mac)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := t.setStart(ctx, tx, p); err != nil {
			return err
		}
		return t.insert(ctx, tx, &p, []auditRow{rowOf(ctx, guard.Event{Name: eventAuditRestarted})})
	})
}

// A verification is what verify found.
type verification struct {
	start    position // after which the chain begins
	end      position
	rows     int64
	unknown  int64    // rows before start, of other secrets
	problems []string // what is wrong, in the order of the rows
	covered  int64    // the last row that a checkpoint shows to have been there
	older    int      // checkpoints of rows that were removed after their time
}

// maxProblems is how many problems are listed.
const maxProblems = 20

func (v *verification) wrong(format string, args ...any) {
	if len(v.problems) < maxProblems {
		v.problems = append(v.problems, fmt.Sprintf(format, args...))
	} else if len(v.problems) == maxProblems {
		v.problems = append(v.problems, "and more")
	}
}

// verify walks the whole chain and compares it with checkpoints.
func (t *trail) verify(ctx context.Context, points []checkpoint) (*verification, error) {
	v := new(verification)
	var err error
	var genuine bool
	if v.start, genuine, err = t.start(ctx, t.db); err != nil {
		return nil, err
	}
	if !genuine {
		v.wrong(badStart)
	}
	if err := t.db.QueryRowContext(ctx, "SELECT count(*) FROM audit_events WHERE seq <= $1", v.start.seq).Scan(&v.unknown); err != nil {
		return nil, err
	}
	wanted := make(map[int64][]checkpoint)
	for _, p := range points {
		wanted[p.seq] = append(wanted[p.seq], p)
		v.covered = max(v.covered, p.seq)
		if p.seq < v.start.seq {
			v.older++
		}
	}
	compare := func(at position) {
		for _, p := range wanted[at.seq] {
			if !hmac.Equal(p.mac, at.mac) {
				v.wrong("row %d is another than at the checkpoint of %s", at.seq, p.at.Format(time.RFC3339))
			}
		}
	}
	v.end = v.start
	compare(v.end)
	for {
		rows, err := rowsAfter(ctx, t.db, v.end.seq, 1000)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			r := &rows[i]
			if r.seq != v.end.seq+1 {
				v.wrong("rows %d to %d are missing", v.end.seq+1, r.seq-1)
			}
			if !hmac.Equal(r.mac, t.keys.mac(v.end.mac, r)) {
				v.wrong("row %d does not verify: it was changed, or does not follow the row before it", r.seq)
			}
			v.end = position{r.seq, r.mac}
			v.rows++
			compare(v.end)
		}
		if len(rows) == 0 {
			break
		}
	}
	if v.covered > v.end.seq {
		v.wrong("rows %d to %d are missing at the end, a checkpoint shows that they were there", v.end.seq+1, v.covered)
	}
	return v, nil
}

// report writes what was found, and returns an error if something is wrong.
func (v *verification) report(w io.Writer, points int) error {
	fmt.Fprintf(w, "%d rows, from %d to %d\n", v.rows, v.start.seq+1, v.end.seq)
	if v.unknown > 0 {
		fmt.Fprintf(w, "%d rows before them were written with secrets that were replaced, and are not verified\n", v.unknown)
	}
	if v.older > 0 {
		fmt.Fprintf(w, "%d checkpoints are of rows that were removed at the end of their retention\n", v.older)
	}
	for _, problem := range v.problems {
		fmt.Fprintf(w, "wrong: %s\n", problem)
	}
	switch {
	case len(v.problems) > 0:
		return errors.New("the audit trail was tampered with, or is damaged")
	case points == 0:
		fmt.Fprintln(w, "The chain verifies. Without -checkpoint, missing rows at its end are not found.")
	default:
		fmt.Fprintf(w, "The chain verifies. Rows after %d, the last checkpoint, may be missing at its end.\n", v.covered)
	}
	return nil
}

// checkpointForm is a checkpoint in a line of the log.
var checkpointForm = regexp.MustCompile(`\bv1\.[0-9]{1,19}\.[0-9]{1,19}\.[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}`)

// verifyAudit is -verify-audit. A checkpoint is the text of one, or "-" for all that
// are in the lines of stdin.
func verifyAudit(ctx context.Context, o options, stdin io.Reader, w io.Writer) (err error) {
	keys, err := readSecrets(o.secrets)
	if err != nil {
		return err
	}
	db, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := keys.agree(ctx, db, o.secrets, o.db); err != nil {
		return err
	}
	t, err := newTrail(db, keys, 0, nil)
	if err != nil {
		return err
	}
	var points []checkpoint
	read := func(text string) error {
		p, err := t.keys.parse(text)
		points = append(points, p)
		return err
	}
	for _, text := range o.checkpoints {
		if text != "-" {
			if err := read(text); err != nil {
				return err
			}
			continue
		}
		lines := bufio.NewScanner(stdin)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			for _, found := range checkpointForm.FindAllString(lines.Text(), -1) {
				if err := read(found); err != nil {
					return err
				}
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("-checkpoint -: %w", err)
		}
		if len(points) == 0 {
			return errors.New("-checkpoint -: standard input has no checkpoint; pass the log of the server")
		}
	}
	v, err := t.verify(ctx, points)
	if err != nil {
		return err
	}
	return v.report(w, len(points))
}
