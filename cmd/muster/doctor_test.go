package main

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/cmd/muster/doctor"
)

// patient is a complete installation: config/default on a real API server, and a repository on a real forge.
type patient struct {
	*management
	gitea *server.Gitea
}

// resources are the kinds that the test changes.
var resources = map[string]schema.GroupVersionResource{
	"CustomResourceDefinition": {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"Namespace":                {Version: "v1", Resource: "namespaces"},
	"Secret":                   {Version: "v1", Resource: "secrets"},
	"Service":                  {Version: "v1", Resource: "services"},
	"ServiceAccount":           {Version: "v1", Resource: "serviceaccounts"},
	"Deployment":               {Group: "apps", Version: "v1", Resource: "deployments"},
	"Role":                     {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":              {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"Lease":                    {Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	"EndpointSlice":            {Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	"Ingress":                  {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
	"AuditSync":                auditSyncs,
	mondoo.Kind:                auditConfigs,
}

// at is where objects of a kind are.
func (p *patient) at(kind string) dynamic.ResourceInterface {
	if kind == "CustomResourceDefinition" || kind == "Namespace" {
		return p.dynamic.Resource(resources[kind])
	}
	return p.dynamic.Resource(resources[kind]).Namespace(testNamespace)
}

// flow reads an object in YAML's flow style.
func flow(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	check(t, yaml.Unmarshal([]byte(text), &o.Object))
	return o
}

// put applies an object.
func (p *patient) put(o *unstructured.Unstructured) {
	p.Helper()
	data, err := o.MarshalJSON()
	check(p.T, err)
	force := true
	if _, err := p.at(o.GetKind()).Patch(p.Context(), o.GetName(), types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: "test", Force: &force}); err != nil {
		p.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// patch changes an object, or its status, and returns what changes it back.
func (p *patient) patch(kind, name, patch string, subresources ...string) (undo func()) {
	p.Helper()
	before, err := p.at(kind).Get(p.Context(), name, metav1.GetOptions{})
	check(p.T, err)
	var merge any
	check(p.T, yaml.Unmarshal([]byte(patch), &merge))
	data, err := json.Marshal(merge)
	check(p.T, err)
	if _, err := p.at(kind).Patch(p.Context(), name, types.MergePatchType, data, metav1.PatchOptions{}, subresources...); err != nil {
		p.Fatalf("patch %s %s: %v", kind, name, err)
	}
	return func() {
		p.Helper()
		now, err := p.at(kind).Get(p.Context(), name, metav1.GetOptions{})
		check(p.T, err)
		back := before.DeepCopy()
		back.SetResourceVersion(now.GetResourceVersion())
		if len(subresources) > 0 {
			_, err = p.at(kind).UpdateStatus(p.Context(), back, metav1.UpdateOptions{})
		} else {
			_, err = p.at(kind).Update(p.Context(), back, metav1.UpdateOptions{})
		}
		check(p.T, err)
	}
}

// edited changes the fields of spec in the CRD of AuditSyncs, and returns what changes them back.
func (p *patient) edited(change func(spec map[string]any)) (undo func()) {
	p.Helper()
	crd, err := p.at("CustomResourceDefinition").Get(p.Context(), "auditsyncs.muster.dev", metav1.GetOptions{})
	check(p.T, err)
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	check(p.T, err)
	version := versions[0].(map[string]any) //nolint:forcetypeassert // that is the form
	spec, _, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema", "properties", "spec", "properties")
	check(p.T, err)
	change(spec)
	check(p.T, unstructured.SetNestedMap(version, spec, "schema", "openAPIV3Schema", "properties", "spec", "properties"))
	data, err := json.Marshal(map[string]any{"spec": map[string]any{"versions": versions}})
	check(p.T, err)
	return p.patch("CustomResourceDefinition", "auditsyncs.muster.dev", string(data))
}

// without deletes an object and returns what brings it back.
func (p *patient) without(kind, name string) (undo func()) {
	p.Helper()
	before, err := p.at(kind).Get(p.Context(), name, metav1.GetOptions{})
	check(p.T, err)
	check(p.T, p.at(kind).Delete(p.Context(), name, metav1.DeleteOptions{}))
	return func() {
		p.Helper()
		again := before.DeepCopy()
		again.SetResourceVersion("")
		again.SetUID("")
		_, err := p.at(kind).Create(p.Context(), again, metav1.CreateOptions{})
		check(p.T, err)
		if status, found := before.Object["status"]; found {
			data, err := json.Marshal(map[string]any{"status": status})
			check(p.T, err)
			_, err = p.at(kind).Patch(p.Context(), name, types.MergePatchType, data, metav1.PatchOptions{}, "status")
			check(p.T, err)
		}
	}
}

// examine runs doctor as whoever is logged in.
func (p *patient) examine(flags ...string) (status int, checks []doctor.Check) {
	p.Helper()
	var out, errs bytes.Buffer
	none := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] }
	status = run(p.Context(), append([]string{"doctor", "-o", "json", "--kubeconfig", p.as}, flags...), strings.NewReader(""), &out, &errs, none)
	if leak(out.String()+errs.String()) != "" {
		p.Errorf("doctor shows a secret: %s%s", out.String(), errs.String())
	}
	var document struct{ Checks []doctor.Check }
	if err := json.Unmarshal(out.Bytes(), &document); err != nil || errs.Len() > 0 {
		p.Fatalf("doctor ends with %d: %v\n%s%s", status, err, out.String(), errs.String())
	}
	return status, document.Checks
}

// push commits the files of the work tree and pushes them to the forge.
func (p *patient) push(address string) {
	p.Helper()
	user, password := p.gitea.Login()
	to, err := url.Parse(address)
	check(p.T, err)
	to.User = url.UserPassword(user, password)
	p.commit()
	for _, args := range [][]string{{"branch", "-M", "main"}, {"push", "--quiet", "--force", to.String(), "main"}} {
		cmd := exec.CommandContext(p.Context(), "git", args...)
		cmd.Dir = p.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			p.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
}

// startPatient installs everything that doctor looks at, in good health.
func startPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{management: startManagement(t)}
	var err error
	p.gitea, err = server.StartGitea(t.Context(), server.GiteaOptions{})
	check(t, err)
	t.Cleanup(func() { check(t, p.gitea.Stop()) })
	address, err := p.gitea.CreateRepository(t.Context(), "platform/fleet")
	check(t, err)
	token, err := p.gitea.CreateUser(t.Context(), "muster", "write:repository", "read:user", "write:issue")
	check(t, err)
	check(t, p.gitea.AddCollaborator(t.Context(), "platform/fleet", "muster", "write"))
	check(t, os.Mkdir(filepath.Join(p.dir, "clusters"), 0o700))
	p.encrypted("clusters/eu.yaml", clusterFile("eu", "  kubeconfig: |\n"+indent(kubeconfig("one"), "    ")))
	p.push(address)

	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../config/default")
	check(t, err)
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		check(t, err)
		if o := flow(t, string(text)); o.GetKind() != "CustomResourceDefinition" {
			p.put(o)
		}
	}
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	for _, text := range []string{
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: mondoo-operator-controller-manager, labels: {app.kubernetes.io/name: mondoo-operator}}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: manager, image: 'ghcr.io/mondoohq/mondoo-operator:v13.3.0'}]}}}}",
		"{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: muster.muster.dev}, spec: {holderIdentity: muster-0_x, leaseDurationSeconds: 15, renewTime: '" + now + "'}}",
		"{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: webhook, labels: {kubernetes.io/service-name: muster-webhook}}, addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}], ports: [{name: http, port: 9292, protocol: TCP}]}",
		"{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: webhook}, spec: {rules: [{host: muster.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: muster-webhook, port: {name: http}}}}]}}]}}",
		"{apiVersion: k8s.mondoo.com/v1alpha2, kind: MondooAuditConfig, metadata: {name: mondoo-client}, spec: {mondooCredsSecretRef: {name: mondoo-client}, kubernetesResources: {externalClusters: [{name: eu, kubeconfigSecretRef: {name: eu}}]}}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: fleet-git}, stringData: {username: muster, password: '" + token + "'}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: fleet-forge}, stringData: {token: '" + token + "'}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: fleet-webhook}, stringData: {token: " + canary + "-webhook-token}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: sops-keys}, stringData: {a.agekey: " + p.key.Private() + "}}",
		"{apiVersion: muster.dev/v1alpha1, kind: AuditSync, metadata: {name: production}, spec: {source: {url: '" + address + "', ref: {branch: main}, secretRef: {name: fleet-git}}, path: ./clusters, auditConfig: mondoo-client, " +
			"decryption: {secretRef: {name: sops-keys}}, webhook: {secretRef: {name: fleet-webhook}}, forge: {provider: gitea, secretRef: {name: fleet-forge}, pullRequests: true}}}",
	} {
		p.put(flow(t, text))
	}
	for _, name := range []string{"muster", "mondoo-operator-controller-manager"} {
		p.patch("Deployment", name, "{status: {observedGeneration: 1, replicas: 1, readyReplicas: 1}}", "status")
	}
	p.as, p.user = p.plane.KubeconfigPath(), "admin"
	return p
}

