package setup_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/setup"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// entries has an entry for each method, and for each provider of workload identity.
func entries() map[string]mondoo.Entry {
	wif := func(w mondoo.WorkloadIdentity) mondoo.Entry { return mondoo.Entry{WorkloadIdentity: &w} }
	all := map[string]mondoo.Entry{
		"kubeconfig":         {KubeconfigSecretRef: &mondoo.SecretRef{Name: "eu"}},
		"serviceAccountAuth": {ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: "https://eu.example.com"}},
		"workloadIdentity, gke": wif(mondoo.WorkloadIdentity{Provider: "gke", GKE: &mondoo.GKE{ProjectID: "example-project", ClusterName: "eu",
			ClusterLocation: "europe-west1", GoogleServiceAccount: "scanner@example-project.iam.gserviceaccount.com"}}),
		"workloadIdentity, eks": wif(mondoo.WorkloadIdentity{Provider: "eks", EKS: &mondoo.EKS{Region: "eu-central-1", ClusterName: "eu",
			RoleARN: "arn:aws:iam::123456789012:role/scans/mondoo-scanner"}}),
		"workloadIdentity, aks": wif(mondoo.WorkloadIdentity{Provider: "aks", AKS: &mondoo.AKS{SubscriptionID: "00000000-0000-0000-0000-000000000001",
			ResourceGroup: "example group", ClusterName: "eu", ClientID: "00000000-0000-0000-0000-000000000002", TenantID: "00000000-0000-0000-0000-000000000003"}}),
		"vaultAuth": {VaultAuth: &mondoo.VaultAuth{Server: "https://eu.example.com:6443", VaultAddr: "https://vault.example.com:8200", VaultNamespace: "admin/team-a",
			AuthPath: "auth/kubernetes-management", AuthRole: "mondoo-operator", SecretsPath: "kubernetes-eu", CredsRole: "scanner", KubernetesNamespace: "scans", TTL: "90m"}},
		"spiffeAuth": {SPIFFEAuth: &mondoo.SPIFFEAuth{Server: "https://eu.example.com:6443"}},
	}
	for method, e := range all {
		e.Name = "eu"
		all[method] = e
	}
	return all
}

func TestGolden(t *testing.T) {
	for method, entry := range entries() {
		s := setup.For(entry, "mondoo-client", "mondoo-operator")
		if s.Method != method {
			t.Errorf("%s: the method is %q", method, s.Method)
		}
		name := strings.TrimPrefix(method, "workloadIdentity, ")
		golden(t, name+".sh", s.Commands())
		golden(t, name+".yaml", string(s.RBAC()))
		golden(t, name+".tf", string(s.Terraform()))
		renewed := s.Renewing()
		if method != "serviceAccountAuth" && method != "kubeconfig" {
			if renewed.Commands() != s.Commands() || string(renewed.Terraform()) != string(s.Terraform()) {
				t.Errorf("%s has no token to renew", method)
			}
			continue
		}
		golden(t, name+"-renew.sh", renewed.Commands())
		golden(t, name+"-renew.yaml", string(renewed.RBAC()))
		golden(t, name+"-renew.tf", string(renewed.Terraform()))
	}
	// The operator's defaults, and a value that each method needs but doesn't have.
	golden(t, "vaultAuth-defaults.sh", setup.For(mondoo.Entry{Name: "eu", VaultAuth: &mondoo.VaultAuth{AuthRole: "mondoo-operator"}}, "mondoo-client", "mondoo-operator").Commands())
	golden(t, "eks-unknown.tf", string(setup.For(mondoo.Entry{Name: "eu", WorkloadIdentity: &mondoo.WorkloadIdentity{EKS: &mondoo.EKS{}}}, "mondoo-client", "mondoo-operator").Terraform()))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not\n%s", name, got)
	}
}

// TestAllMethods sets each authentication field of a cluster file in turn.
func TestAllMethods(t *testing.T) {
	every := v1alpha1.Spec{}
	fill(reflect.ValueOf(&every).Elem())
	methods := every.Methods()
	if len(methods) < 7 {
		t.Fatalf("found only the methods %v", methods)
	}
	for _, method := range methods {
		var spec v1alpha1.Spec
		field, _ := reflect.TypeFor[v1alpha1.Spec]().FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, method) })
		fill(reflect.ValueOf(&spec).Elem().FieldByIndex(field.Index))
		if !checkMethod(t, method, spec) || spec.WorkloadIdentity == nil {
			continue
		}
		blocks := reflect.TypeFor[v1alpha1.WorkloadIdentity]()
		for i := range blocks.NumField() {
			if blocks.Field(i).Type.Kind() != reflect.Pointer {
				continue
			}
			one := v1alpha1.WorkloadIdentity{}
			fill(reflect.ValueOf(&one).Elem().Field(i))
			checkMethod(t, method+"."+blocks.Field(i).Name, v1alpha1.Spec{WorkloadIdentity: &one})
		}
	}
}

func checkMethod(t *testing.T, name string, spec v1alpha1.Spec) bool {
	file := &v1alpha1.ExternalCluster{Metadata: v1alpha1.Metadata{Name: "eu"}, Spec: spec}
	s := setup.For(compile.Entry(file, "mondoo-client", mondoo.UnknownHash, false), "mondoo-client", "mondoo-operator")
	if s.Method == "" || len(s.Steps) == 0 || len(s.RBAC()) == 0 || len(s.Terraform()) == 0 {
		t.Errorf("%s has no setup: %+v", name, s)
		return false
	}
	return true
}

// fill sets strings to text, and pointers to new values.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	default:
	}
}
