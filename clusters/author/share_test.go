package author_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// scans makes drafts of specs, with the names a, b, ….
func scans(specs ...v1alpha1.Spec) *author.Import {
	im := &author.Import{}
	for i, spec := range specs {
		d := author.New(string(rune('a' + i)))
		d.Cluster.Spec = spec
		im.Clusters = append(im.Clusters, d)
	}
	return im
}

func sharedTexts(values []author.Shared) string {
	var list []string
	for _, s := range values {
		list = append(list, fmt.Sprintf("%s=%v %d %v", s.Field, s.Value, s.Clusters, s.Own))
	}
	return strings.Join(list, "\n")
}

func TestShare(t *testing.T) {
	daily, hourly := v1alpha1.Spec{Schedule: "1 2 * * *"}, v1alpha1.Spec{Schedule: "3 * * * *"}
	all := &v1alpha1.Filtering{}
	some := func() *v1alpha1.Filtering {
		return &v1alpha1.Filtering{Namespaces: &v1alpha1.Patterns{Exclude: []string{"kube-*", "build"}}}
	}
	pull := func() *v1alpha1.PrivateRegistries {
		return &v1alpha1.PrivateRegistries{SecretRef: &v1alpha1.SecretRef{Name: "pull"}}
	}
	inline := &v1alpha1.PrivateRegistries{DockerConfigJSON: "canary"}
	auth := func() v1alpha1.Spec {
		return v1alpha1.Spec{Kubeconfig: "canary", AuditConfig: "x", KubeconfigSecretRef: &v1alpha1.SecretRef{Name: "same"},
			ServiceAccountAuth: &v1alpha1.ServiceAccountAuth{Server: "https://same", Token: "canary", CACert: "same", CredentialsSecretRef: &v1alpha1.SecretRef{Name: "same"}},
			VaultAuth:          &v1alpha1.VaultAuth{Server: "https://same", VaultAddr: "https://same"}, SPIFFEAuth: &v1alpha1.SPIFFEAuth{Server: "https://same"},
			WorkloadIdentity: &v1alpha1.WorkloadIdentity{Provider: v1alpha1.EKS}}
	}
	for _, row := range []struct {
		reason string
		specs  []v1alpha1.Spec
		want   string
	}{
		{"no cluster", nil, ""},
		{"one cluster", []v1alpha1.Spec{daily}, ""},
		{"all", []v1alpha1.Spec{daily, daily}, "schedule=1 2 * * * 2 []"},
		{"more than half", []v1alpha1.Spec{hourly, daily, daily}, "schedule=1 2 * * * 2 [a]"},
		{"half", []v1alpha1.Spec{hourly, daily, daily, hourly}, ""},
		{"one without", []v1alpha1.Spec{daily, {}, daily}, "schedule=1 2 * * * 2 [b]"},
		{"most without", []v1alpha1.Spec{daily, {}, {}}, ""},
		{"no filter is another value than none", []v1alpha1.Spec{{Filtering: all}, {Filtering: all}, {}}, "filtering=map[] 2 [c]"},
		{"lists", []v1alpha1.Spec{{Filtering: some()}, {Filtering: some()}, {Filtering: all}}, "filtering=map[namespaces:map[exclude:[kube-* build]]] 2 [c]"},
		{"every field", []v1alpha1.Spec{{ContainerImageScanning: true, Repositories: &v1alpha1.Patterns{Include: []string{"r/*"}}, PrivateRegistries: pull()},
			{ContainerImageScanning: true, Repositories: &v1alpha1.Patterns{Include: []string{"r/*"}}, PrivateRegistries: pull()}},
			"containerImageScanning=true 2 []\nrepositories=map[include:[r/*]] 2 []\nprivateRegistries=map[secretRef:map[name:pull]] 2 []"},
		{"registry credentials", []v1alpha1.Spec{{PrivateRegistries: inline}, {PrivateRegistries: inline}}, ""},
		{"registry credentials of one", []v1alpha1.Spec{{PrivateRegistries: inline}, {PrivateRegistries: pull()}, {PrivateRegistries: pull()}}, "privateRegistries=map[secretRef:map[name:pull]] 2 [a]"},
		{"how clusters are reached", []v1alpha1.Spec{auth(), auth(), auth()}, ""},
	} {
		im := scans(row.specs...)
		before := fmt.Sprint(len(im.Clusters))
		for _, d := range im.Clusters {
			text, err := d.YAML("")
			if err != nil {
				t.Fatal(err)
			}
			before += string(text)
		}
		values := im.Common()
		for _, d := range im.Clusters { // to look changes nothing
			if text, _ := d.YAML(""); !strings.Contains(before, string(text)) {
				t.Errorf("%s: changed to\n%s", row.reason, text)
			}
		}
		if got := sharedTexts(im.Share(values)); got != row.want {
			t.Errorf("%s: got\n%s\nwant\n%s", row.reason, got, row.want)
		}
		component, err := author.Component(values)
		if err != nil || strings.Contains(string(component), "canary") || strings.Contains(string(component), "same") {
			t.Errorf("%s: %v\n%s", row.reason, err, component)
		}
		if again := sharedTexts(scans(row.specs...).Share(author.ParseComponent(component))); again != row.want {
			t.Errorf("%s: with the component that was written:\n%s\nwant\n%s", row.reason, again, row.want)
		}
		for i, d := range im.Clusters {
			for _, s := range values {
				field := strings.Contains(string(must(d.YAML(""))), "  "+s.Field+":")
				own := d.Cluster.Metadata.Labels[s.Label()] == "true"
				if field && !own {
					t.Errorf("%s: %d has %s, which the component sets", row.reason, i, s.Field)
				}
			}
		}
	}
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// A component that people have changed: what import doesn't know is not taken for a shared value.
func TestParseComponent(t *testing.T) {
	const good = "patches: [{target: {kind: ExternalCluster, labelSelector: own-schedule!=true}, patch: '[{op: add, path: /spec/schedule, value: 1 * * * *}]'}]"
	if got := sharedTexts(author.ParseComponent([]byte(good))); got != "schedule=1 * * * * 0 []" {
		t.Errorf("got %s", got)
	}
	for reason, change := range map[string][2]string{
		"another selector": {"own-schedule!=true", "tier=critical"}, "no selector": {", labelSelector: own-schedule!=true", ""}, "another kind": {"ExternalCluster", "Secret"},
		"another operation": {"op: add", "op: remove"}, "an authentication field": {"/spec/schedule", "/spec/kubeconfig"}, "a field below": {"/spec/schedule", "/spec/schedule/x"},
		"no list": {"[{op: add", "{op: add"}, "no YAML": {"patches: [", "patches: ]"},
	} {
		if got := author.ParseComponent([]byte(strings.Replace(good, change[0], change[1], 1))); len(got) > 0 {
			t.Errorf("%s: %v", reason, got)
		}
	}
}

func TestAddItem(t *testing.T) {
	for _, row := range []struct{ reason, text, want string }{
		{"no list", "# mine\nkind: Kustomization # k\n", "# mine\nkind: Kustomization # k\ncomponents:\n  - shared\n"},
		{"a list", "components:\n  - ../a # mine\n\n# end\nkind: Kustomization\n", "components:\n  - ../a # mine\n  - shared\n\n# end\nkind: Kustomization\n"},
		{"a list at the margin", "components:\n- ../a\n- b\nkind: Kustomization\n", "components:\n- ../a\n- b\n- shared\nkind: Kustomization\n"},
		{"without a newline at the end", "components:\n- ../a", "components:\n- ../a\n- shared"},
		{"a text of several lines", "components:\n- |\n  a\nkind: x\n", "components:\n  - |\n    a\n  - shared\nkind: x\n"},
		{"no value", "components:\nkind: x\n", "components:\n  - shared\nkind: x\n"},
		{"in brackets", "components: [../a]\n", "components:\n  - ../a\n  - shared\n"},
		{"listed", "components: [shared]\n", "components: [shared]\n"},
		{"in braces", "{kind: Kustomization}\n", ""},
		{"a value that is no list", "components: shared\n", ""},
		{"no YAML", "kind: [\n", ""},
		{"an empty file", "", ""},
	} {
		got, err := author.AddItem([]byte(row.text), "components", "shared")
		if (err != nil) != (row.want == "") || err == nil && string(got) != row.want {
			t.Errorf("%s: %v\n%s", row.reason, err, got)
		}
	}
}
