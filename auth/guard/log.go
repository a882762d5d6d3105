package guard

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
	"unicode"
)

// Log returns a function for Hooks.Observe that writes each event to l, with the
// event's name as the message. Refusals are warnings; failures of the server and
// [EventTokenReuse] are errors; other events are information, and so are anonymous
// requests, 404 and 405 without a route, and requests that the client gave up. Log
// panics if l is nil.
//
// The attributes of one event, which the package page lists, take at most 4 KiB in
// a line of slog's JSONHandler and TextHandler; longer values are cut.
func Log(l *slog.Logger) func(context.Context, Event) {
	if l == nil {
		panic("guard: Log needs a logger")
	}
	return func(ctx context.Context, e Event) {
		level := e.level()
		if !l.Enabled(ctx, level) {
			return
		}
		at := e.Time
		if at.IsZero() {
			at = time.Now()
		}
		r := slog.NewRecord(at.UTC().Truncate(time.Microsecond), level, clean(string(e.Name)), 0)
		r.AddAttrs(bounded(e.attrs())...)
		// As of Logger: an event does not fail because its line cannot be written.
		_ = l.Handler().Handle(ctx, r)
	}
}

// attrs returns the attributes of the line of e, cleaned.
func (e Event) attrs() []slog.Attr {
	attrs := make([]slog.Attr, 0, 12)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, clean(value)))
		}
	}
	if e.Principal != nil {
		attrs = append(attrs, slog.GroupAttrs("principal", cleanGroup(e.Principal.LogValue())...))
	}
	add("login", e.Login)
	add("way", e.Way)
	add("target", e.Target)
	add("session", e.Session)
	if changes := cleanChanges(e.Changes); len(changes) > 0 {
		for i, c := range changes {
			if c.Value.Kind() == slog.KindDuration {
				changes[i].Value = slog.StringValue(c.Value.Duration().String())
			}
		}
		attrs = append(attrs, slog.GroupAttrs("changes", changes...))
	}
	add("outcome", e.outcome())
	if d := e.Denial; d != nil {
		attrs = append(attrs, slog.Int("status", d.Status), slog.String("code", clean(d.Code)))
		if d.Err != nil {
			attrs = append(attrs, slog.String("reason", clean(d.Err.Error())))
		}
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", clean(e.Err.Error())))
	}
	if f := e.Request; f != (RequestFacts{}) {
		request := []slog.Attr{
			slog.String("method", clean(f.Method)),
			slog.String("pattern", clean(f.Pattern)),
			slog.String("path", clean(f.Path)),
			slog.String("host", clean(f.Host)),
			slog.String("remote_addr", clean(f.RemoteAddr)),
			slog.String("user_agent", clean(f.UserAgent)),
		}
		if f.TraceID != "" {
			request = append(request, slog.String("trace_id", clean(f.TraceID)))
		}
		attrs = append(attrs, slog.GroupAttrs("request", request...))
	}
	return attrs
}

// outcome returns what became of the event: a failure is one of the server.
func (e Event) outcome() string {
	switch {
	case e.Denial != nil && e.Denial.Status >= 400 && e.Denial.Status < 500, e.Name == EventCrossOrigin:
		return "refused"
	case e.Denial != nil, e.Err != nil:
		return "failed"
	}
	return "success"
}

// maxLine is how long a line of Log may be, in bytes, and lineRest what the handler
// adds: time, level, punctuation.
const (
	maxLine  = 4096
	lineRest = 256
)

// bounded returns attrs with values that are as short as the line needs. With 24
// bytes a value, all attributes that an event can have fit.
func bounded(attrs []slog.Attr) []slog.Attr {
	for most := 128; lineCost("", attrs) > maxLine-lineRest && most >= 24; most = most * 3 / 4 {
		shorten(attrs, most)
	}
	return attrs
}

// lineCost returns how many bytes attrs are at most in a line of a TextHandler or a
// JSONHandler.
func lineCost(group string, attrs []slog.Attr) int {
	n := 0
	for _, a := range attrs {
		n += len(group) + len(a.Key) + len(`,"":"",.`)
		switch v := a.Value; v.Kind() {
		case slog.KindGroup:
			n += lineCost(a.Key, v.Group())
		case slog.KindString:
			n += cost(v.String())
		case slog.KindAny:
			for _, name := range v.Any().([]string) {
				n += cost(name) + 3
			}
		default:
			n += 32 // a number or a time
		}
	}
	return n
}

// cost returns how many bytes s, which is clean, is at most between quotation marks.
func cost(s string) int {
	n := len(s)
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			n++
		case !unicode.IsPrint(r):
			n += len(`\U00000000`)
		}
	}
	return n
}

// shorten cuts each value in attrs so that it costs at most that many bytes.
func shorten(attrs []slog.Attr, most int) {
	for i, a := range attrs {
		switch v := a.Value; v.Kind() {
		case slog.KindGroup:
			shorten(v.Group(), most)
		case slog.KindString:
			attrs[i].Value = slog.StringValue(cut(v.String(), most))
		case slog.KindAny:
			attrs[i].Value = slog.AnyValue(cleanList(v.Any().([]string), most))
		}
	}
}

func cut(s string, most int) string {
	if cost(s) <= most {
		return s
	}
	room := most - len("…")
	for i, r := range s {
		if room -= cost(string(r)); room < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// cleanGroup returns the attributes of v, cleaned: a remote issuer may let its
// users choose what is a subject.
func cleanGroup(v slog.Value) []slog.Attr {
	attrs := v.Group()
	for i := range attrs {
		if attrs[i].Value.Kind() == slog.KindString {
			attrs[i].Value = slog.StringValue(clean(attrs[i].Value.String()))
		}
	}
	return attrs
}

func (e Event) level() slog.Level {
	switch {
	case e.Name == EventMisconfigured, e.Name == EventOmitted, e.Name == EventCrossOrigin && e.Denial == nil:
		return slog.LevelWarn // clients can cause it
	case e.Name == EventTokenReuse, e.Err != nil:
		return slog.LevelError
	case e.Denial == nil, errors.Is(e.Denial.Err, errClientGone):
		return slog.LevelInfo
	case e.Denial.Status >= 500:
		return slog.LevelError
	case errors.Is(e.Denial.Err, ErrNoCredentials):
		return slog.LevelInfo
	case e.Denial.event() == EventInputFail && (e.Denial.Status == http.StatusNotFound || e.Denial.Status == http.StatusMethodNotAllowed):
		return slog.LevelInfo // no route, of this router or another
	}
	return slog.LevelWarn
}
