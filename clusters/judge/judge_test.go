package judge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
)

var pairs = flag.Int("pairs", 60, "random pairs of trees to judge and to apply")

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const (
	spiffe  = "  spiffeAuth: {server: 'https://asia.example.com', trustBundleSecretRef: {name: bundle}}\n  schedule: 1 2 * * *\n"
	config  = "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: mondoo-client}\nspec:\n  mondooCredsSecretRef: {name: creds}\n  kubernetesResources: {enable: true, schedule: '5 * * * *'}\n"
	options = "mondooCredsSecretRef=creds"
)

func cluster(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: " + name + "}\nspec:\n" + spec
}

func plain(name, schedule string) string {
	return cluster(name, "  schedule: '"+schedule+"'\n  workloadIdentity: {provider: gke, gke: {projectId: p-123456, clusterName: c, clusterLocation: europe-west1, googleServiceAccount: s@p-123456.iam.gserviceaccount.com}}\n")
}

func sealed(t testing.TB, key *sealtest.Key, name, token string) string {
	t.Helper()
	kubeconfig := "  kubeconfig: |\n    apiVersion: v1\n    kind: Config\n    current-context: m\n    clusters: [{name: m, cluster: {server: 'https://" + name + ".example.com'}}]\n" +
		"    contexts: [{name: m, context: {cluster: m, user: u}}]\n    users: [{name: u, user: {token: " + token + "}}]\n"
	return key.Encrypt(t, name+".yaml", cluster(name, kubeconfig+"  schedule: H H * * *\n"), sealtest.Recommended)
}

// counting is an opener that counts the files that it opens.
type counting struct {
	*unseal.Opener
	opened int
}

func (c *counting) Open(ctx context.Context, f *load.File) (*unseal.Plain, *finding.Finding) {
	c.opened++
	return c.Opener.Open(ctx, f)
}

