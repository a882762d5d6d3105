package password_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/auth/password"
)

func TestNewAccepts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config password.Config
	}{
		{"the zero Config", password.Config{}},
		{"the floor with 1 pass", password.Config{Argon2id: password.Argon2id{Memory: 47104, Passes: 1, Lanes: 1}}},
		{"the floor with 2 passes", password.Config{Argon2id: password.Argon2id{Memory: 19456, Passes: 2, Lanes: 1}}},
		{"the floor with 3 passes", password.Config{Argon2id: password.Argon2id{Memory: 12288, Lanes: 1}}},
		{"less, when asked for by name", password.Config{Argon2id: password.Argon2id{Memory: 8, Passes: 1, Lanes: 1, SaltLength: 8}, InsecureArgon2id: true}},
		{"all the schemes", password.Config{Imported: []password.Scheme{password.Bcrypt(16), password.BcryptSHA256(16), password.PBKDF2SHA256(10_000_000), password.Scrypt{LogN: 17, R: 8, P: 8}}}},
		{"imported schemes below the floor", password.Config{Imported: []password.Scheme{password.Bcrypt(4), password.Argon2id{Memory: 4096, Passes: 1, Lanes: 1}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if h, err := password.New(tt.config); h == nil || err != nil {
				t.Errorf("got %v, %v", h, err)
			}
		})
	}
}

