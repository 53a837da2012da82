package review_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
	nethtml "golang.org/x/net/html"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
)

// render renders a comment with everything that any forge has, and without any forge's sanitiser.
func render(t testing.TB, markdown string) string {
	t.Helper()
	var b bytes.Buffer
	md := goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote, extension.DefinitionList), goldmark.WithRendererOptions(html.WithUnsafe()))
	if err := md.Convert([]byte(markdown), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// allowed are the elements of a comment, with their attributes.
var allowed = map[string][]string{"h3": nil, "h4": nil, "p": nil, "ul": nil, "li": nil, "hr": nil, "strong": nil, "code": nil, "pre": nil, "a": {"href"}, "details": {"open"}, "summary": nil}

// expanded is what forges turn into links, mentions, emoji or formulas in plain text.
var expanded = regexp.MustCompile(`[@#!~%$^&*_{}\[\]<>|\\` + "`" + `]|:[a-z+]|[A-Za-z]+-[0-9]|\b[0-9a-f]{7,}\b|www\.\w|://`)

// linked is what may be expanded even in code. stacked are marks that cover what is around them.
var (
	linked  = regexp.MustCompile(`[@#][\pL\pN]`)
	stacked = regexp.MustCompile(`[^\pL]\pM|\pM\pM`)
)

// harmless reports what is in a comment that isn't ours, or isn't whole.
func harmless(t testing.TB, markdown string) []string {
	t.Helper()
	var wrong []string
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if !utf8.ValidString(markdown) {
		report("not UTF-8")
	}
	for _, r := range markdown {
		if r != '\n' && r != '\u200b' && !unicode.IsPrint(r) && r != '\t' || strings.ContainsRune("\u3164\u2800", r) {
			report("invisible character %U", r)
		}
		if unicode.In(r, unicode.Hebrew, unicode.Arabic) {
			report("%U changes the direction", r)
		}
	}
	if found := stacked.FindString(markdown); found != "" {
		report("stacked marks %q", found)
	}
	rendered := render(t, markdown)
	if opened, closed := strings.Count(rendered, "<details"), strings.Count(rendered, "</details>"); opened != closed {
		report("%d details opened, %d closed", opened, closed)
	}
	root, err := nethtml.Parse(strings.NewReader(rendered))
	if err != nil {
		t.Fatal(err)
	}
	comments := 0
	for n := range root.Descendants() {
		switch n.Type {
		case nethtml.CommentNode:
			comments++
		case nethtml.ElementNode:
			if slices.Contains([]string{"html", "head", "body"}, n.Data) {
				continue
			}
			attributes, known := allowed[n.Data]
			if !known {
				report("element %s", n.Data)
			}
			for _, a := range n.Attr {
				switch {
				case !slices.Contains(attributes, a.Key):
					report("attribute %s of %s", a.Key, n.Data)
				case a.Key == "href" && !strings.HasPrefix(a.Val, "https://git.example.com/platform/fleet/src/commit/"+head+"/"):
					report("link to %s", a.Val)
				}
			}
		case nethtml.TextNode:
			if within(n, "pre") {
				continue
			}
			if within(n, "code") {
				if found := linked.FindString(n.Data); found != "" {
					report("%q in the code %q", found, n.Data)
				}
				continue
			}
			if found := expanded.FindString(n.Data); found != "" {
				report("%q in plain text %q", found, n.Data)
			}
		}
	}
	if comments != 1 {
		report("%d HTML comments", comments)
	}
	return wrong
}

func within(n *nethtml.Node, elements ...string) bool {
	for a := range n.Ancestors() {
		if a.Type == nethtml.ElementNode && slices.Contains(elements, a.Data) {
			return true
		}
	}
	return false
}

// TestHarmless: whatever the names are, a comment has nothing in it but what is ours, and every fold is closed (CVE-2026-45738 of Argo
// CD).
func TestHarmless(t *testing.T) {
	for _, p := range pullRequests() {
		r, o := p.make(t)
		for _, wrong := range harmless(t, r.Markdown(o)) {
			t.Errorf("%s: %s", p.name, wrong)
		}
	}
	for _, text := range hostileTexts {
		r := review.New(hostileInput(t, []string{text, "plain"}))
		o := options()
		o.SetUp = []review.Fold{{Title: text, Text: text + "\n" + text}}
		for _, wrong := range harmless(t, r.Markdown(o)) {
			t.Errorf("%q: %s", text, wrong)
		}
		for _, wrong := range harmless(t, review.Gone(review.Marker(text), text)) {
			t.Errorf("gone, %q: %s", text, wrong)
		}
		for _, wrong := range harmless(t, review.Unchecked(review.Marker(text), text)) {
			t.Errorf("unchecked, %q: %s", text, wrong)
		}
	}
}

// TestAddresses: only an address of HTTP is a link, and it ends where it should.
func TestAddresses(t *testing.T) {
	r := review.New(review.Input{Base: base, Head: head, After: &plan.Plan{Report: finding.Report{Findings: []finding.Finding{{Code: "test", Severity: finding.Error, Path: "eu.yaml", Message: "message"}}}}})
	const rest = "git.example.com/platform/fleet/src/commit/" + head + "/"
	for address, linked := range map[string]bool{"https://" + rest + "eu.yaml": true, "https://" + rest + "a)b<c>d e\"f`g\\h[i]": true, "": false, "javascript:alert(1)": false,
		"data:text/html,x": false, "//" + rest: false, "https:///x": false, "https://" + rest + "\x00": false, "https://" + rest + strings.Repeat("a", 2000): false} {
		o := options()
		o.FileURL = func(string, int) string { return address }
		text := r.Markdown(o)
		for _, wrong := range harmless(t, text) {
			t.Errorf("%q: %s", address, wrong)
		}
		if got := strings.Contains(text, "](http"); got != linked {
			t.Errorf("%q is a link: %v", address, got)
		}
	}
}

// FuzzHarmless does the same with what the fuzzer finds.
func FuzzHarmless(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text, "plain")
		f.Add("a "+text, "b"+text+"c")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		o := options()
		o.Marker, o.SetUp = review.Marker(a), []review.Fold{{Title: a, Text: b}}
		r := review.New(hostileInput(t, []string{a, b}))
		text := r.Markdown(o)
		for _, wrong := range harmless(t, text) {
			t.Error(wrong)
		}
		if !review.Marked(text, o.Marker) || review.Marked(text, review.Marker(a+"x")) {
			t.Error("the marker is not found")
		}
		if _, status := r.Status(); strings.ContainsAny(status, "\n\r") {
			t.Errorf("the status has several lines: %q", status)
		}
	})
}

