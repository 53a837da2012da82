package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

const testNamespace = "mondoo-operator"

// management is a management cluster with a repository that is planned against it.
type management struct {
	*testing.T
	plane    *server.ControlPlane
	dynamic  dynamic.Interface
	core     kubernetes.Interface
	key      *sealtest.Key
	keyFile  string
	dir      string
	as, user string // kubeconfig of whoever plans
}

func startManagement(t *testing.T) *management {
	t.Helper()
	return startManagementWith(t, server.ControlPlaneOptions{})
}

func startManagementWith(t *testing.T, options server.ControlPlaneOptions) *management {
	t.Helper()
	server.SkipShort(t)
	crd, err := os.ReadFile("../../config/crd/muster.dev_auditsyncs.yaml")
	check(t, err)
	plane, err := server.StartControlPlane(t.Context(), options)
	check(t, err)
	t.Cleanup(func() { check(t, plane.Stop()) })
	check(t, server.InstallCRDs(t.Context(), plane.Config(), server.MondooAuditConfigCRD(), crd))
	m := &management{T: t, plane: plane, key: sealtest.NewKey(t), dir: t.TempDir()}
	m.dynamic, err = dynamic.NewForConfig(plane.Config())
	check(t, err)
	m.core, err = kubernetes.NewForConfig(plane.Config())
	check(t, err)
	m.keyFile = filepath.Join(t.TempDir(), "key.txt")
	check(t, os.WriteFile(m.keyFile, []byte(m.key.Private()), 0o600))
	_, err = m.core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: testNamespace}}, metav1.CreateOptions{})
	check(t, err)
	_, err = git.PlainInit(m.dir, false)
	check(t, err)
	m.login("planner")
	return m
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// login makes a user, who may do nothing yet, the one that plans.
func (m *management) login(user string) {
	m.Helper()
	cfg, err := m.plane.User(user)
	check(m.T, err)
	m.user, m.as = user, filepath.Join(m.TempDir(), "kubeconfig")
	check(m.T, os.WriteFile(m.as, server.KubeconfigFor(cfg), 0o600))
}

// grant gives the user the rights that the help text names.
func (m *management) grant(rules ...rbacv1.PolicyRule) {
	m.Helper()
	meta := metav1.ObjectMeta{Name: m.user, Namespace: testNamespace}
	_, err := m.core.RbacV1().Roles(testNamespace).Create(m.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	check(m.T, err)
	_, err = m.core.RbacV1().RoleBindings(testNamespace).Create(m.Context(), &rbacv1.RoleBinding{ObjectMeta: meta,
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: m.user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: m.user}}}, metav1.CreateOptions{})
	check(m.T, err)
	check(m.T, m.plane.AwaitRules(m.Context(), m.user, testNamespace, rules, true))
}

func readOnly(verbOfSecrets ...string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{"k8s.mondoo.com"}, Resources: []string{"mondooauditconfigs"}, Verbs: []string{"list"}},
		{APIGroups: []string{"muster.dev"}, Resources: []string{"auditsyncs"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: verbOfSecrets},
	}
}

func (m *management) apply(resource schema.GroupVersionResource, manager string, object map[string]any) {
	m.Helper()
	data, err := json.Marshal(object)
	check(m.T, err)
	u := &unstructured.Unstructured{}
	check(m.T, u.UnmarshalJSON(data))
	force := true
	_, err = m.dynamic.Resource(resource).Namespace(testNamespace).Patch(m.Context(), u.GetName(), types.ApplyPatchType, data,
		metav1.PatchOptions{FieldManager: manager, Force: &force})
	check(m.T, err)
}

func (m *management) write(name, text string) {
	m.Helper()
	check(m.T, os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600))
}

func (m *management) encrypted(name, text string) {
	m.Helper()
	m.write(name, m.key.Encrypt(m.T, name, text, sealtest.Credentials))
}

func (m *management) remove(name string) {
	m.Helper()
	check(m.T, os.Remove(filepath.Join(m.dir, name)))
}

func (m *management) commit() string {
	m.Helper()
	repo, err := git.PlainOpen(m.dir)
	check(m.T, err)
	tree, err := repo.Worktree()
	check(m.T, err)
	check(m.T, tree.AddWithOptions(&git.AddOptions{All: true}))
	hash, err := tree.Commit("test", &git.CommitOptions{Author: &object.Signature{Name: "Test", When: time.Unix(1, 0)}})
	check(m.T, err)
	return hash.String()
}

