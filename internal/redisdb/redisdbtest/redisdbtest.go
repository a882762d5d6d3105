// Package redisdbtest stands for a Redis server in the tests of the Redis stores of
// this module.
package redisdbtest

import (
	"context"
	"fmt"
	"strings"
)

// Good is the reply of a primary that keeps everything to the script of Ready.
var Good = []any{"master", "noeviction", "1"}

// A Server replies as a test requires.
type Server struct {
	Settings any // the reply to the script of Ready. If nil, Good is.
	Answer   any // the reply to other scripts
	Err      error
	Calls    []Call
}

// A Call is one call of Eval.
type Call struct {
	Script string
	Keys   []string
	Args   []any
}

// Ready reports whether the call runs the script of Ready.
func (c Call) Ready() bool { return len(c.Keys) == 1 && strings.HasSuffix(c.Keys[0], ":ready") }

// Eval records the call and replies.
func (s *Server) Eval(_ context.Context, script string, keys []string, args ...any) (any, error) {
	call := Call{script, keys, args}
	s.Calls = append(s.Calls, call)
	for _, a := range args {
		if _, ok := a.(string); !ok {
			return nil, fmt.Errorf("an argument is a %T and no string", a)
		}
	}
	switch {
	case s.Err != nil:
		return nil, s.Err
	case !call.Ready():
		return s.Answer, nil
	case s.Settings == nil:
		return Good, nil
	}
	return s.Settings, nil
}
