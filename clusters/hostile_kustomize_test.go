package clusters_test

import (
	"fmt"
	"slices"
	"strings"
)

// target selects an object by all that kustomize knows it by.
func target(kind, name string) map[string]any {
	group, version, found := strings.Cut(apiVersions[kind], "/")
	if !found {
		group, version = "", group
	}
	return map[string]any{"group": group, "version": version, "kind": kind, "name": name}
}

// patch has a JSON patch run on objects, in one of the forms that there are.
func (h *hostile) patch(kind, name string, operations ...any) {
	text := asJSON(operations)
	form := h.IntN(5)
	h.did = append(h.did, fmt.Sprintf("patch %s %s by %d: %s", kind, name, form, text))
	switch form {
	case 0:
		h.add("patches", map[string]any{"target": map[string]any{"kind": kind, "name": name}, "patch": text})
	case 1:
		h.add("patches", map[string]any{"target": target(kind, name), "path": h.file(text)})
	case 2:
		h.add("patchesJson6902", map[string]any{"target": target(kind, name), "patch": text})
	case 3:
		h.transformer("PatchTransformer", map[string]any{"target": target(kind, name), "patch": text})
	case 4:
		h.component(map[string]any{"patches": []any{map[string]any{"target": target(kind, name), "patch": text}}})
	}
}

// merge has a strategic merge patch run on objects.
func (h *hostile) merge(kind, name string, object map[string]any) {
	object["apiVersion"], object["kind"], object["metadata"] = apiVersions[kind], kind, map[string]any{"name": name}
	text := asJSON(object)
	form := h.IntN(6)
	h.did = append(h.did, fmt.Sprintf("merge %s %s by %d: %s", kind, name, form, text))
	switch form {
	case 0:
		h.add("patches", map[string]any{"target": map[string]any{"kind": kind}, "patch": text})
	case 1:
		h.add("patches", map[string]any{"patch": text})
	case 2:
		h.add("patches", map[string]any{"path": h.file(text)})
	case 3:
		h.add("patchesStrategicMerge", pick(h, []string{h.file(text), text + "\n"}))
	case 4:
		h.transformer("PatchTransformer", map[string]any{"target": target(kind, name), "patch": text})
	case 5:
		h.component(map[string]any{"patches": []any{map[string]any{"patch": text}}})
	}
}

func (h *hostile) transformer(kind string, config map[string]any) {
	config["apiVersion"], config["kind"], config["metadata"] = "builtin", kind, map[string]any{"name": "x"}
	if h.IntN(2) == 0 {
		h.add("transformers", h.file(asJSON(config)))
		return
	}
	h.add("transformers", asJSON(config)+"\n")
}

// component adds a component of theirs.
func (h *hostile) component(spec map[string]any) {
	dir := fmt.Sprintf("component-%d", len(h.files))
	spec["apiVersion"], spec["kind"] = "kustomize.config.k8s.io/v1alpha1", "Component"
	h.files[dir+"/kustomization.yaml"] = asJSON(spec)
	h.add("components", "../"+dir)
}

// places are fields of objects that somebody would like to write or copy, as pointers.
var places = map[string][]string{
	"ExternalCluster": {"/spec/serviceAccountAuth/server", "/spec/serviceAccountAuth/server", "/spec/serviceAccountAuth/skipTLSVerify", "/spec/serviceAccountAuth/caCert", "/spec/serviceAccountAuth/token",
		"/spec/serviceAccountAuth/credentialsSecretRef", "/spec/serviceAccountAuth", "/spec/kubeconfig", "/spec/kubeconfigFile", "/spec/kubeconfigSecretRef", "/spec/privateRegistries",
		"/spec/privateRegistries/dockerConfigJson", "/spec/privateRegistriesPullSecretRef", "/spec/auditConfig", "/spec/schedule", "/metadata/name", "/metadata/annotations/runbook", "/spec/vaultAuth/server", "/spec"},
	"Secret": {"/stringData/server", "/stringData/server", "/stringData/token", "/stringData/ca.crt", "/stringData/kubeconfig", "/data/server", "/data/token", "/data/ca.crt", "/data/.dockerconfigjson", "/stringData", "/data",
		"/metadata/name", "/metadata/annotations/runbook", "/type"},
	"MondooAuditConfig": {"/spec/kubernetesResources/externalClusters/0/serviceAccountAuth/server", "/spec/kubernetesResources/externalClusters/0/serviceAccountAuth/skipTLSVerify",
		"/spec/kubernetesResources/externalClusters/0/serviceAccountAuth/credentialsSecretRef", "/spec/kubernetesResources/externalClusters/0/serviceAccountAuth", "/spec/kubernetesResources/externalClusters", "/metadata/name"},
}

