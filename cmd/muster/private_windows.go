package main

import "syscall"

// detached puts a process into a new group, where Ctrl-C doesn't reach it.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
