package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

const explainHelp = `Explain tells where each field of a cluster's entry comes from: the cluster file, a patch or something else in a
kustomization, a default, or the audit config, with the file and the line. It names the Secrets that the entry needs, where
their content is defined and, where a key decrypts it, when it expires.

With --live it reads the management cluster too: what differs there, the CronJob, the last scan and the next one.

Explain finds the origin of a field by building the one file again, step by step. It can't follow replacements and vars,
which copy values from other resources, and reports that. Values of Secrets are never printed.

Exit status: 0, 1 when the cluster has error findings, 2 when there is no such cluster or the command failed.`

const explainExample = `  # Where does everything come from?
  muster explain prod-eu-west-1 clusters/production

  # What is the live state?
  muster explain prod-eu-west-1 clusters/production --live

  # For programs: every field that a patch has set
  muster explain prod-eu-west-1 clusters/production -o json | jq '.fields[] | select(.origin.kind == "patch")'`

func newExplainCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var where liveFlags
	cmd := &cobra.Command{
		Use: "explain CLUSTER [PATH]", Short: "Show where each field of a cluster comes from, and its live state", Long: explainHelp, Example: explainExample,
		Args: clusterAndFolder, ValidArgsFunction: completeClusterAndFolder,
	}
	output := addChoice(cmd, "output", "o", "output format", "text", "json")
	flags.add(cmd)
	flags.addOwner(cmd)
	flags.addNone(cmd)
	where.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.open(s, cmd, args[1:])
		if err != nil {
			return err
		}
		defer f.close()
		if f.cluster, err = where.connect(s, f.opts.Namespace); err != nil {
			return err
		}
		e := explainer{folder: f, name: args[0], now: time.Now()}
		list, err := e.explain(cmd.Context())
		if missing, ok := errors.AsType[*missingError](err); ok {
			err = errors.Join(s.printFindings(s.stderr, f.repository, missing.findings), err)
		}
		if err != nil {
			return err
		}
		return s.printExplained(output.value, f.repository, list, e.now)
	}
	return cmd
}

func clusterAndFolder(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("name a cluster")
	}
	return atMost(2)(cmd, args)
}

// explainer explains the clusters with one name.
type explainer struct {
	*folder
	name string
	now  time.Time
}

// explained is everything that is known about one cluster.
type explained struct {
	Cluster     string `json:"cluster"`
	AuditConfig string `json:"auditConfig,omitempty"`
	File        string `json:"file,omitempty"`
	Revision    string `json:"revision,omitempty"`
	Quarantined bool   `json:"quarantined"`
	explain.Explanation
	Expires map[string]time.Time `json:"expires,omitempty"` // of Secrets, as far as known

	stages   map[string]credential.Stage // of these
	Live     *liveCluster                `json:"live,omitempty"`
	Findings []finding.Finding           `json:"findings"`
}

// liveCluster is the state of a cluster in the management cluster.
type liveCluster struct {
	Applied bool              `json:"applied"`
	Commit  string            `json:"commit,omitempty"` // the last one that changed it
	Steps   []plan.Step       `json:"steps"`
	Scan    *scanstate.Status `json:"scan,omitempty"`
	Notes   []string          `json:"notes,omitempty"`
}

func (e explainer) explain(ctx context.Context) ([]explained, error) {
	live, opts, err := e.gatherIfLive(ctx)
	if err != nil {
		return nil, err
	}
	r, err := e.render(ctx, e.target, opts, openerFor(e.ring))
	if err != nil {
		return nil, err
	}
	var planned *plan.Plan
	if live != nil {
		if planned, err = e.compare(ctx, r, live); err != nil {
			return nil, err
		}
	}
	findings := r.fresh().Findings
	var list []explained
	for _, c := range r.opened.Clusters {
		if c.Name != e.name {
			continue
		}
		x, err := e.explainOne(ctx, r, c, findings, opts.Existing)
		if err != nil {
			return nil, err
		}
		if live != nil {
			if x.Live, err = e.live(ctx, live, planned, c.AuditConfig, opts.Sync, len(r.closed) > 0); err != nil {
				return nil, err
			}
			x.Findings = append(x.Findings, e.preflighted(live.syncs[opts.Sync])...)
		}
		list = append(list, x)
	}
	if len(list) > 0 {
		return list, nil
	}
	return e.explainUnread(ctx, r, live, planned, opts.Sync, findings)
}

