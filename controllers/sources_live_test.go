package controllers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// TestSourcesKeepWhatIsApplied: whatever fails, applied credentials stay, and other clusters go on. A token goes to its own server only.
func TestSourcesKeepWhatIsApplied(t *testing.T) {
	k := newKV(t)
	account := map[string]any{"token": "CANARY-vault-account", "ca.crt": string(plane.CACert()), "server": "https://two.example.com:6443"}
	k.put("clusters/one", map[string]any{"kubeconfig": kubeconfigOf("one", "CANARY-vault-1")})
	k.put("clusters/two", account)
	k.put("clusters/registries", map[string]any{".dockerconfigjson": `{"auths":{"r.example.com":{"auth":"Q0FOQVJZLXVzZXI6Q0FOQVJZLXJlZ2lzdHJ5"}}}`})
	vault := fmt.Sprintf("vault: {address: %q, mount: kv, path: ", k.vault.URL())
	two := func(server string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: two\nspec:\n  serviceAccountAuth:\n    server: " + server + "\n    credentialsFrom: {" + vault +
			"clusters/two}}\n  containerImageScanning: true\n  privateRegistries: {from: {" + vault + "clusters/registries}}}\n"
	}
	commit := k.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/one.yaml": k.from("one", "clusters/one"), "clusters/two.yaml": two("https://two.example.com:6443")})
	k.createSync(nil)
	k.startController(nil)
	k.untilReady(commit)
	if got := k.applied("two", "token") + " " + k.applied("two", ".dockerconfigjson"); !strings.HasPrefix(got, "CANARY-vault-account {") {
		t.Fatalf("applied: %s", got)
	}

	// The file sends the token elsewhere.
	k.push(map[string]string{"clusters/two.yaml": two("https://evil.example.com"), "clusters/three.yaml": k.from("three", "elsewhere/three")})
	sync := k.request()
	if got := strings.Join(findingsOf(sync, "two"), "\n"); !strings.Contains(got, "token-server") || k.entries("mondoo-client")["two"].ServiceAccountAuth.Server != "https://two.example.com:6443" {
		t.Errorf("a token for another server: %s; %+v", got, k.entries("mondoo-client")["two"])
	}
	if got := strings.Join(findingsOf(sync, "three"), "\n"); !strings.Contains(got, "credential-source-not-allowed") || !strings.Contains(got, `add the line "- elsewhere/three" to the paths of the mount in spec.credentialSources.vault`) {
		t.Errorf("a path that isn't allowed: %s", got)
	}
	requests, err := k.vault.Requests()
	must(t, err)
	if slices.ContainsFunc(requests, func(r server.VaultRequest) bool { return strings.Contains(r.Path, "elsewhere") }) {
		t.Error("Vault was asked for a path that isn't allowed")
	}

	// Muster restarts while Vault is down: nothing is removed, and a file without Vault is applied.
	k.vault.SetDown(true)
	k.stopController()
	commit = k.push(map[string]string{"clusters/two.yaml": two("https://two.example.com:6443"), "clusters/four.yaml": k.tokenCluster("four", "")}, "clusters/three.yaml")
	k.startController(nil)
	k.eventually("the other cluster is applied", func() bool { return slices.Contains(k.names("mondoo-client"), "four") })
	sync = k.until("Vault's failure is reported", func(s *v1alpha1.AuditSync) bool {
		return strings.Contains(strings.Join(findingsOf(s, "one"), ""), "can't read from Vault")
	})
	if got := k.applied("one", "kubeconfig"); got != kubeconfigOf("one", "CANARY-vault-1") || len(k.names("mondoo-client")) != 3 || k.applied("two", "token") == "" {
		t.Errorf("what was applied is gone: %q, %v", got, k.names("mondoo-client"))
	}
	t.Logf("%s", findingsOf(sync, "one"))
	k.vault.SetDown(false)
	k.request()
	k.untilReady(commit)
	k.leaks(t, "CANARY-vault", "CANARY-registry", "Q0FOQVJZ", string(k.secret("vault-token").Data["token"]))

	// A change by hand is drift, and is corrected.
	name := k.entries("mondoo-client")["one"].KubeconfigSecretRef.Name
	secret := k.secret(name)
	secret.Data["kubeconfig"] = []byte("by hand")
	must(t, k.admin.Update(t.Context(), secret, client.FieldOwner("kubectl-edit")))
	k.eventually("drift is corrected", func() bool { return k.applied("one", "kubeconfig") == kubeconfigOf("one", "CANARY-vault-1") })
	k.eventually("drift is told", func() bool { return strings.Contains(k.events(t), "kubectl-edit") })
}

// events are the events of the namespace.
func (k *kv) events(t *testing.T) string {
	var events eventsv1.EventList
	scheme := k.admin.Scheme()
	must(t, eventsv1.AddToScheme(scheme))
	must(t, k.admin.List(t.Context(), &events, client.InNamespace(k.namespace)))
	data, err := json.Marshal(events)
	must(t, err)
	return string(data)
}

// leaks searches what Muster has shown for secrets.
func (k *kv) leaks(t *testing.T, secrets ...string) {
	t.Helper()
	status, err := json.Marshal(k.world.sync())
	must(t, err)
	shown := logs.String() + string(status) + k.events(t)
	for _, secret := range secrets {
		if at := strings.Index(shown, secret); at >= 0 {
			t.Errorf("a secret is shown: …%s…", shown[max(0, at-200):min(len(shown), at+100)])
		}
	}
}

// TestSourcesKubernetesLogin: Muster logs in to Vault as a ServiceAccount of the AuditSync's namespace, once an admin lets it.
func TestSourcesKubernetesLogin(t *testing.T) {
	k := newKV(t)
	k.put("clusters/one", map[string]any{"kubeconfig": kubeconfigOf("one", "CANARY-vault-1")})
	ctx := t.Context()
	core, err := kubernetes.NewForConfig(plane.Config())
	must(t, err)
	account := func(name string) {
		_, err := core.CoreV1().ServiceAccounts(k.namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	account("vault-login")
	account("reviewer")
	_, err = core.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: k.namespace + "-reviewer"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: k.namespace, Name: "reviewer"}}}, metav1.CreateOptions{})
	must(t, err)
	reviewer, err := core.CoreV1().ServiceAccounts(k.namespace).CreateToken(ctx, "reviewer", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	k.call(http.MethodPost, "sys/auth/kubernetes", map[string]string{"type": "kubernetes"})
	k.call(http.MethodPost, "auth/kubernetes/config", map[string]any{"kubernetes_host": plane.URL(), "kubernetes_ca_cert": string(plane.CACert()), "token_reviewer_jwt": reviewer.Status.Token})
	k.call(http.MethodPost, "auth/kubernetes/role/muster", map[string]any{"bound_service_account_names": "vault-login", "bound_service_account_namespaces": k.namespace,
		"audience": "vault", "token_policies": "reader"})
	commit := k.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/one.yaml": k.from("one", "clusters/one")})
	k.createSync(func(s *v1alpha1.AuditSync) {
		s.Spec.CredentialSources.Vault[0].Auth = v1alpha1.VaultLogin{Kubernetes: &v1alpha1.VaultServiceAccount{Role: "muster", ServiceAccountName: "vault-login", Audience: "vault"}}
	})
	k.startController(nil)
	sync := k.until("the missing right is reported", func(s *v1alpha1.AuditSync) bool { return len(findingsOf(s, "one")) > 0 })
	if got := findingsOf(sync, "one")[0]; !strings.Contains(got, "credential-source-denied") || !strings.Contains(got, "lets Muster create serviceaccounts/token") {
		t.Errorf("without the right: %s", got)
	}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{"vault-login"}, Verbs: []string{"create"}}}
	k.letMuster("vault-login", k.namespace, rules)
	k.request()
	k.untilReady(commit)
	if got := k.applied("one", "kubeconfig"); got != kubeconfigOf("one", "CANARY-vault-1") {
		t.Errorf("applied: %q", got)
	}
}

