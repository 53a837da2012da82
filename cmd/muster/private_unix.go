//go:build unix

package main

import "syscall"

// detached puts a process into a new session, where the terminal's signals don't reach it.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
