package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatewright/gatewright/auth/guard"
	"github.com/gatewright/gatewright/auth/token"
)

const (
	lifetime = 15 * time.Minute    // of an access token
	turn     = 90 * 24 * time.Hour // how long a key signs
	lead     = 24 * time.Hour      // how long a key is published before
	nameForm = "20060102T150405Z"  // of a file: when its key begins to sign
)

// A keyFolder has a PEM file for each signing key, and the key of refresh tokens.
type keyFolder struct{ path string }

// read returns the keys of the folder. It makes the first key, and the next one when
// the last key has signed for its turn less the lead.
func (f keyFolder) read(now time.Time) ([]token.Key, error) {
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(f.path, "*.pem")) // sorted
	if err != nil {
		return nil, err
	}
	var keys []token.Key
	for _, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		k, err := token.ParsePrivateKey(file)
		if err != nil {
			return nil, err
		}
		if k.SignFrom, err = time.Parse(nameForm, strings.TrimSuffix(filepath.Base(name), ".pem")); err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			k.PublishFrom = k.SignFrom.Add(-lead)
			keys[len(keys)-1].VerifyUntil = k.SignFrom.Add(lifetime + time.Hour)
		}
		keys = append(keys, k)
	}
	switch {
	case len(keys) == 0:
		err = f.add(now)
	case now.After(keys[len(keys)-1].SignFrom.Add(turn - lead)):
		err = f.add(now.Add(lead + time.Hour))
	default:
		return keys, nil
	}
	if err != nil {
		return nil, err
	}
	return f.read(now)
}

// add writes a new key that signs from a time on.
func (f keyFolder) add(signFrom time.Time) error {
	file, err := token.GeneratePrivateKey(token.ES256)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(f.path, signFrom.UTC().Format(nameForm)+".pem"), file, 0o600)
}

// rotate gives the ring the keys of the folder every hour.
func (f keyFolder) rotate(ctx context.Context, ring *token.Keyring) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
		keys, err := f.read(time.Now())
		if err == nil {
			err = ring.Replace(keys...)
		}
		if err != nil {
			slog.Error("rotating the keys", "error", err)
		}
	}
}

// refreshKey returns the secret of refresh tokens.
func (f keyFolder) refreshKey() (guard.Secret, error) {
	name := filepath.Join(f.path, "refresh.key")
	secret, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		secret = []byte(rand.Text() + rand.Text())
		err = os.WriteFile(name, secret, 0o600)
	}
	return guard.NewSecret(secret), err
}
