package token_test

import (
	"testing"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/token"
)

func TestCacheUseCountsValidTokensOnly(t *testing.T) {
	ring := kits()[token.ES256].ring
	warm, cold := twin(t, ring)
	good := issue(t, newIssuer(t, ring), identity.Principal{}, nil)
	for range 3 {
		for _, v := range []*token.Verifier{warm, cold} {
			if _, err := v.Verify(t.Context(), good); err != nil {
				t.Fatal(err)
			}
			v.Verify(t.Context(), good+"x")
		}
	}
	if hits, misses := warm.CacheUse(); hits != 2 || misses != 1 {
		t.Errorf("%d hits and %d misses, want 2 and 1", hits, misses)
	}
	if hits, misses := cold.CacheUse(); hits != 0 || misses != 0 {
		t.Errorf("without a cache: %d hits and %d misses", hits, misses)
	}
}
