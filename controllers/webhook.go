package controllers

import (
	"bytes"
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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

// WebhookOptions configure the webhook receiver, which runs in every replica.
type WebhookOptions struct {
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

func (o WebhookOptions) enabled() bool { return o.Address != "" && o.Address != "0" }

// Validate returns an error if the options are invalid.
func (o WebhookOptions) Validate() error {
	if (o.CertFile == "") != (o.KeyFile == "") {
		return errors.New("webhooks over https need both the certificate and the key")
	}
	if err := (webhook.Limits{MaxBody: o.MaxBody}).Validate(); err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	_, err := o.proxies()
	return err
}

func (o WebhookOptions) proxies() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range o.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("the trusted proxy %q is not a network such as 10.0.0.0/8; a single address is written as 10.1.2.3/32", text)
		}
		all = append(all, prefix)
	}
	return all, nil
}

// webhookServer runs the webhook receiver in the manager.
type webhookServer struct {
	options  WebhookOptions
	receiver *webhook.Receiver
	requests *syncRequests
	cache    cache.Cache
	watcher  *certwatcher.CertWatcher // nil without TLS
	log      logr.Logger
}

// addWebhooks adds the receiver to the manager.
func addWebhooks(mgr manager.Manager, opts Options, registry prometheus.Registerer) error {
	numbers, err := webhook.NewMetrics(registry)
	if err != nil {
		return fmt.Errorf("register webhook metrics: %w", err)
	}
	s := &webhookServer{options: opts.Webhook, cache: mgr.GetCache(), log: mgr.GetLogger().WithName("webhook")}
	s.requests = newSyncRequests(mgr.GetClient(), clock.RealClock{}, s.log)
	proxies, err := opts.Webhook.proxies()
	if err != nil {
		return err
	}
	o := webhook.Options{Metrics: numbers, Log: slog.New(logr.ToSlogHandler(s.log)), TrustedProxies: proxies,
		Targets: &webhookTargets{reader: mgr.GetClient(), namespace: opts.Namespace, requests: s.requests},
		Limits:  webhook.Limits{MaxBody: opts.Webhook.MaxBody}}
	if opts.Webhook.CertFile != "" {
		if s.watcher, err = certwatcher.New(opts.Webhook.CertFile, opts.Webhook.KeyFile); err != nil {
			return fmt.Errorf("read webhook certificate: %w", err)
		}
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.watcher.GetCertificate}
	}
	if s.receiver, err = webhook.New(o); err != nil {
		return err
	}
	return mgr.Add(s)
}

// NeedLeaderElection returns false: every replica receives webhooks, and the leader runs the syncs.
func (s *webhookServer) NeedLeaderElection() bool { return false }

