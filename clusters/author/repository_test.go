package author_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/recipient"
)

func TestRemoteURL(t *testing.T) {
	for remote, want := range map[string]string{
		"https://git.example.com/platform/fleet.git":               "https://git.example.com/platform/fleet.git",
		"https://me:canary@git.example.com/platform/fleet.git":     "https://git.example.com/platform/fleet.git",
		"git@git.example.com:platform/fleet.git":                   "ssh://git@git.example.com/platform/fleet.git",
		"ssh://git:canary@git.example.com:22/fleet.git":            "ssh://git@git.example.com:22/fleet.git",
		"git.example.com:fleet":                                    "ssh://git.example.com/fleet",
		"ext::sh -c canary":                                        "",
		"https://git.example.com/fleet.git?private_token=canary#x": "https://git.example.com/fleet.git",
		"http://127.0.0.1:3000/platform/fleet.git":                 "http://127.0.0.1:3000/platform/fleet.git",
		"http://git.example.com/platform/fleet.git":                "",
		"/srv/git/fleet.git":                                       "",
		"../fleet":                                                 "",
		"file:///srv/git":                                          "",
		`C:\fleet`:                                                 "",
		"-oProxyCommand=x:y":                                       "",
		"":                                                         "",
	} {
		if got := author.RemoteURL(remote); got != want {
			t.Errorf("%s: got %q, want %q", remote, got, want)
		}
	}
}

// Every kind of recipient is one that Muster reads again, and its service is allowed.
func TestRecipients(t *testing.T) {
	r := author.Repository{Environments: []string{"production"}, URL: "https://git.example.com/a: b", Branch: "true", Namespace: "mondoo-operator", AuditConfig: "mondoo-client",
		Recipients: author.Recipients{Age: []string{"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"}, PGP: []string{"0123456789ABCDEF0123456789ABCDEF01234567"},
			AWS: []string{"arn:aws:kms:eu-west-1:111122223333:key/1"}, GCP: []string{"projects/p/locations/l/keyRings/r/cryptoKeys/k"},
			Azure: []string{"https://fleet.vault.azure.net/keys/sops/1"}, Vault: []string{"https://vault.example.com:8200/v1/transit/keys/sops", "https://vault.example.com:8200/v1/transit/keys/other"}}}
	var sops, sync string
	for _, f := range r.Files() {
		switch f.Path {
		case ".sops.yaml":
			sops = string(f.After)
		case "auditsyncs/production.yaml":
			sync = string(f.After)
		}
	}
	config, err := recipient.ParseConfig(".sops.yaml", []byte(sops))
	if err != nil {
		t.Fatal(err)
	}
	rule, ok := config.For("clusters/production/eu.yaml")
	if !ok || len(rule.Groups) != 1 || len(rule.Groups[0]) != 7 {
		t.Errorf("recipients: %v\n%s", rule.Groups, sops)
	}
	var parsed struct {
		Spec struct {
			Source struct {
				URL string
				Ref struct{ Branch string }
			}
			Decryption struct {
				Vault           struct{ Addresses []string }
				AWS, GCP, Azure struct{ Keys []string }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(sync), &parsed); err != nil {
		t.Fatal(err)
	}
	d := parsed.Spec.Decryption
	if parsed.Spec.Source.URL != r.URL || parsed.Spec.Source.Ref.Branch != "true" || strings.Join(d.Vault.Addresses, " ") != "https://vault.example.com:8200" || len(d.AWS.Keys) != 1 || len(d.GCP.Keys) != 1 || len(d.Azure.Keys) != 1 {
		t.Errorf("got %+v of\n%s", parsed, sync)
	}
}
