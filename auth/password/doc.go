// Package password hashes passwords with argon2id, verifies stored hashes, upgrades
// hashes of other schemes, and checks new passwords against a policy.
//
//	hasher, err := password.New(password.Config{
//		Imported: []password.Scheme{password.Bcrypt(12)}, // from the old system
//	})
//	…
//	user := users.ByLogin(login) // user.Hash is empty for an unknown login
//	ok, upgraded, err := hasher.Verify(password.WithClient(ctx, r.RemoteAddr), given, user.Hash)
//	switch {
//	case errors.Is(err, password.ErrMalformed), errors.Is(err, password.ErrUnsupported):
//		alarm(user, err) // and continue as for a wrong password
//	case err != nil:
//		return unavailable // 503: too many calls at once, or ctx has ended
//	}
//	if !ok {
//		return refused
//	}
//	if upgraded != "" {
//		users.ReplaceHash(user.ID, user.Hash, upgraded) // if it is still the old one
//	}
//
// New hashes are PHC strings, which other implementations of argon2 read. [Calibrate]
// proposes parameters for a machine. A [Policy] checks passwords when they are set.
//
// # Imported hashes
//
// Argon2id hashes of PHC, Django, Spring, OpenLDAP and Dovecot are always verified.
// Hashes of [Bcrypt], [BcryptSHA256], [PBKDF2SHA256] and [Scrypt] are verified if their
// scheme is listed in [Config.Imported]; each scheme documents its formats. For any other
// hash Verify returns an [ErrUnsupported] that names the scheme. Store an empty hash for
// users that Django marks by an exclamation mark.
//
// # Order
//
// Limit the size of the request and the number of attempts first. Check whether the
// user is disabled before the call, and pass an empty hash if so: checked afterwards,
// the time of the response could reveal that the password was right.
//
// # Budget
//
// One argon2id run takes 64 MiB by default. A [Budget] bounds the memory and processors
// of all calls of its Hashers. Calls beyond it wait until their context ends, and get
// [ErrBusy] if too many wait or one waits too long. Clients take turns; [WithClient]
// names the client of a call. A run that has begun is not cancelled.
//
// # Security considerations
//
// Every failed verification does the work of [Config.Argon2id] and of every scheme in
// [Config.Imported] at the listed cost, whether the user is unknown, the password is
// wrong, empty or too long, or the stored hash cannot be read. So the time of a failure
// does not reveal which users exist or which have an old hash. The exceptions: argon2id
// and scrypt hashes with parameters that are not listed are padded by blocks computed, a
// time that depends on caches and lanes by some percent; hashes stronger than configured or
// listed take longer; and the host must call [Hasher.Verify] with an empty hash for
// unknown users too.
//
// Parameters of stored hashes are checked against bounds before they are used: 256 MiB
// of memory (or what is configured, if more) and never more than the budget, 16 passes
// and lanes, a bcrypt cost of 16, 10,000,000 iterations of PBKDF2, and N × R × P of
// 8,388,608 for scrypt. A stored hash can cost seconds of a processor at these bounds,
// but can neither exhaust memory nor crash the process. An attacker who can write the
// table can sign in.
//
// Passwords are compared byte for byte, without Unicode normalisation. Passwords of more
// than 72 bytes or with a NUL match no bcrypt hash, see [Config.InsecureTruncate72].
// PBKDF2 and scrypt accept, for a password of more than 64 bytes, also its 32-byte
// SHA-256 digest (RFC 2104 section 2); passwords that end in a NUL match no hash
// of these.
//
// This package does not limit guesses, adds no pepper, and knows no breached passwords
// unless the host provides a list. Passwords are Go strings, so copies stay in memory.
package password
