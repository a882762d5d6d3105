package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/microcosm-cc/bluemonday"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/rbac"
)

// Comments: what users write for others to read. The database has the text as it
// was sent; what would be harmful depends on where the text is shown, and is made
// harmless there: escaped where it is text, cleaned where it is HTML.

const (
	maxComment  = 10_000 // bytes
	maxComments = 1000   // of one user
	maxShown    = 100    // in one answer
	maxOffset   = 100_000
)

// A comment is a row of the comments table, with the name of its author.
type comment struct {
	id, author      int64
	name            string
	content         string
	created, edited int64 // microseconds since 1970; edited 0: never
}

// A shownComment is a comment as clients see it. A page may insert content and
// html as they are.
type shownComment struct {
	ID      int64      `json:"id"`
	Author  string     `json:"author"`
	Content string     `json:"content"` // the text, escaped for HTML
	HTML    string     `json:"html"`    // the text as HTML, of which harmless elements are left
	Created time.Time  `json:"created"`
	Edited  *time.Time `json:"edited"` // null: never
}

// rich is the HTML that comments may have: text with structure, and links that
// name their address. Nothing that is fetched from elsewhere, runs, covers the
// page or has a name in it. bluemonday writes new HTML from the tokens that it
// keeps; its output is HTML and must not be unescaped.
var rich = func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("b", "blockquote", "br", "code", "em", "i", "li", "ol", "p", "pre", "strong", "ul")
	p.AllowAttrs("href").OnElements("a")
	// "https:x" is an address on the site that shows the comment.
	elsewhere := func(u *url.URL) bool { return u.Opaque == "" && u.Host != "" }
	p.AllowURLSchemeWithCustomPolicy("https", elsewhere)
	p.AllowURLSchemeWithCustomPolicy("http", elsewhere)
	p.AllowURLSchemes("mailto")
	p.AllowRelativeURLs(false)
	p.RequireParseableURLs(true)
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	return p
}()

func shownAs(c *comment) shownComment {
	out := shownComment{
		ID:      c.id,
		Author:  c.name,
		Content: html.EscapeString(c.content),
		HTML:    rich.Sanitize(c.content),
		Created: time.UnixMicro(c.created).UTC(),
	}
	if c.edited != 0 {
		edited := time.UnixMicro(c.edited).UTC()
		out.Edited = &edited
	}
	return out
}

// listComments is GET /comments/.
func (a *app) listComments(w http.ResponseWriter, r *http.Request) {
	q, err := parseListing(r.URL.RawQuery)
	if err != nil {
		a.hooks.Refuse(w, r, guard.InvalidRequest(sentence(err), err))
		return
	}
	all, err := a.comments.list(r.Context(), q)
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	out := make([]shownComment, 0, len(all))
	for i := range all {
		out = append(out, shownAs(&all[i]))
	}
	writeJSON(w, http.StatusOK, out)
}

