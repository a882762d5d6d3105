// Package totp implements a second factor: codes of authenticator apps (TOTP, RFC
// 6238), recovery codes, and a guard that requires the factor.
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
//	mux.Handle("/2fa/setup/", factors.SetupHandler())     // POST: a QR code
//	mux.Handle("/2fa/confirm/", factors.ConfirmHandler()) // POST {"code":"123456","password":"…"}
//	mux.Handle("/2fa/verify/", server.StepUp())           // POST {"code":"123456"}
//	mux.Handle("DELETE /2fa/{$}", factors.DisableHandler())
//	mux.Handle("GET /vault", factors.Handler(vault))
//
// [Service.Begin] makes a pending secret. [Service.Confirm] makes it the user's factor,
// given one of its codes and a [Proof]. POST /token then answers mfa_required, and POST
// /token/mfa accepts a code or a recovery code.
//
// Codes of the current 30-second step and of the steps before and after are accepted.
// Each code is accepted once, and no earlier code after it, on any number of machines.
//
// # Order
//
// Handlers and [Service.Handler] run behind guard.Hooks.Identify or in a guard.Mux.
// Call Verify and VerifyFactor only after the password or the session was verified:
// wrong codes make the user wait.
//
// # Security considerations
//
//   - Guessing: wrong codes and proofs count per account, before they are compared.
//     The waits grow from 1 second to 4 hours, and a right code does not shorten them.
//     After 100 failures in a row the factor is locked until Unlock. An attacker with
//     the password guesses a code within a year with a probability of 0.66 %; see
//     [Config.Risk].
//   - Phishing: an imitated page can relay a code. Passkeys prevent that.
//   - A stolen session can only begin enrolments. With the password it can replace the
//     factor; to prevent that, use grants and leave Config.VerifyPassword nil.
//   - A session is not raised by a factor or recovery codes that were made in it.
//   - Denial of service: an attacker with the password or a session can make the user
//     wait, or lock the factor until Unlock. To stop the attacker, change the password
//     and end all sessions.
//   - Reset and Unlock bypass the factor: restrict them to trained staff.
//   - Secrets are sealed with AES-256-GCM for their user and purpose, and recovery codes
//     (120 random bits) are hashed. Write access to the store can restore old records,
//     with used codes and cleared counts. The store and the keys reveal every factor.
//   - A server clock that is wrong by a minute refuses all codes. Setting it back makes
//     no used code acceptable.
//   - [Memory] is for tests: it forgets all factors when the process ends.
package totp
