package clusters_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// fleetRows are about what shows only with the whole fleet, or the namespace, at hand.
func fleetRows(t *testing.T, key *sealtest.Key, cluster func(name, spec string) string) []badInput {
	const ref = "kubeconfigSecretRef: {name: elsewhere}\n"
	many := func(n int, spec func(i int) string) files {
		list := files{}
		for i := range n {
			name := fmt.Sprintf("c%02d", i)
			list[name+".yaml"] = cluster(name, ref+spec(i))
		}
		return list
	}
	at := func(schedule string) func(int) string {
		return func(int) string { return "schedule: '" + schedule + "'\n" }
	}
	with := func(list files, name, content string) files {
		list[name] = content
		return list
	}
	config := func(old, replacement string) string {
		return strings.Replace(auditConfig("mondoo-client"), old, replacement, 1)
	}
	restricted := func(level string) func(*compile.Options) {
		return func(o *compile.Options) { o.PodSecurity = level }
	}
	spiffe := files{"bad.yaml": cluster("bad", "spiffeAuth: {server: 'https://x.example.com', trustBundleSecretRef: {name: x}}\n")}
	identity := "  containers:\n    workloadIdentity: {provider: gke, gke: {projectId: p}}\n"
	workload := "workloadIdentity:\n  provider: eks\n  eks: {region: eu-central-1, clusterName: bad, roleArn: 'arn:aws:iam::123456789012:role/scan'}\n"
	registry := key.Encrypt(t, "bad.yaml", cluster("bad", workload+"containerImageScanning: true\nprivateRegistries:\n  dockerConfigJson: '{\"auths\":{\"r\":{\"username\":\"u\",\"password\":\""+canary+"\"}}}'\n"), sealtest.Credentials)
	withIdentity := auditConfig("mondoo-client") + identity
	return []badInput{
		{name: "ten clusters at one minute", files: many(10, at("0 3 * * *")), want: []string{"same-minute clusters/c00.yaml:7"}},
		{name: "nine clusters at one minute", files: many(9, at("0 3 * * *"))},
		{name: "ten clusters by H", files: many(10, at("H 3 * * *"))},
		{name: "ten clusters that H has to put into one minute", files: many(10, at("H(5-5) 3 * * *"))},
		{name: "ten clusters at a minute of hashed hours", files: many(10, at("0 H * * *"))},
		{name: "five and five that meet", files: many(10, func(i int) string { return at([]string{"0 3 * * *", "@hourly"}[i%2])(i) }), want: []string{"same-minute clusters/c00.yaml:7"}},
		{name: "five and five on other days", files: many(10, func(i int) string { return at([]string{"0 3 * * 1", "0 3 * * 2"}[i%2])(i) })},
		{name: "ten clusters by @every", files: many(10, at("@every 1h"))},
		{name: "ten clusters that inherit", files: many(9, func(int) string { return "" }), want: []string{"same-minute clusters/mondoo-client.yaml:9"}}, // the good one is the tenth
		{name: "nine clusters that inherit", files: many(8, func(int) string { return "" })},
		{name: "ten clusters that inherit the operator's default", files: with(many(9, func(int) string { return "" }), "mondoo-client.yaml", config("    schedule: 17 * * * *\n", "")), want: []string{"same-minute clusters/c00.yaml:5"}},
		{name: "one CronJob for clusters of two audit configs", files: files{"other.yaml": auditConfig("mondoo-client-eu"), "a.yaml": cluster("eu-prod", ref+"auditConfig: mondoo-client\n"),
			"b.yaml": cluster("prod", ref+"auditConfig: mondoo-client-eu\n"), "good.yaml": key.Encrypt(t, "good.yaml", cluster("good", "auditConfig: mondoo-client\nkubeconfig: |\n"+indent(2, kubeconfig("good"))), sealtest.Credentials)},
			want: []string{"scan-name clusters/a.yaml:4", "scan-name clusters/b.yaml:4"}},
		{name: "a cluster with the CronJob of another audit config's own scan", files: files{"other.yaml": auditConfig("mondoo-client-eu"), "a.yaml": cluster("eu", ref+"auditConfig: mondoo-client\n"),
			"good.yaml": key.Encrypt(t, "good.yaml", cluster("good", "auditConfig: mondoo-client\nkubeconfig: |\n"+indent(2, kubeconfig("good"))), sealtest.Credentials)},
			want: []string{"scan-name clusters/a.yaml:4"}},
		{name: "clusters with one inventory", files: files{"other.yaml": auditConfig("mondoo-client-k8s-inventory-a"), "a.yaml": cluster("a-k8s-inventory-b", ref+"auditConfig: mondoo-client\n"),
			"b.yaml":    cluster("b", ref+"auditConfig: mondoo-client-k8s-inventory-a\n"),
			"good.yaml": key.Encrypt(t, "good.yaml", cluster("good", "auditConfig: mondoo-client\nkubeconfig: |\n"+indent(2, kubeconfig("good"))), sealtest.Credentials)},
			want: []string{"scan-name clusters/a.yaml:4", "scan-name clusters/b.yaml:4"}},
		{name: "a cluster with the CronJob of an entry that is not in Git", files: files{"a.yaml": cluster("eu-prod", ref)}, want: []string{"scan-name clusters/a.yaml:4"},
			options: func(o *compile.Options) {
				o.Existing = map[string]map[string]any{"mondoo-client-eu": {"spec": map[string]any{"kubernetesResources": map[string]any{"externalClusters": []any{map[string]any{"name": "prod"}}}}}}
			}},
		{name: "a CronJob's name with dots that the operator cuts", files: files{"other.yaml": auditConfig("eu.west-1.production"), "a.yaml": cluster("payments-in-frankfurt", ref+"auditConfig: eu.west-1.production\n"),
			"b.yaml":    cluster("short", ref+"auditConfig: eu.west-1.production\n"),
			"good.yaml": key.Encrypt(t, "good.yaml", cluster("good", "auditConfig: mondoo-client\nkubeconfig: |\n"+indent(2, kubeconfig("good"))), sealtest.Credentials)},
			want: []string{"scan-name clusters/a.yaml:4"}},
		{name: "a Secret with a name of the operator's", files: files{"s.yaml": key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: mondoo-client-config-override\nstringData: {config: x}\n", sealtest.Recommended)},
			want: []string{"operator-name clusters/s.yaml:4"}},
		{name: "a Secret with the name of Vault's", files: files{"s.yaml": key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: mondoo-client-vault-kubeconfig-eu\nstringData: {kubeconfig: x}\n", sealtest.Recommended)},
			want: []string{"operator-name clusters/s.yaml:4"}},
		{name: "a daily cluster beside an hourly audit config", files: files{"a.yaml": cluster("a", ref+"schedule: H 3 * * *\n")}, want: []string{"purge-window clusters/a.yaml:7"}},
		{name: "every two hours beside an hourly audit config", files: files{"a.yaml": cluster("a", ref+"schedule: H */2 * * *\n")}, want: []string{"purge-window clusters/a.yaml:7"}},
		{name: "every two hours beside an audit config of every two hours", files: files{"a.yaml": cluster("a", ref+"schedule: H */2 * * *\n"), "mondoo-client.yaml": config("17 * * * *", "17 */2 * * *")}},
		{name: "hourly beside an audit config with an @word", files: files{"a.yaml": cluster("a", ref+"schedule: H * * * *\n"), "mondoo-client.yaml": config("17 * * * *", "\"@hourly\"")}},
		{name: "daily as the audit config, by an @word", files: files{"mondoo-client.yaml": config("17 * * * *", "\"@daily\"")}, want: []string{"purge-window clusters/good.yaml:5"}},
		{name: "CronJobs of two audit configs with a hash", files: files{"other.yaml": auditConfig("mondoo-client-eu"), "a.yaml": cluster("eu-"+strings.Repeat("x", 40), ref+"auditConfig: mondoo-client\n"),
			"b.yaml": cluster(strings.Repeat("x", 40), ref+"auditConfig: mondoo-client-eu\n"), "good.yaml": key.Encrypt(t, "good.yaml", cluster("good", "auditConfig: mondoo-client\nkubeconfig: |\n"+indent(2, kubeconfig("good"))), sealtest.Credentials)}},
		{name: "ten clusters in two audit configs", files: with(with(many(10, func(i int) string {
			return fmt.Sprintf("schedule: 0 3 * * *\nauditConfig: %s\n", []string{"mondoo-client", "other"}[i%2])
		}), "other.yaml", auditConfig("other")),
			"good.yaml", key.Encrypt(t, "good.yaml", cluster("good", "auditConfig: mondoo-client\nkubeconfig: |\n"+indent(2, kubeconfig("good"))), sealtest.Credentials))},
		{name: "H in an audit config", files: files{"mondoo-client.yaml": config("17 * * * *", "H * * * *")}, want: []string{"schedule clusters/mondoo-client.yaml:9"}, stopped: true},
		{name: "audit config with a bad schedule", files: files{"mondoo-client.yaml": config("17 * * * *", "99 * * * *")}, want: []string{"schedule clusters/mondoo-client.yaml:9"}, stopped: true},
		{name: "audit config whose filters cancel out", files: files{"mondoo-client.yaml": auditConfig("mondoo-client") + "  filtering:\n    namespaces:\n      include: [a]\n      exclude: [b]\n"}, want: []string{"filter-overlap clusters/mondoo-client.yaml:14"}},
		{name: "no schedule anywhere", files: files{"mondoo-client.yaml": config("    schedule: 17 * * * *\n    enable: true\n", "    enable: false\n"), "bad.yaml": cluster("bad", ref)}, infos: []string{"default-schedule clusters/bad.yaml:5"}},

		{name: "SPIFFE in a restricted namespace", files: spiffe, options: restricted("restricted"), want: []string{"spiffe-pod-security clusters/bad.yaml:6"}},
		{name: "SPIFFE in a baseline namespace", files: spiffe, options: restricted("baseline"), want: []string{"spiffe-pod-security clusters/bad.yaml:6"}},
		{name: "SPIFFE in a privileged namespace", files: spiffe, options: restricted("privileged")},
		{name: "SPIFFE in a namespace of which nothing is known", files: spiffe},
		{name: "another method in a restricted namespace", files: files{"bad.yaml": cluster("bad", ref)}, options: restricted("restricted")},

		{name: "registry identity that does not apply", files: files{"mondoo-client.yaml": withIdentity, "bad.yaml": cluster("bad", ref+"containerImageScanning: true\n")}, want: []string{"registry-workload-identity clusters/bad.yaml:7"}},
		{name: "registry identity without image scanning", files: files{"mondoo-client.yaml": withIdentity, "bad.yaml": cluster("bad", ref)}},
		{name: "registry identity that applies", files: files{"mondoo-client.yaml": withIdentity, "bad.yaml": cluster("bad", workload+"containerImageScanning: true\n")}},
		{name: "registry identity beside a pull secret", files: files{"mondoo-client.yaml": withIdentity, "bad.yaml": registry}, infos: []string{"registry-workload-identity clusters/bad.yaml:13"}},
		{name: "registry identity and a cluster with a pull secret alone", files: files{"mondoo-client.yaml": withIdentity, "bad.yaml": cluster("bad", ref+"containerImageScanning: true\nprivateRegistries: {secretRef: {name: r}}\n")}},
		{name: "registry identity of a live audit config", files: files{"mondoo-client.yaml": "", "bad.yaml": cluster("bad", ref+"containerImageScanning: true\n")}, want: []string{"empty clusters/mondoo-client.yaml", "registry-workload-identity clusters/bad.yaml:7"},
			options: func(o *compile.Options) {
				o.AuditConfig = "mondoo-client"
				o.Existing = map[string]map[string]any{"mondoo-client": {"spec": map[string]any{"containers": map[string]any{"workloadIdentity": map[string]any{"provider": "gke"}}, "kubernetesResources": map[string]any{"enable": true}}}}
			}},

		{name: "tokens of ServiceAccounts", files: files{"a.yaml": cluster("a", "serviceAccountAuth: {server: 'https://a.example.com', credentialsSecretRef: {name: x}}\n"), "b.yaml": cluster("b", "serviceAccountAuth: {server: 'https://b.example.com', credentialsSecretRef: {name: x}}\n")},
			infos: []string{"view-role clusters/a.yaml:6"}},
	}
}

// fieldRows are about single fields; package v1alpha1 has more of them.
func fieldRows(t *testing.T, key *sealtest.Key, cluster func(name, spec string) string) []badInput {
	const ref = "kubeconfigSecretRef: {name: elsewhere}\n"
	bad := func(spec string) files { return files{"bad.yaml": cluster("bad", spec)} }
	vault := func(fields string) files {
		return bad("vaultAuth:\n  server: https://x.example.com\n  authRole: x\n  credsRole: y\n  targetCACertSecretRef: {name: z}\n" + indent(2, fields))
	}
	secret := func(name, more string) string {
		return key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+"}\n"+more+"stringData: {kubeconfig: "+canary+"}\n", sealtest.Credentials)
	}
	token := func(more string) string {
		return key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  token: token-"+canary+"\n"+more+"  ca.crt: |\n"+indent(4, caPEM()), sealtest.Credentials)
	}
	const account = "serviceAccountAuth: {server: 'https://x.example.com', credentialsSecretRef: {name: s}}\n"
	return []badInput{
		{name: "eight mistakes in one file", files: bad("kubeconfigSecretRef: {name: UPPER}\nschedule: 99 * * * *\nshedule: x\ncontainerImageScanning: 'yes'\nfiltering: {namespaces: {include: []}}\nrepositories: {include: [a], exclude: [b]}\nvaultAuth: {server: 'http://x', vaultAddr: 'http://v', authRole: x, credsRole: y, ttl: 1d, targetCACertSecretRef: {name: z}}\n"),
			want: []string{"object-name clusters/bad.yaml:6", "schedule clusters/bad.yaml:7", "unknown-field clusters/bad.yaml:8", "wrong-type clusters/bad.yaml:9", "filter-empty-include clusters/bad.yaml:10",
				"filter-overlap clusters/bad.yaml:11", "server-address clusters/bad.yaml:12", "vault-address clusters/bad.yaml:12", "vault-ttl clusters/bad.yaml:12", "auth-method clusters/bad.yaml:12"}},
		{name: "Vault without target CA", files: bad("vaultAuth: {server: 'https://x.example.com', vaultAddr: 'https://v.example.com', authRole: x, credsRole: y}\n"), want: []string{"tls-verification-off clusters/bad.yaml:6"}},
		{name: "skipTLSVerify", files: bad("serviceAccountAuth: {server: 'https://x.example.com', skipTLSVerify: true, credentialsSecretRef: {name: x}}\n"), want: []string{"tls-verification-off clusters/bad.yaml:6"}},
		{name: "Vault for 19 minutes", files: vault("vaultAddr: https://v.example.com\nttl: 19m\n"), want: []string{"vault-ttl clusters/bad.yaml:12"}},
		{name: "Vault for 20 minutes", files: vault("vaultAddr: https://v.example.com\nttl: 20m\n")},
		{name: "Vault without address", files: vault("ttl: 1h\n"), want: []string{"required-field clusters/bad.yaml:6"}},
		{name: "Vault mount elsewhere", files: vault("vaultAddr: https://v.example.com\nauthPath: kubernetes\n"), want: []string{"vault-path clusters/bad.yaml:12"}},
		{name: "SPIFFE socket as a URL", files: bad("spiffeAuth: {server: 'https://x.example.com', trustBundleSecretRef: {name: x}, socketPath: 'unix:///run/x.sock'}\n"), want: []string{"spiffe-socket-path clusters/bad.yaml:6"}},
		{name: "role that is no ARN", files: bad("workloadIdentity: {provider: eks, eks: {region: eu-central-1, clusterName: x, roleArn: scan}}\n"), want: []string{"cloud-identifier clusters/bad.yaml:6"}},
		{name: "provider of another block", files: bad("workloadIdentity: {provider: aws}\n"), want: []string{"workload-identity-provider clusters/bad.yaml:6"}},
		{name: "token inline and by reference", files: bad("serviceAccountAuth: {server: 'https://x.example.com', caCert: x, credentialsSecretRef: {name: x}}\n"), want: []string{"conflicting-fields clusters/bad.yaml:6"}},
		{name: "repositories without image scanning", files: bad(ref + "repositories: {include: [a]}\n"), want: []string{"no-image-scanning clusters/bad.yaml:7"}},
		{name: "Secret of a type that Kubernetes fills in", files: files{"s.yaml": secret("s", "type: kubernetes.io/service-account-token\n")}, want: []string{"secret-of-kubernetes clusters/s.yaml:5"}},
		{name: "Secret whose name Kubernetes doesn't take", files: files{"s.yaml": secret("S_1", "")}, want: []string{"secret-invalid clusters/s.yaml:4"}},
		{name: "Secret whose label Kubernetes doesn't take", files: files{"s.yaml": secret("s, labels: {a: b c}", "")}, want: []string{"secret-invalid clusters/s.yaml:6"}},
		{name: "Secret whose annotation Kubernetes doesn't take", files: files{"s.yaml": secret("s, annotations: {a b: c}", "")}, want: []string{"secret-invalid clusters/s.yaml:6"}},
		{name: "Secret whose key Kubernetes doesn't take", files: files{"s.yaml": key.Encrypt(t, "s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a b: "+canary+"}\n", sealtest.Credentials)}, want: []string{"secret-invalid clusters/s.yaml:6"}},
		{name: "Secret without the keys of its type", files: files{"s.yaml": secret("s", "type: kubernetes.io/tls\n")}, want: []string{"secret-invalid clusters/s.yaml:5"}},
		{name: "Secret of another cluster", files: bad("kubeconfigSecretRef: {name: mondoo-client-good-kubeconfig}\n"), want: []string{"secret-name clusters/bad.yaml:6"}},
		{name: "name of a Secret that Muster makes", files: bad("kubeconfigSecretRef: {name: elsewhere-x-kubeconfig-0123456789abcdef}\n"), want: []string{"secret-name clusters/bad.yaml:6"}},
		{name: "manifest with the name of a Secret that Muster makes", files: files{"s.yaml": secret("elsewhere-x-kubeconfig-0123456789abcdef", "")}, want: []string{"secret-name clusters/s.yaml:4"}},
		{name: "token that says no server", files: files{"bad.yaml": cluster("bad", account), "s.yaml": token("")}, infos: []string{"token-unbound clusters/bad.yaml:6"}},
		{name: "token that says its server", files: files{"bad.yaml": cluster("bad", account), "s.yaml": token("  server: https://x.example.com\n")}},
		{name: "token that says another server", files: files{"bad.yaml": cluster("bad", account), "s.yaml": token("  server: https://y.example.com\n")}, withKey: true, want: []string{"token-server clusters/bad.yaml:6"}},
	}
}

// recipientRows compare plain, encrypted for others, with .sops.yaml.
func recipientRows(t *testing.T, key *sealtest.Key, plain string) []badInput {
	other, pgp := sealtest.NewKey(t), sealtest.NewPGPKey(t)
	encrypt := func(threshold int, groups ...sealtest.Group) string {
		return sealtest.Encrypt(t, "bad.yaml", plain, sealtest.Credentials, threshold, groups...)
	}
	both := encrypt(0, sealtest.Group{key, other})
	one := encrypt(0, sealtest.Group{key})
	line := func(file string) string {
		return fmt.Sprintf("sops-recipients clusters/bad.yaml:%d", 1+strings.Count(file[:strings.Index(file, "\nsops:")+1], "\n"))
	}
	rule := func(match, recipients string) string {
		return "creation_rules:\n- path_regex: " + match + "\n  age: " + recipients + "\n"
	}
	good := rule(`good\.yaml$`, key.Public())
	k, o := key.Public(), other.Public()
	return []badInput{
		{name: "recipients as they should be", files: files{"bad.yaml": both, ".sops.yaml": good + "- age: " + o + ", " + k + "\n"}},
		{name: "recipients as a list", files: files{"bad.yaml": both, ".sops.yaml": good + "- age:\n  - " + o + "\n  - " + k + "\n"}},
		{name: "a recipient too many", files: files{"bad.yaml": both, ".sops.yaml": good + "- age: " + k + "\n"}, want: []string{line(both)}},
		{name: "a recipient is missing", files: files{"bad.yaml": one, ".sops.yaml": good + "- age: " + k + "," + o + "\n"}, want: []string{line(one)}},
		{name: "another recipient altogether", files: files{"bad.yaml": one, ".sops.yaml": good + "- age: " + o + "\n"}, want: []string{line(one), line(one)}},
		{name: "a PGP key is missing", files: files{"bad.yaml": one, ".sops.yaml": good + "- age: " + k + "\n  pgp: 0123456789ABCDEF0123456789ABCDEF01234567\n"}, want: []string{line(one)}},
		{name: "a Vault key is missing", files: files{"bad.yaml": one, ".sops.yaml": good + "- age: " + k + "\n  hc_vault_transit_uri: https://vault.example.com/v1/transit/keys/x\n"}, want: []string{line(one)}},
		{name: "a KMS key is missing", files: files{"bad.yaml": one, ".sops.yaml": good + "- age: " + k + "\n  kms: arn:aws:kms:eu-central-1:123456789012:key/x\n"}, want: []string{line(one)}},
		{name: "a secret in the place of a recipient", files: files{"bad.yaml": one, ".sops.yaml": good + "- age: " + k + "," + canary + "\n"}, want: []string{line(one)}},
		{name: "the first rule that fits", files: files{"bad.yaml": one, ".sops.yaml": rule(`^(bad|good)\.yaml$`, k) + "- age: " + o + "\n"}},
		{name: "no rule that fits", files: files{"bad.yaml": one, ".sops.yaml": rule(`other/`, o)}},
		{name: "key groups", opener: sealtest.Opener(t, key, pgp), stopped: true, files: files{"bad.yaml": encrypt(0, sealtest.Group{key}, sealtest.Group{pgp}), ".sops.yaml": good + "- shamir_threshold: 2\n  key_groups:\n  - pgp: [" + fingerprint(t, pgp, plain) + "]\n  - age: [" + k + "]\n"}},
		{name: "key groups with another threshold", opener: sealtest.Opener(t, key, other), stopped: true, files: files{"bad.yaml": encrypt(2, sealtest.Group{key}, sealtest.Group{other}, sealtest.Group{pgp}),
			".sops.yaml": good + "- key_groups:\n  - age: [" + k + "]\n  - age: [" + o + "]\n  - pgp: [" + fingerprint(t, pgp, plain) + "]\n"}, want: []string{"sops-recipients clusters/bad.yaml"}},
		{name: "other key groups", files: files{"bad.yaml": both, ".sops.yaml": good + "- key_groups:\n  - age: [" + k + "]\n  - age: [" + o + "]\n"}, want: []string{line(both)}},
		{name: "a nearer .sops.yaml", files: files{".sops.yaml": rule("", o), "sub/.sops.yaml": rule(`^bad\.yaml$`, k), "sub/bad.yaml": one}, want: []string{"sops-recipients clusters/good.yaml", "sops-recipients clusters/good.yaml"}},
		{name: "rules of another branch", files: files{"bad.yaml": one, ".sops.yaml": rule("", k)}, want: []string{line(one), line(one), "sops-recipients clusters/good.yaml", "sops-recipients clusters/good.yaml"},
			options: func(opts *compile.Options) { opts.SopsConfig = files{".sops.yaml": rule("", o)}.fs() }},
		{name: "a kubeconfigFile for others", files: files{"bad.yaml": "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: bad}\nspec: {kubeconfigFile: eu.kubeconfig}\n",
			"eu.kubeconfig": key.Encrypt(t, "eu.kubeconfig", kubeconfig("bad"), sealtest.Everything), ".sops.yaml": good + "- age: " + k + "," + o + "\n"}, want: []string{"sops-recipients clusters/eu.kubeconfig"}},
		{name: "an env file for others", files: files{"s.env": key.Encrypt(t, "s.env", "PASSWORD="+canary+"\n", sealtest.Everything), "kustomization.yaml": "resources: [mondoo-client.yaml, good.yaml]\nsecretGenerator:\n- name: s\n  envs: [s.env]\n",
			".sops.yaml": good + "- age: " + k + "," + o + "\n"}, want: []string{"sops-recipients clusters/s.env"}},
		{name: ".sops.yaml that is no YAML", files: files{"bad.yaml": one, ".sops.yaml": "x: ["}, want: []string{"sops-config clusters/.sops.yaml:1"}},
		{name: ".sops.yaml with a bad expression", files: files{".sops.yaml": "creation_rules:\n- age: " + k + "\n- path_regex: '['\n"}, want: []string{"sops-config clusters/.sops.yaml:3"}},
		{name: ".sops.yaml with a field of another kind", files: files{".sops.yaml": "creation_rules:\n- age: {a: b}\n"}, want: []string{"sops-config clusters/.sops.yaml:2"}},
		{name: ".sops.yaml that is a link", files: files{".sops.yaml": symlink + "/etc/passwd"}, want: []string{"sops-config clusters/.sops.yaml"}},
		{name: ".sops.yaml that is huge", files: files{".sops.yaml": "#" + strings.Repeat("x", 300<<10)}, want: []string{"sops-config clusters/.sops.yaml"}},
		{name: ".sops.yaml with an alias bomb", files: files{".sops.yaml": aliasBomb() + "creation_rules: [*a8]\n"}, want: []string{"sops-config clusters/.sops.yaml"}},
		{name: ".sops.yaml without creation rules", files: files{".sops.yaml": "destination_rules: []\n"}},
	}
}

// fingerprint is that of a PGP key, as sops writes it into a file.
func fingerprint(t *testing.T, key *sealtest.PGPKey, plain string) string {
	t.Helper()
	return strings.Trim(scalarAfter(sealtest.Encrypt(t, "x.yaml", plain, sealtest.Credentials, 0, sealtest.Group{key}), "fp: "), `'"`)
}

// credentialRows are about what shows once a credential is opened. The run's time is now.
func credentialRows(cluster, sealed, recommended func(name, spec string) string, encrypt func(name, plain string) string, inline func(string) string, serviceAccount func(server, token, ca string) string) []badInput {
	const server = "https://bad.example.com"
	token := "token-" + canary
	jwtFrom := func(from, end time.Time) string {
		part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
		return part(`{"alg":"RS256"}`) + "." + part(fmt.Sprintf(`{"nbf":%d,"exp":%d,"canary":%q}`, from.Unix(), end.Unix(), canary)) + "." + part("signature")
	}
	jwt := func(end time.Time) string { return jwtFrom(time.Unix(1, 0), end) }
	ca := certificate
	year, day := 365*24*time.Hour, 24*time.Hour
	withServer := func(text string) string {
		return strings.Replace(kubeconfig("bad"), "https://bad.example.com:6443", text, 1)
	}
	field := func(old, replacement string) files {
		return files{"bad.yaml": sealed("bad", inline(strings.Replace(kubeconfig("bad"), old, replacement, 1)))}
	}
	const privateKey = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	account := func(token, ca string) files {
		return files{"bad.yaml": sealed("bad", serviceAccount(server, token, ca))}
	}
	noticed := func(before, token string) files {
		text := cluster("bad", serviceAccount(server, token, caPEM()))
		text = strings.Replace(text, "  name: bad\n", "  name: bad\n  annotations:\n    muster.dev/warn-before: "+before+"\n", 1)
		return files{"bad.yaml": encrypt("bad.yaml", text)}
	}
	ofAccount := func(end time.Time) string {
		claims := fmt.Sprintf(`{"sub":"system:serviceaccount:scan:bad","exp":%d}`, end.Unix())
		return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + canary
	}
	renewed := func(token, lifetime string) files {
		return files{"bad.yaml": sealed("bad", serviceAccount(server, token, caPEM())+"renew: {lifetime: "+lifetime+"}\n")}
	}
	registry := func(text string) files {
		return files{"bad.yaml": sealed("bad", "kubeconfigSecretRef: {name: elsewhere}\ncontainerImageScanning: true\nprivateRegistries:\n  dockerConfigJson: '"+text+"'\n")}
	}
	return []badInput{
		{name: "token that has expired", files: account(jwt(now.Add(-day)), caPEM()), want: []string{"token-expired clusters/bad.yaml:8"}},
		{name: "user's token that is to be renewed", files: renewed(jwt(now.Add(year)), "24h"), want: []string{"renew clusters/bad.yaml:8"}, withKey: true},
		{name: "token to be renewed for days", files: renewed(ofAccount(now.Add(year)), "1d"), want: []string{"renew clusters/bad.yaml:21"}},
		{name: "token to be renewed that has expired", files: renewed(ofAccount(now.Add(-day)), "24h"), infos: []string{"renew-seed-ended clusters/bad.yaml:8"}},
		{name: "token to be renewed of 29 days", files: renewed(ofAccount(now.Add(29*day)), "24h")},
		{name: "token of 29 days", files: account(jwt(now.Add(29*day)), caPEM()), want: []string{"token-expiring clusters/bad.yaml:8"}},
		{name: "token of 31 days", files: account(jwt(now.Add(31*day)), caPEM())},
		{name: "token of tomorrow", files: account(jwtFrom(now.Add(day), now.Add(year)), caPEM()), want: []string{"token-not-yet-valid clusters/bad.yaml:8"}},
		{name: "token of 29 days, and the cluster wants to know it 14 days before", files: noticed("14d", jwt(now.Add(29*day)))},
		{name: "token of 31 days, and the cluster wants to know it 60 days before", files: noticed("60d", jwt(now.Add(31*day))),
			want: []string{"token-expiring clusters/bad.yaml:10"}},
		{name: "notice that is no duration", files: noticed("two weeks", jwt(now.Add(29*day))),
			want: []string{"warn-before clusters/bad.yaml:6", "token-expiring clusters/bad.yaml:10"}},
		{name: "notice of nothing", files: noticed("0d", jwt(now.Add(31*day))), want: []string{"warn-before clusters/bad.yaml:6"}},
		{name: "notice that is negative", files: noticed("-14d", jwt(now.Add(31*day))), want: []string{"warn-before clusters/bad.yaml:6"}},
		{name: "notice without a unit", files: noticed("\"14\"", jwt(now.Add(31*day))), want: []string{"warn-before clusters/bad.yaml:6"}},
		{name: "notice of centuries", files: noticed("900y", jwt(now.Add(31*day))), want: []string{"warn-before clusters/bad.yaml:6"}},
		{name: "CA that has expired", files: account(token, ca(now.Add(-year), now.Add(-day))), want: []string{"certificate-expired clusters/bad.yaml:9"}},
		{name: "CA of 29 days", files: account(token, ca(now.Add(-year), now.Add(29*day))), want: []string{"certificate-expiring clusters/bad.yaml:9"}},
		{name: "CA of 31 days", files: account(token, ca(now.Add(-year), now.Add(31*day)))},
		{name: "CA of tomorrow", files: account(token, ca(now.Add(day), now.Add(year))), want: []string{"certificate-not-yet-valid clusters/bad.yaml:9"}},
		{name: "expired CA beside a good one", files: account(token, ca(now.Add(-year), now.Add(-day))+caPEM()), infos: []string{"certificate-expired clusters/bad.yaml:9"}},
		{name: "private key among readable certificates", files: account(token, caPEM()+privateKey), want: []string{"plain-credential clusters/bad.yaml:9"}},
		{name: "private key among encrypted certificates", files: files{"bad.yaml": recommended("bad", serviceAccount(server, token, caPEM()+privateKey))},
			want: []string{"certificate-private-key clusters/bad.yaml:9"}},
		{name: "token in base64", files: account(base64.StdEncoding.EncodeToString([]byte(jwt(now.Add(year)))), caPEM()), want: []string{"credential-base64 clusters/bad.yaml:8"}},
		{name: "blank token", files: account("  ", caPEM()), want: []string{"credential-empty clusters/bad.yaml:8"}},
		{name: "kubeconfig for this machine", files: files{"bad.yaml": sealed("bad", inline(withServer("https://127.0.0.1:6443")))}, want: []string{"kubeconfig-server clusters/bad.yaml:6"}},
		{name: "kubeconfig without TLS", files: field("certificate-authority-data: ", "insecure-skip-tls-verify: true\n      x-was: "), want: []string{"kubeconfig-insecure clusters/bad.yaml:6", "kubeconfig-unknown-field clusters/bad.yaml:6"}},
		{name: "kubeconfig with a CA that is no base64", files: field("certificate-authority-data: ", "certificate-authority-data: '!'\n      x-was: "), want: []string{"kubeconfig-invalid clusters/bad.yaml:6"}},
		{name: "kubeconfig without login", files: field("token: token-"+canary, "{}"), want: []string{"kubeconfig-login clusters/bad.yaml:6"}},
		{name: "kubeconfig with a certificate and no key", files: field("token: token-"+canary, "client-certificate-data: "+base64.StdEncoding.EncodeToString([]byte(caPEM()))), want: []string{"certificate-key-pair clusters/bad.yaml:6"}},
		{name: "kubeconfig with a proxy", files: field("certificate-authority-data: ", "proxy-url: http://proxy.example.com:3128\n      certificate-authority-data: "), infos: []string{"kubeconfig-proxy clusters/bad.yaml:6"}},
		{name: "registry credentials that are no JSON", files: registry("user:" + canary), want: []string{"registry-config-syntax clusters/bad.yaml:10"}},
		{name: "registry without login", files: registry(`{"auths":{"r":{}}}`), want: []string{"registry-config-auth clusters/bad.yaml:10"}},
		{name: "registry token of 29 days", files: registry(`{"auths":{"r":{"identitytoken":"` + jwt(now.Add(29*day)) + `"}}}`), want: []string{"registry-login-expiring clusters/bad.yaml:10"}},
		{name: "registry token that has expired", files: registry(`{"auths":{"r":{"identitytoken":"` + jwt(now.Add(-day)) + `"}}}`), want: []string{"registry-login-expired clusters/bad.yaml:10"}},
		{name: "registry helper", files: registry(`{"auths":{"r":{"username":"u","password":"` + canary + `"}},"credsStore":"desktop"}`), want: []string{"registry-config-helper clusters/bad.yaml:10"}},
	}
}

// checkPlaces: a finding about a file tells line and column, unless the file as a whole can't be taken.
func checkPlaces(t *testing.T, repository files, findings []finding.Finding) {
	t.Helper()
	for _, f := range findings {
		content, isFile := repository[f.Path]
		if !isFile || f.Line > 0 {
			continue
		}
		if whole := []finding.Code{"size", "symlink", "encoding", "kustomization", "sops-config"}; slices.Contains(whole, f.Code) {
			continue
		}
		t.Errorf("no place in a file of %d bytes: %s", len(content), f)
	}
}

// checkInfos: the wanted infos are there.
func checkInfos(t *testing.T, findings []finding.Finding, want []string) {
	t.Helper()
	var got []string
	for _, f := range findings {
		if f.Severity == finding.Info {
			got = append(got, fmt.Sprintf("%s %s:%d", f.Code, f.Path, f.Line))
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing info: %s; there are %q", w, got)
		}
	}
}

// checkEveryRuleIsBroken: a rule that no row breaks may as well not exist.
func checkEveryRuleIsBroken(t *testing.T, broken map[finding.Code]bool) {
	t.Helper()
	elsewhere := map[finding.Code]string{
		"not-opened":               "the command line says it; cmd/muster/testdata/script",
		"sops-stopped":             "it takes Ctrl-C",
		"sops-refused":             "it takes a key service; package seal shows it",
		"sops-unavailable":         "likewise",
		"acceptance":               "package fleet shows it, and cmd/muster/testdata/script/accept.txtar",
		"imported":                 "muster import tells it; see cmd/muster/testdata/script/import.txtar",
		"not-imported":             "muster import tells it; see cmd/muster/testdata/script/import.txtar",
		"not-encrypted":            "muster edit and muster set tell it; see cmd/muster/testdata/script/edit.txtar",
		"git-ignored":              "it takes a work tree; package load shows it, and cmd/muster/testdata/script/worktree.txtar",
		"submodule":                "it takes a repository; likewise",
		"no-repository":            "the command line says it; cmd/muster/testdata/script/repository.txtar",
		"credential-source-denied": "the controller reads; packages sources here and below controllers show it", "credential-source-form": "likewise",
		"credential-source-missing": "likewise", "credential-source-unavailable": "likewise",
		"merge-conflict": "a merge finds it; cmd/muster/testdata/script/plan_merge.txtar",
	}
	for _, r := range finding.Rules() {
		if r.Subject != finding.Live && elsewhere[r.Code] == "" && !broken[r.Code] {
			t.Errorf("no row breaks the rule %s", r.Code)
		}
	}
}
