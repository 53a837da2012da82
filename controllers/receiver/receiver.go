package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

// Config configures the receiver, which runs in every replica.
type Config struct {
	// Address is where it listens, as host:port; empty or "0" turns it off.
	Address string
	// CertFile and KeyFile enable https. They are reloaded when they change. Without them it serves http, for an ingress that
	// terminates TLS.
	CertFile, KeyFile string
	// TrustedProxies are networks whose X-Forwarded-For is trusted, such as 10.0.0.0/8.
	TrustedProxies []string
	// MaxBody is the maximum size of a body in bytes; 0 means the default of webhook.Limits.
	MaxBody int64
}

// Enabled reports whether webhooks are received.
func (c Config) Enabled() bool { return c.Address != "" && c.Address != "0" }

// Validate returns an error if the configuration is invalid.
func (c Config) Validate() error {
	if (c.CertFile == "") != (c.KeyFile == "") {
		return errors.New("webhooks over https need both the certificate and the key")
	}
	if err := (webhook.Limits{MaxBody: c.MaxBody}).Validate(); err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	_, err := c.proxies()
	return err
}

func (c Config) proxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("the trusted proxy %q is not a network such as 10.0.0.0/8; a single address is written as 10.1.2.3/32", text)
		}
		all = append(all, prefix)
	}
	return all, nil
}

// Options are what a receiver works with.
type Options struct {
	Config
	// Namespace is the only namespace in the caches; empty for all.
	Namespace string
	// Client reads AuditSyncs and Secrets from Informers, and patches AuditSyncs.
	Client    client.Client
	Informers cache.Informers
	Registry  prometheus.Registerer
	Log       logr.Logger
}

// Receiver receives webhooks and requests syncs.
type Receiver struct {
	options  Options
	server   *webhook.Receiver
	requests *requests
	watcher  *certwatcher.CertWatcher // nil without TLS
}

// New returns a receiver, which reads the certificate and registers its metrics.
func New(opts Options) (*Receiver, error) {
	metrics, err := webhook.NewMetrics(opts.Registry)
	if err != nil {
		return nil, fmt.Errorf("register webhook metrics: %w", err)
	}
	proxies, err := opts.proxies()
	if err != nil {
		return nil, err
	}
	r := &Receiver{options: opts, requests: newRequests(opts.Client, clock.RealClock{}, opts.Log)}
	o := webhook.Options{Metrics: metrics, Log: slog.New(logr.ToSlogHandler(opts.Log)), TrustedProxies: proxies,
		Targets: &targets{reader: opts.Client, namespace: opts.Namespace, requests: r.requests},
		Limits:  webhook.Limits{MaxBody: opts.MaxBody}}
	if opts.CertFile != "" {
		if r.watcher, err = certwatcher.New(opts.CertFile, opts.KeyFile); err != nil {
			return nil, fmt.Errorf("read webhook certificate: %w", err)
		}
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: r.watcher.GetCertificate}
	}
	r.server, err = webhook.New(o)
	return r, err
}

// NeedLeaderElection returns false: every replica receives webhooks, and the leader runs the syncs.
func (r *Receiver) NeedLeaderElection() bool { return false }

// Start serves until ctx ends, and then passes on what it has received.
func (r *Receiver) Start(ctx context.Context) error {
	// In a replica that is not the leader, nothing else starts these informers.
	for _, object := range []client.Object{&v1alpha1.AuditSync{}, &corev1.Secret{}} {
		if _, err := r.options.Informers.GetInformer(ctx, object); err != nil {
			return fmt.Errorf("watch for webhooks: %w", err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", r.options.Address)
	if err != nil {
		return fmt.Errorf("listen for webhooks: %w", err)
	}
	r.options.Log.Info("listening for webhooks", "address", listener.Addr().String(), "tls", r.watcher != nil)
	if r.watcher != nil {
		go r.watcher.Start(ctx) //nolint:errcheck // it logs its errors, and the old certificate stays in use
	}
	err = r.server.Serve(ctx, listener)
	r.requests.finish()
	return err
}
