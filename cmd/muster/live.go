package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// liveFlags are kubeFlags for commands that can run without a cluster.
type liveFlags struct {
	kubeFlags
	live bool
}

func (l *liveFlags) add(cmd *cobra.Command) {
	l.kubeFlags.add(cmd)
	cmd.Flags().BoolVar(&l.live, "live", false, "also read the management cluster; --kubeconfig and --context imply it")
}

// connect returns nil when the command only reads files.
func (l *liveFlags) connect(s *shell, namespace string) (*cluster, error) {
	if !l.live && l.kubeconfig == "" && l.context == "" {
		return nil, nil
	}
	return l.kubeFlags.connect(s, namespace)
}

// gatherIfLive is gather for commands that can run without a cluster. The state is nil then.
func (f *folder) gatherIfLive(ctx context.Context) (*state, compile.Options, error) {
	if f.cluster == nil {
		return nil, f.opts, nil
	}
	return f.gather(ctx)
}

// scans derives the state of the scans of an audit config. owned are the clusters that AuditSyncs have applied. When the
// user has no permission to list the objects, note says so.
func (c *cluster) scans(ctx context.Context, s *shell, auditConfig map[string]any, owned map[string]ownedItem) (list []scanstate.Status, note string, err error) {
	object := unstructured.Unstructured{Object: auditConfig}
	entries, err := scanEntries(&object, owned)
	if err != nil {
		return nil, "", fmt.Errorf("read MondooAuditConfig %s: %w", object.GetName(), err)
	}
	log.SetLogger(logr.Discard()) // without a logger, a command that runs for 30 seconds prints a warning with its stack
	reader, err := client.New(c.config, client.Options{Scheme: clientscheme.Scheme})
	if err != nil {
		return nil, "", c.explain("read scans", err)
	}
	observed, err := scanstate.Reader{Client: reader}.Read(ctx, c.namespace, object.GetName())
	switch {
	case apierrors.IsForbidden(err):
		return nil, "scans are not shown: no permission to list CronJobs, Jobs and Pods in " + c.namespace, nil
	case err != nil:
		return nil, "", c.explain("read scans", err)
	}
	return scanstate.Derive(scanstate.Input{Entries: entries, Paused: scanstate.ScanningPaused(auditConfig), Reported: scanstate.ReportedScans(auditConfig), Observed: observed,
		Redact: s.redactor.String, Now: time.Now()}), "", nil
}

// ownedItem is a cluster that an AuditSync has applied.
type ownedItem struct {
	inventory.Item
	sync string
}

// items are the clusters of an audit config that AuditSyncs have applied, by name.
func items(inventories []*inventory.Inventory, auditConfig, sync string) map[string]ownedItem {
	list := map[string]ownedItem{}
	for _, inv := range inventories {
		if inv.AuditConfig != auditConfig || sync != "" && inv.Sync != sync {
			continue
		}
		for _, item := range inv.Clusters {
			list[item.Name] = ownedItem{item, inv.Sync}
		}
	}
	return list
}

// scanEntries are the entries of an audit config, each with the time of its last change: the time in the inventory, or else
// the latest possible time.
func scanEntries(auditConfig *unstructured.Unstructured, owned map[string]ownedItem) ([]scanstate.Entry, error) {
	entries, err := scanstate.Entries(auditConfig.Object, appliedAt(auditConfig))
	if err != nil {
		return nil, err
	}
	for i := range entries {
		if item := owned[entries[i].Name]; !item.Applied.IsZero() {
			entries[i].Applied = item.Applied
		}
	}
	return entries, nil
}

// appliedAt is when Muster last changed an audit config, according to the API server. For one that it has never applied, it
// is the creation time.
func appliedAt(object *unstructured.Unstructured) time.Time {
	at := object.GetCreationTimestamp().Time
	for _, field := range object.GetManagedFields() {
		if slices.Contains([]string{controllers.FieldManager, controllers.ListManager}, field.Manager) && field.Time != nil && field.Time.After(at) {
			at = field.Time.Time
		}
	}
	return at
}

// expiries are how long credentials work, by the name of the Secret that Muster has applied. Secrets are read page by page, and
// none of their content is kept or shown.
func (c *cluster) expiries(ctx context.Context, now time.Time) (ends map[string][]credential.Term, note string, err error) {
	ends = map[string][]credential.Term{}
	opts := metav1.ListOptions{LabelSelector: fleet.LabelSync, Limit: pageSize}
	for {
		list, err := c.core.Secrets(c.namespace).List(ctx, opts)
		switch {
		case apierrors.IsForbidden(err):
			return nil, "expiry of credentials is not shown: no permission to list Secrets in " + c.namespace, nil
		case err != nil:
			return nil, "", c.explain("list Secrets", err)
		}
		for i := range list.Items {
			terms := explain.Terms(list.Items[i].Data, now)
			if list.Items[i].Annotations[fleet.AnnotationRenewed] != "" { // its end matters only when it wasn't renewed in time
				terms = slices.DeleteFunc(terms, func(t credential.Term) bool { return t.Kind == credential.KindToken && t.Until.After(now) })
			}
			ends[list.Items[i].Name] = terms
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return ends, "", nil
		}
	}
}

// since tells how long ago t was, and in how long until t, in the largest unit.
func since(now, t time.Time) string { return span(now.Sub(t)) + " ago" }
func in(now, t time.Time) string    { return "in " + span(t.Sub(now)) }

// span is a duration in its largest unit.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// expires formats the time at which a credential expires, and colours it by urgency.
func expires(now, end time.Time, stage credential.Stage) (string, colour) {
	if end.IsZero() {
		return "-", dim
	}
	day := end.UTC().Format(time.DateOnly)
	switch {
	case !end.After(now):
		return day + " (expired)", red
	case stage != credential.Lasting:
		return day + " (" + in(now, end) + ")", yellow
	}
	return day, ""
}

// worst is the last stage that one of the terms has reached.
func worst(terms []credential.Term, now time.Time, warnBefore time.Duration) credential.Stage {
	reached := credential.Lasting
	for _, t := range terms {
		stage, _ := t.Stage(now, warnBefore)
		reached = max(reached, stage)
	}
	return reached
}

// scanColour is the colour for the state of a scan.
func scanColour(state scanstate.State) colour {
	switch state {
	case scanstate.Failed, scanstate.NotPickedUp:
		return red
	case scanstate.Overdue:
		return yellow
	case scanstate.Running, scanstate.Awaiting:
		return cyan
	case scanstate.Succeeded:
		return green
	case scanstate.Paused:
	}
	return dim
}

// scanText describes the state of a scan: "Succeeded 5m ago, took 2m".
func scanText(now time.Time, s scanstate.Status) string {
	text := string(s.State)
	if s.Reason != "" {
		text += " (" + string(s.Reason) + ")"
	}
	if !s.Since.IsZero() {
		text += " " + since(now, s.Since)
	}
	if s.Duration > 0 {
		text += ", took " + span(s.Duration)
	}
	return strings.TrimSpace(text)
}
