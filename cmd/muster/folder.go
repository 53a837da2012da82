package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/controllers"
)

// folderFlags are the flags of a command that renders a folder: for which AuditSync, and with which keys.
type folderFlags struct {
	fleetFlags
	keyFlags
}

func (f *folderFlags) add(cmd *cobra.Command) {
	f.fleetFlags.add(cmd)
	f.keyFlags.add(cmd)
}

// addOwner adds --sync for commands that find the AuditSync themselves when the flag is absent.
func (f *folderFlags) addOwner(cmd *cobra.Command) {
	f.addSync(cmd, "name of the AuditSync (default: the one that manages the folder's audit config)")
}

func pathArgument(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

// choose finds the PATH that a user gives. Without one, it is the folder that the one AuditSync below the working directory reads, or
// the working directory.
func choose(ctx context.Context, args []string, find func(context.Context, string) (*target, error)) (*target, error) {
	t, err := find(ctx, pathArgument(args))
	if err != nil || len(args) > 0 {
		return t, err
	}
	switch below := (environments{}).below(t); len(below) {
	case 0:
	case 1:
		t.path = below[0]
	default:
		t.close()
		return nil, usagef("the AuditSyncs of this repository read several folders (%s); choose one", strings.Join(below, ", "))
	}
	return t, nil
}

// folder is the state of a command that renders a folder.
type folder struct {
	*shell
	*target
	opts compile.Options
	ring *keys.Ring
	// auditConfigGiven reports whether the user set opts.AuditConfig, so that it isn't a default.
	auditConfigGiven bool
	// policyGiven reports whether the user set opts.Policy, so that the management cluster's is ignored.
	policyGiven bool
	// policyFor finds the policy of a folder, for a command that renders several, or one from a commit.
	policyFor func(*target) (policy.Policy, error)
	// cluster is nil when the command only reads files.
	cluster *cluster
}

// open checks the flags, finds the folder (see choose) and reads the keys. The caller must close the folder.
func (f *folderFlags) open(s *shell, cmd *cobra.Command, path []string) (*folder, error) {
	opts, err := f.options()
	if err != nil {
		return nil, err
	}
	t, err := choose(cmd.Context(), path, locateFolder)
	if err != nil {
		return nil, err
	}
	return f.openTarget(s, cmd, t, opts)
}

// openCommitted is open for a command that reads the folder from commits. The work tree need not have it.
func (f *folderFlags) openCommitted(s *shell, cmd *cobra.Command, path []string) (*folder, error) {
	opts, err := f.options()
	if err != nil {
		return nil, err
	}
	t, err := choose(cmd.Context(), path, locateCommitted)
	if err != nil {
		return nil, err
	}
	return f.openTarget(s, cmd, t, opts)
}

func (f *folderFlags) openTarget(s *shell, cmd *cobra.Command, t *target, opts compile.Options) (*folder, error) {
	ring, err := f.keyFlags.ring(s)
	if err != nil {
		t.close()
		return nil, err
	}
	if opts.Policy, err = f.policyFor(t); err != nil {
		t.close()
		return nil, err
	}
	return &folder{shell: s, target: t, opts: opts, ring: ring, auditConfigGiven: cmd.Flags().Changed("audit-config"),
		policyFor: f.policyFor, policyGiven: f.policy != ""}, nil
}

// gather reads the management cluster and completes the options: with the AuditSync that manages the folder's audit config,
// and with the audit config that this AuditSync names.
func (f *folder) gather(ctx context.Context) (*state, compile.Options, error) {
	opts := f.opts
	live, err := f.cluster.gather(ctx)
	if err != nil {
		return nil, opts, err
	}
	opts.Existing, opts.Offline = live.AuditConfigs, false
	opts.PodSecurity = f.cluster.podSecurity(ctx)
	if opts.Sync == "" {
		if opts.Sync, err = f.owner(ctx, opts, live.Inventories); err != nil {
			return nil, opts, err
		}
	}
	sync := live.syncs[opts.Sync]
	if sync != nil && !f.auditConfigGiven {
		opts.AuditConfig = sync.Spec.AuditConfig
	}
	if sync != nil && !f.policyGiven {
		opts.Policy = controllers.Allowed(sync, nil)
		opts.Policy.Reserved = live.Reserved
	}
	return live, opts, nil
}

// owner is the AuditSync whose inventory has an audit config of the folder, or "".
func (f *folder) owner(ctx context.Context, opts compile.Options, inventories []*inventory.Inventory) (string, error) {
	sealed, err := clusters.NewPipeline().Compile(ctx, clusters.Source{FS: f.fs, Path: f.path}, opts, nil)
	if err != nil {
		return "", err
	}
	owners := map[string]bool{}
	for _, config := range sealed.AuditConfigs {
		for _, inv := range inventories {
			if inv.AuditConfig == config.Name {
				owners[inv.Sync] = true
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
		return "", usagef("several AuditSyncs have applied audit configs of this folder (%s); choose one with --sync", strings.Join(names, ", "))
	}
}
