package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/redact"
)

// expiringFleet has clusters whose credentials end at different times.
func expiringFleet() fleetStatus {
	now := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	one := func(name string, ends ...credentialEnd) clusterStatus {
		return clusterStatus{Cluster: name, AuditConfig: "mondoo-client", Sync: "production", State: stateApplied, ends: ends}
	}
	ends := func(kind credential.Kind, life, left time.Duration) credentialEnd {
		return credentialEnd{"mondoo-client-a-cluster-serviceaccount-4f2e", credential.Term{Kind: kind, From: now.Add(left - life), Until: now.Add(left)}}
	}
	return fleetStatus{Namespace: "mondoo-operator", now: now, Notes: []string{"scans are not shown: no permission to list CronJobs, Jobs and Pods in mondoo-operator"}, Clusters: []clusterStatus{
		one("years", ends(credential.KindCACertificate, 3650*day, 3000*day)),
		one("fresh", ends(credential.KindToken, day, 23*time.Hour)),
		one("expired", ends(credential.KindClientCertificate, 365*day, -3*day)),
		one("a-cluster-with-a-rather-long-name-as-they-are-in-large-fleets", ends(credential.KindToken, 365*day, 20*day), ends(credential.KindRegistryLogin, 365*day, 5*day)),
		one("unknown"),
		{Cluster: "foreign", State: stateForeign},
	}}
}

func expiringText(f fleetStatus, left time.Duration, width int, output string) string {
	var b strings.Builder
	f.endings(left).write(&b, statusFlags{expiring: endWithin{set: true, left: left}, output: &choice{value: output}}, func(_ colour, text string) string { return text }, width)
	return b.String()
}

// TestStatusExpiring shows what ends when, in terminals of different widths.
func TestStatusExpiring(t *testing.T) {
	f := expiringFleet()
	const summary = "\n\n5 credentials with a known end; 5 clusters, 1 without any\nnote: scans are not shown: no permission to list CronJobs, Jobs and Pods in mondoo-operator\n"
	for _, test := range []struct {
		reason string
		left   time.Duration
		width  int
		output string
		want   string
	}{
		{"a narrow terminal", 0, 60, "text", `CLUSTER                 CREDENTIAL          EXPIRES
expired                 client-certificate  2026-11-20 12:00
fresh                   token               2026-11-24 11:00
a-cluster-with-a-rath…  registry-login      2026-11-28 12:00
a-cluster-with-a-rath…  token               2026-12-13 12:00
years                   ca-certificate      2035-02-09 12:00

5 credentials with a known end; 5 clusters, 1 without any
note: scans are not shown: no permission to list CronJobs,
      Jobs and Pods in mondoo-operator
`},
		{"a wide one", 0, 120, "text", `CLUSTER                                                        CREDENTIAL          EXPIRES           LEFT
expired                                                        client-certificate  2026-11-20 12:00  expired 3d ago
fresh                                                          token               2026-11-24 11:00  in 23h
a-cluster-with-a-rather-long-name-as-they-are-in-large-fleets  registry-login      2026-11-28 12:00  in 5d
a-cluster-with-a-rather-long-name-as-they-are-in-large-fleets  token               2026-12-13 12:00  in 20d
years                                                          ca-certificate      2035-02-09 12:00  in 3000d` + summary},
		{"those of a week", 7 * 24 * time.Hour, 60, "text", `CLUSTER                 CREDENTIAL          EXPIRES
expired                 client-certificate  2026-11-20 12:00
fresh                   token               2026-11-24 11:00
a-cluster-with-a-rath…  registry-login      2026-11-28 12:00

3 credentials with a known end within 7d; 5 clusters, 1 without any
note: scans are not shown: no permission to list CronJobs,
      Jobs and Pods in mondoo-operator
`},
	} {
		got := expiringText(f, test.left, test.width, test.output)
		if got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.reason, got, test.want)
		}
	}
	if got := expiringText(f, 0, 60, "wide"); !strings.Contains(got, "mondoo-client-a-cluster-serviceaccount-4f2e  mondoo-client  production\n") {
		t.Errorf("-o wide leaves something out:\n%s", got)
	}
	for line := range strings.Lines(expiringText(f, 0, 40, "text")) {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > 60 {
			t.Errorf("too wide for a small terminal: %q", line)
		}
	}
	f.Clusters = f.Clusters[4:]
	if got := expiringText(f, 0, 0, "text"); !strings.HasPrefix(got, "0 credentials with a known end; 1 cluster, 1 without any\n") {
		t.Errorf("nothing ends:\n%s", got)
	}
}

