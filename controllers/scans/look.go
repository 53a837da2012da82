package scans

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// Sync is an AuditSync and what Muster applied for it.
type Sync struct {
	*v1alpha1.AuditSync
	// AuditConfigs are the live audit configs of its namespace, by name.
	AuditConfigs map[string]map[string]any
	Inventories  []*inventory.Inventory
	// Revision is the applied revision; empty if there is none.
	Revision string
	// Redact removes secrets from the output of workloads.
	Redact func(string) string
}

// Result is what a look shows.
type Result struct {
	// Verdict is the verdict for the applied revision; nil if there is none.
	Verdict *scanstate.Verdict
	// Statuses are those of all clusters that Muster applied, by audit config in the order of its entries.
	Statuses []scanstate.Status
	Notes    report.ScanNotes
	// Again is when to look again even if nothing happens; zero for never.
	Again time.Time
}

// view is an audit config with the input that the statuses of its clusters are derived from.
type view struct {
	config *config
	input  scanstate.Input
}

// Look derives the statuses of all clusters that Muster applied for an AuditSync, and starts the scans of changed clusters. Scans must be
// Ready. Looks with the same Memory must not overlap.
func (s *Observer) Look(ctx context.Context, m *Memory, sync Sync) Result {
	result := Result{Statuses: []scanstate.Status{}}
	var views []view
	for _, c := range m.refresh(sync) {
		v := view{config: c, input: s.input(ctx, sync, c)}
		statuses := slices.DeleteFunc(scanstate.Derive(v.input), func(s scanstate.Status) bool { return c.items[s.Cluster] == nil })
		c.observe(statuses)
		result.Statuses = append(result.Statuses, statuses...)
		views = append(views, v)
	}
	result.Verdict = m.verdict(sync.Revision, result.Statuses)
	result.Notes, result.Again = s.scanChanged(ctx, m, sync, views)
	for i := range result.Statuses {
		result.Again = sooner(result.Again, result.Statuses[i].Until)
	}
	result.Notes.Before, m.statuses = m.statuses, result.Statuses
	return result
}

// verdict returns the scan verdict for the applied commit, or nil if none is applied.
func (m *Memory) verdict(revision string, statuses []scanstate.Status) *scanstate.Verdict {
	_, commit, ok := strings.Cut(revision, "sha1:")
	if !ok {
		return nil
	}
	v := scanstate.Commit(statuses, func(s scanstate.Status) bool {
		return m.configs[s.AuditConfig].items[s.Cluster].Commit == commit
	})
	return &v
}

func (s *Observer) input(ctx context.Context, sync Sync, c *config) scanstate.Input {
	in := scanstate.Input{Entries: c.entries, AuditConfig: c.name, Paused: c.paused, Reported: c.reported, Observed: s.observed(sync.Namespace, c.name),
		Redact: sync.Redact, Bounds: s.options.Bounds, Now: s.options.Clock.Now()}
	in.Secrets = s.mounted(ctx, sync.Namespace, in.Pods)
	return in
}

// mounted returns the keys of the existing Secrets that Pods wait for, or nil if they can't be read.
func (s *Observer) mounted(ctx context.Context, namespace string, pods []scanstate.Pod) map[string][]string {
	secrets := map[string][]string{}
	for _, pod := range pods {
		for _, mount := range pod.Mounts {
			if _, known := secrets[mount.Secret]; known {
				continue
			}
			secret := &corev1.Secret{}
			err := s.options.Cached.Get(ctx, types.NamespacedName{Namespace: namespace, Name: mount.Secret}, secret, client.UnsafeDisableDeepCopy)
			if apierrors.IsNotFound(err) {
				continue
			} else if err != nil {
				return nil
			}
			keys := make([]string, 0, len(secret.Data))
			for key := range secret.Data {
				keys = append(keys, key)
			}
			secrets[mount.Secret] = keys
		}
	}
	return secrets
}

// sooner returns the earlier of two times; zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return cmp.Or(b, a)
	}
	return a
}
