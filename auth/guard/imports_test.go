package guard_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gatewright/gatewright"

// The third-party modules of the root module, and what else each brings along.
const (
	xCrypto = "golang.org/x/crypto"
	jwt     = "github.com/golang-jwt/jwt/v5"
	xTime   = "golang.org/x/time"
	rsCORS  = "github.com/rs/cors"
	otp     = "github.com/pquerna/otp"
)

var broughtAlong = map[string][]string{
	xCrypto: {"golang.org/x/sys"},
	otp:     {"github.com/boombuler/barcode"},
}

// A room is a folder of the module with its sub-packages, as far as they are
// no rooms of their own. It may import the packages of own and their
// sub-packages, the leaves exactly as they stand, and the modules.
type room struct {
	own, leaves, modules []string
	says                 string
}

// importLaw is who may import whom. A host that uses apikey and ratelimit then
// links no JWT, no password hashing and no CORS.
var importLaw = map[string]room{
	"auth/identity": {says: "auth/identity is a leaf: it imports the standard library only"},
	"auth/guard": {leaves: []string{"auth/identity"},
		says: "auth/guard is a leaf: it imports the standard library and auth/identity only"},
	"auth/guard/guardtest": {leaves: both,
		says: "auth/guard/guardtest imports the standard library and the two leaves only"},
	"auth/guard/openapi": {leaves: both,
		says: "auth/guard/openapi imports the two leaves only, and no other module"},
	"auth/password": {own: []string{"auth"}, leaves: both, modules: []string{xCrypto},
		says: "auth/password imports rooms of auth and golang.org/x/crypto only"},
	"auth/token": {own: []string{"auth"}, leaves: both, modules: []string{jwt},
		says: "auth/token imports rooms of auth and golang-jwt only"},
	"auth": {own: []string{"auth"}, leaves: both, modules: []string{jwt, xCrypto},
		says: "auth imports its own sub-packages, golang-jwt and golang.org/x/crypto only"},
	"apikey": {own: []string{"apikey"}, leaves: both,
		says: "apikey imports the two leaves and its own room only, and no other module"},
	"rbac": {own: []string{"rbac"}, leaves: both,
		says: "rbac imports the two leaves and its own room only, and no other module"},
	"scopes": {own: []string{"scopes"}, leaves: both,
		says: "scopes imports the two leaves and its own room only, and no other module"},
	"blacklist": {own: []string{"blacklist"}, leaves: both,
		says: "blacklist imports the two leaves and its own room only, and no other module"},
	"ratelimit": {own: []string{"ratelimit"}, leaves: both, modules: []string{xTime},
		says: "ratelimit imports the two leaves, its own room and golang.org/x/time only"},
	"headers": {own: []string{"headers"}, leaves: []string{"auth/guard"}, modules: []string{rsCORS},
		says: "headers imports auth/guard, its own room and rs/cors only"},
	"totp": {own: []string{"totp"}, leaves: both, modules: []string{otp, "github.com/boombuler/barcode"},
		says: "totp imports the two leaves, its own room and pquerna/otp with its barcode package only"},
	"auth/passkey": {own: []string{"auth/passkey"}, leaves: both,
		says: "auth/passkey imports the two leaves and its own room only, and no other module"},
	"auth/ticket": {own: []string{"auth/ticket"}, leaves: both,
		says: "auth/ticket imports the two leaves and its own room only, and no other module"},
	"internal": {leaves: both,
		says: "internal imports the two leaves and itself only, and no other module"},
}

var both = []string{"auth/identity", "auth/guard"}

// A goPackage is what this test needs of go list -json.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string // without those of its tests
	Deps       []string
	Module     *struct{ Path string }
}

// TestImportLaw asks the go command about the whole module, so a package that
// does not exist yet is covered on its first day.
func TestImportLaw(t *testing.T) {
	root := strings.TrimSpace(goOutput(t, "", "list", "-m", "-f", "{{.Dir}}", module))
	touchFolders(t, root)
	// -e: a package that does not compile is not this test's matter.
	packages := goPackages(t, goOutput(t, root, "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,Deps,Module", "./..."))
	if _, ok := packages[module+"/auth/guard"]; !ok {
		t.Fatalf("go list does not know this package, only %d others", len(packages))
	}
	for _, breach := range breaches(packages) {
		t.Error(breach)
	}
}

