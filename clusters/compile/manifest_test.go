package compile_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

const canary = "CANARYp7Wd3KxQ"

// compiled is the fleet of some files in one folder.
func compiled(t *testing.T, files map[string]string) *fleet.Sealed {
	t.Helper()
	repository := fstest.MapFS{}
	for name, text := range files {
		repository[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	tree, err := load.Load(context.Background(), repository, ".", load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	built, err := kustomize.Build(context.Background(), seal.NewSealer().Seal(tree, nil), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return (&compile.Memory{}).Compile(built, compile.Options{Namespace: "mondoo-operator", Source: repository})
}

// errorsOf are the errors of a fleet as "code line", without the canary in any.
func errorsOf(t *testing.T, f *fleet.Sealed) []string {
	t.Helper()
	var list []string
	for _, at := range f.Findings {
		if strings.Contains(fmt.Sprintf("%+v", at), canary) {
			t.Errorf("a finding repeats a secret: %s", at)
		}
		if at.Severity == finding.Error {
			list = append(list, fmt.Sprintf("%s %d", at.Code, at.Line))
		}
	}
	slices.Sort(list)
	return list
}

// TestSecretManifests: what a Secret has of the wrong type, without a value or in a field that no Secret has is an error at its place, and
// the Secret is not applied as if it weren't there.
func TestSecretManifests(t *testing.T) {
	key := sealtest.NewKey(t)
	encrypted := func(plain string) string { return key.Encrypt(t, "s.yaml", plain, sealtest.Credentials) }
	secret := func(rest string) string { return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n" + rest }
	certificate := "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
	for _, row := range []struct {
		name, text string
		want       []string
	}{
		{"text", encrypted(secret("stringData:\n  a: " + canary + "\n")), nil},
		{"what kubectl get writes", encrypted(secret("  creationTimestamp: null\n  uid: x\n  resourceVersion: \"1\"\n  generation: 1\n  managedFields: [{manager: x}]\n  selfLink: /x\nstringData:\n  a: x\n")), nil},
		{"number as key", secret("stringData:\n  8443: " + canary + "\n"), []string{"plain-credential 6", "wrong-type 5"}},
		{"true as key", secret("stringData:\n  true: " + canary + "\n"), []string{"plain-credential 6", "wrong-type 5"}},
		{"null as key", secret("stringData:\n  ~: " + canary + "\n"), []string{"wrong-type 6"}},
		{"label with a number as key", secret("  labels: {1: x}\nstringData: {}\n"), []string{"wrong-type 5"}},
		{"number as key of data", secret("data:\n  1: " + base64.StdEncoding.EncodeToString([]byte(canary)) + "\n"), []string{"plain-credential 6", "wrong-type 5"}},
		{"block that is text", secret("stringData: " + canary + "\n"), []string{"plain-credential 5", "wrong-type 5"}},
		{"block that is encrypted text", encrypted(secret("stringData: " + canary + "\n")), []string{"wrong-type 5"}},
		{"block that is a list", secret("data: [" + canary + "]\n"), []string{"plain-credential 5", "wrong-type 5"}},
		{"block without value", secret("stringData:\n"), []string{"null-value 5"}},
		{"misspelt block", secret("stringdata:\n  a: " + canary + "\n"), []string{"plain-credential 6", "unknown-field 5"}},
		{"misspelt block, encrypted", key.Encrypt(t, "s.yaml", secret("stringdata:\n  a: "+canary+"\n"), sealtest.Rule{EncryptedRegex: "^stringdata$"}), []string{"unknown-field 5"}},
		{"block indented wrongly", secret("  stringData:\n    a: " + canary + "\n"), []string{"plain-credential 5", "unknown-field 5"}},
		{"value at the top", secret("stringData: {}\npassword: " + canary + "\n"), []string{"plain-credential 6", "unknown-field 6"}},
		{"value that is null", secret("stringData:\n  a: null\n"), []string{"null-value 6"}},
		{"value that is a number", secret("stringData:\n  a: 12345678\n"), []string{"plain-credential 6", "wrong-type 6"}},
		{"value that is a mapping", secret("stringData:\n  a: {b: " + canary + "}\n"), []string{"plain-credential 6", "wrong-type 6"}},
		{"value that is a list of numbers", secret("stringData:\n  a: [1]\n"), []string{"plain-credential 6", "wrong-type 6"}},
		{"value that is a date", secret("stringData:\n  a: 2024-01-01\n"), []string{"plain-credential 6", "wrong-type 6"}},
		{"encrypted integer", encrypted(secret("stringData:\n  a: 0123456\n")), []string{"wrong-type 6"}},
		{"encrypted float", encrypted(secret("stringData:\n  a: 1.10\n")), []string{"wrong-type 6"}},
		{"encrypted truth", encrypted(secret("data:\n  a: true\n")), []string{"wrong-type 6"}},
		{"encrypted date", encrypted(secret("stringData:\n  a: 2024-01-01\n")), []string{"wrong-type 6"}},
		{"encrypted number in quotes", encrypted(secret("stringData:\n  a: \"0123456\"\n")), nil},
		{"label that is a number", encrypted(secret("  labels:\n    team: 1\nstringData: {a: x}\n")), []string{"wrong-type 6"}},
		{"label without value", encrypted(secret("  labels:\n    team:\nstringData: {a: x}\n")), []string{"null-value 6"}},
		{"annotation that is true", encrypted(secret("  annotations:\n    a: true\nstringData: {a: x}\n")), []string{"wrong-type 6"}},
		{"name that is a number", encrypted(strings.Replace(secret("stringData: {a: x}\n"), "name: s", "name: 12", 1)), []string{"wrong-type 4"}},
		{"type that is a number", encrypted(secret("type: 1\nstringData: {a: x}\n")), []string{"wrong-type 5"}},
		{"immutable that is text", encrypted(secret("immutable: \"true\"\nstringData: {a: x}\n")), []string{"wrong-type 5"}},
		{"finalizers", encrypted(secret("  finalizers: [x/y]\nstringData: {a: x}\n")), []string{"unknown-field 5"}},
		{"owner", encrypted(secret("  ownerReferences: []\nstringData: {a: x}\n")), []string{"unknown-field 5"}},
		{"certificates without a line end between them", secret("stringData:\n  ca.crt: \"" + strings.ReplaceAll(certificate+certificate, "\n", "\\n") + "\"\n"), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := compiled(t, map[string]string{"s.yaml": row.text})
			if got := errorsOf(t, f); !slices.Equal(got, row.want) {
				t.Errorf("%q, want %q\n%v", got, row.want, f.Findings)
			}
			kept := len(f.Secrets) == 1 && f.Secrets[0].Quarantined == (len(row.want) > 0)
			if left := len(f.Secrets) == 0 && f.Broken["s.yaml"]; !kept && !left {
				t.Errorf("the Secrets are %+v", f.Secrets)
			}
		})
	}
}

// TestImmutable: the field reaches the fleet, and changes the hash.
func TestImmutable(t *testing.T) {
	key := sealtest.NewKey(t)
	manifest := func(rest string) string {
		return key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  a: x\n"+rest, sealtest.Credentials)
	}
	free := manifest("")
	a, b := compiled(t, map[string]string{"s.yaml": free}), compiled(t, map[string]string{"s.yaml": strings.Replace(free, "kind: Secret\n", "kind: Secret\nimmutable: true\n", 1)})
	if a.Secrets[0].Immutable || !b.Secrets[0].Immutable {
		t.Error("immutable is not that of the manifest")
	}
	if a.Secrets[0].Hash == b.Secrets[0].Hash {
		t.Error("a Secret that becomes immutable has the hash that it had")
	}
}

// TestIdentity: objects whose names and kinds aren't text are told of, and nothing of them is taken.
func TestIdentity(t *testing.T) {
	config := "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata:\n  name: m\nspec:\n  mondooCredsSecretRef: {name: c}\n"
	for _, row := range []struct{ name, text, want string }{
		{"name of an audit config", strings.Replace(config, "name: m", "name: 5", 1), "audit-config 4"},
		{"key in an audit config", config + "  scanner: {1: x}\n", "audit-config 7"},
		{"reference that is a number", strings.Replace(config, "{name: c}", "{name: 1}", 1), "audit-config 5"},
	} {
		f := compiled(t, map[string]string{"m.yaml": row.text})
		if got := errorsOf(t, f); !slices.Contains(got, row.want) || len(f.AuditConfigs) > 0 || !f.Stopped {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// TestEncryptedNumbersOfClusters: a credential of a cluster file that sops has encrypted as a number is told of without a key.
func TestEncryptedNumbersOfClusters(t *testing.T) {
	key := sealtest.NewKey(t)
	for _, value := range []string{"0123456789", "0123456", "1e3", "true", "2024-01-01"} {
		f := compiled(t, map[string]string{"c.yaml": key.Encrypt(t, "c.yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: c\nspec:\n"+
			"  serviceAccountAuth:\n    server: https://c.example.com\n    token: "+value+"\n", sealtest.Credentials)})
		if got := errorsOf(t, f); !slices.Contains(got, "wrong-type 8") {
			t.Errorf("%s: %q", value, got)
		}
	}
}
