package sqllog

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/blacklist"
)

var _ blacklist.Clock = (*Log)(nil)

// Now implements [blacklist.Clock]. An SQLite database has the clock of this
// machine.
func (l *Log) Now(ctx context.Context) (time.Time, error) {
	if l.dialect != PostgreSQL {
		return time.Now(), ctx.Err()
	}
	var micros int64
	err := l.db.QueryRowContext(ctx, `SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint`).Scan(&micros)
	if err != nil {
		return time.Time{}, wrap(err, "reading the clock")
	}
	return time.UnixMicro(micros), nil
}