// wanted is what somebody would like a field to have.
func (h *hostile) wanted(place string) any {
	account := map[string]any{"server": "https://evil.example.com", "skipTLSVerify": h.IntN(2) == 0, "credentialsSecretRef": map[string]any{"name": h.secretName()}}
	switch field := place[strings.LastIndexByte(place, '/')+1:]; field {
	case "server":
		return pick(h, []string{"https://evil.example.com", "", "https://old.gr7.eu-west-1.example.co", "https://new.gr7.eu-west-1.example.com"})
	case "skipTLSVerify":
		return true
	case "caCert", "ca.crt":
		return certificate(now, now.AddDate(1, 0, 0))
	case "credentialsSecretRef", "kubeconfigSecretRef", "privateRegistriesPullSecretRef":
		return map[string]any{"name": h.secretName()}
	case "privateRegistries":
		return map[string]any{"secretRef": map[string]any{"name": h.secretName()}}
	case "serviceAccountAuth":
		return account
	case "externalClusters":
		return []any{map[string]any{"name": "evil", "serviceAccountAuth": account}}
	case "spec":
		return map[string]any{"serviceAccountAuth": account, "auditConfig": pick(h, victims["MondooAuditConfig"])}
	case "stringData", "data":
		return map[string]any{}
	case "name":
		return pick(h, append([]string{"other", "evil"}, victims["Secret"]...))
	case "auditConfig":
		return pick(h, victims["MondooAuditConfig"])
	case "kubeconfigFile":
		return pick(h, []string{"binary.kubeconfig", "fields-kubeconfig.yaml", "made.kubeconfig", "old.yaml", "bound-secret.yaml", "made.json"})
	default:
		return "x"
	}
}

// patchOne patches a field.
func (h *hostile) patchOne() {
	kind := h.kind()
	name, at := pick(h, victims[kind]), pick(h, places[kind])
	if h.IntN(8) == 0 {
		name = ".*"
	}
	switch op := pick(h, []string{"replace", "add", "add", "remove", "remove", "copy", "move", "merge", "merge"}); op {
	case "copy", "move":
		h.patch(kind, name, map[string]any{"op": op, "from": pick(h, places[kind]), "path": at})
	case "remove":
		h.patch(kind, name, map[string]any{"op": op, "path": at})
	case "merge":
		value := h.wanted(at)
		if h.IntN(3) == 0 {
			value = nil
		}
		parts := strings.Split(at[1:], "/")
		for _, part := range slices.Backward(parts) {
			value = map[string]any{part: value}
		}
		object, isMapping := value.(map[string]any)
		if !isMapping || parts[0] == "metadata" || slices.Contains(parts, "0") {
			return
		}
		h.merge(kind, name, object)
	default:
		h.patch(kind, name, map[string]any{"op": op, "path": at, "value": h.wanted(at)})
	}
}

// replace copies from one object to another.
func (h *hostile) replace() {
	from, to := h.kind(), h.kind()
	dotted := func(at string) string {
		parts := strings.Split(at[1:], "/")
		for i := range parts {
			parts[i] = strings.ReplaceAll(parts[i], ".", `\.`)
		}
		return strings.Join(parts, ".")
	}
	at := dotted(pick(h, places[from]))
	into := at
	if from != to || h.IntN(3) == 0 {
		into = dotted(pick(h, places[to]))
	}
	source := map[string]any{"kind": from, "name": pick(h, victims[from]), "fieldPath": at}
	goal := map[string]any{"select": map[string]any{"kind": to, "name": pick(h, victims[to])}, "fieldPaths": []any{into}, "options": map[string]any{"create": true}}
	one := map[string]any{"source": source, "targets": []any{goal}}
	h.did = append(h.did, fmt.Sprintf("replacement %v", one))
	switch h.IntN(4) {
	case 0:
		h.add("replacements", map[string]any{"path": h.file(asJSON(one))})
	case 1:
		h.transformer("ReplacementTransformer", map[string]any{"replacements": []any{one}})
	case 2:
		h.component(map[string]any{"replacements": []any{one}})
	default:
		h.add("replacements", one)
	}
}

