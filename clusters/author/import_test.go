package author_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/sources"
)

const canary = "canary-7f3d9-import"

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// ca is a certificate until 2036.
const ca = `-----BEGIN CERTIFICATE-----
MIIBMjCB2qADAgECAgEBMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMTAmNhMB4XDTI2
MDEwMTAwMDAwMFoXDTM2MDEwMTAwMDAwMFowDTELMAkGA1UEAxMCY2EwWTATBgcq
-----END CERTIFICATE-----
`

func entry(name, fields string) map[string]any {
	object := map[string]any{}
	if err := yaml.Unmarshal([]byte(fields), &object); err != nil {
		panic(err)
	}
	if name != "" {
		object["name"] = name
	}
	return object
}

func auditConfig(entries ...map[string]any) map[string]any {
	list := make([]any, len(entries))
	for i, e := range entries {
		list[i] = e
	}
	return map[string]any{"spec": map[string]any{"kubernetesResources": map[string]any{"externalClusters": list}}}
}

func kubeconfigText(user string) string {
	return "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://eu.example.com'}}]\nusers: [{name: u, user: {" + user +
		"}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
}

func secretOf(pairs ...string) author.LiveSecret {
	s := author.LiveSecret{Type: "Opaque", Data: map[string][]byte{}}
	for i := 0; i < len(pairs); i += 2 {
		s.Data[pairs[i]] = []byte(pairs[i+1])
	}
	return s
}

// TestPlacement: where the Secret of one entry goes, and what is told of it.
func TestPlacement(t *testing.T) {
	const byKubeconfig, byToken = "kubeconfigSecretRef: {name: s}", "serviceAccountAuth: {server: 'https://a.b', credentialsSecretRef: {name: s}}"
	good := kubeconfigText("token: " + canary)
	kept := secretOf("kubeconfig", good)
	kept.Keep = "Helm manages it"
	known := secretOf("kubeconfig", good)
	known.InGit = true
	typed := secretOf("kubeconfig", good)
	typed.Type = "kubernetes.io/service-account-token"
	for _, row := range []struct {
		reason    string
		placement author.Placement
		entry     string
		secret    author.LiveSecret
		inline    bool
		manifest  bool
		note      string
	}{
		{"a kubeconfig in Git", author.InGit, byKubeconfig, secretOf("kubeconfig", good), false, true, ""},
		{"inline", author.Inline, byKubeconfig, secretOf("kubeconfig", good), true, false, ""},
		{"in the cluster", author.InCluster, byKubeconfig, secretOf("kubeconfig", good), false, false, ""},
		{"another key has no place in a cluster file", author.Inline, byKubeconfig, secretOf("kubeconfig", good, "other", "x"), false, true, "it also has the key other"},
		{"nor has a text that YAML changes", author.Inline, byKubeconfig, secretOf("kubeconfig", strings.ReplaceAll(good, "\n", "\r\n")), false, true, "is not a text that a YAML file keeps"},
		{"a text that isn't UTF-8", author.InGit, byKubeconfig, secretOf("kubeconfig", "\xff\xfe"), false, false, "not UTF-8"},
		{"an exec plugin", author.InGit, byKubeconfig, secretOf("kubeconfig", kubeconfigText("exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}")), false, false, "(kubeconfig-plugin)"},
		{"an exec plugin, inline", author.Inline, byKubeconfig, secretOf("kubeconfig", kubeconfigText("exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}")), false, false, "stays in the cluster alone"},
		{"a missing key", author.InGit, byKubeconfig, secretOf("config", good), false, false, "has no key kubeconfig"},
		{"an empty key", author.Inline, byKubeconfig, secretOf("kubeconfig", ""), false, false, "has no key kubeconfig"},
		{"another controller's", author.InGit, byKubeconfig, kept, false, false, "Helm manages it"},
		{"another controller's, inline", author.Inline, byKubeconfig, kept, false, false, "Helm manages it"},
		{"in Git already", author.InGit, byKubeconfig, known, false, false, ""},
		{"of a type that Kubernetes issues", author.InGit, byKubeconfig, typed, false, false, "Kubernetes itself manages"},
		{"a token without TLS in a cluster file needs another MAC", author.Inline, strings.Replace(byToken, "}}", "}, skipTLSVerify: true}", 1), secretOf("token", canary), false, true, "mac_only_encrypted"},
		{"the same in Git", author.InGit, strings.Replace(byToken, "}}", "}, skipTLSVerify: true}", 1), secretOf("token", canary), false, true, ""},
		{"a token without a CA", author.InGit, byToken, secretOf("token", canary), false, false, "has no key ca.crt"},
	} {
		im := author.Import{Placement: row.placement, Now: now, Secrets: map[string]author.LiveSecret{"s": row.secret}}
		if err := im.AuditConfig("mondoo-client", auditConfig(entry("eu", row.entry)), false); err != nil || len(im.Clusters) != 1 {
			t.Fatalf("%s: %v %+v", row.reason, err, im.Left)
		}
		d := im.Clusters[0]
		notes := strings.Join(d.Notes, "\n")
		if inline := d.Cluster.Spec.Kubeconfig != ""; inline != row.inline || (len(im.Manifests) == 1) != row.manifest || (notes == "") != (row.note == "") || !strings.Contains(notes, row.note) {
			t.Errorf("%s: inline %t, manifests %d, notes %q", row.reason, inline, len(im.Manifests), notes)
		}
		if strings.Contains(notes, canary) {
			t.Errorf("%s: a note has a secret: %s", row.reason, notes)
		}
	}
}

