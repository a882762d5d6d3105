package blacklist

// FillSet fills a replica's set without a log, with n entries that are hashes.
func (r *Replica) FillSet(n int) { fill(r.set, n) }
