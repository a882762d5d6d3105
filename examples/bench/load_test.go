package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain is the process of a server too, which the command starts for -load.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-serve" {
		exitIf(serveLoad(os.Args[2]))
		return
	}
	os.Exit(m.Run())
}

func TestLoadsAreMeasuredAndReported(t *testing.T) {
	var all report
	if err := loads(20*time.Millisecond, []int{1, 3}, func(l load) { all.loads = append(all.loads, l) }); err != nil {
		t.Fatal(err)
	}
	if want := 2 * 2 * len(loadServers); len(all.loads) != want {
		t.Errorf("%d loads, want %d", len(all.loads), want)
	}
	for _, l := range all.loads {
		if l.perSecond <= 0 || l.p50 <= 0 || l.p999 < l.p50 || l.bytes < 60 || l.allocs < 1 {
			t.Errorf("%+v", l)
		}
	}
	all.rows = []row{{job{name: "a job", peer: "a peer"}, 10, 5, 3, 2, ""},
		{job: job{name: "another job", peer: "a peer"}, missing: "failed:\na | b"}}
	folder := t.TempDir()
	if err := all.write(folder); err != nil {
		t.Fatal(err)
	}
	table := string(must(os.ReadFile(filepath.Join(folder, "results.md"))))
	for _, line := range []string{"| a job | a peer | 10 | 3 | 5 | 2 | 0.50 |", `| another job | a peer | failed: a \| b | | | | |`, "| HTTP/2 | 3 | gatewright |", "| HTTP/1.1 | 1 | bare |"} {
		if !strings.Contains(table, line) {
			t.Errorf("results.md does not have %s\n%s", line, table)
		}
	}
	for _, name := range []string{"chain-light.svg", "chain-dark.svg"} {
		chart := must(os.ReadFile(filepath.Join(folder, name)))
		for d := xml.NewDecoder(strings.NewReader(string(chart))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, chart)
			}
		}
	}
}

func TestAJobThatFailsOrIsSkippedHasItsReason(t *testing.T) {
	quick := func(b *testing.B) {
		for b.Loop() {
		}
	}
	for _, tt := range []struct {
		name, want string
		run        func(*testing.B)
	}{
		{"at once", "gatewright: failed: status 401, want 200", func(b *testing.B) { fail(b, "status %d, want %d", 401, 200) }},
		{"in a later round", "gatewright: failed: late", func(b *testing.B) {
			if b.N > 1 {
				fail(b, "late")
			}
		}},
		{"by a skip", "gatewright: left out: no server", func(b *testing.B) {
			reasons.LoadOrStore(testing.TB(b), "no server")
			b.Skip()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := job{"a job", "a peer", map[string]func(*testing.B){"a peer": quick, "gatewright": tt.run}, ""}.measure(1)
			if err == nil || err.Error() != tt.want || r.missing != tt.want {
				t.Errorf("got %v and the row %q, want %q", err, r.missing, tt.want)
			}
		})
	}
}

func TestTheTokensOfTheChainOutliveALongRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours := newChain()
		time.Sleep(12 * time.Hour)
		if err := ours.check(); err != nil {
			t.Error(err)
		}
	})
}
