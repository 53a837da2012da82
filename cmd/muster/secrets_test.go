package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/sealtest"
)

// secretFleet is a fleet whose every secret has the canary in it.
func secretFleet(t *testing.T, key *sealtest.Key) map[string]string {
	t.Helper()
	plain := map[string]string{
		"kubeconfig.yaml": clusterFile("kubeconfig", "  kubeconfig: |\n"+indent(kubeconfig("inline"), "    ")),
		"file.yaml":       clusterFile("file", "  kubeconfigFile: file.kubeconfig\n"),
		"token.yaml": clusterFile("token", "  serviceAccountAuth:\n    server: https://token.example.com\n    token: "+canary+
			"-service-account\n    caCert: |\n"+indent(testCA, "      ")),
		"registry.yaml": clusterFile("registry", "  kubeconfigSecretRef: {name: manual}\n  containerImageScanning: true\n  privateRegistries:\n    dockerConfigJson: '"+
			`{"auths":{"r.example.com":{"username":"u","password":"`+canary+`-registry"}}}'`+"\n"),
		"secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: manual\nstringData:\n  kubeconfig: |\n" + indent(kubeconfig("manual"), "    "),
		"data.yaml": "apiVersion: v1\nkind: Secret\nmetadata:\n  name: data\ndata:\n  password: " +
			base64.StdEncoding.EncodeToString([]byte(canary+"-data")) + "\n",
	}
	files := map[string]string{}
	for name, text := range plain {
		files[name] = key.Encrypt(t, name, text, sealtest.Credentials)
	}
	files["file.kubeconfig"] = key.Encrypt(t, "file.kubeconfig", kubeconfig("file"), sealtest.Everything)
	return files
}

func clusterFile(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n" + spec + "  schedule: \"9 * * * *\"\n"
}

func kubeconfig(user string) string {
	return `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://c.example.com:6443"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: ` + canary + "-" + user + `}}]
`
}

func indent(text, by string) string {
	return by + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+by) + "\n"
}

const testCA = `-----BEGIN CERTIFICATE-----
MIIBiTCCAS+gAwIBAgIUCae678uksBAdAjBeIXMKsCJ2Wn8wCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwObXVzdGVyIHRlc3QgQ0EwIBcNMjYxMTIzMDE0MjU3WhgPMjEy
NjEwMzAwMTQyNTdaMBkxFzAVBgNVBAMMDm11c3RlciB0ZXN0IENBMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEifkDGh8oy2rO/U3PTmV11xVr9GB9jr58eZUNx8F4
1PmbXwc+ENXRrrelwcU/W5xpURHLcTwpgA8WvYEr466cmKNTMFEwHQYDVR0OBBYE
FJxu/vJsVl9J3HcbtSr0qZFDWyICMB8GA1UdIwQYMBaAFJxu/vJsVl9J3HcbtSr0
qZFDWyICMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAM1pOVV+
pnpPRNKGz+khgFeW5y0HPXuIpvSflzFFtJ0+AiAZSK4gaWlWuaOeywCdKUTLOsIe
PFqOBlCsB4Kiw3Zf1Q==
-----END CERTIFICATE-----`

