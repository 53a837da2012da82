package controllers

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// scannedConfig is what is known about the scans of an audit config.
type scannedConfig struct {
	name       string
	uid        types.UID
	generation int64
	// inventory is what Muster applied.
	inventory *inventory.Inventory
	// entries are all entries, in the order in which the operator works. items are those that Muster applied, by name. due are those
	// of the items that must be scanned because they changed.
	entries []scanstate.Entry
	items   map[string]*inventory.Item
	due     map[string]bool
	// scanned are the items whose current entry has been scanned, as far as this process has seen.
	scanned map[string]bool
	// taken is when the operator picked up changed entries, if that is not in the inventory yet. awaited is the number of changed
	// entries that it has not picked up.
	taken   map[string]time.Time
	awaited int
	paused  bool
	// reported is what the operator reports about each entry.
	reported map[string]scanstate.Reported
}

// scans sets the scan results of all clusters that Muster applied in the outcome, and starts the scans of changed clusters. It returns
// when to reconcile again even if nothing happens; zero for never.
func (r *Reconciler) scans(ctx context.Context, audit *v1alpha1.AuditSync, st *state, o *report.Outcome) time.Time {
	if r.Scans == nil {
		return time.Time{}
	}
	var missing *missingRightsError
	if err := r.Scans.Ready(); errors.As(err, &missing) {
		o.ScanNotes.Unknown = missing.Error()
		return time.Time{}
	} else if err != nil {
		return time.Time{} // keep the last report until the scans have been listed
	}
	configs, err := r.scannedConfigs(ctx, audit, st)
	if err != nil {
		return time.Time{} // the sync reports the failure
	}
	var results []scanResult
	o.ScanNotes.Before, o.Scans = st.scanned, []scanstate.Status{}
	for _, config := range configs {
		l := scanResult{config: config, input: r.scanInput(ctx, audit, st, config)}
		l.statuses = scanstate.Derive(l.input)
		l.statuses = slices.DeleteFunc(l.statuses, func(s scanstate.Status) bool { return config.items[s.Cluster] == nil })
		config.observe(l.statuses)
		o.Scans = append(o.Scans, l.statuses...)
		results = append(results, l)
	}
	o.Scan = verdict(o.AppliedRevision(audit), configs, o.Scans)
	st.scanned = o.Scans
	again := r.scanChanged(ctx, audit, st, results, o)
	for i := range o.Scans {
		again = sooner(again, o.Scans[i].Until)
	}
	return again
}

// scanResult is an audit config with the statuses of its clusters and the input that they were derived from.
type scanResult struct {
	config   *scannedConfig
	input    scanstate.Input
	statuses []scanstate.Status
}

// verdict returns the scan verdict for the applied commit, or nil if none is applied.
func verdict(revision string, configs []*scannedConfig, statuses []scanstate.Status) *scanstate.Verdict {
	_, commit, ok := strings.Cut(revision, "sha1:")
	if !ok {
		return nil
	}
	byName := make(map[string]*scannedConfig, len(configs))
	for _, c := range configs {
		byName[c.name] = c
	}
	v := scanstate.Commit(statuses, func(s scanstate.Status) bool {
		return byName[s.AuditConfig].items[s.Cluster].Commit == commit
	})
	return &v
}

// scannedConfigs returns the audit configs that the AuditSync has entries in, sorted by name. It caches them until their spec or
// inventory changes.
func (r *Reconciler) scannedConfigs(ctx context.Context, audit *v1alpha1.AuditSync, st *state) ([]*scannedConfig, error) {
	live, failure := r.existing(ctx, audit, r.Client)
	if failure != nil {
		return nil, errors.New(failure.Message)
	}
	var configMaps corev1.ConfigMapList
	if err := r.list(ctx, &configMaps, audit.Namespace, client.HasLabels{inventory.Label}); err != nil {
		return nil, err
	}
	var configs []*scannedConfig
	for i, stored := range r.inventories.decode(audit.Namespace, configMaps.Items) {
		if stored.err != nil || configMaps.Items[i].Labels[fleet.LabelSync] != audit.Name || live[stored.inventory.AuditConfig] == nil {
			continue
		}
		object := &unstructured.Unstructured{Object: live[stored.inventory.AuditConfig]}
		config, err := st.scannedConfigs[object.GetName()].refresh(object, stored.inventory)
		if err != nil {
			continue // the entries are not a list; the sync corrects or reports that
		}
		config.paused, config.reported = scanstate.ScanningPaused(object.Object), scanstate.ReportedScans(object.Object)
		configs = append(configs, config)
	}
	slices.SortFunc(configs, func(a, b *scannedConfig) int { return strings.Compare(a.name, b.name) })
	st.scannedConfigs = make(map[string]*scannedConfig, len(configs))
	for _, c := range configs {
		st.scannedConfigs[c.name] = c
	}
	return configs, nil
}

