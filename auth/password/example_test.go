package password_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

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
	// password: Config.Argon2id.Memory is 1024 KiB with 1 pass, want at least 47104 KiB (OWASP, ASVS 5.0 Appendix C)
	// password: Config.Imported[0] is Bcrypt(31), want 4 to 16
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
