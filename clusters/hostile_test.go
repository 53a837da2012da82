package clusters_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/redact"
)

var (
	hostileEdits = flag.Int("hostile", 150, "how many hostile edits TestHostileEdits tries; a quarter of them with -short")
	hostileSeed  = flag.Uint64("hostile-seed", 0, "the first of their seeds")
)

// TestHostileEdits changes a good fleet at random as somebody without keys could: files, so that their MACs may still hold, files that they
// have encrypted themselves, and the kustomization. Every credential that is still applied goes where it was encrypted for. Most of the fleets
// are rendered with the memory of those before, as a controller does.
func TestHostileEdits(t *testing.T) {
	plain, generating := hostileFleet(t)
	own, opener := theirs(t, plain.key), plain.key.Opener(t)
	allowed := plain.allowed(t)
	maps.Copy(allowed, generating.allowed(t))
	pipeline, redactor := clusters.NewPipeline(), &redact.Redactor{}
	applied, refused, stopped, edits := 0, 0, 0, *hostileEdits
	if testing.Short() {
		edits /= 4
	}
	for i := range edits {
		seed := *hostileSeed + uint64(i)
		h := &hostile{Rand: rand.New(rand.NewPCG(seed, 9)), good: plain, theirs: own}
		if h.IntN(4) == 0 {
			h.good = generating
		}
		h.edit()
		if h.IntN(10) == 0 {
			pipeline, redactor = clusters.NewPipeline(), &redact.Redactor{}
		}
		r := renderBy(t, pipeline, redactor, h.files.fs(), "clusters", options, opener)
		for _, b := range h.notTheirs(strangers(t, r.opened, allowed)) {
			t.Errorf("seed %d: not encrypted together: %s (rendered afresh: %q)\n%s\n%s", seed, b,
				strangers(t, render(t, h.files.fs(), "clusters", options, opener).opened, allowed), strings.Join(h.did, "\n"), h.changed())
		}
		applied += len(bonds(t, r.opened))
		if finding.Errors(r.findings()) > 0 {
			refused++
		}
		if r.opened.Stopped {
			stopped++
		}
	}
	t.Logf("%d edits: %d credentials applied, each where it was encrypted for; %d edits with an error, %d of which stop everything", edits, applied, refused, stopped)
	if applied == 0 || refused == 0 {
		t.Error("the edits show nothing: all or none of them are refused")
	}
}

// hostile is one attempt.
type hostile struct {
	*rand.Rand
	good   good
	theirs map[string]string
	files  files
	root   map[string]any // the kustomization
	did    []string
}

func (h *hostile) changed() string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.files)) {
		if h.files[name] != h.good.files[name] {
			fmt.Fprintf(&out, "--- %s\n%s\n", name, h.files[name])
		}
	}
	return out.String()
}

func pick[T any](h *hostile, list []T) T { return list[h.IntN(len(list))] }

// notTheirs leaves out what has credentials that were never secret to them.
func (h *hostile) notTheirs(found []string) []string {
	return slices.DeleteFunc(found, func(b string) bool { return strings.Contains(b, "attacker") })
}

// Objects of the good fleet by kind, and the names that somebody may give to others.
var (
	victims = map[string][]string{
		"ExternalCluster":   {"new", "old", "skip", "half", "inline", "registry", "fields", "binary", "bound", "whole", "coded", "kube-a", "kube-b", "vault", "spiffe"},
		"Secret":            {"bound", "whole", "coded", "written", "kube-a", "kube-b", "pull", "authority"},
		"MondooAuditConfig": {"mondoo-client", "second"},
	}
	victimFiles = map[string]string{"fields": "fields-kubeconfig.yaml", "binary": "binary.kubeconfig", "made": "made.kubeconfig"}
	apiVersions = map[string]string{"ExternalCluster": "muster.dev/v1alpha1", "Secret": "v1", "MondooAuditConfig": "k8s.mondoo.com/v1alpha2"}
)

func (h *hostile) kind() string {
	return pick(h, []string{"ExternalCluster", "ExternalCluster", "ExternalCluster", "Secret", "Secret", "Secret", "MondooAuditConfig"})
}

func (h *hostile) secretName() string {
	return pick(h, append([]string{"evil", "made", "mondoo-client-new-service-account", "mondoo-client"}, victims["Secret"]...))
}

// fileOfVictim is where an object of the good fleet is.
func fileOfVictim(kind, name string) string {
	switch {
	case kind == "Secret" && strings.HasPrefix(name, "kube"):
		return "kube-secret.yaml"
	case kind == "Secret":
		return name + "-secret.yaml"
	}
	return name + ".yaml"
}