// refresh returns an up-to-date copy. It parses the entries only if the spec has changed, because that is slow for a large audit config.
func (d *scannedConfig) refresh(object *unstructured.Unstructured, applied *inventory.Inventory) (*scannedConfig, error) {
	same := d != nil && d.uid == object.GetUID() && d.generation == object.GetGeneration()
	if same && d.inventory == applied {
		return d, nil
	}
	next := &scannedConfig{name: object.GetName(), uid: object.GetUID(), generation: object.GetGeneration(), inventory: applied,
		items: make(map[string]*inventory.Item, len(applied.Clusters)), due: map[string]bool{}, scanned: map[string]bool{}, taken: map[string]time.Time{}}
	if same {
		next.entries = slices.Clone(d.entries)
	} else {
		var err error
		if next.entries, err = scanstate.Entries(object.Object, time.Time{}); err != nil {
			return nil, err
		}
	}
	for i := range applied.Clusters {
		item := &applied.Clusters[i]
		if next.items[item.Name] = item; item.ScanDue {
			next.due[item.Name] = true
		}
		if d != nil && d.scanned[item.Name] && d.items[item.Name].Hash == item.Hash {
			next.scanned[item.Name] = true
		}
		if at, known := d.takenAt(item); known && item.Taken.IsZero() {
			next.taken[item.Name] = at
		}
	}
	for i := range next.entries {
		if item := next.items[next.entries[i].Name]; item != nil {
			next.entries[i].Applied, next.entries[i].Scanned, next.entries[i].Changed, next.entries[i].Taken = item.Applied, item.Scanned, item.Changed, item.Taken
			if at, known := next.taken[item.Name]; known {
				next.entries[i].Taken = at
			}
		}
	}
	return next, nil
}

// takenAt returns when the operator picked up the change of an entry, if known and if the entry has not changed since.
func (d *scannedConfig) takenAt(item *inventory.Item) (at time.Time, known bool) {
	if d == nil || d.items[item.Name] == nil || !d.items[item.Name].Changed.Equal(item.Changed) {
		return at, false
	}
	at, known = d.taken[item.Name]
	return at, known
}

// observe remembers which current entries have been scanned, and sets Scanned in the statuses. It remembers them even after the
// operator changed a CronJob, which deletes its finished Jobs.
func (d *scannedConfig) observe(statuses []scanstate.Status) {
	d.awaited = 0
	added := false
	for i := range statuses {
		s := &statuses[i]
		if !d.scanned[s.Cluster] && s.HasScanned() {
			d.scanned[s.Cluster] = true
		}
		item := d.items[s.Cluster]
		if _, known := d.taken[s.Cluster]; s.NotTaken {
			d.awaited++
		} else if !known && item.Taken.IsZero() && !item.Changed.IsZero() {
			d.taken[s.Cluster], added = s.Taken, true
		}
		for _, s := range []*scanstate.Status{s, s.Before} {
			if s != nil {
				s.Scanned = d.scanned[s.Cluster]
			}
		}
	}
	for i := range d.entries {
		if at, known := d.taken[d.entries[i].Name]; added && known {
			d.entries[i].Taken = at // keep the first time; the operator may write its objects again
		}
	}
}

// hasScanned reports whether a cluster's current entry has been scanned, as far as this process has seen.
func (st *state) hasScanned(auditConfig, cluster string) bool {
	d := st.scannedConfigs[auditConfig]
	return d != nil && d.scanned[cluster]
}

func (r *Reconciler) scanInput(ctx context.Context, audit *v1alpha1.AuditSync, st *state, c *scannedConfig) scanstate.Input {
	in := scanstate.Input{Entries: c.entries, AuditConfig: c.name, Paused: c.paused, Reported: c.reported, Observed: r.Scans.Observed(audit.Namespace, c.name),
		Redact: st.redactor.String, Bounds: r.Bounds, Now: r.Clock.Now()}
	in.Secrets = r.mounted(ctx, audit.Namespace, in.Pods)
	return in
}

// mounted returns the keys of the existing Secrets that Pods wait for, or nil if they can't be read.
func (r *Reconciler) mounted(ctx context.Context, namespace string, pods []scanstate.Pod) map[string][]string {
	secrets := map[string][]string{}
	for _, pod := range pods {
		for _, mount := range pod.Mounts {
			if _, known := secrets[mount.Secret]; known {
				continue
			}
			secret := &corev1.Secret{}
			err := r.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: mount.Secret}, secret, client.UnsafeDisableDeepCopy)
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

// nextLook returns how long to wait until the next reconcile: pause, or less for scans. If the sync is retried after the pause, scans
// don't shorten it.
func (r *Reconciler) nextLook(audit *v1alpha1.AuditSync, pause time.Duration, scans time.Time, o report.Outcome) time.Duration {
	if r.Scans == nil {
		return pause
	}
	now := r.Clock.Now()
	key := client.ObjectKeyFromObject(audit)
	if o.Fetch != nil || o.Render != nil || o.Apply != nil || o.Fleet != nil && o.Fleet.Retry {
		r.Scans.Hold(key, now.Add(pause))
		return pause
	}
	r.Scans.Hold(key, time.Time{})
	if scans.IsZero() {
		return pause
	}
	return min(pause, max(scans.Sub(now), scanDebounce))
}

// scanStatusChanged reports whether scanningPaused or a reported scan in the operator's status has changed.
func scanStatusChanged(e event.TypedUpdateEvent[*unstructured.Unstructured]) bool {
	return scanstate.ScanningPaused(e.ObjectOld.Object) != scanstate.ScanningPaused(e.ObjectNew.Object) ||
		!maps.Equal(scanstate.ReportedScans(e.ObjectOld.Object), scanstate.ReportedScans(e.ObjectNew.Object))
}
