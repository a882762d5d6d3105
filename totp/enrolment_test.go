package totp_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"

	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/totp"
)

func decode32(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// shownAs is a Config.Account.
func shownAs(account string) func(context.Context, *identity.Principal) (string, error) {
	return func(context.Context, *identity.Principal) (string, error) { return account, nil }
}

func begin(t testing.TB, issuer, account string) *totp.Enrolment {
	t.Helper()
	e, err := service(t, new(totp.Memory), totp.Config{Issuer: issuer, Account: shownAs(account)}).Begin(ctx, caller("alice"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestURIIsReadAlikeByEveryParser(t *testing.T) {
	tests := []struct{ issuer, account, label, query string }{
		{"Example", "alice@example.com", "Example:alice%40example.com", "Example"},
		{"Your App", "alice", "Your%20App:alice", "Your%20App"},
		{"A+B", "alice+test@example.com", "A%2BB:alice%2Btest%40example.com", "A%2BB"},
		{"Ex/am", "a/b", "Ex%2Fam:a%2Fb", "Ex%2Fam"},
		{"A&B=C?D#E", "a&secret=X", "A%26B%3DC%3FD%23E:a%26secret%3DX", "A%26B%3DC%3FD%23E"},
		{"100%", "50%25", "100%25:50%2525", "100%25"},
		{"Émile & Co.", "жанна", "%C3%89mile%20%26%20Co.:%D0%B6%D0%B0%D0%BD%D0%BD%D0%B0", "%C3%89mile%20%26%20Co."},
		{"-._~", "-._~", "-._~:-._~", "-._~"},
	}
	for _, tt := range tests {
		t.Run(tt.issuer+" and "+tt.account, func(t *testing.T) {
			e := begin(t, tt.issuer, tt.account)
			want := "otpauth://totp/" + tt.label + "?secret=" + e.Secret() + "&issuer=" + tt.query
			if e.URI() != want {
				t.Fatalf("%s, want\n%s", e.URI(), want)
			}
			// As another library reads it, and as it says itself.
			k, err := otp.NewKeyFromURL(e.URI())
			if err != nil {
				t.Fatal(err)
			}
			if k.Issuer() != tt.issuer || k.AccountName() != tt.account || k.Secret() != e.Secret() || k.Type() != "totp" ||
				k.Period() != 30 || k.Digits() != otp.DigitsSix || k.Algorithm() != otp.AlgorithmSHA1 {
				t.Errorf("read as %q, %q, %s, period %d, %d digits, %s", k.Issuer(), k.AccountName(), k.Type(), k.Period(), k.Digits(), k.Algorithm())
			}
			if u, err := url.Parse(e.URI()); err != nil || u.Path != "/"+tt.issuer+":"+tt.account || strings.Contains(e.URI(), "+") {
				t.Errorf("path %q, %v", u.Path, err)
			}
		})
	}
}

// A secret has the size that its hash asks for, and no two are alike.
func TestSecretsHaveTheSizeOfTheirHash(t *testing.T) {
	for algorithm, size := range map[totp.Algorithm]int{totp.SHA1: 20, totp.SHA256: 32, totp.SHA512: 64} {
		s := service(t, new(totp.Memory), totp.Config{Algorithm: algorithm})
		seen := map[string]bool{}
		for range 50 {
			e, err := s.Begin(ctx, caller("alice"))
			if err != nil {
				t.Fatal(err)
			}
			if len(decode32(t, e.Secret())) != size || seen[e.Secret()] || strings.Contains(e.Secret(), "=") {
				t.Errorf("%v: %d bytes, seen before: %t", algorithm, len(decode32(t, e.Secret())), seen[e.Secret()])
			}
			seen[e.Secret()] = true
		}
	}
}

func TestRecoveryCodesAre120RandomBitsInGroups(t *testing.T) {
	form := regexp.MustCompile(`^[A-Z2-7]{4}(-[A-Z2-7]{4}){5}$`)
	seen := map[string]bool{}
	for range 10 {
		_, recovery := enrol(t, service(t, new(totp.Memory), totp.Config{}), "alice")
		for _, code := range recovery {
			if !form.MatchString(code) || len(decode32(t, strings.ReplaceAll(code, "-", "")))*8 != 120 || seen[code] {
				t.Errorf("%q, seen before: %t", code, seen[code])
			}
			seen[code] = true
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d codes, want 100", len(seen))
	}
}

// A list that one caller edits is not another's.
func TestRecoveryCodesAreCopied(t *testing.T) {
	s := service(t, new(totp.Memory), totp.Config{})
	codes, err := s.Import(ctx, "alice", make([]byte, 20))
	if err != nil {
		t.Fatal(err)
	}
	codes.All()[0] = "changed"
	if codes.All()[0] == "changed" {
		t.Error("All returns its own memory")
	}
}

func TestNamesThatAppsCannotShowAreRefused(t *testing.T) {
	for name, account := range map[string]string{
		"empty": "", "a colon": "a:b", "too long": strings.Repeat("x", 255), "a line feed": "a\nb", "no UTF-8": "\xff",
		"a space before it": " a", "invisible": "a\u200bb", "too long when escaped": strings.Repeat("\u00e9", 127),
	} {
		e, err := service(t, new(totp.Memory), totp.Config{Account: shownAs(account)}).Begin(ctx, caller("alice"))
		if name == "too long when escaped" {
			// 762 characters fit.
			if err != nil || len(e.URI()) > 1000 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || e != nil {
			t.Errorf("%s: %q is taken", name, account)
		}
	}
	if _, err := service(t, new(totp.Memory), totp.Config{Issuer: strings.Repeat("\u00e9", 32), Account: shownAs(strings.Repeat("\u00e9", 127))}).Begin(ctx, caller("alice")); err == nil {
		t.Error("a URI is taken that is too long")
	}
	if _, err := service(t, new(totp.Memory), totp.Config{Account: shownAs(strings.Repeat("x", 254))}).Begin(ctx, caller("alice")); err != nil {
		t.Error(err)
	}
}

// matrix returns the modules of a picture, and how many pixels each has, after
// checking that each has the same whole number in both directions, and that the
// quiet zone has four modules at least.
func matrix(t *testing.T, picture image.Image) (modules []string, pixels int) {
	t.Helper()
	size := picture.Bounds().Dx()
	if picture.Bounds().Dy() != size {
		t.Fatalf("%v is no square", picture.Bounds())
	}
	black := func(x, y int) bool { r, _, _, _ := picture.At(x, y).RGBA(); return r == 0 }
	margin := 0
	for !black(margin, margin) {
		margin++
	}
	// The corner's finder pattern is seven modules wide.
	end := margin
	for black(end, margin) {
		end++
	}
	if (end-margin)%7 != 0 {
		t.Fatalf("the finder pattern is %d pixels wide", end-margin)
	}
	pixels = (end - margin) / 7
	right := size - 1
	for !black(right, margin) {
		right--
	}
	if (right+1-margin)%pixels != 0 {
		t.Fatalf("%d pixels of %d each", right+1-margin, pixels)
	}
	n := (right + 1 - margin) / pixels
	if margin < 4*pixels || size-right-1 < 4*pixels {
		t.Errorf("the quiet zone has %d and %d pixels, want %d", margin, size-right-1, 4*pixels)
	}
	for y := range n {
		var row strings.Builder
		for x := range n {
			first := black(margin+x*pixels, margin+y*pixels)
			for dy := range pixels {
				for dx := range pixels {
					if black(margin+x*pixels+dx, margin+y*pixels+dy) != first {
						t.Fatalf("module %d, %d is not of one colour", x, y)
					}
				}
			}
			if first {
				row.WriteByte('#')
			} else {
				row.WriteByte('.')
			}
		}
		modules = append(modules, row.String())
	}
	for i := range size {
		for j := range margin {
			if black(i, j) || black(j, i) || black(i, size-1-j) && size-1-j > right || black(size-1-j, i) && size-1-j > right {
				t.Fatal("the quiet zone is not white")
			}
		}
	}
	return modules, pixels
}

// The picture and the document have the same modules at every size. That they
// say the URI, other readers tell in examples/integration.
func TestQRCodeHasWholeModulesAndAQuietZone(t *testing.T) {
	for name, e := range map[string]*totp.Enrolment{
		"usual":   begin(t, "Example", "alice@example.com"),
		"longest": begin(t, strings.Repeat("i", 64), strings.Repeat("é", 100)),
	} {
		svg, err := e.SVG()
		if err != nil {
			t.Fatal(err)
		}
		want := modulesOfSVG(t, svg)
		for _, size := range []int{128, 129, 200, 256, 300, 320, 512, 1024} {
			t.Run(fmt.Sprint(name, " at ", size), func(t *testing.T) {
				b, err := e.PNG(size)
				if err != nil {
					t.Fatal(err)
				}
				picture, err := png.Decode(bytes.NewReader(b))
				if err != nil {
					t.Fatal(err)
				}
				got, pixels := matrix(t, picture)
				if strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Errorf("the modules are\n%s\nand those of the SVG\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				least := 2 * (len(got) + 8)
				if width := picture.Bounds().Dx(); width != max(size, least) || pixels != max(2, size/(len(got)+8)) {
					t.Errorf("%d pixels wide, %d for each of %d modules", width, pixels, len(got))
				}
			})
		}
		for _, size := range []int{-1, 0, 127, 1025} {
			if b, err := e.PNG(size); err == nil || b != nil {
				t.Errorf("a picture of %d pixels was made", size)
			}
		}
	}
}

// modulesOfSVG reads the two paths of the document: white first, then a
// rectangle for each run of black modules.
func modulesOfSVG(t *testing.T, svg []byte) []string {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	head := regexp.MustCompile(`^<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 (\d+) (\d+)" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h(\d+)v(\d+)H0z"/>`).FindSubmatch(svg)
	if head == nil {
		t.Fatalf("%.200s", svg)
	}
	width, err := strconv.Atoi(string(head[1]))
	if err != nil || string(head[2]) != string(head[1]) || string(head[3]) != string(head[1]) || string(head[4]) != string(head[1]) {
		t.Fatalf("%s: %v", head[0], err)
	}
	rows := make([][]byte, width-8)
	for y := range rows {
		rows[y] = bytes.Repeat([]byte{'.'}, width-8)
	}
	number := func(b []byte) int {
		n, err := strconv.Atoi(string(b))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, run := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllSubmatch(svg, -1) {
		if !bytes.Equal(run[3], run[4]) {
			t.Fatalf("%s is not closed", run[0])
		}
		for i := range number(run[3]) {
			rows[number(run[2])-4][number(run[1])-4+i] = '#'
		}
	}
	text := make([]string, len(rows))
	for y := range rows {
		text[y] = string(rows[y])
	}
	return text
}

// However a secret is printed by mistake, it is not there.
func TestSecretsArePrintedNowhere(t *testing.T) {
	s := service(t, new(totp.Memory), totp.Config{})
	e, err := s.Begin(ctx, caller("alice"))
	if err != nil {
		t.Fatal(err)
	}
	codes, err := s.Confirm(ctx, caller("alice"), codeAt(t, e.Secret(), time.Now()), byPassword)
	if err != nil {
		t.Fatal(err)
	}
	keys := keyring(t)
	type holder struct {
		Enrolment totp.Enrolment
		pointer   *totp.Enrolment
		inner     totp.Enrolment
		codes     totp.RecoveryCodes
		Codes     *totp.RecoveryCodes
		keys      *totp.Keyring
	}
	values := []any{e, *e, codes, *codes, keys, *keys, s, holder{*e, e, *e, *codes, codes, keys}, &holder{*e, e, *e, *codes, codes, keys},
		[]*totp.Enrolment{e}, map[string]totp.Enrolment{"e": *e}, fmt.Errorf("with %v", e)}
	var out bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		logger := slog.New(handler)
		for _, v := range values {
			logger.Info("a value", "v", v)
		}
	}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
	}
	raw := decode32(t, e.Secret())
	secrets := append(codes.All(), e.Secret(), e.URI(), string(raw), fmt.Sprintf("%x", raw), string(sealKey), fmt.Sprintf("%x", sealKey), strings.Trim(fmt.Sprint(raw), "[]"), strings.Trim(fmt.Sprint(sealKey), "[]"))
	for _, secret := range secrets {
		if strings.Contains(out.String(), secret) {
			t.Errorf("printed: %q", secret)
		}
	}
	for _, v := range []any{e, *e, codes, *codes} {
		b, err := json.Marshal(v)
		if printed := fmt.Sprintf("%s %v %+v %#v", b, v, v, v); err != nil || strings.Count(printed, "totp: secret not shown") != 4 {
			t.Errorf("%T is printed as %s, %v", v, printed, err)
		}
	}
}
