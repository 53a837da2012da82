package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/explain"
	"github.com/muster-gitops/muster/clusters/finding"
)

// maxValue is how many characters of a value are shown.
const maxValue = 64 // the name of a Secret that Muster generates has 17 characters more than the cluster's

// printExplained writes what is known about the clusters with one name. Findings come first.
func (s *shell) printExplained(format string, repo *repository, list []explained, now time.Time) error {
	errors := 0
	for _, x := range list {
		errors += finding.Errors(x.Findings)
	}
	if format == "json" {
		if err := writeJSON(s.stdout, map[string]any{"clusters": list}); err != nil {
			return err
		}
	} else {
		for i, x := range list {
			if i > 0 {
				fmt.Fprintln(s.stdout)
			}
			if err := s.printOne(repo, x, now); err != nil {
				return err
			}
		}
	}
	if errors > 0 {
		return statusError(exitFindings)
	}
	return nil
}

func (s *shell) printOne(repo *repository, x explained, now time.Time) error {
	paint, width := s.painter(s.stdout), widthOf(s.stdout)
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s%s\n", paint(bold, printable(x.Cluster)), printable(inConfig(x.AuditConfig)))
	if x.Quarantined {
		what := "the objects applied before are kept"
		switch {
		case x.Live != nil && !x.Live.Applied:
			what = "nothing has been applied yet"
		case x.Live != nil:
			what = "the objects applied before are kept" + byCommit(x.Live.Commit)
		}
		fmt.Fprintf(&b, "%s because of an error; %s\n", paint(red, "quarantined"), what)
	}
	if _, err := fmt.Fprint(s.stdout, b.String()); err != nil {
		return err
	}
	if err := s.printFindings(s.stdout, repo, x.Findings); err != nil {
		return err
	}
	b.Reset()
	x = x.seenFrom(repo)
	writeFields(&b, x, paint, width)
	writeSecrets(&b, x, paint, width, now)
	if x.Live != nil {
		writeLive(&b, x, paint, width, now)
	}
	for _, note := range x.Notes {
		b.WriteString("\n" + hanging(paint(dim, "note:"), "note:", printable(note), width, "    ") + "\n")
	}
	_, err := fmt.Fprint(s.stdout, s.redactor.String(b.String()))
	return err
}

// seenFrom returns the explanation with paths relative to the working directory.
func (x explained) seenFrom(repo *repository) explained {
	see := func(o explain.Origin) explain.Origin {
		if o.Path != "" {
			o.Path = repo.fromWorkingDir(o.Path)
		}
		return o
	}
	x.Fields, x.Secrets = slices.Clone(x.Fields), slices.Clone(x.Secrets)
	for i := range x.Fields {
		x.Fields[i].Origin = see(x.Fields[i].Origin)
		x.Fields[i].Overrides = slices.Clone(x.Fields[i].Overrides)
		for j, o := range x.Fields[i].Overrides {
			x.Fields[i].Overrides[j] = see(o)
		}
	}
	for i := range x.Secrets {
		x.Secrets[i].Keys = slices.Clone(x.Secrets[i].Keys)
		for j, key := range x.Secrets[i].Keys {
			if key.Origin != nil {
				o := see(*key.Origin)
				x.Secrets[i].Keys[j].Origin = &o
			}
		}
	}
	return x
}

func inConfig(name string) string {
	if name == "" {
		return ""
	}
	return " (audit config " + name + ")"
}

func byCommit(commit string) string {
	if commit == "" {
		return ""
	}
	return ", from commit " + short(commit)
}

func short(commit string) string { return commit[:min(7, len(commit))] }

func writeFields(b *strings.Builder, x explained, paint func(colour, string) string, width int) {
	if len(x.Fields) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", paint(bold, "entry"))
	var t table
	for _, f := range x.Fields {
		from := originText(f.Origin, x.Revision)
		if f.Note != "" {
			from += "; " + f.Note
		}
		if n := len(f.Overrides); n > 0 {
			from += "; over " + originText(f.Overrides[n-1], x.Revision)
		}
		t = append(t, []cell{{printable(f.Path), ""}, {printable(cut(valueText(f.Value), maxValue)), ""}, {printable(from), originColour[f.Origin.Kind]}})
	}
	t.write(b, paint, "  ", 2, width)
}

