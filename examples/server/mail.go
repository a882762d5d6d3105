package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/url"
	"os"
	"strings"
	"time"
)

// Mail by SMTP, for servers that are not on a developer's machine.

// A mailer sends letters to one mail server.
type mailer struct {
	addr, host string
	from       mail.Address
	auth       smtp.Auth // nil: the server lets this machine send
	plain      bool      // without TLS, to this machine only
}

// newMailer returns the mailer of -smtp and -mail-from. The user name and the password
// are in the environment, where no list of processes shows them.
func newMailer(server, from string) (*mailer, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "smtp" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" {
		return nil, errors.New("-smtp is not as smtp://host:587; the user and the password belong in SMTP_USER and SMTP_PASSWORD")
	}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("-mail-from is %q; use an address, as \"Example <noreply@example.com>\"", from)
	}
	port := u.Port()
	if port == "" {
		port = "587"
	}
	m := &mailer{addr: net.JoinHostPort(u.Hostname(), port), host: u.Hostname(), from: *sender, plain: isLoopback(u.Hostname())}
	if user := os.Getenv("SMTP_USER"); user != "" {
		m.auth = smtp.PlainAuth("", user, os.Getenv("SMTP_PASSWORD"), m.host)
	}
	return m, nil
}

// send sends a letter. A connection to another machine must be encrypted, as letters
// have secrets.
func (m *mailer) send(ctx context.Context, l letter) error {
	to, err := mail.ParseAddress(l.To)
	if err != nil {
		return errors.New("a letter has no address that mail can be sent to")
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", m.addr)
	if err != nil {
		return fmt.Errorf("reaching the mail server: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	c, err := smtp.NewClient(conn, m.host)
	if err != nil {
		return fmt.Errorf("greeting the mail server: %w", err)
	}
	if encrypted, _ := c.Extension("STARTTLS"); encrypted {
		if err := c.StartTLS(&tls.Config{ServerName: m.host}); err != nil {
			return fmt.Errorf("encrypting the connection to the mail server: %w", err)
		}
	} else if !m.plain {
		return errors.New("the mail server offers no STARTTLS")
	}
	if m.auth != nil {
		if err := c.Auth(m.auth); err != nil {
			return fmt.Errorf("signing in to the mail server: %w", err)
		}
	}
	if err := errors.Join(c.Mail(m.from.Address), c.Rcpt(to.Address)); err != nil {
		return fmt.Errorf("the mail server refuses a letter: %w", err)
	}
	w, err := c.Data()
	if err != nil {
		return fmt.Errorf("the mail server refuses a letter: %w", err)
	}
	_, err = w.Write(m.message(to, l))
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("sending a letter: %w", err)
	}
	return c.Quit()
}

// message returns the letter in the format of RFC 5322.
func (m *mailer) message(to *mail.Address, l letter) []byte {
	text := l.Text + "\n"
	for _, more := range []string{l.Code, l.Link} {
		if more != "" {
			text += "\n" + more + "\n"
		}
	}
	subject, _, _ := strings.Cut(l.Text, ".")
	var b strings.Builder
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\n", m.from.String(), to.String(), mime.QEncoding.Encode("utf-8", subject), time.Now().Format(time.RFC1123Z))
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nAuto-Submitted: auto-generated\r\n\r\n")
	q := quotedprintable.NewWriter(&b)
	q.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	q.Close()
	return []byte(b.String())
}
