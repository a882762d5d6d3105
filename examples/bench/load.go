package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A load is what a server did under a number of connections that each send the next
// request when the response has come.
type load struct {
	server, protocol string
	connections      int
	perSecond        float64
	p50, p99, p999   time.Duration
	bytes, allocs    float64 // of the server, per request
}

// loadServers are the servers that are compared. Each is a process of its own.
var loadServers = []string{"bare", "bare, same headers", "peers", "gatewright"}

// newLoadServer returns the handler of a server, and a token that it accepts.
func newLoadServer(name string) (http.Handler, string, error) {
	ours := newChain()
	bare, same := newBare(ours)
	switch name {
	case "bare":
		return bare, ours.good, nil
	case "bare, same headers":
		return same, ours.good, nil
	case "peers":
		peers := newPeersChain()
		return peers.handler, peers.good, peers.check()
	case "gatewright":
		return ours.handler, ours.good, ours.check()
	}
	return nil, "", fmt.Errorf("there is no server %q", name)
}

// serveLoad is the process of a server. It prints the addresses of its listeners for
// HTTP and HTTPS and the token, answers each line of its input with its counters, and
// ends with its input.
func serveLoad(name string) error {
	handler, signed, err := newLoadServer(name)
	if err != nil {
		return err
	}
	var requests, sent atomic.Int64
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler.ServeHTTP(w, r)
	})
	plain := httptest.NewUnstartedServer(counted)
	plain.Listener = countingListener{plain.Listener, &sent}
	plain.Start()
	defer plain.Close()
	secured := httptest.NewUnstartedServer(counted)
	secured.Listener = countingListener{secured.Listener, &sent}
	secured.EnableHTTP2 = true
	secured.StartTLS()
	defer secured.Close()
	fmt.Println(plain.Listener.Addr(), secured.Listener.Addr(), signed)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Println(requests.Load(), sent.Load(), m.Mallocs)
	}
	return nil
}

type countingListener struct {
	net.Listener
	sent *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countingConn{c, l.sent}, err
}

type countingConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// loads measures every server with each protocol and number of connections for the
// given time.
func loads(span time.Duration, connections []int, report func(load)) error {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		for _, n := range connections {
			for _, server := range loadServers {
				l, err := measure(server, protocol, n, span)
				if err != nil {
					return fmt.Errorf("%s, %s, %d connections: %w", server, protocol, n, err)
				}
				report(l)
			}
		}
	}
	return nil
}

func measure(server, protocol string, connections int, span time.Duration) (load, error) {
	l := load{server: server, protocol: protocol, connections: connections}
	ctx, cancel := context.WithTimeout(context.Background(), span+time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, must(os.Executable()), "-serve", server)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		return l, err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return l, err
	}
	if err := child.Start(); err != nil {
		return l, err
	}
	defer func() {
		in.Close()
		_ = child.Wait()
	}()
	answers := bufio.NewReader(out)
	var plain, secured, signed string
	if _, err := fmt.Fscanln(answers, &plain, &secured, &signed); err != nil {
		return l, fmt.Errorf("the server did not start: %w", err)
	}
	counters := func() (requests, sent, mallocs float64, err error) {
		if _, err = fmt.Fprintln(in); err == nil {
			_, err = fmt.Fscanln(answers, &requests, &sent, &mallocs)
		}
		return
	}
	clients := make([]func() error, connections)
	for i := range clients {
		var end func()
		if protocol == "HTTP/2" {
			clients[i], end = overHTTP2(secured, signed)
		} else if clients[i], end, err = overHTTP1(plain, signed); err != nil {
			return l, err
		}
		defer end()
	}
	run := func(span time.Duration) ([]time.Duration, error) {
		var wg sync.WaitGroup
		times, errs := make([][]time.Duration, connections), make([]error, connections)
		end := time.Now().Add(span)
		for i, send := range clients {
			wg.Go(func() {
				for begun := time.Now(); begun.Before(end); {
					if errs[i] = send(); errs[i] != nil {
						return
					}
					now := time.Now()
					times[i] = append(times[i], now.Sub(begun))
					begun = now
				}
			})
		}
		wg.Wait()
		return slices.Concat(times...), errors.Join(errs...)
	}
	if _, err := run(span / 4); err != nil { // connections, caches
		return l, err
	}
	requests, sent, mallocs, err := counters()
	if err != nil {
		return l, err
	}
	begun := time.Now()
	times, err := run(span)
	took := time.Since(begun)
	if err != nil {
		return l, err
	}
	requests2, sent2, mallocs2, err := counters()
	if err != nil {
		return l, err
	}
	slices.Sort(times)
	at := func(part float64) time.Duration { return times[int(part*float64(len(times)-1))] }
	l.perSecond, l.p50, l.p99, l.p999 = float64(len(times))/took.Seconds(), at(0.5), at(0.99), at(0.999)
	n := requests2 - requests
	l.bytes, l.allocs = (sent2-sent)/n, (mallocs2-mallocs)/n
	return l, nil
}

// overHTTP1 returns a function that sends a request over one connection and reads
// the response. It does as little as a client can, so that the server is measured.
func overHTTP1(addr, signed string) (send func() error, end func(), _ error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	request := []byte("GET /items/ HTTP/1.1\r\nHost: " + chainHost + "\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\nAuthorization: Bearer " + signed + "\r\n\r\n")
	in := bufio.NewReaderSize(conn, 8<<10)
	return func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		length := 0
		for i := 0; ; i++ {
			line, err := in.ReadSlice('\n')
			switch {
			case err != nil:
				return err
			case i == 0 && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")):
				return fmt.Errorf("the response is %q", line)
			case len(line) == 2:
				_, err := in.Discard(length)
				return err
			}
			if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				if length, err = strconv.Atoi(strings.TrimSpace(string(value))); err != nil {
					return err
				}
			}
		}
	}, func() { conn.Close() }, nil
}

// overHTTP2 is overHTTP1 with net/http's client.
func overHTTP2(addr, signed string) (send func() error, end func()) {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the server's own certificate, on the loopback interface
	request := must(http.NewRequest("GET", "https://"+addr+"/items/", nil))
	request.Host = chainHost
	request.Header.Set("Authorization", "Bearer "+signed)
	request.Header.Set("X-Forwarded-For", "198.51.100.7")
	request.Header.Set("X-Forwarded-Proto", "https")
	return func() error {
		resp, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err == nil && (resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2) {
			err = fmt.Errorf("the response is %s %s", resp.Proto, resp.Status)
		}
		return err
	}, transport.CloseIdleConnections
}
