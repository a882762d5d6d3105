// Package body reads small request bodies, so that every handler has the same
// bounds and the same refusals.
package body

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
)

// JSON returns the body of r, which must have the Content-Type application/json.
// Its errors are refusals: 415 for another Content-Type or two of them, 413 if
// the body has more than limit bytes, at once if Content-Length declares so, and
// 400 if the body ends early.
func JSON(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if types := r.Header["Content-Type"]; mediaType(types) != "application/json" {
		return nil, guard.UnsupportedMediaType(fmt.Errorf("the Content-Type is %.100q", types), "application/json")
	}
	return Read(w, r, limit)
}

// mediaType returns the media type of the one Content-Type, or "".
func mediaType(types []string) string {
	if len(types) != 1 {
		return ""
	}
	media, _, err := mime.ParseMediaType(types[0])
	if err != nil {
		return ""
	}
	return media
}

// Read returns the body of r with any Content-Type. Its errors are a 413 or a 400
// as in [JSON].
func Read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		// The rest is not read: the client may be slow to send it.
		w.Header().Set("Connection", "close")
		return nil, tooLarge(limit)
	}
	// Room for small bodies at once, and never for what is only declared.
	buffer := bytes.NewBuffer(make([]byte, 0, max(min(r.ContentLength, roomFor), 0)+bytes.MinRead))
	_, err := buffer.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, guard.InvalidRequest("The request body could not be read.", err)
	}
	return buffer.Bytes(), nil
}

// roomFor is how many bytes of a declared length are allocated before they are read.
const roomFor = 2 << 10

func tooLarge(limit int64) error {
	return guard.TooLarge(fmt.Errorf("the body has more than %d bytes", limit))
}
