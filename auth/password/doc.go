// Package password hashes the passwords of users with argon2id, verifies what
// is stored, and replaces hashes that were made elsewhere or are too weak.
//
//	hasher, err := password.New(password.Config{
//		Imported: []password.Scheme{password.Bcrypt(12)}, // from the old system
//	})
//	…
//	user := users.ByLogin(login) // user.Hash is empty for an unknown one
//	ok, upgraded, err := hasher.Verify(ctx, given, user.Hash)
//	switch {
//	case errors.Is(err, password.ErrMalformed), errors.Is(err, password.ErrUnsupported):
//		alarm(user, err) // and go on as if the password was wrong
//	case err != nil:
//		return unavailable // 503: too many at once, or the request has ended
//	}
//	if !ok {
//		return refused
//	}
//	if upgraded != "" {
//		users.ReplaceHash(user.ID, user.Hash, upgraded) // if it is still the old one
//	}
//
// New hashes are PHC strings, as the other implementations of argon2 read and
// write them, so they can be taken elsewhere again.
//
// # Order
//
// Limit the size of the request's body and the number of attempts before a
// password gets here: each one that does costs a sixteenth of a second of all
// processors. Ask whether the user is disabled before as well, and if so pass
// an empty hash; asked afterwards, the time of the answer can tell that the
// password was right.
//
// # Budget
//
// Argon2id is made to take memory: 64 MiB for each password being hashed, by
// default. Nothing else bounds how many of them a server works on at once, so
// each Hasher has a [Budget] of memory and of processors, and several share
// one when it is given to each of them. Calls beyond it wait in the order in
// which they came, until their context ends or [BudgetConfig.MaxWait] is over.
// When [BudgetConfig.MaxWaiting] are waiting, the next gets [ErrBusy] at once.
//
// A verification takes one permit, for the largest of its runs, and has no more
// waiting to do once it has it. It runs on the goroutine of its caller, and the
// permit goes back when the work is done and not when the request ends, for
// argon2 cannot be stopped. So a call returns as soon as its context ends
// while it waits, and at the end of the work when that has begun.
//
// The budget counts what is in use. The garbage collector has about as much
// again in hand: 200 sign-ins at the same time, with a budget of 192 MiB and
// GOMEMLIMIT=512MiB, made a process of 391 MiB.
//
// # Security considerations
//
// Time. Whoever can tell failed sign-ins apart learns which users exist, and
// which of them have an old hash that is easier to guess. So each verification
// that fails runs argon2id with the parameters of [Config.Argon2id], and every
// scheme of [Config.Imported] at the cost listed: for a user who is unknown or
// without a password, for a password that is wrong, empty, too long, or that
// bcrypt cannot take, and for a stored hash that cannot be read. A bcrypt hash
// of a lower cost than the listed one is padded with runs that sum up to it
// exactly. All of it is run one after the other, under a permit of one size.
// What differs still:
//
//   - An argon2id hash whose parameters are not listed is padded to the same
//     number of blocks computed. How long a block takes depends on the caches
//     and, where there are processors for them, on the lanes: under a default
//     of 4 lanes, 19 MiB with 2 passes and 1 lane came to some 5 to 15 % more
//     on 2 cores. List such parameters, and it is exact.
//   - A hash that is stronger than what is configured or listed takes longer,
//     and may take a larger permit.
//   - A right password is answered without the other schemes. Nobody sees
//     that time who does not have the password, but see the section on order.
//   - What the host does before and after is its own: it must call
//     [Hasher.Verify] for unknown users too, with an empty hash.
//
// Stored hashes are read strictly, and their parameters are compared with
// bounds before any of them is used: memory of at most 256 MiB, or what is
// configured if that is more, and never more than the budget; 16 passes and
// lanes; a bcrypt cost of 16. A row of the table can neither crash the process
// nor exhaust it. It can still cost seconds of a processor at these bounds.
// Whoever can write to the table can put in a hash of a password they know.
//
// Bcrypt looks at the first 72 bytes of a password, and repeats shorter ones
// with a NUL in between. Passwords of more than 72 bytes, or with a NUL, match
// no bcrypt hash here, unless [Config.InsecureTruncate72] lifts the first of
// these rules. No new hash is bcrypt.
//
// Passwords are taken byte for byte. They are not trimmed, case-folded or
// brought into a Unicode normal form, so a host that wants the latter does so
// itself, in all places and from the first day.
//
// What this package does not do: it does not judge passwords (length, lists of
// breached ones), it does not limit guesses, and it adds no pepper, so the
// hashes of weak passwords are guessed once they are stolen. Passwords are Go
// strings, of which copies stay in memory until it is used again.
//
// # Costs
//
// On a 2-core AMD EPYC VM, Go 1.26, November 2026, with default parameters:
//
//	Hash, and Verify without imported schemes    60 ms    64 MiB
//	Verify that fails, with Bcrypt(12) imported  250 ms   64 MiB
//	Verify that upgrades from bcrypt of cost 12  250 ms   64 MiB
//	Verify that is refused with ErrBusy          0.5 µs
//	all that is not hashing                      0.5 µs
//
// Two at once share the processors: such a machine signs in 16 users a second.
package password
