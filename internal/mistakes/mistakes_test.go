package mistakes_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/internal/mistakes"
)

func TestAListReportsEveryMistake(t *testing.T) {
	l := mistakes.List{Package: "auth/shop"}
	if err := l.Err(); err != nil {
		t.Errorf("no mistakes: %v", err)
	}
	l.Bad("Config.Wait", -time.Second, "a positive duration")
	l.Bad(mistakes.At("Config.Names", 3), "a\nb", "names")
	l.Bad("Config.Host", "", "a host")
	l.Bad("Config.Store", nil, "a Store")
	l.Bad("Config.Text", strings.Repeat("x", 1000), "less")
	l.Add("Config.File: %w", io.ErrUnexpectedEOF)
	err := l.Err()
	want := `auth/shop: Config.Wait is -1s; use a positive duration
auth/shop: Config.Names[3] is "a\nb"; use names
auth/shop: Config.Host is empty; use a host
auth/shop: Config.Store is nil; use a Store
auth/shop: Config.Text is "` + strings.Repeat("x", 100) + `"…; use less
auth/shop: Config.File: unexpected EOF`
	if err == nil || err.Error() != want || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestSecretsAreLongAndNotZero(t *testing.T) {
	good, zeros := guard.NewSecret([]byte(strings.Repeat("k", 32))), guard.NewSecret(make([]byte, 32))
	for name, tt := range map[string]struct {
		secrets []guard.Secret
		want    []string
	}{
		"none": {nil, []string{"p: F is empty; set a secret of 32 random bytes"}},
		"good": {[]guard.Secret{good}, nil},
		"two that are bad": {[]guard.Secret{good, guard.NewSecret([]byte("short")), zeros}, []string{
			"p: F[1] has 5 bytes; use at least 32 random ones", "p: F[2] is all zeros; use random bytes"}},
	} {
		l := mistakes.List{Package: "p"}
		mistakes.Secrets(l.Add, "F", 32, tt.secrets)
		got := ""
		if err := l.Err(); err != nil {
			got = err.Error()
		}
		if got != strings.Join(tt.want, "\n") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
