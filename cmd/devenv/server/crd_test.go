package server

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

var auditConfigs = schema.GroupVersionResource{Group: "k8s.mondoo.com", Version: "v1alpha2", Resource: "mondooauditconfigs"}

func TestMondooAuditConfigCRD(t *testing.T) {
	SkipShort(t)
	if err := InstallCRDs(t.Context(), plane.Config(), MondooAuditConfigCRD()); err != nil {
		t.Fatal(err)
	}
	if err := InstallCRDs(t.Context(), plane.Config(), MondooAuditConfigCRD()); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	ns := namespace(t, plane)
	configs := dynamicClient(t).Resource(auditConfigs).Namespace(ns)

	const vault = "vaultAuth: {server: 'https://x', vaultAddr: 'https://v', authRole: a, credsRole: c"
	for _, tt := range []struct {
		reason, entry string
		field         string // the one that the server complains of; empty if it takes the entry
	}{
		{"a kubeconfig", "{name: a, kubeconfigSecretRef: {name: s}}", ""},
		{"no name", "{kubeconfigSecretRef: {name: s}}", "name"},
		{"a name with capitals", "{name: A}", "name"},
		{"a name that ends in a dash", "{name: a-}", "name"},
		{"a service account", "{name: a, serviceAccountAuth: {server: 'https://x', credentialsSecretRef: {name: s}}}", ""},
		{"a server without TLS", "{name: a, serviceAccountAuth: {server: 'http://x', credentialsSecretRef: {name: s}}}", "serviceAccountAuth.server"},
		{"no credentials", "{name: a, serviceAccountAuth: {server: 'https://x'}}", "serviceAccountAuth.credentialsSecretRef"},
		{"an unknown cloud", "{name: a, workloadIdentity: {provider: oci}}", "workloadIdentity.provider"},
		{"half of GKE", "{name: a, workloadIdentity: {provider: gke, gke: {projectId: p, clusterName: c, clusterLocation: l}}}", "workloadIdentity.gke.googleServiceAccount"},
		{"half of EKS", "{name: a, workloadIdentity: {provider: eks, eks: {region: r, clusterName: c}}}", "workloadIdentity.eks.roleArn"},
		{"half of AKS", "{name: a, workloadIdentity: {provider: aks, aks: {subscriptionId: s, resourceGroup: g, clusterName: c, clientId: i}}}", "workloadIdentity.aks.tenantId"},
		{"EKS", "{name: a, workloadIdentity: {provider: eks, eks: {region: r, clusterName: c, roleArn: a}}}", ""},
		{"Vault without a role", "{name: a, vaultAuth: {server: 'https://x', vaultAddr: 'https://v', authRole: a}}", "vaultAuth.credsRole"},
		{"Vault", "{name: a, " + vault + "}}", ""},
		{"SPIFFE without a bundle", "{name: a, spiffeAuth: {server: 'https://x'}}", "spiffeAuth.trustBundleSecretRef"},
		{"an empty filter", "{name: a, filtering: {}, repositories: {}, containerImageScanning: true}", ""},
		{"a filter that is no list", "{name: a, filtering: {namespaces: {include: all}}}", "filtering.namespaces.include"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := configs.Create(t.Context(), auditConfig(t, tt.entry), metav1.CreateOptions{})
			if tt.field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var status apierrors.APIStatus
			if !errors.As(err, &status) || !apierrors.IsInvalid(err) {
				t.Fatalf("got %v, want invalid", err)
			}
			want := "spec.kubernetesResources.externalClusters[0]." + tt.field
			for _, cause := range status.Status().Details.Causes {
				if cause.Field == want {
					return
				}
			}
			t.Errorf("got %v, want a complaint of %s", err, want)
		})
	}
}

func TestMondooAuditConfigDefaultsAndUnknownFields(t *testing.T) {
	SkipShort(t)
	if err := InstallCRDs(t.Context(), plane.Config(), MondooAuditConfigCRD()); err != nil {
		t.Fatal(err)
	}
	configs := dynamicClient(t).Resource(auditConfigs).Namespace(namespace(t, plane))
	created, err := configs.Create(t.Context(), auditConfig(t, `{name: a,
		serviceAccountAuth: {server: 'https://x', credentialsSecretRef: {name: s}},
		spiffeAuth: {server: 'https://x', trustBundleSecretRef: {name: s}},
		vaultAuth: {server: 'https://x', vaultAddr: 'https://v', authRole: a, credsRole: c},
		filtering: {}, unheardOf: true}`), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := unstructured.NestedSlice(created.Object, "spec", "kubernetesResources", "externalClusters")
	if err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v", list, err)
	}
	entry := list[0].(map[string]any)
	for path, want := range map[string]any{
		"serviceAccountAuth.skipTLSVerify": false,
		"spiffeAuth.socketPath":            "/run/spire/sockets/agent.sock",
		"vaultAuth.authPath":               "auth/kubernetes",
		"vaultAuth.secretsPath":            "kubernetes",
		"unheardOf":                        nil, // pruned
	} {
		got, _, err := unstructured.NestedFieldNoCopy(entry, strings.Split(path, ".")...)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", path, got, err, want)
		}
	}
	if filtering, ok := entry["filtering"].(map[string]any); !ok || len(filtering) != 0 {
		t.Errorf("filtering: got %v, want an empty object", entry["filtering"])
	}
}

func TestMondooAuditConfigSpecIsChecked(t *testing.T) {
	SkipShort(t)
	if err := InstallCRDs(t.Context(), plane.Config(), MondooAuditConfigCRD()); err != nil {
		t.Fatal(err)
	}
	configs := dynamicClient(t).Resource(auditConfigs).Namespace(namespace(t, plane))
	for _, tt := range []struct {
		reason, field string
		value         any
	}{
		{"no Mondoo credentials", "mondooCredsSecretRef", nil},
		{"an annotation key with =", "annotations", map[string]any{"a=b": "c"}},
		{"an empty annotation key", "annotations", map[string]any{"": "c"}},
		{"an empty annotation", "annotations", map[string]any{"a": ""}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			o := auditConfig(t, "{name: a}")
			spec := o.Object["spec"].(map[string]any)
			if spec[tt.field] = tt.value; tt.value == nil {
				delete(spec, tt.field)
			}
			if _, err := configs.Create(t.Context(), o, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
				t.Errorf("got %v, want invalid", err)
			}
		})
	}
}

func TestInstallCRDsTakesNothingElse(t *testing.T) {
	SkipShort(t)
	for reason, document := range map[string]string{
		"another kind": "apiVersion: v1\nkind: Namespace\nmetadata: {name: sneaked-in}",
		"not YAML":     "\tno: yaml",
	} {
		if err := InstallCRDs(t.Context(), plane.Config(), []byte(document)); err == nil {
			t.Errorf("%s: no error", reason)
		}
	}
}

// auditConfig has one entry, in YAML.
func auditConfig(t *testing.T, entry string) *unstructured.Unstructured {
	t.Helper()
	var parsed map[string]any
	if err := yaml.Unmarshal([]byte(entry), &parsed); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": auditConfigs.GroupVersion().String(),
		"kind":       "MondooAuditConfig",
		"metadata":   map[string]any{"generateName": "test-"},
		"spec": map[string]any{
			"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"},
			"kubernetesResources":  map[string]any{"externalClusters": []any{parsed}},
		},
	}}
}

func dynamicClient(t *testing.T) dynamic.Interface {
	t.Helper()
	cfg := plane.Config()
	cfg.WarningHandler = rest.NoWarnings{} // of fields that a test wants pruned
	c, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