func files(all map[string]string) fs.FS {
	tree := fstest.MapFS{}
	for name, content := range all {
		tree[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return tree
}

func changes(base, merged map[string]string) []judge.Change {
	var list []judge.Change
	for name, content := range base {
		if now, found := merged[name]; now != content || !found {
			list = append(list, judge.Change{Path: name, Before: true, After: found})
		}
	}
	for name := range merged {
		if _, found := base[name]; !found {
			list = append(list, judge.Change{Path: name, After: true})
		}
	}
	slices.SortFunc(list, func(a, b judge.Change) int { return strings.Compare(a.Path, b.Path) })
	return list
}

func request(base, merged map[string]string, trust review.Trust, opener clusters.Opener, redactor *redact.Redactor) judge.Request {
	return judge.Request{Name: "pull request 1", Base: files(base), Merged: files(merged), Changes: changes(base, merged), BaseCommit: strings.Repeat("b", 40), HeadCommit: strings.Repeat("a", 40),
		Path: "./f", Trust: trust, Options: compile.Options{Namespace: "n", Sync: "s", Policy: policy.Policy{Allow: []string{options}}},
		Opener: opener, Redactor: redactor, Policy: plan.Policy{Prune: true, Foreign: plan.KeepForeign, CorrectDrift: true}, Now: now}
}

func with(base map[string]string, changed ...string) map[string]string {
	merged := maps.Clone(base)
	for i := 0; i < len(changed); i += 2 {
		if merged[changed[i]] = changed[i+1]; changed[i+1] == "" {
			delete(merged, changed[i])
		}
	}
	return merged
}

func TestReview(t *testing.T) {
	key := sealtest.NewKey(t)
	base := map[string]string{"f/config.yaml": config, "f/eu.yaml": sealed(t, key, "eu", "CANARY-token-of-eu-1"), "f/us.yaml": plain("us", "5 1 * * *"),
		"f/bad.yaml": cluster("bad", "  schedule: never\n"), "docs/a.md": "text", ".sops.yaml": "creation_rules:\n- age: " + key.Public() + "\n", "base/kustomization.yaml": "resources: []\n"}
	rotated := sealed(t, key, "eu", "CANARY-token-of-eu-2")
	for _, row := range []struct {
		reason string
		merged map[string]string
		ok     bool
		text   string // of the status, without "keyless check: "
		rules  string
	}{
		{"a new cluster", with(base, "f/asia.yaml", plain("asia", "7 1 * * *")), true, "adds 1 cluster (asia)", ""},
		{"a new encrypted cluster", with(base, "f/asia.yaml", key.Encrypt(t, "asia.yaml", cluster("asia", spiffe), sealtest.Recommended)), true, "adds 1 cluster (asia)", ""},
		{"a removed cluster", with(base, "f/us.yaml", ""), true, "removes 1 cluster (us)", ""},
		{"another schedule", with(base, "f/us.yaml", plain("us", "6 1 * * *")), true, "changes 1 cluster (us)", ""},
		{"another token", with(base, "f/eu.yaml", rotated), true, "changes 1 cluster (eu)", ""},
		{"a new error", with(base, "f/us.yaml", plain("us", "never")), false, "1 new error: f/us.yaml:5", ""},
		{"an error that is mended", with(base, "f/bad.yaml", plain("bad", "6 1 * * *")), true, "adds 1 cluster (bad)", ""},
		{"the rules of sops", with(base, ".sops.yaml", "creation_rules:\n- age: "+sealtest.NewKey(t).Public()+"\n"), true, "", ".sops.yaml changes who can decrypt new files"},
		{"a file that is left out", with(base, "f/.musterignore", "us.yaml\n"), true, "removes 1 cluster (us)", "f/.musterignore adds which files are read"},
		{"a kustomization", with(base, "f/kustomization.yaml", "resources: [config.yaml]\n"), true, "", "f/kustomization.yaml adds what is built"},
	} {
		for _, trust := range []review.Trust{review.Full, review.Keyless} {
			t.Run(row.reason+"/"+string(trust), func(t *testing.T) {
				opener, redactor := &counting{Opener: key.Opener(t)}, &redact.Redactor{}
				j := &judge.Judge{}
				got, err := j.Review(t.Context(), request(base, row.merged, trust, opener, redactor))
				if err != nil || got == nil {
					t.Fatalf("%v, %v", got, err)
				}
				ok, text := got.Status()
				if ok != row.ok || !strings.HasPrefix(strings.TrimPrefix(text, "keyless check: "), row.text) {
					t.Errorf("%t: %s", ok, text)
				}
				var rules []string
				for _, r := range got.Rules {
					rules = append(rules, r.Path+" "+r.What)
				}
				if strings.Join(rules, "\n") != row.rules {
					t.Errorf("rules: %q", rules)
				}
				if opened := opener.opened > 0; opened == (trust == review.Keyless) {
					t.Errorf("%d files were decrypted", opener.opened)
				}
				document, err := json.Marshal(got.Review)
				if err != nil || bytes.Contains(document, []byte("CANARY")) || strings.Contains(got.Markdown(review.Options{}), "CANARY") {
					t.Errorf("a secret in the review: %s, %v", document, err)
				}
				if seal.HasHandle(string(document)) {
					t.Errorf("a handle in the review: %s", document)
				}
			})
		}
	}
	added, err := (&judge.Judge{}).Review(t.Context(), request(base, with(base, "f/asia.yaml", plain("asia", "7 1 * * *")), review.Full, key.Opener(t), &redact.Redactor{}))
	if err != nil {
		t.Fatal(err)
	}
	if folds := added.SetUp(); len(folds) != 1 || !strings.Contains(folds[0].Title, "asia") || !strings.Contains(folds[0].Text, "system:serviceaccount") && !strings.Contains(folds[0].Text, "add-iam-policy-binding") {
		t.Errorf("set-up: %+v", folds)
	}
	rescheduled, err := (&judge.Judge{}).Review(t.Context(), request(base, with(base, "f/us.yaml", plain("us", "6 1 * * *")), review.Full, key.Opener(t), &redact.Redactor{}))
	if err != nil || len(rescheduled.SetUp()) != 0 {
		t.Errorf("another schedule needs no set-up: %+v, %v", rescheduled.SetUp(), err)
	}
	untouched := with(base, "docs/a.md", "another text", "other/f/x.yaml", "a: b\n", "other/.sops.yaml", "creation_rules: []\n")
	if got, err := (&judge.Judge{}).Review(t.Context(), request(base, untouched, review.Full, key.Opener(t), &redact.Redactor{})); got != nil || err != nil {
		t.Errorf("untouched: %v, %v", got, err)
	}
}

// TestDigestWithoutKeys: what is removed has names alone, so an approval of removals that were shown by a check without keys is
// for the same ones that a check with keys shows.
func TestDigestWithoutKeys(t *testing.T) {
	key := sealtest.NewKey(t)
	base := map[string]string{"f/config.yaml": config}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		base["f/"+name+".yaml"] = sealed(t, key, name, "CANARY-token-of-"+name)
	}
	digest := func(trust review.Trust, merged map[string]string) string {
		got, err := (&judge.Judge{}).Review(t.Context(), request(base, merged, trust, key.Opener(t), &redact.Redactor{}))
		if err != nil || got == nil {
			t.Fatalf("%v, %v", got, err)
		}
		return got.Digest
	}
	removed := with(base, "f/a.yaml", "", "f/b.yaml", "", "f/c.yaml", "", "f/new.yaml", plain("new", "5 1 * * *"))
	other := with(base, "f/a.yaml", "", "f/b.yaml", "", "f/d.yaml", "")
	keyed := digest(review.Full, removed)
	if keyless := digest(review.Keyless, removed); keyed == "" || keyless != keyed {
		t.Errorf("%q without keys, and %q with them", keyless, keyed)
	}
	if digest(review.Keyless, other) == keyed {
		t.Error("other removals have the same digest")
	}
}

func TestConflicts(t *testing.T) {
	base := map[string]string{"f/config.yaml": config}
	for _, row := range []struct {
		path    string
		answers bool
	}{{"f/a.yaml", true}, {"docs/a.md", false}} {
		r := request(base, base, review.Full, unseal.NewOpener(), &redact.Redactor{})
		r.Merged, r.Conflicts = nil, []review.Conflict{{Path: row.path, Reason: "both sides changed the same lines"}}
		got, err := (&judge.Judge{}).Review(t.Context(), r)
		if err != nil || (got != nil) != row.answers {
			t.Fatalf("%s: %v, %v", row.path, got, err)
		}
		if got != nil {
			if ok, text := got.Status(); ok || text != "can't be merged: conflict in "+row.path {
				t.Errorf("%t: %s", ok, text)
			}
		}
	}
}

// TestPlanIsOutcome: what a review plans is what a sync of the merge result then writes, for random pairs of trees, one after
// the other on one judge, with keys and without.
func TestPlanIsOutcome(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	key := sealtest.NewKey(t)
	tokens := make([]string, 6) // encrypting takes most of the time
	for i := range tokens {
		tokens[i] = sealed(t, key, "NAME", fmt.Sprintf("CANARY-token-number-%d", i))
	}
	file := func(name string) string {
		switch random.IntN(6) {
		case 0:
			return plain(name, "never")
		case 1:
			return plain(name, fmt.Sprintf("%d %d * * *", random.IntN(60), random.IntN(24)))
		case 2:
			return cluster(name, "  kubeconfigSecretRef: {name: shared}\n")
		case 3:
			return cluster(name, "  schedule: H H * * *\n  vaultAuth: {server: 'https://x.example.com', vaultAddr: 'https://vault.example.com', authRole: a, credsRole: b}\n")
		}
		return strings.ReplaceAll(tokens[random.IntN(len(tokens))], "name: NAME", "name: "+name)
	}
	tree := func() map[string]string {
		all := map[string]string{"f/config.yaml": config, "docs/a.md": "text"}
		for range 2 + random.IntN(6) {
			name := fmt.Sprint("c", random.IntN(9))
			all["f/"+name+".yaml"] = file(name)
		}
		return all
	}
	j, redactor, opener := &judge.Judge{}, &redact.Redactor{}, key.Opener(t)
	compared, writes := 0, 0
	base := tree()
	for pair := range *pairs {
		if pair%5 == 0 {
			base = tree()
		}
		merged := tree()
		if random.IntN(2) == 0 { // most pull requests change little
			merged = with(base, fmt.Sprintf("f/c%d.yaml", random.IntN(9)), file("c0"))
		}
		r := request(base, merged, review.Full, opener, redactor)
		opened := render(t, files(base), r, opener, redactor)
		fresh := plan.Fresh(opened, nil)
		applied := r.Policy
		applied.Revision = r.BaseCommit
		live := plan.Outcome(fresh, plan.Compute(opened, fresh, applied))
		if pair%2 == 0 { // otherwise offline, where the judge makes the same state
			r.Live = &live
		}
		got, err := j.Review(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got == nil {
			continue
		}
		after := r.Policy
		after.Revision = r.HeadCommit
		want := plan.Compute(render(t, files(merged), r, opener, redactor), live, after)
		if a, b := described(t, got.Plan), described(t, want); a != b {
			t.Fatalf("pair %d:\nplanned: %s\nwritten: %s", pair, a, b)
		}
		compared++
		writes += len(want.Secrets) + len(want.Configs) + len(want.Delete.Secrets)
	}
	if t.Logf("%d pairs, %d writes, 0 differences", compared, writes); compared < *pairs/2 || writes < compared {
		t.Error("the pairs plan too little")
	}
}

// render renders a tree as a sync does.
func render(t testing.TB, tree fs.FS, r judge.Request, opener clusters.Opener, redactor *redact.Redactor) *fleet.Opened {
	t.Helper()
	p := clusters.NewPipeline()
	compiled, err := p.Compile(t.Context(), clusters.Source{FS: tree, Path: r.Path}, r.Options, opener)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := p.Open(t.Context(), compiled, opener, redactor, now)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// described has everything that a plan writes.
func described(t *testing.T, p *plan.Plan) string {
	t.Helper()
	text, err := json.MarshalIndent(map[string]any{"steps": p.Steps, "secrets": p.Secrets, "configs": p.Configs, "delete": p.Delete, "before": p.Before, "after": p.After, "stopped": p.Stopped}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPath: a pull request may add or remove the whole folder. A path that is no folder can't be judged.
func TestPath(t *testing.T) {
	without := map[string]string{"docs/a.md": "text"}
	full := with(without, "f/config.yaml", config, "f/us.yaml", plain("us", "5 1 * * *"))
	for _, row := range []struct {
		reason       string
		base, merged map[string]string
		ok           bool
		text         string
		path         bool
	}{
		{"added", without, full, true, "adds 1 cluster (us)", false},
		{"removed", full, without, false, "1 new error", false},
		{"a file in its place", full, with(without, "f", "text"), false, "", true},
		{"a folder in a file's place", with(without, "f", "text"), full, false, "", true},
	} {
		for _, trust := range []review.Trust{review.Full, review.Keyless} {
			t.Run(row.reason+"/"+string(trust), func(t *testing.T) {
				got, err := (&judge.Judge{}).Review(t.Context(), request(row.base, row.merged, trust, sealtest.NewKey(t).Opener(t), &redact.Redactor{}))
				if _, path := errors.AsType[*load.PathError](err); path != row.path || err != nil != row.path {
					t.Fatal(err)
				}
				if row.path {
					return
				}
				if ok, text := got.Status(); ok != row.ok || !strings.HasPrefix(strings.TrimPrefix(text, "keyless check: "), row.text) {
					t.Errorf("%t, %q", ok, text)
				}
			})
		}
	}
}

// TestSupply: with keys, a review has what is known of credentials that come from elsewhere. Without, nothing is filled in, and another
// place is a change.
func TestSupply(t *testing.T) {
	key := sealtest.NewKey(t)
	from := func(path string) string {
		return cluster("kv", "  kubeconfigFrom: {vault: {address: 'https://v', mount: kv, path: "+path+"}}\n  schedule: 1 2 * * *\n")
	}
	base := map[string]string{"f/config.yaml": config, "f/kv.yaml": from("one")}
	for _, trust := range []review.Trust{review.Full, review.Keyless} {
		r := request(base, with(base, "f/kv.yaml", from("two")), trust, key.Opener(t), &redact.Redactor{})
		r.Options.Policy.Credentials.Vault = []policy.VaultServer{{Address: "https://v", Mounts: []policy.VaultMount{{Mount: "kv", Version: 2, Paths: []string{"*"}}}}}
		calls := 0
		r.Supply = func(f *fleet.Opened) *fleet.Opened {
			calls++
			return f
		}
		got, err := (&judge.Judge{}).Review(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[review.Trust]int{review.Full: 2, review.Keyless: 0}[trust]; calls != want {
			t.Errorf("%s: filled in %d times, want %d", trust, calls, want)
		}
		if ok, text := got.Status(); !ok || !strings.Contains(text, "changes 1 cluster (kv)") {
			t.Errorf("%s: %t %s", trust, ok, text)
		}
	}
}
