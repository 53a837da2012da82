package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCreateServiceAccount makes the scanner's account in a real cluster. The token expires, because nothing fills Secrets here.
func TestCreateServiceAccount(t *testing.T) {
	m := startManagement(t)
	m.write(".sops.yaml", "creation_rules:\n  - mac_only_encrypted: true\n    encrypted_regex: ^(token|server|caCert)$\n    age: "+m.key.Public()+"\n")
	admin, context := m.plane.KubeconfigPath(), "muster-devenv"
	add := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		args = append([]string{"add", "eu", m.dir, "--from-context", context, "--create-service-account", "--server", m.plane.Config().Host,
			"--allow-address", "127.0.0.1"}, args...)
		var out, errs bytes.Buffer
		none := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] }
		if got := run(t.Context(), args, strings.NewReader(""), &out, &errs, none); got != want {
			t.Errorf("muster %s ends with %d, want %d:\n%s%s", args, got, want, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}
	file := filepath.Join(m.dir, "eu.yaml")

	// Without the rights, nothing is written.
	_, stderr := add(exitFailure, "--from-kubeconfig", m.as, "--yes", "--token-lifetime", "1h")
	if !strings.Contains(stderr, "make Namespace mondoo-scan: ") || !strings.Contains(stderr, "check your rights there") {
		t.Errorf("stderr: %s", stderr)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was written")
	}

	stdout, stderr := add(exitOK, "--from-kubeconfig", admin, "--yes", "--token-lifetime", "1h")
	for _, want := range []string{"ServiceAccount mondoo-scan/mondoo-scanner", "ClusterRole mondoo-operator-k8s-resources-scanning (get, list and watch everything, Secrets too)",
		"preflight: the credential works: system:serviceaccount:mondoo-scan:mondoo-scanner"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is missing in: %s", want, stderr)
		}
	}
	if !strings.Contains(stdout, "adds 1 cluster (eu)") || strings.Contains(stderr, "Secret mondoo-scan") {
		t.Errorf("stdout: %s\nstderr: %s", stdout, stderr)
	}
	sealed, err := os.ReadFile(file)
	check(t, err)
	if !strings.Contains(string(sealed), "token: ENC[") {
		t.Errorf("the token is readable:\n%s", sealed)
	}
	binding, err := m.core.RbacV1().ClusterRoleBindings().Get(t.Context(), "mondoo-operator-k8s-resources-scanning-eu", metav1.GetOptions{})
	check(t, err)
	if binding.Subjects[0].Namespace != tokenNamespace || binding.Subjects[0].Name != tokenSecret {
		t.Errorf("the binding is for %+v", binding.Subjects)
	}

	// Another field manager's object is left alone.
	check(t, os.Remove(file))
	role, err := m.core.RbacV1().ClusterRoles().Get(t.Context(), "mondoo-operator-k8s-resources-scanning", metav1.GetOptions{})
	check(t, err)
	role.Rules[0].Verbs = []string{"get"}
	_, err = m.core.RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{FieldManager: "platform"})
	check(t, err)
	_, stderr = add(exitFailure, "--from-kubeconfig", admin, "--yes", "--token-lifetime", "1h")
	if !strings.Contains(stderr, "another program manages it") {
		t.Errorf("stderr: %s", stderr)
	}
}
