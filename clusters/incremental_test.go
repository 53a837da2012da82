package clusters

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// editor changes a repository, an AuditSync's options, the keys and the day at random.
type editor struct {
	t    *testing.T
	rand *rand.Rand
	keys [2]*sealtest.Key
	// files is the repository; count numbers everything that is made.
	files map[string]string
	count int
	opts  compile.Options
	open  []sealtest.Recipient
	now   time.Time
	hash  bool
}

func newEditor(t *testing.T, seed uint64) *editor {
	t.Helper()
	e := &editor{t: t, rand: rand.New(rand.NewPCG(seed, 7)), keys: [2]*sealtest.Key{sealtest.NewKey(t), sealtest.NewKey(t)}, files: map[string]string{},
		opts: compile.Options{Namespace: "mondoo-operator", Sync: "s", Policy: policy.Policy{Allow: []string{"mondooCredsSecretRef=c", "containers.workloadIdentity"}}}, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	e.hash = e.rand.IntN(2) == 0
	e.open = []sealtest.Recipient{e.keys[0], e.keys[1]}
	e.files["f/kustomization.yaml"] = e.kustomization()
	e.files["f/mondoo.yaml"] = e.auditConfig()
	e.files["f/sub/kustomization.yaml"] = "namePrefix: sub-\nresources: [c0.yaml]\n"
	e.files["f/sub/c0.yaml"] = e.cluster("subbed")
	e.files["base/kustomization.yaml"] = "resources: [b.yaml]\n"
	e.files["base/b.yaml"] = e.cluster("based")
	e.files["f/part/kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {part: a}\n"
	for range 5 {
		e.add()
	}
	return e
}

func (e *editor) next() int { e.count++; return e.count }

func (e *editor) pick(list ...string) string { return list[e.rand.IntN(len(list))] }

func (e *editor) kustomization() string {
	text := "resources: [mondoo.yaml, sub, ../base]\n"
	if e.rand.IntN(3) == 0 {
		text += "components: [part]\n"
	}
	if e.rand.IntN(3) == 0 {
		text += fmt.Sprintf("labels: [{pairs: {l: v%d}}]\n", e.rand.IntN(3))
	}
	if e.rand.IntN(4) == 0 {
		text += e.pick("namePrefix: p-\n", "buildMetadata: [originAnnotations]\n", "sortOptions: {order: fifo}\n")
	}
	text += "patches:\n- target: {kind: ExternalCluster}\n  patch: |-\n    - {op: add, path: /spec/containerImageScanning, value: " + e.pick("true", "false") + "}\n"
	if e.rand.IntN(3) == 0 { // what overwrites annotations, and what deletes
		text += e.pick("- target: {kind: ExternalCluster}\n  patch: '[{\"op\": \"add\", \"path\": \"/metadata/annotations\", \"value\": {\"team\": \"x\"}}]'\n",
			"- target: {kind: ExternalCluster, name: "+e.pick(e.names()...)+"}\n  patch: |-\n    $patch: delete\n    apiVersion: x\n    kind: x\n    metadata: {name: x}\n",
			"- target: {kind: Secret}\n  patch: |-\n    $patch: delete\n    apiVersion: x\n    kind: x\n    metadata: {name: x}\n",
			"- target: {name: "+e.pick(e.names()...)+"}\n  patch: '[{\"op\": \"add\", \"path\": \"/metadata/annotations\", \"value\": {\"config.kubernetes.io/local-config\": \"x\"}}]'\n")
	}
	if e.rand.IntN(2) == 0 {
		text += "- patch: |-\n    apiVersion: muster.dev/v1alpha1\n    kind: ExternalCluster\n    metadata: {name: " + e.pick(e.names()...) + "}\n    spec: {schedule: '" + e.pick("@daily", "@hourly") + "'}\n"
	}
	return text
}

// names are those of clusters, and one that is none's.
func (e *editor) names() []string {
	names := []string{"nobody"}
	for _, path := range slices.Sorted(maps.Keys(e.files)) {
		if name, ok := strings.CutPrefix(path, "f/c-"); ok {
			names = append(names, strings.TrimSuffix(name, ".yaml"))
		}
	}
	return names
}

func (e *editor) auditConfig() string {
	return "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: mondoo-client}\nspec:\n  mondooCredsSecretRef: {name: c}\n" +
		e.pick("", "  kubernetesResources: {enable: true}\n", "  kubernetesResources: {schedule: '5 * * * *'}\n", "  containers: {workloadIdentity: {provider: gke, gke: {projectId: p}}}\n")
}

// cluster is a cluster file, encrypted or not, good or bad.
func (e *editor) cluster(name string) string {
	head := "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: " + name + "}\nspec:\n"
	token := fmt.Sprintf("secret-token-%d-%s", e.next(), strings.Repeat("x", e.rand.IntN(400)))
	kubeconfig := "  kubeconfig: |\n    apiVersion: v1\n    kind: Config\n    current-context: m\n    clusters: [{name: m, cluster: {server: 'https://" + name + ".example.com'}}]\n" +
		"    contexts: [{name: m, context: {cluster: m, user: u}}]\n    users: [{name: u, user: {token: " + token + "}}]\n"
	key := e.keys[e.rand.IntN(2)]
	switch e.rand.IntN(9) {
	case 0:
		return head + "  schedule: never\n"
	case 1:
		return head + "  kubeconfigFile: kube.config\n"
	case 2:
		return head + "  workloadIdentity: {provider: gke, gke: {projectId: p-123456, clusterName: c, clusterLocation: europe-west1, googleServiceAccount: s@p-123456.iam.gserviceaccount.com}}\n"
	case 3:
		return head + "  kubeconfigSecretRef: {name: " + e.pick("shared", "elsewhere") + "}\n"
	case 4:
		return key.Encrypt(e.t, "c.yaml", head+"  serviceAccountAuth: {server: 'https://"+name+".example.com', token: "+token+"}\n  schedule: H H * * *\n", sealtest.Credentials)
	case 5:
		return strings.Replace(key.Encrypt(e.t, "c.yaml", head+kubeconfig, sealtest.Credentials), "data:", "data:A", 1) // tampered with
	case 6:
		return "kind: [\n"
	default:
		return key.Encrypt(e.t, "c.yaml", head+kubeconfig, sealtest.Credentials)
	}
}

func (e *editor) add() {
	name := fmt.Sprintf("n%d", e.next())
	e.files["f/c-"+name+".yaml"] = e.cluster(name)
}

// edit changes one thing, and says what.
func (e *editor) edit() string {
	clusters := e.names()[1:]
	at := func() string {
		if len(clusters) == 0 {
			return "f/c-none.yaml"
		}
		return "f/c-" + clusters[e.rand.IntN(len(clusters))] + ".yaml"
	}
	switch e.rand.IntN(18) {
	case 17:
		e.files["base/b.yaml"] = e.cluster("based")
		return "base"
	case 0, 1:
		e.add()
		return "add a cluster"
	case 2:
		delete(e.files, at())
		return "delete a cluster"
	case 3, 4:
		path := at()
		e.files[path] = e.cluster(strings.TrimSuffix(strings.TrimPrefix(path, "f/c-"), ".yaml"))
		return "change " + path
	case 5:
		from, to := at(), at()
		e.files[from], e.files[to] = e.files[to], e.files[from]
		return "swap " + from + " and " + to
	case 6:
		from := at()
		if text, ok := e.files[from]; ok {
			delete(e.files, from)
			e.files[fmt.Sprintf("f/c-moved%d.yaml", e.next())] = text
		}
		return "move " + from
	case 7:
		e.files["f/kustomization.yaml"] = e.kustomization()
		return "kustomization: " + e.files["f/kustomization.yaml"]
	case 8:
		e.files["f/mondoo.yaml"] = e.auditConfig()
		return "audit config"
	case 9:
		e.files["f/part/kustomization.yaml"] = fmt.Sprintf("apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {part: v%d}\n", e.rand.IntN(3))
		return "component"
	case 10:
		e.files["f/sub/kustomization.yaml"] = "namePrefix: " + e.pick("sub-", "other-") + "\nresources: [c0.yaml]\n"
		e.files["f/sub/c0.yaml"] = e.cluster("subbed")
		return "nested base"
	case 11:
		text := "apiVersion: v1\nkind: Secret\nmetadata: {name: shared}\nstringData: {" + e.pick("kubeconfig", "other") + ": " + fmt.Sprintf("shared-secret-%d", e.next()) + "}\n"
		e.files["f/secret.yaml"] = e.keys[e.rand.IntN(2)].Encrypt(e.t, "s.yaml", text, sealtest.Credentials)
		if !strings.Contains(e.files["f/kustomization.yaml"], "secret.yaml") {
			e.files["f/kustomization.yaml"] = strings.Replace(e.files["f/kustomization.yaml"], "[mondoo.yaml", "[secret.yaml, mondoo.yaml", 1)
		}
		return "shared Secret"
	case 12:
		e.open = [][]sealtest.Recipient{{e.keys[0]}, {e.keys[0], e.keys[1]}, {e.keys[1]}}[e.rand.IntN(3)]
		return fmt.Sprintf("%d keys", len(e.open))
	case 13:
		plain := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: m\nclusters: [{name: m, cluster: {server: 'https://x%d.example.com'}}]\ncontexts: [{name: m, context: {cluster: m, user: u}}]\nusers: [{name: u, user: {token: file-secret-%d}}]\n", e.next(), e.next())
		e.files["f/kube.config"] = e.pick(plain, e.keys[0].Encrypt(e.t, "k.yaml", plain, sealtest.Everything), e.keys[1].Encrypt(e.t, "k.yaml", plain, sealtest.Everything))
		return "kubeconfig file"
	case 14:
		e.now = e.now.Add(time.Duration(e.rand.IntN(30)) * time.Hour)
		return "time passes"
	case 15:
		e.files[e.pick("README.md", ".sops.yaml", "f/.musterignore", "f/notes.yaml")] = e.pick("creation_rules:\n- age: "+e.keys[0].Public()+"\n", "c-n1.yaml\n", "a: b\n", "# nothing\n")
		return "other files"
	default:
		e.opts.PodSecurity, e.opts.AuditConfig = e.pick("", "restricted"), e.pick("", "installed")
		e.opts.Existing = map[string]map[string]any{"installed": {"spec": map[string]any{"kubernetesResources": map[string]any{"enable": e.rand.IntN(2) == 0}}}}
		return "options"
	}
}

// hashed is a file system that tells the identity of its files and folders, as Git's does.
type hashed struct{ fstest.MapFS }

func (e *editor) fs() fs.FS {
	files := fstest.MapFS{}
	for name, text := range e.files {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if e.hash {
		return hashed{files}
	}
	return files
}

func (h hashed) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := h.MapFS.ReadDir(name)
	for i, entry := range entries {
		entries[i] = hashedEntry{entry, h.identity(strings.TrimPrefix(name+"/"+entry.Name(), "./"))}
	}
	return entries, err
}

func (h hashed) Stat(name string) (fs.FileInfo, error) {
	info, err := h.MapFS.Stat(name)
	return hashedInfo{info, h.identity(name)}, err
}

// identity is all that there is of a file or folder.
func (h hashed) identity(name string) string {
	text := ""
	for _, path := range slices.Sorted(maps.Keys(h.MapFS)) {
		if path == name || strings.HasPrefix(path, name+"/") || name == "." {
			text += fmt.Sprintf("%q %q ", path, h.MapFS[path].Data)
		}
	}
	return text
}

type hashedEntry struct {
	fs.DirEntry
	identity string
}

func (h hashedEntry) Hash() string { return h.identity }

type hashedInfo struct {
	fs.FileInfo
	identity string
}

func (h hashedInfo) Hash() string { return h.identity }

// TestRememberedIsFresh: whatever changes from one revision to the next, a pipeline that remembers the last one gives what one
// without any memory gives, and its redactor knows every secret of the present, and none of the past.
func TestRememberedIsFresh(t *testing.T) {
	const steps = 30
	seeds := uint64(10)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			e := newEditor(t, seed)
			remembering, redactor := NewPipeline(), &redact.Redactor{}
			opener, opened := sealtest.Opener(t, e.open...), len(e.open)
			usable, seen := 0, map[string]bool{}
			for step := range steps {
				said := ""
				if step > 0 {
					said = e.edit()
				}
				if opened != len(e.open) || strings.HasSuffix(said, "keys") {
					opener, opened = sealtest.Opener(t, e.open...), len(e.open)
				}
				got := e.render(remembering, opener, redactor)
				fresh := &redact.Redactor{}
				want := e.render(&Pipeline{mu: &sync.Mutex{}, sealer: remembering.sealer}, opener, fresh)
				if a, b := described(t, got), described(t, want); a != b {
					t.Fatalf("step %d, %s:\nfresh:      %s\nremembered: %s", step, said, b, a)
				}
				if !got.Stopped && fleet.Quarantined(got.Clusters) < len(got.Clusters) {
					usable++
				}
				for _, s := range got.Secrets {
					for _, value := range s.Data {
						if strings.Contains(value, "secret-") && strings.Contains(redactor.String("a "+value+" b"), value) {
							t.Fatalf("step %d, %s: the redactor doesn't know Secret %s", step, said, s.Name)
						}
						seen[value] = true
					}
				}
				for value := range seen {
					if a, b := redactor.String(value), fresh.String(value); a != b {
						t.Fatalf("step %d, %s: %q is %q to the redactor, and %q to a fresh one", step, said, value, a, b)
					}
				}
			}
			if usable < steps/4 {
				t.Errorf("%d of %d steps gave a cluster", usable, steps)
			}
		})
	}
}

