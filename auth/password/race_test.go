//go:build race

package password_test

// raceDetector tells whether the test binary has the race detector, whose own
// memory hides that of the program.
const raceDetector = true