// TestManifest: a manifest has every key of the live Secret, byte by byte.
func TestManifest(t *testing.T) {
	for _, row := range []struct {
		reason string
		extra  string
		block  string
	}{
		{"plain text", "a\n  b: c # d\n\n", "stringData"},
		{"leading blanks", "   x\ny", "stringData"},
		{"like a number", "0123", "stringData"},
		{"tabs, and no newline at the end", "a\t\n\tb", "stringData"},
		{"a tab at the beginning", "\ta\n\tb", "data"},
		{"Windows", "a\r\nb", "data"},
		{"not UTF-8", "\xff", "data"},
		{"a separator that YAML takes for a newline", "a\u2028b", "data"},
		{"a byte order mark", "\ufeffa", "data"},
		{"a NUL", "a\x00b", "data"},
	} {
		s := secretOf("kubeconfig", kubeconfigText("token: "+canary), "extra", row.extra)
		s.Immutable = true
		im := author.Import{Placement: author.InGit, Now: now, Secrets: map[string]author.LiveSecret{"s": s}}
		if err := im.AuditConfig("a", auditConfig(entry("eu", "kubeconfigSecretRef: {name: s}"), entry("us", "kubeconfigSecretRef: {name: s}")), false); err != nil || len(im.Manifests) != 1 {
			t.Fatalf("%s: %v, %d manifests", row.reason, err, len(im.Manifests))
		}
		text, err := im.Manifests[0].YAML("")
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Type       string            `yaml:"type"`
			Immutable  bool              `yaml:"immutable"`
			Data       map[string]string `yaml:"data"`
			StringData map[string]string `yaml:"stringData"`
		}
		if err := yaml.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		extra := got.StringData["extra"]
		if row.block == "data" {
			decoded, err := base64.StdEncoding.DecodeString(got.Data["extra"])
			extra = string(decoded)
			if err != nil || got.StringData != nil {
				t.Errorf("%s: %v, stringData %v", row.reason, err, got.StringData)
			}
		}
		if extra != row.extra || got.Type != "Opaque" || !got.Immutable {
			t.Errorf("%s: %q, want %q\n%s", row.reason, extra, row.extra, text)
		}
		if fields := fmt.Sprint(im.Manifests[0].SecretFields()); fields != "[["+row.block+" extra] ["+row.block+" kubeconfig]]" {
			t.Errorf("%s: secret fields %s", row.reason, fields)
		}
	}
}

