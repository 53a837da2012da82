//go:build unix && !linux

package server

import "syscall"

// bindToParent does nothing if the kernel has no parent-death signal: then only Stop and the end of the context stop the
// children, and killing this process leaves them running.
func bindToParent(*syscall.SysProcAttr) {}
