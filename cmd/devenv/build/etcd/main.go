// Command etcd is the upstream etcd server, unchanged. It is a module of its own so that the module
// it stands beside never has to agree with etcd's requirements; cmd/devenv/server builds it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
