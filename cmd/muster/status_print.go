package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// statusDocument is a fleet for programs.
type statusDocument struct {
	fleetStatus
	Total int `json:"totalClusters"`
}

// printStatus writes the fleet of one namespace. Without --all, documents for programs have the same clusters as text.
func (s *shell) printStatus(w io.Writer, format string, f fleetStatus, flags statusFlags) error {
	all := f.Clusters
	f, hidden := f.listed(flags)
	switch format {
	case "json":
		return writeJSON(w, statusDocument{f, len(all)})
	case "yaml":
		return writeYAML(w, statusDocument{f, len(all)})
	}
	text := statusText(f, all, hidden, flags, s.painter(w), widthOf(w))
	_, err := fmt.Fprint(w, s.redactor.String(text))
	return err
}

// listed returns the fleet with the clusters to list, and how many that need attention are left out.
func (f fleetStatus) listed(flags statusFlags) (_ fleetStatus, hidden int) {
	if flags.all {
		return f, 0
	}
	f.Clusters = slices.DeleteFunc(slices.Clone(f.Clusters), func(c clusterStatus) bool { return c.gravity(f.now) >= well })
	unwell := len(f.Clusters)
	f.Clusters = f.Clusters[:min(unwell, flags.limit)]
	return f, unwell - len(f.Clusters)
}

// statusText writes the fleet as text. all are the clusters to count; hidden is the number of clusters that need attention
// but aren't listed.
func statusText(f fleetStatus, all []clusterStatus, hidden int, flags statusFlags, paint func(colour, string) string, width int) string {
	var b strings.Builder
	for _, sync := range f.Syncs {
		writeSync(&b, sync, paint, flags.all, width)
	}
	if len(f.Syncs) == 0 {
		fmt.Fprintf(&b, "no AuditSync in %s\n", printable(f.Namespace))
	}
	if len(f.Clusters) > 0 {
		b.WriteString("\n")
		writeClusters(&b, f, flags.wide(), paint, width)
	}
	b.WriteString("\n")
	if hidden > 0 {
		fmt.Fprintf(&b, "%d more need attention; --all lists them\n", hidden)
	}
	fmt.Fprintln(&b, folded(summaryOf(all), width, "    "))
	for _, note := range f.Notes {
		fmt.Fprintln(&b, hanging(paint(dim, "note:"), "note:", printable(note), width, "      "))
	}
	return b.String()
}

// headline is an AuditSync on one line, or on two in a narrow terminal.
func (sync syncStatus) headline(paint func(colour, string) string, width int) string {
	line, counts := sync.stateLine(paint), sync.countsText()
	plainLine := sync.stateLine(func(_ colour, text string) string { return text })
	switch {
	case counts == "":
		return line
	case width > 0 && utf8.RuneCountInString(plainLine+"  "+counts) > width:
		return line + "\n  " + counts
	}
	return line + "  " + counts
}

// state is the state of an AuditSync as a whole.
func (sync syncStatus) state() (string, colour) {
	switch {
	case sync.Suspended:
		return "suspended", dim
	case len(sync.Conditions) == 0:
		return "not reconciled yet", cyan
	case !sync.ready():
		return "not ready", red
	}
	return "ready", green
}

func (sync syncStatus) stateLine(paint func(colour, string) string) string {
	state, colour := sync.state()
	line := "AuditSync " + paint(bold, printable(sync.Name)) + "  " + paint(colour, state)
	if sync.Revision != "" {
		line += "  " + paint(dim, printable(shortRevision(sync.Revision)))
	}
	return line
}

func (sync syncStatus) countsText() string {
	text := ""
	if c := sync.Counts; c != nil {
		text = fmt.Sprintf("%d of %d applied", c.Applied, c.Total)
		for _, more := range []struct {
			n    int32
			what string
		}{{c.Quarantined, "quarantined"}, {c.Held, "held"}, {c.Foreign, "foreign"}} {
			if more.n > 0 {
				text += fmt.Sprintf(", %d %s", more.n, more.what)
			}
		}
	}
	return text
}

// maxMessage is how many characters of a condition's message are shown. The fix is at its end.
const maxMessage = 1000

