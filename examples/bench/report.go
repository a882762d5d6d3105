package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A row is what a job took.
type row struct {
	job                 job
	theirs, ours        float64 // ns
	theirAllocs, allocs int64
	missing             string // why there are no figures
}

// A report is all that a run measured.
type report struct {
	rows  []row
	loads []load
}

// write writes the report into a folder: results.md, and a chart of the chain over
// HTTP for light and for dark pages.
func (p *report) write(folder string) error {
	var text strings.Builder
	p.markdown(&text)
	files := map[string]string{"results.md": text.String()}
	if len(p.loads) > 0 {
		files["chain-light.svg"] = p.chart("#ffffff", "#1f2328", "#8c959f", "#0969da")
		files["chain-dark.svg"] = p.chart("#0d1117", "#e6edf3", "#6e7681", "#4493f8")
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func (p *report) markdown(w io.Writer) {
	fmt.Fprintf(w, "# Measured\n\nBy `go -C examples/bench run .` on %s with %s, %s/%s, %d processors%s.\nTimes depend on the machine and on what else it does: compare rows of one run.\n",
		time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor())
	if len(p.rows) > 0 {
		fmt.Fprintf(w, "\n| job | peer | its ns | allocs | our ns | allocs | ratio |\n|---|---|---:|---:|---:|---:|---:|\n")
		for _, r := range p.rows {
			if r.missing != "" {
				fmt.Fprintf(w, "| %s | %s | %s | | | | |\n", r.job.name, r.job.peer, strings.ReplaceAll(strings.Join(strings.Fields(r.missing), " "), "|", "\\|"))
				continue
			}
			fmt.Fprintf(w, "| %s | %s | %.0f | %d | %.0f | %d | %.2f |\n", r.job.name, r.job.peer, r.theirs, r.theirAllocs, r.ours, r.allocs, r.ours/r.theirs)
		}
	}
	if len(p.loads) > 0 {
		fmt.Fprintf(w, "\nThe chain over the loopback interface, the server and its client on the same processors:\n\n"+
			"| protocol | connections | server | requests/s | of bare | p50 | p99 | p99.9 | bytes | allocs |\n|---|---:|---|---:|---:|---:|---:|---:|---:|---:|\n")
		for _, l := range p.loads {
			fmt.Fprintf(w, "| %s | %d | %s | %.0f | %.2f | %s | %s | %s | %.0f | %.1f |\n", l.protocol, l.connections, l.server, l.perSecond,
				l.perSecond/p.bare(l), l.p50.Round(time.Microsecond), l.p99.Round(time.Microsecond), l.p999.Round(time.Microsecond), l.bytes, l.allocs)
		}
	}
}

// bare returns the requests per second of the handler without guards beside l.
func (p *report) bare(l load) float64 {
	for _, other := range p.loads {
		if other.server == "bare" && other.protocol == l.protocol && other.connections == l.connections {
			return other.perSecond
		}
	}
	return 0
}

// processor returns the name of the processor, where Linux gives it.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return ", " + strings.TrimSpace(value)
		}
	}
	return ""
}

// chart returns an SVG with a bar for each server at each number of connections, by
// its requests per second relative to the bare handler.
func (p *report) chart(background, text, theirs, ours string) string {
	const left, width, bar, gap = 250, 380, 14, 4
	var b strings.Builder
	y := 56
	for i, l := range p.loads {
		if i == 0 || p.loads[i-1].protocol != l.protocol || p.loads[i-1].connections != l.connections {
			y += 14
			fmt.Fprintf(&b, `<text x="16" y="%d" font-weight="600">%s, %d connection%s</text>`+"\n", y, l.protocol, l.connections, map[bool]string{true: "s"}[l.connections != 1])
			y += 10
		}
		part := l.perSecond / cmp.Or(p.bare(l), l.perSecond)
		colour := theirs
		if l.server == "gatewright" {
			colour = ours
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.0f" height="%d" fill="%s"/><text x="%.0f" y="%d">%.2f</text>`+"\n",
			left-8, y+bar-3, l.server, left, y, part*width, bar, colour, left+part*width+6, y+bar-3, part)
		y += bar + gap
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 %d" width="700" height="%d" role="img" aria-label="Requests per second relative to a handler without guards" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="%s"/>
<g fill="%s">
<text x="16" y="28" font-size="15" font-weight="600">Requests per second, relative to a handler without guards</text>
<text x="16" y="46">proxies, security headers, hosts, CORS, address limit, bearer token, caller limit, scope</text>
%s</g>
</svg>
`, y+16, y+16, background, text, b.String())
}