// plan runs muster plan, which must end with the status, show no secret and write nothing.
func (m *management) plan(want int, flags ...string) (stdout, stderr string) {
	m.Helper()
	mark, err := m.plane.Mark()
	check(m.T, err)
	var out, errs bytes.Buffer
	args := append([]string{"plan", m.dir, "--kubeconfig", m.as, "--sops-key", m.keyFile}, flags...)
	none := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] }
	if got := run(m.Context(), args, strings.NewReader(""), &out, &errs, none); got != want {
		m.Errorf("muster plan %s ends with %d, want %d", strings.Join(flags, " "), got, want)
	}
	if leak(out.String()+errs.String()) != "" {
		m.Errorf("muster plan shows a secret:\n%s%s", out.String(), errs.String())
	}
	requests, err := m.plane.Requests(m.Context(), mark, m.user)
	check(m.T, err)
	for _, r := range requests {
		if r.Verb != "get" && r.Verb != "list" {
			m.Errorf("muster plan has made the request %s", r)
		}
	}
	return out.String(), errs.String()
}

// hashes are those in the names of Secrets.
var hashes = regexp.MustCompile(`-[0-9a-f]{16}\b`)

// wantPlan compares a plan, line by line and without regard to columns.
func (m *management) wantPlan(got string, want ...string) {
	m.Helper()
	var lines []string
	for line := range strings.Lines(got) {
		if fields := strings.Join(strings.Fields(line), " "); fields != "" {
			lines = append(lines, fields)
		}
	}
	if hashes.ReplaceAllString(strings.Join(lines, "\n"), "-HASH") != strings.Join(want, "\n") {
		m.Errorf("the plan is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// sync does what the controller does with the present commit: it carries out the plan and writes its inventories.
func (m *management) sync(name string) {
	m.Helper()
	t, err := locate(m.Context(), m.dir)
	check(m.T, err)
	defer t.close()
	ring := &keys.Ring{}
	check(m.T, ring.AddAge("test", m.key.Private()))
	s := &shell{env: func(string) string { return "" }, redactor: &redact.Redactor{}}
	admin := kubeFlags{kubeconfig: m.plane.KubeconfigPath()}
	c, err := admin.connect(s, testNamespace)
	check(m.T, err)
	f := &folder{shell: s, target: t, cluster: c, ring: ring,
		opts: compile.Options{Namespace: testNamespace, AuditConfig: "mondoo-client", Sync: name}}
	done, err := f.plan(m.Context())
	check(m.T, err)
	for _, object := range objects(done.Plan, s.valuesFor(true)) {
		resource := auditConfigs
		if object["kind"] == "Secret" {
			resource = corev1.SchemeGroupVersion.WithResource("secrets")
		}
		m.apply(resource, "muster", object)
	}
	for _, inv := range done.After {
		data, err := inv.Encode()
		check(m.T, err)
		m.apply(corev1.SchemeGroupVersion.WithResource("configmaps"), "muster", map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
			"metadata":   map[string]any{"name": inventory.ConfigMapName(name, inv.AuditConfig), "labels": map[string]any{inventory.Label: "true"}},
			"binaryData": map[string]any{inventory.DataKey: data}})
	}
}

func (m *management) auditSync(name string, annotations, prune map[string]any) {
	m.Helper()
	m.apply(auditSyncs, "somebody", map[string]any{"apiVersion": "muster.dev/v1alpha1", "kind": "AuditSync",
		"metadata": map[string]any{"name": name, "annotations": annotations},
		"spec":     map[string]any{"source": map[string]any{"url": "https://git.example.com/fleet.git"}, "auditConfig": "mondoo-client", "prune": prune}})
}

func (m *management) entries(ctx context.Context) []any {
	m.Helper()
	live, err := m.dynamic.Resource(auditConfigs).Namespace(testNamespace).Get(ctx, "mondoo-client", metav1.GetOptions{})
	check(m.T, err)
	list, _, err := unstructured.NestedSlice(live.Object, "spec", "kubernetesResources", "externalClusters")
	check(m.T, err)
	return list
}

// TestPlan follows a fleet through its life, against a real API server.
func TestPlan(t *testing.T) {
	m := startManagement(t)
	m.encrypted("a.yaml", clusterFile("a", "  kubeconfig: |\n"+indent(kubeconfig("first"), "    ")))
	for _, name := range []string{"b", "c", "d"} {
		m.write(name+".yaml", clusterFile(name, "  kubeconfigSecretRef: {name: manual}\n"))
	}
	m.commit()

	// Whoever may do nothing learns which right is missing.
	out, errs := m.plan(exitFailure)
	if out != "" || !strings.Contains(errs, "muster: list MondooAuditConfigs: ") || !strings.HasSuffix(errs, "this needs permission to list MondooAuditConfigs\n") {
		t.Errorf("without rights: %s%s", out, errs)
	}
	m.grant(readOnly("get")...)

	// An audit config that is nowhere is an error, with the way out.
	if _, errs = m.plan(exitFindings); !strings.Contains(errs, "[audit-config-missing]") {
		t.Errorf("without audit config: %s", errs)
	}
	m.apply(auditConfigs, "somebody", map[string]any{"apiVersion": "k8s.mondoo.com/v1alpha2", "kind": "MondooAuditConfig", "metadata": map[string]any{"name": "mondoo-client"},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}}})

	out, errs = m.plan(exitOK)
	m.wantPlan(out,
		"+ Secret mondoo-client-a-kubeconfig-HASH a.yaml",
		"+ cluster a (mondoo-client) a.yaml",
		"+ cluster b (mondoo-client) b.yaml",
		"+ cluster c (mondoo-client) c.yaml",
		"+ cluster d (mondoo-client) d.yaml",
		"5 to add, 0 to change, 0 to remove, 0 held; 0 quarantined")
	if errs != "" {
		t.Errorf("findings: %s", errs)
	}
	m.plan(exitChanges, "--detailed-exitcode")

	// Once it is applied there is nothing to do. The AuditSync is found by its inventory.
	m.sync("production")
	if got := len(m.entries(t.Context())); got != 4 {
		t.Fatalf("%d entries are live, want 4", got)
	}
	out, _ = m.plan(exitOK, "--detailed-exitcode")
	m.wantPlan(out, "No changes. 0 to add, 0 to change, 0 to remove, 0 held; 0 quarantined")
	m.plan(exitOK, "--detailed-exitcode", "--sync", "production")

	// A new credential, another schedule, a renamed file, a bad file, and two removals, which exceed a quarter.
	m.encrypted("a.yaml", clusterFile("a", "  kubeconfig: |\n"+indent(kubeconfig("second"), "    ")))
	m.remove("b.yaml")
	m.write("b2.yaml", clusterFile("b", "  kubeconfigSecretRef: {name: manual}\n"))
	m.remove("c.yaml")
	m.remove("d.yaml")
	m.write("bad.yaml", clusterFile("bad", "  kubeconfig: "+canary+"-plain\n"))
	revision := m.commit()
	changed := []string{
		"~ Secret mondoo-client-a-kubeconfig-HASH a.yaml",
		"data.kubeconfig: changed",
		"> cluster b (mondoo-client) b2.yaml was b.yaml"}
	out, errs = m.plan(exitFindings)
	m.wantPlan(out, append(changed,
		"! cluster c (mondoo-client) c.yaml held: over the removal budget",
		"! cluster d (mondoo-client) d.yaml held: over the removal budget",
		"0 to add, 1 to change, 0 to remove, 2 held, 1 moved; 1 quarantined")...)
	approval := regexp.MustCompile(inventory.ApproveAnnotation + "=(" + revision + "-[0-9a-f]{16}) ").FindStringSubmatch(errs)
	if approval == nil || !strings.Contains(errs, "[plain-credential]") {
		t.Errorf("findings: %s", errs)
	}

	// The policy is that of the AuditSync, and so is the approval, which is for these removals of this commit alone.
	m.auditSync("production", nil, map[string]any{"enabled": false})
	out, _ = m.plan(exitFindings)
	if !strings.Contains(out, "held: pruning is off") {
		t.Errorf("prune.enabled: false has no effect:\n%s", out)
	}
	for _, nearly := range []string{revision, approval[1] + "0", "HEAD" + strings.TrimPrefix(approval[1], revision)} {
		m.auditSync("production", map[string]any{inventory.ApproveAnnotation: nearly}, map[string]any{"enabled": true})
		if out, _ = m.plan(exitFindings); !strings.Contains(out, "2 held") {
			t.Errorf("%s is an approval:\n%s", nearly, out)
		}
	}
	m.auditSync("production", map[string]any{inventory.ApproveAnnotation: approval[1]}, map[string]any{"enabled": true})
	out, _ = m.plan(exitFindings)
	m.wantPlan(out, append(changed,
		"- cluster c (mondoo-client) c.yaml",
		"- cluster d (mondoo-client) d.yaml",
		"0 to add, 1 to change, 2 to remove, 0 held, 1 moved; 1 quarantined")...)
	m.remove("bad.yaml")
	if out, _ = m.plan(exitOK); !strings.Contains(out, "2 held") {
		t.Errorf("the approval counts for a work tree with changes:\n%s", out)
	}

	// Somebody else's change is drift, and somebody else's entry stays.
	entries := m.entries(t.Context())
	entries[1].(map[string]any)["schedule"] = "1 1 1 1 1"
	entries = append(entries, map[string]any{"name": "foreign", "kubeconfigSecretRef": map[string]any{"name": "manual"}})
	m.apply(auditConfigs, "somebody", map[string]any{"apiVersion": "k8s.mondoo.com/v1alpha2", "kind": "MondooAuditConfig", "metadata": map[string]any{"name": "mondoo-client"},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}, "kubernetesResources": map[string]any{"externalClusters": entries}}})
	out, errs = m.plan(exitChanges, "--detailed-exitcode")
	if !strings.Contains(out, "drift: schedule changed by somebody less than a minute ago (20") || !strings.Contains(out, "schedule: 1 1 1 1 1 → 9 * * * *") || !strings.Contains(errs, "foreign") {
		t.Errorf("drift is not shown:\n%s%s", out, errs)
	}

	m.json("production")
	if out, _ = m.plan(exitOK, "-o", "json"); !strings.Contains(out, `"manager": "somebody"`) || !strings.Contains(out, `"operation": "Apply"`) {
		t.Errorf("the document doesn't say who has changed what: %s", out)
	}

	// With the right to list Secrets the plan is the same.
	ages := regexp.MustCompile(`less than a minute ago|\d+ minutes? ago`)
	want, _ := m.plan(exitOK)
	m.login("lister")
	m.grant(readOnly("get", "list")...)
	if out, _ = m.plan(exitOK); ages.ReplaceAllString(out, "AGE") != ages.ReplaceAllString(want, "AGE") {
		t.Errorf("with list: %s\nwithout: %s", out, want)
	}

	// Two AuditSyncs for one audit config leave the choice to the user.
	m.apply(corev1.SchemeGroupVersion.WithResource("configmaps"), "muster", map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata":   map[string]any{"name": "second", "labels": map[string]any{inventory.Label: "true"}},
		"binaryData": map[string]any{inventory.DataKey: encoded(t, &inventory.Inventory{Sync: "second", AuditConfig: "mondoo-client"})}})
	if _, errs = m.plan(exitFailure); !strings.Contains(errs, "production, second") || !strings.Contains(errs, "--sync") {
		t.Errorf("two owners: %s", errs)
	}
	m.plan(exitOK, "--sync", "production")
}

