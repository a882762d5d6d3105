// Package ticket sends single-use secrets by mail and accepts them: to reset a
// password, to verify or change an address, to sign in, and to accept an invitation.
//
//	tickets, err := ticket.New(store, users, ticket.Config{
//		Base: "https://example.com/account/", Issuer: "https://example.com",
//		Keys: []guard.Secret{guard.NewSecret(key)}, Deliver: sendMail,
//		Limit: func(ctx context.Context, key string) error {
//			_, err := perAddress.Reserve(ctx, 1, key)
//			return err
//		},
//		CheckPassword: policy, EndSessions: endSessions,
//	})
//	mux.Handle("POST /forgot", perClient.Handler(tickets.Request(ticket.ResetPassword)))
//	mux.Handle("GET /account/reset-password", tickets.Page(ticket.ResetPassword))
//	mux.Handle("POST /account/reset-password", tickets.Use(ticket.ResetPassword))
//	defer tickets.Close(ctx)
//
// [Service.Prove] verifies a sign-in link or code; package auth opens the session.
//
// # Order
//
// Limits by client address stand in front of [Service.Request], and the middleware that
// identifies the caller in front of handlers that demand one.
//
// # Verification
//
// A ticket passes once, before it expires, for its own purpose, while the user's
// password, address, tenant and disabled flag are unchanged. Sign-in links pass in the
// browser that requested them, links to verify or change an address in the session that
// did. A code passes in five tries; a user may have 25 wrong codes in 30 days.
//
// A link opens a page that does nothing until the user clicks, and has the secret in its
// fragment. Mail scanners, previews and Referer headers neither use nor reveal it.
//
// # Security considerations
//
// An attacker who reads a user's mail can reset the password. A second factor and
// passkeys therefore stay, and "email" is never a second factor. Sign-in by mail is as
// weak as the mailbox.
//
// Requests for known and unknown addresses have the same answer and do the same work. A
// queue sends the messages; a process that is killed loses them.
//
// Deliver receives the secret. A log of messages is a log of secrets.
package ticket
