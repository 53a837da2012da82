package compile_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// TestGeneratedAsKustomizeDoes: what a generator makes of an encrypted file is what kustomize makes of the plain one, blanks and options
// with it, and no value of it is taken for one that stands in Git in plain text.
func TestGeneratedAsKustomizeDoes(t *testing.T) {
	key := sealtest.NewKey(t)
	for _, options := range []string{"", "generatorOptions: {immutable: true}\n", "generatorOptions: {immutable: false, disableNameSuffixHash: true}\n"} {
		for reason, value := range map[string]string{"text": "a", "a blank behind it": "a ", "a blank before it": " a", "a tab behind it": "a\t", "a blank that doesn't break": "a\u00a0", "blanks alone": " \t",
			"an equals sign": "a=b ", "in quotes": `"a "`, "what looks like a comment": "#a ", "a carriage return behind it": "a\r"} {
			root := "secretGenerator: [{name: g, envs: [g.env]}]\n" + options
			env := "A=" + value + "\nB=b\n"
			repository := fstest.MapFS{"kustomization.yaml": {Data: []byte(root)}, "g.env": {Data: []byte(key.Encrypt(t, "g.env", env, sealtest.Everything))}}
			tree, err := load.Load(t.Context(), repository, ".", load.Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			built, err := kustomize.Build(t.Context(), seal.NewSealer().Seal(tree, nil), key.Opener(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			sealed := (&compile.Memory{}).Compile(built, compile.Options{Namespace: "mondoo-operator", Source: repository})
			if n := finding.Errors(sealed.Findings); n > 0 || len(sealed.Secrets) != 1 {
				t.Fatalf("%s: %v", reason, sealed.Findings)
			}

			plain := filesys.MakeFsInMemory()
			for name, text := range map[string]string{"kustomization.yaml": root, "g.env": env} {
				if err := plain.WriteFile(name, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(plain, ".")
			if err != nil {
				t.Fatal(err)
			}
			want, err := result.Resources()[0].Map()
			if err != nil {
				t.Fatal(err)
			}
			s := sealed.Secrets[0]
			data := map[string]any{}
			for name, text := range s.Data {
				if data[name] = text.Value; !text.Base64 {
					data[name] = base64.StdEncoding.EncodeToString([]byte(text.Value))
				}
			}
			if s.Name != want["metadata"].(map[string]any)["name"] || s.Immutable != (want["immutable"] == true) || fmt.Sprint(data) != fmt.Sprint(want["data"]) || s.Quarantined {
				t.Errorf("%s, %q:\n%s %v %v, kustomize %v\n%q", reason, options, s.Name, s.Immutable, data, want, slices.Sorted(maps.Keys(data)))
			}
		}
	}
}