// writeSync writes an AuditSync with its unmet conditions, and the problems that belong to no single cluster.
func writeSync(b *strings.Builder, sync syncStatus, paint func(colour, string) string, all bool, width int) {
	fmt.Fprintln(b, sync.headline(paint, width))
	for _, c := range sync.unmet() {
		writeIndented(b, paint(red, printable(c.types)), printable(c.types), printable(strings.TrimSuffix(c.reason+": "+cut(c.message, maxMessage), ": ")), width)
	}
	shown := 0
	for _, p := range sync.Problems {
		if p.Cluster != "" || p.Severity == string(finding.Info) && !all {
			continue
		}
		if shown++; shown > 5 && !all {
			fmt.Fprintf(b, "  more problems; --all lists them\n")
			break
		}
		severity := printable(p.Severity)
		writeIndented(b, paint(severityColour[finding.Severity(p.Severity)], severity), severity, printable(problemText(p)), width)
	}
}

// writeIndented writes a line of an AuditSync: a coloured head, and a text.
func writeIndented(b *strings.Builder, painted, head, text string, width int) {
	b.WriteString("  " + hanging(painted, head, text, width, "    ") + "\n")
}

// unmetCondition is one or more unmet conditions with the same cause.
type unmetCondition struct{ types, reason, message string }

// unmet are the conditions that aren't met. Conditions with the same message are merged. The part of a message that repeats
// a problem is removed: the problem is printed separately, with its fix.
func (sync syncStatus) unmet() []unmetCondition {
	var list []unmetCondition
	for _, c := range sync.Conditions {
		failing := c.Status == metav1.ConditionFalse && c.Type != "Stalled" && c.Type != "Reconciling" || c.Type == "Stalled" && c.Status == metav1.ConditionTrue
		if !failing {
			continue
		}
		message := sync.withoutProblem(c.Message)
		if i := slices.IndexFunc(list, func(other unmetCondition) bool {
			return other.message == message && (message != "" || other.reason == c.Reason)
		}); i >= 0 {
			list[i].types += ", " + c.Type
			continue
		}
		list = append(list, unmetCondition{c.Type, c.Reason, message})
	}
	return list
}

// withoutProblem removes the text of a problem from a message: the problem is printed separately, with its fix.
func (sync syncStatus) withoutProblem(message string) string {
	for _, p := range sync.Problems {
		if p.Severity == string(finding.Info) {
			continue // it may be hidden
		}
		f := finding.Finding{Code: finding.Code(p.Code), Severity: finding.Severity(p.Severity), Cluster: p.Cluster, Message: p.Message, Fix: p.Fix}
		text := f.String()
		if p.Place != "" {
			text = p.Place + ": " + text
		}
		for _, text := range []string{text, p.Message + "; " + p.Fix} {
			if before, after, ok := strings.Cut(message, text); ok {
				return strings.TrimPrefix(strings.TrimRight(before, ": ")+after, "; ")
			}
		}
	}
	return message
}

// problemText is a problem with its place and its fix.
func problemText(p v1alpha1.Problem) string {
	text := p.Message
	if p.Place != "" {
		text = p.Place + ": " + text
	}
	if p.Fix != "" {
		text += "; " + p.Fix
	}
	return text
}

// shortRevision is branch@sha1:commit with the commit cut to seven characters.
func shortRevision(revision string) string {
	at := strings.LastIndexByte(revision, ':')
	if at < 0 || len(revision)-at <= 8 {
		return revision
	}
	return revision[:at+8]
}

func writeClusters(b *strings.Builder, f fleetStatus, wide bool, paint func(colour, string) string, width int) {
	heading := []cell{{"CLUSTER", dim}, {"STATE", dim}, {"SCAN", dim}, {"LAST SUCCESS", dim}, {"NEXT", dim}, {"CREDENTIALS", dim}, {"SCHEDULE", dim}, {"", ""}}
	if wide {
		width = 0 // all columns, however long the lines are
		heading = slices.Insert(heading, len(heading)-1, cell{"AUDITCONFIG", dim}, cell{"AUDITSYNC", dim}, cell{"COMMIT", dim})
	}
	t := table{heading}
	auditConfigs := map[string]bool{}
	for _, c := range f.Clusters {
		auditConfigs[c.AuditConfig] = true
	}
	delete(auditConfigs, "") // of a cluster whose file can't be used
	var details []string
	for _, c := range f.Clusters {
		name := c.Cluster
		if len(auditConfigs) > 1 && c.AuditConfig != "" && !wide {
			name = c.AuditConfig + "/" + name
		}
		row := rowOf(c, name, f.now)
		if wide {
			row = slices.Insert(row, len(row)-1, plainCell(c.AuditConfig), plainCell(c.Sync), plainCell(short(c.Commit)))
		}
		t = append(t, row)
		details = append(details, printable(causeOf(c)))
	}
	if width > 0 { // state and scan are always shown, so the name gets the remaining width
		widths := widthsOf(t)
		for _, row := range t {
			row[0].text = cut(row[0].text, max(12, width-widths[1]-widths[2]-4))
		}
	}
	lines := renderRows(t, paint, width)
	for i, line := range lines {
		fmt.Fprintln(b, line)
		if i > 0 && details[i-1] != "" {
			for _, line := range wrapped(details[i-1], width-4) {
				fmt.Fprintf(b, "    %s\n", paint(dim, line))
			}
		}
	}
}

