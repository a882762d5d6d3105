package guard

// An Outcome is the result of an attempt with a password, a code or a key.
type Outcome uint8

const (
	// Undecided means that the credentials were not checked, because a store
	// failed, the client disconnected or the machine was busy. It counts neither as
	// a failure nor as a success; otherwise a client could evade a limit by
	// disconnecting in time.
	Undecided Outcome = iota

	// Failed means that the credentials were checked and rejected.
	Failed

	// Succeeded means that the credentials were accepted.
	Succeeded
)

// String returns the name in lower case.
func (o Outcome) String() string {
	switch o {
	case Failed:
		return "failed"
	case Succeeded:
		return "succeeded"
	}
	return "undecided"
}
