package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/renew"
	"github.com/muster-gitops/muster/controllers"
)

const flagDetailedExitCode = "detailed-exitcode"

const planHelp = `Plan compares a folder with the management cluster, and prints what the controller would change. It only reads.

The folder is planned for an AuditSync. Its inventory tells what Muster has applied before, and its policy decides what may
be removed. Without --sync it is the AuditSync whose inventory has an audit config of the folder. If there is none, the plan
is that of a new AuditSync with the default policy.

Signs: + added, ~ changed, > now comes from another file, - removed, ! no longer in Git, but held. Files are named relative
to the root of the repository. Values of Secrets are never printed. Where a live object differs although Git has not
changed, that is drift. Who changed it, and when, comes from the API server (metadata.managedFields).

With --base and --head, plan lists what merging the one commit into the other would do, as the check of a pull request does. It
reads both from Git, merges them in memory, and compares the merge result with the base. No cluster is needed; --live compares
both with the management cluster. Without keys, encrypted values are compared by their ciphertexts. The policy is that of the
AuditSync in the base or in the cluster. The exit status is 1 if there is a conflict, or if the merge would leave the branch with
an error that it doesn't have now. All formats but text are for pipelines.

Plan needs permission to list MondooAuditConfigs, AuditSyncs and ConfigMaps in the namespace, and to get the Secrets that it
compares. Permission to list Secrets makes it faster.

Exit status: 0, 1 with error findings, 2 when planning failed. With --detailed-exitcode, as in terraform: 0 no changes,
2 changes, 1 error findings or no plan.`

const planExample = `  # What would change in production?
  muster plan clusters/production --context mgmt-production

  # In a pipeline: does the cluster match Git?
  muster plan clusters/production --sync production --detailed-exitcode

  # In a pipeline, before the merge: what would this branch do?
  muster plan clusters/production --base origin/main -o markdown

  # For programs
  muster plan clusters/production -o json | jq '.steps[] | select(.action == "remove")'`

func newPlanCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var where liveFlags
	var merged mergeFlags
	var detailed bool
	cmd := &cobra.Command{
		Use: "plan [PATH]", Short: "Compare a folder with the management cluster", Long: planHelp, Example: planExample,
		Args: atMost(1), ValidArgsFunction: completeFolders,
	}
	output := addChoice(cmd, "output", "o", "output format; those after json need --base", "text", "json", "markdown", "github", "sarif", "junit", "gitlab")
	flags.add(cmd)
	flags.addOwner(cmd)
	where.add(cmd)
	cmd.Flags().StringVar(&merged.base, "base", "", "plan what merging into this `commit` or branch would do, without a management cluster")
	cmd.Flags().StringVar(&merged.head, "head", "", "the `commit` or branch to merge into --base (default HEAD)")
	cmd.Flags().BoolVar(&detailed, flagDetailedExitCode, false, "exit with 0 for no changes, 2 for changes and 1 for errors")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if merged.given() {
			f, err := flags.openCommitted(s, cmd, args)
			if err != nil {
				return err
			}
			defer f.close()
			if f.cluster, err = where.connect(s, f.opts.Namespace); err != nil {
				return err
			}
			return f.planMerge(cmd.Context(), merged, output.value, detailed)
		}
		if !slices.Contains([]string{"text", "json"}, output.value) {
			return usagef("-o %s is for plans of a merge; add --base", output.value)
		}
		f, err := flags.open(s, cmd, args)
		if err != nil {
			return err
		}
		defer f.close()
		if f.cluster, err = where.kubeFlags.connect(s, f.opts.Namespace); err != nil {
			return err
		}
		planned, err := f.plan(cmd.Context())
		if err != nil {
			return err
		}
		if err := s.printPlan(output.value, planned); err != nil {
			return fmt.Errorf("print plan: %w", err)
		}
		err = s.conclude(f.repository, planned.Findings)
		if err == nil && detailed && planned.changes() > 0 {
			return statusError(exitChanges)
		}
		return err
	}
	return cmd
}

// planMerge plans the merge of two commits.
func (f *folder) planMerge(ctx context.Context, m mergeFlags, output string, detailed bool) error {
	j, err := f.judge(ctx, m)
	if err != nil {
		return err
	}
	if err := f.printJudged(output, f.repository, j); err != nil {
		return fmt.Errorf("print plan: %w", err)
	}
	switch ok, _ := j.Status(); {
	case !ok:
		return statusError(exitFindings)
	case detailed && len(j.Changes) > 0:
		return statusError(exitChanges)
	}
	return nil
}

// planned is a plan with the number of quarantined clusters, which its summary needs.
type planned struct {
	*plan.Plan
	quarantined int
}

// changes counts what would change. Held objects don't.
func (p planned) changes() int {
	n := 0
	for _, step := range p.Steps {
		if step.Action != plan.Hold {
			n++
		}
	}
	return n
}

func (f *folder) plan(ctx context.Context) (planned, error) {
	live, opts, err := f.gather(ctx)
	if err != nil {
		return planned{}, err
	}
	r, err := f.render(ctx, f.target, opts, openerOrNone(f.ring))
	if err != nil {
		return planned{}, err
	}
	p, err := f.compare(ctx, r, live)
	if err != nil {
		return planned{}, err
	}
	return planned{p, fleet.Quarantined(r.opened.Clusters) + plan.Unread(r.opened)}, nil
}

// compare plans the rendered fleet for the management cluster, as its AuditSync would.
func (f *folder) compare(ctx context.Context, r *rendered, live *state) (*plan.Plan, error) {
	sync := r.opened.Sync
	if len(r.closed) > 0 {
		nameAsApplied(r.opened, live.AuditConfigs)
	}
	if err := f.cluster.addSecrets(ctx, &live.Live, sync, secretNames(r.opened, live.Inventories)); err != nil {
		return nil, err
	}
	r.opened = renew.Continue(r.opened, live.Renewed, time.Now())
	return plan.Compute(r.opened, live.Live, controllers.Policy(live.syncs[sync], r.revision)), nil
}

// secretNames are the Secrets that a plan may concern: those of the fleet, and those that were applied before.
func secretNames(opened *fleet.Opened, inventories []*inventory.Inventory) []string {
	names := map[string]bool{}
	for _, secret := range opened.Secrets {
		names[secret.Name] = true
	}
	for _, inv := range inventories {
		if inv.Sync != opened.Sync {
			continue
		}
		for _, item := range inv.Secrets {
			names[item.Name] = true
		}
		for _, item := range inv.Clusters {
			for _, name := range item.Secrets {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