// illness is a way to break an installation, and what doctor has to say about it.
type illness struct {
	reason string
	breaks func(*patient) (undo func())
	result doctor.Result
	// category and cause are of the check that is not passed, and fix is part of its fix.
	category, cause, fix string
}

func patched(kind, name, patch string, subresources ...string) func(*patient) func() {
	return func(p *patient) func() { return p.patch(kind, name, patch, subresources...) }
}

func removed(kind, name string) func(*patient) func() {
	return func(p *patient) func() { return p.without(kind, name) }
}

// TestDoctor shows a healthy installation all green, and each of many broken ones with its own cause.
func TestDoctor(t *testing.T) {
	p := startPatient(t)
	status, checks := p.examine()
	categories := map[string]int{}
	for _, c := range checks {
		categories[c.Category]++
		if c.Result != doctor.Passed {
			t.Errorf("healthy, but %s: %s: %s: %s", c.Category, c.Name, c.Result, c.Detail)
		}
	}
	if status != exitOK || len(categories) != 8 {
		t.Errorf("status %d, checks %v", status, categories)
	}
	other := sealtest.NewKey(t)
	reader, err := p.gitea.CreateUser(t.Context(), "reader", "write:repository", "read:user")
	check(t, err)
	check(t, p.gitea.AddCollaborator(t.Context(), "platform/fleet", "reader", "read"))
	for _, ill := range append(illnesses(), []illness{
		{"the forge's token may only read", patched("Secret", "fleet-forge", "{stringData: {token: "+reader+"}}"), doctor.Failed, "forge", "reader may not write to the repository: no commit status is set", "right to write"},
		{"the keys are others", patched("Secret", "sops-keys", "{stringData: {a.agekey: "+other.Private()+"}}"), doctor.Failed, "keys", "1 file is encrypted for none of the keys: clusters/eu.yaml", p.key.Public()},
	}...) {
		t.Run(ill.reason, func(t *testing.T) {
			undo := ill.breaks(p)
			defer undo()
			p.wantIll(t, ill)
		})
	}
	if status, _ := p.examine(); status != exitOK {
		t.Errorf("after all, status %d", status)
	}
}

