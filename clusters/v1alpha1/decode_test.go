package v1alpha1_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

func TestBad(t *testing.T) {
	for reason, sample := range bad {
		found, problems := check(t, sample.text)
		if !slices.Equal(found, sample.want) {
			t.Errorf("%s:\n got %s\nwant %s", reason, strings.Join(found, "\n     "), strings.Join(sample.want, "\n     "))
		}
		for _, p := range problems {
			if text := p.Message + p.Fix; strings.ContainsAny(text, "\n\r") || strings.Contains(text, "canary") || strings.Contains(text, "ENC[") {
				t.Errorf("%s: message %q, fix %q", reason, p.Message, p.Fix)
			}
		}
	}
}

func TestDecodeKeepsAbsentAndEmptyApart(t *testing.T) {
	absent, _ := v1alpha1.Decode(object(t, file("kubeconfigSecretRef: {name: a}")), nil)
	if absent.Spec.Filtering != nil || absent.Spec.Repositories != nil {
		t.Error("absent filters became empty ones")
	}
	empty, _ := v1alpha1.Decode(object(t, file("filtering: {}\nrepositories: {include: []}")), nil)
	if empty.Spec.Filtering == nil || empty.Spec.Filtering.Namespaces != nil {
		t.Errorf("filtering: {} became %+v", empty.Spec.Filtering)
	}
	if empty.Spec.Repositories == nil || empty.Spec.Repositories.Include == nil || empty.Spec.Repositories.Exclude != nil {
		t.Errorf("repositories: {include: []} became %#v", empty.Spec.Repositories)
	}
}

