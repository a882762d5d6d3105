package integration

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestSignalEndsTheServerAfterItsRequestsAndASecondOneAtOnce(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such signals")
	}
	interrupted := func(p *process, within time.Duration) error {
		t.Helper()
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.ended:
			return p.err
		case <-time.After(within):
			return errStillRunning
		}
	}
	p := server(t, filepath.Join(t.TempDir(), "server.db"))
	if err := interrupted(p, 10*time.Second); err != nil {
		t.Errorf("with nothing to do: %v, want exit status 0", err)
	}

	p = server(t, filepath.Join(t.TempDir(), "server.db"))
	// Somebody who never sends the body that was promised.
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := interrupted(p, time.Second); err != errStillRunning {
		t.Fatalf("a request was cut off: %v", err)
	}
	if err := interrupted(p, 3*time.Second); err == errStillRunning {
		t.Error("the second signal waits too")
	}
}

var errStillRunning = fmt.Errorf("it is still running")
