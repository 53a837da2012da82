// Command etcd is the upstream etcd server, unchanged. It is a separate module so that Muster's module never has to match
// etcd's requirements; cmd/devenv/server builds it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
