package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers"
)

const flagDetailedExitCode = "detailed-exitcode"

const planHelp = `Plan compares a folder with what the management cluster has, and prints what the controller would change. It only reads.

The folder is planned in the name of an AuditSync, whose inventory tells what Muster has applied before and whose policy
says what may be removed. Without --sync it is the one whose inventory has an audit config of the folder; without any, the
plan is that of a new AuditSync with the default policy.

Signs: + added, ~ changed, > comes from another file now, - removed, ! no longer in Git, but held. Files are named from the
root of the repository. Values of Secrets are never printed. Where a live object differs though Git has not changed, that is
drift; who has changed it, and when, is what the API server remembers (metadata.managedFields).

Plan needs the rights to list MondooAuditConfigs, AuditSyncs and ConfigMaps in the namespace, and to get the Secrets that it
compares; with the right to list them as well it is faster.

Exit status: 0, 1 with error findings, 2 when the plan could not be made. With --detailed-exitcode, as terraform has it:
0 no changes, 2 changes, 1 error findings or no plan.`

const planExample = `  # What would change in production?
  muster plan clusters/production --context mgmt-production

  # In a pipeline: is the cluster as Git says?
  muster plan clusters/production --sync production --detailed-exitcode

  # For programs
  muster plan clusters/production -o json | jq '.steps[] | select(.action == "remove")'`

func newPlanCommand(s *shell) *cobra.Command {
	var flags fleetFlags
	var given keyFlags
	var where kubeFlags
	var detailed bool
	cmd := &cobra.Command{
		Use:               "plan [PATH]",
		Short:             "Compare a folder with the management cluster",
		Long:              planHelp,
		Example:           planExample,
		Args:              atMost(1),
		ValidArgsFunction: completeFolders,
	}
	output := addChoice(cmd, "output", "o", "output format", "text", "json")
	flags.add(cmd)
	flags.addSync(cmd, "name of the AuditSync (default: the one that drives the folder's audit config)")
	given.add(cmd)
	where.add(cmd)
	cmd.Flags().BoolVar(&detailed, flagDetailedExitCode, false, "exit with 0 for no changes, 2 for changes and 1 for errors")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts, err := flags.options()
		if err != nil {
			return err
		}
		t, err := locateFolder(pathArgument(args))
		if err != nil {
			return err
		}
		defer t.close()
		ring, err := given.ring(s)
		if err != nil {
			return err
		}
		c, err := where.connect(s, opts.Namespace)
		if err != nil {
			return err
		}
		p := planner{shell: s, cluster: c, target: t, ring: ring, auditConfigGiven: cmd.Flags().Changed("audit-config")}
		planned, err := p.plan(cmd.Context(), opts)
		if err != nil {
			return err
		}
		if err := s.printPlan(output.value, planned); err != nil {
			return fmt.Errorf("print plan: %w", err)
		}
		err = s.conclude(t.repository, planned.Findings)
		if err == nil && detailed && planned.changes() > 0 {
			return statusError(exitChanges)
		}
		return err
	}
	return cmd
}

// planner makes the plan of one folder.
type planner struct {
	*shell
	cluster          *cluster
	target           *target
	ring             *keys.Ring
	auditConfigGiven bool
}

// planned is a plan with what its summary needs besides.
type planned struct {
	*plan.Plan
	quarantined int
}

// changes counts what would be done. What is held stays as it is.
func (p planned) changes() int {
	n := 0
	for _, step := range p.Steps {
		if step.Action != plan.Hold {
			n++
		}
	}
	return n
}

func (p planner) plan(ctx context.Context, opts compile.Options) (planned, error) {
	live, err := p.cluster.gather(ctx)
	if err != nil {
		return planned{}, err
	}
	opts.Existing = live.AuditConfigs
	opts.PodSecurity = p.cluster.podSecurity(ctx)
	if opts.Sync == "" {
		if opts.Sync, err = p.owner(ctx, opts, live.Inventories); err != nil {
			return planned{}, err
		}
	}
	sync := live.syncs[opts.Sync]
	if sync != nil && !p.auditConfigGiven {
		opts.AuditConfig = sync.Spec.AuditConfig
	}
	r, err := p.render(ctx, p.target, opts, openerOrNone(p.ring))
	if err != nil {
		return planned{}, err
	}
	if err := p.cluster.addSecrets(ctx, &live.Live, opts.Sync, secretNames(r.opened, live.Inventories)); err != nil {
		return planned{}, err
	}
	return planned{plan.Compute(r.opened, live.Live, controllers.Policy(sync, r.revision)), fleet.Quarantined(r.opened.Clusters) + plan.Unread(r.opened)}, nil
}

// owner is the AuditSync whose inventory has an audit config of the folder.
func (p planner) owner(ctx context.Context, opts compile.Options, inventories []*plan.Inventory) (string, error) {
	sealed, err := clusters.NewPipeline().Compile(ctx, clusters.Source{FS: p.target.fs, Path: p.target.path}, opts, nil)
	if err != nil {
		return "", err
	}
	owners := map[string]bool{}
	for _, config := range sealed.AuditConfigs {
		for _, inventory := range inventories {
			if inventory.AuditConfig == config.Name {
				owners[inventory.Sync] = true
			}
		}
	}
	names := slices.Sorted(maps.Keys(owners))
	switch len(names) {
	case 0:
		return "", nil
	case 1:
		return names[0], nil
	default:
		return "", usagef("several AuditSyncs have applied audit configs of this folder (%s); name one with --sync", strings.Join(names, ", "))
	}
}

// secretNames are the Secrets that a plan may be about: those of the fleet, and those that were applied before.
func secretNames(opened *fleet.Opened, inventories []*plan.Inventory) []string {
	names := map[string]bool{}
	for _, secret := range opened.Secrets {
		names[secret.Name] = true
	}
	for _, inventory := range inventories {
		if inventory.Sync != opened.Sync {
			continue
		}
		for _, item := range inventory.Secrets {
			names[item.Name] = true
		}
		for _, item := range inventory.Clusters {
			for _, name := range item.Secrets {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