// wantIll waits until doctor says what is wrong: authorization follows Roles a moment later.
func (p *patient) wantIll(t *testing.T, ill illness) {
	t.Helper()
	want := exitOK
	if ill.result == doctor.Failed {
		want = exitFindings
	}
	var status int
	var checks []doctor.Check
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if status, checks = p.examine(); status == want && slices.ContainsFunc(checks, ill.is) {
			return
		}
	}
	t.Errorf("status %d, want %d and %s: %s, %q, Fix: %q", status, want, ill.category, ill.result, ill.cause, ill.fix)
	for _, c := range checks {
		if c.Result != doctor.Passed {
			t.Logf("%+v", c)
		}
	}
}

func (i illness) is(c doctor.Check) bool {
	return c.Category == i.category && c.Result == i.result && strings.Contains(c.Detail, i.cause) && strings.Contains(c.Fix, i.fix) && (c.Fix != "" || c.Result == doctor.Skipped)
}

func illnesses() []illness {
	return []illness{
		{"an older CRD", func(p *patient) func() {
			return p.edited(func(spec map[string]any) { delete(spec, "scanOnChange") })
		}, doctor.Failed, "muster", "the CRD is older: it lacks spec.scanOnChange", "kubectl apply --server-side -k config/crd"},
		{"a newer CRD", func(p *patient) func() {
			return p.edited(func(spec map[string]any) { spec["novelty"] = map[string]any{"type": "string"} })
		}, doctor.Warning, "muster", "the CRD is newer: it has spec.novelty", "the version of the controller"},
		{"no controller", removed("Deployment", "muster"), doctor.Failed, "muster", "no Deployment in mondoo-operator has the labels", "-k config/default"},
		{"a controller without Pods", patched("Deployment", "muster", "{status: {readyReplicas: 0}}", "status"), doctor.Failed, "muster", "0 of 1 Pod ready", "describe pod"},
		{"a controller that is scaled to 0", patched("Deployment", "muster", "{spec: {replicas: 0}}"), doctor.Failed, "muster", "scaled to 0", "--replicas=1"},
		{"another version", patched("Deployment", "muster", "{spec: {template: {spec: {containers: [{name: muster, image: 'muster:v0.0.1', args: [--leader-elect, '--webhook-address=:1']}]}}}}"), doctor.Skipped, "muster", "the controller is v0.0.1", ""},
		{"no leader", removed("Lease", "muster.muster.dev"), doctor.Failed, "muster", "there is no Lease muster.muster.dev", "rollout restart"},
		{"a leader that is stuck", patched("Lease", "muster.muster.dev", "{spec: {renewTime: '2026-01-01T00:00:00.000000Z'}}"), doctor.Failed, "muster", "the Lease of muster-0 was renewed last at 2026-01-01T00:00:00Z", "rollout restart"},
		{"a Role without a right", patched("Role", "muster", "{rules: [{apiGroups: [muster.dev], resources: [auditsyncs], verbs: [get, list, watch]}]}"), doctor.Failed, "rights", "it may not patch auditsyncs.muster.dev: no AuditSync is synced", "config/rbac"},
		{"no right to events", func(p *patient) func() {
			role, err := p.at("Role").Get(p.Context(), "muster", metav1.GetOptions{})
			check(p.T, err)
			rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
			rules = slices.DeleteFunc(rules, func(r any) bool { return r.(map[string]any)["apiGroups"].([]any)[0] == "events.k8s.io" }) //nolint:forcetypeassert // that is the form
			data, err := json.Marshal(map[string]any{"rules": rules})
			check(p.T, err)
			return p.patch("Role", "muster", string(data))
		}, doctor.Warning, "rights", "it may not create events.events.k8s.io, patch events.events.k8s.io: there are no events", "config/rbac"},
		{"no right to the Lease", removed("RoleBinding", "muster-leader-election"), doctor.Failed, "rights", "no leader is elected", "config/rbac"},
		{"a ServiceAccount without rights", patched("AuditSync", "production", "{spec: {serviceAccountName: scans}}"), doctor.Failed, "rights", "it may not impersonate serviceaccounts scans", "config/components/impersonation"},
		{"a ServiceAccount that may not apply", patched("AuditSync", "production", "{spec: {serviceAccountName: scans}}"), doctor.Failed, "rights", "it may not create secrets, patch secrets, delete secrets", "create rolebinding scans"},
		{"a login to Vault without the right", patched("AuditSync", "production", "{spec: {credentialSources: {vault: [{address: 'https://vault', mounts: [{mount: kv, paths: ['*']}], auth: {kubernetes: {role: muster, serviceAccountName: muster-vault, audience: vault}}}]}}}"),
			doctor.Failed, "rights", "it may not create serviceaccounts/token muster-vault: Muster can't log in to Vault with them", "config/components/credential-sources"},
		{"a login with a JWT without the right", patched("AuditSync", "production", "{spec: {credentialSources: {vault: [{address: 'https://vault', mounts: [{mount: kv, paths: ['*']}], auth: {jwt: {role: muster, serviceAccountName: other, audience: vault}}}]}}}"),
			doctor.Failed, "rights", "it may not create serviceaccounts/token other", "list the ServiceAccount in its Role"},
		{"preflights through Vault without the right", patched("AuditSync", "production", "{spec: {preflight: {mode: Report, vaultAuth: {}}}}"),
			doctor.Failed, "rights", "it may not create serviceaccounts/token mondoo-operator-controller-manager", "config/README.md"},
		{"no operator", removed("Deployment", "mondoo-operator-controller-manager"), doctor.Warning, "operator", "no Deployment in mondoo-operator has the label", "install it"},
		{"an operator that doesn't run", patched("Deployment", "mondoo-operator-controller-manager", "{status: {readyReplicas: 0}}", "status"), doctor.Failed, "operator", "entries get no CronJob", "describe pod"},
		{"an older operator", patched("Deployment", "mondoo-operator-controller-manager", "{spec: {template: {spec: {containers: [{name: manager, image: 'ghcr.io/mondoohq/mondoo-operator:v12.0.1'}]}}}}"), doctor.Warning, "operator", "it is v12.0.1, older than v13.3.0", "upgrade"},
		{"a newer operator", patched("Deployment", "mondoo-operator-controller-manager", "{spec: {template: {spec: {containers: [{name: manager, image: 'ghcr.io/mondoohq/mondoo-operator:v14.0.0'}]}}}}"), doctor.Warning, "operator", "it is v14.0.0, newer than v13.3.0", "muster status"},
		{"the console manages the audit config", patched(mondoo.Kind, "mondoo-client", "{spec: {remoteManaged: true}}"), doctor.Failed, "operator", "mondoo-client has spec.remoteManaged", "kubectl edit mondooauditconfig mondoo-client"},
		{"SPIFFE in a restricted namespace", func(p *patient) func() {
			first := p.patch("Namespace", testNamespace, "{metadata: {labels: {pod-security.kubernetes.io/enforce: restricted}}}")
			second := p.patch(mondoo.Kind, "mondoo-client", "{spec: {kubernetesResources: {externalClusters: [{name: us, spiffeAuth: {server: 'https://us', trustBundleSecretRef: {name: us}}}]}}}")
			return func() { second(); first() }
		}, doctor.Warning, "operator", "the namespace enforces restricted, which rejects the Pods of SPIFFE clusters (us)", "kubectl label namespace"},
		{"no Secret for Git", removed("Secret", "fleet-git"), doctor.Failed, "git", "Secret fleet-git does not exist in mondoo-operator", "kubectl -n mondoo-operator create secret generic fleet-git"},
		{"a Secret with the wrong keys", patched("Secret", "fleet-git", "{data: {username: null}}"), doctor.Failed, "git", "username is missing", "edit secret fleet-git"},
		{"a wrong password", patched("Secret", "fleet-git", "{stringData: {password: "+canary+"-wrong}}"), doctor.Failed, "git", "platform/fleet", "muster status"},
		{"no such branch", patched("AuditSync", "production", "{spec: {source: {ref: {branch: mian}}}}"), doctor.Failed, "git", `has no branch "mian"; it has main`, "edit auditsync production"},
		{"a path that repeats a password", func(p *patient) func() {
			first := p.patch("Secret", "fleet-webhook", "{stringData: {token: "+canary+"-in-the-path}}")
			second := p.patch("AuditSync", "production", "{spec: {path: ./"+canary+"-in-the-path, webhook: {secretRef: {name: fleet-webhook}}}}")
			return func() { second(); first() }
		}, doctor.Failed, "git", "the commit has no folder ***", "edit auditsync"},
		{"no such path", patched("AuditSync", "production", "{spec: {path: ./cluster}}"), doctor.Failed, "git", "the commit has no folder cluster", "edit auditsync production"},
		{"the Git server is down", func(p *patient) func() {
			p.gitea.SetDown(true)
			return func() { p.gitea.SetDown(false) }
		}, doctor.Failed, "git", "127.0.0.1", "muster status"},
		{"no Secret for the forge", removed("Secret", "fleet-forge"), doctor.Failed, "forge", "Secret fleet-forge does not exist", "create secret"},
		{"a Secret without a token", patched("Secret", "fleet-forge", "{data: {token: null}}"), doctor.Failed, "forge", "token is missing", "edit secret fleet-forge"},
		{"a token that was revoked", patched("Secret", "fleet-forge", "{stringData: {token: "+canary+"-revoked}}"), doctor.Failed, "forge", "401", "edit secret fleet-forge"},
		{"a webhook with a short token", patched("Secret", "fleet-webhook", "{stringData: {token: short}}"), doctor.Failed, "webhook", "key token can't be used", "openssl rand"},
		{"no endpoints", patched("EndpointSlice", "webhook", "{endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}}]}"), doctor.Failed, "webhook", "0 of 1 endpoint of the Service muster-webhook are ready", "describe pod"},
		{"no Service", removed("Service", "muster-webhook"), doctor.Failed, "webhook", "no Service in mondoo-operator leads to the port webhook", "config/default"},
		{"no receiver", patched("Deployment", "muster", "{spec: {template: {spec: {containers: [{name: muster, image: 'muster:devel', args: [--leader-elect]}]}}}}"), doctor.Failed, "webhook", "it runs without --webhook-address", "edit deployment muster"},
		{"no Ingress", removed("Ingress", "webhook"), doctor.Skipped, "webhook", "no Ingress leads to the Service muster-webhook", ""},
		{"keys that aren't keys", patched("Secret", "sops-keys", "{stringData: {a.agekey: "+canary+"-no-key}}"), doctor.Failed, "keys", "it has no age identity", "edit secret sops-keys"},
		{"no decryption", patched("AuditSync", "production", "{spec: {decryption: null}}"), doctor.Failed, "keys", "the AuditSync has no spec.decryption, and 1 file is encrypted: clusters/eu.yaml", "edit auditsync production"},
	}
}

