//go:build race

package main

// The race detector allocates too.
func init() { raceDetector = true }
