//go:build unix && !linux

package server

import "syscall"

// bindToParent does nothing where the kernel has no parent-death signal: there, only Stop and the context's end stop the
// children, and killing this process leaves them.
func bindToParent(*syscall.SysProcAttr) {}
