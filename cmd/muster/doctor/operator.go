package doctor

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/muster-gitops/muster/clusters/inventory"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers"
)

// testedOperator is the version of the Mondoo Operator that Muster was tested with.
const testedOperator = "13.3.0"

// operatorLabels select the operator's Deployment, as its manifests and its Helm chart have them.
const operatorLabels = "app.kubernetes.io/name=mondoo-operator"

// newerFields are fields of entries that came after testedOperator.
var newerFields = []string{"vaultAuth.vaultNamespace"}

var auditConfigKind = schema.GroupVersionResource{Group: mondoo.Group, Version: mondoo.Version, Resource: mondoo.Resource}

func (c *checkup) operator(ctx context.Context) []Check {
	checks, served := c.auditConfigDefinition(ctx)
	checks = append(checks, c.operatorDeployment(ctx)...)
	if !served {
		return checks
	}
	return append(checks, c.auditConfigs(ctx)...)
}

// auditConfigDefinition checks the operator's CRD.
func (c *checkup) auditConfigDefinition(ctx context.Context) (checks []Check, served bool) {
	const name, fields = "MondooAuditConfigs are served", "their entries have the fields that Muster writes"
	list, err := c.core.Discovery().ServerResourcesForGroupVersion(mondoo.APIVersion)
	if apierrors.IsNotFound(err) || err == nil && !has(list, mondoo.Resource) {
		return []Check{failed(categoryOperator, name, "the API server has no "+mondoo.Kind+" "+mondoo.APIVersion, "install the Mondoo Operator: https://github.com/mondoohq/mondoo-operator")}, false
	}
	if err != nil {
		return []Check{unread(categoryOperator, name, "discover "+mondoo.APIVersion, err)}, false
	}
	checks = []Check{passed(categoryOperator, name, mondoo.APIVersion)}
	crd, err := c.dynamic.Resource(crds).Get(ctx, mondoo.Resource+"."+mondoo.Group, metav1.GetOptions{})
	if err != nil {
		return append(checks, unread(categoryOperator, fields, "get CustomResourceDefinitions", err)), true
	}
	return append(checks, entryFieldsCheck(fields, crd.Object)), true
}

// entryFieldsCheck compares the entries of external clusters with what Muster writes.
func entryFieldsCheck(name string, crd map[string]any) Check {
	const list = "spec.kubernetesResources.externalClusters"
	have := fieldsOf(schemaOf(crd, mondoo.Version))
	if !slices.Contains(have, list) {
		return failed(categoryOperator, name, "the CRD has no "+list, "upgrade the Mondoo Operator to v"+testedOperator)
	}
	var missing, newer []string
	for _, field := range entryFields(reflect.TypeFor[mondoo.Entry](), "") {
		switch _, found := slices.BinarySearch(have, list+"."+field); {
		case found:
		case slices.Contains(newerFields, field):
			newer = append(newer, field)
		default:
			missing = append(missing, field)
		}
	}
	switch {
	case len(missing) > 0:
		return failed(categoryOperator, name, "the CRD lacks "+some(missing)+", which the API server drops from entries", "upgrade the Mondoo Operator to v"+testedOperator)
	case len(newer) > 0:
		return warning(categoryOperator, name, "the CRD lacks "+some(newer)+", which a newer operator has; clusters that use it are refused", "upgrade the Mondoo Operator if you need it")
	}
	return passed(categoryOperator, name, "")
}

// entryFields are the paths of all fields of a type, as JSON has them.
func entryFields(of reflect.Type, at string) []string {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return nil
	}
	var fields []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		fields = append(fields, at+name)
		fields = append(fields, entryFields(field.Type, at+name+".")...)
	}
	return fields
}

func (c *checkup) operatorDeployment(ctx context.Context) []Check {
	const name = "the operator runs"
	list, err := c.core.AppsV1().Deployments(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: operatorLabels})
	if err != nil {
		return []Check{unread(categoryOperator, name, "list Deployments in "+c.Namespace, err)}
	}
	return operatorChecks(c.Namespace, list.Items)
}

// operatorChecks decides from the Deployments with the operator's labels.
func operatorChecks(namespace string, found []appsv1.Deployment) []Check {
	const runs, tested = "the operator runs", "the operator's version is the tested one"
	i := slices.IndexFunc(found, func(d appsv1.Deployment) bool { return strings.Contains(imageOfOperator(&d), "mondoo-operator") })
	if i < 0 && len(found) > 0 {
		i = 0
	}
	if i < 0 {
		return []Check{warning(categoryOperator, runs, fmt.Sprintf("no Deployment in %s has the label %s", namespace, operatorLabels),
			"if the operator runs elsewhere, nothing; otherwise install it: https://github.com/mondoohq/mondoo-operator")}
	}
	d := &found[i]
	var checks []Check
	if d.Status.ReadyReplicas == 0 {
		checks = append(checks, failed(categoryOperator, runs, "no Pod of the Deployment "+d.Name+" is ready, so entries get no CronJob", fmt.Sprintf("kubectl -n %s describe pod -l %s", namespace, operatorLabels)))
	} else {
		checks = append(checks, passed(categoryOperator, runs, "Deployment "+namespace+"/"+d.Name))
	}
	tag := tagOf(imageOfOperator(d))
	live, err := version.ParseSemantic(tag)
	known := version.MustParseSemantic(testedOperator)
	switch {
	case err != nil:
		return append(checks, skipped(categoryOperator, tested, fmt.Sprintf("the tag %q of its image is not a version", tag)))
	case live.LessThan(known):
		return append(checks, warning(categoryOperator, tested, fmt.Sprintf("it is %s, older than v%s", tag, testedOperator), "upgrade the operator"))
	case known.LessThan(live):
		return append(checks, warning(categoryOperator, tested, fmt.Sprintf("it is %s, newer than v%s", tag, testedOperator), "look at muster status after the next scans, or for a newer Muster"))
	}
	return append(checks, passed(categoryOperator, tested, tag))
}

