package compile

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

const (
	sealedText = "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]"
	onePEM     = `"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"`
)

// written is a cluster file as sops leaves it, without what only a key could tell.
func written(auth, more, sops string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: prod}\nspec:\n  serviceAccountAuth: {" +
		strings.NewReplacer("ENC", `"`+sealedText+`"`, "PEM", onePEM).Replace(auth) + "}\n" + strings.NewReplacer("ENC", `"`+sealedText+`"`, "PEM", onePEM).Replace(more) +
		"sops: {mac: \"" + sealedText + "\"" + sops + "}\n"
}

func loadTree(t *testing.T, files map[string]string) *load.Tree {
	t.Helper()
	repository := fstest.MapFS{}
	for name, data := range files {
		repository[name] = &fstest.MapFile{Data: []byte(data)}
	}
	tree, err := load.Load(context.Background(), repository, "f", load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestExactForm: where the MAC of a document tells where its token goes, and where it doesn't.
func TestExactForm(t *testing.T) {
	const macOnly = ", mac_only_encrypted: true"
	for _, test := range []struct{ reason, auth, more, sops, field string }{
		{"all is encrypted, and the order is not needed", "caCert: ENC, token: ENC, server: ENC", "", macOnly, ""},
		{"the same with the whole MAC", "caCert: ENC, server: ENC, token: ENC", "", "", ""},
		{"the CA after the server is as good", "token: ENC, server: ENC, caCert: PEM", "", "", ""},
		{"a plain server before the token", "server: https://a.b, token: ENC, caCert: PEM", "", "", ""},
		{"with the CA between them", "server: https://a.b, caCert: PEM, token: ENC", "", "", ""},
		{"TLS off directly after the server", "server: https://a.b, skipTLSVerify: true, token: ENC, caCert: PEM", "", "", ""},
		{"TLS on needs no place", "token: ENC, server: ENC, skipTLSVerify: false, caCert: ENC", "", macOnly, ""},
		{"plain values that nothing is bound to", "server: ENC, token: ENC, caCert: ENC", "  schedule: x\n  filtering: null\n", macOnly, ""},
		{"a key with a colon above what is plain", "server: ENC, token: ENC, caCert: ENC", "x:y: z\n", macOnly, ""},

		{"a null", "server: https://a.b, skipTLSVerify: null, token: ENC", "", "", "skipTLSVerify"},
		{"a tilde", "server: https://a.b, skipTLSVerify: ~, token: ENC", "", "", "skipTLSVerify"},
		{"another word for false", "server: https://a.b, skipTLSVerify: False, token: ENC", "", "", "skipTLSVerify"},
		{"false in quotes", `server: https://a.b, skipTLSVerify: "false", token: ENC`, "", "", "skipTLSVerify"},
		{"false under a tag", "server: https://a.b, skipTLSVerify: !!bool false, token: ENC", "", "", "skipTLSVerify"},
		{"a number", "server: https://a.b, caCert: 443, token: ENC", "", "", "caCert"},
		{"an empty text", `server: https://a.b, caCert: "", token: ENC`, "", "", "caCert"},
		{"a mapping", "server: https://a.b, caCert: {x: y}, token: ENC", "", "", "caCert"},
		{"a list", "server: [https://a.b], token: ENC", "", "", "server"},
		{"an anchor", "server: &x https://a.b, token: ENC", "", "", "server"},
		{"a tag", "server: !!str https://a.b, token: ENC", "", "", "server"},
		{"another key", "server: https://a.b, junk: c, token: ENC", "", "", "token"},
		{"another key that holds nothing", "server: https://a.b, junk: null, token: ENC", "", "", "token"},
		{"a reference", "server: https://a.b, credentialsSecretRef: {name: x}, token: ENC", "", "", "token"},
		{"a key under a tag", "server: https://a.b, !!str caCert: PEM, token: ENC", "", "", "token"},
		{"the server after the token", "token: ENC, server: https://a.b, caCert: PEM", "", "", "server"},
		{"an encrypted server at the end, behind which plain text could make up for what an older one lacks", "token: ENC, caCert: ENC, server: ENC", "  schedule: x\n", "", "server"},
		{"the same before TLS mode", "token: ENC, caCert: ENC, server: ENC, skipTLSVerify: false", "", "", "server"},
		{"certificates behind an encrypted CA", "server: ENC, token: ENC, caCert: ENC", "x: PEM\n", "", "caCert"},
		{"certificates outside of the MAC", "server: ENC, token: ENC, caCert: ENC", "x: PEM\n", macOnly, ""},
		{"an address in the server", "server: https://a.b/https://c.d, token: ENC", "", "", "server"},
		{"a word of another field at the end of the server", "server: https://a.bTrue, token: ENC", "", "", "server"},
		{"the other one", "server: https://a.bFalse, token: ENC", "", "", "server"},
		{"TLS off behind the token", "server: https://a.b, token: ENC, skipTLSVerify: true", "", "", "skipTLSVerify"},
		{"TLS off behind the CA", "server: https://a.b, caCert: PEM, skipTLSVerify: true, token: ENC", "", "", "skipTLSVerify"},
		{"TLS off behind server and token", "token: ENC, server: ENC, skipTLSVerify: true", "", "", "skipTLSVerify"},
		{"TLS off outside of the MAC", "server: ENC, skipTLSVerify: true, token: ENC", "", macOnly, "skipTLSVerify"},
		{"a server outside of the MAC", "server: https://a.b, token: ENC, caCert: ENC", "", macOnly, "server"},
		{"a CA outside of the MAC", "server: ENC, token: ENC, caCert: PEM", "", macOnly, "caCert"},
		{"text before the CA", `server: ENC, token: ENC, caCert: "x-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"`, "", "", "caCert"},
		{"text after the CA", `server: ENC, token: ENC, caCert: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\nx"`, "", "", "caCert"},
		{"a certificate elsewhere", "server: ENC, token: ENC, caCert: PEM", "x: PEM\n", "", "caCert"},
		{"one that is cut in pieces", "server: ENC, token: ENC, caCert: PEM", `x: ["--", "", ~, "---BEGIN CERT", "IFICATE-----"]` + "\n", "", "caCert"},
		{"a way that sops can't tell from the CA's", "server: ENC, token: ENC", `"spec:serviceAccountAuth": {caCert: ENC}` + "\n", macOnly, "token"},
		{"another such way", "server: ENC, token: ENC", `  "serviceAccountAuth:caCert": ENC` + "\n", macOnly, "token"},
	} {
		tree := loadTree(t, map[string]string{"f/c.yaml": written(test.auth, test.more, test.sops)})
		if f := tree.Files["f/c.yaml"]; f == nil || len(f.Documents) != 1 {
			t.Fatalf("%s: %v", test.reason, tree.Findings)
		} else if field, message, fix := exactForm(f.Documents[0]); field != test.field || (message == "") != (field == "") || (fix == "") != (field == "") {
			t.Errorf("%s: %q %q %q, want %q", test.reason, field, message, fix, test.field)
		}
	}
}

// TestUnboundAfterTheBuild: what kustomize makes of a cluster has to be what was written beside the token.
func TestUnboundAfterTheBuild(t *testing.T) {
	file := written("server: https://a.b, token: ENC, caCert: PEM", "  kubeconfig: ENC\n", "")
	tree := loadTree(t, map[string]string{"f/a.yaml": file, "f/b.yaml": strings.Replace(file, "prod", "dev", 1)})
	sealed := seal.NewSealer().Seal(tree, nil)
	handles := map[string]string{}
	for _, name := range []string{"a", "b"} {
		content := string(sealed.Content["f/"+name+".yaml"])
		at := strings.Index(content, `"token": "`) + len(`"token": "`)
		handles[name] = content[at : at+strings.Index(content[at:], `"`)]
		if !sealed.Sealed(handles[name]) {
			t.Fatalf("%s: no handle in %s", name, content)
		}
	}
	ca := "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	for _, test := range []struct {
		reason string
		auth   map[string]any
		field  string
	}{
		{"as it is written", map[string]any{"server": "https://a.b", "token": handles["a"], "caCert": ca}, ""},
		{"another server", map[string]any{"server": "https://evil.b", "token": handles["a"], "caCert": ca}, "server"},
		{"no server", map[string]any{"token": handles["a"], "caCert": ca}, "server"},
		{"another CA", map[string]any{"server": "https://a.b", "token": handles["a"], "caCert": ca + ca}, "caCert"},
		{"no CA", map[string]any{"server": "https://a.b", "token": handles["a"]}, "caCert"},
		{"TLS off", map[string]any{"server": "https://a.b", "token": handles["a"], "caCert": ca, "skipTLSVerify": true}, "server"},
		{"a moved handle", map[string]any{"server": handles["a"], "token": handles["a"], "caCert": ca}, "server"},
		{"another cluster's token", map[string]any{"server": "https://a.b", "token": handles["b"], "caCert": ca}, "server"},
	} {
		object := map[string]any{"spec": map[string]any{"serviceAccountAuth": test.auth}}
		r := &kustomize.Resource{Path: "f/a.yaml", Object: object}
		c := &compiler{tree: sealed, built: &kustomize.Result{Resources: []*kustomize.Resource{r, {Path: "f/b.yaml"}}}}
		if field, message, _ := c.unbound(*r); field != test.field || (message == "") != (field == "") {
			t.Errorf("%s: %q %q, want %q", test.reason, field, message, test.field)
		}
	}
}

// TestMovedHandle: an encrypted value may be in the field where it was encrypted, and nowhere else.
func TestMovedHandle(t *testing.T) {
	tree := loadTree(t, map[string]string{"f/a.yaml": written("server: ENC, token: ENC, caCert: ENC", "  kubeconfig: ENC\n", "")})
	sealed := seal.NewSealer().Seal(tree, nil)
	content := string(sealed.Content["f/a.yaml"])
	at := strings.Index(content, `"kubeconfig": "`) + len(`"kubeconfig": "`)
	handle := content[at : at+strings.Index(content[at:], `"`)]
	c := &compiler{tree: sealed}
	for place, moved := range map[string]bool{"kubeconfig": false, "schedule": true} {
		if _, found := c.movedHandle(map[string]any{place: handle}, []string{"spec"}); found != moved {
			t.Errorf("%s: moved %v", place, found)
		}
	}
	if _, found := c.brokenHandle(map[string]any{"kubeconfig": handle[:20]}, []string{"spec"}); !found {
		t.Error("half a handle is taken for a text")
	}
}

// TestKubeconfigForm: which kubeconfigs that sops has encrypted hold together.
func TestKubeconfigForm(t *testing.T) {
	fields := `apiVersion: ENC, kind: ENC, current-context: ENC, preferences: {}, clusters: [{name: ENC, cluster: {server: ENC}}], users: [{name: ENC, user: {token: ENC}}], contexts: [{name: ENC, context: {cluster: ENC, user: ENC}}]`
	for _, test := range []struct{ reason, text, code string }{
		{"one value, as JSON", `{"data": ENC, SOPS}`, ""},
		{"one value, as YAML", "kubeconfig: ENC\nSOPS\n", ""},
		{"every field", "{" + fields + ", SOPS}", ""},
		{"two clusters", "{" + strings.Replace(fields, "clusters: [", "clusters: [{name: ENC}, ", 1) + ", SOPS}", "server-unsealed"},
		{"two users", "{" + strings.Replace(fields, "users: [", "users: [{name: ENC}, ", 1) + ", SOPS}", "server-unsealed"},
		{"two contexts", "{" + strings.Replace(fields, "contexts: [", "contexts: [{name: ENC}, ", 1) + ", SOPS}", "server-unsealed"},
		{"no contexts", "{" + strings.Replace(fields, "contexts: ", "context: ", 1) + ", SOPS}", "server-unsealed"},
		{"a list in a list", "{" + strings.Replace(fields, "clusters: [{name: ENC, cluster: {server: ENC}}]", "clusters: [[{name: ENC, cluster: {server: ENC}}]]", 1) + ", SOPS}", "server-unsealed"},
		{"a plain name", "{" + strings.Replace(fields, "name: ENC", "name: prod", 1) + ", SOPS}", "server-unsealed"},
		{"a plain server", "{" + strings.Replace(fields, "server: ENC", "server: https://evil", 1) + ", SOPS}", "server-unsealed"},
		{"a plain token", "{" + strings.Replace(fields, "token: ENC", "token: x", 1) + ", SOPS}", "plain-credential"},
		{"a null", "{" + strings.Replace(fields, "server: ENC", "server: ENC, proxy-url: null", 1) + ", SOPS}", "server-unsealed"},
		{"a key that YAML can't read", `{"\ud83d\ude00": null, ` + fields + ", SOPS}", "server-unsealed"},
		{"a key twice", "{" + fields + ", kind: ENC, SOPS}", "server-unsealed"},
		{"a key with a colon", `{"clusters:cluster": {server: ENC}, ` + fields + ", SOPS}", "server-unsealed"},
		{"a second document", "---\n{" + fields + ", SOPS}\n---\n{}\n", "server-unsealed"},
		{"a merge key", "{<<: {kind: ENC}, " + fields + ", SOPS}", "server-unsealed"},
		{"an anchor and its alias", "{x: &x ENC, y: *x, " + fields + ", SOPS}", "server-unsealed"},
		{"no mapping", "[ENC]\nsops:\n", "server-unsealed"},
		{"a comment for a value", "{" + strings.Replace(fields, "server: ENC", `server: "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:comment]"`, 1) + ", SOPS}", "server-unsealed"},
		{"an env file", "kind=ENC\nsops_mac=x\n", "server-unsealed"},
	} {
		text := strings.Replace(test.text, "SOPS", "\n\"sops\": {mac: m}", 1)
		if !strings.HasPrefix(text, "{") {
			text = strings.Replace(text, "\"sops\"", "sops", 1)
		}
		text = strings.NewReplacer(`"ENC[`, `"ENC[`, "ENC", `"`+sealedText+`"`).Replace(text)
		tree := loadTree(t, map[string]string{"f/c.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: c}\nspec: {kubeconfigFile: k}\n", "f/k": text})
		sealed := seal.NewSealer().Seal(tree, nil)
		c := &compiler{tree: sealed, built: &kustomize.Result{Sealed: sealed}}
		_, bad := c.kubeconfigFile(fleet.Origin{Path: "f/c.yaml"}, "k")
		got := ""
		if bad != nil {
			got = string(bad.Code)
		}
		if got != test.code {
			t.Errorf("%s: %q, want %q: %v", test.reason, got, test.code, bad)
		} else if bad != nil && !strings.Contains(bad.Fix, "sops decrypt --input-type yaml --output-type yaml f/k | sops encrypt --filename-override f/k --input-type binary --output-type binary --output f/k") {
			t.Errorf("%s: %s", test.reason, bad.Fix)
		}
	}
	want := "sops decrypt --input-type json --output-type json 'a b/k.json' | sops encrypt --filename-override 'a b/k.kubeconfig' --input-type binary --output-type binary --output 'a b/k.kubeconfig'; then name k.kubeconfig in kubeconfigFile"
	if got := encryptCommand("a b/k.json"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
