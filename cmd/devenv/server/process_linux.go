package server

import "syscall"

// bindToParent has the kernel kill the child when this process dies. The child isn't asked: what it holds is thrown away.
func bindToParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
