package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers"
)

// comparison is how a folder compares with the management cluster.
type comparison struct {
	*importer
	opened  *fleet.Opened
	planned *plan.Plan
	// differ are the differences, a line each. fresh are clusters that get the same credentials in a Secret of another name.
	differ, fresh []string
	// labelled counts the objects that get only labels and annotations.
	labelled int
	// adopt are the Secrets and audit configs that still lack the annotation that lets Muster take them over.
	adoptSecrets, adoptConfigs []string
}

// checkFolder compares the folder with the management cluster, as the first sync will.
func (im *importer) checkFolder(ctx context.Context) (err error) {
	if im.live, err = im.kube.gather(ctx); err != nil {
		return err
	}
	im.findSync()
	im.configs = slices.Sorted(maps.Keys(im.live.AuditConfigs))
	im.opts.Existing, im.opts.Offline = im.live.AuditConfigs, false
	if sync := im.live.syncs[im.opts.Sync]; sync != nil && len(im.auditConfigs) == 0 {
		im.opts.AuditConfig = sync.Spec.AuditConfig
	} else if used := im.used(); len(used) == 1 && len(im.auditConfigs) == 0 {
		im.opts.AuditConfig = used[0]
	}
	im.allow(im.configs)
	c := &comparison{importer: im}
	if err := c.compute(ctx); err != nil {
		return err
	}
	for _, step := range c.planned.Steps {
		c.step(step)
	}
	c.others()
	if err := c.print(); err != nil {
		return fmt.Errorf("print the comparison: %w", err)
	}
	failed := slices.DeleteFunc(slices.Clone(c.planned.Findings), func(f finding.Finding) bool { return f.Severity != finding.Error })
	if err := im.conclude(im.repository, failed); err != nil || len(c.differ) == 0 {
		return err
	}
	return statusError(exitFindings)
}

// compute plans the folder as if all objects allowed Muster to take them over.
func (c *comparison) compute(ctx context.Context) (err error) {
	if c.opts.Policy, err = c.folder.policyFor(c.target); err != nil {
		return err
	}
	r, err := c.render(ctx, c.target, c.opts, openerOrNone(c.ring))
	if err != nil {
		return err
	}
	c.opened = r.opened
	names := secretNames(r.opened, c.live.Inventories)
	for i := range r.opened.Clusters {
		for _, ref := range c.liveReferences(&r.opened.Clusters[i]) {
			names = append(names, ref.Name)
		}
	}
	slices.Sort(names)
	if err := c.kube.addSecrets(ctx, &c.live.Live, c.opts.Sync, slices.Compact(names)); err != nil {
		return err
	}
	c.adopt()
	c.planned = plan.Compute(r.opened, c.live.Live, controllers.Policy(c.live.syncs[c.opts.Sync], r.revision))
	return nil
}

// adopt gives the objects in memory the annotation, and records those that lack it.
func (c *comparison) adopt() {
	for _, s := range c.opened.Secrets {
		live, exists := c.live.Secrets[s.Name]
		if !exists || s.Cluster != "" || live.Labels[fleet.LabelSync] != "" || live.Annotations[plan.AdoptAnnotation] == c.opts.Sync {
			continue
		}
		live.Annotations = maps.Clone(live.Annotations)
		if live.Annotations == nil {
			live.Annotations = map[string]string{}
		}
		live.Annotations[plan.AdoptAnnotation] = c.opts.Sync
		c.live.Secrets[s.Name] = live
		c.adoptSecrets = append(c.adoptSecrets, s.Name)
	}
	for _, config := range c.opened.AuditConfigs {
		live := c.live.AuditConfigs[config.Name]
		metadata, _ := live["metadata"].(map[string]any)
		if config.Object == nil || metadata == nil || mondoo.TextAt(live, "metadata", "labels", fleet.LabelSync) != "" ||
			mondoo.TextAt(live, "metadata", "annotations", plan.AdoptAnnotation) == c.opts.Sync {
			continue
		}
		annotations, _ := metadata["annotations"].(map[string]any)
		if annotations = maps.Clone(annotations); annotations == nil {
			annotations = map[string]any{}
		}
		annotations[plan.AdoptAnnotation] = c.opts.Sync
		metadata["annotations"] = annotations
		c.adoptConfigs = append(c.adoptConfigs, config.Name)
	}
}

// step records what a step of the first sync would change.
func (c *comparison) step(step plan.Step) {
	what := fmt.Sprintf("%s %s", step.Kind, step.Name)
	if step.Kind == plan.KindCluster {
		what += " (" + step.AuditConfig + ")"
	}
	switch step.Action {
	case plan.Move:
	case plan.Add:
		if step.Kind != plan.KindSecret || !mondoo.IsMade(step.Name) { // that of a fresh cluster, or of one that is listed
			c.differ = append(c.differ, what+" is in Git, but not in the management cluster")
		}
	case plan.Change:
		fields := c.otherFields(step)
		renamed := step.Kind == plan.KindCluster && c.renamed(step)
		if renamed {
			fields = c.otherContent(step)
		}
		switch {
		case renamed && len(fields) == 0:
			c.fresh = append(c.fresh, step.Name)
		case len(fields) > 0:
			c.differ = append(c.differ, what+" differs in "+strings.Join(fields, ", "))
		default:
			c.labelled++
		}
	default:
		c.differ = append(c.differ, what+" is in no file")
	}
}

