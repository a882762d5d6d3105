package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// asvsSections are the numbers of requirements in the sections of ASVS 5.0.0 that
// ASVS.md is about.
var asvsSections = map[string]int{
	"3.1": 1, "3.2": 3, "3.3": 5, "3.4": 8, "3.5": 8, "3.6": 1, "3.7": 5,
	"4.1": 5, "4.2": 5, "4.3": 2, "4.4": 4,
	"6.1": 3, "6.2": 12, "6.3": 8, "6.4": 6, "6.5": 8, "6.6": 4, "6.7": 2, "6.8": 4,
	"7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2,
	"8.1": 4, "8.2": 4, "8.3": 3, "8.4": 2,
	"9.1": 3, "9.2": 4,
	"10.1": 2, "10.2": 3, "10.3": 5, "10.4": 16, "10.5": 5, "10.6": 2, "10.7": 3,
	"11.1": 4, "11.2": 5, "11.3": 5, "11.4": 4, "11.5": 2, "11.6": 2, "11.7": 2,
	"12.1": 5, "12.2": 2, "12.3": 5,
	"13.1": 4, "13.2": 6, "13.3": 4, "13.4": 7,
	"14.1": 2, "14.2": 8, "14.3": 3,
	"16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 4,
}

// asvsRow is a row of the tables of ASVS.md.
var asvsRow = regexp.MustCompile(`^\| (\d+\.\d+\.\d+(?:, \d+\.\d+\.\d+)*) \| (.+?) \|(?: (.+) \| (held|partly|host's|not held) \|)?$`)

// asvsLink is a link to a file, or to a test in a file.
var asvsLink = regexp.MustCompile(`\[([^]]+)\]\(([^)]+)\)`)

func TestASVSTableNamesTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("ASVS.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	count := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		row := asvsRow.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if row == nil {
			head := strings.HasPrefix(line, "| id ") || strings.HasPrefix(line, "| held ")
			if strings.HasPrefix(line, "| ") && !head && strings.TrimSpace(line) != asvsCounts(text) {
				t.Errorf("ASVS.md: %q is no row of a table", line)
			}
			continue
		}
		ids, shown, status := strings.Split(row[1], ", "), row[3], row[4]
		for _, id := range ids {
			if seen[id] {
				t.Errorf("ASVS.md: %s is there twice", id)
			}
			seen[id] = true
		}
		if status == "" {
			count["left out"] += len(ids)
			continue
		}
		count[status]++
		count["listed"]++
		links := asvsLink.FindAllStringSubmatch(shown, -1)
		if len(links) == 0 && (status == "held" || status == "partly") {
			t.Errorf("ASVS.md: %s is %s, and nothing shows it", row[1], status)
		}
		for _, link := range links {
			content, err := os.ReadFile(filepath.FromSlash(link[2]))
			if err != nil {
				t.Errorf("ASVS.md: %s: %v", row[1], err)
			} else if strings.HasPrefix(link[1], "Test") && !strings.Contains(string(content), "\nfunc "+link[1]+"(") {
				t.Errorf("ASVS.md: %s: %s has no %s", row[1], link[2], link[1])
			}
		}
	}
	total := 0
	for section, number := range asvsSections {
		total += number
		for i := range number {
			if id := fmt.Sprintf("%s.%d", section, i+1); !seen[id] {
				t.Errorf("ASVS.md: %s is missing", id)
			}
		}
	}
	if len(seen) != total {
		t.Errorf("ASVS.md has %d ids, want %d", len(seen), total)
	}
	want := fmt.Sprintf("| %d | %d | %d | %d | %d | %d |",
		count["held"], count["partly"], count["host's"], count["not held"], count["listed"], count["left out"])
	if got := asvsCounts(text); got != want {
		t.Errorf("ASVS.md: the counts are %q, want %q", got, want)
	}
}

// asvsCounts returns the line of counts in ASVS.md.
func asvsCounts(text []byte) string {
	return string(regexp.MustCompile(`(?m)^\|( \d+ \|){6}$`).Find(text))
}
