// Package totp is a second factor: the six-digit codes of authenticator apps
// (TOTP, RFC 6238), recovery codes for the day the phone is lost, and the guard
// that asks for it.
//
//	keys, err := totp.NewKeyring(sealKey)                           // 32 random bytes
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
//	…
//	factors, err := totp.New(store, keys, totp.Config{Issuer: "Example", VerifyPassword: verify, Hooks: hooks})
//	…
//	mux := guard.NewMux(hooks, tokens) // tokens is a guard.Authenticator
//	mux.Handle("/2fa/setup/", factors.SetupHandler())     // POST: a QR code
//	mux.Handle("/2fa/confirm/", factors.ConfirmHandler()) // POST {"code":"123456","password":"…"}: recovery codes
//	mux.Handle("/2fa/verify/", signIn.StepUp())           // of package auth
//	mux.Handle("DELETE /2fa/{$}", factors.DisableHandler())
//	mux.Handle("GET /vault", factors.Handler(vault))
//
// A [Service] is the SecondFactor of package auth: with it, POST /token answers
// mfa_required to those who have a factor, and POST /token/mfa takes a code or a
// recovery code.
//
//	auth.Config{SecondFactor: factors, Challenges: sessions, …}
//
// # Life of a factor
//
// [Service.Begin] makes a pending secret, for which a session is enough.
// [Service.Confirm] makes it the factor, with its first code and a [Proof] that
// the user is present: the current password, a code of the active factor, or a
// one-time grant. [Service.Disable] and [Service.Regenerate] need a Proof too: a
// session, which may be stolen, is not enough. [Service.Verify] uses codes up.
//
// All of it is one [Record] for each user, which is changed by compare-and-set:
// a [Store] has two methods, and totptest.Run proves that it keeps the rules.
//
// # Which codes are good
//
// Those of the current 30 seconds, of the step before and of the step after;
// with Config.Strict the current one only. Each step is good once, and with it
// all before: the last step used is kept with the record, so that of any number
// of requests with one code, on any number of machines, one succeeds. The code
// that confirms an enrolment is used up by that.
//
// Spaces and dashes are ignored, since apps show "123 456". Anything else that is
// not an ASCII digit is refused, digits of other scripts too. What cannot be a
// code is not counted as an attempt, nor is a code for a user without a factor.
//
// # Guessing
//
// A code is one of a million, so it is the limit on guesses that protects. An
// attempt is counted, and the count saved, before the code is compared. Each
// wrong code makes the user wait, one second at first and twice as long each
// time, whatever they try with: codes, recovery codes, to sign in or to change
// the factor. Each Config.Forgive (4 hours) one wrong code no longer counts. A
// right code does not shorten the waits: or else whoever has the password could
// guess on after each sign-in of the owner. After 100 wrong codes without a
// right one in between nothing is taken until [Service.Unlock].
//
// So for whoever has the password there are 2204 guesses a year, each with a
// chance of 3 in a million: 0.66 %. [Config.Risk] computes it, and [New] refuses
// a Config above 1 %.
//
// The count is the account's. To begin the sign-in anew does not reset it, and
// it says nothing of sessions: who is signed in stays so.
//
// # Order
//
// Handlers and [Service.Handler] run behind guard.Hooks.Identify or in a
// guard.Mux. Verify, and VerifyFactor, come after the password or the session
// was found good: a wrong code counts against the user, so nobody else should be
// able to give one.
//
// # Security considerations
//
// TOTP does not protect against phishing: a page that looks like the
// application's can ask for a code and use it at once. Passkeys do.
//
// Whoever has the password, or a session, can make the owner wait, up to
// Config.Forgive, and after 100 wrong codes until somebody unlocks the account.
// A new password, with all sessions ended, stops that, and Unlock ends the waits.
// The host decides who may ask for Unlock and Reset, which is the weakest way in.
// Attempts from one address are for a limit on the route: a count of the account
// does not see them.
//
// The secrets are sealed with AES-256-GCM for their user and their purpose, so
// who reads the store cannot make codes, and who writes it cannot give one user
// the secret of another. Who writes it can put back an old record, and with it
// used codes and cleared counts. Who has both the store and the key has every
// factor. Recovery codes are 120 random bits, of which a SHA-256 hash is kept.
//
// The clock of the server decides. One that is wrong by a minute refuses
// everybody; one that is set back does not make used codes good again.
//
// [Memory] forgets all factors when the process ends, and then nobody is asked
// for one: it is for tests.
package totp
