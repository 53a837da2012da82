package mondoo_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// TestInspect holds the class of every field that is not harmless, and of what looks like one.
func TestInspect(t *testing.T) {
	const creds = "mondooCredsSecretRef: {name: creds}\n"
	for _, row := range []struct {
		reason, spec string
		want         []string
	}{
		{"harmless fields", "spaceId: s\nannotations: {owner: team}\nremoteManaged: false\nfiltering: {namespaces: {include: [a], exclude: [b]}}\n" +
			"scanner: {replicas: 2, resources: {limits: {cpu: 1, memory: 300Mi}, requests: {cpu: 100m, ephemeral-storage: 1Gi}}}\n" +
			"nodes: {enable: true, schedule: 1 * * * *, style: cronjob, intervalTimer: 60}\n" +
			"containers: {enable: true, schedule: 1 * * * *, repositories: {include: [], exclude: [a]}, scanCache: {enable: true, cacheTTL: 168h0m0s}}\n" +
			"kubernetesResources: {enable: true, schedule: 1 * * * *, activeDeadline: 1h30m, resourceWatcher: {enable: true, debounceInterval: 10s, resourceTypes: [pods]}, externalClusters: [{name: a}], jobOverrides: {ttlSecondsAfterFinished: 60}}\n" +
			"consoleIntegration: {enable: true, autoCreate: false, name: x, deletionPolicy: Retain}\n", nil},
		{"what the operator writes back", "scanner: {serviceAccountName: mondoo-operator-k8s-resources-scanning, image: {}, env: [], privateRegistriesPullSecretRef: {}}\nnodes: {env: null, priorityClassName: ''}\nadmission: {}\njobOverrides: {}\ncontainers: {}\n", nil},
		{"references", creds + "mondooTokenSecretRef: {name: token}\nscanner: {privateRegistriesPullSecretRef: {name: r}, privateRegistriesPullSecretRefs: [{name: r1}, {name: r2}]}\n",
			[]string{"mondooCredsSecretRef=creds names a Secret", "mondooTokenSecretRef=token names a Secret", "scanner.privateRegistriesPullSecretRef=r names a Secret",
				"scanner.privateRegistriesPullSecretRefs=r1 names a Secret", "scanner.privateRegistriesPullSecretRefs=r2 names a Secret"}},
		{"code and identity", "scanner: {image: {name: evil/x, tag: '1', digest: sha256:00, pullPolicy: Always}, serviceAccountName: muster}\nnodes: {priorityClassName: system-node-critical}\n",
			[]string{"nodes.priorityClassName=system-node-critical p", "scanner.image.digest=sha256:00 p", "scanner.image.name=evil/x p", "scanner.image.pullPolicy=Always p", "scanner.image.tag=1 p", "scanner.serviceAccountName=muster p"}},
		{"environments", "scanner: {env: [{name: A, value: b}]}\nnodes: {env: [{name: A, valueFrom: {secretKeyRef: {name: deep, key: deeper}}}]}\ncontainers: {env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: d}}}]}\n",
			[]string{"containers.env p", "nodes.env p", "nodes.env.valueFrom.secretKeyRef=deep names a Secret", "scanner.env p"}},
		{"Pods", "jobOverrides: {labels: {a: b}, annotations: {a: b}, nodeSelector: {a: b}, tolerations: [{operator: Exists}]}\nnodes: {jobOverrides: {labels: {azure.workload.identity/use: 'true'}}}\ncontainers: {workloadIdentity: {provider: gke, gke: {projectId: p}}, jobOverrides: {tolerations: [{}]}}\n",
			[]string{"containers.jobOverrides.tolerations p", "containers.workloadIdentity p", "jobOverrides.annotations p", "jobOverrides.labels p", "jobOverrides.nodeSelector p", "jobOverrides.tolerations p", "nodes.jobOverrides.labels p"}},
		{"devices", "nodes: {resources: {limits: {example.com/gpu: 1}}}\n", []string{"nodes.resources.limits.example.com/gpu=1 is unknown"}},
		{"fields that nobody knows", "volumes: [{secret: {secretName: v}}, {projected: {sources: [{secret: {name: p}}]}}]\nscanner: {imagePullSecrets: [{name: i}], hostNetwork: true, envFrom: [{secretRef: {name: e}}]}\nmondooCredsSecretRef: {name: creds, namespace: kube-system}\n",
			[]string{"mondooCredsSecretRef.namespace=kube-system is unknown", "mondooCredsSecretRef=creds names a Secret", "scanner.envFrom is unknown", "scanner.envFrom.secretRef=e names a Secret",
				"scanner.hostNetwork=true is unknown", "scanner.imagePullSecrets is unknown", "scanner.imagePullSecrets=i names a Secret",
				"volumes is unknown", "volumes.projected.sources.secret=p names a Secret", "volumes.secret=v names a Secret"}},
	} {
		uses, bad := mondoo.Inspect(object(t, "apiVersion: v\nkind: k\nmetadata: {}\nstatus: {x: y}\nspec:\n  "+strings.ReplaceAll(strings.TrimSpace(row.spec), "\n", "\n  ")))
		if len(bad) > 0 {
			t.Errorf("%s: %v", row.reason, bad)
		}
		var got []string
		for _, u := range uses {
			text := u.Path()
			if u.Single {
				text += "=" + u.Value
			}
			class := string(u.Class)
			if u.Class == mondoo.Privileged {
				class = "p"
			}
			got = append(got, text+" "+class)
		}
		slices.Sort(got)
		if !slices.Equal(got, row.want) {
			t.Errorf("%s:\n%s\nwant:\n%s", row.reason, strings.Join(got, "\n"), strings.Join(row.want, "\n"))
		}
	}
}