// TestEntries: which entries get a file, and what is told of the others.
func TestEntries(t *testing.T) {
	const auth = "kubeconfigSecretRef: {name: s}"
	for _, row := range []struct {
		reason  string
		entries []map[string]any
		files   string
		left    string
		note    string
	}{
		{"all fields", []map[string]any{entry("eu", auth+"\nschedule: 7 */2 * * *\nfiltering: {}\ncontainerImageScanning: true")}, "eu", "", ""},
		{"no name", []map[string]any{entry("", auth), entry("eu", auth)}, "eu", "entry 1 of a: it has no name", ""},
		{"twice, told once", []map[string]any{entry("eu", auth), entry("us", auth), entry("eu", auth)}, "us", "eu: a has 2 entries of this name", ""},
		{"a name that the operator refuses", []map[string]any{entry("EU_1", auth)}, "", "EU_1: metadata.name is not a name that the operator accepts", ""},
		{"two methods", []map[string]any{entry("eu", auth+"\nspiffeAuth: {server: 'https://a.b', trustBundleSecretRef: {name: s}}")}, "", "eu: spec.spiffeAuth is one authentication method too many", ""},
		{"no method", []map[string]any{entry("eu", "schedule: 1 * * * *")}, "", "eu: spec has no authentication method", ""},
		{"a reference without a name counts as none", []map[string]any{entry("eu", "kubeconfigSecretRef: {}")}, "", "eu: spec has no authentication method", ""},
		{"a schedule that the API server refuses", []map[string]any{entry("eu", auth+"\nschedule: often")}, "", "eu: spec.schedule can't be used", ""},
		{"another type", []map[string]any{entry("eu", "kubeconfigSecretRef: s")}, "", "eu: a field has another type", ""},
		{"a field of a newer operator", []map[string]any{entry("eu", auth+"\njobOverrides: {a: "+canary+"}\nfiltering: {namespaces: {labels: [a]}}")}, "eu", "", "Muster does not know the field filtering.namespaces.labels"},
		{"skipped", []map[string]any{entry("skipped", auth), entry("eu", auth)}, "eu", "", ""},
	} {
		im := author.Import{Placement: author.InCluster, Now: now, Secrets: map[string]author.LiveSecret{"s": secretOf("kubeconfig", "x")},
			Skip: func(config, cluster string) bool { return config == "a" && cluster == "skipped" }}
		if err := im.AuditConfig("a", auditConfig(row.entries...), false); err != nil {
			t.Fatal(err)
		}
		var files, left, notes []string
		for _, d := range im.Clusters {
			files, notes = append(files, d.Cluster.Metadata.Name), append(notes, d.Notes...)
		}
		for _, l := range im.Left {
			left = append(left, l.Name+": "+l.Reason)
		}
		got := strings.Join(left, "\n")
		if strings.Join(files, " ") != row.files || (got == "") != (row.left == "") || !strings.HasPrefix(got, row.left) || len(left) > 1 || !strings.Contains(strings.Join(notes, "\n"), row.note) {
			t.Errorf("%s: files %q, left %q, notes %q", row.reason, files, left, notes)
		}
		if strings.Contains(strings.Join(append(left, notes...), ""), canary) {
			t.Errorf("%s: a value of an unknown field is shown", row.reason)
		}
	}
	im := author.Import{Placement: author.InCluster, Now: now}
	for _, config := range []string{"a", "b"} {
		if err := im.AuditConfig(config, auditConfig(entry("eu", auth)), true); err != nil {
			t.Fatal(err)
		}
	}
	if len(im.Clusters) != 1 || im.Clusters[0].Cluster.Spec.AuditConfig != "a" || len(im.Left) != 1 || !strings.Contains(im.Left[0].Reason, "another cluster has the same name") {
		t.Errorf("the same name in two audit configs: %d files, left %+v", len(im.Clusters), im.Left)
	}
	if err := (&author.Import{}).AuditConfig("a", map[string]any{"spec": map[string]any{"kubernetesResources": map[string]any{"externalClusters": "x"}}}, false); err == nil {
		t.Error("a list that is a string is imported")
	}
}

