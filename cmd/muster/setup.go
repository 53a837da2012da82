package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/setup"
)

const setupHelp = `Setup prints what a cluster's authentication method needs at the cloud, in Vault and in the cluster before a scan works, with
the names of this cluster: shell commands, the RBAC objects of the cluster as YAML, or a Terraform module.

It runs none of this, and needs no key. Values that the cluster file doesn't tell, or that are encrypted, are variables with
a note about what to put there. The commands are for bash and zsh. They use kubectl, jq, and the command line of the cloud or
Vault, and no command runs without the variables that it needs. In YAML, a variable has the form of envsubst.

The Terraform module is for one cluster. Its provider kubernetes is that of the cluster to scan, and kubernetes.management
that of the management cluster.

Exit status: 0, 1 when the cluster has error findings, 2 when there is no such cluster or the command failed.`

const setupExample = `  # What does this cluster need?
  muster setup prod-eu-west-1 clusters/production

  # Create the RBAC objects of the cluster
  muster setup prod-eu-west-1 clusters/production -o yaml | kubectl --context prod-eu-west-1 apply -f -

  # A module for Terraform
  muster setup prod-eu-west-1 clusters/production -o terraform > modules/prod-eu-west-1/main.tf`

func newSetupCommand(s *shell) *cobra.Command {
	flags := folderFlags{keyFlags: keyFlags{none: true}}
	cmd := &cobra.Command{
		Use: "setup CLUSTER [PATH]", Short: "Print what a cluster needs before it can be scanned", Long: setupHelp, Example: setupExample,
		Args: clusterAndFolder, ValidArgsFunction: completeClusterAndFolder,
	}
	output := addChoice(cmd, "output", "o", "output format", "shell", "yaml", "terraform", "json")
	flags.fleetFlags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.open(s, cmd, args[1:])
		if err != nil {
			return err
		}
		defer f.close()
		found, findings, err := explainer{folder: f, name: args[0]}.setup(cmd.Context())
		if missing, ok := errors.AsType[*missingError](err); ok {
			err = errors.Join(s.printFindings(s.stderr, f.repository, missing.findings), err)
		}
		if err != nil {
			return err
		}
		if output.value == "json" {
			return s.printSetups(found, findings)
		}
		if err := printSetup(s, output.value, found); err != nil {
			return fmt.Errorf("print setup: %w", err)
		}
		return s.conclude(f.repository, findings)
	}
	return cmd
}

// setup returns the setup of the cluster, and of each one with the same name in another audit config, and the findings about
// clusters that are quarantined.
func (e explainer) setup(ctx context.Context) ([]setup.Setup, []finding.Finding, error) {
	r, err := e.render(ctx, e.target, e.opts, nil)
	if err != nil {
		return nil, nil, err
	}
	all := r.fresh().Findings
	var found []setup.Setup
	var findings []finding.Finding
	for _, c := range r.opened.Clusters {
		config := cmp.Or(c.AuditConfig, e.opts.AuditConfig)
		if c.Name != e.name || e.auditConfigGiven && config != e.opts.AuditConfig {
			continue
		}
		entry, ok := explain.Entry(c)
		if !ok && c.File != nil {
			entry = compile.Entry(c.File, config, mondoo.UnknownHash, false)
		}
		entry.Name = c.Name
		needs := setup.For(entry, config, e.opts.Namespace)
		if c.File != nil && c.File.Spec.Renew != nil {
			needs = needs.Renewing()
		}
		found = append(found, needs)
		if c.Quarantined {
			findings = append(findings, e.findingsOf(c.Name, c.Origin.Path, all)...)
		}
	}
	if len(found) > 0 {
		return found, findings, nil
	}
	if file := fileOf(e.name, r); file != "" {
		return nil, append(e.findingsOf(e.name, file, all), e.sharedErrors(all)...), nil
	}
	return nil, nil, e.missing(r, nil, all)
}

// printSetups prints setups for programs, in the words of a result.
func (s *shell) printSetups(found []setup.Setup, findings []finding.Finding) error {
	r := result{Findings: findings, Summary: plural(len(found), "setup")}
	for _, x := range found {
		r.SetUp = append(r.SetUp, setupOf(x))
	}
	return s.printResult(r)
}

func printSetup(s *shell, format string, found []setup.Setup) error {
	for _, x := range found {
		text := []byte(x.Commands())
		switch format {
		case "yaml":
			text = x.RBAC()
		case "terraform":
			text = x.Terraform()
		}
		if _, err := s.stdout.Write(text); err != nil {
			return err
		}
	}
	return nil
}
