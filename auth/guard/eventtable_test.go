package guard_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryChangeHasAnEvent compares the module with testdata/events.txt: every
// exported function that takes a context or a request, and every one that returns a
// handler, either changes something and emits an event, or reads. The stores are
// exempt: their callers emit the event.
func TestEveryChangeHasAnEvent(t *testing.T) {
	root := moduleRoot(t)
	touchFolders(t, root)
	table := readEventTable(t)
	declared := map[string]*goFunc{} // with package and receiver
	events := map[string]bool{}
	for _, dir := range folders(t, root) {
		p := parseFolder(t, filepath.Join(root, dir))
		for name := range p.events {
			events[name] = true
		}
		if isStore(dir) {
			continue
		}
		for name, f := range p.exported {
			declared[dir+"."+name] = f
		}
	}
	needed, changes := 0, 0
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		f := declared[name]
		row, ok := table[name]
		switch {
		case !ok && f.needsRow:
			t.Errorf("%s is not in testdata/events.txt; add it with the events that it emits, or as one that reads", name)
		case ok && len(row) > 0 && !f.emits():
			t.Errorf("%s has events in testdata/events.txt, and no path to Emit or EmitContext", name)
		}
		if f.needsRow {
			needed++
		}
		if len(row) > 0 {
			changes++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if declared[name] == nil {
			t.Errorf("testdata/events.txt has %s, which the module has not", name)
		}
		for _, event := range table[name] {
			if !events[event] {
				t.Errorf("testdata/events.txt: %s emits %s, which no constant names", name, event)
			}
		}
	}
	if needed < 120 || changes < 40 {
		t.Errorf("only %d functions and %d with events were found", needed, changes)
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(goOutput(t, "", "list", "-m", "-f", "{{.Dir}}", module))
}

// readEventTable returns the events of each function, none if it reads.
func readEventTable(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/events.txt")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string][]string{}
	last := ""
	for i, line := range strings.Split(string(b), "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		name := fields[0]
		switch {
		case len(fields) < 2, fields[1] == "reads" && len(fields) > 2, fields[1] == "changes" && len(fields) < 3, fields[1] != "reads" && fields[1] != "changes":
			t.Fatalf("testdata/events.txt:%d: want a function and reads, or changes and events", i+1)
		case name <= last:
			t.Errorf("testdata/events.txt:%d: %s is not in order", i+1, name)
		}
		table[name], last = fields[2:], name
	}
	return table
}

// folders returns the folders of the packages of the module that hosts import.
func folders(t *testing.T, root string) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == root {
			return err
		}
		name := d.Name()
		if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || name == "internal" || name == "testdata" || strings.HasPrefix(name, ".") {
			return filepath.SkipDir
		}
		if files, _ := filepath.Glob(filepath.Join(path, "*.go")); len(files) > 0 {
			dir, err := filepath.Rel(root, path)
			dirs = append(dirs, filepath.ToSlash(dir))
			return err
		}
		return nil
	})
	if err != nil || len(dirs) < 20 {
		t.Fatalf("%d folders: %v", len(dirs), err)
	}
	return dirs
}

// storeTypes are the stores for one process, beside the packages of stores.
var storeTypes = regexp.MustCompile(`^(Memory|MemoryLog|File)\.`)

var storePackage = regexp.MustCompile(`(store|sqllog|redislog|test)$`)

func isStore(dir string) bool { return storePackage.MatchString(dir) }

// A goFunc is a function and what it calls, by name only.
type goFunc struct {
	needsRow bool
	calls    map[string]bool
	pkg      *goSource
}

// A goSource is what TestEveryChangeHasAnEvent needs of a package.
type goSource struct {
	exported map[string]*goFunc
	named    map[string][]*goFunc // functions and methods by their last name
	events   map[string]bool
}

// emits reports whether f calls Emit or EmitContext, or a function of its package
// that does. Functions with one name are not told apart.
func (f *goFunc) emits() bool {
	seen := map[*goFunc]bool{}
	var visit func(*goFunc) bool
	visit = func(f *goFunc) bool {
		if seen[f] {
			return false
		}
		seen[f] = true
		if f.calls["Emit"] || f.calls["EmitContext"] {
			return true
		}
		for name := range f.calls {
			if slices.ContainsFunc(f.pkg.named[name], visit) {
				return true
			}
		}
		return false
	}
	return visit(f)
}

func parseFolder(t *testing.T, dir string) *goSource {
	t.Helper()
	p := &goSource{map[string]*goFunc{}, map[string][]*goFunc{}, map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				p.add(d)
			case *ast.GenDecl:
				p.addEvents(d)
			}
		}
	}
	return p
}

func (p *goSource) add(d *ast.FuncDecl) {
	f := &goFunc{calls: map[string]bool{}, pkg: p}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr: // also of a method value
			f.calls[n.Sel.Name] = true
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok {
				f.calls[id.Name] = true
			}
		}
		return true
	})
	p.named[d.Name.Name] = append(p.named[d.Name.Name], f)
	name := d.Name.Name
	if d.Recv != nil {
		receiver := d.Recv.List[0].Type
		for {
			switch r := receiver.(type) {
			case *ast.StarExpr:
				receiver = r.X
				continue
			case *ast.IndexExpr:
				receiver = r.X
				continue
			case *ast.Ident:
				name = r.Name + "." + name
			}
			break
		}
	}
	if !ast.IsExported(d.Name.Name) || !ast.IsExported(name) || storeTypes.MatchString(name) {
		return
	}
	takes := d.Type.Params
	f.needsRow = hasType(takes, "context.Context") || hasType(takes, "http.Request") ||
		hasType(d.Type.Results, "http.Handler") && !hasType(takes, "http.Handler")
	p.exported[name] = f
}

// hasType reports whether one of the fields has the type, or a pointer to it.
func hasType(fields *ast.FieldList, name string) bool {
	if fields == nil {
		return false
	}
	return slices.ContainsFunc(fields.List, func(f *ast.Field) bool {
		of := f.Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		sel, ok := of.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		pkg, ok := sel.X.(*ast.Ident)
		return ok && pkg.Name+"."+sel.Sel.Name == name
	})
}

// addEvents adds the values of the constants of type EventName.
func (p *goSource) addEvents(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || d.Tok != token.CONST || len(v.Values) != 1 {
			continue
		}
		sel, qualified := v.Type.(*ast.SelectorExpr)
		id, plain := v.Type.(*ast.Ident)
		if !(qualified && sel.Sel.Name == "EventName") && !(plain && id.Name == "EventName") {
			continue
		}
		if lit, ok := v.Values[0].(*ast.BasicLit); ok {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				p.events[text] = true
			}
		}
	}
}
