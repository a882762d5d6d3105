package apikey

import (
	"crypto/sha256"
	"net"
	"net/netip"

	"github.com/gatewright/gatewright/internal/seen"
)

// pairOf returns the pair of a key's sum and an address. An IPv6 address stands
// for its /64, in which clients take another one each day.
func pairOf(s *sum, addr string) seen.Pair {
	if ip, err := netip.ParseAddr(addr); err == nil {
		ip = ip.Unmap().WithZone("")
		addr = ip.String()
		if network, err := ip.Prefix(64); err == nil && ip.Is6() {
			addr = network.String()
		}
	}
	full := sha256.Sum256(append(s[:], addr...))
	return seen.Pair(full[:len(seen.Pair{})])
}

// hostOf returns a remote address without the port.
func hostOf(remoteAddr string) string {
	if host, _, err := net.SplitHostPort(remoteAddr); err == nil {
		return host
	}
	return remoteAddr
}
