package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/scan"
)

// liveFlags are kubeFlags for commands that can do without a cluster.
type liveFlags struct {
	kubeFlags
	live bool
}

func (l *liveFlags) add(cmd *cobra.Command) {
	l.kubeFlags.add(cmd)
	cmd.Flags().BoolVar(&l.live, "live", false, "look at the management cluster as well; --kubeconfig and --context imply it")
}

// connect returns nil when only files are to be looked at.
func (l *liveFlags) connect(s *shell, namespace string) (*cluster, error) {
	if !l.live && l.kubeconfig == "" && l.context == "" {
		return nil, nil
	}
	return l.kubeFlags.connect(s, namespace)
}

// gatherIfLive is gather for commands that can do without a cluster: there is no state then.
func (f *folder) gatherIfLive(ctx context.Context) (*state, compile.Options, error) {
	if f.cluster == nil {
		return nil, f.opts, nil
	}
	return f.gather(ctx)
}

// scans derives what became of the scans of an audit config, of which owned are the clusters that AuditSyncs have applied.
// Whoever may not list what that takes is told so in the note.
func (c *cluster) scans(ctx context.Context, s *shell, auditConfig map[string]any, owned map[string]ownedItem) (list []scan.Status, note string, err error) {
	object := unstructured.Unstructured{Object: auditConfig}
	entries, err := scanEntries(&object, owned)
	if err != nil {
		return nil, "", fmt.Errorf("read MondooAuditConfig %s: %w", object.GetName(), err)
	}
	reader, err := client.New(c.config, client.Options{Scheme: clientscheme.Scheme})
	if err != nil {
		return nil, "", c.explain("look at scans", err)
	}
	observed, err := scan.Reader{Client: reader}.Read(ctx, c.namespace, object.GetName())
	switch {
	case apierrors.IsForbidden(err):
		return nil, "scans are not shown, which takes the right to list CronJobs, Jobs and Pods in " + c.namespace, nil
	case err != nil:
		return nil, "", c.explain("look at scans", err)
	}
	return scan.Derive(scan.Input{Entries: entries, Paused: scan.ScanningPaused(auditConfig), Reported: scan.ReportedScans(auditConfig), Observed: observed,
		Redact: s.redactor.String, Now: time.Now()}), "", nil
}

// ownedItem is a cluster that an AuditSync has applied.
type ownedItem struct {
	plan.Item
	sync string
}

// items are the clusters of an audit config that AuditSyncs have applied, by name.
func items(inventories []*plan.Inventory, auditConfig, sync string) map[string]ownedItem {
	list := map[string]ownedItem{}
	for _, inventory := range inventories {
		if inventory.AuditConfig != auditConfig || sync != "" && inventory.Sync != sync {
			continue
		}
		for _, item := range inventory.Clusters {
			list[item.Name] = ownedItem{item, inventory.Sync}
		}
	}
	return list
}

// scanEntries are the entries of an audit config, each with the time at which it got its present form: the one that the
// inventory has, and else the latest that it can be.
func scanEntries(auditConfig *unstructured.Unstructured, owned map[string]ownedItem) ([]scan.Entry, error) {
	entries, err := scan.Entries(auditConfig.Object, appliedAt(auditConfig))
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

// appliedAt is when Muster last changed an audit config, as the API server has it; for one that it has not applied, when it
// was made.
func appliedAt(object *unstructured.Unstructured) time.Time {
	at := object.GetCreationTimestamp().Time
	for _, field := range object.GetManagedFields() {
		if slices.Contains([]string{controllers.FieldManager, controllers.ListManager}, field.Manager) && field.Time != nil && field.Time.After(at) {
			at = field.Time.Time
		}
	}
	return at
}

// expiries are the ends of the credentials in the Secrets that Muster has applied, by name. The Secrets themselves are let go
// page by page, and nothing of them is kept or shown.
func (c *cluster) expiries(ctx context.Context, now time.Time) (ends map[string]time.Time, note string, err error) {
	ends = map[string]time.Time{}
	opts := metav1.ListOptions{LabelSelector: fleet.LabelSync, Limit: pageSize}
	for {
		list, err := c.core.Secrets(c.namespace).List(ctx, opts)
		switch {
		case apierrors.IsForbidden(err):
			return nil, "when credentials expire is not shown, which takes the right to list Secrets in " + c.namespace, nil
		case err != nil:
			return nil, "", c.explain("list Secrets", err)
		}
		for i := range list.Items {
			if end := explain.Expiry(list.Items[i].Data, now); !end.IsZero() {
				ends[list.Items[i].Name] = end
			}
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return ends, "", nil
		}
	}
}

// past is how long something is past, in its largest unit, and in is how long it is ahead.
func past(now, t time.Time) string { return span(now.Sub(t)) + " ago" }
func in(now, t time.Time) string   { return "in " + span(t.Sub(now)) }

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

// expires says when a credential ends, and how grave that is.
func expires(now, end time.Time) (string, colour) {
	if end.IsZero() {
		return "-", dim
	}
	day := end.UTC().Format(time.DateOnly)
	expired, soon := expiry(now, end)
	switch {
	case expired:
		return day + " (expired)", red
	case soon:
		return day + " (" + in(now, end) + ")", yellow
	}
	return day, ""
}

// expiry says whether a credential has ended, and whether it ends within the time of which findings warn. One without an end,
// which is zero, does neither.
func expiry(now, end time.Time) (expired, soon bool) {
	if end.IsZero() {
		return false, false
	}
	return !end.After(now), end.Before(now.Add(credential.Notice))
}

// scanColour is how grave the state of a scan is.
func scanColour(state scan.State) colour {
	switch state {
	case scan.Failed, scan.NotPickedUp:
		return red
	case scan.Overdue:
		return yellow
	case scan.Running, scan.Awaiting:
		return cyan
	case scan.Succeeded:
		return green
	case scan.Paused:
	}
	return dim
}

// scanText is a scan state in words: "Succeeded 5m ago, took 2m".
func scanText(now time.Time, s scan.Status) string {
	text := string(s.State)
	if s.Reason != "" {
		text += " (" + string(s.Reason) + ")"
	}
	if !s.Since.IsZero() {
		text += " " + past(now, s.Since)
	}
	if s.Duration > 0 {
		text += ", took " + span(s.Duration)
	}
	return strings.TrimSpace(text)
}
