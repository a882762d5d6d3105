// Command testlog reads the output of go test -json, prints a line for each
// package, all output of what failed and each skipped test with its reason, and
// exits with 1 if anything failed. Its argument is a file that the skipped tests
// are added to.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// An event is one line of go test -json.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

func main() {
	if err := read(); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
}

func read() error {
	skipped, err := os.OpenFile(os.Args[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer skipped.Close()
	output := make(map[string]*strings.Builder)
	failed, any := false, false
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Println(lines.Text()) // of the go command itself
			continue
		}
		any = true
		key := e.Package + e.ImportPath + "\x00" + e.Test
		switch e.Action {
		case "output", "build-output":
			if output[key] == nil {
				output[key] = new(strings.Builder)
			}
			output[key].WriteString(e.Output)
			continue
		case "build-fail", "fail":
			failed = true
			if output[key] != nil {
				fmt.Print(output[key])
			}
			fmt.Printf("FAIL %s %s (%.1f s)\n", e.Package+e.ImportPath, e.Test, e.Elapsed)
		case "skip":
			if e.Test != "" {
				line := fmt.Sprintf("SKIP %s %s: %s", e.Package, e.Test, reason(output[key]))
				fmt.Println(line)
				fmt.Fprintln(skipped, line)
			}
		case "pass":
			if e.Test == "" {
				fmt.Printf("ok   %s (%.1f s)\n", e.Package, e.Elapsed)
			}
		default:
			continue
		}
		delete(output, key)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if failed || !any {
		return fmt.Errorf("tests failed")
	}
	return nil
}

// reason returns what a skipped test logged last.
func reason(output *strings.Builder) (last string) {
	if output == nil {
		return ""
	}
	for line := range strings.Lines(output.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			last = line
		}
	}
	return last
}