// explainOne explains a cluster that is in the files. existing are the live audit configs, as far as known.
func (e explainer) explainOne(ctx context.Context, r *rendered, c fleet.Cluster, findings []finding.Finding, existing map[string]map[string]any) (explained, error) {
	x := explained{Cluster: c.Name, AuditConfig: c.AuditConfig, File: c.Origin.Path, Revision: r.revision, Quarantined: c.Quarantined,
		Findings: e.findingsOf(c.Name, c.Origin.Path, findings), Expires: map[string]time.Time{}, stages: map[string]credential.Stage{}}
	entry, ok := explain.Entry(c)
	if !ok {
		return x, nil
	}
	var err error
	if x.Explanation, err = explain.Cluster(ctx, r.sealed, c, entry, configObject(r, existing, c.AuditConfig)); err != nil {
		return x, err
	}
	v := e.valuesFor(false)
	for i := range x.Fields {
		x.Fields[i].Value = v.shown(x.Fields[i].Value)
		x.Fields[i].Note, x.Fields[i].Origin.Detail = v.text(x.Fields[i].Note), v.text(x.Fields[i].Origin.Detail)
	}
	for _, secret := range r.opened.Secrets {
		if terms := explain.Terms(secret.Data, e.now); len(terms) > 0 && secret.Renew == 0 {
			for _, s := range x.Secrets {
				if s.Name == secret.Name {
					x.Expires[s.Name], x.stages[s.Name] = terms[0].Until, worst(terms, e.now, c.WarnBefore())
				}
			}
		}
	}
	return x, nil
}

func (e explainer) findingsOf(name, file string, findings []finding.Finding) []finding.Finding {
	list := []finding.Finding{}
	for _, f := range finding.Sorted(findings) {
		if f.Cluster == name || f.Cluster == "" && file != "" && f.Path == file {
			list = append(list, e.masked(f))
		}
	}
	return list
}

// live returns the state of a cluster in the management cluster.
func (e explainer) live(ctx context.Context, live *state, planned *plan.Plan, auditConfig, sync string, closed bool) (*liveCluster, error) {
	owned := items(live.Inventories, auditConfig, sync)[e.name]
	l := &liveCluster{Commit: owned.Commit, Steps: e.steps(planned, auditConfig, owned.Secrets, !closed)}
	if closed {
		l.Notes = append(l.Notes, "the content of Secrets was not compared, because encrypted files were not decrypted; "+keyHint(e.env))
	}
	object := live.AuditConfigs[auditConfig]
	if object == nil {
		l.Notes = append(l.Notes, "the management cluster has no MondooAuditConfig "+auditConfig)
		return l, nil
	}
	statuses, note, err := e.cluster.scans(ctx, e.shell, object, items(live.Inventories, auditConfig, ""))
	if err != nil {
		return nil, err
	}
	if note != "" {
		l.Notes = append(l.Notes, note)
	}
	l.Applied = slices.Contains(entryNames(object), e.name)
	if i := slices.IndexFunc(statuses, func(s scanstate.Status) bool { return s.Cluster == e.name }); i >= 0 {
		l.Scan = &statuses[i]
	}
	return l, nil
}

// preflighted returns what the controller has found out about the cluster's credential: see spec.preflight.
func (e explainer) preflighted(sync *v1alpha1.AuditSync) (findings []finding.Finding) {
	if sync == nil {
		return nil
	}
	for _, p := range sync.Status.Problems {
		if code := finding.Code(p.Code); p.Cluster == e.name && (code == preflight.CodeFailed || code == preflight.CodePending) {
			findings = append(findings, finding.Finding{Code: code, Severity: finding.Severity(p.Severity), Cluster: p.Cluster, Path: p.Place,
				Message: e.redactor.String(p.Message), Fix: e.redactor.String(p.Fix)})
		}
	}
	return findings
}

// steps are the steps of a plan that concern the cluster, including its Secrets if their content was compared.
func (e explainer) steps(planned *plan.Plan, auditConfig string, secrets []string, compared bool) []plan.Step {
	steps := []plan.Step{}
	for _, step := range planned.Steps {
		switch {
		case step.Kind == plan.KindCluster && step.Name == e.name && step.AuditConfig == auditConfig:
		case step.Kind == plan.KindSecret && slices.Contains(secrets, step.Name) && compared:
		default:
			continue
		}
		steps = append(steps, e.maskedStep(step))
	}
	return steps
}

// configObject is an audit config from Git, or else the live one. It is nil if neither is known.
func configObject(r *rendered, existing map[string]map[string]any, name string) map[string]any {
	for _, c := range r.opened.AuditConfigs {
		if c.Name == name && c.Object != nil {
			return c.Object
		}
	}
	return existing[name]
}
