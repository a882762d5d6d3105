package integration

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	peer "github.com/pquerna/otp/totp"

	"github.com/gatewright/gatewright/auth"
	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/identity"
	"github.com/gatewright/gatewright/auth/passkey"
	passkeyredis "github.com/gatewright/gatewright/auth/passkey/redisstore"
	passkeysql "github.com/gatewright/gatewright/auth/passkey/sqlstore"
	passwordhash "github.com/gatewright/gatewright/auth/password"
	sessionsinredis "github.com/gatewright/gatewright/auth/redisstore"
	sessionstore "github.com/gatewright/gatewright/auth/sqlstore"
	"github.com/gatewright/gatewright/auth/ticket"
	ticketredis "github.com/gatewright/gatewright/auth/ticket/redisstore"
	ticketsql "github.com/gatewright/gatewright/auth/ticket/sqlstore"
	"github.com/gatewright/gatewright/auth/token"
	"github.com/gatewright/gatewright/blacklist"
	"github.com/gatewright/gatewright/blacklist/redislog"
	"github.com/gatewright/gatewright/blacklist/sqllog"
	"github.com/gatewright/gatewright/examples/integration/servers"
	"github.com/gatewright/gatewright/totp"
	factorsinredis "github.com/gatewright/gatewright/totp/redisstore"
	factorstore "github.com/gatewright/gatewright/totp/sqlstore"
)

// A waysPlace is where machines keep what they share.
type waysPlace struct {
	Engine string // SQLite, PostgreSQL or Redis
	Server string // its address or URL; for Redis the users are in the SQLite database of Users
	Users  string
}

// eachWaysPlace runs a test in each place.
func eachWaysPlace(t *testing.T, test func(t *testing.T, place waysPlace)) {
	file := func(t *testing.T) string {
		return "file:" + filepath.Join(t.TempDir(), "ways.db") + "?_pragma=busy_timeout(120000)&_pragma=journal_mode(wal)&_txlock=immediate"
	}
	t.Run("SQLite", func(t *testing.T) {
		place := waysPlace{Engine: "SQLite", Server: file(t)}
		place.create(t)
		test(t, place)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		place := waysPlace{Engine: "PostgreSQL", Server: servers.PostgreSQL(t).URL}
		place.create(t)
		test(t, place)
	})
	t.Run("Redis", func(t *testing.T) {
		place := waysPlace{Engine: "Redis", Server: servers.Redis(t, "--appendonly", "yes").Addr, Users: file(t)}
		place.create(t)
		test(t, place)
	})
}

func (p waysPlace) database(t *testing.T) (*sql.DB, sessionstore.Dialect) {
	switch p.Engine {
	case "PostgreSQL":
		return openDatabase(t, "pgx", p.Server), sessionstore.PostgreSQL
	case "SQLite":
		return openDatabase(t, "sqlite", p.Server), sessionstore.SQLite
	}
	return openDatabase(t, "sqlite", p.Users), sessionstore.SQLite
}