// TestInlineFile: the file of every reference with its values.
func TestInlineFile(t *testing.T) {
	im := author.Import{Placement: author.Inline, Now: now, Secrets: map[string]author.LiveSecret{
		"reg": secretOf(".dockerconfigjson", `{"auths":{"r.example.com":{"username":"u","password":"`+canary+`"}}}`),
		"k":   secretOf("kubeconfig", kubeconfigText("token: "+canary)),
	}}
	object := auditConfig(entry("eu", "kubeconfigSecretRef: {name: k}\nfiltering: {namespaces: {}}\ncontainerImageScanning: true\nrepositories: {}\nprivateRegistriesPullSecretRef: {name: reg}\nschedule: '7 */2 * * *'"))
	if err := im.AuditConfig("mondoo-client", object, true); err != nil || len(im.Clusters) != 1 || len(im.Manifests) != 0 {
		t.Fatalf("%v %+v %d", err, im.Left, len(im.Manifests))
	}
	text, err := im.Clusters[0].YAML("")
	if err != nil {
		t.Fatal(err)
	}
	want := "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: eu\nspec:\n  kubeconfig: |\n" +
		"    " + strings.ReplaceAll(strings.TrimSuffix(kubeconfigText("token: "+canary), "\n"), "\n", "\n    ") + "\n" +
		"  schedule: 7 */2 * * *\n  filtering:\n    namespaces: {}\n  containerImageScanning: true\n  repositories: {}\n  privateRegistries:\n" +
		"    dockerConfigJson: '{\"auths\":{\"r.example.com\":{\"username\":\"u\",\"password\":\"" + canary + "\"}}}'\n  auditConfig: mondoo-client\n"
	if string(text) != want {
		t.Errorf("got:\n%swant:\n%s", text, want)
	}
	if fields := fmt.Sprint(im.Clusters[0].SecretFields()); fields != "[[spec kubeconfig] [spec privateRegistries dockerConfigJson]]" {
		t.Errorf("secret fields: %s", fields)
	}
}

func TestAuditConfigManifest(t *testing.T) {
	object := map[string]any{"metadata": map[string]any{"name": "a", "uid": "1", "annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": canary}},
		"status": map[string]any{"x": "y"}, "spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "c"},
			"kubernetesResources": map[string]any{"enable": true, "externalClusters": []any{entry("eu", "{}")}}}}
	got, err := author.AuditConfigManifest("a", object)
	const want = "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata:\n  name: a\nspec:\n  kubernetesResources:\n    enable: true\n  mondooCredsSecretRef:\n    name: c\n"
	if err != nil || string(got) != want {
		t.Errorf("%v, got:\n%swant:\n%s", err, got, want)
	}
	if entries := object["spec"].(map[string]any)["kubernetesResources"].(map[string]any)["externalClusters"].([]any); len(entries) != 1 {
		t.Error("the live object was changed")
	}
}

// TestSecretVariable: a manifest of an audit config is not encrypted.
func TestSecretVariable(t *testing.T) {
	for _, row := range []struct{ reason, name, value, refused string }{
		{"harmless", "HTTPS_PROXY", "http://proxy:3128", ""},
		{"a login in an address", "HTTPS_PROXY", "http://robot:" + canary + "@proxy:3128", "spec.scanner.env HTTPS_PROXY"},
		{"a name that tells", "API_TOKEN", canary, "spec.scanner.env API_TOKEN"},
		{"from a Secret", "API_TOKEN", "", ""},
	} {
		variable := map[string]any{"name": row.name}
		if row.value != "" {
			variable["value"] = row.value
		}
		object := map[string]any{"spec": map[string]any{"scanner": map[string]any{"env": []any{variable}}}}
		text, err := author.AuditConfigManifest("a", object)
		if (err == nil) != (row.refused == "") || err != nil && (!strings.HasPrefix(err.Error(), row.refused) || strings.Contains(err.Error(), canary)) {
			t.Errorf("%s: %v\n%s", row.reason, err, text)
		}
	}
}

func TestClusterName(t *testing.T) {
	for from, want := range map[string]string{
		"prod": "prod", "admin@Prod_EU": "admin-prod-eu", "arn:aws:eks:eu-west-1:123456789012:cluster/prod": "arn-aws-eks-eu-west-1-123456789012-cluster-prod",
		"--": "", "": "", "gke_p_europe-west1_c": "gke-p-europe-west1-c", "ü": "", strings.Repeat("x", 70) + "-prod": strings.Repeat("x", 58) + "-prod",
	} {
		if got := author.ClusterName(from); got != want {
			t.Errorf("%q: %q, want %q", from, got, want)
		}
	}
}

