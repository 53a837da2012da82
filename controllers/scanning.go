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
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/controllers/scan"
)

// driven is an audit config with the entries that Muster applied, as far as scans are concerned.
type driven struct {
	name       string
	uid        types.UID
	generation int64
	// inventory is what Muster applied.
	inventory *plan.Inventory
	// entries are all, in the order in which the operator works; items are Muster's own, by name, and due those of them that
	// are to be scanned because they have changed.
	entries []scan.Entry
	items   map[string]*plan.Item
	due     map[string]bool
	// scanned are those of them that have been scanned as they are, as far as this process has seen.
	scanned map[string]bool
	// taken is when the operator was seen to have taken over entries that have changed, and that the inventory doesn't have yet;
	// awaited is how many it was not seen to have.
	taken   map[string]time.Time
	awaited int
	paused  bool
	// reported is what the operator says about each.
	reported map[string]scan.Reported
}

// scans tells what became of the scans of all clusters that Muster applied, and has those scanned that have changed. It
// returns when to look again though nothing happens; zero for never.
func (r *Reconciler) scans(ctx context.Context, audit *v1alpha1.AuditSync, st *state, o *report.Outcome) time.Time {
	if r.Scans == nil {
		return time.Time{}
	}
	var missing *missingRightsError
	if err := r.Scans.Ready(); errors.As(err, &missing) {
		o.ScanNotes.Unknown = missing.Error()
		return time.Time{}
	} else if err != nil {
		return time.Time{} // what was reported before stays until they have been listed
	}
	configs, err := r.driven(ctx, audit, st)
	if err != nil {
		return time.Time{} // the failure of the sync tells it
	}
	var looks []look
	o.ScanNotes.Before, o.Scans = st.scanned, []scan.Status{}
	for _, config := range configs {
		l := look{config: config, input: r.scanInput(ctx, audit, st, config)}
		l.statuses = scan.Derive(l.input)
		l.statuses = slices.DeleteFunc(l.statuses, func(s scan.Status) bool { return config.items[s.Cluster] == nil })
		config.see(l.statuses)
		o.Scans = append(o.Scans, l.statuses...)
		looks = append(looks, l)
	}
	o.Scan = verdict(o.AppliedRevision(audit), configs, o.Scans)
	st.scanned = o.Scans
	again := r.scanChanged(ctx, audit, st, looks, o)
	for i := range o.Scans {
		again = sooner(again, o.Scans[i].Until)
	}
	return again
}

// look is one audit config, looked at.
type look struct {
	config   *driven
	input    scan.Input
	statuses []scan.Status
}

// verdict is the answer for the commit that is applied; nil while there is none.
func verdict(revision string, configs []*driven, statuses []scan.Status) *scan.Verdict {
	_, commit, ok := strings.Cut(revision, "sha1:")
	if !ok {
		return nil
	}
	byName := make(map[string]*driven, len(configs))
	for _, c := range configs {
		byName[c.name] = c
	}
	v := scan.Commit(statuses, func(s scan.Status) bool {
		return byName[s.AuditConfig].items[s.Cluster].Commit == commit
	})
	return &v
}

// driven are the audit configs that the AuditSync has entries in, in the order of their names. What it takes long to find out
// about one is kept for as long as neither its spec nor its inventory changes.
func (r *Reconciler) driven(ctx context.Context, audit *v1alpha1.AuditSync, st *state) ([]*driven, error) {
	live, failure := r.existing(ctx, audit, r.Client)
	if failure != nil {
		return nil, errors.New(failure.Message)
	}
	var configMaps corev1.ConfigMapList
	if err := r.list(ctx, &configMaps, audit.Namespace, client.HasLabels{plan.LabelInventory}); err != nil {
		return nil, err
	}
	var configs []*driven
	for i, stored := range r.inventories.decode(audit.Namespace, configMaps.Items) {
		if stored.err != nil || configMaps.Items[i].Labels[fleet.LabelSync] != audit.Name || live[stored.inventory.AuditConfig] == nil {
			continue
		}
		object := &unstructured.Unstructured{Object: live[stored.inventory.AuditConfig]}
		known, err := st.driven[object.GetName()].now(object, stored.inventory)
		if err != nil {
			continue // it is no list; the sync puts that right, or tells of it
		}
		known.paused, known.reported = scan.ScanningPaused(object.Object), scan.ReportedScans(object.Object)
		configs = append(configs, known)
	}
	slices.SortFunc(configs, func(a, b *driven) int { return strings.Compare(a.name, b.name) })
	st.driven = make(map[string]*driven, len(configs))
	for _, c := range configs {
		st.driven[c.name] = c
	}
	return configs, nil
}

