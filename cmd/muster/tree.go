package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

const treeHelp = `Tree shows how objects relate: the folder, its AuditSync, the audit configs, the clusters with their files, and the Secrets
of each. With --live it reads the management cluster too, and adds each cluster's CronJob with its latest scan, and the
clusters that are in no file.

Exit status: 0, 1 with error findings, 2 when it failed.`

const treeExample = `  # What does this folder render?
  muster tree clusters/production

  # What exists in the management cluster?
  muster tree clusters/production --live --all`

// maxTreeClusters is how many clusters of an audit config are shown without --all.
const maxTreeClusters = 50

func newTreeCommand(s *shell) *cobra.Command {
	var flags folderFlags
	var where liveFlags
	var all bool
	cmd := &cobra.Command{
		Use: "tree [PATH]", Short: "Show how objects relate, from the folder to Secrets and CronJobs", Long: treeHelp, Example: treeExample,
		Args: atMost(1), ValidArgsFunction: completeFolders,
	}
	output := addChoice(cmd, "output", "o", "output format", "text", "json")
	flags.add(cmd)
	flags.addOwner(cmd)
	flags.addNone(cmd)
	where.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, fmt.Sprintf("show every cluster, not just the first %d of an audit config", maxTreeClusters))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.open(s, cmd, args)
		if err != nil {
			return err
		}
		defer f.close()
		if f.cluster, err = where.connect(s, f.opts.Namespace); err != nil {
			return err
		}
		root, r, err := treeBuilder{folder: f, now: time.Now()}.build(cmd.Context())
		if err != nil {
			return err
		}
		if err := s.printTree(output.value, f.repository, root, all); err != nil {
			return fmt.Errorf("print tree: %w", err)
		}
		return s.conclude(f.repository, r.fresh().Findings)
	}
	return cmd
}

func (s *shell) printTree(format string, repo *repository, root *node, all bool) error {
	if format == "json" {
		return writeJSON(s.stdout, root)
	}
	var b strings.Builder
	d := drawing{b: &b, paint: s.painter(s.stdout), repo: repo, width: widthOf(s.stdout), all: all}
	d.node(root, "", "")
	_, err := fmt.Fprint(s.stdout, s.redactor.String(b.String()))
	return err
}

// node is one object of the tree.
type node struct {
	Kind     string  `json:"kind"`
	Name     string  `json:"name"`
	Path     string  `json:"path,omitempty"` // in the repository
	Note     string  `json:"note,omitempty"`
	Children []*node `json:"children,omitempty"`

	colour colour
}

func (n *node) add(child *node) *node {
	n.Children = append(n.Children, child)
	return child
}

// drawing draws a tree in the style of kubectl tree.
type drawing struct {
	b     *strings.Builder
	paint func(colour, string) string
	repo  *repository
	width int // of the terminal; 0 for none
	all   bool
}

func (d drawing) node(n *node, first, rest string) {
	line := d.paint(dim, n.Kind) + " " + printable(n.Name)
	left := d.width - utf8.RuneCountInString(first+n.Kind+n.Name) - 3
	if text := d.note(n, left); text != "" {
		line += "  " + painted(d.paint, cell{printable(text), n.colour})
	}
	fmt.Fprintf(d.b, "%s%s\n", first, line)
	children, hidden := n.Children, 0
	if most := maxTreeClusters; !d.all && len(children) > most && n.Kind == mondoo.Kind {
		children, hidden = children[:most], len(children)-most
	}
	for i, child := range children {
		if i == len(children)-1 && hidden == 0 {
			d.node(child, rest+"└── ", rest+"    ")
			continue
		}
		d.node(child, rest+"├── ", rest+"│   ")
	}
	if hidden > 0 {
		fmt.Fprintf(d.b, "%s└── %d more; --all shows them\n", rest, hidden)
	}
}

// note is the text after a name, as far as the line has room for it. A path is cut at its beginning, because its end says
// more.
func (d drawing) note(n *node, room int) string {
	file := n.Path
	if file != "" {
		file = d.repo.fromWorkingDir(file)
	}
	text := strings.TrimPrefix(n.Note, ", ")
	if file != "" && text != "" {
		text = ", " + text
	}
	if d.width == 0 || utf8.RuneCountInString(file+text) <= room {
		return file + text
	}
	if keep := room - utf8.RuneCountInString(text) - 1; file != "" && keep > 8 {
		runes := []rune(file)
		return "…" + string(runes[len(runes)-keep:]) + text
	}
	if room < 8 {
		return ""
	}
	return cut(file+text, room)
}

// treeBuilder builds the tree of a folder.
type treeBuilder struct {
	*folder
	now time.Time
}

