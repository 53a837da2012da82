package review

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/plan"
)

// Options are how a comment is made.
type Options struct {
	// Marker is the comment's first line, from the function Marker; empty for none.
	Marker string
	// FileURL returns the address of a line of a file at the head, or of the whole file for line 0. Nil, or an empty
	// address, makes no link.
	FileURL func(path string, line int) string
	// MaxBytes is the comment's largest size. 0 means DefaultMaxBytes, and less than MinMaxBytes means MinMaxBytes.
	MaxBytes int
	// Command shows everything that doesn't fit.
	Command string
	// ApproveByComment means that a comment on the pull request may approve the removals that wait.
	ApproveByComment bool
	// SetUp is what to do beside the merge.
	SetUp []Fold
}

// Fold is a text with a title, such as the commands that set up a cluster's account. The text is shown as it is.
type Fold struct{ Title, Text string }

// Sizes of a comment, in bytes.
const (
	// DefaultMaxBytes is accepted by every forge that Muster knows.
	DefaultMaxBytes = 60_000
	// MinMaxBytes always has room for the verdict, whatever the names in it.
	MinMaxBytes = 16_000
)

// Markdown returns the comment. It is never longer than the options say, uses only what GitHub, GitLab, Gitea and Forgejo
// all have, and begins with what matters most.
func (r *Review) Markdown(o Options) string {
	o.MaxBytes = max(cmp.Or(o.MaxBytes, DefaultMaxBytes), MinMaxBytes)
	p := printer{review: r, Options: o, configs: r.auditConfigs()}
	var b strings.Builder
	if o.Marker != "" {
		b.WriteString(o.Marker + "\n")
	}
	b.WriteString(p.top())
	foot := p.foot()
	write(&b, p.sections(), o.MaxBytes-b.Len()-len(foot), o.Command)
	b.WriteString(foot)
	return b.String()
}

// printer makes the parts of a comment.
type printer struct {
	review *Review
	Options
	configs int // how many audit configs the changed clusters have
}

// top is the title, the verdict and what a reader must know before anything else.
func (p *printer) top() string {
	r := p.review
	name := r.Namespace + "/" + r.Sync
	if r.Namespace == "" || r.Sync == "" {
		name = cmp.Or(r.Sync, r.Path)
	}
	var b strings.Builder
	b.WriteString("### Muster: " + code(name) + "\n\n" + p.verdict() + "\n\n")
	switch r.Trust {
	case Keyless:
		b.WriteString("**Keyless check:** the head comes from someone without write access, so nothing was decrypted, and no address in its files was contacted. " +
			"What only keys can tell is missing here. A maintainer may allow this head with this comment:\n\n" + block(CheckCommand+visible(r.Head, maxValue)) + "\n")
	case NoKeys:
		b.WriteString("**Checked without keys:** encrypted values are compared by their ciphertexts, and what only keys can tell is missing here.\n\n")
	case Allowed:
		fmt.Fprintf(&b, "Checked with keys: %s allowed the head %s.\n\n", orSomeone(r.AllowedBy), code(r.Head))
	case Full:
	}
	if r.BaseStopped && !r.Stopped {
		b.WriteString("**The base is broken:** nothing of it can be applied now. This pull request fixes that, so what the base holds back is listed here too.\n\n")
	}
	if r.Provisional {
		b.WriteString("**Not final:** some files could not be decrypted for a reason outside the repository. The check will run again.\n\n")
	}
	return b.String()
}

func orSomeone(name string) string {
	if name == "" {
		return "a maintainer"
	}
	return code(name)
}

// verdict is one sentence.
func (p *printer) verdict() string {
	r := p.review
	ok, _ := r.Status()
	switch {
	case len(r.Conflicts) > 0:
		return fmt.Sprintf("**Can't be merged:** %s.", plural(len(r.Conflicts), "file has a conflict", "files have conflicts"))
	case !ok:
		return "**Not ready to merge:** " + r.summary(codeName) + "."
	case r.Stopped:
		return "**The base is broken:** nothing can be applied, and this pull request doesn't change that."
	}
	text := r.summary(codeName)
	return "**" + strings.ToUpper(text[:1]) + text[1:] + ".**"
}

