package apikey

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/internal/seen"
)

// EventNewNetwork reports the first use of a key from a network; see
// Config.ReportNetworks. Target is the ID of the key. Changes are the network and
// the number of networks of the key.
const EventNewNetwork guard.EventName = "apikey_new_network"

// networkPause is how long the store is not called after it failed.
const networkPause = 10 * time.Second

// networks finds the first use of a key from a network.
type networks struct {
	recorder NetworkRecorder // nil: nothing is recorded
	timeout  time.Duration
	hooks    guard.Hooks

	// known are keys and networks that the store has, or is about to have.
	known seen.Pairs

	paused atomic.Int64 // until when, in nanoseconds since 1970
}

// note records a use of the key in e from an address. It calls the store once per
// key and network, and again after Pairs has forgotten both.
func (n *networks) note(ctx context.Context, e *entry, p *identity.Principal, remoteAddr string, now time.Time) {
	if n.recorder == nil {
		return
	}
	network, ok := networkOf(remoteAddr)
	if !ok {
		return
	}
	if last := e.network.Load(); last != nil && *last == network {
		return
	}
	n.first(ctx, e, p, network, now)
}

// first is note for another network than that of the last use.
func (n *networks) first(ctx context.Context, e *entry, p *identity.Principal, network netip.Prefix, now time.Time) {
	id := e.record.ID
	full := sha256.Sum256([]byte(network.String() + " " + id))
	pair := seen.Pair(full[:len(seen.Pair{})])
	if !n.known.Has(pair, now) {
		if now.UnixNano() < n.paused.Load() {
			return
		}
		// First, so that other requests do not wait for the store.
		n.known.Add(pair, now)
		if !n.record(ctx, id, network, p, now) {
			n.known.Remove(pair)
			return
		}
	}
	e.network.Store(&network)
}

// record calls the store and reports whether it has the network now.
func (n *networks) record(ctx context.Context, id string, network netip.Prefix, p *identity.Principal, now time.Time) (ok bool) {
	defer func() {
		if !ok {
			n.paused.Store(time.Now().Add(networkPause).UnixNano())
		}
	}()
	// The client may disconnect.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.timeout)
	defer cancel()
	begun := n.hooks.Begin()
	count, err := n.recorder.RecordNetwork(bounded, id, network, now)
	n.hooks.Measured(ctx, begun, "store", "apikey.RecordNetwork", err)
	if err != nil {
		// The key stays good. The caller of this request did not cause the failure.
		err = guard.CannotDecide("apikey: recording the network of a key", err)
		n.hooks.EmitContext(context.Background(), guard.Event{Name: guard.EventUnavailable, Err: err})
		return false
	}
	if count > 0 {
		n.hooks.EmitContext(ctx, guard.Event{Name: EventNewNetwork, Principal: p, Target: id, Changes: []slog.Attr{
			slog.String("network", network.String()),
			slog.Int("networks", count),
		}})
	}
	return true
}

// networkOf returns the network of a remote address: the /24 of an IPv4 address,
// the /48 of an IPv6 address.
func networkOf(remoteAddr string) (netip.Prefix, bool) {
	addr, ok := addrOf(remoteAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	network, err := addr.Prefix(bits)
	return network, err == nil
}
