package main

import (
	"bufio"
	"context"
	"io"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"
)

// mailServer takes one letter, without TLS, and returns it.
func mailServer(t *testing.T, extensions ...string) (addr string, received <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	letters := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
			case "EHLO":
				io.WriteString(conn, "250-mail.example.com\r\n")
				for _, e := range extensions {
					io.WriteString(conn, "250-"+e+"\r\n")
				}
				io.WriteString(conn, "250 8BITMIME\r\n")
			case "DATA":
				io.WriteString(conn, "354 go on\r\n")
				var text strings.Builder
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					if line == ".\r\n" {
						break
					}
					text.WriteString(line)
				}
				letters <- text.String()
				io.WriteString(conn, "250 taken\r\n")
			case "QUIT":
				io.WriteString(conn, "221 bye\r\n")
				return
			default:
				io.WriteString(conn, "250 yes\r\n")
			}
		}
	}()
	return l.Addr().String(), letters
}

func TestLettersAreSentBySMTP(t *testing.T) {
	addr, received := mailServer(t)
	m, err := newMailer("smtp://"+addr, "Example <noreply@example.com>")
	if err != nil {
		t.Fatal(err)
	}
	l := letter{To: "erin@example.com", Text: "Choose a new password. The link is valid until 12:00 UTC.", Link: "https://app.example.com/account/reset-password#" + strings.Repeat("s", 43)}
	if err := m.send(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	got, err := mail.ReadMessage(strings.NewReader(<-received))
	if err != nil {
		t.Fatal(err)
	}
	if got.Header.Get("From") != `"Example" <noreply@example.com>` || got.Header.Get("To") != "<erin@example.com>" || got.Header.Get("Subject") != "Choose a new password" {
		t.Errorf("%v", got.Header)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
	if err != nil || !strings.Contains(string(body), "\n"+l.Link+"\r\n") {
		t.Errorf("%v %q", err, body)
	}
}

func TestNoLetterLeavesTheMachineInTheClear(t *testing.T) {
	addr, received := mailServer(t)
	m, err := newMailer("smtp://"+addr, "noreply@example.com")
	if err != nil {
		t.Fatal(err)
	}
	m.plain = false // as for another machine
	if err := m.send(t.Context(), letter{To: "erin@example.com", Text: "x"}); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("send = %v", err)
	}
	select {
	case got := <-received:
		t.Errorf("it was sent: %q", got)
	default:
	}
}

func TestAddressesForgeNoHeader(t *testing.T) {
	addr, _ := mailServer(t)
	m, err := newMailer("smtp://"+addr, "noreply@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"erin@example.com\r\nBcc: eve@example.com", "", "erin", "a@b, c@d"} {
		if err := m.send(context.Background(), letter{To: to, Text: "x"}); err == nil {
			t.Errorf("a letter to %q was sent", to)
		}
	}
	to, text := &mail.Address{Address: "erin@example.com"}, "A\r\nBcc: eve@example.com"
	head, _, _ := strings.Cut(string(m.message(to, letter{Text: text})), "\r\n\r\n")
	if strings.Contains(head, "\nBcc:") {
		t.Errorf("%q", head)
	}
}

func TestMistakesOfTheMailFlagsAreNamed(t *testing.T) {
	for _, c := range [][3]string{
		{"mail.example.com:587", "a@example.com", "-smtp"},
		{"smtp://user:secret@mail.example.com", "a@example.com", "SMTP_PASSWORD"},
		{"http://mail.example.com", "a@example.com", "-smtp"},
		{"smtp://mail.example.com", "", "-mail-from"},
		{"", "a@example.com", "-smtp"},
	} {
		if _, err := newMailer(c[0], c[1]); err == nil || !strings.Contains(err.Error(), c[2]) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q from %q: %v", c[0], c[1], err)
		}
	}
}
