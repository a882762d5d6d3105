package redaction

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Every exported type, with every field filled, prints nothing that could be a
// secret: by value, by pointer, and inside structs, maps and slices of a host.
func TestNoExportedTypeShowsASecret(t *testing.T) {
	if len(exported) == 0 {
		runWithTypes(t)
		return
	}
	printed := readList(t, "testdata/printed.txt")
	records := append(readList(t, "testdata/records.txt"), printed...)
	for _, own := range exported {
		t.Run(short(own), func(t *testing.T) {
			t.Parallel()
			f := &filler{index: map[leaf]int{}}
			value := reflect.New(own)
			f.fill(value.Elem(), short(own), false)
			find := newFinder(f, printed)
			reported := map[string]bool{}
			check := func(how, text string, allowed []string) {
				for _, name := range find.shown(text) {
					if slices.Contains(allowed, name) || reported[name] {
						continue
					}
					reported[name] = true
					t.Errorf("%s shows %s: %.300s", how, name, text)
				}
			}
			for where, v := range shapes(value) {
				direct, within := printed, printed
				if strings.Contains(where, "unexported") {
					direct = records
				}
				if where != "the value" && where != "the pointer" {
					within = records
				}
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%e", "%t", "%p", "%T", "%z"} {
					allowed := direct
					if verb == "%p" { // for which fmt calls no methods
						allowed = records
					}
					check(verb+" of "+where, sprintf(verb, v), allowed)
				}
				check("an error with "+where, fmt.Errorf("wrapped: %v: %s", v, v).Error(), direct)
				var text, attrs bytes.Buffer
				slog.New(slog.NewTextHandler(&text, nil)).Info("x", "v", v)
				check("slog text of "+where, text.String(), direct)
				slog.New(slog.NewJSONHandler(&attrs, nil)).Info("x", "v", v)
				check("slog JSON of "+where, attrs.String(), within)
				if b, err := json.Marshal(v); err == nil {
					check("JSON of "+where, string(b), records)
				}
				if b, err := xml.Marshal(v); err == nil {
					check("XML of "+where, string(b), records)
				}
				var raw bytes.Buffer
				if gob.NewEncoder(&raw).Encode(v) == nil {
					check("gob of "+where, raw.String(), records)
				}
			}
			for _, v := range []any{value.Interface(), value.Elem().Interface()} {
				if err, ok := v.(error); ok {
					check("Error", calling(err.Error), printed)
				}
				if s, ok := v.(fmt.Stringer); ok {
					check("String", calling(s.String), printed)
				}
			}
		})
	}
}

// sprintf is fmt.Sprintf under a name that go vet does not check.
func sprintf(verb string, v any) string { return fmt.Sprintf(verb, v) }

// calling returns what text does, or how it panics: the content of a value that
// was filled need not fit together.
func calling(text func() string) (out string) {
	defer func() {
		if r := recover(); r != nil {
			out = fmt.Sprint(r)
		}
	}()
	return text()
}

// shapes returns the value in each place where a host may have it.
func shapes(p reflect.Value) map[string]any {
	v, t := p.Elem(), p.Type().Elem()
	hidden := reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: "hidden", PkgPath: "host", Type: t},
		{Name: "pointer", PkgPath: "host", Type: p.Type()},
		{Name: "list", PkgPath: "host", Type: reflect.SliceOf(t)},
		{Name: "any", PkgPath: "host", Type: reflect.TypeFor[any]()},
		{Name: "byName", PkgPath: "host", Type: reflect.MapOf(reflect.TypeFor[string](), t)},
	})).Elem()
	list := reflect.Append(reflect.MakeSlice(reflect.SliceOf(t), 0, 1), v)
	byName := reflect.MakeMap(reflect.MapOf(reflect.TypeFor[string](), t))
	byName.SetMapIndex(reflect.ValueOf("a"), v)
	for i, content := range []reflect.Value{v, p, list, v, byName} {
		settable(hidden.Field(i)).Set(content)
	}
	shown := reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: "Value", Type: t}, {Name: "Pointer", Type: p.Type()}, {Name: "List", Type: reflect.SliceOf(p.Type())},
	})).Elem()
	for i, content := range []reflect.Value{v, p, reflect.Append(reflect.MakeSlice(reflect.SliceOf(p.Type()), 0, 1), p)} {
		shown.Field(i).Set(content)
	}
	return map[string]any{
		"the value": v.Interface(), "the pointer": p.Interface(), "a slice": list.Interface(), "a map": byName.Interface(),
		"unexported fields": hidden.Interface(), "a pointer to unexported fields": hidden.Addr().Interface(),
		"exported fields": shown.Interface(),
	}
}

// typesFile returns the content of types_test.go with every exported type of the
// library that can hold something: all but interfaces, funcs, aliases, and what is
// in packages that only tests link.
func typesFile(t *testing.T) string {
	root := filepath.Join("..", "..")
	var imports, types []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if rel == "examples" || rel == "internal" || d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test") ||
			strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(path, "*.go"))
		if err != nil {
			return err
		}
		alias, before := fmt.Sprintf("p%d", len(imports)), len(types)
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				for _, name := range typesOf(t, file) {
					types = append(types, fmt.Sprintf("reflect.TypeFor[%s.%s](),", alias, name))
				}
			}
		}
		if len(types) > before {
			imports = append(imports, fmt.Sprintf("%s %q", alias, module+filepath.ToSlash(rel)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(types) < 100 {
		t.Fatalf("found %d exported types in %s, want all of the library", len(types), root)
	}
	return "package redaction\n\nimport (\n\"reflect\"\n" + strings.Join(imports, "\n") + "\n)\n\nvar exported = []reflect.Type{\n" +
		strings.Join(types, "\n") + "\n}\n"
}

// typesOf returns the exported types of a file that are no interface, func or
// alias. Generic ones are given the type bool.
func typesOf(t *testing.T, file string) (names []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range decl.Specs {
			spec, ok := spec.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() || spec.Assign.IsValid() {
				continue
			}
			name := spec.Name.Name
			if spec.TypeParams != nil {
				name += "[" + strings.Join(slices.Repeat([]string{"bool"}, spec.TypeParams.NumFields()), ", ") + "]"
			}
			switch spec.Type.(type) {
			case *ast.InterfaceType, *ast.FuncType:
			default:
				names = append(names, name)
			}
		}
	}
	return names
}

// runWithTypes runs this test again, in another process, with the types.
func runWithTypes(t *testing.T) {
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	types := filepath.Join(temp, "types_test.go")
	if err := os.WriteFile(types, []byte(typesFile(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(dir, "types_test.go"): types}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(temp, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", filepath.Join(temp, "overlay.json"),
		"-count=1", "-run", "^"+t.Name()+"$", ".").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// readList returns the lines of a file that are no comment.
func readList(t *testing.T, file string) (lines []string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); name != "" && name != "#" {
			lines = append(lines, name)
		}
	}
	return lines
}
