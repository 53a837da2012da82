package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/credential"
	clusterfile "github.com/muster-gitops/muster/clusters/v1alpha1"
)

// endWithin is the value of --expiring: until when the credentials to list end.
type endWithin struct {
	set  bool
	left time.Duration // 0 for any
}

// anyEnd is the value of --expiring without a value.
const anyEnd = "any"

func (w *endWithin) String() string {
	if w.left == 0 {
		return ""
	}
	return w.left.String()
}

func (w *endWithin) Type() string { return "duration" }

func (w *endWithin) Set(value string) error {
	d, ok := clusterfile.ParseDuration(value)
	if !ok && value != anyEnd {
		return errors.New("must be a duration, such as 14d or 36h")
	}
	w.set, w.left = true, d
	return nil
}

func (w *endWithin) add(cmd *cobra.Command) {
	cmd.Flags().Var(w, "expiring", "list when credentials end, soonest first; with a `duration` such as 14d, only those that end within it")
	cmd.Flags().Lookup("expiring").NoOptDefVal = anyEnd
	for _, other := range []string{"watch", "scan", "limit", "all"} {
		exclude(cmd, "expiring", other)
	}
}

// misplaced is the error of an argument that was meant as the flag's value, which only an equals sign can attach.
func (w *endWithin) misplaced(args []string) error {
	if !w.set || w.left != 0 || len(args) == 0 {
		return nil
	}
	if _, ok := clusterfile.ParseDuration(args[0]); ok {
		return usagef("%q is an argument, the name of an AuditSync; write --expiring=%s", args[0], args[0])
	}
	return nil
}

// ending is one credential of a cluster, for programs.
type ending struct {
	Cluster     string          `json:"cluster"`
	AuditConfig string          `json:"auditConfig"`
	Sync        string          `json:"sync"`
	Secret      string          `json:"secret"`
	Kind        credential.Kind `json:"kind"`
	Issued      time.Time       `json:"issued,omitzero"`
	Expires     time.Time       `json:"expires"`
	Stage       string          `json:"stage"`

	stage credential.Stage
}

// endings are the credentials of a fleet with a known end, those that end first at the front.
type endings struct {
	Namespace   string   `json:"namespace"`
	Credentials []ending `json:"credentials"`
	Notes       []string `json:"notes,omitempty"`

	clusters, unknown int // all that Muster has applied, and those without a credential that tells its end
	now               time.Time
}

// endings selects the credentials that end within a time.
func (f fleetStatus) endings(within time.Duration) endings {
	e := endings{Namespace: f.Namespace, Credentials: []ending{}, Notes: f.Notes, now: f.now}
	for _, c := range f.Clusters {
		if c.Sync == "" {
			continue // no AuditSync's
		}
		e.clusters++
		if len(c.ends) == 0 {
			e.unknown++
		}
		for _, end := range c.ends {
			if within > 0 && end.term.Until.After(f.now.Add(within)) {
				continue
			}
			stage, _ := end.term.Stage(f.now, 0)
			e.Credentials = append(e.Credentials, ending{Cluster: c.Cluster, AuditConfig: c.AuditConfig, Sync: c.Sync, Secret: end.secret, Kind: end.term.Kind,
				Issued: end.term.From.UTC(), Expires: end.term.Until.UTC(), Stage: stage.String(), stage: stage})
		}
	}
	slices.SortStableFunc(e.Credentials, func(a, b ending) int {
		return cmp.Or(a.Expires.Compare(b.Expires), strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.AuditConfig, b.AuditConfig), cmp.Compare(a.Kind, b.Kind))
	})
	return e
}

// well reports whether none of the credentials has reached a threshold.
func (e endings) well() bool {
	return !slices.ContainsFunc(e.Credentials, func(c ending) bool { return c.stage != credential.Lasting })
}

// printEndings writes when the credentials of the fleets end, and reports whether all is well with those listed.
func (s *shell) printEndings(w io.Writer, fleets []fleetStatus, flags statusFlags) (well bool, err error) {
	well = true
	list := make([]endings, len(fleets))
	for i, f := range fleets {
		list[i] = f.endings(flags.expiring.left)
		well = well && list[i].well()
	}
	var document any = map[string]any{"items": list}
	if !flags.allNamespaces {
		document = list[0]
	}
	switch flags.output.value {
	case "json":
		return well, writeJSON(w, document)
	case "yaml":
		return well, writeYAML(w, document)
	}
	var b strings.Builder
	for i, e := range list {
		if flags.output.value == "name" {
			b.WriteString(e.names())
			continue
		}
		if flags.allNamespaces {
			fmt.Fprintf(&b, "%s%s\n", map[bool]string{true: "\n"}[i > 0], s.painter(w)(bold, "Namespace "+printable(e.Namespace)))
		}
		e.write(&b, flags, s.painter(w), widthOf(w))
	}
	_, err = fmt.Fprint(w, s.redactor.String(b.String()))
	return well, err
}

// names are the clusters, each once and on its line.
func (e endings) names() string {
	var b strings.Builder
	seen := map[string]bool{}
	for _, c := range e.Credentials {
		if !seen[c.Cluster] {
			fmt.Fprintln(&b, printable(c.Cluster))
		}
		seen[c.Cluster] = true
	}
	return b.String()
}

// write writes a table and a summary. In a narrow terminal, the table has only its first columns.
func (e endings) write(b *strings.Builder, flags statusFlags, paint func(colour, string) string, width int) {
	if flags.wide() {
		width = 0
	}
	t := table{{{"CLUSTER", dim}, {"CREDENTIAL", dim}, {"EXPIRES", dim}, {"LEFT", dim}, {"SECRET", dim}, {"AUDITCONFIG", dim}, {"AUDITSYNC", dim}, {}}}
	for _, c := range e.Credentials {
		left := in(e.now, c.Expires)
		if c.stage == credential.Expired {
			left = "expired " + since(e.now, c.Expires)
		}
		t = append(t, []cell{{printable(c.Cluster), ""}, {string(c.Kind), ""}, {c.Expires.Format("2006-01-02 15:04"), ""}, {left, stageColour(c.stage)},
			{printable(c.Secret), ""}, {printable(c.AuditConfig), ""}, {printable(c.Sync), ""}, {}})
	}
	if len(e.Credentials) > 0 {
		widths := widthsOf(t)
		for _, row := range t {
			if width > 0 { // kind and end are always shown, so the name gets the remaining width
				row[0].text = cut(row[0].text, max(12, width-widths[1]-widths[2]-4))
			}
		}
		fmt.Fprintln(b, strings.Join(renderRows(t, paint, width), "\n"))
		b.WriteString("\n")
	}
	fmt.Fprintln(b, e.summary(flags.expiring.left))
	for _, note := range e.Notes {
		fmt.Fprintf(b, "%s %s\n", paint(dim, "note:"), strings.Join(wrapped(printable(note), cmp.Or(max(width-6, 0), len(note))), "\n      "))
	}
}

func (e endings) summary(within time.Duration) string {
	text := plural(len(e.Credentials), "credential") + " with a known end"
	if within > 0 {
		text += " within " + span(within)
	}
	return fmt.Sprintf("%s; %s, %d without any", text, plural(e.clusters, "cluster"), e.unknown)
}

// stageColour is the colour of a time by its urgency.
func stageColour(stage credential.Stage) colour {
	switch stage {
	case credential.Expired, credential.Urgent:
		return red
	case credential.Expiring:
		return yellow
	}
	return ""
}
