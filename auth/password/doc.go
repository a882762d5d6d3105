// Package password hashes the passwords of users with argon2id, verifies what
// is stored, replaces hashes that were made elsewhere or are too weak, and
// judges the passwords that users choose.
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
// [Calibrate] proposes the parameters of new hashes for a machine, and a
// [Policy] says which passwords are accepted when one is set or changed:
//
//	policy, err := password.NewPolicy(password.PolicyConfig{Blocklist: breached})
//	…
//	if err := policy.Check(chosen, "Gatewright", user.Login, user.Mail); err != nil {
//		return badRequest(err.Error()) // whole sentences for the user
//	}
//
// # Imported hashes
//
// A table of another application is taken over as it is. These spellings are
// read; what is not listed in [Config.Imported] is an [ErrUnsupported], whose
// text says what to list.
//
//	listed as            Django                     passlib                               others
//	always               argon2$argon2id$v=19$…     $argon2id$v=19$…                      the same: PHC strings
//	Bcrypt(12)           bcrypt$$2b$12$…            $2b$12$…                              $2a$12$…, $2y$12$…
//	BcryptSHA256(12)     bcrypt_sha256$$2b$12$…     $bcrypt-sha256$v=2,t=2b,r=12$…
//	                                                $bcrypt-sha256$2b,12$…
//	PBKDF2SHA256(1e6)    pbkdf2_sha256$1000000$…    $pbkdf2-sha256$29000$…
//	Scrypt{14, 8, 5}     scrypt$16384$salt$8$5$…    $scrypt$ln=16,r=8,p=1$…               the same: PHC strings
//
// The named parameters of a PHC string may come in any order. Hashes of WordPress,
// Werkzeug, Spring Security, Dovecot, OpenLDAP and Jenkins are read as far as they
// are of these functions; see each scheme for its spellings. A hash of another
// scheme is an [ErrUnsupported] that names it: LDAP's {SSHA}, ASP.NET, phpass,
// sha512crypt and so on.
//
// Django marks a user without a password by an exclamation mark with random
// characters behind. Make that an empty hash.
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
// bcrypt cannot take, and for a stored hash that cannot be read. A hash of
// bcrypt or PBKDF2 of a lower cost than the listed one is padded with runs that
// sum up to it exactly, and so is one of scrypt with the same R. All of it is
// run one after the other, under a permit of one size. What differs still:
//
//   - An argon2id hash whose parameters are not listed is padded to the same
//     number of blocks computed. How long a block takes depends on the caches
//     and, where there are processors for them, on the lanes: under a default
//     of 4 lanes, 19 MiB with 2 passes and 1 lane came to some 5 to 15 % more
//     on 2 cores. List such parameters, and it is exact.
//   - A hash of scrypt whose N or R is not the listed one is padded to the same
//     number of blocks, which the caches make faster or slower too.
//   - A hash that is stronger than what is configured or listed takes longer,
//     and may take a larger permit.
//   - Each run that pads a cheaper bcrypt hash sets up anew. That came to 31 µs
//     in 2.1 ms for a hash of cost 4 where 5 was listed, and is some hundred
//     times less beside the time that cost 12 takes.
//   - A right password is answered without the schemes that come after it.
//     Nobody sees that time who does not have the password, but see the section
//     on order.
//   - What the host does before and after is its own: it must call
//     [Hasher.Verify] for unknown users too, with an empty hash.
//
// Stored hashes are read strictly, and their parameters are compared with
// bounds before any of them is used: memory of at most 256 MiB, or what is
// configured if that is more, and never more than the budget; 16 passes and
// lanes; a bcrypt cost of 16; 10,000,000 iterations of PBKDF2; and for scrypt
// N × R × P of 8,388,608. A row of the table can neither crash the process nor
// exhaust it. It can still cost seconds of a processor at these bounds.
// Whoever can write to the table can put in a hash of a password they know.
//
// Bcrypt looks at the first 72 bytes of a password, and repeats shorter ones
// with a NUL in between. Passwords of more than 72 bytes, or with a NUL, match
// no bcrypt hash here, unless [Config.InsecureTruncate72] lifts the first of
// these rules. Bcrypt over a digest, which is BcryptSHA256, takes any password
// as a whole. No new hash is bcrypt.
//
// PBKDF2 and scrypt have the password for the key of an HMAC, which fills it up
// with NULs to 64 bytes, and takes a digest of it when it is longer (RFC 2104
// section 2). So a password with a NUL at the end that HMAC would not see
// matches none of their hashes here. The other case stands: whoever knows the
// 32 bytes that are the SHA-256 of a password of more than 64 bytes can sign in
// with them instead, until the hash is replaced.
//
// Passwords are taken byte for byte. They are not trimmed, case-folded or
// brought into a Unicode normal form, so a host that wants the latter does so
// itself, in all places and from the first day.
//
// A [Policy] blocks what it is given and some obvious things. It knows no
// breached passwords by itself, it asks no service about them (ASVS 5.0 6.2.12
// wants a larger set than 3000 from level 2 on), and it does not measure
// strength: "aaaaaaaaaaaaaab" is accepted, if it is on no list.
//
// What this package does not do: it does not limit guesses, and it adds no
// pepper, so the hashes of weak passwords are guessed once they are stolen.
// Passwords are Go strings, of which copies stay in memory until it is used
// again.
//
// # Costs
//
// On a 2-core AMD EPYC VM, Go 1.26, November 2026, with default parameters:
//
//	Hash, and Verify without imported schemes    60 ms    64 MiB
//	Verify that fails, with Bcrypt(12) imported  250 ms   64 MiB
//	Verify that upgrades from bcrypt of cost 12  250 ms   64 MiB
//	what is more, with BcryptSHA256(12) imported 190 ms
//	… with Bcrypt(12) besides it                 nothing
//	… with PBKDF2SHA256(1_000_000) of Django     140 ms
//	… with Scrypt{14, 8, 5} of Django            130 ms   16 MiB
//	… with Argon2id{102400, 2, 8} of Django      70 ms    100 MiB
//	a stored hash at the bounds: PBKDF2          1.5 s
//	… scrypt                                     2 s      128 MiB
//	… bcrypt                                     3 s
//	Policy.Check, a blocklist of 100,000         1.3 µs
//	Verify that is refused with ErrBusy          0.5 µs
//	all that is not hashing                      0.8 µs
//
// Two at once share the processors: such a machine signs in 16 users a second.
package password
