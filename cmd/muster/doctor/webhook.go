package doctor

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/receiver"
	"github.com/muster-gitops/muster/gitsync/webhook"
)

// webhookPort is the name of the container port that receives webhooks.
const webhookPort = "webhook"

// webhook checks what an AuditSync with spec.webhook needs.
func (c *checkup) webhook(ctx context.Context, audit *v1alpha1.AuditSync) []Check {
	if audit.Spec.Webhook == nil {
		return nil
	}
	name, secret := audit.Name+": the webhook's Secret is valid", audit.Spec.Webhook.SecretRef.Name
	data, err := c.secret(ctx, secret)
	if err != nil {
		return append([]Check{c.secretCheck(categoryWebhook, name, secret, err)}, c.receiver(ctx, audit)...)
	}
	return append([]Check{webhookSecretCheck(name, c.Namespace, secret, data)}, c.receiver(ctx, audit)...)
}

// webhookSecretCheck decides whether deliveries can be verified. The problem quotes no value.
func webhookSecretCheck(name, namespace, secret string, data map[string][]byte) Check {
	_, problem := receiver.Secrets(data)
	if problem != "" {
		return failed(categoryWebhook, name, fmt.Sprintf("Secret %s: %s", secret, problem),
			fmt.Sprintf("openssl rand -hex 32 | tr -d '\\n' > token; kubectl -n %s create secret generic %s --from-file=token --dry-run=client -o yaml | kubectl apply -f -; give the forge the same token", namespace, secret))
	}
	return passed(categoryWebhook, name, "Secret "+secret)
}

// receiver checks the way from the cluster's edge to the controller, as far as objects tell.
func (c *checkup) receiver(ctx context.Context, audit *v1alpha1.AuditSync) []Check {
	on := audit.Name + ": the controller receives webhooks"
	deployment, _ := c.deployment(ctx)
	if deployment == nil {
		return []Check{skipped(categoryWebhook, on, "the controller's Deployment is unknown")}
	}
	checks := []Check{receivesCheck(on, deployment)}
	serves := audit.Name + ": the receiver's Service has endpoints"
	services, err := c.core.CoreV1().Services(c.Controller).List(ctx, metav1.ListOptions{})
	if err != nil {
		return append(checks, unread(categoryWebhook, serves, "list Services in "+c.Controller, err))
	}
	service := serviceOf(deployment, services.Items)
	if service == nil {
		return append(checks, serviceCheck(serves, c.Controller, nil, nil))
	}
	endpoints, err := c.core.DiscoveryV1().EndpointSlices(c.Controller).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
	if err != nil {
		return append(checks, unread(categoryWebhook, serves, "list EndpointSlices in "+c.Controller, err))
	}
	checks = append(checks, serviceCheck(serves, c.Controller, service, endpoints.Items))
	outside := audit.Name + ": the forge can reach the receiver"
	ingresses, err := c.core.NetworkingV1().Ingresses(c.Controller).List(ctx, metav1.ListOptions{})
	if err != nil {
		return append(checks, unread(categoryWebhook, outside, "list Ingresses in "+c.Controller, err))
	}
	return append(checks, outsideCheck(outside, service, ingresses.Items, webhook.Path(audit.Namespace, audit.Name)))
}

func receivesCheck(name string, d *appsv1.Deployment) Check {
	switch arg := argument(d, "--webhook-address"); arg {
	case "", "--webhook-address", "--webhook-address=0", "--webhook-address=":
		return failed(categoryWebhook, name, "it runs without --webhook-address", fmt.Sprintf("add --webhook-address=:9292 to its arguments: kubectl -n %s edit deployment %s", d.Namespace, d.Name))
	default:
		return passed(categoryWebhook, name, arg)
	}
}

// serviceOf finds the Service whose port leads to the receiver's.
func serviceOf(d *appsv1.Deployment, services []corev1.Service) *corev1.Service {
	for i, s := range services {
		if len(s.Spec.Selector) == 0 || !subset(s.Spec.Selector, d.Spec.Template.Labels) {
			continue
		}
		for _, port := range s.Spec.Ports {
			if port.TargetPort == intstr.FromString(webhookPort) {
				return &services[i]
			}
		}
	}
	return nil
}

func subset(labels, of map[string]string) bool {
	for key, value := range labels {
		if of[key] != value {
			return false
		}
	}
	return true
}

// serviceCheck decides whether a request to the Service finds a Pod.
func serviceCheck(name, namespace string, service *corev1.Service, endpoints []discoveryv1.EndpointSlice) Check {
	if service == nil {
		return failed(categoryWebhook, name, fmt.Sprintf("no Service in %s leads to the port %s of the controller's Pods", namespace, webhookPort), "create it: kubectl apply --server-side -k config/default")
	}
	ready, all := 0, 0
	for _, slice := range endpoints {
		for _, endpoint := range slice.Endpoints {
			all++
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				ready++
			}
		}
	}
	if ready == 0 {
		return failed(categoryWebhook, name, fmt.Sprintf("%d of %s of the Service %s are ready", ready, plural(all, "endpoint"), service.Name), fmt.Sprintf("kubectl -n %s describe pod -l %s", namespace, ControllerLabels))
	}
	return passed(categoryWebhook, name, fmt.Sprintf("Service %s, %s", service.Name, plural(ready, "endpoint")))
}

// outsideCheck looks for an Ingress or another way in. A Gateway's routes and proxies of other kinds can't be seen here.
func outsideCheck(name string, service *corev1.Service, ingresses []networkingv1.Ingress, path string) Check {
	if service.Spec.Type == corev1.ServiceTypeLoadBalancer || service.Spec.Type == corev1.ServiceTypeNodePort {
		return passed(categoryWebhook, name, fmt.Sprintf("Service %s is of type %s; the path is %s", service.Name, service.Spec.Type, path))
	}
	for _, ingress := range ingresses {
		for _, rule := range ingress.Spec.Rules {
			if rule.HTTP == nil {
				continue
			}
			for _, to := range rule.HTTP.Paths {
				if to.Backend.Service != nil && to.Backend.Service.Name == service.Name {
					return passed(categoryWebhook, name, fmt.Sprintf("Ingress %s, at %s%s", ingress.Name, rule.Host, path))
				}
			}
		}
	}
	return skipped(categoryWebhook, name, fmt.Sprintf("no Ingress leads to the Service %s; a route of a Gateway may, as in config/samples/webhook-ingress.yaml", service.Name))
}