func (e *editor) render(p *Pipeline, opener *unseal.Opener, redactor *redact.Redactor) *fleet.Opened {
	e.t.Helper()
	sealed, err := p.Compile(e.t.Context(), Source{FS: e.fs(), Path: "f"}, e.opts, opener)
	if err != nil {
		e.t.Fatal(err)
	}
	opened, err := p.Open(e.t.Context(), sealed, opener, redactor, e.now)
	if err != nil {
		e.t.Fatal(err)
	}
	return opened
}

func described(t *testing.T, f *fleet.Opened) string {
	t.Helper()
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRememberedCases are changes by which a remembered fleet once went stale, or findings changed by chance.
func TestRememberedCases(t *testing.T) {
	key, other := sealtest.NewKey(t), sealtest.NewKey(t)
	cluster := func(spec string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: a}\nspec:\n" + spec
	}
	const config = "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: mondoo-client}\nspec: {mondooCredsSecretRef: {name: c}}\n"
	const token = "  serviceAccountAuth:\n    server: https://a.example.com\n    token: some-token-value-1\n"
	const exec = "apiVersion: v1\nkind: Config\ncurrent-context: m\nclusters: [{name: m, cluster: {server: 'https://x.example.com'}}]\n" +
		"contexts: [{name: m, context: {cluster: m, user: u}}]\nusers: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}}}]\n"
	encrypted, kubeconfig := key.Encrypt(t, "a.yaml", cluster(token), sealtest.Credentials), key.Encrypt(t, "k.yaml", exec, sealtest.Everything)
	rule := "creation_rules:\n- path_regex: ^f/\n  age: " + other.Public() + "\n"
	named := func(options string) map[string]string {
		return map[string]string{"f/config.yaml": config, "f/base/kustomization.yaml": "namePrefix: p-\nresources: [a.yaml]\n", "f/base/a.yaml": cluster("  kubeconfigSecretRef: {name: x}\n"),
			"f/kustomization.yaml": "resources: [config.yaml, base]\npatches:\n- patch: |\n    apiVersion: muster.dev/v1alpha1\n    kind: ExternalCluster\n    metadata: {name: a}\n    spec: {schedule: '@daily'}\n" + options}
	}
	patched := func(patch string) map[string]string {
		return map[string]string{"f/config.yaml": config, "f/a.yaml": cluster("  schedule: '@daily'\n"), "f/patches/p.yaml": patch,
			"f/kustomization.yaml": "resources: [config.yaml, a.yaml]\npatches:\n- path: patches/p.yaml\n"}
	}
	for _, row := range []struct {
		reason        string
		before, after map[string]string
	}{
		{"the options of a patch that names its cluster", named(""), named("  options: {allowNameChange: true}\n")},
		{"the sops block of a patch", patched(encrypted), patched(strings.Replace(encrypted, "    encrypted_regex", "    mac_only_encrypted: true\n    encrypted_regex", 1))},
		{"a .sops.yaml that moves", map[string]string{"f/config.yaml": config, "f/a.yaml": encrypted, "f/.sops.yaml": rule},
			map[string]string{"f/config.yaml": config, "f/a.yaml": encrypted, ".sops.yaml": rule}},
		{"lines above a finding about another file", map[string]string{"f/config.yaml": config, "f/k.kubeconfig": kubeconfig, "f/a.yaml": cluster("  kubeconfigFile: k.kubeconfig\n")},
			map[string]string{"f/config.yaml": config, "f/k.kubeconfig": kubeconfig, "f/a.yaml": "# one\n# two\n" + cluster("  kubeconfigFile: k.kubeconfig\n")}},
	} {
		t.Run(row.reason, func(t *testing.T) {
			e := &editor{t: t, files: row.before, opts: compile.Options{Namespace: "mondoo-operator", Policy: policy.Policy{Allow: []string{"mondooCredsSecretRef=c", "containers.workloadIdentity"}}}, now: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), hash: true}
			p, redactor, opener := NewPipeline(), &redact.Redactor{}, key.Opener(t)
			e.render(p, opener, redactor)
			e.files = row.after
			got, want := described(t, e.render(p, opener, redactor)), described(t, e.render(&Pipeline{mu: &sync.Mutex{}, sealer: p.sealer}, opener, &redact.Redactor{}))
			if got != want {
				t.Errorf("fresh: %s\nremembered: %s", want, got)
			}
		})
	}
}

