package headers

import (
	"sync/atomic"
	"time"
)

// A warning is emitted at most once a minute, because clients can cause it.
type warning struct{ last atomic.Int64 }

// due reports whether the warning may be emitted now.
func (w *warning) due() bool {
	now := time.Now().UnixNano()
	last := w.last.Load()
	return (last == 0 || now-last >= int64(time.Minute)) && w.last.CompareAndSwap(last, now)
}
