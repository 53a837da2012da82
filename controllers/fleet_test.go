package controllers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// clusterFile is a cluster file in plain text.
func clusterFile(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n" + spec
}

// kubeconfig is the field of that name, with a kubeconfig for the credentials of a user.
func kubeconfig(name, user string) string {
	return "  kubeconfig: |\n" + indent(`apiVersion: v1
kind: Config
clusters:
- name: c
  cluster: {server: "https://`+name+`.example.com", certificate-authority-data: `+base64.StdEncoding.EncodeToString(plane.CACert())+`}
users:
- name: u
  user: {`+user+`}
contexts:
- name: x
  context: {cluster: c, user: u}
current-context: x
`)
}

const templateName = "name-of-the-template"

// fleet makes the files of many clusters. All but what is encrypted may be changed in them, so that one encryption serves
// all: a thousand would take longer than the test.
type fleet struct {
	*world
	template string
}

func newFleet(w *world) *fleet {
	w.Helper()
	f := &fleet{world: w}
	f.template = f.withToken(templateName, "CANARY-token-of-all")
	return f
}

// withToken is the file of a cluster with another credential.
func (f *fleet) withToken(name, token string) string {
	f.Helper()
	rule := sealtest.Credentials
	rule.MACOnlyEncrypted = true
	return f.key.Encrypt(f.T, "c.yaml", clusterFile(name, kubeconfig("api", "token: "+token)), rule)
}

func (f *fleet) cluster(name string) string {
	return strings.Replace(f.template, "name: "+templateName, "name: "+name, 1)
}

// with is a cluster file with another field.
func (f *fleet) with(name, field string) string {
	return strings.Replace(f.cluster(name), "\nspec:\n", "\nspec:\n    "+field+"\n", 1) // sops indents by four
}

// files are the audit config and the cluster files of n clusters.
func (f *fleet) files(n int) map[string]string {
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range n {
		files[pathOf(i)] = f.cluster(nameOf(i))
	}
	return files
}

func nameOf(i int) string { return fmt.Sprintf("c%04d", i) }
func pathOf(i int) string { return "clusters/" + nameOf(i) + ".yaml" }

// writes counts what the controller has written since a mark, by kind of object.
func (w *world) writes(since server.Mark) map[string]int {
	w.Helper()
	n := map[string]int{}
	for _, r := range w.written(since) {
		kind := r.Resource
		if r.Subresource != "" {
			kind += "/" + r.Subresource
		}
		n[kind]++
	}
	return n
}

// written are the requests with which the controller has written since a mark, events and its lease apart.
func (w *world) written(since server.Mark) []server.Request {
	w.Helper()
	requests := w.requests(since)
	return slices.DeleteFunc(requests, func(r server.Request) bool { return !r.Writes() || r.Resource == "events" || r.Resource == "leases" })
}

// secrets are the live Secrets that Muster has made, with their versions.
func (w *world) secrets() map[string]string {
	w.Helper()
	var list corev1.SecretList
	must(w.T, w.admin.List(w.Context(), &list, client.InNamespace(w.namespace), client.HasLabels{"muster.dev/sync"}))
	versions := map[string]string{}
	for _, s := range list.Items {
		versions[s.Name] = s.ResourceVersion
	}
	return versions
}

// broken is a cluster file with something wrong in it.
type broken struct {
	content string
	// code and at are those of the finding: at stands in the line that it names.
	code, at string
}