func TestContexts(t *testing.T) {
	text := `apiVersion: v1
kind: Config
clusters:
- {name: a, cluster: {server: "https://a.example.com"}}
- {name: b, cluster: {server: "https://b.example.com", certificate-authority: /etc/ca}}
- {name: eks, cluster: {server: "https://ABC.gr7.eu-west-1.eks.amazonaws.com"}}
users:
- {name: token, user: {token: ` + canary + `}}
- {name: expired, user: {token: eyJhbGciOiJub25lIn0.eyJleHAiOjF9.x}}
- {name: exec, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}}}
contexts:
- {name: admin@A, context: {cluster: a, user: token}}
- {name: plugin, context: {cluster: a, user: exec}}
- {name: cloud, context: {cluster: eks, user: exec}}
- {name: expired, context: {cluster: a, user: expired}}
- {name: file, context: {cluster: b, user: token}}
- {name: x_y, context: {cluster: a, user: token}}
- {name: x-y, context: {cluster: a, user: token}}
- {name: dangling, context: {cluster: gone, user: token}}
`
	im := author.Import{Now: now}
	config, err := clientcmd.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	im.Contexts(config, readFile)
	if len(im.Clusters) != 1 || im.Clusters[0].Cluster.Metadata.Name != "admin-a" || !slices.Contains(im.Clusters[0].Notes, "it is the context admin@A") {
		t.Fatalf("%+v", im.Clusters)
	}
	got := im.Clusters[0].Cluster.Spec.Kubeconfig
	if !strings.Contains(got, "server: https://a.example.com") || strings.Contains(got, "exec") || strings.Contains(got, "b.example.com") || strings.Count(got, canary) != 1 {
		t.Errorf("the kubeconfig is:\n%s", got)
	}
	var left []string
	for _, l := range im.Left {
		left = append(left, l.Name+": "+l.Reason)
	}
	all := strings.Join(left, "\n")
	for _, want := range []string{"plugin: it logs in with aws", "file: ", "file does not exist", "cloud: it logs in with the program of a cloud", "expired: the user's token expired", `x_y: its name as a cluster would be "x-y", like that of 2 contexts`, "x-y: ", "dangling: "} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in:\n%s", want, all)
		}
	}
	if strings.Contains(all, canary) {
		t.Errorf("a secret is shown:\n%s", all)
	}
}

func TestArgoSecret(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString([]byte(ca))
	const eks = "https://ABC.gr7.eu-west-1.eks.amazonaws.com"
	for _, row := range []struct{ reason, name, server, config, form, left string }{
		{"a token and a CA", "Prod", "https://a.b", `{"bearerToken": "` + canary + `", "tlsClientConfig": {"caData": "` + b64 + `"}}`, "serviceAccountAuth", ""},
		{"a token for public certificates", "prod", "https://a.b", `{"bearerToken": "` + canary + `"}`, "kubeconfig", ""},
		{"without TLS, which a kubeconfig is bound to", "prod", "https://a.b", `{"bearerToken": "` + canary + `", "tlsClientConfig": {"insecure": true}}`, "kubeconfig", ""},
		{"a server name", "prod", "https://a.b", `{"bearerToken": "` + canary + `", "tlsClientConfig": {"serverName": "x"}}`, "kubeconfig", ""},
		{"user name and password", "prod", "https://a.b", `{"username": "u", "password": "` + canary + `"}`, "kubeconfig", ""},
		{"nothing to log in with", "prod", "https://a.b", `{}`, "", "prod: the user u"},
		{"a role", "prod", eks, `{"awsAuthConfig": {"clusterName": "p", "roleARN": "arn:aws:iam::123456789012:role/r"}}`, "workloadIdentity", ""},
		{"no role", "prod", eks, `{"awsAuthConfig": {"clusterName": "p"}}`, "", "prod: its awsAuthConfig has no"},
		{"a profile", "prod", eks, `{"awsAuthConfig": {"clusterName": "p", "roleARN": "arn:aws:iam::123456789012:role/r", "profile": "/p"}}`, "", "prod: its awsAuthConfig has a profile"},
		{"an address that hides the region", "prod", "https://a.b", `{"awsAuthConfig": {"clusterName": "p", "roleARN": "arn:aws:iam::123456789012:role/r"}}`, "", "prod: its server is not an address of EKS"},
		{"a program", "prod", "https://a.b", `{"execProviderConfig": {"command": "argocd-k8s-auth", "args": ["gcp"]}}`, "", "prod: it logs in by the program argocd-k8s-auth"},
		{"itself", "in-cluster", "https://kubernetes.default.svc", `{}`, "", "in-cluster: it is the cluster in which Argo CD runs"},
		{"not JSON", "prod", "https://a.b", "{" + canary, "", "prod: the key config of its Secret is not JSON"},
		{"a CA that isn't base64", "prod", "https://a.b", `{"bearerToken": "` + canary + `", "tlsClientConfig": {"caData": "?"}}`, "", "prod: its caData is not base64"},
		{"no name", "", "https://a.b", `{}`, "", "(no name): "},
	} {
		im := author.Import{Now: now}
		im.ArgoSecret(map[string][]byte{"name": []byte(row.name), "server": []byte(row.server), "config": []byte(row.config)})
		form, left := "", ""
		if len(im.Clusters) == 1 {
			form = strings.Join(im.Clusters[0].Cluster.Spec.Methods(), " ")
		}
		if len(im.Left) == 1 {
			left = im.Left[0].Name + ": " + im.Left[0].Reason
		}
		if len(im.Clusters)+len(im.Left) != 1 || form != row.form || (left == "") != (row.left == "") || row.reason != "nothing to log in with" && !strings.HasPrefix(left, row.left) || strings.Contains(left, canary) {
			t.Errorf("%s: %q, left %q", row.reason, form, left)
		}
	}
}

