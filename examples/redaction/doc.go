// Package redaction has one test: no exported type of the library shows a secret,
// whatever prints or encodes it.
package redaction