// Start serves until ctx ends, and then passes on what it has received.
func (s *webhookServer) Start(ctx context.Context) error {
	// In a replica that is not the leader, nothing else starts these informers.
	for _, object := range []client.Object{&v1alpha1.AuditSync{}, &corev1.Secret{}} {
		if _, err := s.cache.GetInformer(ctx, object); err != nil {
			return fmt.Errorf("watch for webhooks: %w", err)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.options.Address)
	if err != nil {
		return fmt.Errorf("listen for webhooks: %w", err)
	}
	s.log.Info("listening for webhooks", "address", listener.Addr().String(), "tls", s.watcher != nil)
	if s.watcher != nil {
		go s.watcher.Start(ctx) //nolint:errcheck // it logs its errors, and the old certificate stays in use
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.requests.run(working)
	}()
	err = s.receiver.Serve(ctx, listener)
	stop()
	<-done
	return err
}

// webhookTargets are the AuditSyncs with a webhook, read from the cache.
type webhookTargets struct {
	reader    client.Reader
	namespace string // the only namespace in the cache; empty for all
	requests  *syncRequests
}

// Target returns an AuditSync's repository, ref and webhook secrets.
func (w *webhookTargets) Target(ctx context.Context, namespace, name string) (webhook.Target, error) {
	if w.namespace != "" && namespace != w.namespace {
		return webhook.Target{}, webhook.ErrUnknown
	}
	audit := &v1alpha1.AuditSync{}
	err := w.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, audit)
	if apierrors.IsNotFound(err) || err == nil && (audit.Spec.Webhook == nil || !audit.DeletionTimestamp.IsZero()) {
		return webhook.Target{}, webhook.ErrUnknown
	}
	if err != nil {
		return webhook.Target{}, fmt.Errorf("get AuditSync: %w", err)
	}
	secret := &corev1.Secret{}
	err = w.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: audit.Spec.Webhook.SecretRef.Name}, secret)
	if apierrors.IsNotFound(err) {
		return webhook.Target{}, webhook.ErrUnknown // the missing Secret is reported in the status
	}
	if err != nil {
		return webhook.Target{}, fmt.Errorf("get Secret: %w", err)
	}
	t := webhook.Target{Provider: webhook.Provider(audit.Spec.Webhook.Provider), RepositoryURL: audit.Spec.Source.URL}
	if ref := audit.Spec.Source.Ref; ref != nil {
		t.Ref = gitsync.Ref{Branch: ref.Branch, Tag: ref.Tag, SemVer: ref.SemVer, Commit: ref.Commit}
	}
	t.Secrets, _ = webhookSecrets(secret.Data)
	return t, nil
}

// Notify requests a sync. This includes pull requests, because their head is a ref like any other.
func (w *webhookTargets) Notify(_ context.Context, namespace, name string, _ webhook.Event) error {
	w.requests.add(types.NamespacedName{Namespace: namespace, Name: name})
	return nil
}

// The fields of a webhook's Secret.
const (
	webhookToken         = "token"
	webhookPreviousToken = "previousToken"
)

// webhookSecrets returns the usable secrets, and what is wrong with the others.
func webhookSecrets(data map[string][]byte) (secrets [][]byte, problem string) {
	for _, field := range []string{webhookToken, webhookPreviousToken} {
		value := bytes.TrimRight(data[field], "\r\n") // left by editors and --from-file
		if len(value) == 0 && field == webhookPreviousToken {
			continue
		}
		if err := webhook.CheckSecret(value); err != nil && problem == "" {
			problem = fmt.Sprintf("key %s can't be used: %v", field, err)
		} else if err == nil {
			secrets = append(secrets, value)
		}
	}
	return secrets, problem
}

// webhookStatus sets the webhook's path, and the condition that reports whether deliveries can be verified.
func (r *Reconciler) webhookStatus(ctx context.Context, audit *v1alpha1.AuditSync, status *v1alpha1.AuditSyncStatus) {
	if audit.Spec.Webhook == nil {
		status.WebhookPath = ""
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionWebhook)
		return
	}
	status.WebhookPath = webhook.Path(audit.Namespace, audit.Name)
	c := metav1.Condition{Type: v1alpha1.ConditionWebhook, Status: metav1.ConditionFalse, ObservedGeneration: audit.Generation}
	name := audit.Spec.Webhook.SecretRef.Name
	secret, failure := r.secret(ctx, audit.Namespace, name, "the secret of the webhook (spec.webhook.secretRef)")
	var problem string
	if failure == nil {
		_, problem = webhookSecrets(secret.Data)
	}
	switch {
	case !r.Webhooks:
		c.Reason, c.Message = "NotServed", "this Muster doesn't receive webhooks; start it with --webhook-address"
	case failure != nil:
		c.Reason, c.Message = failure.Reason, failure.Message
	case problem != "":
		c.Reason, c.Message = "SecretInvalid", fmt.Sprintf("Secret %s: %s", name, problem)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "Listening", "deliveries to "+status.WebhookPath+" are verified with Secret "+name
	}
	meta.SetStatusCondition(&status.Conditions, c)
}