// refusing is an opener that refuses once.
type refusing struct {
	*unseal.Opener
	times int
}

func (r *refusing) Open(ctx context.Context, f *load.File) (*unseal.Plain, *finding.Finding) {
	if r.times++; r.times == 1 {
		return nil, &finding.Finding{Code: unseal.CodeRefused, Severity: finding.Error, Path: f.Path, Message: "not allowed"}
	}
	return r.Opener.Open(ctx, f)
}

// TestRefusedIsAskedAgain: what a key service refuses isn't remembered, for a right may be granted without a change of anything here.
func TestRefusedIsAskedAgain(t *testing.T) {
	e := newEditor(t, 1)
	e.files = map[string]string{"f/config.yaml": e.auditConfig(), "f/s.yaml": e.keys[0].Encrypt(t, "s.yaml",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: some-secret-value}\n", sealtest.Credentials)}
	p, redactor, opener := NewPipeline(), &redact.Redactor{}, &refusing{Opener: e.keys[0].Opener(t)}
	for round := range 2 {
		sealed, err := p.Compile(t.Context(), Source{FS: e.fs(), Path: "f"}, e.opts, opener)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := p.Open(t.Context(), sealed, opener, redactor, e.now)
		if err != nil {
			t.Fatal(err)
		}
		if refused := round == 0; opened.Secrets[0].Quarantined != refused || opened.Provisional != refused || opened.Retry {
			t.Errorf("round %d: %+v, provisional %t", round, opened.Findings, opened.Provisional)
		}
	}
}

// TestStoppedOpensLeaveNothing: what a run that was interrupted has told the redactor is gone.
func TestStoppedOpensLeaveNothing(t *testing.T) {
	e := newEditor(t, 1)
	e.files = map[string]string{"f/config.yaml": e.auditConfig(), "f/s.env": e.keys[0].Encrypt(t, "s.env", "a=some-secret-value\n", sealtest.Everything),
		"f/c.yaml":             e.keys[0].Encrypt(t, "c.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: some-other-value}\n", sealtest.Credentials),
		"f/kustomization.yaml": "resources: [config.yaml, c.yaml]\nsecretGenerator: [{name: g, envs: [s.env]}]\n"}
	p, redactor, opener := NewPipeline(), &redact.Redactor{}, e.keys[0].Opener(t)
	sealed, err := p.Compile(t.Context(), Source{FS: e.fs(), Path: "f"}, e.opts, opener)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Open(ctx, sealed, opener, redactor, e.now); err == nil {
		t.Fatal("not interrupted")
	}
	if got := redactor.String("some-secret-value"); got != "some-secret-value" {
		t.Errorf("the redactor remembers: %q", got)
	}
}