// now is what is known, brought up to date. To read the entries of a large audit config takes a while, so that is done when its
// spec has changed.
func (d *driven) now(object *unstructured.Unstructured, inventory *plan.Inventory) (*driven, error) {
	same := d != nil && d.uid == object.GetUID() && d.generation == object.GetGeneration()
	if same && d.inventory == inventory {
		return d, nil
	}
	next := &driven{name: object.GetName(), uid: object.GetUID(), generation: object.GetGeneration(), inventory: inventory,
		items: make(map[string]*plan.Item, len(inventory.Clusters)), due: map[string]bool{}, scanned: map[string]bool{}, taken: map[string]time.Time{}}
	if same {
		next.entries = slices.Clone(d.entries)
	} else {
		var err error
		if next.entries, err = scan.Entries(object.Object, time.Time{}); err != nil {
			return nil, err
		}
	}
	for i := range inventory.Clusters {
		item := &inventory.Clusters[i]
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

// takenAt is when an entry was seen to be taken over, if it has not changed since.
func (d *driven) takenAt(item *plan.Item) (at time.Time, known bool) {
	if d == nil || d.items[item.Name] == nil || !d.items[item.Name].Changed.Equal(item.Changed) {
		return at, false
	}
	at, known = d.taken[item.Name]
	return at, known
}

// see notes which clusters have been scanned as they are, and has the statuses say so. That stays true when nothing is left to
// tell of it, as when the operator changes a CronJob, which costs it its finished Jobs.
func (d *driven) see(statuses []scan.Status) {
	d.awaited = 0
	news := false
	for i := range statuses {
		s := &statuses[i]
		if !d.scanned[s.Cluster] && s.HasScanned() {
			d.scanned[s.Cluster] = true
		}
		item := d.items[s.Cluster]
		if _, known := d.taken[s.Cluster]; s.NotTaken {
			d.awaited++
		} else if !known && item.Taken.IsZero() && !item.Changed.IsZero() {
			d.taken[s.Cluster], news = s.Taken, true
		}
		for _, s := range []*scan.Status{s, s.Before} {
			if s != nil {
				s.Scanned = d.scanned[s.Cluster]
			}
		}
	}
	for i := range d.entries {
		if at, known := d.taken[d.entries[i].Name]; news && known {
			d.entries[i].Taken = at // what the operator has made for it, it may write again
		}
	}
}

// hasScanned says whether a cluster has been scanned as it was last applied, as far as this process has seen.
func (st *state) hasScanned(auditConfig, cluster string) bool {
	d := st.driven[auditConfig]
	return d != nil && d.scanned[cluster]
}

func (r *Reconciler) scanInput(ctx context.Context, audit *v1alpha1.AuditSync, st *state, c *driven) scan.Input {
	in := scan.Input{Entries: c.entries, AuditConfig: c.name, Paused: c.paused, Reported: c.reported, Observed: r.Scans.Observed(audit.Namespace, c.name),
		Redact: st.redactor.String, Bounds: r.Bounds, Now: r.Clock.Now()}
	in.Secrets = r.mounted(ctx, audit.Namespace, in.Pods)
	return in
}

// mounted are the keys of those Secrets that Pods wait for and that are there. Nil when that can't be told.
func (r *Reconciler) mounted(ctx context.Context, namespace string, pods []scan.Pod) map[string][]string {
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

// sooner is the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return cmp.Or(b, a)
	}
	return a
}

// nextLook is when to look again without being asked: after pause, or sooner for scans. Where something is to be tried again
// after the pause, neither the clock nor news of scans shortens it.
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

// scanStatusChanged says whether the operator has paused scanning, goes on with it, or says something else about a scan.
func scanStatusChanged(e event.TypedUpdateEvent[*unstructured.Unstructured]) bool {
	return scan.ScanningPaused(e.ObjectOld.Object) != scan.ScanningPaused(e.ObjectNew.Object) ||
		!maps.Equal(scan.ReportedScans(e.ObjectOld.Object), scan.ReportedScans(e.ObjectNew.Object))
}
