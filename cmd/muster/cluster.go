package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

var (
	auditConfigs = schema.GroupVersionResource{Group: mondoo.Group, Version: mondoo.Version, Resource: mondoo.Resource}
	auditSyncs   = schema.GroupVersionResource{Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "auditsyncs"}
)

const (
	// pageSize bounds what the API server returns in one response.
	pageSize = 500
	// parallel is how many Secrets are read concurrently.
	parallel = 8
	// requestTimeout bounds one request, so that the command ends if nothing answers at the address.
	requestTimeout = time.Minute
)

// kubeFlags select the management cluster, as kubectl's flags do.
type kubeFlags struct{ kubeconfig, context string }

func (k *kubeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: KUBECONFIG, then ~/.kube/config)")
	completeFiles(cmd, "kubeconfig")
	cmd.Flags().StringVar(&k.context, "context", "", "context of the kubeconfig (default: its current one)")
	completeContexts(cmd, "context", &k.kubeconfig)
}

// cluster reads one namespace of the management cluster.
type cluster struct {
	host      string
	namespace string
	core      corev1client.CoreV1Interface
	dynamic   dynamic.Interface
	config    *rest.Config
}

// load reads the same kubeconfig as kubectl.
func (k *kubeFlags) load() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.kubeconfig
	rules.Warner = func(error) {} // a missing file is an error, or irrelevant
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: k.context}).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err) && k.kubeconfig != "":
		return nil, fmt.Errorf("read kubeconfig: %s doesn't name a cluster; see kubectl config view --kubeconfig %[1]s", k.kubeconfig)
	case clientcmd.IsEmptyConfig(err):
		return nil, fmt.Errorf("no kubeconfig found; use --kubeconfig, or set KUBECONFIG")
	case err != nil && k.context != "":
		return nil, fmt.Errorf("read kubeconfig: %w; see kubectl config get-contexts", err)
	case err != nil:
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return cfg, nil
}

// connect prepares the clients. It sends no request yet.
func (k *kubeFlags) connect(s *shell, namespace string) (*cluster, error) {
	cfg, err := k.load()
	if err != nil {
		return nil, err
	}
	s.redactor.Add(cfg.BearerToken, cfg.Password)
	cfg.QPS, cfg.Burst, cfg.Timeout = 50, 300, requestTimeout // as in kubectl
	cfg.UserAgent = "muster/" + shortVersion()
	cfg.WarningHandler = rest.NoWarnings{}
	c := &cluster{host: cfg.Host, namespace: namespace, config: cfg}
	defer lendStderr(s)()
	if c.core, err = corev1client.NewForConfig(cfg); err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	if c.dynamic, err = dynamic.NewForConfig(cfg); err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return c, nil
}

// lendStderr gives clients that are created until restore is called the user's standard error: a kubeconfig may name a
// credential plugin, which prints there how to log in.
func lendStderr(s *shell) (restore func()) {
	stderr := osFile(s.stderr)
	if stderr == nil {
		return func() {}
	}
	previous := os.Stderr
	os.Stderr = stderr
	return func() { os.Stderr = previous }
}

// state is the live state of the namespace, with the AuditSyncs by name. syncs is nil if they can't be read.
type state struct {
	plan.Live
	syncs map[string]*v1alpha1.AuditSync
}

// gather reads everything except the Secrets.
func (c *cluster) gather(ctx context.Context) (*state, error) {
	s := &state{Live: plan.Live{AuditConfigs: map[string]map[string]any{}, Secrets: map[string]plan.LiveSecret{}, Syncs: map[string]bool{}}}
	err := c.each(ctx, auditConfigs, func(u *unstructured.Unstructured) error {
		s.AuditConfigs[u.GetName()] = u.Object
		return nil
	})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the cluster at %s has no MondooAuditConfig resource; install the Mondoo Operator, or choose another --context", c.host)
	}
	if err != nil {
		return nil, c.explain("list MondooAuditConfigs", err)
	}
	if err := c.inventories(ctx, s); err != nil {
		return nil, err
	}
	return s, c.auditSyncs(ctx, s)
}

