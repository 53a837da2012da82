package server

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// childEnv makes the test binary a parent that dies: see TestChildrenDieWithTheirParent.
const childEnv = "DEVENV_TEST_DIE_WITH_CHILD"

// dieWithChild starts a child that would run for an hour, prints its id, and is killed as hard as can be.
func dieWithChild() {
	p, err := start("sleep", exec.Command("sleep", "3600"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.cmd.Process.Pid)
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func TestTerminateKillsTheDeaf(t *testing.T) {
	cmd := exec.Command("sh", "-c", `trap "" TERM; echo deaf; while :; do sleep 0.05; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := start("sh", cmd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := p.terminate(100 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if alive(cmd.Process.Pid) {
		t.Error("the child is alive")
	}
	if err := p.kill(); err != nil {
		t.Errorf("to kill it again: %v", err)
	}
}

// alive doesn't count zombies, which only wait for a parent to take note.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return runtime.GOOS != "linux"
	}
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return len(state) > 0 && state[0] != 'Z' && state[0] != 'X'
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	const patience = 90 * time.Second
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
