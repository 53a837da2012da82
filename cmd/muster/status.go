package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

const statusHelp = `Status shows the fleet in the management cluster: each AuditSync with its status, and the clusters of its audit configs
with their scans, the expiry of their credentials and the next scan. The worst come first. It only reads.

A cluster is applied, quarantined (an error blocks its file, and the objects applied before are kept) or foreign (in an
audit config, but in no file). Quarantined clusters are those in the AuditSync's status, which lists at most 50 problems.

With --watch it shows changes until Ctrl-C: a terminal is redrawn, and a pipe gets a line for each change. Changes come from
watches; ages and overdue scans are checked again each minute. With -o json, each change is a JSON document on one line.

--selector selects AuditSyncs by their labels, and with them their clusters. -o name prints what kubectl accepts,
auditsync.muster.dev/NAME, and with --scan the names of the clusters. With --all-namespaces, JSON and YAML are a list of
what they are for one namespace, in items.

With --expiring it lists the credentials of applied clusters that tell their end, soonest first: tokens, certificates and
registry logins. A value, as in --expiring=14d, leaves out those that end later. Yellow are those that lint would warn of
(a third of the lifetime is left, and at most 30 days), red those that are urgent (a quarter of that, at most 7 days).

Without --all or --scan, healthy clusters are counted but not listed, and at most --limit of the others are listed.
Status needs permission to list MondooAuditConfigs, AuditSyncs and ConfigMaps. With permission to list CronJobs, Jobs and
Pods it shows scans, and with permission to list Secrets the expiry of credentials.

Exit status: 0, 2 when it failed. With --exit-code, 1 when an AuditSync is not ready or a cluster needs attention; with
--expiring, 1 when a listed credential has expired or expires soon.`

const statusExample = `  # What needs attention?
  muster status

  # Everything of one AuditSync
  muster status production --all

  # Clusters whose scans fail
  muster status --scan Failed -o name

  # Which credentials end in the next two weeks?
  muster status -A --expiring=14d

  # A line for each change of the AuditSyncs of a team, in all namespaces
  muster status -A -l team=platform --watch | tee changes.log

  # What kubectl knows about the AuditSyncs of a team
  kubectl -n mondoo-operator get -o yaml $(muster status -l team=platform -o name)`

// statusFlags select what is shown.
type statusFlags struct {
	namespace     string
	all, exitCode bool
	limit         int

	selector             string
	allNamespaces, watch bool
	output, scan         *choice
	expiring             endWithin
}

// scanStates are the values of --scan.
func scanStates() []string {
	states := []string{"any"}
	for _, state := range scanstate.States() {
		states = append(states, string(state))
	}
	return states
}

func (f *statusFlags) add(cmd *cobra.Command) {
	addNamespace(cmd, &f.namespace)
	cmd.Flags().BoolVar(&f.all, "all", false, "list every cluster, including healthy ones")
	cmd.Flags().IntVar(&f.limit, "limit", 30, "maximum number of clusters to list without --all")
	cmd.Flags().BoolVar(&f.exitCode, "exit-code", false, "exit with 1 when something needs attention")
	addSelection(cmd, &f.allNamespaces, &f.watch)
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "only AuditSyncs with these labels, and their clusters, such as team=platform")
	exclude(cmd, "watch", "exit-code")
	f.expiring.add(cmd)
}

func newStatusCommand(s *shell) *cobra.Command {
	var flags statusFlags
	var where kubeFlags
	cmd := &cobra.Command{
		Use: "status [AUDITSYNC]", Short: "Show the fleet in the management cluster", Long: statusHelp, Example: statusExample,
		Args: atMost(1), ValidArgsFunction: completeSyncs(s, &where, &flags.namespace),
	}
	flags.output = addChoice(cmd, "output", "o", "output format", "text", "wide", "json", "yaml", "name")
	states := scanStates()
	flags.scan = addChoice(cmd, "scan", "", "only clusters whose scan is in this `state`: "+strings.Join(states, ", "), states...)
	flags.add(cmd)
	where.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := flags.expiring.misplaced(args); err != nil {
			return err
		}
		selected, err := flags.selection(args)
		if err != nil {
			return err
		}
		c, err := where.connect(s, flags.namespace)
		if err != nil {
			return err
		}
		if flags.scan.value != "any" {
			flags.all = true // a user who asks for a state wants to see all clusters in it
		}
		if flags.watch {
			return s.watchStatus(cmd.Context(), c, flags, selected)
		}
		fleets, err := s.fleets(cmd.Context(), c, flags, selected)
		if err != nil {
			return err
		}
		isWell := !slices.ContainsFunc(fleets, func(f fleetStatus) bool { return !f.well() })
		if flags.expiring.set {
			isWell, err = s.printEndings(s.stdout, fleets, flags)
		} else {
			err = s.printFleets(s.stdout, fleets, flags)
		}
		if err != nil {
			return fmt.Errorf("print status: %w", err)
		}
		if flags.exitCode && !isWell {
			return statusError(exitFindings)
		}
		return nil
	}
	return cmd
}

