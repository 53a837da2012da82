package server

import (
	"errors"
	"os"
	"path/filepath"
)

// controlPlanePKI is the only authority of a control plane. etcd, the API server and all clients trust only it, which also
// keeps other users of the machine out of etcd.
type controlPlanePKI struct {
	ca     *authority
	client pair // for etcd
}

// newControlPlanePKI creates the authority and writes the files of the servers: ca.crt, server.crt and .key, client.crt and
// .key for etcd, and sa.key, which signs service account tokens.
func newControlPlanePKI(dir string) (*controlPlanePKI, error) {
	ca, err := newAuthority("muster-devenv")
	if err != nil {
		return nil, err
	}
	server, err := ca.server("kubernetes", "kubernetes.default", "kubernetes.default.svc")
	if err != nil {
		return nil, err
	}
	client, err := ca.client("kube-apiserver")
	if err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	sa, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	var errs []error
	for name, content := range map[string][]byte{
		"ca.crt":     ca.pem(),
		"server.crt": server.cert, "server.key": server.key,
		"client.crt": client.cert, "client.key": client.key,
		"sa.key": sa,
	} {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return &controlPlanePKI{ca: ca, client: client}, errors.Join(errs...)
}

// ports are the ports of one control plane.
type ports struct{ etcd, peer, apiserver, manager *port }

func reservePorts() (p ports, err error) {
	for _, at := range []**port{&p.etcd, &p.peer, &p.apiserver, &p.manager} {
		if *at, err = reservePort(); err != nil {
			p.release()
			return ports{}, err
		}
	}
	return p, nil
}

func (p ports) release() {
	for _, one := range []*port{p.etcd, p.peer, p.apiserver, p.manager} {
		if one != nil {
			one.release()
		}
	}
}
