// Package password hashes passwords with argon2id, verifies and upgrades stored
// hashes, and checks new passwords against a policy.
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
// New hashes are PHC strings. Argon2id hashes of PHC, Django, Spring, OpenLDAP and
// Dovecot are always verified, other schemes if [Config.Imported] lists them. Store
// an empty hash for users that Django marks by an exclamation mark.
//
// # Order
//
// Limit the size of requests and the number of attempts first. For disabled users,
// call Verify with an empty hash; a later check could reveal that the password was
// right.
//
// # Security considerations
//
// Every failed verification does the work of [Config.Argon2id] and of all schemes in
// [Config.Imported], so that its time reveals neither which users exist nor whose
// hash is old. Exceptions: the work for unlisted parameters of argon2id and scrypt
// differs by some percent, and hashes stronger than configured or listed take longer.
//
// Stored parameters have bounds: 256 MiB (or the configured memory, if more), never
// more than the budget; 16 passes and lanes; a bcrypt cost of 16; 10,000,000
// iterations of PBKDF2; N × R × P of 8,388,608 for scrypt. A stored hash can cost
// seconds of a processor, but cannot exhaust memory. An attacker who can write the
// table can sign in.
//
// Passwords are compared byte for byte, without Unicode normalisation. Passwords of
// more than 72 bytes or with a NUL match no bcrypt hash (see
// [Config.InsecureTruncate72]). PBKDF2 and scrypt hashes of a password of more than
// 64 bytes also match its SHA-256 digest (RFC 2104 section 2); passwords that end in
// a NUL match no such hash.
//
// This package does not limit guesses, measure strength, or add a pepper; lists of
// breached passwords are the host's. Passwords are Go strings, so copies stay in
// memory.
package password
