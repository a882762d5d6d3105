package main

import (
	"context"
	"crypto"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gatewright/gatewright/auth/token"
)

// secrets are the keys of the server: made at its first start, kept in a file
// that its user alone can read, and the same for every process that shares its
// database.
type secrets struct {
	SigningKey   []byte `json:"signing_key"`   // of access tokens: ES256, PKCS #8
	RefreshKey   []byte `json:"refresh_key"`   // of refresh tokens, and what derive makes other keys of
	DemoPassword string `json:"demo_password"` // of the demo users

	fresh bool // made by this process
}

// loadSecrets reads the file, and makes it if there is none.
func loadSecrets(path string) (*secrets, error) {
	s, err := readSecrets(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if s, err = newSecrets(); err != nil {
		return nil, err
	}
	err = writeSecrets(path, s)
	if errors.Is(err, fs.ErrExist) {
		// Another process was first.
		return readSecrets(path)
	}
	return s, err
}

func newSecrets() (*secrets, error) {
	key, err := token.GenerateKey(token.ES256)
	if err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key.Signer.Unwrap())
	if err != nil {
		return nil, err
	}
	s := &secrets{SigningKey: encoded, RefreshKey: make([]byte, 32), DemoPassword: rand.Text(), fresh: true}
	rand.Read(s.RefreshKey)
	return s, nil
}

// writeSecrets makes the file whole or not at all, and never over another.
func writeSecrets(path string, s *secrets) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	data, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".secrets-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(append(data, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), path)
}

func readSecrets(path string) (*secrets, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the secrets cannot be read: %s is not a file", path)
	}
	// Windows has no such modes.
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("the secrets in %s can be read by others (mode %o): run chmod 600", path, mode)
	}
	// What is wrong is told without quoting anything of the file.
	broken := func(how string) error {
		return fmt.Errorf("the secrets in %s %s: restore the file from a backup or from another server;"+
			" if it is lost, remove it and start once with -replace-secrets, which %s", path, how, whatReplacingDoes)
	}
	var s secrets
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if decoder.Decode(&s) != nil || decoder.Decode(new(json.RawMessage)) != io.EOF {
		return nil, broken("cannot be read")
	}
	if len(s.SigningKey) == 0 || len(s.RefreshKey) < 32 || s.DemoPassword == "" {
		return nil, broken("are incomplete")
	}
	if _, err := s.ring(); err != nil {
		return nil, broken("have no signing key that can be used")
	}
	return &s, nil
}

// derive returns a key of 32 bytes for a purpose, so that the file does not
// change with every purpose, and no two purposes share a key (RFC 5869).
func (s *secrets) derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.RefreshKey, nil, "gatewright server: "+purpose, 32)
}

// errOtherSecrets is what agree returns for secrets that the database was not
// used with.
var errOtherSecrets = errors.New("these are other secrets than the database was used with")

// fingerprint returns a hash by which secrets are recognised and which tells
// nothing else about them.
func (s *secrets) fingerprint() (string, error) {
	key, err := s.derive("fingerprint")
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(s.SigningKey)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// agree refuses to go on with other secrets than the database was used with:
// they open no second factor and match no API key that is in it, and other
// servers that share it would refuse each other's tokens.
func (s *secrets) agree(ctx context.Context, db *sql.DB, path, database string) error {
	own, err := s.fingerprint()
	if err != nil {
		return err
	}
	first := own
	if s.fresh {
		// A database that has users was not used with secrets that were made
		// a moment ago.
		used := false
		if err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM users)").Scan(&used); err != nil {
			return err
		}
		if used {
			first = "lost"
		}
	}
	// The first process leaves it for the others.
	if _, err := db.ExecContext(ctx, "INSERT INTO server_secrets (one, fingerprint) VALUES (1, $1) ON CONFLICT (one) DO NOTHING", first); err != nil {
		return err
	}
	var known string
	if err := db.QueryRowContext(ctx, "SELECT fingerprint FROM server_secrets").Scan(&known); err != nil {
		return err
	}
	if known != own {
		return fmt.Errorf("-secrets %s: %w (%s): API keys and second factors in it need those. Restore the file from a backup or from another server."+
			" If it is lost, start once with -replace-secrets, which %s", path, errOtherSecrets, database, whatReplacingDoes)
	}
	return nil
}

// whatReplacingDoes is said wherever -replace-secrets is recommended.
const whatReplacingDoes = "ends all sessions, revokes all API keys and removes all second factors, and leaves passwords as they are"

// adopt makes s the secrets of the database.
func (s *secrets) adopt(ctx context.Context, db *sql.DB) error {
	own, err := s.fingerprint()
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "UPDATE server_secrets SET fingerprint = $1", own)
	return err
}

// ring returns the keys that sign and verify access tokens.
func (s *secrets) ring() (*token.Keyring, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(s.SigningKey)
	if err != nil {
		return nil, errors.New("the signing key among the secrets is not PKCS #8")
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the signing key among the secrets is a %T, which cannot sign", parsed)
	}
	return token.NewKeyring(token.Key{Algorithm: token.ES256, Signer: token.NewSigner(signer)})
}
