package docs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the folder of the repository.
const root = "../.."

const module = "github.com/gatewright/gatewright"

// A fragment is Go code in a comment or in a Markdown file.
type fragment struct {
	where string // file:line
	pkg   string // import path of the package whose comment it is, empty for Markdown
	text  string
}

// elided is what stands for "…" in a fragment.
const elided = "elided_"

// others are packages that fragments name, beside those of the library.
var others = []string{
	"bytes", "context", "crypto/rand", "crypto/sha256", "database/sql", "embed", "encoding/json", "errors", "fmt", "io", "log", "log/slog", "net",
	"net/http", "net/http/httptest", "net/netip", "net/url", "os", "strconv", "strings", "sync", "testing", "time",
	"github.com/gomodule/redigo/redis", "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgxpool", "github.com/jackc/pgx/v5/stdlib",
	"github.com/redis/go-redis/v9", "github.com/redis/rueidis",
}

// A world has the packages that fragments can name.
type world struct {
	importer types.Importer
	paths    map[string][]string // by name
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Name,Export", module + "/..."}, others...)...)
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	exports := make(map[string]string)
	w := &world{paths: make(map[string][]string)}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Name, Export string }
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if (strings.HasPrefix(p.ImportPath, module) && !strings.Contains(p.ImportPath, "/internal/")) || slices.Contains(others, p.ImportPath) {
			w.paths[p.Name] = append(w.paths[p.Name], p.ImportPath)
		}
	}
	w.importer = importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no package %s", path)
		}
		return os.Open(exports[path])
	})
	return w
}

// candidates are the packages that a name can mean in the comment of a package: that
// package itself, one below it, or any other of the name.
func (w *world) candidates(name, pkg string) []string {
	all := slices.Clone(w.paths[name])
	near := func(p string) int {
		switch {
		case p == pkg:
			return 0
		case pkg != "" && strings.HasPrefix(p, pkg+"/"):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(near(a), near(b)) })
	if len(all) > 0 && near(all[0]) < 2 && path.Dir(all[0]) == path.Dir(pkg) {
		return all[:1]
	}
	return all
}

// goFragment is a text that is meant to be Go.
var goFragment = regexp.MustCompile(`:= |\b[a-z]+\.[A-Z]\w*[({]|^(func|type|import|package) `)

// declared is the beginning of a function.
var declared = regexp.MustCompile(`(?m)^func \w+\(`)

// check returns what is wrong with a fragment. What the host has is not declared in
// it, so only what it says about packages is wrong: a name that is not there, a call
// with other arguments, a value of another type.
func (w *world) check(f fragment) []error {
	lines := strings.Split(f.text, "\n")
	doubtful := make(map[int]bool) // lines of which a part is left out
	for i, line := range lines {
		code, _, _ := strings.Cut(line, " // ")
		if strings.TrimSpace(code) == "…" {
			lines[i] = ""
		} else if strings.Contains(code, "…") {
			doubtful[i] = true
			lines[i] = strings.ReplaceAll(line, "…", elided)
		}
	}
	text := strings.Join(lines, "\n")
	var wrong []error
	for _, file := range []string{
		text,
		"package p; " + text,
		"package p; func _() {" + text + "\n}",
		"package p; func _() {" + declared.ReplaceAllString(text, "_ = func(") + "\n}", // statements and functions
	} {
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, "fragment.go", file, parser.ParseComments|parser.SkipObjectResolution)
		if err == nil {
			return w.checkFile(fset, parsed, f, doubtful)
		}
		wrong = []error{err} // the last ones read it as statements
	}
	return wrong
}

func (w *world) checkFile(fset *token.FileSet, parsed *ast.File, f fragment, doubtful map[int]bool) []error {
	// Import what it names and does not import itself.
	imported := make(map[string]bool)
	for _, s := range parsed.Imports {
		p := strings.Trim(s.Path.Value, `"`)
		imported[path.Base(p)] = true
		if s.Name != nil {
			imported[s.Name.Name] = true
		}
	}
	var names []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok && ast.IsExported(s.Sel.Name) && len(w.paths[id.Name]) > 0 && !imported[id.Name] && !slices.Contains(names, id.Name) {
				names = append(names, id.Name)
			}
		}
		return true
	})
	// Several packages have the name sqlstore: one choice has to fit.
	choices := [][]string{nil}
	for _, name := range names {
		var more [][]string
		for _, c := range choices {
			for _, p := range w.candidates(name, f.pkg) {
				more = append(more, append(slices.Clone(c), p))
			}
		}
		choices = more
	}
	var fewest []error
	for i, paths := range choices {
		errs := w.typeCheck(fset, parsed, names, paths, doubtful)
		if len(errs) == 0 {
			return nil
		}
		if i == 0 || len(errs) < len(fewest) {
			fewest = errs
		}
	}
	return fewest
}

// ignored are errors of code from which something is left out on purpose.
var ignored = regexp.MustCompile(`^undefined: [A-Za-z_]\w*$|declared and not used|is not used|imported and not used|too many return values|not enough return values|missing return|` +
	`invalid use of \.\.\.|no new variables|redeclared in this block|other declaration of`)

