//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/getsops/sops/v3/decrypt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// scanned is a cluster to scan, with the scanner's ServiceAccount, and a repository with its file.
type scanned struct {
	*management
	ca string
}

func startScanned(t *testing.T) *scanned {
	t.Helper()
	m := &scanned{management: startManagementWith(t, server.ControlPlaneOptions{ControllerManager: true})}
	m.ca = string(m.plane.CACert())
	check(t, os.Mkdir(filepath.Join(m.dir, ".tmp"), 0o700))
	t.Setenv("TMPDIR", filepath.Join(m.dir, ".tmp"))
	m.write(".sops.yaml", "creation_rules:\n  - mac_only_encrypted: true\n    encrypted_regex: ^(token|server|caCert)$\n    age: "+m.key.Public()+"\n")
	_, err := m.core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "scan"}}, metav1.CreateOptions{})
	check(t, err)
	_, err = m.core.CoreV1().ServiceAccounts("scan").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "scanner"}}, metav1.CreateOptions{})
	check(t, err)
	_, err = m.core.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "scanner"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "scan", Name: "scanner"}}}, metav1.CreateOptions{})
	check(t, err)
	return m
}

// kept makes a Secret with a token that does not expire.
func (m *scanned) kept(name string) string {
	m.Helper()
	_, err := m.core.CoreV1().Secrets("scan").Create(m.Context(), &corev1.Secret{Type: corev1.SecretTypeServiceAccountToken,
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: "scanner"}}}, metav1.CreateOptions{})
	check(m.T, err)
	var secret *corev1.Secret
	until(m.T, "the Secret gets a token", func() bool {
		secret, err = m.core.CoreV1().Secrets("scan").Get(m.Context(), name, metav1.GetOptions{})
		return err == nil && len(secret.Data["token"]) > 0
	})
	return string(secret.Data["token"])
}

// file writes the encrypted file of the cluster.
func (m *scanned) file(token, server string) {
	m.Helper()
	text := clusterFile("eu", "  # a comment\n  serviceAccountAuth:\n    server: "+server+"\n    token: "+token+"\n    caCert: |\n"+indent(m.ca, "      "))
	m.write("eu.yaml", m.key.Encrypt(m.T, "eu.yaml", text, sealtest.Recommended))
}

// token is the token in the file, as the sops library opens it.
func (m *scanned) token() string {
	m.Helper()
	m.Setenv("SOPS_AGE_KEY", m.key.Private())
	plain, err := decrypt.File(filepath.Join(m.dir, "eu.yaml"), "yaml")
	check(m.T, err)
	var c v1alpha1.ExternalCluster
	check(m.T, yaml.Unmarshal(plain, &c))
	return c.Spec.ServiceAccountAuth.Token
}

// works asks the cluster who the token is.
func (m *scanned) works(token string) bool {
	m.Helper()
	config := rest.AnonymousClientConfig(m.plane.Config())
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	check(m.T, err)
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(m.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	return err == nil && review.Status.UserInfo.Username == "system:serviceaccount:scan:scanner"
}

func (m *scanned) secrets() string {
	m.Helper()
	list, err := m.core.CoreV1().Secrets("scan").List(m.Context(), metav1.ListOptions{})
	check(m.T, err)
	var names []string
	for _, s := range list.Items {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// rotate runs muster rotate --token eu --create. Nothing it prints and no file in the repository has a token.
func (m *scanned) rotate(want int, args ...string) (stdout, stderr string) {
	m.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"rotate", m.dir, "--token", "eu", "--create", "--sops-key", m.keyFile, "--allow-address", "127.0.0.1"}, args...)
	none := func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "/nowhere"}[name] }
	if got := run(m.Context(), args, strings.NewReader(""), &out, &errs, none); got != want {
		m.Errorf("muster %s ends with %d, want %d:\n%s%s", args, got, want, out.String(), errs.String())
	}
	if printed := out.String() + errs.String(); strings.Contains(printed, "eyJhbGci") {
		m.Errorf("a token is readable:\n%s", printed)
	}
	check(m.T, filepath.WalkDir(m.dir, func(name string, e fs.DirEntry, err error) error { // TMPDIR is below
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if strings.Contains(string(data), "eyJhbGci") {
			m.Errorf("%s has a token in plain text", name)
		}
		return err
	}))
	return out.String(), errs.String()
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

