package main

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/examples/recipes/kit"
)

func TestMain(m *testing.M) { kit.Main(m, main) }

// Made by passlib 1.7, Django 3.2 and WordPress 6.8.
var imported = []string{
	"passlib-bcrypt $2b$05$xrCLfMqmpzNGRDr6J.n0s.lRERBTXZlU4t7bhwaULGIsmPa8y19e.",
	"passlib-bcrypt-sha256 $bcrypt-sha256$v=2,t=2b,r=5$F8ZPMroiXDQbUIyzPtxDm.$rAUM7qzsOv3acQfc15VYqvrtefgKulu",
	"passlib-pbkdf2 $pbkdf2-sha256$2000$//8fA2CsldK6dy6FMCaE0A$BaitxzxFB3I82HyaGdH4Zusdy37ZfyE4vvZwEYscGSY",
	"passlib-phpass $P$BMCDiZCI37fmCcr0FoizUgLmddyLmd0",
	"passlib-argon2 $argon2id$v=19$m=19456,t=2,p=1$k5IyJqRU6v1/L0UIwZjTeg$OiuaWtP7T+vscC304hzuIw",
	"django-pbkdf2 pbkdf2_sha256$2000$yzgOcLmgu34Mj3242sytfM$mDKgrgvWqbGG4TKh5KyU65kO4e67Ec6f/Gxl3YDdbSg=",
	"django-bcrypt bcrypt_sha256$$2b$05$0B3OyDt.tpiJYqDS8QyFK./fPtp.2mzFOFd/PQrsz56/OYcsT5m5a",
	"django-argon2 argon2$argon2id$v=19$m=102400,t=2,p=8$SEdyNzV5QzIxMFZiQmU0YUd0UURKMA$YAJNl4JpYVarObt+womXYA",
	"wordpress-6.8 $wp$2y$05$oMrtLoppIOzzH60cr9hRF.X7xFubRvrnWBN2Ljt6Dl0mm7XCxfdje",
}

func TestImportedUsersSignInAndTheirHashesAreReplaced(t *testing.T) {
	const password = "correct horse 7 battery"
	file := filepath.Join(t.TempDir(), "users.txt")
	if err := os.WriteFile(file, []byte(strings.Join(imported, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := kit.Start(t, nil, "-users", file, "-bcrypt", "5", "-pbkdf2", "2000")
	form := func(login, password string) string {
		return url.Values{"username": {login}, "password": {password}}.Encode()
	}
	for i, line := range imported {
		login, hash, _ := strings.Cut(line, " ")
		weak := strings.HasPrefix(hash, "$P$")
		if weak || i == 0 {
			kit.Want(t, 400, "invalid_grant", "POST", p.URL+"/token", form(login, password+"!"))
		}
		var pair struct {
			Access string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(kit.Want(t, 200, "access_token", "POST", p.URL+"/token", form(login, password))), &pair); err != nil {
			t.Fatal(err)
		}
		me := kit.Want(t, 200, "your hash is ", "GET", p.URL+"/me", "", "Authorization: Bearer "+pair.Access)
		if !strings.Contains(me, "your hash is argon2id") && !strings.Contains(hash, "argon2id") {
			t.Errorf("%s: %s", login, me)
		}
		if weak { // by the new hash, too
			kit.Want(t, 200, "access_token", "POST", p.URL+"/token", form(login, password))
			kit.Want(t, 400, "invalid_grant", "POST", p.URL+"/token", form(login, password+"!"))
		}
	}
	kit.Want(t, 400, "invalid_grant", "POST", p.URL+"/token", form("nobody", password))
}

func TestPhpassIsThatOfWordPress(t *testing.T) {
	for _, tt := range []struct {
		password, hash string
		want           bool
	}{
		{"test12345", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", true}, // the vector of phpass
		{"correct horse 7 battery", "$P$BMCDiZCI37fmCcr0FoizUgLmddyLmd0", true},
		{"test12346", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", false},
		{"test12345", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L", false},
		{"test12345", "$P$zIQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", false},
		{"", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", false},
	} {
		if got := phpass(tt.password, tt.hash); got != tt.want {
			t.Errorf("%q with %s: %v, want %v", tt.password, tt.hash, got, tt.want)
		}
	}
}
