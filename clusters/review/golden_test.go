package review_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/review"
)

var update = flag.Bool("update", false, "write the golden files anew")

// pullRequest is a golden review.
type pullRequest struct {
	name string
	// input and options are what the review is made of.
	input   func(testing.TB) review.Input
	options func(*review.Options)
}

var fleetOfSix = []string{"analytics", "eu-central-1", "eu-west-1", "staging", "us-east-1", "us-west-2"}

// pullRequests are the reviews in testdata, one for each kind of answer.
func pullRequests() []pullRequest {
	return []pullRequest{
		{name: "add", input: func(t testing.TB) review.Input {
			in := synced(t, newTree(fleetOfSix...), newTree(fleetOfSix...).add("eu-west-2").
				warn("view-role", "eu-west-2", 12, "the role view can't read nodes", "bind a ClusterRole with get, list and watch").
				edit("us-east-1", hourly).edit("staging", hourly))
			in.Rules = []review.RuleChange{{Path: ".sops.yaml", What: "the recipients of clusters/production change"}}
			return in
		}, options: func(o *review.Options) {
			o.SetUp = []review.Fold{{Title: "Set up eu-west-2 on the cluster", Text: "kubectl create serviceaccount mondoo # @admin\n"}}
		}},
		{name: "change", input: func(t testing.TB) review.Input {
			after := newTree("analytics", "eu-central-1", "staging", "us-east-1", "us-west-2").addTo(config, "eu-west-1", "fedcba9876543210", "2")
			return synced(t, newTree(fleetOfSix...), after.renew("us-east-1", "2", time.Date(2027, 9, 1, 0, 0, 0, 0, time.UTC)).
				edit("analytics", func(c *fleet.Cluster) {
					c.Entry.ContainerImageScanning = true
					c.Entry.Filtering = &mondoo.Filtering{Namespaces: mondoo.Patterns{Exclude: []string{"kube-system", "team-*"}}}
				}))
		}},
		{name: "remove", input: func(t testing.TB) review.Input {
			return synced(t, newTree(fleetOfSix...), newTree(fleetOfSix...).remove("staging"))
		}},
		{name: "held", input: func(t testing.TB) review.Input {
			return synced(t, newTree(fleetOfSix...), newTree(fleetOfSix...).remove("staging", "us-east-1", "us-west-2").add("ap-south-1"))
		}},
		{name: "held-comment", input: func(t testing.TB) review.Input {
			return synced(t, newTree(fleetOfSix...), newTree(fleetOfSix...).remove("staging", "us-east-1", "us-west-2"))
		}, options: func(o *review.Options) { o.ApproveByComment = true }},
		{name: "moved", input: func(t testing.TB) review.Input {
			before, after := newTree(fleetOfSix...), newTree("analytics", "eu-central-1", "staging", "us-east-1", "us-west-2").addTo("regional", "eu-west-1", "fedcba9876543210", "1")
			before.AuditConfigs = append(before.AuditConfigs, fleet.AuditConfig{Name: "regional"})
			after.AuditConfigs = append(after.AuditConfigs, fleet.AuditConfig{Name: "regional"})
			after.edit("staging", func(c *fleet.Cluster) { c.Origin.Path = folder + "/test/staging.yaml" })
			for i := range after.Secrets {
				if after.Secrets[i].Cluster == "staging" {
					after.Secrets[i].Origin.Path = folder + "/test/staging.yaml"
				}
			}
			return newWorld(config, "regional").apply(t, before).input(before, after)
		}},
		{name: "broken", input: func(t testing.TB) review.Input {
			return synced(t, newTree(fleetOfSix...), newTree(fleetOfSix...).breakFile("us-east-1", 7, `unknown field spec.schedul`).edit("analytics", hourly))
		}},
		{name: "broken-base", input: func(t testing.TB) review.Input {
			good := newTree(fleetOfSix...)
			before := newTree(fleetOfSix...).breakFile("us-east-1", 7, "unknown field spec.schedul").breakFile("staging", 3, "unknown field spec.servr")
			after := newTree(fleetOfSix...).breakFile("us-east-1", 9, "unknown field spec.schedul").edit("analytics", hourly)
			return newWorld(config).apply(t, good).input(before, after)
		}},
		{name: "conflict", input: func(testing.TB) review.Input {
			return review.Input{Sync: "production", Namespace: namespace, Base: base, Head: head, Path: folder, Trust: review.Full, Live: true, Conflicts: []review.Conflict{
				{Path: folder + "/us-east-1.yaml", Reason: "both sides change line 4"}, {Path: folder + "/eu-west-1.yaml", Reason: "deleted at the base and changed by the pull request"}}}
		}},
		{name: "keyless", input: func(t testing.TB) review.Input {
			in := synced(t, newTree(fleetOfSix...), newTree(fleetOfSix...).add("eu-west-2"))
			in.Trust, in.Live = review.Keyless, false
			return in
		}},
		{name: "allowed", input: func(t testing.TB) review.Input {
			in := synced(t, newTree(fleetOfSix...), newTree(fleetOfSix...))
			in.Trust, in.AllowedBy = review.Allowed, "alice"
			return in
		}},
		{name: "hostile", input: func(t testing.TB) review.Input { return hostileInput(t, hostileTexts) }, options: func(o *review.Options) {
			o.SetUp = []review.Fold{{Title: hostileTexts[0], Text: strings.Join(hostileTexts, "\n")}}
		}},
		{name: "huge", input: func(t testing.TB) review.Input {
			after := newTree(names("old", 900)...).add(names("new", 400)...)
			for i, name := range names("old", 500) {
				after.edit(name, hourly)
				if i < 300 {
					after.warn("view-role", name, i+1, "the role view can't read nodes", "bind a ClusterRole with get, list and watch")
				}
			}
			return synced(t, newTree(names("old", 900)...), after)
		}, options: func(o *review.Options) { o.MaxBytes = review.MinMaxBytes }},
	}
}

func hourly(c *fleet.Cluster) { c.Schedule, c.Entry.Schedule = "0 * * * *", "0 * * * *" }

func (p pullRequest) make(t testing.TB) (*review.Review, review.Options) {
	t.Helper()
	o := options()
	if p.options != nil {
		p.options(&o)
	}
	return review.New(p.input(t)), o
}

// TestGolden compares the comment, and in one file the statuses and annotations, with those that were looked at.
func TestGolden(t *testing.T) {
	var lines strings.Builder
	for _, p := range pullRequests() {
		r, o := p.make(t)
		golden(t, p.name+".md", r.Markdown(o))
		ok, text := r.Status()
		fmt.Fprintf(&lines, "%s: %v: %s\n", p.name, ok, text)
		for i, a := range r.Annotations() {
			if i == 10 {
				break
			}
			fmt.Fprintf(&lines, "    %s:%d-%d %s %s: %s: %s\n", a.Path, a.Line, a.EndLine, a.Severity, a.Code, a.Title, a.Message)
		}
	}
	golden(t, "status.txt", lines.String())
	golden(t, "unchecked.md", review.Unchecked(review.Marker(namespace+"/production"), "pack: 134217729 is over the limit of 134217728"))
	golden(t, "gone.md", review.Gone(review.Marker(namespace+"/production"), "the pull request no longer changes anything in `"+folder+"`"))
}

func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with go test ./clusters/review -run %s -update", err, t.Name())
	}
	if string(want) != text {
		t.Errorf("%s differs; look at the difference after go test ./clusters/review -run %s -update", file, t.Name())
	}
}