// TestImportLawOfGoMod: the root module requires five modules and no other.
func TestImportLawOfGoMod(t *testing.T) {
	root := strings.TrimSpace(goOutput(t, "", "list", "-m", "-f", "{{.Dir}}", module))
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil { // for the test cache as well
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal([]byte(goOutput(t, root, "mod", "edit", "-json")), &mod); err != nil {
		t.Fatal(err)
	}
	// The last one comes with otp, whose QR codes are too plain: totp draws
	// them by itself, and so it counts as a direct requirement.
	allowed := []string{xCrypto, jwt, xTime, rsCORS, otp, "github.com/boombuler/barcode"}
	for _, m := range mod.Require {
		if !m.Indirect && !slices.Contains(allowed, m.Path) {
			t.Errorf("go.mod requires %s. The root module requires %s and nothing else; "+
				"drivers, clients and peers belong in examples", m.Path, strings.Join(allowed, ", "))
		}
	}
}

// touchFolders reads each folder of the module. The test cache sees what a test
// reads and not what its child processes do: without this, go test would print
// a cached "ok" after a forbidden import.
func touchFolders(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && path != root && (entry.Name()[0] == '.' || entry.Name() == "examples") {
			return fs.SkipDir
		}
		if errors.Is(err, fs.ErrNotExist) { // somebody is working in there
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goOutput runs the go command in dir.
func goOutput(t *testing.T, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not here to be asked")
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

func goPackages(t *testing.T, list string) map[string]goPackage {
	t.Helper()
	packages := map[string]goPackage{}
	for d := json.NewDecoder(strings.NewReader(list)); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// breaches returns a sentence for each import that the law does not allow.
func breaches(packages map[string]goPackage) (all []string) {
	for _, path := range slices.Sorted(maps.Keys(packages)) {
		p := packages[path]
		inner, ours := strings.CutPrefix(path, module+"/")
		if !ours {
			if path == module {
				all = append(all, "there is a package at the module's root: the module has rooms only")
			}
			continue
		}
		law, ok := lawOf(inner)
		if !ok {
			all = append(all, fmt.Sprintf("%s is in no room: add it to importLaw, with what it may import", inner))
			continue
		}
		for _, imported := range p.Imports {
			if !law.allows(packages[imported], imported) {
				all = append(all, fmt.Sprintf("%s imports %s, but %s", inner, strings.TrimPrefix(imported, module+"/"), law.says))
			}
			// Conformance suites import testing.
			if isSuite(imported) && !isSuite(path) {
				all = append(all, fmt.Sprintf("%s imports %s, but only tests import a conformance suite", inner,
					strings.TrimPrefix(imported, module+"/")))
			}
		}
		// What is linked in the end, through whatever packages.
		for _, linked := range p.Deps {
			if dep := packages[linked]; dep.Module != nil && dep.Module.Path != module && !law.links(dep.Module.Path) {
				all = append(all, fmt.Sprintf("%s links %s, but %s", inner, linked, law.says))
			}
		}
	}
	return all
}

// lawOf returns the law of the innermost room that a package is in.
func lawOf(inner string) (room, bool) {
	for folder := inner; ; {
		if law, ok := importLaw[folder]; ok {
			return law, true
		}
		i := strings.LastIndexByte(folder, '/')
		if i < 0 {
			return room{}, false
		}
		folder = folder[:i]
	}
}

func (l room) allows(p goPackage, path string) bool {
	if inner, ours := strings.CutPrefix(path, module+"/"); ours {
		within := func(own string) bool { return inner == own || strings.HasPrefix(inner, own+"/") }
		if within("internal") {
			return true
		}
		return slices.Contains(l.leaves, inner) || slices.ContainsFunc(l.own, within) && !slices.Contains(both, inner)
	}
	if p.Module != nil {
		return slices.Contains(l.modules, p.Module.Path)
	}
	// Without a module it is of the standard library, unless it is missing.
	first, _, _ := strings.Cut(path, "/")
	return p.Standard || !strings.Contains(first, ".") && path != module
}

func (l room) links(modulePath string) bool {
	for _, m := range l.modules {
		if m == modulePath || slices.Contains(broughtAlong[m], modulePath) {
			return true
		}
	}
	return false
}

// isSuite reports whether path is one of this module's conformance suites,
// "apikey/apikeytest".
func isSuite(path string) bool {
	return strings.HasPrefix(path, module+"/") && strings.HasSuffix(path, "test")
}

// TestImportLawIsEnforced breaks the law once for each of its clauses.
func TestImportLawIsEnforced(t *testing.T) {
	tests := []struct {
		name          string
		from, imports string
		want          string // a part of the failure, "" for none
	}{
		{"a leaf may import the standard library", "auth/guard", "net/http", ""},
		{"guard may import identity", "auth/guard", module + "/auth/identity", ""},
		{"guard may not import auth", "auth/guard", module + "/auth", "auth/guard is a leaf"},
		{"identity may not import guard", "auth/identity", module + "/auth/guard", "auth/identity is a leaf"},
		{"identity may not import a module", "auth/identity", xCrypto + "/bcrypt", "auth/identity is a leaf"},
		{"a room may import both leaves", "rbac", module + "/auth/identity", ""},
		{"a room may not import its sibling", "ratelimit", module + "/apikey", "ratelimit imports the two leaves"},
		{"a room may not import auth", "apikey", module + "/auth", "apikey imports the two leaves"},
		{"a room may not import auth/token", "scopes", module + "/auth/token", "scopes imports the two leaves"},
		{"a room may not import a sibling's sub-package", "totp", module + "/ratelimit/redisstore", "totp imports the two leaves"},
		{"a room may import what stores and readers share", "apikey", module + "/internal/strictjson", ""},
		{"internal may import guard", "internal/sqldb", module + "/auth/guard", ""},
		{"internal may not import a room", "internal/sqldb", module + "/apikey", "internal imports the two leaves"},
		{"internal may not import a module", "internal/sqldb", xCrypto + "/bcrypt", "internal imports the two leaves"},
		{"auth/passkey may not import auth/token", "auth/passkey", module + "/auth/token", "auth/passkey imports the two leaves"},
		{"a sub-package may import its room", "blacklist/blacklisttest", module + "/blacklist", ""},
		{"a sub-package may not import another room", "blacklist/blacklisttest", module + "/apikey", "blacklist imports the two leaves"},
		{"a room whose name begins alike is another", "rbac", module + "/rbacx", "rbac imports the two leaves"},
		{"headers may import guard", "headers", module + "/auth/guard", ""},
		{"headers may not import identity", "headers", module + "/auth/identity", "headers imports auth/guard"},
		{"auth may import its sub-packages", "auth", module + "/auth/password", ""},
		{"auth/sqlstore may import auth", "auth/sqlstore", module + "/auth", ""},
		{"auth may not import blacklist", "auth", module + "/blacklist", "auth imports its own"},
		{"auth/password may import x/crypto", "auth/password", xCrypto + "/argon2", ""},
		{"auth/password may not import golang-jwt", "auth/password", jwt, "auth/password imports"},
		{"auth/token may not import x/crypto", "auth/token", xCrypto + "/bcrypt", "auth/token imports"},
		{"apikey may import no module", "apikey", xCrypto + "/bcrypt", "and no other module"},
		{"ratelimit may import x/time", "ratelimit", xTime + "/rate", ""},
		{"headers may import rs/cors", "headers", rsCORS, ""},
		{"totp may import the barcode package", "totp", "github.com/boombuler/barcode/qr", ""},
		{"nobody may import what only a dependency may", "auth/password", "golang.org/x/sys/cpu", "auth/password imports"},
		{"a module that is missing is no standard library", "rbac", "example.com/missing", "rbac imports"},
		{"a suite is for tests", "apikey/sqlstore", module + "/apikey/apikeytest", "only tests import a conformance suite"},
		{"an unknown folder has no law", "utils", "fmt", "utils is in no room"},
	}
	modules := map[string]string{
		xCrypto + "/bcrypt": xCrypto, xCrypto + "/argon2": xCrypto, jwt: jwt, xTime + "/rate": xTime, rsCORS: rsCORS,
		"github.com/boombuler/barcode/qr": "github.com/boombuler/barcode", "golang.org/x/sys/cpu": "golang.org/x/sys",
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			from := goPackage{ImportPath: module + "/" + test.from, Imports: []string{test.imports}}
			packages := map[string]goPackage{from.ImportPath: from}
			if path, ok := modules[test.imports]; ok {
				packages[test.imports] = goPackage{ImportPath: test.imports, Module: &struct{ Path string }{path}}
			}
			got := strings.Join(breaches(packages), "\n")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	t.Run("a package may not link what it may not import", func(t *testing.T) {
		from := goPackage{ImportPath: module + "/apikey", Deps: []string{"golang.org/x/sys/cpu"}}
		got := breaches(map[string]goPackage{
			from.ImportPath:        from,
			"golang.org/x/sys/cpu": {Module: &struct{ Path string }{"golang.org/x/sys"}},
		})
		if len(got) != 1 || !strings.Contains(got[0], "apikey links golang.org/x/sys/cpu") {
			t.Error(got)
		}
	})
	t.Run("a package at the root is against the law", func(t *testing.T) {
		if got := breaches(map[string]goPackage{module: {ImportPath: module}}); len(got) != 1 {
			t.Error(got)
		}
	})
}
