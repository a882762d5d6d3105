package blacklist

import "time"

// FillSet fills a replica's set without a log, with n entries that are hashes.
func (r *Replica) FillSet(n int) { fill(r.set, n) }

// SetClock puts the clock of the replica's machine ahead of the others.
func (r *Replica) SetClock(ahead time.Duration) { r.ahead = ahead }