func TestDecodeReadsEveryField(t *testing.T) {
	cluster, problems := v1alpha1.Decode(object(t, good["Vault"]), nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	again, err := json.Marshal(cluster)
	if err != nil {
		t.Fatal(err)
	}
	want, err := yaml.YAMLToJSON([]byte(good["Vault"]))
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal(again, &a) != nil || json.Unmarshal(want, &b) != nil || !jsonEqual(a, b) {
		t.Errorf("read %s\nof %s", again, want)
	}
}

func jsonEqual(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func TestDecodeAdvice(t *testing.T) {
	tests := []struct{ reason, spec, path, fix string }{
		{"letters swapped", "shcedule: '@daily'", "spec.shcedule", "did you mean spec.schedule?"},
		{"another convention", "kubeconfig_secret_ref: {name: a}", "spec.kubeconfig_secret_ref", "did you mean spec.kubeconfigSecretRef?"},
		{"another case", "spiffeauth: {}", "spec.spiffeauth", "did you mean spec.spiffeAuth?"},
		{"an entry's name, pasted", "name: eu", "spec.name", "it belongs to metadata.name"},
		{"one level up", "server: https://a", "spec.server", "it belongs to spec.serviceAccountAuth.server or spec.vaultAuth.server or spec.spiffeAuth.server"},
		{"one level up, filter", "filtering: {include: [a]}", "spec.filtering.include", "it belongs to spec.filtering.namespaces.include or spec.repositories.include"},
		{"elsewhere in another case", "RoleARN: a", "spec.RoleARN", "it belongs to spec.workloadIdentity.eks.roleArn"},
		{"nothing like it", "filtering: {frobnicate: 1}", "spec.filtering.frobnicate", "remove it; the fields here are namespaces"},
	}
	for _, test := range tests {
		_, problems := v1alpha1.Decode(object(t, file(test.spec)), nil)
		if len(problems) != 1 || problems[0].Path() != test.path || problems[0].Fix != test.fix {
			t.Errorf("%s: %+v; want %s: %s", test.reason, problems, test.path, test.fix)
		}
	}
}

func TestDecodeMessages(t *testing.T) {
	tests := []struct{ reason, spec, message, fix string }{
		{"kinds are named", "auditConfig: [a]", "spec.auditConfig must be text, but is a list", "write text"},
		{"numbers want quotes", "auditConfig: 5", "spec.auditConfig must be text, but is a number", "quote it"},
		{"JSON as a mapping", "privateRegistries: {dockerConfigJson: {a: canary}}", "spec.privateRegistries.dockerConfigJson must be text, but is a mapping", "write the JSON as text: dockerConfigJson: | and the text below it"},
		{"null filter", "filtering:", "spec.filtering has no value", "write filtering: {} to scan all, or remove the field to inherit from the audit config"},
		{"encrypted", "schedule: " + handle, "spec.schedule is encrypted, but Muster must know it without keys", "encrypt only credentials: set mac_only_encrypted: true, encrypted_regex: '^(data|stringData|kubeconfig|token|server|caCert|dockerConfigJson)$' in .sops.yaml, then decrypt and encrypt the file again"},
		{"a credential became a key", "serviceAccountAuth: {token: {eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMzQ1Njc4OTAifQ: canary}}", "spec.serviceAccountAuth.token must be text, but is a mapping", "write text"},
		{"a credential became a field", "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMzQ1Njc4OTAifQ: canary", "unknown field with a name that can't be shown in a cluster file", "remove it; the fields here are auditConfig, containerImageScanning, filtering, kubeconfig, kubeconfigFile, kubeconfigFrom, kubeconfigSecretRef, privateRegistries, privateRegistriesPullSecretRef, renew, repositories, schedule, serviceAccountAuth, spiffeAuth, vaultAuth, workloadIdentity"},
	}
	for _, test := range tests {
		_, problems := v1alpha1.Decode(object(t, file(test.spec)), encrypted)
		if len(problems) != 1 || problems[0].Message != test.message || problems[0].Fix != test.fix {
			t.Errorf("%s: %+v", test.reason, problems)
		}
	}
}

// TestDecodeTakesWhatParsersGive: numbers have different Go types, and careless callers pass other types.
func TestDecodeTakesWhatParsersGive(t *testing.T) {
	for _, value := range []any{5, int64(5), uint64(5), 5.5, json.Number("5"), []string{"a"}, map[any]any{"a": "b"}, struct{}{}, make(chan int)} {
		cluster, problems := v1alpha1.Decode(map[string]any{"spec": map[string]any{"auditConfig": value}}, nil)
		if cluster == nil || len(problems) != 3 {
			t.Errorf("%T: %+v", value, problems)
		}
	}
	cluster, problems := v1alpha1.Decode(nil, nil)
	if cluster == nil || len(problems) != 2 {
		t.Errorf("no object: %+v, %+v", cluster, problems)
	}
}

func TestDecodeLeavesItsInputAlone(t *testing.T) {
	obj := object(t, good["what kustomize adds"])
	v1alpha1.Decode(obj, nil)
	if _, ok := obj["sops"]; !ok {
		t.Error("Decode took the sops block out of its caller's object")
	}
}

// TestValidateTwice: a problem behind a handle is found after opening, and only then.
func TestValidateTwice(t *testing.T) {
	cluster, problems := v1alpha1.Decode(object(t, file("serviceAccountAuth: {server: '"+handle+"', token: '"+handle+"', caCert: '"+handle+"'}")), encrypted)
	if problems = append(problems, cluster.Validate(encrypted)...); len(problems) > 0 {
		t.Fatalf("sealed: %+v", problems)
	}
	cluster.Spec.ServiceAccountAuth.Server = "http://canary"
	problems = cluster.Validate(nil)
	// The other two handles are values now, which package credential checks.
	if len(problems) != 1 || problems[0].Code != v1alpha1.CodeServer || strings.Contains(problems[0].Message, "canary") {
		t.Errorf("opened: %+v", problems)
	}
}

func TestPlainCredentials(t *testing.T) {
	tests := []struct {
		reason, spec string
		want         []string
	}{
		{"kubeconfig", "kubeconfig: canary", []string{"spec.kubeconfig"}},
		{"token", "serviceAccountAuth: {server: 'https://a', token: canary, caCert: x}", []string{"spec.serviceAccountAuth.token"}},
		{"registries", "privateRegistries: {dockerConfigJson: '{canary}'}", []string{"spec.privateRegistries.dockerConfigJson"}},
		{"private keys among certificates", "serviceAccountAuth: {caCert: 'x -----BEGIN PRIVATE KEY----- canary'}\n" +
			"vaultAuth: {caCert: '-----BEGIN EC PRIVATE KEY----- canary', targetCACert: '-----BEGIN RSA PRIVATE KEY----- canary'}\n" +
			"spiffeAuth: {trustBundle: '-----BEGIN ENCRYPTED PRIVATE KEY----- canary'}",
			[]string{"spec.serviceAccountAuth.caCert", "spec.vaultAuth.caCert", "spec.vaultAuth.targetCACert", "spec.spiffeAuth.trustBundle"}},
		{"certificates, and an encrypted key", "serviceAccountAuth: {caCert: '-----BEGIN CERTIFICATE-----'}\nspiffeAuth: {trustBundle: '" + handle + "'}", nil},
		{"all encrypted", "kubeconfig: " + handle + "\nserviceAccountAuth: {token: '" + handle + "'}\nprivateRegistries: {dockerConfigJson: '" + handle + "'}", nil},
		{"none", "serviceAccountAuth: {}\nprivateRegistries: {}", nil},
	}
	for _, test := range tests {
		cluster, _ := v1alpha1.Decode(object(t, file(test.spec)), encrypted)
		var got []string
		for _, p := range cluster.PlainCredentials(encrypted) {
			got = append(got, p.Path())
			if p.Code != v1alpha1.CodePlainCredential || strings.Contains(p.Message+p.Fix, "canary") {
				t.Errorf("%s: %+v", test.reason, p)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
	}
}

// FuzzDecode verifies that no document makes Decode or Validate panic, and that messages contain nothing from the document but
// the names of unknown fields.
func FuzzDecode(f *testing.F) {
	for _, text := range good {
		f.Add(text)
	}
	for _, sample := range bad {
		f.Add(sample.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var obj map[string]any
		if yaml.Unmarshal([]byte(text), &obj) != nil {
			return
		}
		mark(obj)
		cluster, problems := v1alpha1.Decode(obj, encrypted)
		problems = append(problems, cluster.Validate(encrypted)...)
		problems = append(problems, cluster.PlainCredentials(encrypted)...)
		for _, p := range problems {
			if p.Message == "" || p.Code == "" || strings.ContainsAny(p.Message+p.Fix, "\r\n\x00\x1b") || strings.Contains(p.Message+p.Fix, "CANARY") {
				t.Errorf("%+v", p)
			}
		}
	})
}

// mark appends a canary to every text value except the schedule, which may be shown.
func mark(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for k, v := range value {
			if k != "schedule" {
				value[k] = mark(v)
			}
		}
	case []any:
		for i, v := range value {
			value[i] = mark(v)
		}
	case string:
		return value + "CANARY"
	}
	return value
}
