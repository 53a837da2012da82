package server

import "syscall"

// bindToParent makes the kernel kill the child when this process dies. The child can't clean up, but its data is thrown away
// anyway.
func bindToParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