// plainCell is a text without a colour, or a dash.
func plainCell(text string) cell { return cell{printable(cmp.Or(text, "-")), ""} }

// rowOf is the table row of a cluster.
func rowOf(c clusterStatus, name string, now time.Time) []cell {
	state := map[string]colour{stateQuarantined: red, stateForeign: dim}[c.State]
	scanned, last, next, schedule := cell{"-", dim}, "-", "-", cmp.Or(c.Schedule, "-")
	if s := c.Scan; s != nil {
		scanned = cell{printable(scanShort(now, *s)), scanColour(s.State)}
		if !s.LastSuccess.IsZero() {
			last = since(now, s.LastSuccess)
		}
		if s.Next.After(now) {
			next = in(now, s.Next)
		}
		schedule = cmp.Or(s.Schedule, schedule)
	}
	end, grave := expires(now, c.Expires, c.stage(now))
	return []cell{{printable(name), ""}, {c.State, state}, scanned, {last, ""}, {next, ""}, {end, grave}, {printable(schedule), ""}, {}}
}

// renderRows renders each row separately, and drops columns from the right until the rows fit the terminal.
func renderRows(t table, paint func(colour, string) string, width int) []string {
	columns := len(t[0]) - 1
	for columns > 3 && width > 0 {
		shown := make(table, len(t))
		for i, row := range t {
			shown[i] = append(slices.Clone(row[:columns]), cell{})
		}
		if shown.longest(widthsOf(shown)) <= width {
			break
		}
		columns--
	}
	for i := range t {
		t[i] = append(slices.Clone(t[i][:columns-1]), t[i][columns-1])
	}
	var b strings.Builder
	t.write(&b, paint, "", columns, 0)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func scanShort(now time.Time, s scanstate.Status) string {
	if s.State == scanstate.Succeeded || s.State == scanstate.Running {
		text := string(s.State)
		if s.Duration > 0 {
			text += ", took " + span(s.Duration)
		}
		return text
	}
	return strings.TrimSuffix(scanText(now, s), ", took "+span(s.Duration))
}

// causeOf tells what is wrong with a cluster.
func causeOf(c clusterStatus) string {
	if c.Problem != "" {
		return c.Problem
	}
	var causes []string
	if s := c.Scan; s != nil && s.State != scanstate.Succeeded && s.State != scanstate.Running && s.State != scanstate.Awaiting && s.Detail != "" {
		causes = append(causes, s.Detail)
	}
	if p := c.Preflight; p != nil {
		causes = append(causes, fmt.Sprintf("preflight: %s: %s [%s]; %s", p.Check, p.Message, p.Cause, p.Fix))
	}
	return strings.Join(causes, "; ")
}

// summaryOf counts all clusters, listed or not.
func summaryOf(clusters []clusterStatus) string {
	n := map[string]int{}
	for _, c := range clusters {
		n[c.State]++
		if c.Scan != nil {
			n[string(c.Scan.State)]++
		}
	}
	parts := []string{plural(len(clusters), "cluster")}
	for _, state := range []string{stateQuarantined, stateForeign} {
		if n[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[state], state))
		}
	}
	var scans []string
	for _, state := range scanstate.States() {
		if n[string(state)] > 0 {
			scans = append(scans, fmt.Sprintf("%d %s", n[string(state)], state))
		}
	}
	text := strings.Join(parts, ", ")
	if len(scans) > 0 {
		text += "; scans: " + strings.Join(scans, ", ")
	}
	return text
}
