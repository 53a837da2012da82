package operator

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Names of the objects that the operator creates for an entry besides its CronJob, and of those that it keeps for an audit
// config.
func inventory(auditConfig, cluster string) string { return auditConfig + "-k8s-inventory-" + cluster }
func serviceAccountKubeconfig(auditConfig, cluster string) string {
	return auditConfig + "-sa-kubeconfig-" + cluster
}
func vaultKubeconfig(auditConfig, cluster string) string {
	return auditConfig + "-vault-kubeconfig-" + cluster
}

func ownSecrets(auditConfig string) []string {
	return []string{auditConfig + "-config-override", auditConfig + "-scan-api-token", auditConfig + "-private-registries-merged"}
}

// deleteOwnSecrets deletes Secrets with the names of the operator's own, whoever created them: nothing here uses them.
func (r *auditConfigs) deleteOwnSecrets(ctx context.Context, config *unstructured.Unstructured) error {
	for _, name := range ownSecrets(config.GetName()) {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: config.GetNamespace(), Name: name}}
		if err := client.IgnoreNotFound(r.Delete(ctx, secret)); err != nil {
			return err
		}
	}
	return nil
}

// credentials returns a stop if the Mondoo credentials can't be used.
func (r *auditConfigs) credentials(ctx context.Context, config *unstructured.Unstructured) error {
	name, _, _ := unstructured.NestedString(config.Object, "spec", "mondooCredsSecretRef", "name")
	secret := &corev1.Secret{}
	err := r.Get(ctx, client.ObjectKey{Namespace: config.GetNamespace(), Name: name}, secret)
	if name == "" || apierrors.IsNotFound(err) {
		return &stop{"", "resource name may not be empty"}
	}
	if err != nil {
		return err
	}
	if space, _, _ := unstructured.NestedString(config.Object, "spec", "spaceId"); space != "" && !jsonObject(secret.Data[mondoo.KeyMondooConfig]) {
		return &stop{"", "spec.spaceId is set, and the Mondoo credentials are not JSON"}
	}
	return nil
}

// ingredients creates the objects that the Pods of an entry mount: the inventory, and for two methods a kubeconfig. Vault's
// is written every time.
func (r *auditConfigs) ingredients(ctx context.Context, config *unstructured.Unstructured, e mondoo.Entry, scenario Scenario) error {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: config.GetNamespace(), Name: name, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(config, config.GroupVersionKind())}}
	}
	if scenario.Clusters[e.Name] == Refuse {
		return &stop{e.Name, "the login to Vault fails, according to the scenario"}
	}
	if e.VaultAuth != nil {
		for _, ref := range []*mondoo.SecretRef{e.VaultAuth.CACertSecretRef, e.VaultAuth.TargetCACertSecretRef} {
			if ref == nil || ref.Name == "" {
				continue
			}
			if err := r.Get(ctx, client.ObjectKey{Namespace: config.GetNamespace(), Name: ref.Name}, &corev1.Secret{}); apierrors.IsNotFound(err) {
				return &stop{e.Name, "the Secret " + ref.Name + " is missing"}
			} else if err != nil {
				return err
			}
		}
		secret := &corev1.Secret{ObjectMeta: meta(vaultKubeconfig(config.GetName(), e.Name)), Data: map[string][]byte{mondoo.KeyKubeconfig: []byte(rand.Text())}}
		if err := r.write(ctx, secret, &corev1.Secret{}, func(live client.Object) { live.(*corev1.Secret).Data = secret.Data }); err != nil {
			return err
		}
	}
	if a := e.ServiceAccountAuth; a != nil {
		if err := r.configMap(ctx, meta(serviceAccountKubeconfig(config.GetName(), e.Name)), map[string]any{"server": a.Server, "skipTLSVerify": a.SkipTLSVerify}); err != nil {
			return err
		}
	}
	return r.configMap(ctx, meta(inventory(config.GetName(), e.Name)), inventoryOf(config, e))
}

// inventoryOf is the configuration of a scan, including what the entry inherits.
func inventoryOf(config *unstructured.Unstructured, e mondoo.Entry) map[string]any {
	filtering, _, _ := unstructured.NestedFieldNoCopy(config.Object, "spec", "filtering")
	repositories, _, _ := unstructured.NestedFieldNoCopy(config.Object, "spec", "containers", "repositories")
	content := map[string]any{"filtering": filtering, "images": e.ContainerImageScanning, "repositories": repositories}
	if e.Filtering != nil {
		content["filtering"] = e.Filtering
	}
	if e.Repositories != nil {
		content["repositories"] = e.Repositories
	}
	return content
}

func (r *auditConfigs) configMap(ctx context.Context, meta metav1.ObjectMeta, content map[string]any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	wanted := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"content": string(text)}}
	return r.write(ctx, wanted, &corev1.ConfigMap{}, func(live client.Object) { live.(*corev1.ConfigMap).Data = maps.Clone(wanted.Data) })
}

// write creates an object, or updates it if it differs.
func (r *auditConfigs) write(ctx context.Context, wanted, live client.Object, change func(live client.Object)) error {
	err := r.Get(ctx, client.ObjectKeyFromObject(wanted), live)
	if apierrors.IsNotFound(err) {
		return r.Create(ctx, wanted, fieldOwner)
	}
	if err != nil {
		return err
	}
	before := live.DeepCopyObject()
	if change(live); equality.Semantic.DeepEqual(before, live) {
		return nil
	}
	return r.Update(ctx, live, fieldOwner)
}

func (r *auditConfigs) deleteIngredients(ctx context.Context, config *unstructured.Unstructured, cluster string) error {
	at := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: config.GetNamespace(), Name: name}
	}
	for _, o := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: at(inventory(config.GetName(), cluster))}, &corev1.ConfigMap{ObjectMeta: at(serviceAccountKubeconfig(config.GetName(), cluster))},
		&corev1.Secret{ObjectMeta: at(vaultKubeconfig(config.GetName(), cluster))},
	} {
		if err := client.IgnoreNotFound(r.Delete(ctx, o)); err != nil {
			return err
		}
	}
	return nil
}
