package main

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// create shows an object to the API server, which must know every field of it.
func (in *installation) create(t *testing.T, o *unstructured.Unstructured) error {
	t.Helper()
	o = o.DeepCopy()
	if o.GetNamespace() == "" {
		o.SetNamespace(operatorNamespace)
	}
	return in.admin.Create(t.Context(), o, client.DryRunAll, client.FieldValidation("Strict"))
}

func (in *installation) testSamples(t *testing.T) {
	samples := objects(t, kustomize(t, "samples"))
	secrets, syncs := map[string]bool{}, 0
	for _, o := range samples {
		secrets[o.GetName()] = secrets[o.GetName()] || o.GetKind() == "Secret"
		if err := in.create(t, o); err != nil {
			t.Errorf("config/samples: %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	for _, o := range samples {
		if o.GetKind() != "AuditSync" {
			continue
		}
		syncs++
		for _, ref := range [][]string{{"spec", "source", "secretRef", "name"}, {"spec", "decryption", "secretRef", "name"},
			{"spec", "webhook", "secretRef", "name"}, {"spec", "forge", "secretRef", "name"}} {
			if name, found, _ := unstructured.NestedString(o.Object, ref...); found && !secrets[name] {
				t.Errorf("config/samples: AuditSync %s refers to a Secret %s, which no sample shows", o.GetName(), name)
			}
		}
	}
	if syncs < 2 {
		t.Errorf("config/samples: %d AuditSyncs, want one for https and one for ssh", syncs)
	}
	in.checkExamples(t)
}

// checkExamples holds the AuditSyncs of examples/ to the same schema.
func (in *installation) checkExamples(t *testing.T) {
	disk := os.DirFS(root)
	err := fs.WalkDir(disk, "examples", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(file) != ".yaml" {
			return err
		}
		content, err := fs.ReadFile(disk, file)
		if err != nil || !strings.Contains(string(content), "kind: AuditSync\n") {
			return err
		}
		for _, o := range objects(t, content) {
			if err := in.create(t, o); o.GetKind() == "AuditSync" && err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (in *installation) testInvalidAuditSyncs(t *testing.T) {
	const source = "source: {url: 'https://git.example.com/fleet.git'}"
	for _, tt := range []struct {
		reason, name, spec string
		says               string // empty where the API server takes it
	}{
		{"the least", "a", source, ""},
		{"the root", "a", source + ", path: ./", ""},
		{"two dots within a name", "a", source + ", path: ./a..b", ""},
		{"the shortest interval", "a", source + ", interval: 5s", ""},
		{"a duration of several units", "a", source + ", interval: 1h30m", ""},
		{"no removals", "a", source + ", prune: {maxRemovals: 0}", ""},
		{"any removals", "a", source + ", prune: {maxRemovals: 100%}", ""},
		{"approvals on pull requests", "a", source + ", prune: {approveOn: PullRequest}, forge: {secretRef: {name: a}, pullRequests: true}", ""},
		{"one scan at a time", "a", source + ", scanOnChange: {concurrency: 1}", ""},
		{"no scans on change", "a", source + ", scanOnChange: {enabled: false}", ""},
		{"a commit on a branch", "a", "source: {url: 'ssh://git@x/y', ref: {branch: main, commit: " + strings.Repeat("a", 40) + "}}", ""},

		{"checks of credentials", "a", source + ", preflight: {mode: Report, interval: 5m, allowAddresses: [127.0.0.1, 'fd00::/8'], allowProxies: ['proxy.example.com:3128', '[fd00::1]:80']}", ""},
		{"another mode of preflights", "a", source + ", preflight: {mode: Enforced}", `Unsupported value: "Enforced"`},
		{"checks of credentials all the time", "a", source + ", preflight: {interval: 1m}", "the interval is at least 5m"},
		{"a name among addresses", "a", source + ", preflight: {allowAddresses: [localhost]}", "an entry is an IP address, or a network"},
		{"a proxy with a scheme", "a", source + ", preflight: {allowProxies: ['http://proxy.example.com:3128']}", "a proxy is host:port"},
		{"a proxy without a port", "a", source + ", preflight: {allowProxies: [proxy.example.com]}", "a proxy is host:port"},
		{"no scan at a time", "a", source + ", scanOnChange: {concurrency: 0}", "spec.scanOnChange.concurrency"},
		{"too many scans at a time", "a", source + ", scanOnChange: {concurrency: 101}", "spec.scanOnChange.concurrency"},
		{"no source", "a", "path: ./", "spec.source: Required"},
		{"no address", "a", "source: {}", "spec.source.url: Required"},
		{"an empty address", "a", "source: {url: ''}", "spec.source.url"},
		{"no scheme", "a", "source: {url: git.example.com/fleet.git}", "the address starts with https:// or ssh://"},
		{"the short form of ssh", "a", "source: {url: 'git@git.example.com:fleet.git'}", "write git@host:path as ssh://git@host/path"},
		{"a file", "a", "source: {url: 'file:///etc'}", "the address starts with https:// or ssh://"},
		{"a token in the address", "a", "source: {url: 'https://token@git.example.com/fleet.git'}", "must not contain credentials"},
		{"a password in the address", "a", "source: {url: 'ssh://git:pw@git.example.com/fleet.git'}", "must not contain credentials"},
		{"a huge address", "a", "source: {url: 'https://" + strings.Repeat("a", 2048) + "'}", "spec.source.url: Too long"},
		{"a Secret without a name", "a", "source: {url: 'https://x/y', secretRef: {name: ''}}", "spec.source.secretRef.name"},
		{"a branch and a tag", "a", "source: {url: 'https://x/y', ref: {branch: main, tag: v1}}", "set at most one of branch, tag and semver"},
		{"a commit and a range", "a", "source: {url: 'https://x/y', ref: {semver: '1.x', commit: " + strings.Repeat("a", 40) + "}}",
			"commit and semver are mutually exclusive"},
		{"a short commit", "a", "source: {url: 'https://x/y', ref: {commit: abc1234}}", "spec.source.ref.commit"},
		{"an absolute path", "a", source + ", path: /clusters", "stays within it"},
		{"a path that leads out", "a", source + ", path: ./clusters/../../other", "stays within it"},
		{"a day", "a", source + ", interval: 1d", "spec.interval"},
		{"a number", "a", source + ", interval: 5", "spec.interval"},
		{"too often", "a", source + ", interval: 100ms", "the interval is at least 5s"},
		{"too many percent", "a", source + ", prune: {maxRemovals: 101%}", "a number from 0, or a percentage from 0% to 100%"},
		{"less than none", "a", source + ", prune: {maxRemovals: -1}", "a number from 0, or a percentage from 0% to 100%"},
		{"half a cluster", "a", source + ", prune: {maxRemovals: '2.5%'}", "a number from 0, or a percentage from 0% to 100%"},
		{"approvals elsewhere", "a", source + ", prune: {approveOn: Branch}", `Unsupported value: "Branch"`},
		{"approvals on pull requests that aren't answered", "a", source + ", prune: {approveOn: PullRequest}, forge: {secretRef: {name: a}}", "prune.approveOn: PullRequest needs forge.pullRequests"},
		{"approvals on pull requests without a forge", "a", source + ", prune: {approveOn: PullRequest}", "prune.approveOn: PullRequest needs forge.pullRequests"},
		{"another policy for drift", "a", source + ", drift: Ignore", `Unsupported value: "Ignore"`},
		{"another policy for foreign clusters", "a", source + ", foreignClusters: keep", `Unsupported value: "keep"`},
		{"another policy for deletion", "a", source + ", deletionPolicy: Retain", `Unsupported value: "Retain"`},
		{"keys without a Secret", "a", source + ", decryption: {}", "spec.decryption.secretRef: Required"},
		{"any kind of webhook", "a", source + ", webhook: {secretRef: {name: x}}", ""},
		{"a kind of webhook", "a", source + ", webhook: {secretRef: {name: x}, provider: forgejo}", ""},
		{"a webhook without a Secret", "a", source + ", webhook: {}", "spec.webhook.secretRef: Required"},
		{"a webhook of another kind", "a", source + ", webhook: {secretRef: {name: x}, provider: GitHub}", `Unsupported value: "GitHub"`},
		{"the least of a forge", "a", source + ", forge: {secretRef: {name: x}}", ""},
		{"a forge on loopback", "a", source + ", forge: {secretRef: {name: x}, provider: gitea, apiURL: 'http://127.0.0.1:3000/git', context: 'muster/eu-1:prod'}", ""},
		{"a forge without a Secret", "a", source + ", forge: {provider: github}", "spec.forge.secretRef: Required"},
		{"a forge of another kind", "a", source + ", forge: {secretRef: {name: x}, provider: forgejo}", `Unsupported value: "forgejo"`},
		{"an API over plain http", "a", source + ", forge: {secretRef: {name: x}, apiURL: 'http://git.example.com'}", "http:// is only allowed for loopback"},
		{"an API that looks like loopback", "a", source + ", forge: {secretRef: {name: x}, apiURL: 'http://127.0.0.1.example.com'}", "http:// is only allowed for loopback"},
		{"an API with a password", "a", source + ", forge: {secretRef: {name: x}, apiURL: 'https://u:p@git.example.com'}", "without credentials"},
		{"a context with a blank", "a", source + ", forge: {secretRef: {name: x}, context: 'a b'}", "spec.forge.context"},
		{"a context that leaves no room", "a", source + ", forge: {secretRef: {name: x}, context: " + strings.Repeat("a", 201) + "}", "spec.forge.context: Too long"},
		{"an unknown field", "a", source + ", pth: ./", `unknown field "spec.pth"`},
		{"a name that is no label value", strings.Repeat("a", 64), source, "the name is used as a label value"},
		{"a name with a dot", "a.b", source, "the name is used as a label value"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			err := in.create(t, auditSync(t, tt.name, tt.spec))
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.says != "" && err == nil:
				t.Error("taken")
			case tt.says != "" && (!apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("got %v; want it to say %q", err, tt.says)
			}
		})
	}
}

// auditSync makes an AuditSync of a spec in YAML's flow style, without its braces.
func auditSync(t *testing.T, name, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	content := "{apiVersion: muster.dev/v1alpha1, kind: AuditSync, metadata: {name: " + name + "}, spec: {" + spec + "}}"
	if err := yaml.Unmarshal([]byte(content), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetNamespace(operatorNamespace)
	return o
}
