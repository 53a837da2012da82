package main

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Webhooks find their way: from the sample's Ingress to the Service, to the port on which the Deployment's arguments listen, and
// through the network policy.
func (in *installation) testWebhooks(t *testing.T) {
	all := slices.Concat(objects(t, kustomize(t, "default")), objects(t, kustomize(t, "samples")))
	service := find[corev1.Service](t, all, "Service", "muster-webhook")
	pod := find[appsv1.Deployment](t, all, "Deployment", "muster").Spec.Template
	if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) || len(service.Spec.Selector) == 0 {
		t.Errorf("the Service selects %v, and the Pods have %v", service.Spec.Selector, pod.Labels)
	}
	backend := find[networkingv1.Ingress](t, all, "Ingress", "muster-webhook").Spec.Rules[0].HTTP.Paths[0].Backend.Service
	if backend.Name != service.Name || backend.Port.Name != service.Spec.Ports[0].Name {
		t.Errorf("the Ingress leads to %+v", backend)
	}
	name := service.Spec.Ports[0].TargetPort.StrVal
	container := pod.Spec.Containers[0]
	i := slices.IndexFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == name })
	if i < 0 || container.Ports[i].ContainerPort != 9292 || !slices.Contains(container.Args, "--webhook-address=:9292") {
		t.Errorf("the port %q of %+v; arguments %v", name, container.Ports, container.Args)
	}
	policy := string(kustomizeComponent(t, "network-policy"))
	if !strings.Contains(policy, "port: "+name) || !strings.Contains(policy, "muster.dev/webhook: allowed") {
		t.Errorf("the network policy lets no webhooks in:\n%s", policy)
	}
}

// kustomizeComponent builds config/default with one component.
func kustomizeComponent(t *testing.T, name string) []byte {
	t.Helper()
	memory := configInMemory(t)
	const file = "config/default/kustomization.yaml"
	content, err := memory.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	used := strings.NewReplacer("# components:", "components:", "# - ../components/"+name, "- ../components/"+name).Replace(string(content))
	if err := memory.WriteFile(file, []byte(used)); err != nil {
		t.Fatal(err)
	}
	return kustomizeIn(t, memory, "config/default")
}