func (w *world) typeCheck(fset *token.FileSet, parsed *ast.File, names, paths []string, doubtful map[int]bool) []error {
	var found []error
	config := types.Config{Importer: w.importer, Error: func(err error) {
		e, ok := errors.AsType[types.Error](err)
		if !ok {
			found = append(found, err)
			return
		}
		line := fset.Position(e.Pos).Line - 1
		// Where a part is left out, a name is wrong and a number of arguments is not.
		if ignored.MatchString(e.Msg) || doubtful[line] && !strings.Contains(e.Msg, "undefined") {
			return
		}
		found = append(found, fmt.Errorf("line %d: %s", line+1, e.Msg))
	}}
	pkg := types.NewPackage("fragment", parsed.Name.Name)
	info := &types.Info{}
	check := types.NewChecker(&config, fset, pkg, info)
	// Imports stand in a file of their own in the universe of the package.
	for i, name := range names {
		imported, err := w.importer.Import(paths[i])
		if err != nil {
			return []error{err}
		}
		pkg.Scope().Insert(types.NewPkgName(token.NoPos, pkg, name, imported))
	}
	_ = check.Files([]*ast.File{parsed}) // the errors are in found
	return found
}

// inMarkdown returns the Go blocks of a Markdown file.
func inMarkdown(t *testing.T, name string) (all []fragment) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	begin := -1
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		switch {
		case begin < 0 && strings.HasPrefix(line, "```go"):
			begin = i + 1
		case begin >= 0 && strings.HasPrefix(line, "```"):
			all = append(all, fragment{fmt.Sprintf("%s:%d", name, begin), "", strings.Join(lines[begin:i], "\n")})
			begin = -1
		}
	}
	return all
}

// inComments returns the Go blocks in the comments of a package and of what it exports.
func inComments(t *testing.T, folder string) (all []fragment) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range docsOf(parsed) {
			var p comment.Parser
			for _, block := range p.Parse(group.Text()).Content {
				if code, ok := block.(*comment.Code); ok && goFragment.MatchString(code.Text) {
					where := fset.Position(group.Pos())
					pkg := path.Join(module, filepath.ToSlash(folder))
					all = append(all, fragment{fmt.Sprintf("%s:%d", strings.TrimPrefix(filepath.ToSlash(where.Filename), root+"/"), where.Line), pkg, code.Text})
				}
			}
		}
	}
	return all
}

// docsOf returns the comments of a file that go doc shows.
func docsOf(file *ast.File) (all []*ast.CommentGroup) {
	add := func(g *ast.CommentGroup) {
		if g != nil {
			all = append(all, g)
		}
	}
	add(file.Doc)
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() {
				add(d.Doc)
			}
		case *ast.GenDecl:
			add(d.Doc)
			for _, s := range d.Specs {
				ts, ok := s.(*ast.TypeSpec)
				if !ok || !ts.Name.IsExported() {
					continue
				}
				add(ts.Doc)
				ast.Inspect(ts.Type, func(n ast.Node) bool {
					if field, ok := n.(*ast.Field); ok {
						add(field.Doc)
					}
					return true
				})
			}
		}
	}
	return all
}

// repository returns the files of a kind that git has.
func repository(t *testing.T, pattern string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", pattern)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("this is no checkout: %v", err)
	}
	return strings.Fields(string(out))
}

func TestGoFragmentsOfTheDocumentationCompile(t *testing.T) {
	w := newWorld(t)
	var all []fragment
	for _, name := range repository(t, "*.md") {
		all = append(all, inMarkdown(t, name)...)
	}
	folders := make(map[string]bool)
	for _, name := range repository(t, "*.go") {
		if folder := path.Dir(name); !strings.HasPrefix(folder, "examples") && !strings.HasPrefix(folder, ".") && !strings.HasPrefix(folder, "internal") && !folders[folder] {
			folders[folder] = true
			all = append(all, inComments(t, folder)...)
		}
	}
	if len(all) < 40 {
		t.Errorf("only %d fragments were found", len(all))
	}
	for _, f := range all {
		for _, err := range w.check(f) {
			t.Errorf("%s: %v, in\n%s", f.where, err, f.text)
		}
	}
	t.Logf("%d fragments", len(all))

	// The check itself can fail.
	for _, text := range []string{
		"limit, err := ratelimit.New(ratelimit.ByIPAddress, ratelimit.Config{})",
		"keys := apikey.New(store, apikey.Config{Formatt: format})",
		"hash, err := passwords.Hash(ctx, given\nfoo()",
		"verifier, err := token.NewVerifier(ring, token.IssuerConfig{})",
		"h := headers.New(headers.Config{}, 1, …)\nx := headers.NewHeaders(…)",
	} {
		if errs := w.check(fragment{"", module + "/auth", text}); len(errs) == 0 {
			t.Errorf("this compiles:\n%s", text)
		}
	}
}
