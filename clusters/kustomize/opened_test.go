package kustomize

import (
	"encoding/base64"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestOpenedIsWhatIsGenerated: each value that a generator reads from an encrypted file is reported as secret, byte for byte:
// exactly what kustomize keeps of a line is masked.
func TestOpenedIsWhatIsGenerated(t *testing.T) {
	key := sealtest.NewKey(t)
	for _, value := range []string{"a", "a ", " a", "a\t", "\ta", "a\u00a0", "\u00a0a", " ", "a=b", `"a"`, "a\r", "#a", "a b", "\u2003a\u2003"} {
		files := repository{"fleet/kustomization.yaml": "secretGenerator: [{name: s, envs: [s.env]}]\ngenerators: [g.yaml]\n",
			"fleet/g.yaml": "apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: g}\nname: g\nenvs: [g.env]\n"}
		for _, name := range []string{"s", "g"} {
			files["fleet/"+name+".env"] = key.Encrypt(t, name+".env", "A="+value+"\nB="+name+"\n", sealtest.Everything)
		}
		result := files.build(t, "fleet", key.Opener(t), unitSize)
		if len(result.Resources) != 2 {
			t.Fatalf("%q: %v", value, result.Findings)
		}
		for _, r := range result.Resources {
			data, _, err := unstructured.NestedStringMap(r.Object, "data")
			if err != nil || len(data) != 2 {
				t.Fatalf("%q: %v, %v", value, data, err)
			}
			for name, text := range data {
				plain, err := base64.StdEncoding.DecodeString(text)
				if err != nil || !slices.Contains(result.Opened, string(plain)) {
					t.Errorf("%q: %s is %q, which is not among %q", value, name, plain, result.Opened)
				}
			}
		}
	}
}
