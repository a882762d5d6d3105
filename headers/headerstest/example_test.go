package headerstest_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/gatewright/gatewright/headers"
	"github.com/gatewright/gatewright/headers/headerstest"
)

// Why can the page not read the response?
func ExampleExplain() {
	cors, err := headers.NewCORS([]string{"https://app.example.com"}, headers.CORSConfig{})
	if err != nil {
		log.Fatal(err)
	}
	server := cors.Handler(http.NotFoundHandler())
	for _, origin := range []string{"https://app.example.com", "http://app.example.com"} {
		r := httptest.NewRequest("GET", "https://api.example.com/items", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Authorization", "Bearer …")
		fmt.Println(headerstest.Explain(server, r, false))
	}
	// Output:
	// allowed after a preflight: Access-Control-Allow-Origin is "https://app.example.com"
	// refused after a preflight: preflight: there is no Access-Control-Allow-Origin
}