var originColour = map[explain.Kind]colour{explain.FromPatch: yellow, explain.FromKustomization: yellow, explain.FromUnknown: red,
	explain.FromOperator: dim, explain.FromMuster: cyan, explain.FromAuditConfig: dim, explain.FromFile: green}

// originText names the origin of a value: "clusters/prod.yaml:12@abc1234", or a description if it isn't in a file.
func originText(o explain.Origin, revision string) string {
	place := o.Path
	if o.Line > 0 {
		place += fmt.Sprintf(":%d", o.Line)
	}
	if place != "" && revision != "" {
		place += "@" + short(revision)
	}
	switch o.Kind {
	case explain.FromPatch:
		return "patch " + place + ", " + o.Detail
	case explain.FromKustomization:
		return place + ", " + o.Detail
	case explain.FromOperator:
		return "default (operator CRD)"
	case explain.FromMuster:
		return "default by Muster: " + o.Detail
	case explain.FromAuditConfig:
		text := "inherited from " + o.Detail
		if place != "" {
			text += ", " + place
		}
		return text
	case explain.FromUnknown:
		return "unknown: " + strings.Trim(o.Detail+", "+place, ", ")
	case explain.FromFile:
	}
	if o.Detail != "" {
		place += ", " + o.Detail
	}
	return place
}

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		return v
	}
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(data)
}

func writeSecrets(b *strings.Builder, x explained, paint func(colour, string) string, width int, now time.Time) {
	if len(x.Secrets) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", paint(bold, "Secrets"))
	for _, secret := range x.Secrets {
		what := "must exist in the management cluster"
		switch {
		case secret.Made:
			what = "generated by Muster"
			if secret.Renewed {
				what += ", which renews its token"
			}
		case secret.Path != "":
			what = "manifest in Git"
		}
		separator := ", "
		if width > 0 && len(secret.Name+what)+40 > width { // the expiry needs up to 35
			separator = ",\n      "
		}
		line := printable(secret.Name) + separator + what
		if end, known := x.Expires[secret.Name]; known {
			text, c := expires(now, end, x.stages[secret.Name])
			line += ", " + painted(paint, cell{"expires " + text, c})
		}
		fmt.Fprintf(b, "  %s\n", line)
		if secret.From != "" {
			b.WriteString(folded("    read from "+printable(secret.From), width, "      ") + "\n")
		}
		var t table
		for _, key := range secret.Keys {
			from := ""
			if key.Origin != nil {
				from = originText(*key.Origin, x.Revision)
			}
			t = append(t, []cell{{printable(key.Name), ""}, {printable(from), green}})
		}
		t.write(b, paint, "    ", 1, width)
	}
}

func writeLive(b *strings.Builder, x explained, paint func(colour, string) string, width int, now time.Time) {
	l := x.Live
	fmt.Fprintf(b, "\n%s\n", paint(bold, "live"))
	tableOfLive(x, now).write(b, paint, "  ", 1, width)
	for _, step := range l.Steps {
		writeStep(b, paint, "  ", step, printable(strings.TrimSpace(subject(step)+"  "+reason(step, now))))
	}
	for _, note := range l.Notes {
		fmt.Fprintf(b, "  %s\n", hanging(paint(dim, "note:"), "note:", printable(note), width, "      "))
	}
}

func tableOfLive(x explained, now time.Time) table {
	l := x.Live
	var t table
	row := func(name, text string, c colour) {
		if text != "" {
			t = append(t, []cell{{name, ""}, {printable(text), c}})
		}
	}
	switch {
	case x.Quarantined:
		row("state", "not changed, because the cluster is quarantined", yellow)
	case len(l.Steps) == 0 && l.Applied:
		row("state", "in sync"+byCommit(l.Commit), green)
	case !l.Applied:
		row("state", "not applied yet", yellow)
	default:
		row("state", "differs, see below"+byCommit(l.Commit), yellow)
	}
	if s := l.Scan; s != nil {
		row("scan", scanText(now, *s), scanColour(s.State))
		row("cause", s.Detail, "")
		row("CronJob", s.CronJob, "")
		row("Job", s.Job, "")
		if !s.LastSuccess.IsZero() {
			row("last success", since(now, s.LastSuccess)+", "+s.LastSuccess.UTC().Format(time.RFC3339), "")
		}
		if s.Next.After(now) {
			row("next scan", in(now, s.Next)+", "+s.Next.UTC().Format(time.RFC3339), "")
		}
	}
	return t
}
