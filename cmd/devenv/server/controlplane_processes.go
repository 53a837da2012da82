package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"strconv"

	"k8s.io/client-go/rest"
)

func (c *ControlPlane) startEtcd(ctx context.Context) (err error) {
	client, peer := c.ports.etcd.url(), c.ports.peer.url()
	c.etcd, err = c.spawn(Etcd, []string{
		"--name=etcd",
		"--data-dir=" + c.file("etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=etcd=" + peer,
		"--socket-reuse-port",
		"--cert-file=" + c.file("server.crt"), "--key-file=" + c.file("server.key"),
		"--client-cert-auth", "--trusted-ca-file=" + c.file("ca.crt"),
		"--peer-cert-file=" + c.file("server.crt"), "--peer-key-file=" + c.file("server.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + c.file("ca.crt"),
		"--unsafe-no-fsync", // the data doesn't outlive the process
		"--log-level=warn",
	})
	if err != nil {
		return err
	}
	tls, err := c.pki.ca.clientTLS(c.pki.client)
	if err != nil {
		return err
	}
	return awaitTLS(ctx, c.etcd, client+"/health", tls)
}

func (c *ControlPlane) startAPIServer(ctx context.Context) (err error) {
	c.apiserver, err = c.spawn(KubeAPIServer, []string{
		"--bind-address=" + loopback, "--secure-port=" + strconv.Itoa(c.ports.apiserver.number), "--permit-port-sharing",
		"--advertise-address=" + loopback, "--endpoint-reconciler-type=none", // Endpoints may not hold a loopback address
		"--tls-cert-file=" + c.file("server.crt"), "--tls-private-key-file=" + c.file("server.key"),
		"--client-ca-file=" + c.file("ca.crt"),
		"--etcd-servers=" + c.ports.etcd.url(), "--etcd-cafile=" + c.file("ca.crt"),
		"--etcd-certfile=" + c.file("client.crt"), "--etcd-keyfile=" + c.file("client.key"),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.file("sa.key"), "--service-account-signing-key-file=" + c.file("sa.key"),
		"--service-cluster-ip-range=10.0.0.0/24",
		// No kubelet runs Pods here, and without kube-controller-manager there is no "default" service account for them.
		"--disable-admission-plugins=ServiceAccount",
		"--allow-privileged",
		"--audit-policy-file=" + c.file("audit-policy.yaml"),
		"--audit-log-path=" + c.audit.path,
		"--audit-log-mode=blocking",    // on disk before the client has its answer; see auditLog
		"--audit-log-maxsize=10000000", // MiB; 0 would mean 100 and then a rotation, which auditLog doesn't follow
	})
	if err != nil {
		return err
	}
	tls, err := rest.TLSConfigFor(c.admin)
	if err != nil {
		return err
	}
	return awaitTLS(ctx, c.apiserver, c.URL()+"/readyz", tls)
}

func (c *ControlPlane) startManager(ctx context.Context) error {
	cfg, err := c.User("system:kube-controller-manager")
	if err != nil {
		return err
	}
	kubeconfig := c.file("kube-controller-manager.kubeconfig")
	if err := os.WriteFile(kubeconfig, KubeconfigFor(cfg), 0o600); err != nil {
		return err
	}
	c.ports.manager.yield()
	c.manager, err = c.spawn(KubeControllerManager, []string{
		"--kubeconfig=" + kubeconfig,
		"--bind-address=" + loopback, "--secure-port=" + strconv.Itoa(c.ports.manager.number),
		"--tls-cert-file=" + c.file("server.crt"), "--tls-private-key-file=" + c.file("server.key"),
		"--service-account-private-key-file=" + c.file("sa.key"), "--root-ca-file=" + c.file("ca.crt"),
		"--use-service-account-credentials", // each controller has its own permissions, as in real clusters
		"--leader-elect=false",
	})
	if err != nil {
		return err
	}
	tls, err := rest.TLSConfigFor(c.admin)
	if err != nil {
		return err
	}
	return awaitTLS(ctx, c.manager, c.ports.manager.url()+"/healthz", tls)
}

func (c *ControlPlane) spawn(component Component, args []string) (*process, error) {
	return launch(component.Name, c.dir, exec.Command(c.paths[component.Name], args...))
}

func awaitTLS(ctx context.Context, p *process, url string, tls *tls.Config) error {
	return p.awaitReady(ctx, &http.Transport{TLSClientConfig: tls}, url)
}
