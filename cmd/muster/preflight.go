package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/preflight"
)

const preflightHelp = `Preflight connects to clusters with the credentials of their files, and checks in this order, each step with a cause and a
fix if it fails: the credential, the address in DNS, the connection, the server's certificate, its host name, the answer, the
version, the login, the rights that a scan needs (get, list and watch on */*), and the identity of the cluster.

It needs the keys of the files, and no management cluster. All clusters of the folder are checked, side by side, or those that
are named. The last argument is the folder if there is such a folder or if it has a slash in it.

A cluster with workload identity, Vault or SPIFFE, or with a credential in a Secret that is not in the repository, can't be
checked from here. Its block has the reason. That is no failure.

Addresses come from a repository that others may write, so loopback, link-local, multicast and cloud metadata addresses are not
contacted, whatever name leads to them, unless --allow-address has them. Private networks are. The environment's proxies are not
used, and a kubeconfig's only with --allow-proxy: such a proxy resolves the name itself. Redirects are not followed, and no
exec plugin is run.

The checks only read. A rights review names what is missing; the server's audit log shows it as a review of the user's own rights.

Exit status: 0, 1 when a check failed or a file has error findings, 2 when there is no such cluster or the command failed.`

const preflightExample = `  # Do all credentials of this folder work?
  muster preflight clusters/production

  # One cluster, before it is committed
  muster preflight prod-eu-west-1 clusters/production

  # A cluster on this machine, as of kind
  muster preflight kind clusters/lab --allow-address 127.0.0.1

  # For programs: what failed, and why
  muster preflight clusters/production -o json | jq -r '.clusters[] | .cluster as $c | .checks[] | select(.state == "failed") | [$c, .cause] | @tsv'`

// defaultPreflight is how long a cluster may take.
const defaultPreflight = 30 * time.Second

func newPreflightCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var allowed, proxies []string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "preflight [CLUSTER]... [PATH]", Short: "Check that the credentials of clusters work", Long: preflightHelp, Example: preflightExample,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	output := addChoice(cmd, "output", "o", "output format", "text", "json")
	flags.add(cmd)
	cmd.Flags().StringArrayVar(&allowed, "allow-address", nil, "`address` or network that may be contacted although it is loopback, link-local, multicast or cloud metadata, such as 127.0.0.1 or 169.254.0.0/16; can be repeated")
	cmd.Flags().StringArrayVar(&proxies, "allow-proxy", nil, "proxy, as `host:port`, that is used for clusters whose kubeconfig names it; can be repeated")
	cmd.Flags().DurationVar(&timeout, "timeout", defaultPreflight, "limit for each cluster; a single step may take a sixth of it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts, err := preflightOptions(s, allowed, proxies, timeout)
		if err != nil {
			return err
		}
		compiled, err := flags.options()
		if err != nil {
			return err
		}
		ring, err := flags.ring(s)
		if err != nil {
			return err
		}
		names, path := clustersAndFolder(args)
		c := &checker{folder: folder{shell: s, opts: compiled, ring: ring, policyFor: flags.policyFor, policyGiven: flags.policy != ""}, names: names}
		defer c.close()
		if err := c.gather(cmd.Context(), path); err != nil {
			return err
		}
		c.run(cmd.Context(), opts)
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		return c.report(output.value)
	}
	return cmd
}

func preflightOptions(s *shell, allowed, proxies []string, timeout time.Duration) (preflight.Options, error) {
	o := preflight.Options{Timeout: timeout, Redactor: s.redactor, Proxies: proxies}
	if timeout <= 0 {
		return o, usagef("--timeout must be more than 0")
	}
	for _, text := range proxies {
		if host, port, err := net.SplitHostPort(text); err != nil || host == "" || port == "" {
			return o, usagef("--allow-proxy %q is not of the form host:port", text)
		}
	}
	for _, text := range allowed {
		prefix, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil {
			prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return o, usagef("--allow-address %q is neither an IP address nor a network such as 127.0.0.0/8", text)
		}
		o.Allow = append(o.Allow, prefix)
	}
	return o, nil
}

// clustersAndFolder splits the arguments into names and the path, which comes last.
func clustersAndFolder(args []string) (names []string, path string) {
	if len(args) == 0 {
		return nil, "."
	}
	last := args[len(args)-1]
	info, err := os.Stat(last)
	if err == nil && info.IsDir() || strings.ContainsAny(last, `/\`) {
		return args[:len(args)-1], last
	}
	return args, "."
}

// checker checks the clusters of a folder, which may have several trees.
type checker struct {
	folder
	names []string

	trees    []*tree
	checked  []checkedCluster
	targets  []preflight.Target
	known    []string // names of all clusters
	findings []finding.Finding
}

// checkedCluster is the result of a cluster, and where the cluster is from.
type checkedCluster struct {
	preflight.Result
	AuditConfig string `json:"auditConfig,omitempty"`
	File        string `json:"file,omitempty"`

	repo *repository
}

func (c *checker) close() {
	for _, t := range c.trees {
		t.close()
	}
}

// gather renders the folder, and makes a target of each cluster that is selected.
func (c *checker) gather(ctx context.Context, path string) (err error) {
	if c.trees, _, err = treesOf(ctx, []string{path}, environments{}); err != nil {
		return err
	}
	for _, t := range c.trees {
		if !t.whole {
			return usagef("%s is a file; name its folder, and the cluster before it", path)
		}
		if err := c.gatherTree(ctx, t.target); err != nil {
			return err
		}
	}
	return c.missing(path)
}

func (c *checker) gatherTree(ctx context.Context, t *target) (err error) {
	opts := c.opts
	if opts.Policy, err = c.policyFor(t); err != nil {
		return err
	}
	// With masks in place of values, a mask would be sent as a token. So files are opened even without a key, which is a finding.
	r, err := c.render(ctx, t, opts, openerOrNone(c.ring))
	if err != nil {
		return err
	}
	files := map[string]bool{}
	for _, one := range r.opened.Clusters {
		if c.known = append(c.known, one.Name); !c.selected(one.Name) {
			continue
		}
		files[one.Origin.Path] = true
		one.AuditConfig = cmp.Or(one.AuditConfig, opts.AuditConfig)
		c.targets = append(c.targets, preflight.TargetOf(r.opened, &one, time.Now()))
		c.checked = append(c.checked, checkedCluster{AuditConfig: one.AuditConfig, File: one.Origin.Path, repo: t.repository})
	}
	for _, f := range r.fresh().Findings {
		mine := f.Cluster == "" && (len(c.names) == 0 || f.Stops || files[f.Path]) || f.Cluster != "" && c.selected(f.Cluster)
		if f.Severity == finding.Error && mine {
			c.findings = append(c.findings, f)
		}
	}
	return nil
}

func (c *checker) selected(name string) bool {
	return len(c.names) == 0 || slices.Contains(c.names, name)
}

// missing returns an error if a name is that of no cluster.
func (c *checker) missing(path string) error {
	for _, name := range c.names {
		inError := slices.ContainsFunc(c.findings, func(f finding.Finding) bool { return f.Cluster == name })
		if slices.Contains(c.known, name) || inError {
			continue
		}
		text := fmt.Sprintf("no cluster %q in %s", name, path)
		if near := explain.Near(name, c.known); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return fmt.Errorf("%s", text)
	}
	return nil
}

func (c *checker) run(ctx context.Context, o preflight.Options) {
	for i, result := range preflight.All(ctx, c.targets, o) {
		c.checked[i].Result = result
	}
}
