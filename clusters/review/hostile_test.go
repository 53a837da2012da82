package review_test

import (
	"math/rand/v2"
	"testing"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/review"
)

// hostileTexts are names, paths and messages that try to get out of their place.
var hostileTexts = []string{
	"@admin, see #1 and !2 ~bug %1.0 &3 $4 ^5 org/repo#6 GH-7 JIRA-8 [vulnerability:9]",
	"`code` ``more`` ```\n```", "`", "``", "a`", "`a", " a ", " ", "",
	"</details></summary></ul></code>", "<!-- muster:review other -->", "--> <img src=x onerror=alert(1)>", "<script>alert(1)</script>", "&lt;b&gt; &#64;admin &amp;",
	"[click](https://evil.example)", "![image](https://evil.example/x.png)", "[a]: https://evil.example", "[a]", "<https://evil.example>",
	"https://evil.example www.evil.example evil@evil.example ftp://evil.example mailto:evil@evil.example",
	"# heading", "heading\n===", "heading\n---", "---", "* item", "- item", "+ item", "1. item", "1) item", "> quote", "    code", "| a | b |\n|---|---|", "- [x] done", "> [!CAUTION]",
	":tada: :+1:", "$x^2$ $`y`$ $$z$$", "text[^1]\n\n[^1]: note", "~~gone~~ **bold** __bold__ *it* _it_", "[[wiki]] {{template}} {+added+} [-gone-]",
	"\u202egpj.exe", "a\u200bb\u2066c\ufeff", "\x00\x1b[31m\x7f\u0085", "a\r\nb\nc\td", "\xff\xfe not UTF-8", "שלום عالم", "e\u0301\u0301\u0301\u0301", "\u3164\u2800", "\U000e0041",
	"see deadbeef, 1234567 and decade", "/close", "/merge\n/assign @admin", "fixes #1", "1234567890abcdef1234567890abcdef12345678", "#ff0000 rgb(255,0,0)", `"quoted @admin" "unbalanced`, `\`, `\\`, "a\\`b", "(`)", "```mermaid",
}

// hostileInput is a review whose every text is hostile, in turn.
func hostileInput(_ testing.TB, texts []string) review.Input {
	n, random := 0, rand.New(rand.NewPCG(1, 2))
	next := func() string {
		n++
		return texts[random.IntN(len(texts))]
	}
	in := review.Input{Sync: next(), Namespace: next(), Base: next(), Head: next(), Path: next(), Trust: review.Keyless, AllowedBy: next(), Live: true,
		Before: &plan.Plan{}, After: &plan.Plan{}, BeforeFleet: &fleet.Opened{}, AfterFleet: &fleet.Opened{}}
	for range texts {
		in.Rules = append(in.Rules, review.RuleChange{Path: next(), What: next()})
		for _, severity := range []finding.Severity{finding.Error, finding.Warning, finding.Info} {
			f := finding.Finding{Code: finding.Code(next()), Severity: severity, Cluster: next(), Path: next(), Line: n % 3, Message: next(), Fix: next()}
			in.After.Findings = append(in.After.Findings, f)
			f.Message = next()
			in.Before.Findings = append(in.Before.Findings, f)
		}
		for _, action := range []plan.Action{plan.Add, plan.Change, plan.Move, plan.Remove, plan.Hold} {
			for _, kind := range []string{plan.KindCluster, plan.KindSecret, plan.KindAuditConfig} {
				in.After.Steps = append(in.After.Steps, plan.Step{Action: action, Kind: kind, Name: next() + string(action), AuditConfig: next(), Origin: next(), NamedBy: next(),
					Reason: plan.Reason(next()), Fields: []plan.Field{{Path: next(), From: next(), To: next()}, {Path: next(), To: next()}}})
			}
		}
		in.AfterFleet.Secrets = append(in.AfterFleet.Secrets, fleet.Secret{Name: next() + "change", Cluster: next(), AuditConfig: next(), Type: next()})
		in.AfterFleet.Clusters = append(in.AfterFleet.Clusters, fleet.Cluster{Name: next(), AuditConfig: next(), Quarantined: n%2 == 0, Schedule: next()})
	}
	in.After.Approval = inventory.ApprovalValue(next(), nil)
	in.After.Configs = []plan.ConfigWrite{{Name: in.After.Steps[0].AuditConfig, Size: plan.MaxObject - 5}}
	return in
}
