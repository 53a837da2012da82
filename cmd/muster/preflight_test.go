package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// preflight runs muster preflight on the folder, without a kubeconfig.
func (m *management) preflight(want int, args ...string) (stdout, stderr string) {
	m.Helper()
	var out, errs bytes.Buffer
	none := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] }
	args = append(append([]string{"preflight"}, args...), m.dir, "--sops-key", m.keyFile, "--allow-address", "127.0.0.1")
	if got := run(m.Context(), args, strings.NewReader(""), &out, &errs, none); got != want {
		m.Errorf("muster preflight %s ends with %d, want %d:\n%s%s", args, got, want, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// TestPreflightLive checks files against a real API server: one login with all rights, one with none, and one that the file's own
// CA doesn't belong to.
func TestPreflightLive(t *testing.T) {
	m := startManagement(t)
	m.encrypted("admin.yaml", clusterFile("admin", "  kubeconfig: |\n"+indent(string(m.plane.Kubeconfig()), "    ")))
	nothing, err := m.plane.User("nothing")
	check(t, err)
	m.encrypted("nothing.yaml", clusterFile("nothing", "  kubeconfig: |\n"+indent(string(server.KubeconfigFor(nothing)), "    ")))
	m.encrypted("other.yaml", clusterFile("other", "  serviceAccountAuth:\n    server: "+m.plane.URL()+"\n    token: "+canary+"-token\n    caCert: |\n"+indent(testCA, "      ")))

	m.preflight(exitOK, "admin")
	out, errs := m.preflight(exitFindings)
	for _, want := range []string{
		"√ login       admin\n", "√ rights      get, list and watch on */*\n",
		"× rights      nothing may read nothing that a scan reads [rights-none]\n",
		"× tls         the server's certificate is not from the CA in the file [server-certificate-unknown]\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if errs != "3 clusters: 1 passed, 2 failed, 0 not checked from here\n" {
		t.Errorf("standard error: %s", errs)
	}

	_, err = m.core.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "nothing"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "nothing"}}}, metav1.CreateOptions{})
	check(t, err)
	check(t, m.plane.AwaitRules(t.Context(), "nothing", "", []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}, true))
	out, _ = m.preflight(exitOK, "nothing", "admin", "-o", "json")
	var results struct{ Clusters []preflight.Result }
	check(t, json.Unmarshal([]byte(out), &results))
	if len(results.Clusters) != 2 {
		t.Fatalf("%s", out)
	}
	for _, r := range results.Clusters {
		if r.UID == "" || r.Granted == nil || !r.Granted.Everything || !strings.HasPrefix(r.Version, "v1.") {
			t.Errorf("%+v", r)
		}
	}
	if all := fmt.Sprint(out, errs); leak(all) != "" {
		t.Errorf("a secret is shown: %s", all)
	}
}

func TestPreflightFitsTheTerminal(t *testing.T) {
	r := preflight.Result{Cluster: "eu", Checks: []preflight.Check{
		{Name: preflight.Credential, State: preflight.Passed},
		{Name: preflight.Resolve, State: preflight.Passed, Message: "203.0.113.7, 2001:db8::7"},
		{Name: preflight.TLS, State: preflight.NotChecked, Message: "the file turns the check of the certificate off"},
		{Name: preflight.Rights, State: preflight.Failed, Cause: preflight.RightsPartial,
			Message: "system:serviceaccount:scan:scanner may not read all that a scan reads; missing: nodes, secrets, clusterroles.rbac.authorization.k8s.io", Fix: "bind the ClusterRole with get, list and watch on */*"},
		{Name: preflight.Identity, State: preflight.NotReached},
	}}
	elsewhere := preflight.Result{NotChecked: "only the operator's ServiceAccount in the management cluster can get a token of the cloud"}
	for name, width := range widths {
		text := preflightText(r, plain, width) + preflightText(elsewhere, plain, width)
		fits(t, text, width)
		golden(t, "preflight-"+name+".txt", text)
	}
}
