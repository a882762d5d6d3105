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
// POST /token then answers mfa_required for users with a factor, and POST
// /token/mfa accepts a code or a recovery code.
//
// [Service.Begin] makes a pending secret, for which a session is enough.
// [Service.Confirm] makes it the factor, with its first code and a [Proof] that the
// user is present. Handlers and [Service.Handler] run behind guard.Hooks.Identify
// or in a guard.Mux.
//
// # Guessing
//
// A wrong code or proof is counted before it is compared. Each doubles the wait,
// from one second to four hours. After 100 wrong ones without a right code in
// between, nothing is accepted until [Service.Unlock]. The count belongs to the
// account: a new sign-in or another machine does not reset it. An attacker with the
// password thus has 2204 guesses a year and succeeds with a probability of 0.66 %;
// see [Config.Risk].
//
// Each code is accepted once, and no code of an earlier step after it, on any
// number of machines.
//
// # Security considerations
//
//   - Phishing: a page that imitates the application can relay a code. Passkeys
//     prevent that.
//   - A stolen session begins enrolments and nothing else. Together with the
//     password it can replace the factor; to prevent that, leave
//     Config.VerifyPassword nil and use grants.
//   - A factor does not raise the session that enrolled it, nor do recovery codes
//     the session that made them.
//   - Denial of service: an attacker with the password or a session can make the
//     user wait, and after 100 wrong codes until Unlock. A new password and the end
//     of all sessions stop the attacker. Call Verify only after the password or the
//     session was verified; otherwise every client can make a user wait.
//   - Reset and Unlock are the weakest way in: allow them to trained staff only.
//   - The store: secrets are sealed with AES-256-GCM for their user and purpose, and
//     recovery codes (120 random bits) are hashed. An attacker with write access can
//     restore old records, with used codes and cleared counts; with the store and the
//     keys, the attacker has every factor.
//   - The clock: a server with a clock that is wrong by a minute refuses all codes.
//     Setting it back makes no used code acceptable.
//   - [Memory], for tests, forgets all factors when the process ends.
package totp
