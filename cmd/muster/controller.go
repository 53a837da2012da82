package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/muster-gitops/muster/controllers"
)

const controllerHelp = `Run the controller, which keeps the audit configs of a management cluster in sync with Git.

It is meant to run in a Pod next to the Mondoo Operator; config/default installs it. Outside of a Pod it uses the same
kubeconfig as kubectl.`

const controllerExample = `  # As the Deployment in config/manager runs it
  muster controller --namespace mondoo-operator --leader-elect --cache-dir /var/cache/muster

  # Against the cluster of the current kubeconfig context, from your own machine
  muster controller --namespace mondoo-operator --cache-dir /tmp/muster

  # With webhooks behind an ingress in 10.0.0.0/8, which terminates TLS
  muster controller --cache-dir /var/cache/muster --webhook-address :9292 --webhook-trusted-proxies 10.0.0.0/8`

// newControllerCommand returns the command that runs the controller.
func newControllerCommand(s *shell) *cobra.Command {
	var opts controllers.Options
	var kubeconfig string
	maxBody := resource.QuantityValue{Quantity: resource.MustParse("8Mi")}
	var level *choice
	cmd := &cobra.Command{
		Use: "controller", Short: "Run the controller", Long: controllerHelp, Example: controllerExample,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Webhook.MaxBody = maxBody.Value(); opts.Webhook.MaxBody == 0 {
				return usagef("--webhook-max-body is 0; to turn webhooks off, leave out --webhook-address")
			}
			opts.Version = shortVersion()
			if err := opts.Validate(); err != nil {
				return &usageError{err}
			}
			return s.runController(cmd.Context(), kubeconfig, logLevels[level.value], opts)
		},
	}
	level = addChoice(cmd, "log-level", "", "how much to log", "info", "debug", "error")
	f := cmd.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the management cluster (default: the Pod's own, or kubectl's)")
	f.StringVarP(&opts.Namespace, "namespace", "n", "", "reconcile the AuditSyncs of this namespace (default: all)")
	f.StringVar(&opts.CacheDir, "cache-dir", "", "folder for clones of repositories; can be deleted at any time (required)")
	f.StringVar(&opts.MetricsAddress, "metrics-address", ":8080", "where to serve metrics at /metrics; 0 turns them off")
	f.IntVar(&opts.ClusterSeries, "metrics-cluster-series", controllers.DefaultClusterSeries, "maximum number of per-cluster metric series for an AuditSync; an AuditSync that needs more gets none; 0 turns them off")
	f.StringVar(&opts.ProbeAddress, "probe-address", ":8081", "where to serve /healthz and /readyz; 0 turns them off")
	f.StringVar(&opts.Webhook.Address, "webhook-address", "0", "where to receive webhooks, as host:port; 0 turns them off")
	f.StringVar(&opts.Webhook.CertFile, "webhook-tls-cert", "", "PEM certificate to serve webhooks over https; without it, a proxy must terminate TLS")
	f.StringVar(&opts.Webhook.KeyFile, "webhook-tls-key", "", "PEM key of that certificate")
	f.StringSliceVar(&opts.Webhook.TrustedProxies, "webhook-trusted-proxies", nil, "`networks` of proxies whose X-Forwarded-For is trusted, such as 10.0.0.0/8")
	f.Var(&maxBody, "webhook-max-body", "largest webhook body that is read")
	f.StringVar(&opts.StatusURL, "status-url", "", "link of commit statuses; {namespace}, {name} and {commit} are replaced, as in https://grafana.example.com/d/muster?var-auditsync={name}")
	f.BoolVar(&opts.LeaderElection, "leader-elect", false, "run as one of several replicas, only one of which is active")
	f.StringVar(&opts.LeaderElectionNamespace, "leader-election-namespace", "", "namespace of the lease (default: the Pod's own)")
	f.IntVar(&opts.Concurrency, "concurrency", 4, "how many AuditSyncs to render at once; four times as many may be waiting for their servers at the same time")
	f.DurationVar(&opts.SyncTimeout, "sync-timeout", controllers.DefaultSyncTimeout, "how long one sync of an AuditSync may take before it is cancelled and reported")
	f.DurationVar(&opts.ShutdownTimeout, "shutdown-timeout", 20*time.Second, "how long running syncs may take to finish after a signal to stop")
	return cmd
}

func (s *shell) runController(ctx context.Context, kubeconfig string, level slog.Level, opts controllers.Options) error {
	cfg, err := managementCluster(kubeconfig)
	if err != nil {
		return err
	}
	cfg.UserAgent = "muster/" + shortVersion()
	// The API server's priority and fairness slows the controller down where necessary. A client-side limit would only slow
	// down large fleets.
	cfg.QPS = -1
	logger := logr.FromSlogHandler(slog.NewJSONHandler(s.stderr, &slog.HandlerOptions{Level: level}))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	return controllers.Run(ctx, cfg, opts)
}

var logLevels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "error": slog.LevelError}

// managementCluster finds the cluster to work in: the given kubeconfig, the Pod's own cluster, or kubectl's current context.
func managementCluster(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if !errors.Is(err, rest.ErrNotInCluster) {
			return cfg, err
		}
	}
	where := kubeFlags{kubeconfig: kubeconfig}
	return where.load()
}
