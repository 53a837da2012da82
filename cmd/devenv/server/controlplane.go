package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// ControlPlaneOptions configure a control plane. The zero value is valid.
type ControlPlaneOptions struct {
	// Dir is the folder for the certificates, logs, audit log and kubeconfig. All but etcd's data remains after Stop. It is
	// created if necessary. Empty means a temporary folder that Stop removes.
	Dir string
	// Log gets progress, a line at a time: mostly that a binary is being built. Nil means os.Stderr.
	Log io.Writer
	// ControllerManager also starts kube-controller-manager: garbage collection, deletion of namespaces, Jobs, service
	// accounts. It is only built if requested.
	ControllerManager bool
	// StartTimeout bounds the time from start to ready, without building. 0 means three minutes.
	StartTimeout time.Duration
}

// ControlPlane is a running Kubernetes control plane. It is safe for concurrent use.
type ControlPlane struct {
	dir     string
	temp    bool
	timeout time.Duration
	pki     *controlPlanePKI
	ports   ports
	paths   map[string]string // component to binary
	admin   *rest.Config
	audit   auditLog

	shutdown shutdown

	mu        sync.Mutex // guards the processes and stopped
	etcd      *process
	apiserver *process
	manager   *process // nil unless requested
	stopped   bool
}

// ErrStopped is the error for any call to a stopped server.
var ErrStopped = errors.New("the server is stopped")

// StartControlPlane starts etcd and kube-apiserver with RBAC and request counting, and returns when they are ready: after
// about three seconds if the binaries exist. The control plane stops with ctx.
func StartControlPlane(ctx context.Context, o ControlPlaneOptions) (_ *ControlPlane, err error) {
	o.Log, o.StartTimeout = orDefaults(o.Log, o.StartTimeout)
	c := &ControlPlane{timeout: o.StartTimeout, paths: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start the control plane: %w", err), c.Stop())
		}
	}()
	for _, component := range controlPlaneComponents() {
		if component.Name == KubeControllerManager.Name && !o.ControllerManager {
			continue
		}
		if c.paths[component.Name], err = Binary(ctx, component, o.Log); err != nil {
			return nil, err
		}
	}
	if err := c.prepare(o.Dir); err != nil {
		return nil, err
	}
	if err := c.start(ctx, o.ControllerManager); err != nil {
		return nil, err
	}
	c.shutdown.with(ctx, c.end)
	return c, nil
}

// prepare creates everything that must exist before the first process: folder, ports, certificates, files.
func (c *ControlPlane) prepare(dir string) (err error) {
	if c.dir, c.temp, err = ensureDir(dir, "muster-control-plane-"); err != nil {
		return err
	}
	c.audit.path = c.file("audit.log")
	// A reused folder may contain the audit log and, if its control plane was killed, the data of the last run.
	if err := errors.Join(os.RemoveAll(c.audit.path), os.RemoveAll(c.file("etcd"))); err != nil {
		return err
	}
	if c.ports, err = reservePorts(); err != nil {
		return err
	}
	if c.pki, err = newControlPlanePKI(c.dir); err != nil {
		return err
	}
	if err := os.WriteFile(c.file("audit-policy.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	if c.admin, err = c.User("admin", "system:masters"); err != nil {
		return err
	}
	return os.WriteFile(c.KubeconfigPath(), c.Kubeconfig(), 0o600)
}

func (c *ControlPlane) start(ctx context.Context, manager bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx); err != nil {
		return err
	}
	if !manager {
		return nil
	}
	return c.startManager(ctx)
}

// RestartAPIServer stops kube-apiserver as a rolling update does, and starts it again with the same address and data. It
// returns when the server is ready. Earlier requests and marks stay valid.
func (c *ControlPlane) RestartAPIServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return ErrStopped
	}
	if err := c.apiserver.terminate(10 * time.Second); err != nil {
		return err
	}
	return c.startAPIServer(ctx)
}

// Stop ends the processes, waits for them, and removes etcd's data, with the rest of the folder if that is temporary.
// Stopping again does nothing.
func (c *ControlPlane) Stop() error { return c.shutdown.now(c.end) }

func (c *ControlPlane) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	var errs []error
	for _, p := range []*process{c.manager, c.apiserver, c.etcd} {
		if p != nil {
			// Kill it: a graceful shutdown takes seconds and saves data that the next line deletes.
			errs = append(errs, p.kill())
		}
	}
	c.ports.release()
	if c.temp {
		return errors.Join(append(errs, os.RemoveAll(c.dir))...)
	}
	if c.dir != "" {
		errs = append(errs, os.RemoveAll(c.file("etcd")))
	}
	return errors.Join(errs...)
}

// Dir returns the folder with the logs: etcd.log, kube-apiserver.log, kube-controller-manager.log and audit.log.
func (c *ControlPlane) Dir() string { return c.dir }

// URL returns the address of the API server.
func (c *ControlPlane) URL() string { return c.ports.apiserver.url() }

// CACert returns the certificate authority of the API server, in PEM.
func (c *ControlPlane) CACert() []byte { return c.pki.ca.pem() }

// Config returns a configuration for a client with all permissions ("admin", of system:masters). Like that of every User it
// has no client-side rate limit. The caller owns it.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.admin) }

// User returns a configuration for a client with a certificate of that name and groups. RBAC grants its permissions,
// initially almost none. "system:serviceaccount:NAMESPACE:NAME", with the groups "system:serviceaccounts" and
// "system:serviceaccounts:NAMESPACE", has the permissions of that service account.
func (c *ControlPlane) User(name string, groups ...string) (*rest.Config, error) {
	p, err := c.pki.ca.client(name, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            c.URL(),
		TLSClientConfig: rest.TLSClientConfig{CAData: c.CACert(), CertData: p.cert, KeyData: p.key},
		QPS:             -1,
	}, nil
}

// Kubeconfig returns Config as a self-contained kubeconfig file.
func (c *ControlPlane) Kubeconfig() []byte { return KubeconfigFor(c.admin) }

// KubeconfigPath is the path of the file with Kubeconfig.
func (c *ControlPlane) KubeconfigPath() string { return c.file("kubeconfig") }

// KubeconfigFor returns the configuration of a User as a self-contained kubeconfig file.
func KubeconfigFor(cfg *rest.Config) []byte {
	const name = "muster-devenv"
	k := clientcmdapi.NewConfig()
	k.Clusters[name] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	k.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
	k.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	k.CurrentContext = name
	content, err := clientcmd.Write(*k)
	if err != nil {
		panic(err) // this function built the value
	}
	return content
}

func (c *ControlPlane) file(name string) string { return filepath.Join(c.dir, name) }

// ensureDir creates dir, or a temporary folder if dir is empty. The result is absolute: servers run in other folders.
func ensureDir(dir, pattern string) (path string, temp bool, err error) {
	if dir == "" {
		path, err = os.MkdirTemp("", pattern)
		return path, true, err
	}
	if path, err = filepath.Abs(dir); err != nil {
		return "", false, err
	}
	return path, false, os.MkdirAll(path, 0o700)
}
