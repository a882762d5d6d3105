package password

import (
	"container/list"
	"context"
	"net/netip"
)

// WithClient returns a context that names the client of a call of a [Hasher] by its
// address, with or without a port. Clients take turns at the [Budget], so no client
// delays another by more than one turn. IPv6 addresses of a /64 are one client, the
// clients of a /48 share the turns of one, and missing and invalid addresses are one
// client.
func WithClient(ctx context.Context, addr string) context.Context {
	return context.WithValue(ctx, clientKey{}, clientOf(addr))
}

type clientKey struct{}

// A client is an address and the network that the address belongs to.
type client struct{ network, address netip.Prefix }

func clientOf(addr string) client {
	var ip netip.Addr
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		ip = ap.Addr()
	} else if ip, err = netip.ParseAddr(addr); err != nil {
		return client{}
	}
	ip = ip.Unmap().WithZone("")
	bits := [2]int{32, 32}
	if ip.Is6() {
		bits = [2]int{48, 64}
	}
	// The number of bits fits the address, so there is no error.
	network, _ := ip.Prefix(bits[0])
	address, _ := ip.Prefix(bits[1])
	return client{network, address}
}

// A queue holds the calls that wait for a permit. Networks take turns, within a
// network its addresses do, and within an address calls are served in the order
// in which they came. The zero queue is empty.
type queue struct {
	networks list.List // of *network, the next one in front
	waiting  int
}

type network struct {
	prefix    netip.Prefix
	addresses list.List // of *address, the next one in front
	waiting   int
}

type address struct {
	prefix  netip.Prefix
	waiters list.List // of *waiter, the oldest in front
}

// A waiter is a call that waits. Done is closed, under the Budget's lock, after it
// left the queue with a permit or a refusal.
type waiter struct {
	client  client
	size    int64 // bytes
	done    chan struct{}
	refused bool
}

func (q *queue) push(w *waiter) {
	n := q.network(w.client.network)
	if n == nil {
		n = q.networks.PushBack(&network{prefix: w.client.network})
	}
	in := n.Value.(*network)
	a := in.address(w.client.address)
	if a == nil {
		a = in.addresses.PushBack(&address{prefix: w.client.address})
	}
	a.Value.(*address).waiters.PushBack(w)
	in.waiting++
	q.waiting++
}

// front returns the waiter whose turn it is, or nil.
func (q *queue) front() *waiter {
	if q.waiting == 0 {
		return nil
	}
	a := q.networks.Front().Value.(*network).addresses.Front().Value.(*address)
	return a.waiters.Front().Value.(*waiter)
}

// serve removes the front and moves its address and network to the back.
func (q *queue) serve() {
	n := q.networks.Front()
	a := n.Value.(*network).addresses.Front()
	n.Value.(*network).addresses.MoveToBack(a)
	q.networks.MoveToBack(n)
	q.remove(a.Value.(*address).waiters.Front().Value.(*waiter))
}

// remove removes w, which must be in the queue.
func (q *queue) remove(w *waiter) {
	n := q.network(w.client.network)
	in := n.Value.(*network)
	a := in.address(w.client.address)
	waiters := &a.Value.(*address).waiters
	for e := waiters.Back(); e != nil; e = e.Prev() {
		if e.Value == w {
			waiters.Remove(e)
			break
		}
	}
	if waiters.Len() == 0 {
		in.addresses.Remove(a)
	}
	if in.waiting--; in.waiting == 0 {
		q.networks.Remove(n)
	}
	q.waiting--
}

// longest returns the newest waiter of the address with the most waiters, in the
// network with the most. Among equals, the address of w, which must be in the queue,
// wins.
func (q *queue) longest(w *waiter) *waiter {
	n := q.network(w.client.network).Value.(*network)
	for e := q.networks.Front(); e != nil; e = e.Next() {
		if other := e.Value.(*network); other.waiting > n.waiting {
			n = other
		}
	}
	var a *address
	if own := n.address(w.client.address); own != nil {
		a = own.Value.(*address)
	}
	for e := n.addresses.Back(); e != nil; e = e.Prev() { // the last to have its turn first
		if other := e.Value.(*address); a == nil || other.waiters.Len() > a.waiters.Len() {
			a = other
		}
	}
	return a.waiters.Back().Value.(*waiter)
}

// network returns the element of a network, or nil. There are at most
// BudgetConfig.MaxWaiting of them.
func (q *queue) network(prefix netip.Prefix) *list.Element {
	for e := q.networks.Front(); e != nil; e = e.Next() {
		if e.Value.(*network).prefix == prefix {
			return e
		}
	}
	return nil
}

func (n *network) address(prefix netip.Prefix) *list.Element {
	for e := n.addresses.Front(); e != nil; e = e.Next() {
		if e.Value.(*address).prefix == prefix {
			return e
		}
	}
	return nil
}
