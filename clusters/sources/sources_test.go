package sources_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sources"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

const canary = "CANARY-0123456789"

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func kubeconfig(token string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"https://eu.example.com"}}],`+
		`"users":[{"name":"u","user":{"token":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`, token)
}

var vaultSecret = v1alpha1.VaultSecret{Address: "https://v", Mount: "kv", Path: "clusters/eu"}

// fleetOf is a fleet with one cluster, whose Secret of a kind comes from a source, and one cluster beside it.
func fleetOf(what string, from fleet.Source) *fleet.Opened {
	s := fleet.Secret{Name: "made", Type: mondoo.SecretType(what), Data: map[string]string{}, Cluster: "eu", AuditConfig: "a", Origin: fleet.Origin{Path: "eu.yaml"}, From: &from, Supplied: true}
	for _, key := range mondoo.SecretKeys(what) {
		s.Uses = append(s.Uses, fleet.Use{Key: key, Field: from.Path()})
	}
	c := fleet.Cluster{Name: "eu", AuditConfig: "a", Origin: s.Origin, Secrets: []string{"made"}, Entry: mondoo.Entry{Name: "eu"}}
	switch ref := (mondoo.SecretRef{Name: "made"}); what {
	case mondoo.Kubeconfig:
		c.Entry.KubeconfigSecretRef = &ref
	case mondoo.ServiceAccount:
		c.Entry.ServiceAccountAuth = &mondoo.ServiceAccountAuth{Server: "https://eu.example.com", CredentialsSecretRef: ref}
	case mondoo.Registries:
		c.Entry.PrivateRegistriesPullSecretRef = &ref
	}
	f := &fleet.Opened{Secrets: []fleet.Secret{s}, Clusters: []fleet.Cluster{c, {Name: "us", AuditConfig: "a"}}}
	f.Add(finding.Finding{Code: compile.CodeSourceUnknown, Severity: finding.Info, Cluster: "eu", Path: "eu.yaml", Message: compile.UnknownSource(&from), Fix: "x"})
	return f
}

func fromVault(key string) fleet.Source {
	v := vaultSecret
	v.Key = key
	return fleet.Source{Vault: v, Field: "spec.kubeconfigFrom.vault"}
}

func fromSecret(key string) fleet.Source {
	return fleet.Source{Secret: v1alpha1.ForeignSecret{Namespace: "ns", Name: "s", Key: key}, Field: "spec.kubeconfigFrom.secretRef"}
}

func data(pairs ...string) *sources.Value {
	v := &sources.Value{Data: map[string]string{}, Labels: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		v.Data[pairs[i]] = pairs[i+1]
	}
	return v
}

func argo(config string) *sources.Value {
	v := data("name", "eu", "server", "https://eu.example.com", "config", config)
	v.Labels["argocd.argoproj.io/secret-type"] = "cluster"
	return v
}

// TestSupply: what becomes of a value, for each kind of source.
func TestSupply(t *testing.T) {
	made := data("kubeconfig", kubeconfig(canary))
	made.Labels[fleet.LabelSync] = "production"
	issued := data("kubeconfig", kubeconfig(canary))
	issued.Type = "kubernetes.io/service-account-token"
	odd := data()
	odd.Other = []string{"kubeconfig"}
	const ca = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
	for _, row := range []struct {
		reason string
		what   string
		from   fleet.Source
		value  *sources.Value
		want   string // a key of the Secret with a part of its value, as key=part; or the code of the error
		says   string
	}{
		{"kubeconfig of Vault", mondoo.Kubeconfig, fromVault(""), data("kubeconfig", kubeconfig(canary)), "kubeconfig=" + canary, ""},
		{"another key", mondoo.Kubeconfig, fromVault("config"), data("config", kubeconfig(canary), "kubeconfig", "x"), "kubeconfig=" + canary, ""},
		{"no such key", mondoo.Kubeconfig, fromVault("config"), data("kubeconfig", kubeconfig(canary)), "credential-source-missing", "Vault https://v, kv/clusters/eu has no key config"},
		{"not a text", mondoo.Kubeconfig, fromVault(""), odd, "credential-source-form", "the key kubeconfig"},
		{"empty", mondoo.Kubeconfig, fromVault(""), data("kubeconfig", " \n"), "credential-source-form", "is empty"},
		{"not a kubeconfig", mondoo.Kubeconfig, fromVault(""), data("kubeconfig", canary), "kubeconfig-kind", "in Vault https://v, kv/clusters/eu"},
		{"a login program", mondoo.Kubeconfig, fromVault(""), data("kubeconfig", strings.Replace(kubeconfig(canary), `"token":"`+canary+`"`, `"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"aws"}`, 1)), "kubeconfig-plugin", ""},
		{"registries", mondoo.Registries, fromVault(""), data(".dockerconfigjson", `{"auths":{"r.example.com":{"auth":"dTpD"}}}`), ".dockerconfigjson=auths", ""},
		{"registries in another key", mondoo.Registries, fromVault("docker"), data("docker", `{"auths":{"r.example.com":{"auth":"dTpD"}}}`), ".dockerconfigjson=auths", ""},
		{"a token without its server", mondoo.ServiceAccount, fromVault(""), data("token", canary, "ca.crt", ca), "credential-source-missing", "add the key server"},
		{"a token for another server", mondoo.ServiceAccount, fromVault(""), data("token", canary, "ca.crt", ca, "server", "https://us.example.com"), "token-server", "for another server"},
		{"a token without a CA", mondoo.ServiceAccount, fromVault(""), data("token", canary, "server", "https://eu.example.com"), "credential-source-missing", "has no key ca.crt"},
		{"a token with a broken CA", mondoo.ServiceAccount, fromVault(""), data("token", canary, "ca.crt", ca, "server", "https://eu.example.com"), "certificate-form", ""},

		{"Cluster API", mondoo.Kubeconfig, fromSecret(""), data("value", kubeconfig(canary)), "kubeconfig=" + canary, ""},
		{"Flux", mondoo.Kubeconfig, fromSecret(""), data("value.yaml", kubeconfig(canary)), "kubeconfig=" + canary, ""},
		{"plain", mondoo.Kubeconfig, fromSecret(""), data("kubeconfig", kubeconfig(canary), "else", "x"), "kubeconfig=" + canary, ""},
		{"a named key", mondoo.Kubeconfig, fromSecret("admin.conf"), data("admin.conf", kubeconfig(canary), "value", "x"), "kubeconfig=" + canary, ""},
		{"two that may be meant", mondoo.Kubeconfig, fromSecret(""), data("value", "x", "kubeconfig", "y"), "credential-source-form", "value and kubeconfig"},
		{"none", mondoo.Kubeconfig, fromSecret(""), data("password", canary), "credential-source-missing", "none of the keys value, value.yaml, kubeconfig"},
		{"made by Muster", mondoo.Kubeconfig, fromSecret(""), made, "credential-source-form", "made by Muster"},
		{"made by Kubernetes", mondoo.Kubeconfig, fromSecret(""), issued, "credential-source-form", "service-account-token"},
		{"Argo CD", mondoo.Kubeconfig, fromSecret(""), argo(`{"bearerToken":"` + canary + `","tlsClientConfig":{"serverName":"eu"}}`), "kubeconfig=token: " + canary, ""},
		{"Argo CD, not JSON", mondoo.Kubeconfig, fromSecret(""), argo(canary), "credential-source-form", "not JSON"},
		{"Argo CD, EKS", mondoo.Kubeconfig, fromSecret(""), argo(`{"awsAuthConfig":{"clusterName":"eu"}}`), "credential-source-form", "provider eks"},
		{"Argo CD, GKE", mondoo.Kubeconfig, fromSecret(""), argo(`{"execProviderConfig":{"command":"argocd-k8s-auth","args":["gcp"]}}`), "credential-source-form", "provider gke"},
		{"Argo CD, AKS", mondoo.Kubeconfig, fromSecret(""), argo(`{"execProviderConfig":{"command":"/usr/bin/kubelogin"}}`), "credential-source-form", "provider aks"},
		{"Argo CD, a program", mondoo.Kubeconfig, fromSecret(""), argo(`{"execProviderConfig":{"command":"own"}}`), "credential-source-form", "muster add"},
		{"Argo CD's own cluster", mondoo.Kubeconfig, fromSecret(""), func() *sources.Value { v := argo(`{}`); v.Data["server"] = "https://kubernetes.default.svc"; return v }(), "credential-source-form", "Argo CD itself runs"},
		{"Argo CD without a login", mondoo.Kubeconfig, fromSecret(""), argo(`{}`), "kubeconfig-login", ""},
	} {
		f := fleetOf(row.what, row.from)
		out := sources.Supply(f, func(sources.Ref) sources.Result { return sources.Result{Value: row.value} }, sources.HoldUnread, now)
		s, c := out.Secrets[0], out.Clusters[0]
		if key, part, good := strings.Cut(row.want, "="); good {
			if c.Quarantined || s.Quarantined || !strings.Contains(s.Data[key], part) || s.Version == "" || !s.Supplied || len(s.Data) != len(s.Uses) {
				t.Errorf("%s: %+v\n%v", row.reason, s, out.Findings)
			}
		} else if !c.Quarantined || !s.Quarantined || len(out.Findings) == 0 || string(out.Findings[0].Code) != row.want || !strings.Contains(out.Findings[0].String(), row.says) {
			t.Errorf("%s: quarantined %t; %v; want %s %q", row.reason, c.Quarantined, out.Findings, row.want, row.says)
		}
		if len(f.Secrets[0].Data) > 0 || f.Clusters[0].Quarantined || len(f.Findings) != 1 {
			t.Errorf("%s: the input has changed", row.reason)
		}
		if out.Clusters[1].Quarantined {
			t.Errorf("%s: another cluster is held", row.reason)
		}
		for _, found := range out.Findings {
			if err := found.Check(); err != nil || strings.Contains(found.String(), canary) || found.Code == compile.CodeSourceUnknown {
				t.Errorf("%s: %v, %s", row.reason, err, found)
			}
		}
	}
}

// TestSupplyBound: a token that is bound to its server doesn't go to one that isn't verified.
func TestSupplyBound(t *testing.T) {
	f := fleetOf(mondoo.ServiceAccount, fromVault(""))
	f.Clusters[0].Entry.ServiceAccountAuth.SkipTLSVerify = true
	value := data("token", canary, "ca.crt", "x", "server", "https://eu.example.com")
	out := sources.Supply(f, func(sources.Ref) sources.Result { return sources.Result{Value: value} }, sources.HoldUnread, now)
	if !out.Clusters[0].Quarantined || len(out.Findings) != 1 || out.Findings[0].Code != compile.CodeTokenServer {
		t.Errorf("%v", out.Findings)
	}
}

// TestSupplyProblems: without a value, the cluster is held. With one, only a server that doesn't answer leaves it in use.
func TestSupplyProblems(t *testing.T) {
	value := data("kubeconfig", kubeconfig(canary))
	problem := func(code finding.Code) *sources.Problem {
		return &sources.Problem{Code: code, Message: "m", Fix: "f"}
	}
	for _, row := range []struct {
		reason string
		result sources.Result
		unread sources.Unread
		held   bool
		code   finding.Code // of the first finding
	}{
		{"not read yet", sources.Result{}, sources.HoldUnread, true, sources.CodeUnavailable},
		{"not read, in a preview", sources.Result{}, sources.ShowUnread, false, compile.CodeSourceUnknown},
		{"down, never read", sources.Result{Problem: problem(sources.CodeUnavailable)}, sources.HoldUnread, true, sources.CodeUnavailable},
		{"down, read before", sources.Result{Value: value, Problem: problem(sources.CodeUnavailable)}, sources.HoldUnread, false, sources.CodeUnavailable},
		{"denied, read before", sources.Result{Value: value, Problem: problem(sources.CodeDenied)}, sources.HoldUnread, true, sources.CodeDenied},
		{"gone, read before", sources.Result{Value: value, Problem: problem(sources.CodeMissing)}, sources.HoldUnread, true, sources.CodeMissing},
		{"gone, in a preview", sources.Result{Problem: problem(sources.CodeMissing)}, sources.ShowUnread, true, sources.CodeMissing},
	} {
		out := sources.Supply(fleetOf(mondoo.Kubeconfig, fromVault("")), func(sources.Ref) sources.Result { return row.result }, row.unread, now)
		if out.Clusters[0].Quarantined != row.held || len(out.Findings) == 0 || out.Findings[0].Code != row.code {
			t.Errorf("%s: held %t, %v", row.reason, out.Clusters[0].Quarantined, out.Findings)
		}
		if !row.held && row.result.Value != nil && (out.Secrets[0].Unknown() || out.Findings[0].Severity != finding.Warning) {
			t.Errorf("%s: %+v %v", row.reason, out.Secrets[0], out.Findings)
		}
	}
}

// TestSupplyNothing: a fleet with nothing from elsewhere stays the same value, and a cluster with an error needs nothing.
func TestSupplyNothing(t *testing.T) {
	f := &fleet.Opened{Secrets: []fleet.Secret{{Name: "s"}}}
	if sources.Supply(f, nil, sources.HoldUnread, now) != f {
		t.Error("a copy")
	}
	f = fleetOf(mondoo.Kubeconfig, fromVault("key"))
	if got := sources.Wanted(f); len(got) != 1 || got[0] != (sources.Ref{Vault: vaultSecret}) {
		t.Errorf("wanted %v", got)
	}
	f.Secrets[0].Quarantined = true
	if got := sources.Wanted(f); len(got) != 0 {
		t.Errorf("wanted %v", got)
	}
}

// TestSupplyExpiry: the expiry is that of the value, and the version changes with it.
func TestSupplyExpiry(t *testing.T) {
	var cluster fleet.Cluster
	supply := func(text string) fleet.Secret {
		f := fleetOf(mondoo.Kubeconfig, fromVault(""))
		registry := credential.Term{Kind: credential.KindRegistryLogin, Until: time.Unix(1900000000, 0)}
		f.Clusters[0].Ends(registry)
		out := sources.Supply(f, func(sources.Ref) sources.Result { return sources.Result{Value: data("kubeconfig", text)} }, sources.HoldUnread, now)
		if cluster = out.Clusters[0]; len(f.Clusters[0].Terms) != 1 || f.Clusters[0].Terms[0] != registry || f.Clusters[0].Expires != registry.Until {
			t.Errorf("the input has changed: %+v", f.Clusters[0].Terms)
		}
		return out.Secrets[0]
	}
	jwt := "e30.eyJleHAiOjE4MDAwMDAwMDB9.c2ln"
	b := supply(kubeconfig(canary))
	a := supply(kubeconfig(jwt))
	if len(cluster.Terms) != 2 || cluster.Terms[0].Kind != credential.KindToken || cluster.Expires.Unix() != 1800000000 {
		t.Errorf("the cluster's credentials end: %+v", cluster.Terms)
	}
	if a.Expires.Unix() != 1800000000 || !b.Expires.IsZero() || a.Version == b.Version || a.Destination == "" || a.Destination != b.Destination {
		t.Errorf("%+v\n%+v", a, b)
	}
	if facts, _ := credential.Kubeconfig([]byte(kubeconfig(canary)), now); a.Destination != facts.Destination {
		t.Error("another destination")
	}
}

// TestSecrets: names and addresses stay readable, and everything else is secret, whatever key it is stored as.
func TestSecrets(t *testing.T) {
	for _, row := range []struct {
		reason string
		value  *sources.Value
		want   []string
	}{
		{"a name and a server", data("name", "production", "server", "https://eu.example.com", "token", canary), []string{canary}},
		{"a kubeconfig as server", data("server", kubeconfig(canary)), []string{kubeconfig(canary)}},
		{"a kubeconfig of several lines as name", data("name", "users:\n- token: "+canary), []string{"users:\n- token: " + canary}},
		{"Argo CD", argo(`{"bearerToken":"` + canary + `","tlsClientConfig":{"serverName":"production"}}`), []string{canary}},
	} {
		if got := row.value.Secrets(); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q", row.reason, got)
		}
	}
}

// TestShown: text of a server can't break a line, and is short.
func TestShown(t *testing.T) {
	if got := sources.Shown("a\n\x1b[31mb\xff" + strings.Repeat("ü", 500)); strings.ContainsAny(got, "\n\x1b") || len([]rune(got)) > 201 {
		t.Errorf("%q", got)
	}
}
