package redislog

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/internal/redisdb"
)

var _ blacklist.Clock = (*Log)(nil)

// clockScript returns the seconds and the microseconds of the server's clock.
const clockScript = `return redis.call('TIME')`

// Now implements [blacklist.Clock].
func (l *Log) Now(ctx context.Context) (time.Time, error) {
	answer, err := redisdb.Words(l.db.RunUnchecked(ctx, clockScript, l.keys))
	if err != nil {
		return time.Time{}, l.db.Wrap(err, "reading the clock")
	}
	if len(answer) == 2 {
		seconds, errSeconds := strconv.ParseInt(answer[0], 10, 64)
		micros, errMicros := strconv.ParseInt(answer[1], 10, 64)
		if errSeconds == nil && errMicros == nil {
			return time.Unix(seconds, micros*1000), nil
		}
	}
	return time.Time{}, l.db.Wrap(fmt.Errorf("the reply is %.64q instead of seconds and microseconds", answer), "reading the clock")
}
