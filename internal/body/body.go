// Package body reads small request bodies, so that every handler bounds them and
// answers a wrong one alike.
package body

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/gatewright/gatewright/auth/guard"
)

// JSON returns the body of r, which must have the Content-Type application/json.
// Its errors are refusals: 415 for another Content-Type or two of them, 413 if
// the body has more than limit bytes, at once if Content-Length declares so, and
// 400 if the body ends early.
func JSON(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	types := r.Header["Content-Type"]
	media := ""
	if len(types) == 1 {
		media, _, _ = mime.ParseMediaType(types[0])
	}
	if media != "application/json" {
		return nil, &guard.Denial{
			Status: http.StatusUnsupportedMediaType,
			Code:   "unsupported_media_type",
			Detail: "The Content-Type must be application/json.",
			Err:    fmt.Errorf("the Content-Type is %.100q", types),
		}
	}
	return Read(w, r, limit)
}

// Read returns the body of r whatever its Content-Type. Its errors are those of
// [JSON].
func Read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		// The rest is not read: the client may be slow to send it.
		w.Header().Set("Connection", "close")
		return nil, tooLarge(limit)
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, guard.InvalidRequest("The request body could not be read.", err)
	}
	return b, nil
}

func tooLarge(limit int64) error {
	return &guard.Denial{
		Status: http.StatusRequestEntityTooLarge,
		Code:   guard.CodeInvalidRequest,
		Detail: "The request is too large.",
		Err:    fmt.Errorf("the body has more than %d bytes", limit),
	}
}