// TestDoctorWithFewRights: what a user may not read is skipped, and says what is missing.
func TestDoctorWithFewRights(t *testing.T) {
	p := startPatient(t)
	p.login("nobody")
	status, checks := p.examine()
	skippedChecks := 0
	for _, c := range checks {
		switch c.Result {
		case doctor.Passed:
		case doctor.Failed, doctor.Warning:
			t.Errorf("%s: %s: %s: %s", c.Category, c.Name, c.Result, c.Detail)
		case doctor.Skipped:
			skippedChecks++
			if !strings.HasPrefix(c.Detail, "you may not ") && !strings.Contains(c.Detail, "unknown") {
				t.Errorf("skipped without a reason: %+v", c)
			}
		}
	}
	if status != exitOK || skippedChecks < 5 {
		t.Errorf("status %d, %d skipped", status, skippedChecks)
	}
	// With everything but Secrets, each check of a Secret names the one that may not be read.
	p.login("auditor")
	p.grant(rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"auditsyncs", "deployments", "services", "endpointslices", "ingresses", "leases", "pods", "configmaps", "mondooauditconfigs"}, Verbs: []string{"get", "list"}})
	_, checks = p.examine()
	for _, secret := range []string{"fleet-git", "fleet-forge", "fleet-webhook", "sops-keys"} {
		if !slices.ContainsFunc(checks, func(c doctor.Check) bool {
			return c.Result == doctor.Skipped && c.Detail == "you may not get Secret mondoo-operator/"+secret
		}) {
			t.Errorf("no check is skipped because of Secret %s: %+v", secret, checks)
		}
	}
}

// TestDoctorWithoutCluster ends after the first category.
func TestDoctorWithoutCluster(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	check(t, os.WriteFile(file, []byte("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], contexts: [{name: c, context: {cluster: c}}], current-context: c}"), 0o600))
	status, out := runWith(t, "doctor", "--kubeconfig", file)
	if status != exitFindings || !strings.Contains(out, "failed: the API server answers\n    https://127.0.0.1:1: ") || !strings.Contains(out, "    Fix: check the address") || !strings.HasSuffix(out, "\n1 failed, 0 passed\n") || strings.Contains(out, "muster\n------") {
		t.Errorf("status %d:\n%s", status, out)
	}
}
