package compile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

const (
	sealed    = `"ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]"`
	otherMAC  = "sops: {mac: " + sealed + ", mac_only_encrypted: true}\n"
	wholeMAC  = "sops: {mac: " + sealed + "}\n"
	together  = "{server: ENC, token: ENC, ca.crt: ENC}"
	allOfIt   = "resources: [s.yaml]\n"
	theirsToo = "resources: [s.yaml]\npatches: [{path: t.patch, target: {kind: Secret}}]\n"
)

// secretFile is a Secret manifest as sops leaves it.
func secretFile(name, blocks, sops string) string {
	return strings.ReplaceAll("apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+"}\n"+blocks, "ENC", sealed) + sops
}

// TestSecretsStayWhole: a token that was encrypted with a server has the server and the CA of its own document, and the MAC of that tells
// which they are. Anything else is refused with the Secret itself.
func TestSecretsStayWhole(t *testing.T) {
	jsonPatch := func(operation string) string {
		return "resources: [s.yaml]\npatches:\n- target: {kind: Secret}\n  patch: |\n    - {" + operation + "}\n"
	}
	ca := strings.ReplaceAll(certificate, "\n", `\n`)
	merging := func(key string) string {
		return "resources: [s.yaml]\nsecretGenerator:\n- {name: s, behavior: merge, literals: [\"" + key + "=" + ca + "\"], options: {disableNameSuffixHash: true}}\n"
	}
	for _, row := range []struct {
		reason, secret, kustomization, patch string
		refused                              bool
	}{
		{"as it was encrypted", secretFile("s", "stringData: "+together+"\n", otherMAC), "", "", false},
		{"in data", secretFile("s", "data: "+together+"\n", wholeMAC), "", "", false},
		{"in another order, which the MAC alone need not tell", secretFile("s", "stringData: {ca.crt: ENC, token: ENC, server: ENC}\n", otherMAC), "", "", false},
		{"with the server between others", secretFile("s", "stringData: {token: ENC, server: ENC, ca.crt: ENC}\n", wholeMAC), "", "", false},
		{"with more that is encrypted", secretFile("s", "stringData: {server: ENC, token: ENC, ca.crt: ENC, x: ENC, y: ''}\n", otherMAC), "", "", false},
		{"labels are nothing to it", secretFile("s", "stringData: "+together+"\n", otherMAC), jsonPatch("op: add, path: /metadata/labels, value: {a: b}"), "", false},
		{"a token without a server", secretFile("s", "stringData: {token: ENC, ca.crt: ENC}\n", otherMAC), "", "", false},
		{"a token without a server, with an address that the MAC leaves out", secretFile("s", "stringData: {token: ENC}\nmetadata: {name: s, annotations: {a: 'https://x'}}\n", otherMAC), "", "", false},
		{"a token without a server, and no address", secretFile("s", "stringData: {token: ENC}\n", wholeMAC), "", "", false},
		{"no token", secretFile("s", "stringData: {server: ENC}\n", otherMAC), jsonPatch("op: add, path: /stringData/ca.crt, value: ''"), "", false},

		{"the server is taken away", secretFile("s", "stringData: "+together+"\n", otherMAC), jsonPatch("op: remove, path: /stringData/server"), "", true},
		{"the server is emptied", secretFile("s", "stringData: "+together+"\n", otherMAC), jsonPatch("op: replace, path: /stringData/server, value: ''"), "", true},
		{"the CA is another", secretFile("s", "stringData: "+together+"\n", otherMAC), jsonPatch(`op: replace, path: /stringData/ca.crt, value: "` + ca + `"`), "", true},
		{"the CA is taken away", secretFile("s", "stringData: "+together+"\n", otherMAC), jsonPatch("op: remove, path: /stringData/ca.crt"), "", true},
		{"a generator merges another CA into it", secretFile("s", "stringData: "+together+"\n", otherMAC), merging("ca.crt"), "", true},
		{"a generator merges another server into it", secretFile("s", "stringData: "+together+"\n", otherMAC), merging("server"), "", true},
		{"a generator merges something else into it", secretFile("s", "stringData: "+together+"\n", otherMAC), merging("tls.crt"), "", false},
		{"the CA goes over the encrypted one", secretFile("s", "data: "+together+"\n", otherMAC), jsonPatch(`op: add, path: /stringData, value: {ca.crt: "` + ca + `"}`), "", true},
		{"the server of another file", secretFile("s", "stringData: "+together+"\n", otherMAC), theirsToo, secretFile("t", "stringData: {server: ENC}\n", otherMAC), true},
		{"the server of another file over a token without one", secretFile("s", "stringData: {token: ENC, ca.crt: ENC}\n", otherMAC), theirsToo, secretFile("t", "stringData: {server: ENC}\n", otherMAC), true},
		{"the CA of another file", secretFile("s", "stringData: "+together+"\n", otherMAC), theirsToo, secretFile("t", "stringData: {ca.crt: ENC}\n", otherMAC), true},
		{"the token of another file", secretFile("s", "stringData: "+together+"\n", otherMAC), theirsToo, secretFile("t", "stringData: {token: ENC}\n", otherMAC), true},
		{"all of another file", secretFile("s", "stringData: {token: ENC, x: ENC}\n", otherMAC), theirsToo, secretFile("t", "stringData: "+together+"\n", otherMAC), false},
		{"no CA was encrypted with it", secretFile("s", "stringData: {server: ENC, token: ENC}\n", otherMAC), "", "", true},
		{"the CA is plain", secretFile("s", `stringData: {server: ENC, token: ENC, ca.crt: "`+strings.ReplaceAll(certificate, "\n", `\n`)+"\"}\n", otherMAC), "", "", true},
		{"a plain value beside it", secretFile("s", `stringData: {server: ENC, token: ENC, ca.crt: ENC, tls.crt: "`+strings.ReplaceAll(certificate, "\n", `\n`)+"\"}\n", wholeMAC), "", "", true},
		{"the server under another document", secretFile("s", "stringData: {token: ENC, ca.crt: ENC}\n", otherMAC) + "---\n" + secretFile("t", "stringData: {server: ENC}\n", otherMAC), "", "", true},
		{"two documents at all", secretFile("s", "stringData: "+together+"\n", otherMAC) + "---\n" + secretFile("t", "stringData: {x: ENC}\n", otherMAC), "", "", true},
		{"the server in a list, which a patch removes", secretFile("s", "stringData: {server: [ENC], token: ENC, ca.crt: ENC}\n", otherMAC), jsonPatch("op: remove, path: /stringData/server"), "", true},
		{"the server under a joined key, which a patch removes", secretFile("s", "\"stringData:server\": ENC\nstringData: {token: ENC, ca.crt: ENC}\n", otherMAC), jsonPatch("op: remove, path: '/stringData:server'"), "", true},
		{"the CA under a joined key, which a patch removes", secretFile("s", "stringData: {server: ENC, token: ENC, ca.crt: ENC}\n\"stringData:ca.crt\": ENC\n", otherMAC), jsonPatch("op: remove, path: '/stringData:ca.crt'"), "", true},
		{"the server as plain text, where the MAC has plain text", secretFile("s", "stringData: {token: ENC, ca.crt: ENC}\nmetadata: {name: s, annotations: {a: https, b: '://x'}}\n", wholeMAC), "", "", true},
		{"the same in base64", secretFile("s", "data: {token: ENC, ca.crt: ENC}\nmetadata: {name: s, annotations: {a: aHR}, generation: 0, labels: {c: cHM6Ly9h}}\n", wholeMAC), "", "", true},
		{"the server is last but for what the MAC leaves out", secretFile("s", "stringData: {token: ENC, ca.crt: ENC, server: ENC, x: ''}\n", wholeMAC), "", "", true},
		{"the server is last, where the MAC has plain text", secretFile("s", "stringData: {token: ENC, ca.crt: ENC, server: ENC}\n", wholeMAC), "", "", true},
	} {
		t.Run(row.reason, func(t *testing.T) {
			text := row.secret
			if strings.Contains(text, "}\nmetadata: {name: s, ") {
				text = strings.Replace(text, "metadata: {name: s}\n", "", 1)
			}
			files := map[string]string{"kustomization.yaml": allOfIt, "s.yaml": text, "t.patch": row.patch}
			if row.kustomization != "" {
				files["kustomization.yaml"] = row.kustomization
			}
			f := of(t, files)
			refused := slices.ContainsFunc(f.Findings, func(at finding.Finding) bool {
				return at.Code == compile.CodeServerUnsealed && at.Severity == finding.Error && at.Message != "" && at.Fix != ""
			})
			if refused != row.refused {
				t.Errorf("refused %t: %v", refused, f.Findings)
			}
			for _, s := range f.Secrets {
				if s.Name == "s" && s.Quarantined != row.refused {
					t.Errorf("quarantined %t: %v", s.Quarantined, f.Findings)
				}
			}
			if !row.refused && finding.Errors(f.Findings) > 0 {
				t.Error(f.Findings)
			}
		})
	}
}

