package operator

import (
	"encoding/json"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

const (
	containerName = "mondoo-k8s-scan"
	// image can't be pulled; nothing here ever runs.
	image = "registry.example.com/stand-in-for-the-scanner:none"
	// annotationWanted holds the CronJob before the API server added defaults.
	annotationWanted = "stand-in.muster.dev/made-from"
)

// cronJob is the CronJob that the operator creates for an entry.
func cronJob(config *unstructured.Unstructured, entry mondoo.Entry, suspended bool) *batchv1.CronJob {
	labels := mondoo.ScanLabels(config.GetName(), entry.Name)
	one := int32(1)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(config, entry)}
	c := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: config.GetNamespace(), Name: CronJobName(config.GetName(), entry.Name), Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(config, config.GroupVersionKind())},
		},
		Spec: batchv1.CronJobSpec{
			Schedule: schedule(config, entry), Suspend: &suspended, ConcurrencyPolicy: batchv1.ForbidConcurrent,
			SuccessfulJobsHistoryLimit: &one, FailedJobsHistoryLimit: &one,
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       batchv1.JobSpec{BackoffLimit: new(int32), Template: template},
			},
		},
	}
	wanted, err := json.Marshal(c.Spec)
	if err != nil {
		panic(err) // this function built the value
	}
	c.Annotations = map[string]string{annotationWanted: sum(string(wanted))}
	return c
}

// schedule is the entry's, or the audit config's, which may be empty.
func schedule(config *unstructured.Unstructured, entry mondoo.Entry) string {
	if entry.Schedule != "" {
		return entry.Schedule
	}
	inherited, _, _ := unstructured.NestedString(config.Object, "spec", "kubernetesResources", "schedule")
	return inherited
}

func podSpec(config *unstructured.Unstructured, e mondoo.Entry) corev1.PodSpec {
	auditConfig := config.GetName()
	spec := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: new(bool),
		Containers: []corev1.Container{{Name: containerName, Image: image, Resources: resources(config)}},
	}
	mount := func(secret string, keys ...string) {
		source := &corev1.SecretVolumeSource{SecretName: secret}
		for _, key := range keys {
			source.Items = append(source.Items, corev1.KeyToPath{Key: key, Path: key})
		}
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "secret-" + strconv.Itoa(len(spec.Volumes)), VolumeSource: corev1.VolumeSource{Secret: source}})
	}
	switch {
	case e.KubeconfigSecretRef != nil:
		mount(e.KubeconfigSecretRef.Name, mondoo.KeyKubeconfig)
	case e.VaultAuth != nil:
		mount(vaultKubeconfig(auditConfig, e.Name), mondoo.KeyKubeconfig)
	case e.ServiceAccountAuth != nil:
		// Without a defaultMode, which is why each reconcile updates the CronJob.
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "kubeconfig", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: serviceAccountKubeconfig(auditConfig, e.Name)}}}})
		mount(e.ServiceAccountAuth.CredentialsSecretRef.Name, mondoo.KeyToken, mondoo.KeyCACert)
	case e.SPIFFEAuth != nil:
		mount(e.SPIFFEAuth.TrustBundleSecretRef.Name, mondoo.KeyCACert)
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "agent", VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: e.SPIFFEAuth.SocketPath}}})
	case e.WorkloadIdentity != nil:
		spec.ServiceAccountName = mondoo.WorkloadIdentityServiceAccount(auditConfig, e.Name)
	}
	if e.PrivateRegistriesPullSecretRef != nil {
		mount(e.PrivateRegistriesPullSecretRef.Name, mondoo.KeyDockerConfigJSON)
	}
	return spec
}

// resources are the audit config's for scanners, if it has any.
func resources(config *unstructured.Unstructured) corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{}
	if given, ok := mondoo.At(config.Object, []string{"spec", "scanner", "resources"}).(map[string]any); ok && len(given) > 0 {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(given, &r); err == nil { // invalid values were found before
			return r
		}
	}
	r.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("300Mi")}
	return r
}

// refused is the reason why the operator can't use an entry, or empty. Other errors in an entry make the API server reject
// its CronJob.
func refused(config *unstructured.Unstructured, e mondoo.Entry) string {
	methods := 0
	for _, given := range []bool{e.KubeconfigSecretRef != nil, e.ServiceAccountAuth != nil, e.WorkloadIdentity != nil, e.SPIFFEAuth != nil, e.VaultAuth != nil} {
		if given {
			methods++
		}
	}
	if methods != 1 {
		return "it has " + strconv.Itoa(methods) + " authentication methods"
	}
	if e.WorkloadIdentity == nil || !e.ContainerImageScanning || e.PrivateRegistriesPullSecretRef != nil {
		return ""
	}
	registries, set, _ := unstructured.NestedMap(config.Object, "spec", "containers", "workloadIdentity")
	provider, _ := registries["provider"].(string)
	if _, has := registries[provider].(map[string]any); set && !has {
		return "panic: nil pointer, because containers.workloadIdentity has no block for its provider"
	}
	return ""
}