func TestArgoSecrets(t *testing.T) {
	for reason, row := range map[string]struct{ config, want string }{
		"only what is secret": {`{"bearerToken": "t", "tlsClientConfig": {"keyData": "k", "caData": "public"}, "execProviderConfig": {"command": "aws", "args": ["a"], "env": {"X": "e"}}}`, "a e k t"},
		"not JSON":            {"{" + canary, "{" + canary},
	} {
		got := sources.ArgoSecrets(map[string][]byte{"name": []byte("prod"), "config": []byte(row.config)})
		slices.Sort(got)
		if strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q", reason, got)
		}
	}
}

func TestAdminSecret(t *testing.T) {
	im := author.Import{Now: now}
	im.AdminSecret("prod-kubeconfig", map[string][]byte{"value": []byte(kubeconfigText("token: " + canary))})
	im.AdminSecret("new-kubeconfig", nil)
	im.AdminSecret("bad-kubeconfig", map[string][]byte{"value": []byte("{" + canary)})
	if len(im.Clusters) != 1 || im.Clusters[0].Cluster.Metadata.Name != "prod" || im.Clusters[0].Cluster.Spec.Kubeconfig == "" || !strings.Contains(strings.Join(im.Clusters[0].Notes, ""), "Cluster API renews") {
		t.Errorf("%+v", im.Clusters)
	}
	if len(im.Left) != 2 || im.Left[0].Name != "new" || im.Left[1].Name != "bad" || strings.Contains(fmt.Sprint(im.Left), canary) {
		t.Errorf("%+v", im.Left)
	}
}

// TestContextCommand: the name of a context goes into a command to copy, and whoever wrote the kubeconfig chose it.
func TestContextCommand(t *testing.T) {
	for reason, program := range map[string]string{"a program that the scanner doesn't have": "x", "the program of a cloud": "gke-gcloud-auth-plugin"} {
		config, err := clientcmd.Load([]byte(`clusters: [{name: a, cluster: {server: "https://a.example.com"}}]
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ` + program + `, interactiveMode: Never}}}]
contexts: [{name: "a'; touch x; '", context: {cluster: a, user: u}}]
`))
		if err != nil {
			t.Fatal(err)
		}
		im := author.Import{Now: now}
		im.Contexts(config, readFile)
		if len(im.Left) != 1 || !strings.Contains(im.Left[0].Fix, `--from-context 'a'\''; touch x; '\'''`) {
			t.Errorf("%s: %+v", reason, im.Left)
		}
	}
}