// podSecurity is the Pod Security level that the namespace enforces. It is "" if the user has no permission to read the
// namespace; a plan works without it.
func (c *cluster) podSecurity(ctx context.Context) string {
	namespace, err := c.core.Namespaces().Get(ctx, c.namespace, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return namespace.Labels[controllers.PodSecurityLabel]
}

// each calls visit for all objects of a kind, page by page.
func (c *cluster) each(ctx context.Context, kind schema.GroupVersionResource, visit func(*unstructured.Unstructured) error) error {
	return c.eachOf(ctx, kind, metav1.ListOptions{}, visit)
}

// eachOf calls visit for those objects of a kind that opts selects.
func (c *cluster) eachOf(ctx context.Context, kind schema.GroupVersionResource, opts metav1.ListOptions, visit func(*unstructured.Unstructured) error) error {
	opts.Limit = pageSize
	for {
		list, err := c.dynamic.Resource(kind).Namespace(c.namespace).List(ctx, opts)
		if err != nil {
			return err
		}
		for i := range list.Items {
			if err := visit(&list.Items[i]); err != nil {
				return err
			}
		}
		if opts.Continue = list.GetContinue(); opts.Continue == "" {
			return nil
		}
	}
}

func (c *cluster) inventories(ctx context.Context, s *state) error {
	list, err := c.core.ConfigMaps(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: inventory.Label})
	if err != nil {
		return c.explain("list the ConfigMaps with inventories", err)
	}
	for _, configMap := range list.Items {
		inv, err := inventory.Decode(configMap.BinaryData[inventory.DataKey])
		if err != nil {
			return fmt.Errorf("read ConfigMap %s/%s: %w; restore it from a backup", c.namespace, configMap.Name, err)
		}
		s.Inventories = append(s.Inventories, inv)
	}
	return nil
}

// auditSyncs reads the policies, and tells abandoned inventories from those in use. If AuditSyncs can't be read, no
// inventory counts as abandoned.
func (c *cluster) auditSyncs(ctx context.Context, s *state) error {
	s.syncs = map[string]*v1alpha1.AuditSync{}
	err := c.each(ctx, auditSyncs, func(u *unstructured.Unstructured) error {
		audit := &v1alpha1.AuditSync{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, audit); err != nil {
			return fmt.Errorf("read AuditSync %s: %w", u.GetName(), err)
		}
		s.syncs[u.GetName()], s.Syncs[u.GetName()] = audit, true
		controllers.Reserve(&s.Live, audit)
		return nil
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil // Muster isn't installed yet
	case apierrors.IsForbidden(err):
		for _, inv := range s.Inventories {
			s.Syncs[inv.Sync] = true
		}
		return nil
	case err != nil:
		return c.explain("list AuditSyncs", err)
	}
	return nil
}

// addSecrets reads the Secrets with these names. Those of the AuditSync are read with one list request if that is permitted,
// all others one by one.
func (c *cluster) addSecrets(ctx context.Context, live *plan.Live, syncName string, names []string) error {
	if syncName != "" {
		if err := c.listSecrets(ctx, live, syncName); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	var mu sync.Mutex
	var missing []string
	for _, name := range names {
		if _, have := live.Secrets[name]; !have {
			missing = append(missing, name)
		}
	}
	for _, name := range missing {
		group.Go(func() error {
			secret, err := c.core.Secrets(c.namespace).Get(ctx, name, metav1.GetOptions{})
			switch {
			case apierrors.IsNotFound(err):
				return nil
			case err != nil:
				return c.explain("get Secret "+c.namespace+"/"+name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			live.Secrets[name] = liveSecret(secret)
			return nil
		})
	}
	return group.Wait()
}

func (c *cluster) listSecrets(ctx context.Context, live *plan.Live, syncName string) error {
	opts := metav1.ListOptions{LabelSelector: fleet.LabelSync + "=" + syncName, Limit: pageSize}
	for {
		list, err := c.core.Secrets(c.namespace).List(ctx, opts)
		switch {
		case apierrors.IsForbidden(err):
			return nil
		case err != nil:
			return c.explain("list Secrets", err)
		}
		for i := range list.Items {
			live.Secrets[list.Items[i].Name] = liveSecret(&list.Items[i])
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return nil
		}
	}
}

func liveSecret(s *corev1.Secret) plan.LiveSecret {
	return plan.LiveSecret{Type: string(s.Type), Labels: s.Labels, Annotations: s.Annotations, Data: s.Data, Immutable: s.Immutable != nil && *s.Immutable,
		ManagedFields: s.ManagedFields}
}

// explain adds a fix to an API error.
func (c *cluster) explain(what string, err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: %w; %s rejected the credentials of the kubeconfig; log in again", what, err, c.host)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w; this needs permission to %s", what, err, what)
	case apierrors.ReasonForError(err) == metav1.StatusReasonUnknown:
		return fmt.Errorf("%s: %w; check that %s is the right address and reachable from here", what, err, c.host)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}