// letMuster gives Muster rights in a namespace.
func (w *world) letMuster(name, namespace string, rules []rbacv1.PolicyRule) {
	w.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	must(w.T, w.admin.Create(w.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: rules}))
	must(w.T, w.admin.Create(w.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.namespace, Name: "muster"}}}))
	must(w.T, plane.AwaitRules(w.Context(), w.user, namespace, rules, true))
}

// TestSourcesSecrets: clusters of Cluster API, Argo CD and Flux, and a plain Secret, follow their Secrets in another namespace. Without
// a right or a permission, nothing is read.
func TestSourcesSecrets(t *testing.T) {
	w := newWorld(t)
	other := w.namespace + "-fleet"
	must(t, w.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}}))
	put := func(name, kind string, labels, data map[string]string) {
		t.Helper()
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: name, Labels: labels}, Type: corev1.SecretType(kind), StringData: data}
		if err := w.admin.Create(t.Context(), secret); err != nil {
			must(t, w.admin.Patch(t.Context(), secret, client.Merge))
		}
	}
	argo := map[string]string{"argocd.argoproj.io/secret-type": "cluster"}
	fill := func(round string) {
		put("capi-kubeconfig", "cluster.x-k8s.io/secret", nil, map[string]string{"value": kubeconfigOf("capi", "CANARY-capi-"+round)})
		put("flux", "Opaque", nil, map[string]string{"value.yaml": kubeconfigOf("flux", "CANARY-flux-"+round)})
		put("plain", "Opaque", nil, map[string]string{"kubeconfig": kubeconfigOf("plain", "CANARY-plain-"+round)})
		put("argo", "Opaque", argo, map[string]string{"name": "argo", "server": "https://argo.example.com", "config": `{"bearerToken":"CANARY-argo-` + round + `"}`})
		put("argo-eks", "Opaque", argo, map[string]string{"name": "eks", "server": "https://eks.example.com", "config": `{"awsAuthConfig":{"clusterName":"eks"}}`})
	}
	fill("1")
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/inline.yaml": w.tokenCluster("inline", "")}
	for name, secret := range map[string]string{"capi": other + " capi-kubeconfig", "flux": other + " flux", "plain": other + " plain", "argo": other + " argo", "eks": other + " argo-eks", "system": "kube-system x"} {
		namespace, secret, _ := strings.Cut(secret, " ")
		files["clusters/"+name+".yaml"] = fmt.Sprintf("apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: %s\nspec:\n  kubeconfigFrom:\n    secretRef: {namespace: %s, name: %s}\n", name, namespace, secret)
	}
	w.push(files)
	w.createSync(func(s *v1alpha1.AuditSync) { s.Spec.CredentialSources.Secrets.Namespaces = []string{other} })
	w.startController(nil)
	sync := w.until("the missing right is reported", func(s *v1alpha1.AuditSync) bool { return len(findingsOf(s, "capi")) > 0 })
	if got := findingsOf(sync, "capi")[0]; !strings.Contains(got, "Muster's ServiceAccount may not read the Secret "+other+"/capi-kubeconfig") {
		t.Errorf("without the right: %s", got)
	}
	if got := strings.Join(findingsOf(sync, "system"), ""); !strings.Contains(got, "credential-source-not-allowed") {
		t.Errorf("another namespace: %s", got)
	}
	w.eventually("the inline cluster is applied", func() bool { return slices.Equal(w.names("mondoo-client"), []string{"inline"}) })
	w.letMuster("sources", other, []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}})
	k := &kv{world: w}
	check := func(round string) {
		t.Helper()
		for _, name := range []string{"capi", "flux", "plain", "argo"} {
			w.eventually(name+" is applied", func() bool { return strings.Contains(k.applied(name, "kubeconfig"), "CANARY-"+name+"-"+round) })
		}
	}
	sync = w.request()
	check("1")
	if got := strings.Join(findingsOf(sync, "eks"), ""); !strings.Contains(got, "use workloadIdentity with the provider eks") {
		t.Errorf("a login program: %s", got)
	}
	started := time.Now()
	fill("2")
	check("2")
	t.Logf("four Secrets were followed %s after they had changed", time.Since(started).Round(time.Second))
	if time.Since(started) > time.Minute {
		t.Error("it took too long")
	}
	k.leaks(t, "CANARY-capi", "CANARY-flux", "CANARY-plain", "CANARY-argo")
}