// otherFields are the fields of a step that aren't Muster's own labels and annotations.
func (c *comparison) otherFields(step plan.Step) (paths []string) {
	for _, f := range step.Fields {
		if !strings.HasPrefix(f.Path, "metadata.labels.muster.dev/") && !strings.HasPrefix(f.Path, "metadata.annotations.muster.dev/") && !c.onlyMarks(step, f.Path) {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// onlyMarks reports whether an audit config gets its first labels or annotations, and has none in Git.
func (c *comparison) onlyMarks(step plan.Step, field string) bool {
	return step.Kind == plan.KindAuditConfig && (field == "metadata.labels" || field == "metadata.annotations") &&
		slices.ContainsFunc(c.opened.AuditConfigs, func(config fleet.AuditConfig) bool {
			return config.Name == step.Name && mondoo.At(config.Object, strings.Split(field, ".")) == nil
		})
}

// others records entries in no file, and fields that Muster doesn't know.
func (c *comparison) others() {
	for _, config := range slices.Sorted(maps.Keys(c.planned.Foreign)) {
		for _, name := range c.planned.Foreign[config] {
			c.differ = append(c.differ, fmt.Sprintf("cluster %s (%s) is in no file", name, config))
		}
	}
	for i := range c.opened.Clusters {
		cluster := &c.opened.Clusters[i]
		raw := liveEntry(c.live.AuditConfigs[cluster.AuditConfig], cluster.Name)
		for _, field := range author.UnknownFields(raw) {
			c.differ = append(c.differ, fmt.Sprintf("cluster %s (%s) has the field %s, which Muster does not know", cluster.Name, cluster.AuditConfig, field))
		}
	}
}

// liveReferences are the Secrets that a cluster names now, if Muster will make others.
func (c *comparison) liveReferences(cluster *fleet.Cluster) map[string]compile.Reference {
	entry, err := mondoo.ParseEntry(liveEntry(c.live.AuditConfigs[cluster.AuditConfig], cluster.Name))
	if err != nil || len(cluster.Secrets) == 0 {
		return nil
	}
	refs := map[string]compile.Reference{}
	for ref := range compile.References(&entry) {
		refs[strings.Join(ref.Field, ".")] = ref
	}
	return refs
}

// renamed reports whether a cluster differs only in the names of Secrets.
func (c *comparison) renamed(step plan.Step) bool {
	return len(step.Fields) > 0 && !slices.ContainsFunc(step.Fields, func(f plan.Field) bool { return !strings.HasSuffix(f.Path, "SecretRef.name") })
}

// otherContent are the references of a cluster whose Secrets will have another content.
func (c *comparison) otherContent(step plan.Step) (fields []string) {
	for i := range c.opened.Clusters {
		cluster := &c.opened.Clusters[i]
		if cluster.Name != step.Name || cluster.AuditConfig != step.AuditConfig {
			continue
		}
		before := c.liveReferences(cluster)
		for ref := range compile.References(&cluster.Entry) {
			field := strings.Join(ref.Field, ".")
			if was := before[field]; was.Name != ref.Name && !c.sameContent(ref.Name, was) {
				fields = append(fields, "the content of "+strings.TrimPrefix(field, "spec."))
			}
		}
	}
	return fields
}

// sameContent reports whether a Secret that Muster makes has what the operator reads in a live one.
func (c *comparison) sameContent(made string, was compile.Reference) bool {
	i := slices.IndexFunc(c.opened.Secrets, func(s fleet.Secret) bool { return s.Name == made })
	live, exists := c.live.Secrets[was.Name]
	return i >= 0 && exists && !slices.ContainsFunc(was.Keys, func(key string) bool {
		value, has := live.Data[key]
		return !has || !bytes.Equal(value, []byte(c.opened.Secrets[i].Data[key]))
	})
}

// compared is the comparison for programs.
type compared struct {
	Clusters    int      `json:"clusters"`
	Secrets     int      `json:"secrets"`
	Differences []string `json:"differences"`
	// NewSecrets are clusters that get the same credentials in Secrets of another name.
	NewSecrets []string `json:"newSecrets"`
	Labelled   int      `json:"labelled"`
	// Adopt are the commands that let Muster take live objects over.
	Adopt []string `json:"adopt"`
}

// print writes the differences and what the first sync will write.
func (c *comparison) print() error {
	slices.Sort(c.differ)
	adopt := append(c.annotate("secret", c.adoptSecrets), c.annotate("mondooauditconfig", c.adoptConfigs)...)
	if c.output.value == "json" {
		return writeJSON(c.stdout, compared{len(c.opened.Clusters), len(c.opened.Secrets), c.maskedTexts(c.differ), c.maskedTexts(c.fresh), c.labelled, c.maskedTexts(adopt)})
	}
	var b strings.Builder
	for _, line := range c.differ {
		fmt.Fprintln(&b, printable(line))
	}
	result := "no differences"
	if len(c.differ) > 0 {
		result = plural(len(c.differ), "difference")
	}
	fmt.Fprintf(&b, "%s and %s of the folder compared with the namespace %s: %s\n", plural(len(c.opened.Clusters), "cluster"),
		plural(len(c.opened.Secrets), "Secret"), c.kube.namespace, result)
	switch {
	case len(c.differ) > 0:
	case c.planned.Empty():
		fmt.Fprintln(&b, "A sync has nothing to write.")
	default:
		fmt.Fprintf(&b, "The first sync writes an inventory, and labels and annotations of %s.\n", plural(c.labelled, "object"))
	}
	if len(c.fresh) > 0 {
		fmt.Fprintf(&b, "%s get the same credentials in Secrets of another name, and their CronJobs change once: %s\n", plural(len(c.fresh), "cluster"), strings.Join(c.fresh, ", "))
	}
	if len(adopt) > 0 {
		fmt.Fprintf(&b, "Before it, let Muster take over what exists:\n%s\n", strings.Join(adopt, "\n"))
	}
	_, err := fmt.Fprint(c.stdout, c.redactor.String(b.String()))
	return err
}
