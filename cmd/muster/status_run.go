package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// addSelection adds the flags that kubectl users expect of a command that shows objects.
func addSelection(cmd *cobra.Command, allNamespaces, watch *bool) {
	cmd.Flags().BoolVarP(allNamespaces, "all-namespaces", "A", false, "all namespaces instead of one")
	cmd.Flags().BoolVarP(watch, "watch", "w", false, "show changes until Ctrl-C")
	exclude(cmd, "all-namespaces", "namespace")
}

// selection selects AuditSyncs. The zero value selects all.
type selection struct {
	name   string
	labels labels.Selector
}

func (s selection) restricts() bool { return s.name != "" || s.labels != nil }

func (s selection) has(audit *v1alpha1.AuditSync) bool {
	return (s.name == "" || audit.Name == s.name) && (s.labels == nil || s.labels.Matches(labels.Set(audit.Labels)))
}

// selection checks the flags, and the name of an AuditSync.
func (f statusFlags) selection(args []string) (selection, error) {
	if f.limit < 1 {
		return selection{}, usagef("--limit %d must be at least 1", f.limit)
	}
	if err := checkNamespace(f.namespace); err != nil {
		return selection{}, err
	}
	chosen := selection{name: strings.Join(args, "")}
	if f.selector == "" {
		return chosen, nil
	}
	parsed, err := labels.Parse(f.selector)
	if err != nil {
		return selection{}, usagef("--selector %q: %w", f.selector, err)
	}
	chosen.labels = parsed
	return chosen, nil
}

func (f statusFlags) wide() bool { return f.output != nil && f.output.value == "wide" }

// fleets gathers the fleet of the namespace, or of all namespaces with AuditSyncs. With --scan, only the clusters in that
// state are in it.
func (s *shell) fleets(ctx context.Context, c *cluster, flags statusFlags, want selection) ([]fleetStatus, error) {
	namespaces := []string{c.namespace}
	switch {
	case flags.allNamespaces:
		found, err := c.namespacesOf(ctx, want)
		if err != nil {
			return nil, err
		}
		namespaces = found
	case want.labels != nil: // whoever may not list AuditSyncs still sees clusters, but no labels
		if _, err := c.syncsIn(ctx, want); err != nil {
			return nil, err
		}
	}
	fleets := make([]fleetStatus, 0, len(namespaces))
	for _, namespace := range namespaces {
		f, err := c.in(namespace).fleetStatus(ctx, s, want, time.Now())
		if err != nil {
			return nil, err
		}
		if flags.scan.value != "any" {
			f.Clusters = slices.DeleteFunc(f.Clusters, func(c clusterStatus) bool { return c.Scan == nil || string(c.Scan.State) != flags.scan.value })
		}
		fleets = append(fleets, f)
	}
	return fleets, nil
}

// namespacesOf returns the namespaces of the selected AuditSyncs, sorted.
func (c *cluster) namespacesOf(ctx context.Context, want selection) ([]string, error) {
	syncs, err := c.in("").syncsIn(ctx, want)
	if err != nil {
		return nil, err
	}
	var namespaces []string
	for _, audit := range syncs {
		namespaces = append(namespaces, audit.Namespace)
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces), nil
}

// printFleets writes what was gathered. Several namespaces become a list for programs.
func (s *shell) printFleets(w io.Writer, fleets []fleetStatus, flags statusFlags) error {
	format := flags.output.value
	switch {
	case format == "name":
		return s.printNames(w, fleets, flags)
	case !flags.allNamespaces:
		return s.printStatus(w, format, fleets[0], flags)
	case format == "json" || format == "yaml":
		list := make([]statusDocument, 0, len(fleets))
		for _, f := range fleets {
			total := len(f.Clusters)
			f, _ = f.listed(flags)
			list = append(list, statusDocument{f, total})
		}
		document := map[string]any{"items": list}
		if format == "json" {
			return writeJSON(w, document)
		}
		return writeYAML(w, document)
	case len(fleets) == 0:
		_, err := fmt.Fprintln(w, "no AuditSync in any namespace")
		return err
	}
	for i, f := range fleets {
		space := "\n"
		if i == 0 {
			space = ""
		}
		if _, err := fmt.Fprintf(w, "%s%s\n", space, s.painter(w)(bold, "Namespace "+printable(f.Namespace))); err != nil {
			return err
		}
		if err := s.printStatus(w, format, f, flags); err != nil {
			return err
		}
	}
	return nil
}

// printNames writes the AuditSyncs in the form that kubectl accepts, or with --scan the clusters.
func (s *shell) printNames(w io.Writer, fleets []fleetStatus, flags statusFlags) error {
	for _, f := range fleets {
		var names []string
		for _, sync := range f.Syncs {
			names = append(names, syncName(sync.Name))
		}
		if flags.scan.value != "any" {
			names = nil
			for _, c := range f.Clusters {
				names = append(names, c.Cluster)
			}
		}
		for _, name := range names {
			if _, err := fmt.Fprintln(w, printable(s.redactor.String(name))); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncName names an AuditSync as kubectl does with -o name.
func syncName(name string) string { return "auditsync." + v1alpha1.GroupVersion.Group + "/" + name }

// statusKinds are what a status is made of.
func statusKinds() []watched {
	return []watched{
		{kind: auditSyncs},
		{kind: auditConfigs},
		{kind: schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}, what: "CronJobs", opts: scanObjects()},
		{kind: schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, what: "Jobs", opts: scanObjects()},
	}
}

// scanObjects selects what the operator creates for scans.
func scanObjects() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: labels.Set{mondoo.LabelApp: mondoo.AppValue, mondoo.LabelScan: mondoo.ScanValue}.String()}
}

func writeYAML(w io.Writer, v any) error {
	data, err := yaml.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