// fleetStatus is the status of the fleet in a namespace.
type fleetStatus struct {
	Namespace string          `json:"namespace"`
	Syncs     []syncStatus    `json:"syncs"`
	Clusters  []clusterStatus `json:"clusters"` // worst first
	Notes     []string        `json:"notes,omitempty"`

	now time.Time
}

type syncStatus struct {
	Name       string                  `json:"name"`
	Suspended  bool                    `json:"suspended,omitempty"`
	Conditions []metav1.Condition      `json:"conditions"`
	Revision   string                  `json:"lastAppliedRevision,omitempty"`
	Counts     *v1alpha1.ClusterCounts `json:"clusters,omitempty"`
	Problems   []v1alpha1.Problem      `json:"problems"`
	More       int32                   `json:"moreProblems,omitempty"`
}

// The states of clusters.
const (
	stateApplied     = "applied"
	stateQuarantined = "quarantined"
	stateForeign     = "foreign"
)

type clusterStatus struct {
	Cluster     string `json:"cluster"`
	AuditConfig string `json:"auditConfig,omitempty"`
	Sync        string `json:"sync,omitempty"`
	State       string `json:"state"`
	Commit      string `json:"commit,omitempty"`
	Problem     string `json:"problem,omitempty"`
	// Schedule is the entry's, or the audit config's if the entry has none.
	Schedule string            `json:"schedule,omitempty"`
	Expires  time.Time         `json:"credentialsExpire,omitzero"`
	ends     []credentialEnd   // of its credentials
	Scan     *scanstate.Status `json:"scan,omitempty"`
	// Preflight is the check of the credentials that failed, if it is one of the 50 in the AuditSync's status.
	Preflight *v1alpha1.PreflightFailure `json:"preflight,omitempty"`
}

// credentialEnd is how long a credential in a Secret works.
type credentialEnd struct {
	secret string
	term   credential.Term
}

// stage is the last stage that one of the cluster's credentials has reached.
func (c clusterStatus) stage(now time.Time) credential.Stage {
	terms := make([]credential.Term, len(c.ends))
	for i, e := range c.ends {
		terms[i] = e.term
	}
	return worst(terms, now, 0)
}

func (f fleetStatus) well() bool {
	return !slices.ContainsFunc(f.Syncs, func(s syncStatus) bool { return !s.ready() }) &&
		!slices.ContainsFunc(f.Clusters, func(c clusterStatus) bool { return c.gravity(f.now) < well })
}

func (s syncStatus) ready() bool {
	return slices.ContainsFunc(s.Conditions, func(c metav1.Condition) bool { return c.Type == "Ready" && c.Status == metav1.ConditionTrue })
}

// well is the gravity from which a cluster needs no attention.
const well = 10

// gravity sorts clusters. The worst has the smallest number.
func (c clusterStatus) gravity(now time.Time) int {
	stage := c.stage(now)
	scanned := scanstate.State("")
	if c.Scan != nil {
		scanned = c.Scan.State
	}
	switch {
	case scanned == scanstate.NotPickedUp:
		return 0
	case scanned == scanstate.Failed:
		return 1
	case c.State == stateQuarantined:
		return 2
	case stage == credential.Expired, c.Preflight != nil:
		return 3
	case scanned == scanstate.Overdue:
		return 4
	case stage != credential.Lasting:
		return 5
	case scanned == scanstate.Awaiting || scanned == scanstate.Paused:
		return well
	case c.State == stateForeign:
		return well + 1
	}
	return well + 2
}

// fleetStatus gathers the status of the fleet in the namespace.
func (c *cluster) fleetStatus(ctx context.Context, s *shell, want selection, now time.Time) (fleetStatus, error) {
	f := fleetStatus{Namespace: c.namespace, Syncs: []syncStatus{}, Clusters: []clusterStatus{}, now: now}
	live, err := c.gather(ctx)
	if err != nil {
		return f, err
	}
	if want.name != "" && live.syncs[want.name] == nil {
		return f, fmt.Errorf("no AuditSync %q in %s", want.name, c.namespace)
	}
	maps.DeleteFunc(live.syncs, func(_ string, audit *v1alpha1.AuditSync) bool { return !want.has(audit) })
	problems := f.addSyncs(s, live.syncs)
	ends, note, err := c.expiries(ctx, now)
	if err != nil {
		return f, err
	}
	f.note(note)
	for _, name := range slices.Sorted(maps.Keys(live.AuditConfigs)) {
		owned := items(live.Inventories, name, want.name)
		if want.restricts() {
			maps.DeleteFunc(owned, func(_ string, item ownedItem) bool { return live.syncs[item.sync] == nil })
			if len(owned) == 0 {
				continue
			}
		}
		if err := f.config(ctx, c, s, live.AuditConfigs[name], owned, ends, problems); err != nil {
			return f, err
		}
	}
	for key, problem := range problems { // of files that were never applied
		f.Clusters = append(f.Clusters, clusterStatus{Cluster: key[1], Sync: key[0], State: stateQuarantined, Problem: problem})
	}
	f.addPreflights(s, live.syncs)
	slices.SortFunc(f.Clusters, func(a, b clusterStatus) int {
		return cmp.Or(cmp.Compare(a.gravity(now), b.gravity(now)), strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.AuditConfig, b.AuditConfig))
	})
	return f, nil
}