func imageOfOperator(d *appsv1.Deployment) string {
	for _, container := range d.Spec.Template.Spec.Containers {
		if container.Name == "manager" || len(d.Spec.Template.Spec.Containers) == 1 {
			return container.Image
		}
	}
	return ""
}

// auditConfigs checks those of the namespace.
func (c *checkup) auditConfigs(ctx context.Context) []Check {
	const name = "audit configs can be read"
	managed, err := c.managed(ctx)
	if err != nil {
		return []Check{unread(categoryOperator, name, "list ConfigMaps in "+c.Namespace, err)}
	}
	configs := map[string]map[string]any{}
	err = c.each(ctx, auditConfigKind, c.Namespace, metav1.ListOptions{}, func(u *unstructured.Unstructured) error {
		configs[u.GetName()] = u.Object
		return nil
	})
	if err != nil {
		return []Check{unread(categoryOperator, name, "list MondooAuditConfigs in "+c.Namespace, err)}
	}
	level, err := c.podSecurity(ctx)
	return append(remoteChecks(configs, managed), podSecurityCheck(c.Namespace, configs, level, err))
}

// managed are the audit configs that AuditSyncs apply to, by their inventories or by spec.auditConfig.
func (c *checkup) managed(ctx context.Context) (map[string]bool, error) {
	managed := map[string]bool{}
	for _, audit := range c.syncsOrNone(ctx) {
		if audit.Spec.AuditConfig != "" {
			managed[audit.Spec.AuditConfig] = true
		}
	}
	list, err := c.core.CoreV1().ConfigMaps(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: inventory.Label})
	if err != nil {
		return nil, err
	}
	for _, stored := range list.Items {
		if inv, err := inventory.Decode(stored.BinaryData[inventory.DataKey]); err == nil && inv.AuditConfig != "" {
			managed[inv.AuditConfig] = true
		}
	}
	return managed, nil
}

// remoteChecks finds audit configs that both Muster and Mondoo's console want to manage.
func remoteChecks(configs map[string]map[string]any, managed map[string]bool) []Check {
	const name = "the console manages no audit config of Muster"
	var checks []Check
	for _, config := range sortedKeys(configs) {
		if remote, _, _ := unstructured.NestedBool(configs[config], "spec", "remoteManaged"); remote && managed[config] {
			checks = append(checks, failed(categoryOperator, name, fmt.Sprintf("%s has spec.remoteManaged: the console's list replaces externalClusters, and Git is ignored", config),
				"turn it off in the console, or remove the field where the audit config comes from: kubectl edit mondooauditconfig "+config))
		}
	}
	if checks == nil {
		return []Check{passed(categoryOperator, name, plural(len(configs), "audit config"))}
	}
	return checks
}

func (c *checkup) podSecurity(ctx context.Context) (string, error) {
	namespace, err := c.core.CoreV1().Namespaces().Get(ctx, c.Namespace, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return namespace.Labels[controllers.PodSecurityLabel], nil
}

// podSecurityCheck: the operator mounts the agent's socket by hostPath, which the levels baseline and restricted refuse.
func podSecurityCheck(namespace string, configs map[string]map[string]any, level string, err error) Check {
	const name = "Pod Security admits the scans"
	var clusters []string
	for _, config := range sortedKeys(configs) {
		entries, _ := mondoo.Entries(configs[config])
		for _, entry := range entries {
			if _, spiffe := entry["spiffeAuth"].(map[string]any); spiffe {
				text, _ := entry["name"].(string)
				clusters = append(clusters, text)
			}
		}
	}
	switch {
	case len(clusters) == 0:
		return passed(categoryOperator, name, "no cluster uses SPIFFE")
	case err != nil:
		return unread(categoryOperator, name, "get the namespace "+namespace, err)
	case level == "baseline" || level == "restricted":
		return warning(categoryOperator, name, fmt.Sprintf("the namespace enforces %s, which rejects the Pods of SPIFFE clusters (%s)", level, some(clusters)),
			fmt.Sprintf("kubectl label namespace %s --overwrite %s=privileged", namespace, controllers.PodSecurityLabel))
	}
	return passed(categoryOperator, name, "")
}

func sortedKeys(m map[string]map[string]any) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
