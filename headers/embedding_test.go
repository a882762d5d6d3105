package headers_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/headers"
)

// counting embeds a writer that knows faster ways to write, and counts in Write.
type counting struct {
	*httptest.ResponseRecorder
	n int
}

func (c *counting) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.ResponseRecorder.Write(p)
}

// countingByInterface does the same with interfaces.
type countingByInterface struct {
	http.ResponseWriter
	io.ReaderFrom
	io.StringWriter
	n int
}

func (c *countingByInterface) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.ResponseWriter.Write(p)
}

// fast has the methods itself.
type fast struct {
	http.ResponseWriter
	strings, readers int
}

func (f *fast) WriteString(s string) (int, error) {
	f.strings++
	return io.WriteString(f.ResponseWriter, s)
}

func (f *fast) ReadFrom(r io.Reader) (int64, error) {
	f.readers++
	return io.Copy(struct{ io.Writer }{f.ResponseWriter}, r)
}

type readsInto struct{ io.Writer }

func (r readsInto) ReadFrom(from io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{r.Writer}, from)
}

func TestAWriterThatEmbedsAnotherIsWrittenTo(t *testing.T) {
	for name, chain := range map[string]func(http.Handler) http.Handler{
		"Headers": must(headers.New(headers.Config{Enforce: true})).Handler,
		"CORS":    must(headers.NewCORS([]string{"https://a.example"}, headers.CORSConfig{Enforce: true})).Handler,
		"both": func(h http.Handler) http.Handler {
			return must(headers.New(headers.Config{Enforce: true})).Handler(
				must(headers.NewCORS([]string{"https://a.example"}, headers.CORSConfig{Enforce: true})).Handler(h))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := chain(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, "12345")
				io.Copy(w, strings.NewReader("6789"))
				w.(io.ReaderFrom).ReadFrom(io.LimitReader(strings.NewReader("0abc"), 3))
				w.Write([]byte("d"))
			}))
			const body = "1234567890abd"
			c := &counting{ResponseRecorder: httptest.NewRecorder()}
			h.ServeHTTP(c, get("http://example.com/"))
			if c.n != len(body) || c.Body.String() != body {
				t.Errorf("an embedded struct: %d bytes of %q were written by the method that overrides", c.n, c.Body)
			}
			rec := httptest.NewRecorder()
			i := &countingByInterface{ResponseWriter: rec, ReaderFrom: readsInto{rec}, StringWriter: rec}
			h.ServeHTTP(i, get("http://example.com/"))
			if i.n != len(body) || rec.Body.String() != body {
				t.Errorf("embedded interfaces: %d bytes of %q were written by the method that overrides", i.n, rec.Body)
			}
			f := &fast{ResponseWriter: httptest.NewRecorder()}
			h.ServeHTTP(f, get("http://example.com/"))
			if f.strings == 0 || f.readers == 0 {
				t.Errorf("a writer's own methods were called %d and %d times", f.strings, f.readers)
			}
		})
	}
}

// What is embedded can still flush.
func TestAWriterThatEmbedsAnotherKeepsItsCapabilities(t *testing.T) {
	c := &counting{ResponseRecorder: httptest.NewRecorder()}
	must(headers.New(headers.Config{Enforce: true})).Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(c, get("http://example.com/"))
	if !c.Flushed {
		t.Error("not flushed")
	}
}
