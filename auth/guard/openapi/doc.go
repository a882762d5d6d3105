// Package openapi completes an OpenAPI 3.1 document with what the routes of a
// [guard.Mux] demand.
//
// The host writes the document: summaries, parameters, bodies, examples. [Merge]
// adds to each operation, from the route ledger, the security requirements, the
// responses of refusals and limits, and the extension x-requirements with roles,
// permissions, factors, checks and limits. It adds the security schemes and the
// responses to the components. What the guards demand is then written once.
//
//	document, err := openapi.Merge(written, mux.Routes(), openapi.Config{
//		Schemes: []openapi.Scheme{
//			openapi.PasswordFlow("password", "/token", "/token/refresh", map[string]string{"read:items": "Read items"}),
//			openapi.HeaderKey("key", "ApiKey", "X-API-Key"),
//		},
//	})
//
// A test of the host calls [Diff] with the merged document: it returns a line for
// each route that the document lacks, for each operation without a route, and for
// each security requirement or response that differs.
//
// The document tells readers which rights a route needs. Publish it where that is
// meant to be known. Nothing here refuses a request; the guards do.
package openapi
