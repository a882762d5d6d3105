package guard

// An Outcome is the result of an attempt to prove something with a password, a
// code or a key. Packages that check credentials pass it to the package that
// limits attempts.
type Outcome uint8

const (
	// Undecided means that the credentials were not checked, because a store
	// failed, the client disconnected or the machine was busy. It counts neither
	// as a failure nor as a success; otherwise a client could disconnect in time
	// to evade a limit.
	Undecided Outcome = iota

	// Failed means that the credentials were checked and rejected.
	Failed

	// Succeeded means that the credentials were accepted.
	Succeeded
)

// String returns the name of the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case Failed:
		return "failed"
	case Succeeded:
		return "succeeded"
	}
	return "undecided"
}
