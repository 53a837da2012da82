// Package doctor checks an installation of Muster: the API server, the controller and its rights, the Mondoo Operator, and
// what each AuditSync needs outside of its repository.
//
// Each category has its own file. It reads facts with the user's rights, and functions of values alone decide what they mean. A
// fact that the user may not read makes a check that was skipped, and never an error. The package writes nothing to the cluster
// or the forge, and every text of a Check is free of secrets.
//
// The main types are Options, Run and Check.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Result is how a check has ended.
type Result string

// The results.
const (
	Passed  Result = "passed"
	Warning Result = "warning"
	Failed  Result = "failed"
	Skipped Result = "skipped"
)

// Check is one thing that was checked.
type Check struct {
	Category string `json:"category"`
	// Name is what should be true.
	Name   string `json:"name"`
	Result Result `json:"result"`
	// Detail is the cause of a failure, a warning or a skipped check, or what was found.
	Detail string `json:"detail,omitempty"`
	// Fix is an instruction, with a command if there is one.
	Fix string `json:"fix,omitempty"`
}

// The categories, in their order.
const (
	categoryKubernetes = "kubernetes"
	categoryMuster     = "muster"
	categoryRights     = "rights"
	categoryOperator   = "operator"
	categoryGit        = "git"
	categoryForge      = "forge"
	categoryWebhook    = "webhook"
	categoryKeys       = "keys"
)

// Options select what to check.
type Options struct {
	// Config is how the user reaches the API server.
	Config *rest.Config
	// Namespace is that of the AuditSyncs, and Controller that of the controller.
	Namespace, Controller string
	// Sync is the only AuditSync to check, or "" for all.
	Sync string
	// Version is that of this program.
	Version string
	// Redactor learns every secret that is read.
	Redactor *redact.Redactor
	Now      func() time.Time
}

// checkup is a run.
type checkup struct {
	Options
	core    kubernetes.Interface
	dynamic dynamic.Interface
	syncs   []*v1alpha1.AuditSync
}

// Run checks everything and hands the checks over, category by category. The error is that of ctx, of report, or a
// configuration that no client accepts.
func Run(ctx context.Context, o Options, report func([]Check) error) error {
	core, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	objects, err := dynamic.NewForConfig(o.Config)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	c := &checkup{Options: o, core: core, dynamic: objects}
	for _, category := range []func(context.Context) []Check{c.kubernetes, c.muster, c.rights, c.operator, c.perSync} {
		checks := category(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for i := range checks {
			checks[i].Detail, checks[i].Fix = o.Redactor.String(checks[i].Detail), o.Redactor.String(checks[i].Fix)
			checks[i].Name = o.Redactor.String(checks[i].Name)
		}
		if err := report(checks); err != nil {
			return err
		}
		if slices.ContainsFunc(checks, func(check Check) bool { return check.Category == categoryKubernetes && check.Result == Failed }) {
			return nil // nothing else can be found out
		}
	}
	return nil
}

// passed, warning, failed and skipped make checks.
func passed(category, name, detail string) Check {
	return Check{Category: category, Name: name, Result: Passed, Detail: detail}
}

func warning(category, name, cause, fix string) Check {
	return Check{Category: category, Name: name, Result: Warning, Detail: cause, Fix: fix}
}

func failed(category, name, cause, fix string) Check {
	return Check{Category: category, Name: name, Result: Failed, Detail: cause, Fix: fix}
}

func skipped(category, name, why string) Check {
	return Check{Category: category, Name: name, Result: Skipped, Detail: why}
}

// unread is the check for a fact that could not be read: skipped if the user may not, or else failed.
func unread(category, name, what string, err error) Check {
	if apierrors.IsForbidden(err) {
		return skipped(category, name, "you may not "+what)
	}
	return failed(category, name, fmt.Sprintf("%s: %v", what, err), "check the connection to the API server, and try again")
}

// readSyncs reads the AuditSyncs to check.
func (c *checkup) readSyncs(ctx context.Context) error {
	kind := v1alpha1.GroupVersion.WithResource("auditsyncs")
	c.syncs = nil
	return c.each(ctx, kind, c.Namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		audit := &v1alpha1.AuditSync{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, audit); err != nil {
			return err
		}
		if c.Sync == "" || c.Sync == audit.Name {
			c.syncs = append(c.syncs, audit)
		}
		return nil
	})
}

// each calls visit for the objects of a kind, page by page.
func (c *checkup) each(ctx context.Context, kind schema.GroupVersionResource, namespace string, opts metav1.ListOptions, visit func(*unstructured.Unstructured) error) error {
	const pageSize = 500
	for opts.Limit = pageSize; ; {
		list, err := c.dynamic.Resource(kind).Namespace(namespace).List(ctx, opts)
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

// perSync checks what each AuditSync needs.
func (c *checkup) perSync(ctx context.Context) []Check {
	const name = "AuditSyncs can be read"
	err := c.readSyncs(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return []Check{skipped(categoryGit, name, "the API server has no AuditSyncs")}
	case err != nil:
		return []Check{unread(categoryGit, name, "list AuditSyncs in "+c.Namespace, err)}
	case len(c.syncs) == 0 && c.Sync != "":
		return []Check{failed(categoryGit, name, fmt.Sprintf("there is no AuditSync %q in %s", c.Sync, c.Namespace), "name one of muster status -o name")}
	case len(c.syncs) == 0:
		return []Check{skipped(categoryGit, name, "there is no AuditSync in "+c.Namespace)}
	}
	var checks []Check
	for _, audit := range c.syncs {
		checks = append(checks, c.sync(ctx, audit)...)
	}
	slices.SortStableFunc(checks, func(a, b Check) int {
		return slices.Index(syncCategories, a.Category) - slices.Index(syncCategories, b.Category)
	})
	return checks
}

var syncCategories = []string{categoryGit, categoryForge, categoryWebhook, categoryKeys}

// sync checks one AuditSync.
func (c *checkup) sync(ctx context.Context, audit *v1alpha1.AuditSync) []Check {
	source, checks := c.git(ctx, audit)
	defer source.close()
	checks = append(checks, c.forge(ctx, audit, source)...)
	checks = append(checks, c.webhook(ctx, audit)...)
	return append(checks, c.keys(ctx, audit, source)...)
}

// secret reads a Secret and makes it known to the redactor.
func (c *checkup) secret(ctx context.Context, name string) (map[string][]byte, error) {
	secret, err := c.core.CoreV1().Secrets(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for key, value := range secret.Data {
		if !public[key] {
			c.Redactor.Add(string(value))
		}
	}
	return secret.Data, nil
}

// public are the keys of Secrets whose values may be shown. A masked user name would make messages hard to read.
var public = map[string]bool{"username": true, "known_hosts": true, "identity.pub": true, "caFile": true, "ca.crt": true, "vault.ca.crt": true,
	"githubAppID": true, "githubAppInstallationID": true}

// secretCheck is the check for a Secret that an AuditSync names, if it could not be read.
func (c *checkup) secretCheck(category, check, name string, err error) Check {
	if apierrors.IsNotFound(err) {
		return failed(category, check, fmt.Sprintf("Secret %s does not exist in %s", name, c.Namespace),
			fmt.Sprintf("create it: kubectl -n %s create secret generic %s --from-file=KEY=FILE", c.Namespace, name))
	}
	return unread(category, check, "get Secret "+c.Namespace+"/"+name, err)
}

// plural is a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// some lists the first few texts.
func some(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
