// Package browser has the tests that open the reference server in a real Chromium:
// its page, Swagger UI, and pages of other origins. It has no other code.
//
// Without Chromium the tests are skipped; with GATEWRIGHT_REQUIRE_BROWSER=1 they
// fail. The test of accessibility also needs axe-core, which "npm ci" installs in
// this folder.
package browser