// TestSecretsNeverShow breaks a fleet in every way we know of, and looks for its secrets in whatever comes out.
func TestSecretsNeverShow(t *testing.T) {
	key, other := sealtest.NewKey(t), sealtest.NewKey(t)
	replaceIn := func(name, from, to string) func(map[string]string) {
		return func(files map[string]string) {
			if !strings.Contains(files[name], from) {
				t.Fatalf("%s has no %q", name, from)
			}
			files[name] = strings.Replace(files[name], from, to, 1)
		}
	}
	add := func(name, text string) func(map[string]string) {
		return func(files map[string]string) { files[name] = text }
	}
	encrypted := func(name, text string) func(map[string]string) {
		return add(name, key.Encrypt(t, name, text, sealtest.Credentials))
	}
	cases := map[string]struct {
		breakIt func(map[string]string)
		// sound says that the fleet has no error, given its key.
		sound bool
	}{
		"nothing broken":          {func(map[string]string) {}, true},
		"MAC broken":              {replaceIn("token.yaml", "https://token.example.com", "https://evil.example.com"), false},
		"value moved":             {replaceIn("kubeconfig.yaml", "  kubeconfig: ENC", "  dockerConfigJson: ENC"), false},
		"value cut":               {replaceIn("token.yaml", "token: ENC[AES256_GCM,data:", "token: ENC[AES256_GCM,data:AA"), false},
		"sops block cut":          {replaceIn("kubeconfig.yaml", "    mac: ", "    mak: "), false},
		"whole file cut":          {replaceIn("file.kubeconfig", `"data": "ENC[`, `"data": "ENC`), false},
		"unknown field":           {replaceIn("registry.yaml", "containerImageScanning", "containerImageScaning"), false},
		"plain kubeconfig":        {add("plain.yaml", clusterFile("plain", "  kubeconfig: |\n"+indent(kubeconfig("plain"), "    "))), false},
		"plain kubeconfig file":   {add("file.kubeconfig", kubeconfig("plain")), false},
		"plain Secret":            {add("plain.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: plain}\nstringData: {password: "+canary+"}\n"), false},
		"plain Secret in base64":  {add("plain.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: plain}\ndata: {password: "+base64.StdEncoding.EncodeToString([]byte(canary+"-x"))+"}\n"), false},
		"wrong type":              {add("plain.yaml", clusterFile("plain", "  kubeconfig: {token: "+canary+"}\n")), false},
		"list of tokens":          {add("plain.yaml", clusterFile("plain", "  serviceAccountAuth:\n    server: https://a.example.com\n    token: ["+canary+"]\n")), false},
		"bad YAML":                {add("plain.yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nspec:\n  kubeconfig: \""+canary+"\n\ttoken: x"), false},
		"bad alias":               {add("plain.yaml", "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nspec:\n  kubeconfig: *"+canary+"\n"), false},
		"not UTF-8":               {add("plain.yaml", clusterFile("plain", "  kubeconfig: "+canary+"\xff\n")), false},
		"kustomize fails":         {add("kustomization.yaml", "resources: [token.yaml]\npatches:\n- target: {kind: ExternalCluster}\n  patch: |\n    - {op: replace, path: /spec/serviceAccountAuth/nowhere/x, value: "+canary+"}\n"), false},
		"bad patch":               {add("kustomization.yaml", "resources: [token.yaml]\npatches:\n- patch: |\n    {token: "+canary+"\n"), false},
		"value joined":            {add("kustomization.yaml", "resources: [token.yaml, secret.yaml]\nreplacements:\n- source: {kind: ExternalCluster, name: token, fieldPath: spec.serviceAccountAuth.token}\n  targets:\n  - select: {kind: ExternalCluster, name: token}\n    fieldPaths: [spec.serviceAccountAuth.server]\n    options: {delimiter: /, index: 2}\n"), false},
		"value copied into label": {add("kustomization.yaml", "resources: [token.yaml, secret.yaml]\nreplacements:\n- source: {kind: ExternalCluster, name: token, fieldPath: spec.serviceAccountAuth.token}\n  targets:\n  - select: {kind: Secret}\n    fieldPaths: [metadata.labels.token]\n    options: {create: true}\n"), false},
		"generator with literal":  {add("kustomization.yaml", "resources: [token.yaml]\nsecretGenerator:\n- name: plain\n  literals: [password="+canary+"]\n"), false},
		"generator, bad field":    {add("kustomization.yaml", "secretGenerator:\n- name: plain\n  literals: {password: "+canary+"}\n"), false},
		"content is no base64":    {encrypted("data.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: data}\ndata: {password: "+canary+"-_-}\n"), false},
		"content no kubeconfig":   {encrypted("bad.yaml", clusterFile("bad", "  kubeconfig: '["+canary+"-broken'\n")), false},
		"content no certificate":  {encrypted("bad.yaml", clusterFile("bad", "  serviceAccountAuth: {server: 'https://a.example.com', token: "+canary+"-token, caCert: no certificate}\n")), false},
		"content no JSON":         {encrypted("bad.yaml", clusterFile("bad", "  kubeconfigSecretRef: {name: manual}\n  containerImageScanning: true\n  privateRegistries: {dockerConfigJson: '{"+canary+"-json'}\n")), false},
		"exec in kubeconfig":      {encrypted("bad.yaml", clusterFile("bad", "  kubeconfig: |\n"+indent(strings.Replace(kubeconfig("exec"), "{token: ", "{exec: {command: ", 1), "    ")+"\n")), false},
		"duplicate":               {encrypted("bad.yaml", clusterFile("kubeconfig", "  kubeconfig: |\n"+indent(kubeconfig("twice"), "    "))), false},
	}
	commands := [][]string{{"render"}, {"render", "-o", "json"}, {"lint"}, {"lint", "-o", "json"}, {"lint", "-o", "sarif"}, {"lint", "-o", "github"}}
	secrets := map[string][]string{"no key": {"--no-keys"}, "the key": nil, "another key": nil}
	for _, k := range []struct {
		name string
		key  *sealtest.Key
	}{{"the key", key}, {"another key", other}} {
		file := filepath.Join(t.TempDir(), "key.txt")
		if err := os.WriteFile(file, []byte(k.key.Private()), 0o600); err != nil {
			t.Fatal(err)
		}
		secrets[k.name] = []string{"--sops-key", file}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := secretFleet(t, key)
			c.breakIt(files)
			dir := writeFiles(t, files)
			for which, flags := range secrets {
				for _, command := range commands {
					status, out := runWith(t, append(append(slices.Clip(command), dir), flags...)...)
					if form := leak(out); form != "" {
						t.Errorf("muster %s with %s shows a secret (%s):\n%s", strings.Join(command, " "), which, form, out)
					}
					if which == "the key" && (status == exitOK) != c.sound {
						t.Errorf("muster %s ends with %d:\n%s", strings.Join(command, " "), status, out)
					}
				}
			}
		})
	}
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestInterrupted checks that the work ends with its context, and says so.
func TestInterrupted(t *testing.T) {
	dir := writeFiles(t, map[string]string{"a.yaml": clusterFile("a", "  kubeconfigSecretRef: {name: a}\n")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	status := run(ctx, []string{"render", dir, "--no-keys"}, nil, &stdout, &stderr, func(string) string { return "" })
	if status != exitStopped || stdout.Len() > 0 || stderr.String() != "muster: interrupted\n" {
		t.Errorf("status %d, %q, %q", status, stdout.String(), stderr.String())
	}
}

// runWith runs muster in this process, in an empty environment, and returns its status and all that it prints.
func runWith(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	none := func(name string) string {
		if name == "XDG_CONFIG_HOME" {
			return "/nowhere"
		}
		return ""
	}
	status := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr, none)
	return status, stdout.String() + stderr.String()
}
