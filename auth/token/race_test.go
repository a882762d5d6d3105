//go:build race

package token_test

// raced is whether the race detector runs, which makes signing ten times as
// slow: what only counts then has fewer rounds.
const raced = true
