// Package ticket sends single-use secrets by mail and lets them be used: to reset
// a password, to verify or change an address, to sign in by a link or a code, and
// to accept an invitation.
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
// [Service.Prove] verifies a sign-in link or code and returns an identity.Proof;
// package auth opens the session. [Service.Issue] sends invitations, and reset
// links that an administrator orders.
//
// # What is verified
//
// A ticket passes once, before its expiry, for its own purpose, and only if the
// user's password, address, tenant and disabled flag have not changed since it was
// sent. Links to sign in pass in the browser that requested them, and links to
// verify or change an address in the session that requested them. A code passes
// five tries, and a user has 25 wrong codes in 30 days.
//
// The link opens a page that does nothing until the user clicks, and the secret is
// in its fragment: mail scanners, previews and Referer headers neither use it up
// nor send it on.
//
// # Security considerations
//
// An attacker who reads a user's mail can reset the password. A second factor and passkeys
// therefore stay; the next sign-in asks for them. The factor "email" is never a
// second factor. Sign-in by mail is as weak as the mailbox, and no route is
// mounted for it unless the host does.
//
// Requests for known and unknown addresses have the same answer and do the same
// work; the rest happens in the queue. Messages that wait in it are lost when the
// process ends without [Service.Close], and users request them again.
//
// Deliver receives the secret. A log of messages is a log of secrets.
package ticket
