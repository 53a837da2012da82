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
	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/fleet"
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

func (l *liveFlags) wanted() bool { return l.live || l.kubeconfig != "" || l.context != "" }

// gatherFor reads what the management cluster has, and completes the options of a folder with it, as plan does: with the
// AuditSync that drives its audit config, and the audit config that this names.
func (p planner) gatherFor(ctx context.Context, opts compile.Options) (*state, compile.Options, error) {
	live, err := p.cluster.gather(ctx)
	if err != nil {
		return nil, opts, err
	}
	opts.Existing = live.AuditConfigs
	if opts.Sync == "" {
		if opts.Sync, err = p.owner(ctx, opts, live.Inventories); err != nil {
			return nil, opts, err
		}
	}
	if sync := live.syncs[opts.Sync]; sync != nil && !p.auditConfigGiven {
		opts.AuditConfig = sync.Spec.AuditConfig
	}
	return live, opts, nil
}

// scans derives what became of the scans of an audit config. Whoever may not list what that takes is told so in the note.
func (c *cluster) scans(ctx context.Context, s *shell, auditConfig map[string]any) (list []scan.Status, note string, err error) {
	object := unstructured.Unstructured{Object: auditConfig}
	entries, err := scan.Entries(auditConfig, appliedAt(&object))
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
	return scan.Derive(scan.Input{Entries: entries, Paused: scan.ScanningPaused(auditConfig), Observed: observed,
		Redact: s.redactor.String, Now: time.Now()}), "", nil
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
	day := end.UTC().Format(time.DateOnly)
	switch {
	case end.IsZero():
		return "-", dim
	case !end.After(now):
		return day + " (expired)", red
	case end.Before(now.AddDate(0, 0, 30)):
		return day + " (" + in(now, end) + ")", yellow
	}
	return day, ""
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