func encoded(t *testing.T, i *inventory.Inventory) []byte {
	t.Helper()
	data, err := i.Encode()
	check(t, err)
	return data
}

// json checks that the document for programs says what the text says.
func (m *management) json(sync string) {
	m.Helper()
	out, _ := m.plan(exitOK, "-o", "json")
	var document struct {
		Namespace, Sync string
		Summary         totals
		Steps           []plan.Step
	}
	if err := json.Unmarshal([]byte(out), &document); err != nil {
		m.Fatalf("%v in %s", err, out)
	}
	if document.Namespace != testNamespace || document.Sync != sync || len(document.Steps) != document.Summary.Add+document.Summary.Change+
		document.Summary.Move+document.Summary.Remove+document.Summary.Held {
		m.Errorf("the document is inconsistent: %s", out)
	}
}

func TestWhoAndWhen(t *testing.T) {
	now := time.Date(2026, time.November, 23, 3, 52, 0, 0, time.UTC)
	for _, test := range []struct {
		past time.Duration
		want string
	}{
		{-time.Minute, "somebody less than a minute ago (2026-11-23T03:53:00Z)"}, // its clock is ahead
		{59 * time.Second, "somebody less than a minute ago (2026-11-23T03:51:01Z)"},
		{time.Minute, "somebody 1 minute ago (2026-11-23T03:51:00Z)"},
		{2*time.Minute + 59*time.Second, "somebody 2 minutes ago (2026-11-23T03:49:01Z)"},
		{90 * time.Minute, "somebody 1 hour ago (2026-11-23T02:22:00Z)"},
		{50 * time.Hour, "somebody 2 days ago (2026-11-21T01:52:00Z)"},
	} {
		if got := whoAndWhen(plan.Author{Manager: "somebody", Time: now.Add(-test.past)}, now); got != test.want {
			t.Errorf("%s: %s, want %s", test.past, got, test.want)
		}
	}
	if got := whoAndWhen(plan.Author{Manager: "a b"}, now); got != `"a b"` {
		t.Errorf("without a time: %s", got)
	}
}
