package peers

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// A judge is another library.
type judge interface {
	registers(c ceremony, created string) error
	asserts(c ceremony, asserted string) error
}

// goWebAuthn is github.com/go-webauthn/webauthn.
type goWebAuthn struct{}

func (goWebAuthn) registers(c ceremony, created string) (err error) {
	defer recovered(&err)
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(created))
	if err != nil {
		return err
	}
	_, err = parsed.Verify(c.createChallenge, c.rpID, []string{c.origin}, nil, nil, protocol.TopOriginExplicitVerificationMode, false, false, true,
		nil, webauthn.CredentialParametersDefault(), protocol.AttestationPolicy{}, protocol.SignaturePolicy{})
	return err
}

func (goWebAuthn) asserts(c ceremony, asserted string) (err error) {
	defer recovered(&err)
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(asserted))
	if err != nil {
		return err
	}
	return parsed.Verify(c.assertChallenge, c.rpID, "", []string{c.origin}, nil, nil, protocol.TopOriginExplicitVerificationMode, false, true, true,
		c.credential, protocol.SignaturePolicy{})
}

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("the peer panics: %v", v)
	}
}

// simpleWebAuthn is @simplewebauthn/server in a process of node.
type simpleWebAuthn struct {
	in  *json.Encoder
	out *bufio.Scanner
}

// newSimpleWebAuthn skips the test if node or the library is missing.
func newSimpleWebAuthn(t *testing.T) judge {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("GATEWRIGHT_REQUIRE_NODE") == "1" {
		missing = t.Fatalf
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("needs node: %v", err)
	}
	if _, err := os.Stat(filepath.Join("simplewebauthn", "node_modules", "@simplewebauthn", "server")); err != nil {
		missing("needs @simplewebauthn/server, run npm --prefix examples/peers/simplewebauthn ci: %v", err)
	}
	process := exec.CommandContext(t.Context(), node, "judge.mjs")
	process.Dir, process.Stderr = "simplewebauthn", os.Stderr
	in, errIn := process.StdinPipe()
	out, errOut := process.StdoutPipe()
	if err := errors.Join(errIn, errOut, process.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = process.Wait()
	})
	return &simpleWebAuthn{json.NewEncoder(in), bufio.NewScanner(out)}
}

func (s *simpleWebAuthn) registers(c ceremony, created string) error {
	return s.judge(map[string]any{"kind": "create", "text": []byte(created), "challenge": c.createChallenge, "origin": c.origin, "rpID": c.rpID})
}

func (s *simpleWebAuthn) asserts(c ceremony, asserted string) error {
	return s.judge(map[string]any{"kind": "get", "text": []byte(asserted), "challenge": c.assertChallenge, "origin": c.origin, "rpID": c.rpID,
		"id": base64.RawURLEncoding.EncodeToString(c.id), "key": c.credential})
}

func (s *simpleWebAuthn) judge(question map[string]any) error {
	if err := s.in.Encode(question); err != nil {
		panic(err)
	}
	if !s.out.Scan() {
		panic(fmt.Sprint("the process ended: ", s.out.Err()))
	}
	if verdict := s.out.Text(); verdict != "ok" {
		return errors.New(strings.TrimPrefix(verdict, "refused: "))
	}
	return nil
}

// judges are the other libraries, by name. A subtest runs for each, and is skipped
// if it is missing.
var judges = []struct {
	name string
	open func(t *testing.T) judge
}{
	{"go-webauthn", func(*testing.T) judge { return goWebAuthn{} }},
	{"simplewebauthn", newSimpleWebAuthn},
}