func (p waysPlace) create(t *testing.T) {
	t.Helper()
	db, dialect := p.database(t)
	schema := `CREATE TABLE ways_users (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, hash TEXT NOT NULL);` +
		sqlSchema(dialect) + passkeysql.Schema(dialect) + ticketsql.Schema(dialect)
	if _, err := db.ExecContext(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
}

// A waysMachine has connections and services of its own.
type waysMachine struct {
	*testing.T
	db      *sql.DB
	hasher  *passwordhash.Hasher
	replica *blacklist.Replica

	sessions sessionLister
	tickets  ticket.Store
	passkeys passkey.Store
	factors  totp.Store

	verifier *token.Verifier
	server   *auth.Server
	mail     *ticket.Service
	keys     *passkey.RelyingParty
	codes    *totp.Service

	step func(name string) // called before and after each step

	mu    sync.Mutex
	mails []ticket.Message
}

const waysOrigin = "https://example.com"

// machine opens a machine. step, if not nil, is called before and after each call
// of a store.
func (p waysPlace) machine(t *testing.T, step func(name string)) *waysMachine {
	t.Helper()
	m := &waysMachine{T: t, step: step}
	if step == nil {
		m.step = func(string) {}
	}
	var dialect sessionstore.Dialect
	m.db, dialect = p.database(t)
	var log blacklist.Log
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	if p.Engine == "Redis" {
		eval := goRedisCall(t, p.Server)
		sessions, err := sessionsinredis.New(eval, sessionsinredis.Config{})
		note(err)
		tickets, err := ticketredis.New(eval, ticketredis.Config{})
		note(err)
		keys, err := passkeyredis.New(eval, passkeyredis.Config{})
		note(err)
		factors, err := factorsinredis.New(eval, factorsinredis.Config{})
		note(err)
		m.sessions, m.tickets, m.passkeys, m.factors = sessions, tickets, keys, factors
		log, _ = goRedisLog(t, p.Server, redislog.Config{})
	} else {
		sessions, err := sessionstore.New(m.db, sessionstore.Config{Dialect: dialect})
		note(err)
		tickets, err := ticketsql.New(m.db, ticketsql.Config{Dialect: dialect})
		note(err)
		keys, err := passkeysql.New(m.db, passkeysql.Config{Dialect: dialect})
		note(err)
		factors, err := factorstore.New(m.db, factorstore.Config{Dialect: dialect})
		note(err)
		m.sessions, m.tickets, m.passkeys, m.factors = sessions, tickets, keys, factors
		log, err = sqllog.New(m.db, sqllog.Config{Dialect: dialect})
		note(err)
	}
	var err error
	m.hasher, err = passwordhash.New(passwordhash.Config{Argon2id: passwordhash.Argon2id{Memory: 64, Passes: 1, Lanes: 1}, InsecureArgon2id: true})
	note(err)
	ring, err := token.NewKeyring(token.Key{Algorithm: token.HS256, Secret: guard.NewSecret([]byte("a secret of access tokens, 32 b."))})
	note(err)
	tokens, err := token.NewIssuer(ring, token.IssuerConfig{Issuer: issuer, Audience: issuer})
	note(err)
	m.replica, err = blacklist.NewReplica(log, blacklist.ReplicaConfig{
		ReadTimeout: 20 * time.Second, WriteTimeout: time.Minute, MaxStale: time.Minute, // for a slow machine
	})
	note(err)
	sealer, err := totp.NewKeyring(bytes.Repeat([]byte{7}, 32))
	note(err)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if err := m.replica.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { m.replica.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })

	m.verifier, err = token.NewVerifier(ring, token.VerifierConfig{Issuer: issuer, Audience: issuer, Revoker: m.replica})
	note(err)
	m.codes, err = totp.New(stepFactors{m.factors, m}, sealer, totp.Config{Issuer: "Example", VerifyPassword: verifyFactorPassword})
	note(err)
	secret := guard.NewSecret([]byte("32 bytes that all machines share"))
	m.keys, err = passkey.New(stepPasskeys{m.passkeys, m}, passkey.Config{
		RPID: "example.com", Name: "Example", Origins: []string{waysOrigin}, Issuer: issuer, Keys: []guard.Secret{secret},
		Once: func(ctx context.Context, id [32]byte, expires time.Time) (bool, error) {
			defer m.around("Once")()
			return m.sessions.AttemptChallenge(ctx, auth.TokenHash(id), 1, expires)
		},
		User: func(_ context.Context, subject string) (passkey.User, error) {
			return passkey.User{Name: subject}, nil
		},
		Authorize: func(context.Context, *identity.Principal, string) error { return nil },
		SecondFactor: func(ctx context.Context, subject string) (bool, error) {
			return m.codes.Required(ctx, subject)
		},
	})
	note(err)
	m.server, err = auth.New(m, tokens, auth.Config{
		Sessions: m.sessions, RefreshKeys: []guard.Secret{secret}, Revoker: m.replica, Verifier: m.verifier, Passwords: m.hasher,
		SecondFactor: auth.EitherFactor(m.keys, m.codes), Challenges: m.sessions,
	})
	note(err)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	m.openMail()
	t.Cleanup(func() { m.mail.Close(context.Background()) })
	return m
}

// openMail opens the service of tickets.
func (m *waysMachine) openMail() {
	m.Helper()
	var err error
	secret := guard.NewSecret([]byte("32 bytes that all machines share"))
	m.mail, err = ticket.New(stepTickets{m.tickets, m}, m, ticket.Config{
		Base: "https://example.com/account/", Issuer: issuer, Keys: []guard.Secret{secret}, Queue: 1 << 16,
		Deliver: func(_ context.Context, message ticket.Message) error {
			defer m.around("Deliver")()
			m.mu.Lock()
			defer m.mu.Unlock()
			m.mails = append(m.mails, message)
			return nil
		},
		Limit:         func(context.Context, string) error { return nil },
		CheckPassword: func(string) error { return nil },
		EndSessions: func(ctx context.Context, subject string) error {
			defer m.around("EndSessions")()
			return m.server.EndSessions(ctx, identity.Revocation{Subject: subject})
		},
	})
	if err != nil {
		m.Fatal(err)
	}
}