// TestUnboundIsToldOf: whoever names a token that nothing ties to a server is told, whether a file or an audit config does.
func TestUnboundIsToldOf(t *testing.T) {
	bound, unbound := secretFile("s", "stringData: "+together+"\n", otherMAC), secretFile("s", "stringData: {token: ENC, ca.crt: ENC}\n", otherMAC)
	named := clusterFile("c", "{serviceAccountAuth: {server: 'https://c', credentialsSecretRef: {name: s}}}")
	entry := configFile("kubernetesResources: {externalClusters: [{name: c, serviceAccountAuth: {server: 'https://c', credentialsSecretRef: {name: s}}}]}")
	plain := configFile("kubernetesResources: {}")
	key := sealtest.NewKey(t)
	generator := "resources: [m.yaml, c.yaml]\ngeneratorOptions: {disableNameSuffixHash: true}\nsecretGenerator: [{name: s, envs: [s.env], files: [ca.crt]}]\n"
	for _, row := range []struct {
		reason string
		files  map[string]string
		told   bool
	}{
		{"bound", map[string]string{"m.yaml": plain, "c.yaml": named, "s.yaml": bound}, false},
		{"unbound", map[string]string{"m.yaml": plain, "c.yaml": named, "s.yaml": unbound}, true},
		{"an entry with a bound one", map[string]string{"m.yaml": entry, "s.yaml": bound}, false},
		{"an entry with an unbound one", map[string]string{"m.yaml": entry, "s.yaml": unbound}, true},
		{"an empty server", map[string]string{"m.yaml": plain, "c.yaml": named, "s.yaml": secretFile("s", "stringData: {server: '', token: ENC, ca.crt: ENC}\n", otherMAC)}, true},
		{"generated, where a patch of the kustomization could put another server", map[string]string{"m.yaml": plain, "c.yaml": named, "kustomization.yaml": generator, "ca.crt": certificate,
			"s.env": key.Encrypt(t, "s.env", "server=https://c\ntoken=t\n", sealtest.Everything)}, true},
	} {
		f := of(t, row.files)
		told := slices.ContainsFunc(f.Findings, func(at finding.Finding) bool { return at.Code == compile.CodeTokenUnbound && at.Cluster == "c" })
		if told != row.told || finding.Errors(f.Findings) > 0 {
			t.Errorf("%s: told %t: %v", row.reason, told, f.Findings)
		}
	}
}

// TestEntriesNeedTheirKeys: an entry that an audit config holds is looked at like a cluster file: its Secrets have the keys that the operator
// reads, and no error.
func TestEntriesNeedTheirKeys(t *testing.T) {
	entry := configFile("kubernetesResources: {externalClusters: [{name: c, kubeconfigSecretRef: {name: s}}]}")
	for reason, row := range map[string]struct{ secret, code string }{
		"the key":        {secretFile("s", "stringData: {kubeconfig: ENC}\n", otherMAC), ""},
		"another key":    {secretFile("s", "stringData: {config: ENC}\n", otherMAC), "secret-key"},
		"with a mistake": {secretFile("s", "stringData: {kubeconfig: ENC}\nstringdata: {}\n", otherMAC), "secret-name"},
	} {
		f := of(t, map[string]string{"m.yaml": entry, "s.yaml": row.secret})
		code := ""
		for _, at := range f.Findings {
			if at.Cluster == "c" && at.Severity == finding.Error {
				code = string(at.Code)
			}
		}
		if code != row.code || len(f.Clusters) != 1 || f.Clusters[0].Quarantined != (row.code != "") {
			t.Errorf("%s: %q: %v", reason, code, f.Findings)
		}
	}
}