// TestRotateCreate makes tokens in a real cluster: one for a token in a Secret, and one for a token that expires.
func TestRotateCreate(t *testing.T) {
	m := startScanned(t)
	admin := []string{"--from-kubeconfig", m.plane.KubeconfigPath(), "--from-context", "muster-devenv", "--yes"}
	host := m.plane.Config().Host
	old := m.kept("scanner-token")
	m.file(old, host)

	// What can't be meant, and what is not permitted. Nothing is made.
	before := m.read("eu.yaml")
	_, stderr := m.rotate(exitFailure, admin[:4]...)
	contains(t, stderr, "This is made in the cluster at "+host+":", "    a token that doesn't expire, in a new Secret scan/scanner-…, for the ServiceAccount scan/scanner", "--create needs --yes")
	_, stderr = m.rotate(exitOK, append(admin, "--dry-run")...)
	contains(t, stderr, "nothing was made, and nothing was written")
	_, stderr = m.rotate(exitFailure, "--from-kubeconfig", m.as, "--yes")
	contains(t, stderr, "get ServiceAccount scan/scanner", "check your rights there")
	_, stderr = m.rotate(exitFailure, append(admin[:3:3], "other", "--yes")...)
	contains(t, stderr, `the kubeconfig has no context "other" with a cluster`)
	if m.secrets() != "scanner-token" || m.read("eu.yaml") != before {
		t.Fatalf("Secrets: %s", m.secrets())
	}

	// The token doesn't work at the address in the file: what was made is deleted again.
	m.file(old, "https://127.0.0.1:1")
	_, stderr = m.rotate(exitFailure, admin...)
	contains(t, stderr, "The cluster file sends it to another address: https://127.0.0.1:1", "--yes is not enough")
	m.ca = testCA
	m.file(old, host)
	before = m.read("eu.yaml")
	_, stderr = m.rotate(exitFindings, admin...)
	contains(t, stderr, "[server-certificate-unknown]", "nothing was written", "is deleted again")
	if m.secrets() != "scanner-token" || m.read("eu.yaml") != before {
		t.Fatalf("Secrets: %s", m.secrets())
	}
	m.ca = string(m.plane.CACert())
	m.file(old, host)

	// The token is swapped. The printed command revokes the old one.
	stdout, stderr := m.rotate(exitOK, admin...)
	contains(t, stderr, "rights-partial", "Wrote "+filepath.Join(m.dir, "eu.yaml"), "revoke it by deleting its Secret:\n    kubectl --kubeconfig "+m.plane.KubeconfigPath()+" --context muster-devenv -n scan delete secret scanner-token\n")
	contains(t, stdout, "service-account: changed")
	contains(t, m.read("eu.yaml"), "# a comment", "token: ENC[")
	fresh := m.token()
	if fresh == old || !m.works(fresh) || !m.works(old) {
		t.Errorf("the new token works: %v, the old one: %v", m.works(fresh), m.works(old))
	}
	check(t, m.core.CoreV1().Secrets("scan").Delete(t.Context(), "scanner-token", metav1.DeleteOptions{}))
	until(t, "the old token is revoked", func() bool { return !m.works(old) })
	if !m.works(fresh) {
		t.Error("the new token ended with the old one")
	}
	m.file(old, host) // whose Secret is gone
	_, stderr = m.rotate(exitOK, admin...)
	contains(t, stderr, "Secret scan/scanner-token is gone, so the token is already revoked.")

	// A token that expires is replaced by one with the same lifetime. There is no new Secret.
	secrets, seconds := m.secrets(), int64(7200)
	answer, err := m.core.CoreV1().ServiceAccounts("scan").CreateToken(t.Context(), "scanner", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	check(t, err)
	m.file(answer.Status.Token, host)
	_, stderr = m.rotate(exitOK, admin...)
	contains(t, stderr, "    a token that expires after 2h0m0s, for the ServiceAccount scan/scanner", "The old token ends by itself on "+answer.Status.ExpirationTimestamp.UTC().Format("2006-01-02 15:04 UTC"))
	if !m.works(m.token()) || m.secrets() != secrets {
		t.Errorf("Secrets: %s, before %s", m.secrets(), secrets)
	}
	_, stderr = m.rotate(exitOK, append(admin, "--token-lifetime", "1h")...)
	contains(t, stderr, "expires after 1h0m0s")

	m.hostileTokens(admin)
}

// hostileTokens: whoever can push can write a token that claims anything.
func (m *scanned) hostileTokens(admin []string) {
	m.Helper()
	host := m.plane.Config().Host
	account, err := m.core.CoreV1().ServiceAccounts("scan").Get(m.Context(), "scanner", metav1.GetOptions{})
	check(m.T, err)
	claims := func(format string, args ...any) string {
		part := base64.RawURLEncoding.EncodeToString
		return part([]byte(`{"alg":"none"}`)) + "." + part(fmt.Appendf(nil, format, args...)) + ".eyJhbGci"
	}
	m.kept("of-another-program")
	for _, row := range []struct {
		reason, token string
		status        int
		want          string
	}{
		{"opaque", "canary-token-0123456789", exitFailure, "does not say which ServiceAccount it is for"},
		{"another account", claims(`{"sub":"system:serviceaccount:kube-system:admin","kubernetes.io":{"serviceaccount":{"uid":"x"}}}`), exitFailure, "has no ServiceAccount kube-system/admin"},
		{"an account of another cluster", claims(`{"sub":"system:serviceaccount:scan:scanner","kubernetes.io":{"serviceaccount":{"uid":"x"}}}`), exitFailure, "its UID differs"},
		{"without a beginning", claims(`{"sub":"system:serviceaccount:scan:scanner","exp":%d,"kubernetes.io":{"serviceaccount":{"uid":%q}}}`, time.Now().Add(time.Hour).Unix(), account.UID), exitFailure, "use --token-lifetime"},
		{"expired", claims(`{"sub":"system:serviceaccount:scan:scanner","iat":1,"exp":7201,"kubernetes.io":{"serviceaccount":{"uid":%q}}}`, account.UID), exitOK, "The old token has expired."},
		{"the Secret of another token", claims(`{"sub":"system:serviceaccount:scan:scanner","kubernetes.io/serviceaccount/secret.name":"of-another-program","kubernetes.io":{"serviceaccount":{"uid":%q}}}`, account.UID),
			exitOK, "Look for its Secret"},
	} {
		m.file(row.token, host)
		_, stderr := m.rotate(row.status, admin...)
		if !strings.Contains(stderr, row.want) || strings.Contains(stderr, "delete secret of-another-program") {
			m.Errorf("%s: %s", row.reason, stderr)
		}
	}

	// Not written, because the file can't be: what was made is deleted again.
	m.file(m.kept("last"), host)
	secrets := m.secrets()
	check(m.T, os.Mkdir(filepath.Join(m.dir, ".eu.yaml.muster"), 0o700)) // another muster is writing the file
	_, stderr := m.rotate(exitFailure, admin...)
	contains(m.T, stderr, "another muster is writing the file", "is deleted again")
	if m.secrets() != secrets {
		m.Errorf("Secrets: %s, before %s", m.secrets(), secrets)
	}
}