// createComment is POST /comments/.
func (a *app) createComment(w http.ResponseWriter, r *http.Request) {
	u, err := a.current(r)
	var content string
	if err == nil {
		content, err = a.readComment(w, r)
	}
	var made *comment
	if err == nil {
		made, err = a.comments.create(r.Context(), u, content)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.Header().Set("Location", "/comments/"+strconv.FormatInt(made.id, 10))
	writeJSON(w, http.StatusCreated, shownAs(made))
}

// editComment is PUT /comments/{id}, for the author and moderators.
func (a *app) editComment(w http.ResponseWriter, r *http.Request) {
	one, err := a.commentOf(r) // the one that the guard has judged
	var content string
	if err == nil {
		content, err = a.readComment(w, r)
	}
	if err == nil {
		edited := *one
		edited.content, edited.edited = content, time.Now().UnixMicro()
		one, err = &edited, a.comments.edit(r.Context(), &edited)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, shownAs(one))
}

// deleteComment is DELETE /comments/{id}, for the author and moderators.
func (a *app) deleteComment(w http.ResponseWriter, r *http.Request) {
	one, err := a.commentOf(r)
	if err == nil {
		err = a.comments.delete(r.Context(), one.id)
	}
	if err != nil {
		a.hooks.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// readComment reads the body of a new or edited comment.
func (a *app) readComment(w http.ResponseWriter, r *http.Request) (string, error) {
	var content string
	if err := a.readJSON(w, r, map[string]any{"content": &content}); err != nil {
		return "", err
	}
	control := func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\r' && c != '\t' }
	if strings.TrimSpace(content) == "" || len(content) > maxComment || strings.ContainsFunc(content, control) {
		return "", invalid(fmt.Errorf("content: must have 1 to %d bytes, not only white space, and no control characters but line breaks and tabs", maxComment))
	}
	return content, nil
}

type commentKey struct{}

// commentOf returns the comment of the path, loaded once per request.
func (a *app) commentOf(r *http.Request) (*comment, error) {
	return guard.Once(r.Context(), commentKey{}, func() (*comment, error) {
		id, ok := parseID(r.PathValue("id"))
		if !ok {
			return nil, rbac.ErrNotFound
		}
		return a.comments.byID(r.Context(), id)
	})
}

// authorOfComment returns whose comment it is, for the guard. Every caller may
// read it, so that it exists is no secret.
func (a *app) authorOfComment(r *http.Request) (rbac.Object, error) {
	p, ok := identity.FromContext(r.Context())
	if !ok {
		return rbac.Object{}, guard.Unauthenticated()
	}
	one, err := a.commentOf(r)
	if err != nil {
		return rbac.Object{}, err
	}
	return rbac.Object{Tenant: p.Tenant, Issuer: p.Issuer, Owner: strconv.FormatInt(one.author, 10), Visible: true}, nil
}

// A listing is which comments are wanted, and in which order.
type listing struct {
	orderBy       string // of orders
	author        string // empty: all
	limit, offset int
}

// orders are the values of the parameter order, and what each is in SQL. What a
// client sends never becomes part of a statement: it chooses one.
var orders = map[string]string{
	"created":  "comments.created, comments.id",
	"-created": "comments.created DESC, comments.id DESC",
	"author":   "users.username, comments.id",
	"-author":  "users.username DESC, comments.id DESC",
	"edited":   "comments.edited, comments.id",
	"-edited":  "comments.edited DESC, comments.id DESC",
}

// parseListing reads the query of GET /comments/: order, author, limit and
// offset, each at most once, and nothing else.
func parseListing(query string) (listing, error) {
	q := listing{orderBy: orders["-created"], limit: maxShown}
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, errors.New("the query cannot be read")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name][0]
		if len(values[name]) > 1 {
			return q, fmt.Errorf("the parameter %.40q is given more than once", name)
		}
		var ok bool
		switch name {
		case "order":
			if q.orderBy, ok = orders[value]; !ok {
				return q, fmt.Errorf("order: must be one of %s", strings.Join(slices.Sorted(maps.Keys(orders)), ", "))
			}
		case "author":
			if q.author = value; !usernameForm.MatchString(value) {
				return q, errors.New("author: must be a username")
			}
		case "limit":
			if q.limit, ok = parseCount(value, maxShown); !ok || q.limit == 0 {
				return q, fmt.Errorf("limit: must be a number of 1 to %d", maxShown)
			}
		case "offset":
			if q.offset, ok = parseCount(value, maxOffset); !ok {
				return q, fmt.Errorf("offset: must be a number of 0 to %d", maxOffset)
			}
		default:
			return q, fmt.Errorf("there is no parameter %.40q; there are author, limit, offset and order", name)
		}
	}
	return q, nil
}

// parseCount reads a number in its one spelling.
func parseCount(s string, most int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= most && strconv.Itoa(n) == s
}

// sentence returns the text of an error as a sentence for the client.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// comments is the table of comments.
type comments struct{ db *sql.DB }

const commentColumns = "comments.id, comments.author, users.username, comments.content, comments.created, comments.edited"

func (s comments) list(ctx context.Context, q listing) ([]comment, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+commentColumns+` FROM comments JOIN users ON users.id = comments.author
		WHERE $1 = '' OR users.username = $1 ORDER BY `+q.orderBy+` LIMIT $2 OFFSET $3`, q.author, q.limit, q.offset)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []comment
	for rows.Next() {
		var c comment
		if err := rows.Scan(&c.id, &c.author, &c.name, &c.content, &c.created, &c.edited); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

func (s comments) byID(ctx context.Context, id int64) (*comment, error) {
	var c comment
	err := s.db.QueryRowContext(ctx, `SELECT `+commentColumns+` FROM comments JOIN users ON users.id = comments.author WHERE comments.id = $1`, id).
		Scan(&c.id, &c.author, &c.name, &c.content, &c.created, &c.edited)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, rbac.ErrNotFound
	}
	return &c, err
}

// create adds a comment, unless its author has as many as are allowed. It holds
// the author while it counts and writes, so that many at once do not get past it.
func (s comments) create(ctx context.Context, author *user, content string) (*comment, error) {
	c := comment{author: author.ID, name: author.Username, content: content, created: time.Now().UnixMicro()}
	err := locked(ctx, s.db, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `INSERT INTO comments (author, content, created, edited)
			SELECT $1, $2, $3, 0 WHERE (SELECT count(*) FROM comments WHERE author = $1) < $4 RETURNING id`,
			c.author, c.content, c.created, maxComments).Scan(&c.id)
	}, author.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tooMany("There are as many comments as one may have.")
	}
	return &c, err
}

// edit replaces the content. The comment may have been deleted meanwhile.
func (s comments) edit(ctx context.Context, c *comment) error {
	done, err := changed(s.db.ExecContext(ctx, "UPDATE comments SET content = $2, edited = $3 WHERE id = $1", c.id, c.content, c.edited))
	if err == nil && !done {
		return notFound()
	}
	return err
}

func (s comments) delete(ctx context.Context, id int64) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM comments WHERE id = $1", id)
	return err
}