// foot tells what the comment holds for.
func (p *printer) foot() string {
	r := p.review
	against := "the state after applying the base"
	if r.Live {
		against = "the management cluster"
	}
	text := fmt.Sprintf("Merge result of the head %s and the base %s in %s, compared with %s. It is checked again when one of them moves.", code(r.Head), code(r.Base), code(r.Path), against)
	if r.Pending > 0 {
		text += fmt.Sprintf(" %s of the base %s not applied yet and not counted here.", plural(r.Pending, "change", "changes"), isAre(r.Pending))
	}
	if p.Command != "" {
		text += " Everything: " + codeOf(p.Command, maxCommand)
	}
	return "---\n\n" + text + "\n"
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// sections are the parts of the comment below the verdict, the most important first.
func (p *printer) sections() []section {
	r := p.review
	var list []section
	add := func(head, tail string, items []string) {
		if len(items) > 0 {
			list = append(list, section{head: head, tail: tail, items: items})
		}
	}
	errors, warnings, infos := only(r.New, finding.Error), only(r.New, finding.Warning), only(r.New, finding.Info)
	add("#### Conflicts\n\n", "\n", p.conflicts())
	add("#### New errors\n\n", "\n", p.findings(errors, true))
	add("#### New warnings\n\n", "\n", p.findings(warnings, true))
	add("#### Rules that it changes\n\nThey decide who can decrypt, and which files count. Check them first.\n\n", "\n", p.rules())
	for _, part := range p.removals() {
		add(part.head, part.tail, part.items)
	}
	add("#### Load and size\n\n", "\n", p.load())
	for _, part := range p.changes() {
		add(part.head, part.tail, part.items)
	}
	for i := range p.SetUp {
		p.addSetUp(&list, i)
	}
	add(fold(plural(len(infos), "new note", "new notes"), false), foldEnd, p.findings(infos, true))
	add(fold("Mended: "+counts(r.Mended), false), foldEnd, p.findings(r.Mended, false))
	add(fold("Already in the base: "+counts(r.Standing), false), foldEnd, p.findings(r.Standing, true))
	return list
}

// addSetUp adds the texts of the options as one section.
func (p *printer) addSetUp(list *[]section, i int) {
	if i == 0 {
		*list = append(*list, section{head: "#### To set up\n\n"})
	}
	f := p.SetUp[i]
	last := &(*list)[len(*list)-1]
	last.items = append(last.items, "<details><summary>"+prose(f.Title, codeHTML)+"</summary>\n\n"+block(f.Text)+foldEnd)
}

// counts is "2 errors, 1 warning".
func counts(findings []finding.Finding) string {
	var parts []string
	for _, s := range []struct {
		severity  finding.Severity
		one, many string
	}{{finding.Error, "error", "errors"}, {finding.Warning, "warning", "warnings"}, {finding.Info, "note", "notes"}} {
		if n := len(only(findings, s.severity)); n > 0 {
			parts = append(parts, plural(n, s.one, s.many))
		}
	}
	return strings.Join(parts, ", ")
}

func (p *printer) conflicts() []string {
	var items []string
	for _, c := range p.review.Conflicts {
		items = append(items, "- "+p.file(c.Path, 0)+": "+prose(c.Reason, code)+"\n")
	}
	return items
}

func (p *printer) rules() []string {
	var items []string
	for _, c := range p.review.Rules {
		items = append(items, "- "+p.file(c.Path, 0)+": "+prose(c.What, code)+"\n")
	}
	return items
}

// findings lists findings, with links for those at the head. Those that can't fit are empty, and only count.
func (p *printer) findings(findings []finding.Finding, atHead bool) []string {
	items := make([]string, len(findings))
	size := 0
	for i, f := range findings {
		if size > p.MaxBytes {
			break
		}
		text := "- "
		switch {
		case f.Path != "" && atHead:
			text += p.file(f.Path, f.Line) + ": "
		case f.Path != "":
			text += code(f.Path) + ": "
		}
		if f.Cluster != "" {
			text += "cluster " + code(f.Cluster) + ": "
		}
		items[i] = text + prose(sentence(f), code) + " (" + code(string(f.Code)) + ")\n"
		size += len(items[i])
	}
	return items
}

// file is a place in a file, with a link if there is one.
func (p *printer) file(path string, line int) string {
	text := path
	if line > 0 {
		text = fmt.Sprintf("%s:%d", path, line)
	}
	if p.FileURL == nil {
		return code(text)
	}
	return link(text, p.FileURL(path, line))
}

// load tells how the busiest minute shifts, and which audit configs are nearly full.
func (p *printer) load() []string {
	var items []string
	if l := p.review.Load; l.Shifts() {
		items = append(items, fmt.Sprintf("- The busiest minute starts %s, %s. Before, it was %s, %s.\n",
			plural(l.After.Clusters, "scan", "scans"), l.After.when(), plural(l.Before.Clusters, "scan", "scans"), l.Before.when()))
	}
	for _, s := range p.review.Space {
		items = append(items, fmt.Sprintf("- The audit config %s will be %d KiB, and has %d KiB left under the limit of %d KiB. Spread the clusters over several audit configs in time.\n",
			code(s.AuditConfig), s.Bytes>>10, s.Left>>10, plan.MaxObject>>10))
	}
	return items
}

func (p Peak) when() string {
	if p.Hourly {
		return fmt.Sprintf("at minute %d of every hour", p.Minute)
	}
	return fmt.Sprintf("at %02d:%02d", p.Hour, p.Minute)
}