// TestSizes: a comment is never longer than it may be, whatever the number and size of what is in it, and stays whole.
func TestSizes(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for seed := range rounds {
		random := rand.New(rand.NewPCG(uint64(seed), 7))
		r, o := randomReview(random)
		text := r.Markdown(o)
		if most := max(o.MaxBytes, review.MinMaxBytes); len(text) > most {
			t.Errorf("seed %d: %d bytes, %d allowed", seed, len(text), most)
		}
		for _, wrong := range harmless(t, text) {
			t.Errorf("seed %d: %s", seed, wrong)
		}
		if r.Markdown(o) != text {
			t.Errorf("seed %d: the second comment differs", seed)
		}
		least := o
		o.MaxBytes, least.MaxBytes = 1, review.MinMaxBytes
		if r.Markdown(o) != r.Markdown(least) {
			t.Errorf("seed %d: less than the least is not the least", seed)
		}
	}
}

// TestManyFindings: the findings that don't fit are counted.
func TestManyFindings(t *testing.T) {
	r := &review.Review{Standing: make([]finding.Finding, 2000)}
	for i := range r.Standing {
		r.Standing[i] = finding.Finding{Code: "code", Severity: finding.Info, Path: "eu.yaml", Line: 1 + i, Message: "The token has no end", Fix: strings.Repeat("shorten it ", 5)}
	}
	o := options()
	o.Command = ""
	text := r.Markdown(o)
	shown := strings.Count(text, "The token has no end")
	if shown < 100 || shown == len(r.Standing) || !strings.Contains(text, fmt.Sprintf("\n- … %d more\n", len(r.Standing)-shown)) {
		t.Errorf("%d findings are shown:\n%s", shown, text)
	}
}

// TestLongItem: a cluster with more changed fields than fit is shown with the first of them.
func TestLongItem(t *testing.T) {
	fields := make([]plan.Field, 1000)
	for i := range fields {
		fields[i] = plan.Field{Path: fmt.Sprintf("field-%04d", i), From: strings.Repeat("a", 200), To: strings.Repeat("b", 200)}
	}
	r := &review.Review{Changes: []review.Change{{Action: plan.Change, Kind: plan.KindCluster, Name: "eu", Fields: fields}}}
	text := r.Markdown(options())
	shown := strings.Count(text, "field-")
	if shown < 5 || shown == len(fields) || !strings.Contains(text, fmt.Sprintf("  - … %d more\n", len(fields)-shown)) || !strings.Contains(text, "- cluster `eu`") {
		t.Errorf("%d fields are shown:\n%s", shown, text)
	}
}

