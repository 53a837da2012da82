package clusters_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// short is a secret of fewer characters than the redactor masks.
const short = "q7Z-x"

// TestShortSecretsStayInSecrets encrypts values that no redactor can take out of a text, at every place where an encrypted value can
// be, good or bad. They may get into the data of Secrets and into the field of the entry that they are the value of, and nowhere else: no
// finding, name, label or annotation has them.
func TestShortSecretsStayInSecrets(t *testing.T) {
	key := sealtest.NewKey(t)
	in64 := base64.StdEncoding.EncodeToString([]byte(short))
	clusterFile := func(spec string) string {
		return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: eu\nspec:\n" + indent(2, spec)
	}
	secretFile := func(rest string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: eu-token\n" + rest
	}
	account := func(fields string) string { return clusterFile("serviceAccountAuth:\n" + indent(2, fields)) }
	good := kubeconfig("eu")
	inKubeconfig := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("%q is not in the kubeconfig", from)
		}
		return clusterFile("kubeconfig: |\n" + indent(2, strings.Replace(good, from, to, 1)))
	}
	token := "token: token-" + canary
	registry := func(text string) string {
		quoted, _ := json.Marshal(text)
		return clusterFile("kubeconfigSecretRef: {name: there}\nprivateRegistries:\n  dockerConfigJson: " + string(quoted))
	}
	only := func(field string) sealtest.Rule {
		return sealtest.Rule{EncryptedRegex: "^(" + field + ")$", MACOnlyEncrypted: true}
	}
	for name, tc := range map[string]struct {
		text string
		rule sealtest.Rule
	}{
		"token":                         {account("server: https://eu.example.com\nskipTLSVerify: true\ntoken: " + short), sealtest.Credentials},
		"token with a line end":         {account("server: https://eu.example.com\nskipTLSVerify: true\ntoken: \"" + short + "\\n\""), sealtest.Credentials},
		"token with a control":          {account("server: https://eu.example.com\nskipTLSVerify: true\ntoken: \"" + short + "\\a\""), sealtest.Credentials},
		"server":                        {account("server: " + short + "\ntoken: token-" + canary), sealtest.Recommended},
		"server with a scheme":          {account("server: https://" + short + "/%zz\ntoken: token-" + canary), sealtest.Recommended},
		"CA":                            {account("server: https://eu.example.com\ntoken: token-" + canary + "\ncaCert: " + short), sealtest.Recommended},
		"CA in PEM":                     {account("server: https://eu.example.com\ntoken: token-" + canary + "\ncaCert: |\n  -----BEGIN CERTIFICATE-----\n  " + short + "\n  -----END CERTIFICATE-----"), sealtest.Recommended},
		"CA of another type":            {account("server: https://eu.example.com\ntoken: token-" + canary + "\ncaCert: |\n  -----BEGIN " + short + "-----\n  -----END " + short + "-----"), sealtest.Recommended},
		"skipTLSVerify":                 {account("server: https://eu.example.com\ntoken: token-" + canary + "\nskipTLSVerify: " + short), only("token|skipTLSVerify")},
		"kubeconfig":                    {clusterFile("kubeconfig: " + short), sealtest.Recommended},
		"kubeconfig that is a list":     {clusterFile("kubeconfig: \"[" + short + "]\""), sealtest.Recommended},
		"kubeconfig, not YAML":          {clusterFile("kubeconfig: \"{" + short + ": [\""), sealtest.Recommended},
		"kubeconfig, token":             {inKubeconfig(token, "token: "+short), sealtest.Recommended},
		"kubeconfig, password":          {inKubeconfig(token, "username: u\n      password: "+short), sealtest.Recommended},
		"kubeconfig, user name":         {inKubeconfig(token, "username: "+short+"\n      password: p"), sealtest.Recommended},
		"kubeconfig, token file":        {inKubeconfig(token, "tokenFile: "+short), sealtest.Recommended},
		"kubeconfig, client key":        {inKubeconfig(token, "client-key-data: "+in64+"\n      client-certificate-data: "+in64), sealtest.Recommended},
		"kubeconfig, key, no base64":    {inKubeconfig(token, "client-key-data: \""+short+"\""), sealtest.Recommended},
		"kubeconfig, exec":              {inKubeconfig(token, "exec: {command: "+short+", args: ["+short+"]}"), sealtest.Recommended},
		"kubeconfig, auth provider":     {inKubeconfig(token, "auth-provider: {name: "+short+", config: {k: "+short+"}}"), sealtest.Recommended},
		"kubeconfig, impersonation":     {inKubeconfig(token, token+"\n      as: "+short), sealtest.Recommended},
		"kubeconfig, unknown field":     {inKubeconfig(token, token+"\n      secret: "+short), sealtest.Recommended},
		"kubeconfig, field as value":    {inKubeconfig(token, token+"\n      "+short+": x"), sealtest.Recommended},
		"kubeconfig, server":            {inKubeconfig("https://eu.example.com:6443", short), sealtest.Recommended},
		"kubeconfig, password in URL":   {inKubeconfig("https://eu.example.com:6443", "https://u:"+short+"@eu.example.com"), sealtest.Recommended},
		"kubeconfig, proxy":             {inKubeconfig("server: https://eu.example.com:6443", "server: https://eu.example.com:6443\n      proxy-url: http://u:"+short+"@proxy"), sealtest.Recommended},
		"kubeconfig, TLS server name":   {inKubeconfig("server: https://eu.example.com:6443", "server: https://eu.example.com:6443\n      tls-server-name: "+short), sealtest.Recommended},
		"kubeconfig, CA":                {inKubeconfig("certificate-authority-data: ", "certificate-authority-data: "+in64+" # "), sealtest.Recommended},
		"kubeconfig, context":           {inKubeconfig("current-context: eu", "current-context: "+short), sealtest.Recommended},
		"kubeconfig, kind":              {inKubeconfig("kind: Config", "kind: "+short), sealtest.Recommended},
		"registry":                      {registry(short), sealtest.Recommended},
		"registry, not JSON":            {registry("{" + short), sealtest.Recommended},
		"registry, password":            {registry(`{"auths": {"r.example.com": {"username": "u", "password": "` + short + `"}}}`), sealtest.Recommended},
		"registry, auth":                {registry(`{"auths": {"r.example.com": {"auth": "` + short + `"}}}`), sealtest.Recommended},
		"registry, auth as a number":    {registry(`{"auths": {"r.example.com": {"auth": ["` + short + `"]}}}`), sealtest.Recommended},
		"registry, identity token":      {registry(`{"auths": {"r.example.com": {"identitytoken": "` + short + `"}}}`), sealtest.Recommended},
		"registry, host":                {registry(`{"auths": {"` + short + `": {}}}`), sealtest.Recommended},
		"registry, helper":              {registry(`{"credHelpers": {"r.example.com": "` + short + `"}}`), sealtest.Recommended},
		"schedule":                      {clusterFile("kubeconfigSecretRef: {name: there}\nschedule: " + short), only("schedule")},
		"namespaces":                    {clusterFile("kubeconfigSecretRef: {name: there}\nfiltering: {namespaces: {include: [" + short + "]}}"), only("include")},
		"a reference":                   {clusterFile("kubeconfigSecretRef: {name: " + short + "}"), only("kubeconfigSecretRef")},
		"audit config":                  {clusterFile("kubeconfigSecretRef: {name: there}\nauditConfig: " + short), only("auditConfig")},
		"the cluster's name":            {strings.Replace(clusterFile("kubeconfigSecretRef: {name: there}"), "name: eu", "name: "+short, 1), only("metadata")},
		"an annotation of the cluster":  {strings.Replace(clusterFile("kubeconfigSecretRef: {name: there}"), "name: eu", "name: eu\n  annotations: {muster.dev/accept.x: "+short+"}", 1), only("annotations")},
		"everything":                    {strings.Replace(clusterFile("kubeconfigSecretRef: {name: "+short+"}\nschedule: "+short), "name: eu", "name: "+short, 1), sealtest.Everything},
		"an unknown field":              {clusterFile("kubeconfigSecretRef: {name: there}\nsecretThing: " + short), only("secretThing")},
		"Vault, CA":                     {clusterFile("vaultAuth: {server: https://eu.example.com, vaultAddr: https://v.example.com, authRole: r, credsRole: c, caCert: " + short + "}"), sealtest.Recommended},
		"Vault, target CA":              {clusterFile("vaultAuth: {server: https://eu.example.com, vaultAddr: https://v.example.com, authRole: r, credsRole: c, targetCACert: " + short + "}"), only("targetCACert")},
		"Vault, role":                   {clusterFile("vaultAuth: {server: https://eu.example.com, vaultAddr: https://v.example.com, authRole: " + short + ", credsRole: c}"), only("authRole")},
		"SPIFFE, trust bundle":          {clusterFile("spiffeAuth: {server: https://eu.example.com, trustBundle: " + short + "}"), only("trustBundle")},
		"Secret, text":                  {secretFile("stringData: {token: " + short + "}"), sealtest.Recommended},
		"Secret, base64":                {secretFile("data: {token: " + in64 + "}"), sealtest.Recommended},
		"Secret, no base64":             {secretFile("data: {token: \"" + short + "!\"}"), sealtest.Recommended},
		"Secret, a number":              {secretFile("stringData: {token: 0123.50}"), sealtest.Recommended},
		"Secret, a mapping":             {secretFile("stringData: {token: {k: " + short + "}}"), sealtest.Recommended},
		"Secret, kubeconfig":            {secretFile("stringData: {kubeconfig: " + short + "}"), sealtest.Recommended},
		"Secret, label":                 {strings.Replace(secretFile("stringData: {token: x}"), "name: eu-token", "name: eu-token\n  labels: {l: "+short+"}", 1), only("data|stringData|labels")},
		"Secret, annotation":            {strings.Replace(secretFile("stringData: {token: x}"), "name: eu-token", "name: eu-token\n  annotations: {l: "+short+"}", 1), only("data|stringData|annotations")},
		"Secret, name":                  {strings.Replace(secretFile("stringData: {token: x}"), "name: eu-token", "name: "+short, 1), only("data|stringData|name")},
		"Secret, type":                  {secretFile("type: " + short + "\nstringData: {token: x}"), only("data|stringData|type")},
		"Secret, immutable":             {secretFile("immutable: " + short + "\nstringData: {token: x}"), only("data|stringData|immutable")},
		"Secret, server beside a token": {secretFile("stringData: {token: token-" + canary + ", server: " + short + "}"), sealtest.Recommended},
		"audit config, image":           {auditConfig("mondoo-client") + "  scanner: {image: {tag: " + short + "}}\n", only("tag")},
		"audit config, environment":     {auditConfig("mondoo-client") + "  scanner: {env: [{name: A, value: " + short + "}]}\n", only("value")},
		"audit config, annotation":      {auditConfig("mondoo-client") + "  annotations: {a: " + short + "}\n", only("annotations")},
		"audit config, schedule":        {strings.Replace(auditConfig("mondoo-client"), "17 * * * *", short, 1), only("schedule")},
	} {
		t.Run(name, func(t *testing.T) {
			repository := files{"f/tested.yaml": key.Encrypt(t, "tested.yaml", tc.text, tc.rule)}
			if !strings.HasPrefix(name, "audit config,") {
				repository["f/mondoo-client.yaml"] = auditConfig("mondoo-client")
			}
			if strings.Contains(tc.text, "kind: Secret") {
				repository["f/uses.yaml"] = account("server: https://eu.example.com\nskipTLSVerify: true\ncredentialsSecretRef: {name: eu-token}")
			}
			r := render(t, repository.fs(), "f", options, key.Opener(t))
			opened := *r.opened
			opened.Secrets, opened.Clusters = nil, slices.Clone(opened.Clusters)
			for i := range opened.Clusters {
				opened.Clusters[i].Entry, opened.Clusters[i].File = mondoo.Entry{}, nil
			}
			for _, s := range r.opened.Secrets {
				s.Data = nil
				opened.Secrets = append(opened.Secrets, s)
			}
			text, err := json.Marshal(opened)
			if err != nil {
				t.Fatal(err)
			}
			shown := r.redactor.String(fmt.Sprintf("%s\n%v", text, opened.Findings))
			for _, secret := range []string{short, in64, "123.5"} {
				if i := strings.Index(shown, secret); i >= 0 {
					t.Errorf("it shows in …%s…", shown[max(0, i-200):min(len(shown), i+200)])
				}
			}
		})
	}
}
