// Package servers starts the databases that integration tests run against:
// redis-server and PostgreSQL as they are installed, each test's or each
// package's own, on free ports of the loopback interface, with their data in a
// temporary folder. They end with the test.
//
// With GATEWRIGHT_REDIS (host:port) or GATEWRIGHT_POSTGRES (a URL) in the
// environment the tests use a server that runs already; they then leave their
// tables and keys behind. If neither that nor the program on PATH is there, a
// test is skipped, or fails with GATEWRIGHT_REQUIRE_REDIS=1 and
// GATEWRIGHT_REQUIRE_POSTGRES=1.
package servers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to start.
const patience = 60 * time.Second

// A Server is a process that a test started.
type Server struct {
	Addr string // host:port
	URL  string // of PostgreSQL, for a driver

	folder string
	start  func() *exec.Cmd
	ready  func() error
	cmd    *exec.Cmd
	ended  chan struct{}
	output bytes.Buffer
}

// Redis starts a redis-server that keeps what it acknowledged (appendonly,
// fsync always) and never evicts. The settings are more of its command line,
// such as "--maxmemory-policy", "allkeys-lru".
func Redis(t testing.TB, settings ...string) *Server {
	t.Helper()
	if addr := os.Getenv("GATEWRIGHT_REDIS"); addr != "" && len(settings) == 0 {
		return &Server{Addr: addr}
	}
	program := lookPath(t, "redis-server", "GATEWRIGHT_REQUIRE_REDIS")
	s := &Server{Addr: freeAddr(t), folder: t.TempDir()}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.start = func() *exec.Cmd {
		args := []string{
			"--bind", "127.0.0.1", "--port", port, "--dir", s.folder, "--save", "",
			"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--daemonize", "no",
		}
		return exec.Command(program, append(args, settings...)...)
	}
	s.ready = func() error { return ping(s.Addr) }
	s.Start(t)
	t.Cleanup(func() { s.Kill(t) })
	return s
}

// ping asks for a PONG.
func ping(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(answer[:n]), "+PONG") {
		return fmt.Errorf("PING is answered %q", answer[:n])
	}
	return nil
}

// PostgreSQL starts a PostgreSQL with an empty database.
func PostgreSQL(t testing.TB) *Server {
	t.Helper()
	if url := os.Getenv("GATEWRIGHT_POSTGRES"); url != "" {
		return &Server{URL: url}
	}
	initdb, postgres := postgresPrograms(t)
	s := &Server{Addr: freeAddr(t), folder: t.TempDir()}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.URL = "postgres://gatewright@" + s.Addr + "/postgres?sslmode=disable"
	as := unprivileged(t, s.folder)
	data := filepath.Join(s.folder, "data")
	make := exec.Command(initdb, "-D", data, "-U", "gatewright", "--auth=trust", "--encoding=UTF8", "--no-sync", "--locale=C")
	make.SysProcAttr, make.Dir = as, s.folder
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", make, err, out)
	}
	s.start = func() *exec.Cmd {
		cmd := exec.Command(postgres, "-D", data, "-p", port,
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200")
		cmd.SysProcAttr, cmd.Dir = as, s.folder
		return cmd
	}
	s.ready = func() error { return startup(s.Addr) }
	s.Start(t)
	t.Cleanup(func() { s.Kill(t) })
	return s
}

