package guard

// An Outcome is how an attempt to prove something ended: what a package that
// checks credentials tells whoever limits the attempts.
type Outcome uint8

const (
	// Undecided means that the credentials were not judged. A store was
	// down, the client hung up, the machine was too busy. It counts neither
	// as a failure nor as a success, or hanging up in time would be a way
	// around limits, or into the trust that a success earns.
	Undecided Outcome = iota

	// Failed means that they were judged and found wanting.
	Failed

	// Succeeded means that they were good.
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