// expiredCertificate has been valid until yesterday.
func expiredCertificate(t T) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// waysToBreak are ten ways to break the cluster file of a name.
func waysToBreak(f *fleet) []func(name string) broken {
	encrypt := func(name, spec string) string {
		return f.key.Encrypt(f.T, "c.yaml", clusterFile(name, spec), sealtest.Credentials)
	}
	stranger, expired := sealtest.NewKey(f.T), expiredCertificate(f.T)
	return []func(name string) broken{
		func(name string) broken {
			return broken{f.with(name, "schedule: 99 * * * *"), "schedule", "schedule:"}
		},
		func(name string) broken {
			text := strings.Replace(encrypt(name, kubeconfig(name, "token: CANARY-t")+"  schedule: 1 * * * *\n"), "schedule: 1 ", "schedule: 2 ", 1)
			return broken{text, "sops-mac", "sops:"}
		},
		func(name string) broken {
			text := stranger.Encrypt(f.T, "c.yaml", clusterFile(name, kubeconfig(name, "token: CANARY-t")), sealtest.Credentials)
			return broken{text, "sops-key", "sops:"}
		},
		func(name string) broken {
			return broken{f.with(name, "spiffeAuth: {server: 'https://x.example.com', trustBundleSecretRef: {name: sops-keys}}"), "auth-method", "spiffeAuth:"}
		},
		func(name string) broken {
			return broken{encrypt(name, kubeconfig(name, "exec: {apiVersion: client.authentication.k8s.io/v1, command: CANARY-c, interactiveMode: Never}")), "kubeconfig-plugin", "kubeconfig:"}
		},
		func(name string) broken {
			return broken{clusterFile(name, kubeconfig(name, "token: CANARY-plain")), "plain-credential", "kubeconfig:"}
		},
		func(string) broken { return broken{f.cluster("twin"), "duplicate-name", "name:"} },
		func(name string) broken {
			return broken{f.with(name, "shedule: 1 * * * *"), "unknown-field", "shedule:"}
		},
		func(name string) broken {
			whole := f.cluster(name)
			return broken{whole[:strings.Index(whole, "mac: ")+20] + `"` + "\n  x: \"half a file", "yaml", "half a file"}
		},
		func(name string) broken {
			return broken{encrypt(name, "  serviceAccountAuth:\n    server: https://x.example.com\n    token: CANARY-t\n    caCert: |\n"+indent(expired)), "certificate-expired", "caCert:"}
		},
	}
}

// lineOf is the number of the first line that a word stands in.
func lineOf(text, word string) int {
	before, _, _ := strings.Cut(text, word)
	return strings.Count(before, "\n") + 1
}

// TestAThousand applies 1,000 clusters. It is one test because that takes a while.
func TestAThousand(t *testing.T) {
	f := newFleet(newWorld(t))
	t.Run("50 files are broken in ten ways", func(t *testing.T) { f.fiftyBroken(t, 1000) })
	t.Run("one change costs itself", func(t *testing.T) { f.oneChange(t, 1000) })
}

// fiftyBroken breaks 50 files in ten ways: at first, so that they were never applied, and again after they were mended, so
// that what was applied for them has to stay.
func (f *fleet) fiftyBroken(t *testing.T, n int) {
	const each = 5
	good, bad := f.files(n), map[string]string{}
	var want, names []string
	for way, breaks := range waysToBreak(f) {
		for i := range each {
			at := way*97 + i // spread over the fleet
			b := breaks(nameOf(at))
			bad[pathOf(at)] = b.content
			names = append(names, nameOf(at))
			want = append(want, fmt.Sprintf("%s %s:%d", b.code, pathOf(at), lineOf(b.content, b.at)))
		}
	}
	slices.Sort(want)
	files := maps.Clone(good)
	maps.Copy(files, bad)
	f.startController(nil)
	f.createSync(nil)

	mark := f.mark()
	f.quarantines(f.push(files), want, n)
	f.wrote("950 of 1,000", mark, map[string]int{"secrets": n - 50, "mondooauditconfigs": 1, "configmaps": 2})
	if got := f.names("mondoo-client"); len(got) != n-50 || slices.ContainsFunc(got, func(name string) bool { return slices.Contains(names, name) }) {
		t.Errorf("%d entries", len(got))
	}

	mended := maps.Clone(bad)
	for path := range mended {
		mended[path] = good[path]
	}
	mark = f.mark()
	f.untilAfterRequest(f.push(mended))
	f.wrote("50 mended", mark, map[string]int{"secrets": 50, "mondooauditconfigs": 1, "configmaps": 2})
	if got := f.names("mondoo-client"); len(got) != n {
		t.Errorf("%d entries", len(got))
	}

	secrets, entries, mark := f.secrets(), toJSON(t, f.auditConfig("mondoo-client")), f.mark()
	f.quarantines(f.push(bad), want, n)
	f.untilAfterRequest(f.push(mended))
	f.wrote("50 broken and mended again", mark, map[string]int{})
	if after := f.secrets(); len(after) != n || !maps.Equal(after, secrets) {
		t.Errorf("%d Secrets, and not all as they were", len(after))
	}
	if after := toJSON(t, f.auditConfig("mondoo-client")); after != entries {
		t.Error("the audit config has changed")
	}
}

