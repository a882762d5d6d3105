// Package totp implements a second factor: six-digit codes of authenticator apps
// (TOTP, RFC 6238), recovery codes, and a guard that requires the factor.
//
//	keys, err := totp.NewKeyring(sealKey) // 32 random bytes
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
//	…
//	var server *auth.Server
//	factors, err := totp.New(store, keys, totp.Config{
//		Issuer: "Example",
//		VerifyPassword: func(ctx context.Context, p *identity.Principal, password string) error {
//			return server.VerifyPassword(ctx, p, password)
//		},
//	})
//	…
//	server, err = auth.New(users, tokens, auth.Config{SecondFactor: factors, Challenges: sessions, …})
//	…
//	mux := guard.NewMux(hooks, verifier)
//	mux.Handle("/2fa/setup/", factors.SetupHandler())     // POST: a QR code
//	mux.Handle("/2fa/confirm/", factors.ConfirmHandler()) // POST {"code":"123456","password":"…"}
//	mux.Handle("/2fa/verify/", server.StepUp())           // POST {"code":"123456"}
//	mux.Handle("DELETE /2fa/{$}", factors.DisableHandler())
//	mux.Handle("GET /vault", factors.Handler(vault))
//
// With a [Service] as SecondFactor, POST /token answers mfa_required for users with a
// factor, and POST /token/mfa accepts a code or a recovery code.
//
// # Life of a factor
//
// [Service.Begin] makes a pending secret; a session is enough for that.
// [Service.Confirm] makes it the factor, with its first code and a [Proof] that the
// user is present: the current password, a code of the active factor, or a one-time
// grant. [Service.Disable] and [Service.Regenerate] require a Proof too.
// [Service.Verify] uses codes up.
//
// Codes of the current 30 seconds and of the steps before and after are accepted,
// with Config.Strict codes of the current step only. Each code is accepted once,
// and no code of an earlier step after it, on any number of machines.
//
// # Guessing
//
// A wrong code or proof is counted before it is compared. Each makes the user wait,
// one second at first and then twice as long each time, up to Config.Forgive (4
// hours), after which one wrong attempt no longer counts. A right code does not shorten
// the waits. After Config.MaxFailures (100) wrong ones without a right code in
// between, nothing is accepted until [Service.Unlock].
//
// An attacker with the password thus gets 2204 guesses a year, each with a chance
// of 3 in a million: 0.66 %. [Config.Risk] computes this, and [New] refuses a Config
// above 1 %. The count belongs to the account: a new sign-in or another machine does
// not reset it, and it does not end sessions.
//
// # Order
//
// Handlers and [Service.Handler] run behind guard.Hooks.Identify or in a guard.Mux.
// Call Verify and VerifyFactor after the password or the session was verified;
// otherwise every client can make a user wait.
//
// # Security considerations
//
//   - Phishing: a page that imitates the application can relay a code. Passkeys
//     prevent that.
//   - A stolen session begins enrolments and nothing else. A stolen session together
//     with the password can replace the factor; leave Config.VerifyPassword nil and
//     use grants if that is too little.
//   - A factor does not raise the session that enrolled it, nor do recovery codes
//     the session that made them.
//   - Denial of service: an attacker with the password or a session can make the
//     user wait, and after 100 wrong codes until Unlock. A new password and the end
//     of all sessions stop the attacker.
//   - Reset and Unlock are the weakest way in: allow them to trained staff only.
//   - The store: secrets are sealed with AES-256-GCM for their user and purpose, and
//     recovery codes (120 random bits) are hashed. An attacker with write
//     access to the store can restore old records, with used codes and cleared counts.
//     An attacker with the store and the keys has every factor.
//   - The clock: a server with a clock that is wrong by a minute refuses all codes. Setting
//     it back makes no used code acceptable.
//   - [Memory] forgets all factors when the process ends, after which no user is
//     asked for one. It is for tests.
package totp
