package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/clusters/access"
	"github.com/muster-gitops/muster/clusters/recipient"
)

// accessListing is what muster keys prints.
type accessListing struct {
	*access.Report
	repo *repository
	path string // in the repository
	by   string
	// names are those of all recipients.
	names recipient.Names
	// who is the recipient that the user asked for, or "".
	who string
	// total is how many files are encrypted, for whomever.
	total int
}

func (s *shell) printAccess(format string, l accessListing) error {
	if format == "json" {
		return writeJSON(s.stdout, l.json())
	}
	paint, width := s.painter(s.stdout), widthOf(s.stdout)
	if _, err := fmt.Fprint(s.stdout, s.redactor.String(l.text(paint, width))); err != nil {
		return err
	}
	if err := s.printFindings(s.stdout, l.repo, l.findings()); err != nil {
		return err
	}
	_, err := fmt.Fprint(s.stdout, s.redactor.String(l.summary(width)))
	return err
}

// text is the list itself, with an empty line after it.
func (l accessListing) text(paint func(colour, string) string, width int) string {
	var b strings.Builder
	switch {
	case l.who != "":
		for _, r := range l.Recipients {
			l.writeOpens(&b, r, paint, width)
		}
	case l.by == "file":
		if len(l.Files) > 0 {
			l.byFile().write(&b, paint, "", 2, width)
		}
	case len(l.Recipients) > 0:
		t := l.byRecipient()
		if width > 0 { // the columns after the name are always shown, so the name gets the rest
			widths := widthsOf(t)
			for _, row := range t {
				row[0].text = cut(row[0].text, max(8, width-widths[1]-widths[2]-widths[3]-6))
			}
		}
		t.write(&b, paint, "", 4, width)
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

func heads(names ...string) (row []cell) {
	for _, name := range names {
		row = append(row, cell{name, dim})
	}
	return row
}

func (l accessListing) byRecipient() table {
	t := table{heads("NAME", "KIND", "OPENS", "IN RULES", "RECIPIENT")}
	for _, r := range l.Recipients {
		files := fmt.Sprint(len(r.Opens))
		if with := shared(r.Opens); with > 0 {
			files += fmt.Sprintf(", %d jointly", with)
		}
		t = append(t, []cell{{cmp.Or(printable(r.Name), "-"), ""}, {cmp.Or(recipient.Kind(r.ID), "-"), ""}, {files, ""}, ruled(r), {bare(r.ID), ""}})
	}
	return t
}

// shared counts the files that a recipient opens only together with others.
func shared(opens []access.Opening) int {
	n := 0
	for _, o := range opens {
		if o.More > 0 {
			n++
		}
	}
	return n
}

// ruled tells whether the rules for the files list a recipient.
func ruled(r access.Recipient) cell {
	listed := cell{"yes", green}
	switch {
	case r.Listed+len(r.Extra)+len(r.Missing) == 0:
		listed = cell{"no rule", dim}
	case r.Listed+len(r.Missing) == 0:
		listed = cell{"no", red}
	case len(r.Extra) > 0:
		listed = cell{"not for " + plural(len(r.Extra), "file"), red}
	}
	if n := len(r.Missing); n > 0 {
		listed = cell{listed.text + ", lacks " + fmt.Sprint(n), yellow}
	}
	return listed
}

// maxRecipient is how many characters of a recipient are shown. Post-quantum age recipients have some 2,000.
const maxRecipient = 100

// bare is a recipient without its kind, which another column has.
func bare(id string) string {
	return cut(strings.TrimPrefix(recipient.Full(id), recipient.Kind(id)+" "), maxRecipient)
}

// label names a recipient in a sentence.
func (l accessListing) label(id string) string {
	return cmp.Or(printable(l.names.Of(id)), recipient.Show(id))
}

func (l accessListing) byFile() table {
	t := table{heads("FILE", "RULE", "OPENED BY")}
	for _, f := range l.Files {
		t = append(t, []cell{{printable(l.repo.fromWorkingDir(f.Path)), ""}, {l.rule(f), dim}, {l.openedBy(f), ""}})
	}
	return t
}

// rule is the place of a file's rule, seen from the working directory.
func (l accessListing) rule(f access.File) string {
	if f.Rule == "" {
		return "-"
	}
	return printable(l.repo.fromWorkingDir(f.Rule))
}

// openedBy names the recipients of a file: any of one group, or of several groups.
func (l accessListing) openedBy(f access.File) string {
	if f.Empty() {
		return "no one"
	}
	var groups []string
	for _, group := range f.Groups {
		const most = 20
		var names []string
		for _, id := range group[:min(len(group), most)] {
			names = append(names, l.label(id))
		}
		if more := len(group) - most; more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		groups = append(groups, strings.Join(names, ", "))
	}
	if len(groups) == 1 {
		return groups[0]
	}
	return fmt.Sprintf("%d of %d groups: %s", f.Threshold, len(groups), strings.Join(groups, "; "))
}

// writeOpens writes what one recipient opens.
func (l accessListing) writeOpens(b *strings.Builder, r access.Recipient, paint func(colour, string) string, width int) {
	fmt.Fprintf(b, "%s  %s\n", paint(bold, cmp.Or(printable(r.Name), "-")), cut(recipient.Full(r.ID), maxRecipient))
	extra := map[string]bool{}
	for _, path := range r.Extra {
		extra[path] = true
	}
	var t table
	for _, o := range r.Opens {
		how := cell{"", ""}
		if o.More > 0 {
			how.text = fmt.Sprintf("opens together with %d of %d other groups", o.More, o.Of)
		}
		if extra[o.Path] {
			how = cell{strings.TrimPrefix(how.text+"; not in its rule", "; "), red}
		}
		t = append(t, []cell{{printable(l.repo.fromWorkingDir(o.Path)), ""}, how})
	}
	t.write(b, paint, "  ", 1, width)
	if len(r.Opens) == 0 {
		b.WriteString("  opens no file\n")
	}
}