// around marks a step: before it now, and after it when the result is called.
func (m *waysMachine) around(name string) func() {
	m.step("before " + name)
	return func() { m.step("after " + name) }
}

// The table of users, for package auth and package ticket. The login of a user is
// its ID.

func (m *waysMachine) user(ctx context.Context, column, value string) (id, email, hash string, err error) {
	err = m.db.QueryRowContext(ctx, `SELECT id, email, hash FROM ways_users WHERE `+column+` = $1`, value).Scan(&id, &email, &hash)
	return id, email, hash, err
}

func (m *waysMachine) UserByLogin(ctx context.Context, login string) (*auth.User, error) {
	return m.UserByID(ctx, login)
}

func (m *waysMachine) UserByID(ctx context.Context, id string) (*auth.User, error) {
	id, _, hash, err := m.user(ctx, "id", id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, auth.ErrNotFound
	}
	return &auth.User{ID: id, PasswordHash: hash}, err
}

func (m *waysMachine) ticketUser(ctx context.Context, column, value string) (*ticket.User, error) {
	defer m.around("looking a user up")()
	id, email, hash, err := m.user(ctx, column, value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ticket.ErrNoUser
	}
	return &ticket.User{Subject: id, Email: email, Verified: true, PasswordHash: hash}, err
}

func (m *waysMachine) UserByEmail(ctx context.Context, email string) (*ticket.User, error) {
	return m.ticketUser(ctx, "email", email)
}

func (m *waysMachine) UserBySubject(ctx context.Context, subject string) (*ticket.User, error) {
	return m.ticketUser(ctx, "id", subject)
}

func (m *waysMachine) SetPassword(ctx context.Context, subject, old, password string) error {
	hash, err := m.hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	defer m.around("SetPassword")()
	return m.changed(m.db.ExecContext(ctx, `UPDATE ways_users SET hash = $1 WHERE id = $2 AND hash = $3`, hash, subject, old))
}

func (m *waysMachine) SetEmail(ctx context.Context, subject, old, email string) error {
	defer m.around("SetEmail")()
	return m.changed(m.db.ExecContext(ctx, `UPDATE ways_users SET email = $1 WHERE id = $2 AND email = $3`, email, subject, old))
}

func (*waysMachine) changed(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); n == 0 || err != nil {
		return errors.Join(ticket.ErrChanged, err)
	}
	return nil
}

// add makes a user with a password.
func (m *waysMachine) add(id, password string) {
	m.Helper()
	hash, err := m.hasher.Hash(m.Context(), password)
	if err == nil {
		_, err = m.db.ExecContext(m.Context(), `INSERT INTO ways_users (id, email, hash) VALUES ($1, $2, $3)`, id, id+"@example.com", hash)
	}
	if err != nil {
		m.Fatal(err)
	}
}

// Stores with a step before and after each call that a proof makes.

type stepTickets struct {
	ticket.Store
	m *waysMachine
}

func (s stepTickets) FindTicket(ctx context.Context, u ticket.Use) (ticket.Ticket, error) {
	defer s.m.around("FindTicket")()
	return s.Store.FindTicket(ctx, u)
}

func (s stepTickets) UseTicket(ctx context.Context, u ticket.Use) (bool, error) {
	defer s.m.around("UseTicket")()
	return s.Store.UseTicket(ctx, u)
}

func (s stepTickets) EndTickets(ctx context.Context, which ticket.Which) error {
	defer s.m.around("EndTickets")()
	return s.Store.EndTickets(ctx, which)
}

type stepPasskeys struct {
	passkey.Store
	m *waysMachine
}

func (s stepPasskeys) Passkeys(ctx context.Context, subject string) ([]passkey.Passkey, error) {
	defer s.m.around("Passkeys")()
	return s.Store.Passkeys(ctx, subject)
}

func (s stepPasskeys) PasskeyByID(ctx context.Context, id []byte) (passkey.Passkey, error) {
	defer s.m.around("PasskeyByID")()
	return s.Store.PasskeyByID(ctx, id)
}

