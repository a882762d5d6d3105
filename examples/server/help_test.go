package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestHelpHasExamplesAndEveryFlagOnceInAGroup(t *testing.T) {
	var out bytes.Buffer
	if _, err := parse([]string{"-addr", ":1", "-h"}, &out); err == nil {
		t.Fatal("-h starts the server")
	}
	help := out.String()
	if !strings.HasPrefix(help, "Usage: server [flags]\n\nExamples:\n") || strings.Contains(help, "\nOthers:") {
		t.Errorf("it prints\n%s", help)
	}
	if !strings.Contains(help, `(default "127.0.0.1:8080")`) {
		t.Error("a value that was given before -h is taken for the default")
	}
	seen := make(map[string]int)
	for _, m := range regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(help[strings.Index(help, "\nWhere it listens:"):], -1) {
		seen[m[1]]++
	}
	if len(seen) < 20 {
		t.Errorf("only %d flags", len(seen))
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("-%s is there %d times", name, n)
		}
	}
	// Each example is one that the server takes.
	for _, m := range regexp.MustCompile(`(?m)^  server (-(?:.*\\\n)?.*)$`).FindAllStringSubmatch(help, -1) {
		if _, err := parse(strings.Fields(strings.ReplaceAll(m[1], "\\\n", " ")), &out); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
}

func TestUnknownFlagIsAnsweredWithTheOneThatIsMeant(t *testing.T) {
	for _, tt := range []struct{ arg, want string }{
		{"-adr", "did you mean -addr?"},
		{"-isuer=x", "did you mean -issuer?"},
		{"-trusted", "did you mean -trusted-proxy?"},
		{"-something-else", "-h lists the flags"},
		{"-trusted-proxy-hops=x", "-trusted-proxy-hops"},
		{"-addr", "flag needs an argument: -addr"},
	} {
		var out bytes.Buffer
		_, err := parse([]string{tt.arg}, &out)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
			t.Errorf("%s: %v, want %q and nothing printed but\n%s", tt.arg, err, tt.want, out.String())
		}
	}
}

func TestSummarySaysWhatIsOnOffAndInsecure(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	certFile, keyFile, _ := certificate(t)
	here, everywhere := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, &net.TCPAddr{Port: 8080}
	for name, tt := range map[string]struct {
		args         []string
		at           net.Addr
		demo, outbox bool
		want         string // states by name
	}{
		"by default": {nil, here, true, true,
			"sessions on, second factors on, revocations on, passkeys on, mail on, limits on, demo users on, https off, proxies off, other origins off"},
		"on every address": {[]string{"-addr", ":8080"}, everywhere, true, false,
			"https insecure, demo users insecure, sessions on, second factors on, revocations on, passkeys on, limits on, mail off, proxies off, other origins off"},
		"with TLS": {[]string{"-tls-cert", certFile, "-tls-key", keyFile, "-issuer", "https://app.example.com", "-demo=false"}, everywhere, false, false,
			"sessions on, second factors on, revocations on, passkeys on, limits on, https on, mail off, proxies off, other origins off, demo users off"},
		"behind a proxy that is not named": {[]string{"-issuer", "https://app.example.com", "-demo=false"}, here, false, false,
			"https insecure, sessions on, second factors on, revocations on, passkeys on, limits on, mail off, proxies off, other origins off, demo users off"},
		"behind a proxy": {[]string{"-issuer", "https://app.example.com", "-trusted-proxy", "10.0.0.1", "-smtp", "smtp://mail.example.com:587", "-mail-from", "a@example.com", "-cors-origin", "https://b.example.com"}, here, false, false,
			"sessions on, second factors on, revocations on, passkeys on, mail on, limits on, https on, proxies on, other origins on, demo users off"},
		"without limits, at an address": {[]string{"-addr", "192.0.2.1:8080", "-insecure-no-limits", "-insecure-skip-damaged"}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080}, false, false,
			"limits insecure, https insecure, -insecure-skip-damaged insecure, sessions on, second factors on, revocations on, passkeys off, mail off, proxies off, other origins off, demo users off"},
	} {
		o, err := parse(tt.args, os.Stderr)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := o.settle(tt.at); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, f := range o.features(tt.at, pageOf(o.issuer)+"/", tt.demo, tt.outbox) {
			got = append(got, f.name+" "+string(f.state))
			if f.how == "" {
				t.Errorf("%s: nothing about %s", name, f.name)
			}
		}
		if all := strings.Join(got, ", "); all != tt.want {
			t.Errorf("%s:\n%s, want\n%s", name, all, tt.want)
		}
	}
}

func TestColorsAreForTerminalsOnly(t *testing.T) {
	all := []feature{{insecure, "a", "b"}, {off, "c", "d"}, {on, "e", "f"}}
	var plain, colored bytes.Buffer
	printFeatures(&plain, all, false)
	printFeatures(&colored, all, true)
	if strings.Contains(plain.String(), "\x1b") || strings.Count(colored.String(), "\x1b[0m") != 3 {
		t.Errorf("%q and %q", plain.String(), colored.String())
	}
	if stripped := regexp.MustCompile(`\x1b\[\d+m`).ReplaceAllString(colored.String(), ""); strings.Join(strings.Fields(stripped), " ") != strings.Join(strings.Fields(plain.String()), " ") {
		t.Errorf("the text differs: %q", stripped)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isTerminal(file) || isTerminal(&plain) {
		t.Error("a file is taken for a terminal")
	}
	t.Setenv("NO_COLOR", "1")
	if isTerminal(os.Stdout) {
		t.Error("NO_COLOR is ignored")
	}
}