// randomReview has up to some thousand findings and changes, with texts of up to 1,000 characters.
func randomReview(random *rand.Rand) (*review.Review, review.Options) {
	alphabet := []rune("abc-./@#`*_[]()<>!|\\\"' \n\u202e\u0301é漢\U000e0041\x00")
	text := func() string {
		runes := make([]rune, random.IntN(1+random.IntN(1+random.IntN(1000))))
		for i := range runes {
			runes[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(runes)
	}
	number := func() int { return random.IntN(1 + random.IntN(1+random.IntN(3000))) }
	findings := func() []finding.Finding {
		list := make([]finding.Finding, number())
		for i := range list {
			list[i] = finding.Finding{Code: "code", Severity: []finding.Severity{finding.Error, finding.Warning, finding.Info}[random.IntN(3)], Path: text(), Line: random.IntN(3), Message: text(), Fix: text()}
		}
		return list
	}
	changes := func() []review.Change {
		list := make([]review.Change, number())
		for i := range list {
			action := []plan.Action{plan.Add, plan.Change, plan.Move, plan.Remove}[random.IntN(4)]
			list[i] = review.Change{Action: action, Kind: plan.KindCluster, Name: text(), AuditConfig: text(), Path: text(), Reason: text(), Fields: make([]plan.Field, random.IntN(1+random.IntN(60)))}
			for k := range list[i].Fields {
				list[i].Fields[k] = plan.Field{Path: text(), From: text(), To: text()}
			}
		}
		return list
	}
	r := &review.Review{Sync: text(), Namespace: text(), Base: text(), Head: text(), Path: text(), Trust: review.Allowed, AllowedBy: text(),
		New: findings(), Mended: findings(), Standing: findings(), Changes: changes(), Held: changes(), LeftOut: []string{text(), text(), text(), text()}}
	for range number() {
		r.Conflicts = append(r.Conflicts, review.Conflict{Path: text(), Reason: text()})
	}
	o := options()
	o.MaxBytes = random.IntN(120_000)
	for range random.IntN(5) {
		o.SetUp = append(o.SetUp, review.Fold{Title: text(), Text: strings.Repeat(text()+"\n", random.IntN(100))})
	}
	return r, o
}

// TestSecretsStayOut: no value of a Secret is in a Review or its texts.
func TestSecretsStayOut(t *testing.T) {
	for _, p := range pullRequests() {
		in := p.input(t)
		if in.AfterFleet != nil {
			for i := range in.AfterFleet.Secrets {
				s := &in.AfterFleet.Secrets[i]
				s.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": canary}
			}
		}
		r, o := review.New(in), options()
		for what, text := range map[string]string{"JSON": string(toJSON(t, r)), "comment": r.Markdown(o), "annotations": string(toJSON(t, r.Annotations()))} {
			if strings.Contains(text, canary) {
				t.Errorf("%s: the %s has the value of a Secret", p.name, what)
			}
		}
	}
}

// TestLiveValuesStayOut: a manifest can't make a Review tell the annotation of a live Secret, whether it is a cluster's
// or none's.
func TestLiveValuesStayOut(t *testing.T) {
	const annotation = "kubectl.kubernetes.io/last-applied-configuration"
	registry := func(d *tree, value string) *tree {
		d.Secrets = append(d.Secrets, fleet.Secret{Name: "registry", Type: "Opaque", Data: map[string]string{"a": canary + value}, Origin: fleet.Origin{Path: folder + "/registry.yaml"}, Hash: value})
		return d
	}
	before, after := registry(newTree("eu"), "1"), registry(newTree("eu"), "2")
	w := newWorld(config).apply(t, before)
	for i := range after.Secrets {
		w.Secrets[after.Secrets[i].Name].Annotations[annotation] = canary
		after.Secrets[i].Annotations = map[string]string{annotation: "x"}
	}
	after.renew("eu", "2", march)
	in := w.input(before, after)
	if strings.Count(string(toJSON(t, in.After.Steps)), canary) < 2 {
		t.Fatal("the plan should have both annotations, or this test proves nothing")
	}
	r := review.New(in)
	if len(r.Changes) != 2 {
		t.Errorf("changes: %q", describe(r))
	}
	if text := string(toJSON(t, r)) + r.Markdown(options()); strings.Contains(text, canary) {
		t.Error("the Review has the annotation of a live Secret")
	}
}

// TestMask: secrets in fields that aren't Secrets are masked in everything, with the other value of the field.
func TestMask(t *testing.T) {
	const old = "1 1 1 1 1"
	before, after := newTree("eu").edit("eu", at(old)), newTree("eu").edit("eu", at(canary))
	after.warn("test", "eu", 1, "message "+canary, "fix "+canary)
	in := synced(t, before, after)
	in.Rules, in.AllowedBy = []review.RuleChange{{Path: canary, What: canary}}, canary
	in.Conflicts = []review.Conflict{{Path: canary, Reason: canary}}
	in.Mask = func(text string) string { return strings.ReplaceAll(text, canary, "***") }
	r := review.New(in)
	_, status := r.Status()
	text := string(toJSON(t, r)) + r.Markdown(options()) + status
	if strings.Contains(text, canary) || strings.Contains(text, old) || !strings.Contains(text, "***") {
		t.Errorf("not masked: %s", text)
	}
}

// TestMaskCoversEverything: no text of a Review is forgotten.
func TestMaskCoversEverything(t *testing.T) {
	in := hostileInput(t, []string{canary})
	in.Conflicts = []review.Conflict{{Path: canary, Reason: canary}}
	in.Base, in.Head, in.Mask = base, head, func(text string) string { return strings.ReplaceAll(text, canary, "***") }
	for i := range in.After.Findings {
		in.After.Findings[i].Code = "code"
	}
	for i := range in.Before.Findings {
		in.Before.Findings[i].Code = "code"
	}
	in.After.Approval = ""
	if text := string(toJSON(t, review.New(in))); strings.Contains(text, canary) {
		t.Errorf("not masked: %s", text)
	}
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
