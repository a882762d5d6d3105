package headers

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"reflect"
)

// An enforcer is a ResponseWriter that calls fix with the headers when they are sent,
// and before each informational response.
type enforcer struct {
	w    http.ResponseWriter
	fix  func(http.Header)
	done bool
}

func newEnforcer(w http.ResponseWriter, fix func(http.Header)) *enforcer {
	return &enforcer{w: w, fix: fix}
}

// commit calls fix unless the headers have been sent.
func (e *enforcer) commit() {
	if !e.done {
		e.done = true
		e.fix(e.w.Header())
	}
}

// Unwrap is for [http.ResponseController].
func (e *enforcer) Unwrap() http.ResponseWriter { return e.w }

func (e *enforcer) Header() http.Header { return e.w.Header() }

func (e *enforcer) WriteHeader(status int) {
	if 100 <= status && status <= 199 && status != http.StatusSwitchingProtocols {
		// Early hints carry the headers; the final response follows.
		if !e.done {
			e.fix(e.w.Header())
		}
		e.w.WriteHeader(status)
		return
	}
	e.commit()
	e.w.WriteHeader(status)
}

func (e *enforcer) Write(p []byte) (int, error) {
	e.commit()
	return e.w.Write(p)
}

// WriteString saves callers of [io.WriteString] a copy.
func (e *enforcer) WriteString(s string) (int, error) {
	e.commit()
	if to, ok := e.w.(io.StringWriter); ok && isOwn[io.StringWriter](e.w) {
		return to.WriteString(s)
	}
	return e.w.Write([]byte(s))
}

// ReadFrom keeps the sendfile of the writer underneath.
func (e *enforcer) ReadFrom(r io.Reader) (int64, error) {
	e.commit()
	if to, ok := e.w.(io.ReaderFrom); ok && isOwn[io.ReaderFrom](e.w) {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{e.w}, r)
}

// isOwn reports whether w itself has the methods of Faster, another way to call Write.
// Methods of an embedded field bypass the Write of w, which may count, compress or
// hash. If w has both, isOwn returns false and Write is called, which is right too.
func isOwn[Faster any](w http.ResponseWriter) bool {
	switch w.(type) {
	case flusher, hijacker, both, *enforcer: // these have no Write of their own
		return true
	}
	t := reflect.TypeOf(w)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return true
	}
	faster := reflect.TypeFor[Faster]()
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && (f.Type.Implements(faster) || reflect.PointerTo(f.Type).Implements(faster)) {
			return false
		}
	}
	return true
}

func (e *enforcer) flush() error {
	e.commit()
	return http.NewResponseController(e.w).Flush()
}

func (e *enforcer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	// The caller writes the headers itself, perhaps these.
	if !e.done {
		e.fix(e.w.Header())
	}
	conn, buffer, err := http.NewResponseController(e.w).Hijack()
	if err == nil {
		e.done = true
	}
	return conn, buffer, err
}

// writer returns e with exactly the optional methods of the writer underneath, for
// type assertions of handlers. http.Pusher is left to Unwrap.
func (e *enforcer) writer() http.ResponseWriter {
	flushes, hijacks := can(e.w)
	switch {
	case flushes && hijacks:
		return both{flusher{e}}
	case flushes:
		return flusher{e}
	case hijacks:
		return hijacker{e}
	}
	return e
}

type flusher struct{ *enforcer }

func (f flusher) Flush()            { f.flush() }
func (f flusher) FlushError() error { return f.flush() }

type hijacker struct{ *enforcer }

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.hijack() }

type both struct{ flusher }

func (b both) Hijack() (net.Conn, *bufio.ReadWriter, error) { return b.hijack() }

// can reports the optional methods of w or of a writer within it.
func can(w http.ResponseWriter) (flushes, hijacks bool) {
	for w != nil {
		switch w.(type) {
		case http.Flusher, interface{ FlushError() error }:
			flushes = true
		}
		if _, ok := w.(http.Hijacker); ok {
			hijacks = true
		}
		within, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = within.Unwrap()
	}
	return flushes, hijacks
}
