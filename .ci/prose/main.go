// Command prose counts, in the exported documentation of the packages below a
// folder, words that make a sentence a riddle: persons where a component belongs,
// references without a noun, programs that speak. It fails if there are more than
// -max of them per 1,000 words. See Words in .github/CONTRIBUTING.md.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var riddles = regexp.MustCompile(`(?i)\b(who|whoever|whom|whose|nobody|somebody|everybody|anybody|` +
	`those|none|that of|of them|the former|the latter|` +
	`hears?|heard|says?|said|tells?|told|asks?|asked|speaks?|wants?|wanted|knows?|believes?)\b`)

func main() {
	most := flag.Float64("max", 20, "fail above this many per 1,000 words")
	flag.Parse()
	words, hits := 0, 0
	err := filepath.WalkDir(flag.Arg(0), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != flag.Arg(0) && (name[0] == '.' || name == "examples" || name == "internal" || name == "testdata") {
			return fs.SkipDir
		}
		w, h, err := count(path)
		words, hits = words+w, hits+h
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "prose:", err)
		os.Exit(1)
	}
	rate := 1000 * float64(hits) / float64(max(words, 1))
	fmt.Printf("%d words, %.1f riddles per 1,000, at most %.1f\n", words, rate, *most)
	if words == 0 || rate > *most {
		os.Exit(1)
	}
}

// count returns the words and the riddles in the documentation of one package.
func count(folder string) (words, hits int, err error) {
	files := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return 0, 0, err
	}
	var parsed []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, parser.ParseComments)
		if err != nil {
			return 0, 0, err
		}
		parsed = append(parsed, file)
	}
	if len(parsed) == 0 {
		return 0, 0, nil
	}
	p, err := doc.NewFromFiles(files, parsed, "module/"+folder)
	if err != nil {
		return 0, 0, err
	}
	add := func(text string) {
		words += len(strings.Fields(text))
		hits += len(riddles.FindAllString(text, -1))
	}
	add(p.Doc)
	funcs := func(all []*doc.Func) {
		for _, f := range all {
			add(f.Doc)
		}
	}
	values := func(all []*doc.Value) {
		for _, v := range all {
			add(v.Doc)
		}
	}
	funcs(p.Funcs)
	values(p.Consts)
	values(p.Vars)
	for _, t := range p.Types {
		add(t.Doc)
		funcs(t.Funcs)
		funcs(t.Methods)
		values(t.Consts)
		values(t.Vars)
		ast.Inspect(t.Decl, func(n ast.Node) bool {
			if f, ok := n.(*ast.Field); ok {
				add(f.Doc.Text())
				add(f.Comment.Text())
			}
			return true
		})
	}
	return words, hits, nil
}