// TestInspectTypes holds that no value of the wrong type is taken for an absent one.
func TestInspectTypes(t *testing.T) {
	for text, want := range map[string]string{
		"spec: []":                                                      "[spec] a mapping",
		"spec: {scanner: x}":                                            "[spec scanner] a mapping",
		"spec: {mondooCredsSecretRef: sops-age}":                        "[spec mondooCredsSecretRef] a mapping",
		"spec: {mondooCredsSecretRef: {name: 1}}":                       "[spec mondooCredsSecretRef name] a string",
		"spec: {scanner: {image: {name: [a]}}}":                         "[spec scanner image name] a string",
		"spec: {scanner: {env: {a: b}}}":                                "[spec scanner env] a list",
		"spec: {scanner: {replicas: 1.5}}":                              "[spec scanner replicas] a whole number",
		"spec: {scanner: {privateRegistriesPullSecretRefs: [a]}}":       "[spec scanner privateRegistriesPullSecretRefs [0]] a mapping",
		"spec: {remoteManaged: 'true'}":                                 "[spec remoteManaged] true or false",
		"spec: {annotations: {a: 1}}":                                   "[spec annotations] a mapping of strings",
		"spec: {filtering: {namespaces: {include: [1]}}}":               "[spec filtering namespaces include] a list of strings",
		"spec: {kubernetesResources: {activeDeadline: 1d}}":             "[spec kubernetesResources activeDeadline] a duration of at least a second, in hours, minutes and seconds, such as 1h30m",
		"spec: {containers: {scanCache: {cacheTTL: 60}}}":               "[spec containers scanCache cacheTTL] a duration of at least a second, in hours, minutes and seconds, such as 1h30m",
		"spec: {kubernetesResources: {externalClusters: {name: a}}}":    "[spec kubernetesResources externalClusters] a list",
		"spec: {nodes: {resources: {limits: {cpu: [1]}}}}":              "[spec nodes resources limits cpu] a quantity of zero or more, such as 300Mi",
		"data: {mondooCredsSecretRef: {name: sops-age}}\nspec: {}":      "[data] ",
		"spec: {kubernetesResources: {resourceWatcher: {enable: 'y'}}}": "[spec kubernetesResources resourceWatcher enable] true or false",
	} {
		_, bad := mondoo.Inspect(object(t, text))
		if len(bad) != 1 || fmt.Sprint(bad[0].Field)+" "+bad[0].Want != want {
			t.Errorf("%s: %v, want %s", text, bad, want)
		}
	}
}