// overlay uses the file of one object as a patch over another one, and perhaps not as an object.
func (h *hostile) overlay() {
	kind := pick(h, []string{"ExternalCluster", "Secret", "Secret"})
	name, other := pick(h, victims[kind]), pick(h, victims[kind])
	file := fileOfVictim(kind, name)
	h.did = append(h.did, file+" over "+other)
	if h.IntN(3) > 0 {
		h.unlist(file)
	}
	if h.IntN(3) == 0 { // over an object of theirs
		own := pick(h, []string{"server", "ca.crt", "server ca.crt", "token ca.crt", "server token ca.crt"})
		h.files["clusters/theirs.yaml"] = strings.Replace(h.theirs[kind+" "+own], "NAME", "evil", 1)
		h.add("resources", "theirs.yaml")
		other = "evil"
	}
	h.add("patches", map[string]any{"path": file, "target": map[string]any{"kind": kind, "name": other}})
	if h.IntN(2) == 0 {
		what := kind + " " + pick(h, []string{"server", "ca.crt", "server ca.crt"})
		h.add("patches", map[string]any{"path": h.file(strings.Replace(h.theirs[what], "NAME", other, 1)), "target": map[string]any{"kind": kind, "name": other}})
	}
	if h.IntN(2) == 0 {
		h.files["clusters/evil.yaml"] = fileOf("evil", "serviceAccountAuth: {server: https://evil.example.com, credentialsSecretRef: {name: "+other+"}}\nauditConfig: mondoo-client\n")
	}
}

// unlist takes a file out of the resources, and keeps it from being taken all the same.
func (h *hostile) unlist(file string) {
	list, isList := h.root["resources"].([]any)
	if !isList {
		return
	}
	h.root["resources"] = slices.DeleteFunc(list, func(name any) bool { return name == file })
	h.files["clusters/.musterignore"] += file + "\n"
}

// around changes what is around all objects.
func (h *hostile) around() {
	field, value := "namePrefix", any("x-")
	switch h.IntN(6) {
	case 0:
		field = "nameSuffix"
	case 1:
		field, value = "namespace", "other"
	case 2:
		field, value = "commonAnnotations", map[string]any{"server": "https://evil.example.com"}
	case 3:
		field, value = "buildMetadata", []any{"originAnnotations"}
	case 4:
		h.unlist(fileOfVictim("Secret", pick(h, victims["Secret"])))
		return
	}
	h.did = append(h.did, fmt.Sprintf("%s %v", field, value))
	h.root[field] = value
}

// generate adds a generator that takes files of the fleet.
func (h *hostile) generate() {
	inputs := []string{"made.kubeconfig", "made.json", "binary.kubeconfig", "fields-kubeconfig.yaml", "old.yaml", "new.yaml", "bound-secret.yaml", "pull-secret.yaml", "inline.yaml"}
	one := map[string]any{"name": pick(h, append([]string{"evil", "made", "made-pull"}, victims["Secret"]...)), "behavior": pick(h, []string{"create", "create", "merge", "replace"})}
	var list []any
	for range 1 + h.IntN(3) {
		list = append(list, pick(h, []string{"token", "token", "server", "ca.crt", "kubeconfig", ".dockerconfigjson", "config"})+"="+pick(h, inputs))
	}
	one["files"] = list
	if h.IntN(3) == 0 {
		one["literals"] = []any{pick(h, []string{"server=", "server=https://evil.example.com", "ca.crt=" + certificate(now, now.AddDate(1, 0, 0)), "token=attacker"})}
	}
	if h.IntN(6) == 0 {
		one["envs"] = []any{pick(h, inputs)}
	}
	if h.IntN(4) == 0 {
		one["type"] = "kubernetes.io/dockerconfigjson"
	}
	h.did = append(h.did, fmt.Sprintf("generator %v", one))
	switch h.IntN(5) {
	case 0:
		h.add("configMapGenerator", one)
	case 1:
		one["apiVersion"], one["kind"], one["metadata"] = "builtin", "SecretGenerator", map[string]any{"name": one["name"]}
		h.add("generators", h.file(asJSON(one)))
	default:
		h.add("secretGenerator", one)
	}
	if h.IntN(2) == 0 {
		h.files["clusters/evil.yaml"] = fileOf("evil", "serviceAccountAuth: {server: https://evil.example.com, credentialsSecretRef: {name: "+fmt.Sprint(one["name"])+"}}\nauditConfig: mondoo-client\n")
	}
}
