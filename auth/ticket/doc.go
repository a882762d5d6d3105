// Package ticket mails single-use secrets and accepts them: to reset a password,
// verify or change an address, sign in, or accept an invitation.
//
//	tickets, err := ticket.New(store, users, ticket.Config{
//		Base: "https://example.com/account/", Issuer: "https://example.com",
//		Keys: []guard.Secret{guard.NewSecret(key)}, Deliver: sendMail,
//		Limit: limitPerAddress, CheckPassword: policy, EndSessions: endSessions,
//	})
//	mux.Handle("POST /forgot", perClient.Handler(tickets.Request(ticket.ResetPassword)))
//	mux.Handle("GET /account/reset-password", tickets.Page(ticket.ResetPassword))
//	mux.Handle("POST /account/reset-password", tickets.Use(ticket.ResetPassword))
//	defer tickets.Close(ctx)
//
// [Service.Prove] is a WayIn.Prove of package auth, for sign-in links and codes.
//
// # Order
//
// Put limits by client address in front of [Service.Request], and identify the
// caller in front of handlers that require one.
//
// # Verification
//
// A ticket passes once, before it expires, for its own purpose, while the user's
// password, address, tenant and disabled flag are unchanged. Sign-in links pass in
// the browser that requested them, links to verify or change an address in the
// session that did. A code passes in five tries; a user may have 25 wrong codes in
// 30 days.
//
// The secret of a link is in its fragment, and its page does nothing until the user
// clicks: mail scanners, previews and Referer headers neither use nor reveal it.
//
// # Security considerations
//
// An attacker who reads a user's mail can reset the password. Second factors and
// passkeys therefore stay, and "email" is never a second factor. Sign-in by mail is
// as weak as the mailbox.
//
// Requests for known and unknown addresses get the same response and do the same
// work. A queue sends the messages; a process that is killed loses them.
//
// Deliver receives the secret: a log of messages is a log of secrets.
package ticket
