package ratelimit

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// statusWriter records the status of the response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// final returns the status after the handler: 200 if it wrote nothing.
func (w *statusWriter) final() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

func (w *statusWriter) WriteHeader(status int) {
	// 1xx but 101 come before the response.
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.wrote()
	return w.ResponseWriter.Write(p)
}

// ReadFrom lets io.Copy use sendfile.
func (w *statusWriter) ReadFrom(r io.Reader) (int64, error) {
	w.wrote()
	return io.Copy(w.ResponseWriter, r)
}

// Flush and Hijack are for handlers without a http.ResponseController.
func (w *statusWriter) Flush() {
	w.wrote()
	http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil && w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) wrote() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}