// addSyncs adds the AuditSyncs, and returns their problems with clusters, by AuditSync and cluster.
func (f *fleetStatus) addSyncs(s *shell, syncs map[string]*v1alpha1.AuditSync) map[[2]string]string {
	problems := map[[2]string]string{}
	for _, name := range slices.Sorted(maps.Keys(syncs)) {
		f.Syncs = append(f.Syncs, s.syncStatus(syncs[name]))
		for _, p := range syncs[name].Status.Problems {
			if key := [2]string{name, p.Cluster}; p.Severity == string(finding.Error) && p.Cluster != "" && problems[key] == "" {
				problems[key] = s.redactor.String(problemText(p))
			}
		}
	}
	return problems
}

// addPreflights adds the checks of credentials that failed.
func (f *fleetStatus) addPreflights(s *shell, syncs map[string]*v1alpha1.AuditSync) {
	failures := map[[3]string]*v1alpha1.PreflightFailure{}
	for name, audit := range syncs {
		if audit.Status.Preflight == nil {
			continue
		}
		for _, failure := range audit.Status.Preflight.Failures {
			key := [3]string{name, failure.AuditConfig, failure.Cluster}
			failure.Message, failure.Fix = s.redactor.String(failure.Message), s.redactor.String(failure.Fix)
			failures[key] = &failure
		}
	}
	for i := range f.Clusters {
		c := &f.Clusters[i]
		c.Preflight = failures[[3]string{c.Sync, c.AuditConfig, c.Cluster}]
	}
}

func (f *fleetStatus) note(text string) {
	if text != "" && !slices.Contains(f.Notes, text) {
		f.Notes = append(f.Notes, text)
	}
}

// config adds the clusters of an audit config. It deletes their problems from problems.
func (f *fleetStatus) config(ctx context.Context, c *cluster, s *shell, object map[string]any, owned map[string]ownedItem, ends map[string][]credential.Term, problems map[[2]string]string) error {
	meta, _ := object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	entries, err := mondoo.Entries(object)
	if err != nil {
		f.note(fmt.Sprintf("the clusters of MondooAuditConfig %s are not shown: %v", name, err))
		return nil
	}
	statuses, note, err := c.scans(ctx, s, object, owned)
	if err != nil {
		return err
	}
	f.note(note)
	for i, entry := range entries {
		one := clusterStatus{AuditConfig: name, State: stateForeign}
		one.Cluster, _ = entry["name"].(string)
		one.Schedule = scheduleOf(entry, object)
		if i < len(statuses) {
			one.Scan = &statuses[i]
		}
		if item, ours := owned[one.Cluster]; ours {
			one.State, one.Sync, one.Commit = stateApplied, item.sync, item.Commit
			one.expire(entry, ends)
			key := [2]string{item.sync, one.Cluster}
			if one.Problem = problems[key]; one.Problem != "" {
				one.State = stateQuarantined
				delete(problems, key)
			}
		}
		f.Clusters = append(f.Clusters, one)
	}
	return nil
}

// expire adds how long the credentials work in the Secrets that the cluster's entry names.
func (c *clusterStatus) expire(entry map[string]any, terms map[string][]credential.Term) {
	parsed, err := mondoo.ParseEntry(entry)
	if err != nil {
		return // the entry is another's: Muster writes none that it can't read
	}
	seen := map[string]bool{}
	for ref := range compile.References(&parsed) {
		if seen[ref.Name] {
			continue
		}
		seen[ref.Name] = true
		for _, t := range terms[ref.Name] {
			c.ends = append(c.ends, credentialEnd{ref.Name, t})
			if c.Expires.IsZero() || t.Until.Before(c.Expires) {
				c.Expires = t.Until
			}
		}
	}
}

// scheduleOf is the schedule of an entry, or the one that it inherits from its audit config, or "".
func scheduleOf(entry, auditConfig map[string]any) string {
	if own, _, _ := unstructured.NestedString(entry, "schedule"); own != "" {
		return own
	}
	inherited, _, _ := unstructured.NestedString(auditConfig, "spec", "kubernetesResources", "schedule")
	return inherited
}

func (s *shell) syncStatus(audit *v1alpha1.AuditSync) syncStatus {
	out := syncStatus{Name: audit.Name, Suspended: audit.Spec.Suspend, Conditions: slices.Clone(audit.Status.Conditions),
		Revision: audit.Status.LastAppliedRevision, Counts: audit.Status.Clusters, Problems: []v1alpha1.Problem{}, More: audit.Status.MoreProblems}
	if out.Conditions == nil {
		out.Conditions = []metav1.Condition{}
	}
	for i := range out.Conditions {
		out.Conditions[i].Message = s.redactor.String(out.Conditions[i].Message)
	}
	for _, p := range audit.Status.Problems {
		p.Message, p.Fix = s.redactor.String(p.Message), s.redactor.String(p.Fix)
		out.Problems = append(out.Problems, p)
	}
	return out
}