// TestStatusExpiringFormats prints for programs, and tells whether something is about to end.
func TestStatusExpiringFormats(t *testing.T) {
	f := expiringFleet()
	f.Clusters[0].Cluster = "ca\x1b[31m" + canary
	var out bytes.Buffer
	s := &shell{stdout: &out, env: func(string) string { return "" }, redactor: &redact.Redactor{}}
	s.redactor.Add(canary)
	flags := func(output string, all bool) statusFlags {
		return statusFlags{output: &choice{value: output}, allNamespaces: all, expiring: endWithin{set: true}}
	}
	var doc endings
	well, err := s.printEndings(&out, []fleetStatus{expiringFleet()}, flags("json", false))
	check(t, err)
	check(t, json.Unmarshal(out.Bytes(), &doc))
	if first := doc.Credentials[0]; well || doc.Namespace != "mondoo-operator" || len(doc.Credentials) != 5 || first.Cluster != "expired" || first.Kind != credential.KindClientCertificate ||
		first.Stage != "expired" || first.Expires.Sub(first.Issued) != 365*24*time.Hour || first.Secret == "" || first.Sync != "production" {
		t.Errorf("well is %t, %s", well, out.String())
	}
	if stages := doc.Credentials[1].Stage + " " + doc.Credentials[2].Stage + " " + doc.Credentials[3].Stage; stages != "lasting urgent expiring" {
		t.Errorf("the stages are %s", stages)
	}
	out.Reset()
	var list struct{ Items []endings }
	_, err = s.printEndings(&out, []fleetStatus{f, f}, flags("json", true))
	check(t, err)
	check(t, json.Unmarshal(out.Bytes(), &list))
	if len(list.Items) != 2 {
		t.Errorf("%s", out.String())
	}
	for _, output := range []string{"text", "name"} {
		out.Reset()
		_, err = s.printEndings(&out, []fleetStatus{f}, flags(output, output == "text"))
		check(t, err)
		if text := out.String(); leak(text) != "" || strings.Contains(text, "\x1b[31m") {
			t.Errorf("-o %s: %q", output, text)
		}
	}
	if lines := strings.Count(out.String(), "\n"); lines != 4 {
		t.Errorf("-o name has %d lines:\n%s", lines, out.String())
	}
	if f.Clusters = f.Clusters[:2]; !f.endings(0).well() {
		t.Error("a token for a day, just issued, is about to end")
	}
}

// TestStatusExpiringFlag has no cluster at hand: what is wrong with the arguments is said first.
func TestStatusExpiringFlag(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--expiring=soon", "must be a duration, such as 14d or 36h"},
		{"--expiring=0d", "must be a duration"},
		{"--expiring=-1d", "must be a duration"},
		{"--expiring 14d", `"14d" is an argument, the name of an AuditSync; write --expiring=14d`},
		{"--expiring --watch", "can't be used together"},
		{"--expiring --all", "can't be used together"},
		{"--expiring --scan Failed", "can't be used together"},
		{"--expiring --limit 3", "can't be used together"},
	} {
		if status, out := runWith(t, append([]string{"status"}, strings.Fields(test.args)...)...); status != exitFailure || !strings.Contains(out, test.want) {
			t.Errorf("%s ends with %d, want %q:\n%s", test.args, status, test.want, out)
		}
	}
}

// TestStatusExpiringLive lists what ends in the Secrets of a real API server: those that Muster made, and manifests from Git.
func TestStatusExpiringLive(t *testing.T) {
	m := startManagement(t)
	token := func(left time.Duration) string {
		claims := fmt.Sprintf(`{"sub":%q,"exp":%d}`, canary, time.Now().Add(left).Unix())
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + canary
	}
	m.encrypted("made.yaml", clusterFile("made", "  serviceAccountAuth:\n    server: https://made.example.com\n    skipTLSVerify: true\n    token: "+token(5*24*time.Hour)+"\n"))
	m.write("named.yaml", clusterFile("named", "  serviceAccountAuth: {server: 'https://named.example.com', credentialsSecretRef: {name: named}}\n"))
	m.encrypted("secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: named\nstringData:\n  server: https://named.example.com\n  token: "+token(50*24*time.Hour)+"\n  ca.crt: |\n"+indent(testCA, "    "))
	m.encrypted("opaque.yaml", clusterFile("opaque", "  kubeconfig: |\n"+indent(kubeconfig("one"), "    ")))
	m.commit()
	m.apply(auditConfigs, "helm", map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"name": "mondoo-client"},
		"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}}})
	m.auditSync("production", nil, nil)
	m.sync("production")
	m.login("reader")
	m.grant(readOnly("list")...)
	out, _ := m.look(exitOK, "status", "--expiring")
	if made, named := strings.Index(out, "\nmade "), strings.Index(out, "\nnamed "); made < 0 || named < made || !strings.Contains(out, "3 credentials with a known end; 3 clusters, 1 without any") {
		t.Errorf("what ends first is not at the front:\n%s", out)
	}
	out, _ = m.look(exitFindings, "status", "production", "--expiring=30d", "--exit-code", "-o", "name")
	if out != "made\n" {
		t.Errorf("within 30 days: %q", out)
	}
	if out, _ = m.look(exitOK, "status", "--expiring=1d", "--exit-code", "-o", "json"); !strings.Contains(out, `"credentials": []`) {
		t.Errorf("within a day:\n%s", out)
	}
	m.login("viewer")
	m.grant(readOnly("get")...)
	if out, _ = m.look(exitOK, "status", "--expiring"); !strings.Contains(out, "expiry of credentials is not shown: no permission to list Secrets") {
		t.Errorf("who may not list Secrets is not told so:\n%s", out)
	}
}