// edit changes some things.
func (h *hostile) edit() {
	h.files = maps.Clone(h.good.files)
	if err := json.Unmarshal([]byte(h.files["clusters/kustomization.yaml"]), &h.root); err != nil {
		panic(err)
	}
	edits := []func(){h.rewrite, h.rewrite, h.rewrite, h.rewrite, h.patchOne, h.patchOne, h.replace, h.refer, h.overlay, h.mine, h.writeEntry, h.around}
	if h.good.files["clusters/made.yaml"] != "" {
		edits = append(edits, h.generate, h.generate, h.generate, h.generate)
	}
	for range 1 + h.IntN(4) {
		pick(h, edits)()
	}
	h.files["clusters/kustomization.yaml"] = asJSON(h.root)
}

// add adds to a list of the kustomization.
func (h *hostile) add(field string, items ...any) {
	list, isList := h.root[field].([]any)
	if !isList && h.root[field] != nil {
		panic(field + " is no list")
	}
	h.root[field] = append(list, items...)
}

// file adds a file beside the cluster files.
func (h *hostile) file(text string) string {
	name := fmt.Sprintf("x%d.patch", len(h.files)) // whose name has nothing taken for a cluster
	h.files["clusters/"+name] = text
	return name
}

// refer adds a cluster that names a Secret, or a file.
func (h *hostile) refer() {
	ref := "{name: " + h.secretName() + "}"
	skip := pick(h, []string{"", ", skipTLSVerify: true"})
	spec := pick(h, []string{
		"serviceAccountAuth: {server: https://evil.example.com" + skip + ", credentialsSecretRef: " + ref + "}\n",
		"serviceAccountAuth: {server: https://evil.example.com" + skip + ", credentialsSecretRef: " + ref + "}\n",
		"serviceAccountAuth: {server: https://" + pick(h, victims["Secret"]) + pick(h, []string{".example.com", ".example.co"}) + skip + ", credentialsSecretRef: " + ref + "}\n",
		"kubeconfigSecretRef: " + ref + "\n", "kubeconfigFile: " + fmt.Sprint(h.wanted("/kubeconfigFile")) + "\n",
		"kubeconfigSecretRef: " + ref + "\ncontainerImageScanning: true\nprivateRegistries: {secretRef: " + ref + "}\n",
		"spiffeAuth: {server: https://evil.example.com, trustBundleSecretRef: " + ref + "}\n",
		"vaultAuth: {server: https://evil.example.com, vaultAddr: https://v.example.com, authRole: a, credsRole: b, caCertSecretRef: " + ref + ", targetCACertSecretRef: " + ref + "}\n",
	})
	name := pick(h, append([]string{"evil", "evil"}, victims["ExternalCluster"]...))
	h.did = append(h.did, "cluster "+name+": "+spec)
	h.files["clusters/"+name+".yaml"] = fileOf(name, spec+"auditConfig: mondoo-client\n")
}

// mine adds an encrypted file of theirs, as an object or as a patch over one.
func (h *hostile) mine() {
	what := pick(h, slices.Sorted(maps.Keys(h.theirs)))
	kind, _, _ := strings.Cut(what, " ")
	name := pick(h, victims[kind])
	object := strings.Replace(h.theirs[what], "NAME", pick(h, []string{"evil", name}), 1)
	h.did = append(h.did, what+" of theirs over "+name)
	switch h.IntN(4) {
	case 0:
		h.files["clusters/"+fileOfVictim(kind, name)] = object
	case 1:
		h.files["clusters/theirs.yaml"] = object
		h.add("resources", "theirs.yaml")
	case 2:
		h.add("patches", map[string]any{"path": h.file(object), "target": map[string]any{"kind": kind, "name": name}})
	case 3:
		h.add("patches", map[string]any{"path": h.file(strings.Replace(h.theirs[what], "NAME", name, 1))})
	}
}

// writeEntry writes an entry into an audit config.
func (h *hostile) writeEntry() {
	entry := map[string]any{"name": pick(h, []string{"evil", "written", "bound"}), "serviceAccountAuth": h.wanted("/serviceAccountAuth")}
	switch h.IntN(4) {
	case 0:
		entry = map[string]any{"name": "evil", "kubeconfigSecretRef": map[string]any{"name": h.secretName()}}
	case 1:
		entry["privateRegistriesPullSecretRef"] = map[string]any{"name": h.secretName()}
	}
	h.did = append(h.did, fmt.Sprintf("entry %v", entry))
	h.files["clusters/second.yaml"] = strings.Replace(h.files["clusters/second.yaml"], "externalClusters:\n", "externalClusters:\n    - "+strings.TrimSpace(asJSON(entry))+"\n", 1)
}