func (s stepPasskeys) UsePasskey(ctx context.Context, u passkey.Use) (passkey.Passkey, error) {
	defer s.m.around("UsePasskey")()
	return s.Store.UsePasskey(ctx, u)
}

func (s stepPasskeys) AddPasskey(ctx context.Context, p passkey.Passkey, max int) error {
	defer s.m.around("AddPasskey")()
	return s.Store.AddPasskey(ctx, p, max)
}

type stepFactors struct {
	totp.Store
	m *waysMachine
}

func (s stepFactors) LoadTOTP(ctx context.Context, user string) (totp.Record, error) {
	defer s.m.around("LoadTOTP")()
	return s.Store.LoadTOTP(ctx, user)
}

func (s stepFactors) SaveTOTP(ctx context.Context, user string, r totp.Record) (bool, error) {
	defer s.m.around("SaveTOTP")()
	return s.Store.SaveTOTP(ctx, user, r)
}

// post sends fields as JSON and returns the status, the body and the cookie of a
// ticket.
func (m *waysMachine) post(h http.Handler, p *identity.Principal, cookie string, body any) (int, string, string) {
	text, isText := body.(string)
	if !isText {
		b, err := json.Marshal(body)
		if err != nil {
			m.Error(err)
		}
		text = string(b)
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	if p != nil {
		r = r.WithContext(identity.NewContext(r.Context(), p))
	}
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: ticket.CookieName, Value: cookie})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		cookie = c.Value
	}
	return w.Code, w.Body.String(), cookie
}

type fields map[string]string

// mailed requests a ticket and returns its secret and the cookie of the browser.
func (m *waysMachine) mailed(p ticket.Purpose, subject string) (secret, cookie string) {
	m.Helper()
	status, body, cookie := m.post(m.mail.Request(p), nil, "", fields{"email": subject + "@example.com"})
	if status != 202 {
		m.Fatalf("status %d: %s", status, body)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		m.mu.Lock()
		for _, message := range m.mails {
			if message.Purpose == p && message.Subject == subject && !message.Link.IsZero() {
				_, secret, _ = strings.Cut(string(message.Link.Bytes()), "#")
			}
		}
		if secret != "" {
			m.mails = nil
			m.mu.Unlock()
			return secret, cookie
		}
		m.mu.Unlock()
	}
	m.Fatal("no message was delivered")
	return "", ""
}

// sessionOf returns the caller of an access token.
func (m *waysMachine) sessionOf(g granted) *identity.Principal {
	m.Helper()
	p, err := m.verifier.Verify(m.Context(), g.Access)
	if err != nil {
		m.Fatalf("%+v: %v", g, err)
	}
	return p
}

func (m *waysMachine) signIn(subject, password string) granted {
	return ask(m.server.Token(), nil, "username", subject, "password", password)
}

// by signs in by another way.
func (m *waysMachine) by(w auth.WayIn, cookie string, body any) (g granted) {
	m.Helper()
	status, text, _ := m.post(m.server.SignIn(w), nil, cookie, body)
	_ = json.Unmarshal([]byte(text), &g)
	g.status = status
	return g
}

func (m *waysMachine) byPasskey() auth.WayIn {
	return auth.WayIn{Name: "passkey", Prove: m.keys.Prove, Second: auth.SkipIfMFA}
}

func (m *waysMachine) byMail() auth.WayIn { return auth.WayIn{Name: "mail", Prove: m.mail.Prove} }

// recoveryCodes makes a second factor for subject and returns its recovery codes.
func (m *waysMachine) recoveryCodes(subject string) []string {
	m.Helper()
	p := &identity.Principal{Issuer: issuer, Subject: subject, Session: "the session of the enrolment", Factors: identity.NewSet("pwd"), AuthTime: time.Now()}
	enrolment, err := m.codes.Begin(m.Context(), p)
	if err != nil {
		m.Fatal(err)
	}
	codes, err := m.codes.Confirm(m.Context(), p, codeNow(m.T, enrolment.Secret()), totp.Password(factorPassword))
	if err != nil {
		m.Fatal(err)
	}
	return codes.All()
}

func (m *waysMachine) must(status int, g granted) granted {
	m.Helper()
	if g.status != status {
		m.Fatalf("status %d, want %d: %s", g.status, status, fmt.Sprint(g))
	}
	return g
}

// codeNow returns the one-time code of now.
func codeNow(t *testing.T, secret string) string {
	t.Helper()
	code, err := peer.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return code
}