func TestNewNamesEveryMistake(t *testing.T) {
	small, err := password.NewBudget(password.BudgetConfig{Memory: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		config password.Config
		want   []string
	}{
		{"too little memory", password.Config{Argon2id: password.Argon2id{Memory: 1024, Passes: 1}},
			[]string{"password: Config.Argon2id.Memory is 1024 KiB with 1 pass; set at least 47104 KiB (OWASP, ASVS 5.0 Appendix C)"}},
		{"too little memory for 2 passes", password.Config{Argon2id: password.Argon2id{Memory: 19455, Passes: 2}},
			[]string{"password: Config.Argon2id.Memory is 19455 KiB with 2 passes; set at least 19456 KiB (OWASP, ASVS 5.0 Appendix C)"}},
		{"too little memory for 16 passes", password.Config{Argon2id: password.Argon2id{Memory: 12287, Passes: 16}},
			[]string{"password: Config.Argon2id.Memory is 12287 KiB with 16 passes; set at least 12288 KiB (OWASP, ASVS 5.0 Appendix C)"}},
		{"too short a salt", password.Config{Argon2id: password.Argon2id{SaltLength: 15}},
			[]string{"password: Config.Argon2id.SaltLength is 15 bytes; set at least 16 (RFC 9106 section 4)"}},
		{"less memory than the lanes need", password.Config{Argon2id: password.Argon2id{Memory: 31}, InsecureArgon2id: true},
			[]string{"password: Config.Argon2id.Memory is 31 KiB; set 32 to 4194304"}},
		{"all of it out of bounds", password.Config{
			Argon2id:  password.Argon2id{Memory: -1, Passes: 17, Lanes: -1, SaltLength: 65, TagLength: 15},
			Imported:  []password.Scheme{password.Bcrypt(17), nil, password.Argon2id{Passes: 99}, password.Bcrypt(3)},
			MaxLength: 63,
		}, []string{
			"password: Config.Argon2id.Passes is 17; set 1 to 16",
			"password: Config.Argon2id.Lanes is -1; set 1 to 16",
			"password: Config.Argon2id.SaltLength is 65 bytes; set 8 to 64",
			"password: Config.Argon2id.TagLength is 15 bytes; set 16 to 64",
			"password: Config.Argon2id.Memory is -1 KiB; set 8 to 4194304",
			"password: Config.Imported[0] is Bcrypt(17); set 4 to 16",
			"password: Config.Imported[1] is nil; use a Scheme such as password.Bcrypt(12)",
			"password: Config.Imported[2].Passes is 99; set 1 to 16",
			"password: Config.Imported[3] is Bcrypt(3); set 4 to 16",
			"password: Config.MaxLength is 63 bytes; set 64 to 65536 (NIST SP 800-63B-4 section 3.1.1.2 requires at least 64)",
		}},
		{"schemes that are listed twice", password.Config{Imported: []password.Scheme{password.Bcrypt(10), password.Bcrypt(12), password.Argon2id{TagLength: 16}}}, []string{
			"password: Config.Imported[2] has the parameters of Config.Argon2id or of another one listed; list each once",
			"password: Config.Imported has 2 values of Bcrypt; list one, of the highest cost",
		}},
		{"schemes that are out of bounds", password.Config{Imported: []password.Scheme{
			password.BcryptSHA256(17), password.PBKDF2SHA256(0), password.PBKDF2SHA256(10_000_001), password.PBKDF2SHA256(-1),
			password.Scrypt{}, password.Scrypt{LogN: 24, R: 33, P: 17}, password.Scrypt{LogN: 16, R: 1, P: 1}, password.Scrypt{LogN: 17, R: 8, P: 9},
		}}, []string{
			"password: Config.Imported[0] is BcryptSHA256(17); set 4 to 16",
			"password: Config.Imported[1] is PBKDF2SHA256(0); set 1 to 10000000",
			"password: Config.Imported[2] is PBKDF2SHA256(10000001); set 1 to 10000000",
			"password: Config.Imported[3] is PBKDF2SHA256(-1); set 1 to 10000000",
			"password: Config.Imported[4].LogN is 0; set 1 to 23",
			"password: Config.Imported[4].R is 0; set 1 to 32",
			"password: Config.Imported[4].P is 0; set 1 to 16",
			"password: Config.Imported[5].LogN is 24; set 1 to 23",
			"password: Config.Imported[5].R is 33; set 1 to 32",
			"password: Config.Imported[5].P is 17; set 1 to 16",
			"password: Config.Imported[6].LogN is 16 with an R of 1; set less than 16 times that (RFC 7914 section 2)",
			"password: Config.Imported[7] takes 2^17 × 8 × 9 = 9437184 blocks; set at most 8388608",
		}},
		{"imported schemes that are listed twice", password.Config{Imported: []password.Scheme{
			password.Bcrypt(4), password.BcryptSHA256(4), password.BcryptSHA256(5), password.PBKDF2SHA256(1), password.PBKDF2SHA256(1),
			password.Scrypt{LogN: 1, R: 1, P: 1}, password.Scrypt{LogN: 2, R: 1, P: 1},
		}}, []string{
			"password: Config.Imported has 2 values of BcryptSHA256; list one, of the highest cost",
			"password: Config.Imported has 2 values of PBKDF2SHA256; list one, of the highest cost",
			"password: Config.Imported has 2 values of Scrypt; list one, of the highest cost",
		}},
		{"scrypt that does not fit into the default budget", password.Config{Imported: []password.Scheme{password.Scrypt{LogN: 18, R: 8, P: 1}}},
			[]string{"password: Config.Budget is 256 MiB and one run of scrypt takes 262147 KiB; set BudgetConfig.Memory to that or, better, several times that"}},
		{"a budget that one run does not fit in", password.Config{Budget: small},
			[]string{"password: Config.Budget is 32 MiB and one run of argon2id takes 65536 KiB; set BudgetConfig.Memory to that or, better, several times that"}},
		{"the default budget, and an imported scheme that does not fit in", password.Config{Imported: []password.Scheme{password.Argon2id{Memory: 1 << 20}}},
			[]string{"password: Config.Budget is 256 MiB and one run of argon2id takes 1048576 KiB; set BudgetConfig.Memory to that or, better, several times that"}},
		{"a Budget that NewBudget has not made", password.Config{Budget: new(password.Budget)},
			[]string{"password: Config.Budget is 0 MiB and one run of argon2id takes 65536 KiB; set BudgetConfig.Memory to that or, better, several times that"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := password.New(tt.config)
			if h != nil || err == nil {
				t.Fatalf("got %v, %v, want an error", h, err)
			}
			if got, want := err.Error(), strings.Join(tt.want, "\n"); got != want {
				t.Errorf("the error is\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestNewBudgetNamesEveryMistake(t *testing.T) {
	b, err := password.NewBudget(password.BudgetConfig{Memory: 1<<20 - 1, Concurrent: -1, MaxWaiting: -1, MaxWait: -time.Second})
	if b != nil || err == nil {
		t.Fatalf("got %v, %v, want an error", b, err)
	}
	want := `password: BudgetConfig.Memory is 1048575 bytes; set at least 1048576
password: BudgetConfig.Concurrent is -1; set a positive number
password: BudgetConfig.MaxWait is -1s; set a positive duration`
	if err.Error() != want {
		t.Errorf("the error is\n%s\nwant\n%s", err, want)
	}
}