// wrote checks what was written since a mark, status apart.
func (f *fleet) wrote(when string, since server.Mark, want map[string]int) {
	f.Helper()
	got := f.writes(since)
	f.Logf("%s: writes %v", when, got)
	delete(got, "auditsyncs")
	delete(got, "auditsyncs/status")
	if !maps.Equal(got, want) {
		f.Errorf("%s: writes %v, want %v", when, got, want)
	}
}

// quarantines syncs, and expects the errors, given as "code path:line".
func (f *fleet) quarantines(commit string, want []string, total int) {
	f.Helper()
	f.request()
	status := f.until("the revision", func(s *v1alpha1.AuditSync) bool {
		return strings.HasSuffix(s.Status.LastAppliedRevision, commit)
	}).Status
	var got []string
	for _, p := range status.Problems {
		if p.Severity == "error" {
			place := strings.Split(p.Place, ":")
			got = append(got, p.Code+" "+strings.Join(place[:min(2, len(place))], ":"))
		}
	}
	slices.Sort(got)
	for _, w := range want {
		if !slices.Contains(got, w) {
			f.Errorf("not found: %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			f.Errorf("found, and not expected: %s", g)
		}
	}
	c := status.Clusters
	if int(c.Total) != total || int(c.Quarantined) != len(want) || int(c.Applied) != total-len(want) || c.Held != 0 {
		f.Errorf("clusters %+v, want %d, of which %d quarantined", *c, total, len(want))
	}
	ready := condition(status, v1alpha1.ConditionReady)
	if ready.Reason != "Quarantined" || !strings.HasPrefix(ready.Message, fmt.Sprintf("%d of %d clusters can't be used", len(want), total)) {
		f.Errorf("Ready: %s: %s", ready.Reason, ready.Message)
	}
}

// oneChange counts all writes that one pushed change costs.
func (f *fleet) oneChange(t *testing.T, n int) {
	const inventory, status = "configmaps/muster-production.mondoo-client", "auditsyncs/production"
	secrets := f.secrets()
	for _, test := range []struct {
		reason string
		files  map[string]string
		want   map[string]int
	}{
		{"a credential: its Secret, the inventory, the status", map[string]string{pathOf(500): f.withToken(nameOf(500), "CANARY-new")},
			map[string]int{status: 1, inventory: 1, "secrets/mondoo-client-c0500-kubeconfig": 1}},
		{"a field: the audit config, the inventory, the status", map[string]string{pathOf(501): f.with(nameOf(501), "schedule: 5 5 * * *")},
			map[string]int{status: 1, inventory: 1, "mondooauditconfigs/mondoo-client": 1}},
		{"a cluster: all of these, and the inventory before and after", map[string]string{pathOf(n): f.cluster(nameOf(n))},
			map[string]int{status: 1, inventory: 2, "mondooauditconfigs/mondoo-client": 1, "secrets/mondoo-client-c1000-kubeconfig": 1}},
		{"nothing of Muster's: the status", map[string]string{"README.md": "hello"}, map[string]int{status: 1}},
	} {
		commit, mark := f.push(test.files), f.mark()
		f.untilAfterRequest(commit)
		f.request() // its own watch events are through
		test.want[status]++
		got := map[string]int{}
		for _, r := range f.written(mark) {
			name := r.Name
			if mondoo.IsMade(name) {
				name = mondoo.WithoutHash(name)
			}
			got[r.Resource+"/"+name]++
		}
		if !maps.Equal(got, test.want) {
			t.Errorf("%s: writes %v, want %v", test.reason, got, test.want)
		}
	}
	changed := 0
	for name, version := range f.secrets() {
		if known, was := secrets[name]; was && known != version {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d Secrets have changed", changed)
	}
}
