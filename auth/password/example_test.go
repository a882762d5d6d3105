package password_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/password"
)

// A table of users, one of whom came from an application in PHP.
func Example() {
	ctx := context.Background()
	hasher, err := password.New(password.Config{
		Imported: []password.Scheme{password.Bcrypt(7)},
	})
	if err != nil {
		log.Fatal(err)
	}

	hashes := map[string]string{
		"rasmus": "$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq",
	}
	// Somebody registers.
	if hashes["alice"], err = hasher.Hash(ctx, "correct horse battery staple"); err != nil {
		log.Fatal(err)
	}

	signIn := func(login, given string) {
		stored := hashes[login] // empty for a stranger: the same work is done
		ok, upgraded, err := hasher.Verify(ctx, given, stored)
		if err != nil {
			log.Fatal(err)
		}
		if upgraded != "" {
			hashes[login] = upgraded
		}
		scheme, _, _ := strings.Cut(strings.TrimPrefix(hashes[login], "$"), "$")
		fmt.Printf("%s: %v, replaced: %v, now %q\n", login, ok, upgraded != "", scheme)
	}
	signIn("alice", "correct horse battery staple")
	signIn("alice", "Tr0ub4dor&3")
	signIn("rasmus", "rasmuslerdorf")
	signIn("rasmus", "rasmuslerdorf")
	signIn("mallory", "letmein")
	// Output:
	// alice: true, replaced: false, now "argon2id"
	// alice: false, replaced: false, now "argon2id"
	// rasmus: true, replaced: true, now "argon2id"
	// rasmus: true, replaced: false, now "argon2id"
	// mallory: false, replaced: false, now ""
}

// The table auth_user of an application in Django, taken over as it is. What
// its PASSWORD_HASHERS have made is listed at the highest cost it was made
// with; SELECT DISTINCT over the beginnings of the hashes tells. (The costs of
// this example are those of long ago, so that it does not take long.)
func ExampleNew_django() {
	ctx := context.Background()
	hasher, err := password.New(password.Config{
		Imported: []password.Scheme{
			password.PBKDF2SHA256(24_000),
			password.BcryptSHA256(8),
			password.Scrypt{LogN: 14, R: 8, P: 1},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	hashes := map[string]string{
		"ada":    "pbkdf2_sha256$24000$KQ8zeK6wKRuR$cmhbSt1XVKuO4FGd9+AX8qSBD4Z0395nZatXTJpEtTY=",
		"barbra": "bcrypt_sha256$$2a$08$NDjSAIcas.EcoxCRiArvT.MkNiPYVhrsrnJsRkLueZOoV1bsQqlmC",
		"chris":  "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
		"dora":   "!GvJmZ9xv8QEbbY4NLG5Y2S1Uw2V3pTqLkHc0zXyR", // signs in elsewhere
	}
	// Django's mark of a user without a password is an empty hash here. This
	// belongs into the import; each time it is met otherwise, it is an
	// ErrMalformed.
	for login, stored := range hashes {
		if strings.HasPrefix(stored, "!") {
			hashes[login] = ""
		}
	}

	signIn := func(login, given string) {
		ok, upgraded, err := hasher.Verify(ctx, given, hashes[login])
		if err != nil {
			log.Fatal(err)
		}
		if upgraded != "" {
			hashes[login] = upgraded
		}
		fmt.Printf("%s: %v, replaced: %v\n", login, ok, strings.HasPrefix(upgraded, "$argon2id$"))
	}
	signIn("ada", "ExjGmyUT73bFoT")
	signIn("ada", "ExjGmyUT73bFoT")
	signIn("barbra", "lètmein")
	signIn("chris", "lètmein")
	signIn("dora", "lètmein")
	// Output:
	// ada: true, replaced: true
	// ada: true, replaced: false
	// barbra: true, replaced: true
	// chris: true, replaced: true
	// dora: false, replaced: false
}

// What a user hears who registers. The list would be a file of passwords that
// were breached; see [password.PolicyConfig].
func ExamplePolicy_Check() {
	blocklist, err := password.ReadBlocklist(strings.NewReader("letmeinletmeinletmein\nilovemyboyfriend\n"))
	if err != nil {
		log.Fatal(err)
	}
	policy, err := password.NewPolicy(password.PolicyConfig{Blocklist: blocklist})
	if err != nil {
		log.Fatal(err)
	}
	for _, chosen := range []string{"Tr0ub4dor&3", "ILoveMyBoyfriend", "alice@gatewright2026", "123456", "correct horse battery staple"} {
		err := policy.Check(chosen, "Gatewright", "alice", "alice@example.com")
		fmt.Printf("%s\n%v\n", chosen, err)
	}
	// Output:
	// Tr0ub4dor&3
	// The password has 11 characters, and needs at least 15.
	// ILoveMyBoyfriend
	// The password is on a list of passwords that are often used and guessed first.
	// alice@gatewright2026
	// The password has little besides the name of the user or of this service.
	// 123456
	// The password has 6 characters, and needs at least 15.
	// The password is a simple sequence or repetition of characters.
	// correct horse battery staple
	// <nil>
}

// A line for the configuration, made on the machine that it is for.
func ExampleCalibrate() {
	params, err := password.Calibrate(context.Background(), 500*time.Millisecond,
		password.BudgetConfig{Memory: 1 << 30, Concurrent: 8})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Argon2id: password.Argon2id{Memory: %d, Passes: %d, Lanes: %d}\n", params.Memory, params.Passes, params.Lanes)
}

// One budget for all the hashing of a process, however many Hashers it has.
func ExampleNewBudget() {
	budget, err := password.NewBudget(password.BudgetConfig{Memory: 512 << 20})
	if err != nil {
		log.Fatal(err)
	}
	users, err := password.New(password.Config{Budget: budget})
	if err != nil {
		log.Fatal(err)
	}
	admins, err := password.New(password.Config{
		Budget:   budget,
		Argon2id: password.Argon2id{Memory: 128 << 10},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, h := range []*password.Hasher{users, admins} {
		encoded, err := h.Hash(context.Background(), "correct horse battery staple")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(strings.Split(encoded, "$")[3])
	}
	// Output:
	// m=65536,t=3,p=4
	// m=131072,t=3,p=4
}

// All mistakes are reported together, and each says what would be right.
func ExampleNew() {
	_, err := password.New(password.Config{
		Argon2id: password.Argon2id{Memory: 1024, Passes: 1},
		Imported: []password.Scheme{password.Bcrypt(31)},
	})
	fmt.Println(err)
	// Output:
	// password: Config.Argon2id.Memory is 1024 KiB with 1 pass; set at least 47104 KiB (OWASP, ASVS 5.0 Appendix C)
	// password: Config.Imported[0] is Bcrypt(31); set 4 to 16
}

// This is how not to do it: the early return answers for strangers in no time,
// so anybody can find out who has an account. Verify takes the empty hash of a
// stranger, and of a user without a password, for this reason.
func ExampleHasher_Verify_incorrect() {
	hasher, err := password.New(password.Config{})
	if err != nil {
		log.Fatal(err)
	}
	errRefused := errors.New("wrong user name or password")
	hashes := map[string]string{}

	signIn := func(ctx context.Context, login, given string) error {
		stored, known := hashes[login]
		if !known {
			return errRefused // leave this out, and let Verify see it
		}
		ok, _, err := hasher.Verify(ctx, given, stored)
		if err != nil {
			return err
		}
		if !ok {
			return errRefused
		}
		return nil
	}
	fmt.Println(signIn(context.Background(), "mallory", "letmein"))
	// Output: wrong user name or password
}
