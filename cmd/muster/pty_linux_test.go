package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a terminal of so many columns. What is written to it comes out of screen.
func terminal(t *testing.T, columns uint16) (screen, terminal *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { screen.Close() }) //nolint:errcheck // the test ends
	check(t, unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	check(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	t.Cleanup(func() { terminal.Close() }) //nolint:errcheck // the test ends
	check(t, unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: columns}))
	return screen, terminal
}

// TestStatusInATerminal redraws a real terminal at each change, in its width, and lets no text from the cluster control it.
func TestStatusInATerminal(t *testing.T) {
	m := startManagement(t)
	m.auditSync("production", nil, nil)
	m.grant(rightsToWatch()...)
	screen, tty := terminal(t, 60)
	var seen output
	go func() {
		buffer := make([]byte, 1<<12)
		for {
			n, err := screen.Read(buffer)
			seen.Write(buffer[:n]) //nolint:errcheck // it never fails
			if err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var errs bytes.Buffer
	ended := make(chan int, 1)
	env := func(name string) string {
		return map[string]string{"XDG_CONFIG_HOME": "/nowhere", "TERM": "xterm"}[name]
	}
	go func() {
		ended <- run(ctx, []string{"status", "-w", "--kubeconfig", m.as}, strings.NewReader(""), tty, &errs, env)
	}()
	r := &running{t: t, out: &seen, errs: &output{}, cancel: cancel, ended: ended}
	const draw = "\x1b[H\x1b[2JAuditSync \x1b[1mproduction\x1b[0m  "
	r.await(draw + "\x1b[36mnot reconciled yet\x1b[0m")
	m.report("production", readyStatus("False", "FetchFailed", "evil \x1b[2J\x1b]0;title\x07 "+strings.Repeat("word ", 20)))
	r.await(draw + "\x1b[31mnot ready\x1b[0m")
	r.await("Ctrl-C ends this")
	time.Sleep(200 * time.Millisecond) // the rest of the screen
	cancel()
	if status := <-ended; status != exitStopped {
		t.Errorf("ends with %d: %s", status, errs.String())
	}
	text := seen.String()
	last := text[strings.LastIndex(text, "\x1b[H\x1b[2J")+len("\x1b[H\x1b[2J"):]
	if strings.Contains(last, "\x1b[2J") || strings.Contains(last, "\x1b]") || strings.Contains(last, "\x07") {
		t.Errorf("a text controls the terminal: %q", last)
	}
	fits(t, control.ReplaceAllString(strings.ReplaceAll(last, "\r", ""), ""), 60)
}

// TestWatchOutlivesTheAPIServer: a restart of the API server doesn't end a watch.
func TestWatchOutlivesTheAPIServer(t *testing.T) {
	m := startManagement(t)
	m.auditSync("production", nil, nil)
	m.as, m.user = m.plane.KubeconfigPath(), "admin"
	status, events := m.begin("status", "-w"), m.begin("events", "-w")
	status.await("production  not reconciled yet")
	events.await("no events")
	check(t, m.plane.RestartAPIServer(t.Context()))
	m.report("production", readyStatus("True", "Succeeded", ""))
	status.await("production  ready")
	m.event("muster.dev/v1alpha1", "AuditSync", "production", "Applied", "after the restart", time.Now())
	events.await("after the restart")
	status.stop()
	events.stop()
}