func (g treeBuilder) build(ctx context.Context) (*node, *rendered, error) {
	live, opts, err := g.gatherIfLive(ctx)
	if err != nil {
		return nil, nil, err
	}
	r, err := g.render(ctx, g.target, opts, openerFor(g.ring))
	if err != nil {
		return nil, nil, err
	}
	root := &node{Kind: "folder", Name: r.sealed.Source.Loaded.Path, colour: dim}
	if r.revision != "" {
		root.Note = "@" + short(r.revision)
	}
	parent := root
	if opts.Sync != "" {
		parent = root.add(&node{Kind: "AuditSync", Name: opts.Sync})
	}
	for _, config := range r.opened.AuditConfigs {
		if err := g.config(ctx, parent, r.opened, config, live); err != nil {
			return nil, nil, err
		}
	}
	for _, c := range r.opened.Clusters {
		if c.AuditConfig == "" {
			parent.add(g.clusterNode(r.opened, c, nil))
		}
	}
	for _, s := range r.opened.Secrets {
		if s.Cluster == "" {
			parent.add(&node{Kind: plan.KindSecret, Name: s.Name, Path: s.Origin.Path, colour: dim})
		}
	}
	return root, r, nil
}

// config adds an audit config with its clusters. Those in files come first.
func (g treeBuilder) config(ctx context.Context, parent *node, opened *fleet.Opened, config fleet.AuditConfig, live *state) error {
	n := parent.add(&node{Kind: mondoo.Kind, Name: config.Name, Path: config.Origin.Path, colour: dim})
	if config.Object == nil {
		n.Note = "not in Git"
	}
	scans, err := g.scansOf(ctx, n, live)
	if err != nil {
		return err
	}
	inFiles := map[string]bool{}
	for _, c := range opened.Clusters {
		if c.AuditConfig != config.Name {
			continue
		}
		inFiles[c.Name] = true
		var s *scanstate.Status
		if status, known := scans[c.Name]; known {
			s = &status
		}
		n.add(g.clusterNode(opened, c, s))
	}
	for _, name := range slices.Sorted(maps.Keys(scans)) {
		if !inFiles[name] {
			child := n.add(&node{Kind: plan.KindCluster, Name: name, Note: "not in any file of this folder", colour: yellow})
			g.addScan(child, scans[name])
		}
	}
	return nil
}

// scansOf are the scans of an audit config by cluster. There are none without a management cluster. If they can't be read,
// a note on the node tells why.
func (g treeBuilder) scansOf(ctx context.Context, config *node, live *state) (map[string]scanstate.Status, error) {
	if live == nil {
		return nil, nil
	}
	object := live.AuditConfigs[config.Name]
	if object == nil {
		config.Note, config.colour = strings.TrimPrefix(config.Note+", not in the management cluster", ", "), yellow
		return nil, nil
	}
	list, note, err := g.cluster.scans(ctx, g.shell, object, items(live.Inventories, config.Name, ""))
	if err != nil {
		return nil, err
	}
	if note != "" {
		config.Note = strings.TrimPrefix(config.Note+"; "+note, "; ")
	}
	scans := make(map[string]scanstate.Status, len(list))
	for _, s := range list {
		scans[s.Cluster] = s
	}
	return scans, nil
}

func (g treeBuilder) clusterNode(opened *fleet.Opened, c fleet.Cluster, s *scanstate.Status) *node {
	n := &node{Kind: plan.KindCluster, Name: c.Name, Path: c.Origin.Path, colour: dim}
	if c.Quarantined {
		n.Note, n.colour = "quarantined", red
	}
	generated := map[string]bool{}
	for _, secret := range opened.Secrets {
		if secret.Cluster == c.Name && secret.AuditConfig == c.AuditConfig {
			generated[secret.Name] = true
			n.add(&node{Kind: plan.KindSecret, Name: secret.Name, Note: strings.Join(slices.Sorted(maps.Keys(secret.Data)), ", "), colour: dim})
		}
	}
	for ref := range compile.References(&c.Entry) {
		if !generated[ref.Name] {
			n.add(&node{Kind: plan.KindSecret, Name: ref.Name, Note: "referenced", colour: dim})
		}
	}
	if s != nil {
		g.addScan(n, *s)
	}
	return n
}

// addScan adds the CronJob of a cluster with its latest scan.
func (g treeBuilder) addScan(n *node, s scanstate.Status) {
	if s.CronJob == "" {
		n.add(&node{Kind: "CronJob", Name: "-", Note: scanText(g.now, s), colour: scanColour(s.State)})
		return
	}
	cron := n.add(&node{Kind: "CronJob", Name: s.CronJob, Note: s.Schedule, colour: dim})
	if s.Job != "" {
		cron.add(&node{Kind: "Job", Name: s.Job, Note: scanText(g.now, s), colour: scanColour(s.State)})
		return
	}
	cron.Note, cron.colour = cron.Note+", "+scanText(g.now, s), scanColour(s.State)
}
