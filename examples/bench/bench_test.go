package main

import "testing"

// BenchmarkPeers runs each job once for each who does it, for go test -bench
// and for CI, which only makes sure that they still run.
func BenchmarkPeers(b *testing.B) {
	servers := new(stay)
	defer servers.end()
	for _, j := range jobs(servers) {
		for who, run := range j.run {
			b.Run(j.name+"/"+who, run)
		}
	}
}
