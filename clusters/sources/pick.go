package sources

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// pick returns the data of a Secret from what was read for it. With a token, server is the one that it may be sent to.
func pick(s *fleet.Secret, v *Value) (data map[string]string, server string, problem *Problem) {
	if s.From.Secret.Name != "" {
		text, problem := kubeconfigOf(s.From, v)
		return map[string]string{mondoo.KeyKubeconfig: text}, "", problem
	}
	data = map[string]string{}
	keys := map[string]string{} // of the secret in Vault, by those of the Secret
	for _, use := range s.Uses {
		keys[use.Key] = use.Key
	}
	if s.From.Vault.Key != "" {
		for key := range keys { // there is only one
			keys[key] = s.From.Vault.Key
		}
	}
	_, token := keys[mondoo.KeyToken]
	if token {
		keys[mondoo.KeyServer] = mondoo.KeyServer
	}
	for _, to := range slices.Sorted(maps.Keys(keys)) {
		if data[to], problem = v.text(s.From, keys[to]); problem != nil {
			if to == mondoo.KeyServer && problem.Code == CodeMissing {
				problem.Fix = "add the key server with the address of the API server that the token is for: otherwise anyone who may change the file could send the token elsewhere"
			}
			return nil, "", problem
		}
	}
	if token {
		server = data[mondoo.KeyServer]
		delete(data, mondoo.KeyServer)
	}
	return data, server, nil
}

// text returns the value of a key.
func (v *Value) text(from *fleet.Source, key string) (string, *Problem) {
	text, ok := v.Data[key]
	switch {
	case slices.Contains(v.Other, key):
		return "", &Problem{CodeForm, fmt.Sprintf("the key %s in %s is not a text", key, from), "store the credential as one text"}
	case !ok:
		return "", &Problem{CodeMissing, fmt.Sprintf("%s has no key %s", from, key), "add the key, or name another one"}
	case strings.TrimSpace(text) == "":
		return "", &Problem{CodeForm, fmt.Sprintf("the key %s in %s is empty", key, from), "store the credential there"}
	}
	return text, nil
}

// The label of a cluster Secret of Argo CD.
const (
	argoLabel   = "argocd.argoproj.io/secret-type"
	argoCluster = "cluster"
)

// KnownLabels are the labels of Secrets that matter.
var KnownLabels = []string{argoLabel, fleet.LabelSync}

// usualKeys are the keys of kubeconfigs: value in Secrets of Cluster API (https://cluster-api.sigs.k8s.io/) and Flux, value.yaml in
// Secrets of Flux, and kubeconfig in those for the operator.
var usualKeys = []string{"value", "value.yaml", mondoo.KeyKubeconfig}

// kubeconfigOf returns the kubeconfig in a Secret, by the kind of the Secret.
func kubeconfigOf(from *fleet.Source, v *Value) (string, *Problem) {
	if _, own := v.Labels[fleet.LabelSync]; own {
		return "", &Problem{CodeForm, fmt.Sprintf("%s was made by Muster for another cluster or audit config", from), "name the Secret that the credential comes from"}
	}
	if !compile.AllowedType(v.Type) {
		return "", &Problem{CodeForm, fmt.Sprintf("%s has the type %s, and Kubernetes itself manages such Secrets", from, v.Type), "name a Secret with a kubeconfig"}
	}
	if key := from.Secret.Key; key != "" {
		return v.text(from, key)
	}
	if v.Labels[argoLabel] == argoCluster {
		return argoKubeconfig(from, v)
	}
	var found []string
	for _, key := range usualKeys {
		if _, ok := v.Data[key]; ok {
			found = append(found, key)
		}
	}
	switch len(found) {
	case 0:
		return "", &Problem{CodeMissing, fmt.Sprintf("%s has none of the keys %s, and is no cluster Secret of Argo CD", from, strings.Join(usualKeys, ", ")), "name the key of the kubeconfig in key"}
	case 1:
		return v.text(from, found[0])
	}
	return "", &Problem{CodeForm, fmt.Sprintf("%s has the keys %s, each of which may be the kubeconfig", from, strings.Join(found, " and ")), "name the key in key"}
}

// argoKubeconfig makes the kubeconfig of a cluster of Argo CD.
func argoKubeconfig(from *fleet.Source, v *Value) (string, *Problem) {
	config, err := ParseArgo(map[string][]byte{"config": []byte(v.Data["config"])})
	if err != nil {
		return "", &Problem{CodeForm, fmt.Sprintf("the key config of %s is not JSON", from), "correct the Secret: argocd cluster add makes one"}
	}
	if command, provider := config.program(); command != "" {
		fix := "use the token of a ServiceAccount: muster add"
		if provider != "" {
			fix = "use workloadIdentity with the provider " + provider
		}
		return "", &Problem{CodeForm, fmt.Sprintf("the cluster in %s logs in with the program %s, which the scanner doesn't have", from, Shown(command)), fix}
	}
	server := strings.TrimSpace(v.Data["server"])
	switch server {
	case "":
		return "", &Problem{CodeMissing, fmt.Sprintf("%s has no key server", from), "correct the Secret: argocd cluster add makes one"}
	case "https://kubernetes.default.svc":
		return "", &Problem{CodeForm, fmt.Sprintf("%s is the cluster in which Argo CD itself runs", from), "the audit config's own scan covers it: spec.kubernetesResources.enable"}
	}
	cluster, user := config.Connection(server)
	name := cmp.Or(strings.TrimSpace(v.Data["name"]), "cluster")
	text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Config", "current-context": name,
		"clusters": []any{map[string]any{"name": name, "cluster": cluster}}, "users": []any{map[string]any{"name": name, "user": user}},
		"contexts": []any{map[string]any{"name": name, "context": map[string]any{"cluster": name, "user": name}}}})
	if err != nil {
		panic(fmt.Sprintf("sources: %v", err)) // maps of texts never fail
	}
	return string(text), nil
}

// Shown makes a foreign text fit for one line of a message.
func Shown(text string) string {
	const most = 200
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, " "))), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
