package sqllog

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/blacklist"
)

var _ blacklist.Clock = (*Log)(nil)

// Now implements [blacklist.Clock]. With SQLite it returns the time of this
// machine.
func (l *Log) Now(ctx context.Context) (time.Time, error) {
	if l.db.Dialect() != PostgreSQL {
		return time.Now(), ctx.Err()
	}
	var micros int64
	_, err := l.db.Row(ctx, "reading the clock", `SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint`, nil, &micros)
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMicro(micros), nil
}