// Standby starts a PostgreSQL that follows the primary, which was started by
// PostgreSQL, and takes no writes.
func Standby(t testing.TB, primary *Server) *Server {
	t.Helper()
	if primary.folder == "" {
		t.Skip("needs a PostgreSQL that the test has started itself")
	}
	initdb, postgres := postgresPrograms(t)
	s := &Server{Addr: freeAddr(t), folder: t.TempDir()}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.URL = "postgres://gatewright@" + s.Addr + "/postgres?sslmode=disable"
	as := unprivileged(t, s.folder)
	data := filepath.Join(s.folder, "data")
	host, primaryPort, _ := net.SplitHostPort(primary.Addr)
	backup := exec.Command(filepath.Join(filepath.Dir(initdb), "pg_basebackup"),
		"-h", host, "-p", primaryPort, "-U", "gatewright", "-D", data, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync")
	backup.SysProcAttr, backup.Dir = as, s.folder
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", backup, err, out)
	}
	s.start = func() *exec.Cmd {
		cmd := exec.Command(postgres, "-D", data, "-p", port,
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200")
		cmd.SysProcAttr, cmd.Dir = as, s.folder
		return cmd
	}
	s.ready = func() error { return startup(s.Addr) }
	s.Start(t)
	t.Cleanup(func() { s.Kill(t) })
	return s
}

// PgBouncer starts a pgbouncer that pools connections to the database of the
// primary by transaction. It ends the test if pgbouncer is not installed.
func PgBouncer(t testing.TB, primary *Server) *Server {
	t.Helper()
	program := lookPath(t, "pgbouncer", "GATEWRIGHT_REQUIRE_POSTGRES")
	s := &Server{Addr: freeAddr(t), folder: t.TempDir()}
	as := unprivileged(t, s.folder)
	host, port, _ := net.SplitHostPort(s.Addr)
	primaryHost, primaryPort, _ := net.SplitHostPort(primary.Addr)
	for name, text := range map[string]string{
		"users.txt": `"gatewright" ""`,
		"pgbouncer.ini": "[databases]\n* = host=" + primaryHost + " port=" + primaryPort + "\n[pgbouncer]\n" +
			"listen_addr = " + host + "\nlisten_port = " + port + "\nauth_type = trust\nauth_file = " + filepath.Join(s.folder, "users.txt") +
			"\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\nunix_socket_dir =\nignore_startup_parameters = extra_float_digits\n",
	} {
		if err := os.WriteFile(filepath.Join(s.folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.URL = "postgres://gatewright@" + s.Addr + "/postgres?sslmode=disable"
	s.start = func() *exec.Cmd {
		cmd := exec.Command(program, filepath.Join(s.folder, "pgbouncer.ini"))
		cmd.SysProcAttr, cmd.Dir = as, s.folder
		return cmd
	}
	s.ready = func() error { return startup(s.Addr) }
	s.Start(t)
	t.Cleanup(func() { s.Kill(t) })
	return s
}

// startup begins a session of PostgreSQL's protocol: while the server recovers
// it takes connections and answers with an error.
func startup(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	const params = "user\x00gatewright\x00database\x00postgres\x00\x00"
	message := []byte{0, 0, 0, byte(8 + len(params)), 0, 3, 0, 0}
	if _, err := conn.Write(append(message, params...)); err != nil {
		return err
	}
	answer := []byte{0}
	if _, err := conn.Read(answer); err != nil {
		return err
	}
	if answer[0] != 'R' { // an Authentication message; errors begin with E
		return fmt.Errorf("the server answers %q", answer)
	}
	return nil
}

// postgresPrograms returns initdb and postgres, which Debian keeps beside each
// other and not on PATH.
func postgresPrograms(t testing.TB) (initdb, postgres string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.Sort(found)
	for _, initdb := range slices.Backward(found) {
		postgres := filepath.Join(filepath.Dir(initdb), "postgres")
		if _, err := os.Stat(postgres); err == nil {
			return initdb, postgres
		}
	}
	return lookPath(t, "initdb", "GATEWRIGHT_REQUIRE_POSTGRES"), lookPath(t, "postgres", "GATEWRIGHT_REQUIRE_POSTGRES")
}

// unprivileged returns how to run a program that refuses to be root: as the
// user nobody, who is given the folder.
func unprivileged(t testing.TB, folder string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	if err := os.Chown(folder, uid, gid); err != nil {
		t.Fatal(err)
	}
	// The folders of a test above it are its own alone.
	for at := filepath.Dir(folder); strings.HasPrefix(at, os.TempDir()) && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// Start starts the server again, on the same address with the same data.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.cmd = s.start()
	s.output.Reset()
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // how it ended does not matter
		close(ended)
	}(s.cmd, s.ended)
	err := errors.New("it was not asked")
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = s.ready(); err == nil {
			return
		}
		select {
		case <-s.ended:
			t.Fatalf("%v ended:\n%s", s.cmd, &s.output)
		default:
		}
	}
	s.Kill(t)
	t.Fatalf("%v is not ready: %v\n%s", s.cmd, err, &s.output)
}

// Kill ends the server at once, as a power cut would from its point of view,
// and waits until it is gone. A server that was not started here, or is dead
// already, is left alone.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	s.Continue()
	_ = s.cmd.Process.Kill() // it may have ended by itself
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Errorf("%v does not end", s.cmd)
	}
	s.cmd = nil
}

// Lose forgets the data of a server that was killed.
func (s *Server) Lose(t testing.TB) {
	t.Helper()
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.folder, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// Pause stops the server from doing anything, connections included, until
// Continue.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

// signal reaches the server first, so that it starts no more processes, and then
// those that it has: PostgreSQL has one for each connection, in a session of its
// own.
func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	pid := s.cmd.Process.Pid
	_ = s.cmd.Process.Signal(sig)                                                  // it may have ended
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // of Linux
	for _, field := range strings.Fields(string(children)) {
		if child, err := strconv.Atoi(field); err == nil {
			_ = syscall.Kill(child, sig)
		}
	}
}

// lookPath finds a program, or ends the test.
func lookPath(t testing.TB, program, required string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv(required) != "" {
		t.Fatalf("%s is not installed, and %s wants it", program, required)
	}
	t.Skipf("%s is not installed", program)
	return ""
}

// freeAddr returns an address of the loopback interface where nobody listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
