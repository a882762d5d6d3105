package main

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/gatewright/gatewright/auth/guard"
)

// walk adds every route of r to the ledger, as chi.Walk(r, ledger.Add) does. Before chi
// 5.3, chi.Walk leaves out the middlewares of a Group around a Route or a Mount, so
// routes that such a Group guards would be refused.
func walk(ledger *guard.Ledger, r chi.Routes, prefix string, outer ...func(http.Handler) http.Handler) {
	outer = slices.Concat(outer, r.Middlewares())
	for _, route := range r.Routes() {
		for method, h := range route.Handlers {
			middlewares := outer
			if chain, ok := h.(*chi.ChainHandler); ok {
				h, middlewares = chain.Endpoint, slices.Concat(outer, chain.Middlewares)
			}
			if route.SubRoutes != nil {
				walk(ledger, route.SubRoutes, prefix+strings.TrimSuffix(route.Pattern, "/*"), middlewares...)
				break // the handler is the same for all methods
			}
			if method != "*" { // also listed by method
				ledger.Add(method, prefix+route.Pattern, h, middlewares...)
			}
		}
	}
}
