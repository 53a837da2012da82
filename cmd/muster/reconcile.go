package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// syncFlags select an AuditSync, and whether to wait for its next sync.
type syncFlags struct {
	namespace string
	wait      bool
	timeout   time.Duration
	where     kubeFlags
	output    *choice
}

func (f *syncFlags) add(cmd *cobra.Command, waits bool) {
	addNamespace(cmd, &f.namespace)
	if waits {
		cmd.Flags().BoolVar(&f.wait, "wait", false, "wait for the sync, and exit with 1 if it isn't ready afterwards")
		cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait")
	}
	f.where.add(cmd)
	f.output = addChoice(cmd, "output", "o", "output format of the result", "text", "json")
}

// syncChange is a command that changes one AuditSync.
type syncChange struct {
	use, short, long, example string
	waits                     bool
	// args checks the arguments after the name of the AuditSync.
	args int
	// patch returns the change, and what to print about it. at is the time of the request.
	patch func(audit *v1alpha1.AuditSync, at string, args []string) (change map[string]any, done string, err error)
}

func (c syncChange) command(s *shell) *cobra.Command {
	var flags syncFlags
	cmd := &cobra.Command{Use: c.use, Short: c.short, Long: c.long, Example: c.example, Args: atMost(1 + c.args), ValidArgsFunction: completeSyncs(s, &flags.where, &flags.namespace)}
	flags.add(cmd, c.waits)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < c.args {
			return usagef("an argument is missing: muster %s", c.use)
		}
		if err := checkNamespace(flags.namespace); err != nil {
			return err
		}
		cluster, err := flags.where.connect(s, flags.namespace)
		if err != nil {
			return err
		}
		name, rest := "", args
		if len(args) > c.args {
			name, rest = args[0], args[1:]
		}
		audit, err := cluster.auditSync(cmd.Context(), name)
		if err != nil {
			return err
		}
		return c.run(cmd.Context(), s, cluster, audit, flags, rest)
	}
	return cmd
}

func (c syncChange) run(ctx context.Context, s *shell, cluster *cluster, audit *v1alpha1.AuditSync, flags syncFlags, args []string) error {
	at := time.Now().UTC().Format(time.RFC3339Nano)
	change, done, err := c.patch(audit, at, args)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(change)
	if err != nil {
		return err
	}
	changed, err := cluster.dynamic.Resource(auditSyncs).Namespace(cluster.namespace).Patch(ctx, audit.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "muster-cli"})
	if err != nil {
		return cluster.explain("patch AuditSync "+audit.Name, err)
	}
	result := syncResult{OK: true, Namespace: cluster.namespace, Sync: audit.Name, Summary: done}
	show := func(*v1alpha1.AuditSync, bool) error { return nil }
	if flags.output.value == "text" {
		line := folded(fmt.Sprintf("AuditSync %s/%s: %s", cluster.namespace, audit.Name, done), widthOf(s.stdout), "    ")
		if _, err := fmt.Fprintln(s.stdout, line); err != nil {
			return err
		}
		show = s.conditionPrinter(audit)
	}
	if flags.wait {
		if audit, err = cluster.await(ctx, audit.Name, changed.GetGeneration(), flags.timeout, show); err != nil {
			return err
		}
		result.Conditions = s.maskedConditions(audit)
		result.OK = meta.IsStatusConditionTrue(audit.Status.Conditions, v1alpha1.ConditionReady)
	}
	if flags.output.value == "json" {
		if err := writeJSON(s.stdout, result); err != nil {
			return err
		}
	}
	if !result.OK {
		return statusError(exitFindings)
	}
	return nil
}