func TestRemoval(t *testing.T) {
	for text, want := range map[string]string{
		"spec: {}": "false false",
		"spec: {consoleIntegration: {deletionPolicy: Delete}}":                                            "true false",
		"spec: {consoleIntegration: {enable: true}}":                                                      "true false",
		"spec: {consoleIntegration: {enable: true, deletionPolicy: Retain}}\nstatus: {integrationMRN: x}": "false true",
		"spec: {}\nstatus: {integrationMRN: x}":                                                           "true true",
	} {
		deletes, made := mondoo.DeletesIntegration(object(t, text))
		if got := fmt.Sprint(deletes, made); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if mondoo.RemoteManaged(object(t, "spec: {remoteManaged: false}")) || !mondoo.RemoteManaged(object(t, "spec: {remoteManaged: true}")) || mondoo.RemoteManaged(nil) {
		t.Error("RemoteManaged")
	}
}

// TestEverywhere holds which fields an operator may lack.
func TestEverywhere(t *testing.T) {
	for path, want := range map[string]bool{
		"mondooCredsSecretRef": true, "mondooCredsSecretRef.name": true, "filtering.namespaces.include[0]": true, "scanner.env[0].value": true,
		"annotations.example.com/team": true, "scanner.image.tag": true, "containers.workloadIdentity.provider": true, "consoleIntegration.name": true,
		"remoteManaged": false, "jobOverrides": false, "jobOverrides.labels.a": false, "nodes.jobOverrides.tolerations[0].key": false,
		"kubernetesResources.jobOverrides": false, "consoleIntegration.deletionPolicy": false, "admission.enable": false, "later": false, "scanner.later": false,
	} {
		if got := mondoo.Everywhere(strings.Split(path, ".")); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// TestInspectValues holds with which values of the right type the operator doesn't work.
func TestInspectValues(t *testing.T) {
	long := strings.Repeat("ü", 256)
	for _, row := range []struct {
		spec string
		want []string // fields
	}{
		{"annotations: {a: b, " + long + ": " + long + "}", nil},
		{"consoleIntegration: {deletionPolicy: Delete}", nil},
		{"consoleIntegration: {deletionPolicy: null}", nil},
		{"consoleIntegration: {deletionPolicy: ''}", []string{"consoleIntegration deletionPolicy"}},
		{"consoleIntegration: {deletionPolicy: delete}", []string{"consoleIntegration deletionPolicy"}},
		{"consoleIntegration: {deletionPolicy: 1}", []string{"consoleIntegration deletionPolicy"}},
		{"annotations: {a=b: c}", []string{"annotations a=b"}},
		{"annotations: {a: ''}", []string{"annotations a"}},
		{"annotations: {'': b}", []string{"annotations "}},
		{"annotations: {a: " + long + "x}", []string{"annotations a"}},
		{"annotations: {" + long + "x: b}", []string{"annotations " + long + "x"}},
		{"kubernetesResources: {activeDeadline: 0s}", []string{"kubernetesResources activeDeadline"}},
		{"kubernetesResources: {activeDeadline: -1h}", []string{"kubernetesResources activeDeadline"}},
		{"kubernetesResources: {resourceWatcher: {debounceInterval: 500ms, minimumScanInterval: 1d}}", []string{"kubernetesResources resourceWatcher debounceInterval", "kubernetesResources resourceWatcher minimumScanInterval"}},
		{"containers: {activeDeadline: 1.5h, scanCache: {cacheTTL: 2562048h}}", []string{"containers scanCache cacheTTL"}},
		{"scanner: {resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}}", nil},
		{"scanner: {resources: {limits: {cpu: 1}, requests: {cpu: 1001m, memory: 2Gi}}}", []string{"scanner resources requests cpu"}},
		{"nodes: {resources: {limits: {memory: 1Gi}, requests: {memory: 2Gi}}}", []string{"nodes resources requests memory"}},
		{"containers: {resources: {limits: {example.com/gpu: 1}, requests: {example.com/gpu: '2'}}}", []string{"containers resources requests example.com/gpu"}},
		{"containers: {resources: {limits: {memory: 300MB}}}", []string{"containers resources limits memory"}},
		{"containers: {resources: {limits: {memory: -1}}}", []string{"containers resources limits memory"}},
		{"containers: {workloadIdentity: {provider: gke, gke: {projectId: p}}}", nil},
		{"containers: {workloadIdentity: {}}", nil},
		{"containers: {workloadIdentity: {provider: gke}}", []string{"containers workloadIdentity gke"}},
		{"containers: {workloadIdentity: {provider: gke, gke: {}, eks: {region: r}}}", []string{"containers workloadIdentity gke"}},
		{"containers: {workloadIdentity: {gke: {projectId: p}}}", []string{"containers workloadIdentity provider"}},
		{"containers: {workloadIdentity: {provider: [gke]}}", []string{"containers workloadIdentity provider"}},
	} {
		_, bad := mondoo.Inspect(object(t, "spec: {"+row.spec+"}"))
		var got []string
		for _, b := range bad {
			got = append(got, strings.Join(b.Field[1:], " "))
			if b.Want == "" && (b.Problem == "" || b.Fix == "") {
				t.Errorf("%s: no problem or no fix: %+v", row.spec, b)
			}
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.spec, got, row.want)
		}
	}
	for name, wrong := range map[string]bool{strings.Repeat("a", 63): false, strings.Repeat("a", 64): true} {
		if _, bad := mondoo.Inspect(object(t, "metadata: {name: "+name+"}\nspec: {}")); (len(bad) > 0) != wrong {
			t.Errorf("a name of %d characters: %v", len(name), bad)
		}
	}
}

// TestSameValue holds the other forms in which the operator writes values back.
func TestSameValue(t *testing.T) {
	for _, row := range []struct {
		field string
		a, b  any
		want  bool
	}{
		{"spec.kubernetesResources.activeDeadline", "90m", "1h30m0s", true},
		{"spec.containers.scanCache.cacheTTL", "168h", "168h0m0s", true},
		{"spec.kubernetesResources.resourceWatcher.debounceInterval", "60s", "1m0s", true},
		{"spec.containers.activeDeadline", "90m", "91m", false},
		{"spec.containers.activeDeadline", "90m", nil, false},
		{"spec.containers.activeDeadline", "1d", "24h", false},
		{"spec.scanner.resources.limits.cpu", "1000m", "1", true},
		{"spec.scanner.resources.limits.cpu", int64(1), "1", true},
		{"spec.nodes.resources.requests.ephemeral-storage", "1024Mi", "1Gi", true},
		{"spec.nodes.resources.limits.gpu", "2", 2, true},
		{"spec.nodes.resources.limits.memory", "1Gi", "1G", false},
		{"spec.annotations.memory", "1000m", "1", false},
		{"spec.consoleIntegration.name", "90m", "1h30m0s", false},
		{"spec.scanner.env[0].value", "90m", "1h30m0s", false},
		{"metadata.annotations.cpu", "1000m", "1", false},
	} {
		if got := mondoo.SameValue(strings.Split(row.field, "."), row.a, row.b); got != row.want {
			t.Errorf("%s: %v and %v: %v", row.field, row.a, row.b, got)
		}
	}
}
