package docs

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`!?\[[^]]*\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors returns the anchors that GitHub makes of the headings in a text.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', r >= '0' && r <= '9', r >= 'a' && r <= 'z':
				return r
			case r > 127:
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		all[anchor] = true
	}
	return all
}

func TestRelativeLinksInMarkdownResolve(t *testing.T) {
	known := make(map[string]bool)
	for _, name := range repository(t, "*") {
		known[name] = true
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			known[dir] = true
		}
	}
	links := 0
	for _, name := range repository(t, "*.md") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		text := fenced.ReplaceAllString(string(content), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			links++
			target := name
			if u.Path != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(name), u.Path))
			}
			if !known[target] {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
				continue
			}
			if u.Fragment != "" {
				linked, err := os.ReadFile(filepath.Join(root, target))
				if err != nil || !anchors(fenced.ReplaceAllString(string(linked), ""))[u.Fragment] {
					t.Errorf("%s: %s has no heading %s (%v)", name, target, u.Fragment, err)
				}
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}
