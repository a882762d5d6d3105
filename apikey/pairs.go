package apikey

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	pairLife = 30 * 24 * time.Hour
	pairSets = 65_536 / len(pairSet{})
)

// A pair is a key and the address it came from: a part of a hash of both.
type pair [16]byte

// pairOf returns the pair of a key's sum and an address. An IPv6 address stands
// for its /64, in which clients take another one each day.
func pairOf(s *sum, addr string) pair {
	if ip, err := netip.ParseAddr(addr); err == nil {
		ip = ip.Unmap().WithZone("")
		addr = ip.String()
		if network, err := ip.Prefix(64); err == nil && ip.Is6() {
			addr = network.String()
		}
	}
	full := sha256.Sum256(append(s[:], addr...))
	return pair(full[:len(pair{})])
}

// hostOf returns a remote address without the port.
func hostOf(remoteAddr string) string {
	if host, _, err := net.SplitHostPort(remoteAddr); err == nil {
		return host
	}
	return remoteAddr
}

// pairs remembers from where keys were good, so that guesses from there are not
// held against them. Only who has a good key can add one or push one out, and
// to forget one is safe: then the Throttle is asked.
type pairs struct {
	mu   sync.Mutex
	sets []pairSet // nil until there is one
}

type pairSet [8]struct {
	pair pair
	good time.Time // zero: free
}

func (p *pairs) set(of *pair) *pairSet {
	return &p.sets[binary.LittleEndian.Uint64(of[:])%uint64(pairSets)]
}

// has reports whether the pair was good lately.
func (p *pairs) has(of pair, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sets == nil {
		return false
	}
	for _, e := range p.set(&of) {
		if e.pair == of && !e.good.IsZero() && now.Sub(e.good) < pairLife {
			return true
		}
	}
	return false
}

// add remembers the pair, in the place of the one that was good longest ago.
func (p *pairs) add(of pair, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sets == nil {
		p.sets = make([]pairSet, pairSets)
	}
	set := p.set(&of)
	oldest := 0
	for i := range set {
		if set[i].pair == of {
			oldest = i
			break
		}
		if set[i].good.Before(set[oldest].good) {
			oldest = i
		}
	}
	set[oldest].pair, set[oldest].good = of, now
}

// remove forgets the pair.
func (p *pairs) remove(of pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sets == nil {
		return
	}
	set := p.set(&of)
	for i := range set {
		if set[i].pair == of {
			set[i].good = time.Time{}
		}
	}
}
