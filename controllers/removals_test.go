package controllers_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// verdict is what a status says in one line, without what differs between runs.
func verdict(s *v1alpha1.AuditSync, commit string) string {
	var lines []string
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling} {
		if c := condition(s.Status, kind); c.Type != "" {
			message := regexp.MustCompile(commit+"-[0-9a-f]{16}").ReplaceAllString(c.Message, "COMMIT-DIGEST")
			lines = append(lines, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, message))
		}
	}
	if len(lines) == 2 {
		// Stalled and Reconciling repeat what Ready says.
		return lines[0] + " (" + strings.Split(lines[1], "=")[0] + ")"
	}
	return strings.Join(lines, "\n")
}

// TestNothingIsRemovedByAccident pushes commits which, taken at their word, would remove most or all clusters, or one cluster or the values of
// a Secret without a word.
func TestNothingIsRemovedByAccident(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{
		"base/mondoo-client.yaml":     auditConfigFile,
		"base/kustomization.yaml":     "resources: [mondoo-client.yaml]\n",
		"clusters/kustomization.yaml": kustomized(""),
		"clusters/secret.yaml":        w.key.Encrypt(t, "secret.yaml", secretFile("stringData: {password: CANARY-password}\n"), sealtest.Credentials),
		"clusters/generated.env":      w.key.Encrypt(t, "generated.env", "password=CANARY-generated\n", sealtest.Everything),
	}
	for i := range 10 {
		files[pathOf(i)] = w.tokenCluster(nameOf(i), "")
	}
	files["clusters/eu/c.yaml"] = w.tokenCluster("eu", "")
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(w.push(files))
	secrets, config := w.secrets(), toJSON(t, w.auditConfig("mondoo-client"))
	if len(secrets) != 13 {
		t.Fatalf("Secrets %v", secrets)
	}
	for _, test := range []struct {
		reason string
		push   func() string
		want   string
	}{
		{"a commit without files", func() string {
			w.git("rm", "-rqf", ".")
			return w.push(nil)
		}, `Ready=False PathInvalid: load clusters: no such folder in this revision; the applied objects are left unchanged (Stalled)`},
		{"the path is renamed", func() string {
			w.git("mv", "clusters", "fleet")
			return w.push(nil)
		}, `Ready=False PathInvalid: load clusters: no such folder in this revision; the applied objects are left unchanged (Stalled)`},
		{"the files are gone, and a file keeps the folder", func() string {
			w.git("rm", "-rqf", "clusters")
			return w.push(map[string]string{"clusters/README.md": "moved"})
		}, `Ready=False Stopped: nothing was applied: clusters: error: the path has no YAML files; check spec.path; an empty path never means "remove everything" [empty] (Stalled)`},
		{"the base is deleted", func() string { return w.push(nil, "base") },
			`Ready=False Stopped: nothing was applied: clusters/kustomization.yaml:1:13: error: base: no such file; remove this line too, or restore the file [not-found] (Stalled)`},
		{"the base is emptied", func() string {
			return w.push(map[string]string{"base/kustomization.yaml": "resources: []\n"}, "base/mondoo-client.yaml")
		}, `Ready=False Quarantined: 11 of 11 clusters can't be used and are left unchanged: clusters/c0000.yaml:5:1: error: cluster c0000: there is no MondooAuditConfig for the cluster; add one to the repository, or name an existing one in spec.auditConfig of the AuditSync [audit-config] (Stalled)`},
		{"nothing in the kustomization, and no other file", func() string {
			w.git("rm", "-rqf", "clusters", "base")
			return w.push(map[string]string{"clusters/kustomization.yaml": "resources: []\n"})
		}, `Ready=False Stopped: nothing was applied: clusters: error: the path has no cluster file, MondooAuditConfig or Secret; check spec.path; an empty path never means "remove everything" [empty] (Stalled)`},
		{"six of ten files are deleted", func() string { return w.push(nil, paths(0, 6)...) },
			`Ready=False RemovalsHeld: 6 removals wait for approval: they exceed maxRemovals 25%: cluster c0000, cluster c0001, cluster c0002, cluster c0003, cluster c0004, cluster c0005; approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"all files but the audit config are deleted", func() string { return w.push(nil, paths(0, 10)...) },
			`Ready=False RemovalsHeld: 10 removals wait for approval: they exceed maxRemovals 25%: cluster c0000, cluster c0001, cluster c0002, cluster c0003, cluster c0004, cluster c0005, cluster c0006, cluster c0007, cluster c0008, cluster c0009; approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"a file has a name that isn't text", func() string {
			w.git("mv", pathOf(0), "clusters/c\xff.yaml")
			return w.push(nil)
		}, `Ready=False Quarantined: some files can't be used, and their objects are left unchanged: clusters/c\xff.yaml: error: the name can't be read: it is not UTF-8, has a backslash, or is a duplicate; rename it [file-name] (Stalled)`},
		{"a file has a name with a backslash", func() string {
			w.git("mv", pathOf(0), `clusters/c\c.yaml`)
			return w.push(nil)
		}, `Ready=False Quarantined: some files can't be used, and their objects are left unchanged: clusters/c\\c.yaml: error: the name can't be read: it is not UTF-8, has a backslash, or is a duplicate; rename it [file-name] (Stalled)`},
		{"a patch writes over annotations, beside originAnnotations", func() string {
			return w.push(map[string]string{"clusters/kustomization.yaml": kustomized("buildMetadata: [originAnnotations]\npatches:\n- target: {kind: ExternalCluster}\n  patch: |\n    - {op: add, path: /metadata/annotations, value: {team: x}}\n")})
		}, `Ready=True Succeeded: 11 clusters applied at main@sha1:COMMIT`},
		{"the first document of the kustomization is empty", func() string {
			return w.push(map[string]string{"clusters/kustomization.yaml": "# nothing\n---\n---\n" + kustomized("")})
		}, `Ready=False Stopped: nothing was applied: clusters/kustomization.yaml:1:1: error: the first document is empty, and kustomize reads no others; remove the empty document and its "---" [kustomization] (Stalled)`},
		{"the base is of a kind that isn't known", func() string {
			return w.push(map[string]string{"base/kustomization.yaml": "kind: Kustomisation\nresources: [mondoo-client.yaml]\n"})
		}, `Ready=False Stopped: nothing was applied: base/kustomization.yaml:1:1: error: kustomize refuses this kustomization: kind should be Kustomization or Component; correct kind and apiVersion, or remove both [kustomization] (Stalled)`},
		{"a component is listed as a base", func() string {
			return w.push(map[string]string{"base/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [mondoo-client.yaml]\n"})
		}, `Ready=False Stopped: nothing was applied: clusters/kustomization.yaml:1:13: error: base is a component; list it under components [kustomization] (Stalled)`},
		{"a Secret's keys are numbers", func() string {
			return w.push(map[string]string{"clusters/secret.yaml": strings.Replace(w.key.Encrypt(t, "secret.yaml", secretFile("stringData: {'8443': CANARY-port}\n"), sealtest.Credentials), `"8443"`, "8443", 1)})
		}, `Ready=False Quarantined: some files can't be used, and their objects are left unchanged: clusters/secret.yaml:5:1: error: stringData has a key that YAML reads as a number, a date, true, false or null instead of text; quote the key; for a generator, use another key [wrong-type] (Stalled)`},
		{"a Secret's block is misspelt", func() string {
			return w.push(map[string]string{"clusters/secret.yaml": w.key.Encrypt(t, "secret.yaml", secretFile("stringdata: {password: CANARY-port}\n"), sealtest.Rule{EncryptedRegex: "^stringdata$"})})
		}, `Ready=False Quarantined: some files can't be used, and their objects are left unchanged: clusters/secret.yaml:5:1: error: unknown field stringdata in a Secret; did you mean stringData? [unknown-field] (Stalled)`},
		{"a Secret's block is text", func() string {
			return w.push(map[string]string{"clusters/secret.yaml": w.key.Encrypt(t, "secret.yaml", secretFile("stringData: CANARY-text\n"), sealtest.Credentials)})
		}, `Ready=False Quarantined: some files can't be used, and their objects are left unchanged: clusters/secret.yaml:5:1: error: stringData must be a mapping, but is text; write a mapping [wrong-type] (Stalled)`},
		{"a Secret's block is gone", func() string {
			return w.push(map[string]string{"clusters/secret.yaml": secretFile("")})
		}, `Ready=False Refused: clusters/secret.yaml:4:3: error: the Secret fleet-secret has values, but its manifest no longer has any; add a value to the manifest, or delete the manifest to remove the Secret [secret-emptied] (Stalled)`},
		{"a generator's file has a number for a key", func() string {
			return w.push(map[string]string{"clusters/generated.env": w.key.Encrypt(t, "generated.env", "8443=CANARY-port\n", sealtest.Everything)})
		}, `Ready=False Quarantined: some files can't be used, and their objects are left unchanged: clusters/kustomization.yaml:3:1: error: data has a key that YAML reads as a number, a date, true, false or null instead of text; quote the key; for a generator, use another key [wrong-type] (Stalled)`},
		{"a generator's file is empty", func() string {
			return w.push(map[string]string{"clusters/generated.env": ""})
		}, `Ready=False Refused: clusters/kustomization.yaml:1:1: error: the Secret generated has values, but its manifest no longer has any; add a value to the manifest, or delete the manifest to remove the Secret [secret-emptied] (Stalled)`},
		{"a file is empty", func() string { return w.push(map[string]string{pathOf(0): ""}) }, `Ready=False RemovalsHeld: 1 removals wait: their files exist, but no longer contain them: cluster c0000; correct or delete the files, or approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"a file holds a comment alone", func() string { return w.push(map[string]string{pathOf(0): "# to be done\n"}) }, `Ready=False RemovalsHeld: 1 removals wait: their files exist, but no longer contain them: cluster c0000; correct or delete the files, or approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"a file is a pointer of Git LFS", func() string {
			return w.push(map[string]string{pathOf(0): "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"})
		}, `Ready=False RemovalsHeld: 1 removals wait: their files exist, but no longer contain them: cluster c0000; correct or delete the files, or approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"a file holds a merge conflict", func() string {
			return w.push(map[string]string{pathOf(0): "<<<<<<< HEAD\n" + files[pathOf(0)] + "=======\n>>>>>>> other\n"})
		}, `Ready=False Quarantined: 1 of 11 clusters can't be used and is left unchanged: clusters/c0000.yaml:2:1: error: not valid YAML: mapping values are not allowed in this context; fix it, delete it to remove its cluster, or list it in .musterignore [yaml] (Stalled)`},
		{"a file's kind is misspelt", func() string {
			return w.push(map[string]string{pathOf(0): strings.Replace(files[pathOf(0)], "kind: ExternalCluster", "kind: externalCluster", 1)})
		}, `Ready=False Quarantined: 1 of 11 clusters can't be used and is left unchanged: clusters/c0000.yaml:1:1: error: this is not a cluster file: its apiVersion must be muster.dev/v1alpha1 or another version of it, and its kind ExternalCluster; fix it, delete it to remove its cluster, or list it in .musterignore [not-an-object] (Stalled)`},
		{"a file's group is misspelt", func() string {
			return w.push(map[string]string{pathOf(0): strings.Replace(files[pathOf(0)], "muster.dev/v1alpha1", "muster.dve/v1alpha1", 1)})
		}, `Ready=False Quarantined: 1 of 11 clusters can't be used and is left unchanged: clusters/c0000.yaml:1:1: error: this is not a cluster file: its apiVersion must be muster.dev/v1alpha1 or another version of it, and its kind ExternalCluster; fix it, delete it to remove its cluster, or list it in .musterignore [not-an-object] (Stalled)`},
		{"a file's kind is another", func() string {
			return w.push(map[string]string{pathOf(0): strings.Replace(files[pathOf(0)], "kind: ExternalCluster", "kind: ExternalClusters", 1)})
		}, `Ready=False Quarantined: 1 of 11 clusters can't be used and is left unchanged: clusters/c0000.yaml:1:1: error: its kind is not ExternalCluster; fix it, delete it to remove its cluster, or list it in .musterignore [not-an-object] (Stalled)`},
		{"a file is a link", func() string {
			w.git("mv", pathOf(0), "x.yaml")
			must(t, os.Symlink("../x.yaml", filepath.Join(w.work, pathOf(0))))
			return w.push(nil)
		}, `Ready=False Quarantined: 1 of 11 clusters can't be used and is left unchanged: clusters/c0000.yaml: error: this is a symbolic link, which Muster does not follow; replace the link with the file, or list it in .musterignore [symlink] (Stalled)`},
		{"a file has an ending that isn't taken", func() string {
			w.git("mv", pathOf(0), "clusters/c0000.YAML")
			return w.push(nil)
		}, `Ready=False RemovalsHeld: 1 removals wait: their files exist, but no longer contain them: cluster c0000; correct or delete the files, or approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"a file is encrypted as a whole", func() string {
			return w.push(map[string]string{pathOf(0): w.key.Encrypt(t, "c.bin", files[pathOf(0)], sealtest.Everything)})
		}, `Ready=False RemovalsHeld: 1 removals wait: their files exist, but no longer contain them: cluster c0000; correct or delete the files, or approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"a kustomization takes a folder over", func() string {
			return w.push(map[string]string{"clusters/eu/kustomization.yaml": "resources: []\n"})
		}, `Ready=False RemovalsHeld: 1 removals wait: their files exist, but no longer contain them: cluster eu; correct or delete the files, or approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"a folder is a submodule", func() string {
			w.git("rm", "-rqf", "clusters/eu")
			w.git("update-index", "--add", "--cacheinfo", "160000,0123456789012345678901234567890123456789,clusters/eu")
			w.git("commit", "-q", "-m", "change")
			w.git("push", "-q", "--force", "origin", "HEAD:main")
			return w.git("rev-parse", "HEAD")
		}, `Ready=False Quarantined: some files can't be used, and their objects are left unchanged: clusters/eu: error: this is a Git submodule, or another repository in the work tree; Muster reads one repository only; commit the files themselves, or list the folder in .musterignore if it has nothing for Muster [submodule] (Stalled)`},
		{"everything is ignored", func() string { return w.push(map[string]string{"clusters/.musterignore": "*\n"}) }, `Ready=False RemovalsHeld: 11 removals wait for approval: they exceed maxRemovals 25%: cluster c0000, cluster c0001, cluster c0002, cluster c0003, cluster c0004, cluster c0005, cluster c0006, cluster c0007, cluster c0008, cluster c0009 and 1 more; approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
		{"the encoding is another", func() string {
			return w.push(map[string]string{pathOf(0): "\xff\xfe" + strings.Join(strings.Split(files[pathOf(0)], ""), "\x00")})
		}, `Ready=False RemovalsHeld: 1 removals wait: their files exist, but no longer contain them: cluster c0000; correct or delete the files, or approve exactly these removals with the annotation muster.dev/approve-removals=COMMIT-DIGEST (Stalled)`},
	} {
		t.Run(test.reason, func(t *testing.T) {
			commit := test.push()
			if got := strings.ReplaceAll(verdict(w.request(), commit), commit, "COMMIT"); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if strings.HasPrefix(test.want, "Ready=True") { // it is applied, and nothing goes
				if got := slices.Sorted(maps.Keys(w.secrets())); !slices.Equal(got, slices.Sorted(maps.Keys(secrets))) || len(w.names("mondoo-client")) != 11 {
					t.Errorf("Secrets %v, entries %v", got, w.names("mondoo-client"))
				}
			} else if got := w.secrets(); !maps.Equal(got, secrets) {
				t.Errorf("Secrets %v", got)
			} else if got := toJSON(t, w.auditConfig("mondoo-client")); got != config {
				t.Errorf("the audit config has changed: %s", got)
			}
			w.git("rm", "-rqf", "--ignore-unmatch", ".")
			w.untilAfterRequest(w.push(files))
			secrets, config = w.secrets(), toJSON(t, w.auditConfig("mondoo-client"))
		})
	}
}

// TestRemovalByPatch: a cluster that a patch deletes is removed as one whose file is deleted, and not held for ever because the file is there.
func TestRemovalByPatch(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range 4 {
		files[pathOf(i)] = w.tokenCluster(nameOf(i), "")
	}
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(w.push(files))
	commit := w.push(map[string]string{"clusters/kustomization.yaml": "resources: [mondoo-client.yaml]\npatches:\n- target: {kind: ExternalCluster, name: " + nameOf(0) + "}\n" +
		"  patch: |\n    $patch: delete\n    apiVersion: muster.dev/v1alpha1\n    kind: ExternalCluster\n    metadata: {name: " + nameOf(0) + "}\n"})
	w.request()
	w.untilReady(commit)
	if got := w.names("mondoo-client"); !slices.Equal(got, []string{nameOf(1), nameOf(2), nameOf(3)}) {
		t.Errorf("entries %v", got)
	}
	if got := w.secrets(); len(got) != 3 {
		t.Errorf("Secrets %v", got)
	}
}

// kustomized is the kustomization of the path, with more.
func kustomized(more string) string {
	return "resources: [../base, secret.yaml]\ngeneratorOptions: {disableNameSuffixHash: true}\nsecretGenerator: [{name: generated, envs: [generated.env]}]\n" + more
}

// secretFile is a Secret manifest.
func secretFile(block string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: fleet-secret\n" + block
}

func paths(from, to int) []string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, pathOf(i))
	}
	return list
}

// TestApprovalIsForOneRevision deletes most files, then more, and approves what was seen before.
func TestApprovalIsForOneRevision(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range 10 {
		files[pathOf(i)] = w.tokenCluster(nameOf(i), "")
	}
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(w.push(files))
	held := func(commit string, n int) (approval string) {
		t.Helper()
		status := w.request().Status
		ready := condition(status, v1alpha1.ConditionReady)
		if ready.Reason != "RemovalsHeld" || int(status.Clusters.Held) != n {
			t.Errorf("%d held, want %d; %s", status.Clusters.Held, n, ready.Message)
		}
		if got := w.names("mondoo-client"); len(got) != 10 {
			t.Errorf("entries %v", got)
		}
		return approvalIn(t, ready.Message, commit)
	}
	approve := func(commit string) {
		w.changeSync(func(s *v1alpha1.AuditSync) {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, inventory.ApproveAnnotation, commit)
		})
	}
	first := held(w.push(nil, paths(0, 6)...), 6)
	second := w.push(nil, paths(6, 8)...)
	approval := held(second, 8)
	for _, nearly := range []string{first, second, second + first[len(second):], approval[:len(approval)-1], "main@sha1:" + approval, strings.ToUpper(approval), "*", ""} {
		approve(nearly)
		if again := held(second, 8); again != approval {
			t.Errorf("%s is to be approved, and was %s", again, approval)
		}
	}
	approve(approval)
	w.untilReady(second)
	if got := w.names("mondoo-client"); !slices.Equal(got, []string{nameOf(8), nameOf(9)}) {
		t.Errorf("entries %v", got)
	}
	// The approval of the past is none of the next commit's.
	w.untilAfterRequest(w.push(files))
	third := w.push(nil, paths(0, 6)...)
	held(third, 6)
	if got := w.secrets(); len(got) != 10 {
		t.Errorf("Secrets %v", got)
	}
}

// approvalIn is the value that a status gives to approve what is held of a commit.
func approvalIn(t *testing.T, message, commit string) string {
	t.Helper()
	_, value, _ := strings.Cut(message, inventory.ApproveAnnotation+"=")
	value, _, _ = strings.Cut(value, "; ") // what is said of an approval that doesn't match
	if !regexp.MustCompile("^" + commit + "-[0-9a-f]{16}$").MatchString(value) {
		t.Fatalf("the message does not say how to approve what is held of %s: %s", commit, message)
	}
	return value
}

// TestApprovalIsForOneSpec approves the removals of a commit, and then has the AuditSync make something else of the same commit: what it
// no longer renders then, nobody has seen.
func TestApprovalIsForOneSpec(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "other/mondoo-client.yaml": auditConfigFile, "other/x.yaml": w.tokenCluster("x", "")}
	for i := range 10 {
		files[pathOf(i)] = w.tokenCluster(nameOf(i), "")
	}
	w.startController(nil)
	w.createSync(nil)
	w.untilReady(w.push(files))
	commit := w.push(nil, paths(0, 6)...)
	approval := approvalIn(t, condition(w.request().Status, v1alpha1.ConditionReady).Message, commit)
	w.changeSync(func(s *v1alpha1.AuditSync) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, inventory.ApproveAnnotation, approval)
	})
	w.untilReady(commit)
	left := []string{nameOf(6), nameOf(7), nameOf(8), nameOf(9)}
	if got := w.names("mondoo-client"); !slices.Equal(got, left) {
		t.Errorf("entries %v", got)
	}
	w.changeSync(func(s *v1alpha1.AuditSync) { s.Spec.Path = "other" })
	status := w.request().Status
	if got := w.names("mondoo-client"); !slices.Equal(got, append(left, "x")) || status.Clusters.Held != 4 {
		t.Errorf("entries %v, held %d", got, status.Clusters.Held)
	}
	if again := approvalIn(t, condition(status, v1alpha1.ConditionReady).Message, commit); again == approval {
		t.Error("what is held now is asked for with what was approved before")
	}
}

// TestAuditConfigIsDeleted deletes the file of an audit config while the AuditSync names another one, which the clusters are in then.
func TestAuditConfigIsDeleted(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range 3 {
		files[pathOf(i)] = w.tokenCluster(nameOf(i), "  auditConfig: mondoo-client\n")
	}
	w.startController(nil)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.AuditConfig = "second" })
	second := &unstructured.Unstructured{Object: map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "spec": map[string]any{
		"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}}}}
	second.SetNamespace(w.namespace)
	second.SetName("second")
	must(t, w.admin.Create(t.Context(), second))
	w.untilReady(w.push(files))
	for i := range 3 {
		files[pathOf(i)] = w.tokenCluster(nameOf(i), "")
	}
	commit := w.push(files, "clusters/mondoo-client.yaml")
	status := w.request().Status
	names := []string{nameOf(0), nameOf(1), nameOf(2)}
	if first, other := w.names("mondoo-client"), w.names("second"); !slices.Equal(first, names) || len(other) > 0 {
		t.Errorf("entries %v, and elsewhere %v", first, other)
	}
	ready := condition(status, v1alpha1.ConditionReady)
	if !strings.Contains(ready.Message, "and so do 3 clusters that would move to another audit config: c0000, c0001, c0002") {
		t.Errorf("Ready: %s", ready.Message)
	}
	w.changeSync(func(s *v1alpha1.AuditSync) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, inventory.ApproveAnnotation, approvalIn(t, ready.Message, commit))
	})
	w.untilReady(commit)
	if other := w.names("second"); !slices.Equal(other, names) {
		t.Errorf("entries %v", other)
	}
	if err := w.admin.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "mondoo-client"}, second); !apierrors.IsNotFound(err) {
		t.Errorf("the audit config: %v", err)
	}
}

// TestApprovalOfAnAuditConfig approves the removal of an audit config, and then it gets an entry that nobody was shown: before the
// approval is given, and, once it is, at the moment of the removal.
func TestApprovalOfAnAuditConfig(t *testing.T) {
	w := newWorld(t)
	var late atomic.Pointer[func()]
	w.startController(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if add := late.Load(); add != nil && r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/"+mondoo.Resource+"/mondoo-client") && late.CompareAndSwap(add, nil) {
				(*add)()
			}
			return next.RoundTrip(r)
		})
	})
	w.createSync(nil)
	w.untilReady(w.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": w.tokenCluster("eu", "  auditConfig: mondoo-client\n"),
		"clusters/second.yaml": strings.Replace(auditConfigFile, "name: mondoo-client\nspec", "name: second\nspec", 1)}))
	commit := w.push(nil, "clusters/mondoo-client.yaml", "clusters/eu.yaml")
	approval := func(foreign string) string {
		t.Helper()
		w.request()
		message := func(s *v1alpha1.AuditSync) string { return condition(s.Status, v1alpha1.ConditionReady).Message }
		shown := func(s *v1alpha1.AuditSync) bool {
			return strings.Contains(message(s), "and stays until its removal is approved"+foreign+"; approve exactly")
		}
		return approvalIn(t, message(w.until("the audit config is held"+foreign, shown)), commit)
	}
	approve := func(value string) {
		w.changeSync(func(s *v1alpha1.AuditSync) {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, inventory.ApproveAnnotation, value)
		})
	}
	add := func(name string) {
		w.replaceEntries(func(list []map[string]any) []map[string]any {
			return append(list, map[string]any{"name": name, "kubeconfigSecretRef": map[string]any{"name": "theirs"}})
		})
	}
	first := approval("")
	add("x")
	second := approval("; 1 entries that are in no file would be removed with it: x")
	approve(first)
	if again := approval("; 1 entries that are in no file would be removed with it: x"); again != second {
		t.Errorf("%s is to be approved, and was %s", again, second)
	}
	if !slices.Contains(w.names("mondoo-client"), "x") {
		t.Fatal("the entry x is gone, which nobody was shown")
	}
	atTheLast := func() { add("y") }
	late.Store(&atTheLast)
	approve(second)
	w.eventually("the removal", func() bool { return late.Load() == nil })
	third := approval("; 2 entries that are in no file would be removed with it: x, y")
	if !slices.Contains(w.names("mondoo-client"), "y") {
		t.Fatal("the entry y is gone, which nobody was shown")
	}
	approve(third)
	w.untilReady(commit)
	if w.auditConfig("mondoo-client") != nil {
		t.Error("approved, the audit config is still there")
	}
}