// syncResult is what a command that changes an AuditSync prints with -o json.
type syncResult struct {
	// OK is false if the AuditSync isn't ready after the sync that --wait waited for.
	OK        bool   `json:"ok"`
	Namespace string `json:"namespace"`
	Sync      string `json:"sync"`
	Summary   string `json:"summary"`
	// Conditions are those after the sync, with --wait.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

func (s *shell) maskedConditions(audit *v1alpha1.AuditSync) (list []metav1.Condition) {
	for _, c := range audit.Status.Conditions {
		c.Message = s.redactor.String(c.Message)
		list = append(list, c)
	}
	return list
}

// auditSync reads an AuditSync. Without a name, it is the only one of the namespace.
func (c *cluster) auditSync(ctx context.Context, name string) (*v1alpha1.AuditSync, error) {
	var names []string
	err := c.each(ctx, auditSyncs, func(u *unstructured.Unstructured) error {
		names = append(names, u.GetName())
		return nil
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("the cluster at %s has no AuditSync resource; install Muster, or choose another --context", c.host)
	case err != nil:
		return nil, c.explain("list AuditSyncs", err)
	case slices.Contains(names, name):
		return c.getSync(ctx, name)
	case len(names) == 0:
		return nil, fmt.Errorf("there is no AuditSync in the namespace %s; choose another --namespace", c.namespace)
	case name != "":
		return nil, fmt.Errorf("there is no AuditSync %q in the namespace %s; it has %s", name, c.namespace, strings.Join(names, ", "))
	case len(names) > 1:
		return nil, usagef("name an AuditSync: the namespace %s has %s", c.namespace, strings.Join(names, ", "))
	}
	return c.getSync(ctx, names[0])
}

// syncsIn returns the selected AuditSyncs of the namespace, or of all namespaces when that is "", by namespace and name.
func (c *cluster) syncsIn(ctx context.Context, want selection) ([]*v1alpha1.AuditSync, error) {
	var list []*v1alpha1.AuditSync
	err := c.each(ctx, auditSyncs, func(u *unstructured.Unstructured) error {
		audit := &v1alpha1.AuditSync{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, audit); err != nil {
			return fmt.Errorf("read AuditSync %s: %w", u.GetName(), err)
		}
		if want.has(audit) {
			list = append(list, audit)
		}
		return nil
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("the cluster at %s has no AuditSync resource; install Muster, or choose another --context", c.host)
	case err != nil:
		return nil, c.explain("list AuditSyncs", err)
	}
	return list, nil
}

// await returns the AuditSync when the requested sync has ended. Until then it is shown as it changes.
func (c *cluster) await(ctx context.Context, name string, generation int64, timeout time.Duration, show func(_ *v1alpha1.AuditSync, done bool) error) (*v1alpha1.AuditSync, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		audit, err := c.getSync(ctx, name)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if err == nil {
			done := ended(audit, generation)
			if err := show(audit, done); err != nil || done {
				return audit, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the sync of %s has not ended after %s; is the controller running? See muster status", name, timeout)
		case <-ticker.C:
		}
	}
}

// ended reports whether the last request was handled: ours, or a later one. A suspended AuditSync handles none.
func ended(audit *v1alpha1.AuditSync, generation int64) bool {
	ready := meta.FindStatusCondition(audit.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration < generation {
		return false
	}
	return audit.Spec.Suspend || audit.Status.LastHandledReconcileAt == audit.Annotations[v1alpha1.AnnotationReconcile]
}

func (c *cluster) getSync(ctx context.Context, name string) (*v1alpha1.AuditSync, error) {
	object, err := c.dynamic.Resource(auditSyncs).Namespace(c.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("the AuditSync %s was deleted", name)
	}
	if err != nil {
		return nil, c.explain("get AuditSync "+name, err)
	}
	audit := &v1alpha1.AuditSync{}
	return audit, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, audit)
}

// conditionPrinter returns a function that writes the conditions that are not as they were shown. At the end that is Ready, in any case.
func (s *shell) conditionPrinter(before *v1alpha1.AuditSync) func(*v1alpha1.AuditSync, bool) error {
	paint, shown := s.painter(s.stdout), map[string]string{}
	for _, c := range before.Status.Conditions {
		shown[c.Type] = conditionText(c)
	}
	return func(audit *v1alpha1.AuditSync, done bool) error {
		if done {
			delete(shown, v1alpha1.ConditionReady)
		}
		for _, c := range audit.Status.Conditions {
			text := conditionText(c)
			if shown[c.Type] == text {
				continue
			}
			shown[c.Type] = text
			colour := green
			if c.Status != metav1.ConditionTrue {
				colour = yellow
			}
			line := hanging(paint(colour, c.Type), c.Type, printable(s.redactor.String(text)), widthOf(s.stdout), "      ")
			if _, err := fmt.Fprintf(s.stdout, "  %s\n", line); err != nil {
				return err
			}
		}
		return nil
	}
}

func conditionText(c metav1.Condition) string {
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

func annotated(key, value string) map[string]any {
	return map[string]any{"metadata": map[string]any{"annotations": map[string]any{key: value}}}
}

func newReconcileCommand(s *shell) *cobra.Command {
	return syncChange{use: "reconcile [AUDITSYNC]", short: "Sync an AuditSync now", waits: true,
		long: `Reconcile requests a sync of an AuditSync now, instead of at its next interval. Without a name, it is the only one of the
namespace. With --wait it shows the conditions as they change, until the sync has ended.

Exit status: 0, 2 when it failed. With --wait, 1 when the AuditSync isn't ready after the sync.`,
		example: `  muster reconcile production --wait`,
		patch: func(audit *v1alpha1.AuditSync, at string, _ []string) (map[string]any, string, error) {
			if audit.Spec.Suspend {
				return nil, "", fmt.Errorf("the AuditSync %s is suspended; see muster resume", audit.Name)
			}
			return annotated(v1alpha1.AnnotationReconcile, at), "sync requested", nil
		}}.command(s)
}

func newSuspendCommand(s *shell) *cobra.Command {
	return syncChange{use: "suspend [AUDITSYNC]", short: "Stop syncing an AuditSync",
		long: `Suspend stops the syncs of an AuditSync. What is applied stays, and is no longer corrected. Without a name, it is the only
one of the namespace.`,
		example: `  muster suspend production`,
		patch: func(*v1alpha1.AuditSync, string, []string) (map[string]any, string, error) {
			return map[string]any{"spec": map[string]any{"suspend": true}}, "suspended", nil
		}}.command(s)
}

func newResumeCommand(s *shell) *cobra.Command {
	return syncChange{use: "resume [AUDITSYNC]", short: "Sync an AuditSync again", waits: true,
		long: `Resume ends the suspension of an AuditSync, and requests a sync. Without a name, it is the only one of the namespace. With
--wait it shows the conditions as they change, until the sync has ended.`,
		example: `  muster resume production --wait`,
		patch: func(_ *v1alpha1.AuditSync, at string, _ []string) (map[string]any, string, error) {
			change := annotated(v1alpha1.AnnotationReconcile, at)
			change["spec"] = map[string]any{"suspend": false}
			return change, "resumed, and a sync requested", nil
		}}.command(s)
}

func newApproveCommand(s *shell) *cobra.Command {
	return syncChange{use: "approve [AUDITSYNC] REVISION-DIGEST", short: "Approve removals that wait", args: 1, waits: true,
		long: `Approve lets an AuditSync carry out the removals that wait for approval. The argument is the value that muster status, the
finding removals-held and the commit status show: it names the commit and exactly these removals, and approves no others.

Exit status: 0, 2 when it failed. With --wait, 1 when the AuditSync isn't ready after the sync.`,
		example: `  muster approve production 5f0c1e2d3b4a59687786958493a2b1c0d9e8f706-1f2e3d4c5b6a7988 --wait`,
		patch: func(audit *v1alpha1.AuditSync, at string, args []string) (map[string]any, string, error) {
			revision := inventory.ApprovedRevision(args[0])
			switch {
			case revision == "":
				return nil, "", usagef("%q is not an approval; it has the form REVISION-DIGEST, as the finding removals-held shows it", args[0])
			case !strings.HasSuffix(audit.Status.LastAttemptedRevision, revision):
				return nil, "", fmt.Errorf("the approval is for the commit %s, but %s is at %s; approve what is shown for that", short(revision), audit.Name, shortRevision(audit.Status.LastAttemptedRevision))
			}
			change := annotated(inventory.ApproveAnnotation, args[0])
			change["metadata"].(map[string]any)["annotations"].(map[string]any)[v1alpha1.AnnotationReconcile] = at //nolint:forcetypeassert // made by annotated
			return change, "removals approved", nil
		}}.command(s)
}
