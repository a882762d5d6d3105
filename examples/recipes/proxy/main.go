// Command proxy is a service behind nginx or Caddy, which speak TLS for it; see
// nginx.conf and Caddyfile. It believes their X-Forwarded headers and nobody else's,
// so that limits, logs and redirects have the client's address and scheme.
//
//	go -C examples run ./recipes/proxy -proxy 127.0.0.1 -host app.example.com
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/ratelimit"
)

func main() {
	proxy := flag.String("proxy", "127.0.0.1", "`address` or prefix of the proxy")
	host := flag.String("host", "app.example.com", "`name` of the site")
	flag.Parse()
	listener := must(net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080")))
	hooks := guard.Hooks{Observe: guard.Log(slog.Default())}

	limit := must(ratelimit.New(ratelimit.ByIP, ratelimit.Config{Hooks: hooks}, ratelimit.MustParse("5/minute")...))
	mux := guard.NewMux(hooks)
	mux.Handle("GET /whoami", guard.Public("an example")(limit.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s by %s at %s\n", r.RemoteAddr, guard.Scheme(r), r.Host)
	}))))

	// The outermost is last: proxies, headers, hosts, HTTPS, routes.
	var h http.Handler = mux
	h = must(headers.NewRedirectHTTPS(headers.HTTPSConfig{Hooks: hooks})).Handler(h)
	h = must(headers.NewTrustedHosts([]string{*host}, headers.HostsConfig{Hooks: hooks})).Handler(h)
	h = must(headers.New(headers.Config{})).Handler(h)
	h = must(headers.NewTrustedProxies([]string{*proxy}, headers.ProxiesConfig{Hooks: hooks})).Handler(h)

	fmt.Printf("listening on http://%s\n", listener.Addr())
	server := http.Server{Handler: h, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	check(server.Serve(listener))
}

func must[T any](v T, err error) T { check(err); return v }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
