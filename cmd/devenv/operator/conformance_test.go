package operator_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// TestConformance has the stand-in show each behaviour that it is said to play. With -v it is the list to go through with a newer
// operator.
func TestConformance(t *testing.T) {
	server.SkipShort(t)
	shows := map[string]func(*testing.T){
		"order": testEntriesBecomeCronJobs, "names": testEntriesBecomeCronJobs, "inherited schedule": testNoSchedule, "rewrites": testAuditConfigsAreRewritten,
		"paused": testPausedAndBroken, "deletes Jobs": testDeletesJobs, "keeps other Jobs": testDeletesJobs, "triggers": testTriggers, "ingredients": testIngredients,
		"Vault": testVault, "undecodable": testUndecodable, "credentials": testCredentials, "registries": testRegistries, "annotations": testAnnotations,
		"own Secrets": testOwnSecrets, "foreign CronJob": testForeignCronJob,
	}
	names := map[string]bool{}
	var shown []string // one test may show two
	for _, b := range operator.Behaviours {
		if names[b.Name] = true; shows[b.Name] == nil || b.Does == "" || b.Check == "" || b.Seen == "" {
			t.Errorf("%+v is not shown, or not described", b)
			continue
		}
		if b.Name == "names" || b.Name == "keeps other Jobs" {
			continue
		}
		shown = append(shown, b.Name)
		t.Run(b.Name, func(t *testing.T) {
			t.Logf("seen in %s: it %s. By hand: %s", b.Seen, b.Does, b.Check)
			shows[b.Name](t)
		})
	}
	if len(names) != len(shows) || len(shown) != len(shows)-2 {
		t.Errorf("described are %q, shown are %q", slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(shows)))
	}
}

// serviceAccount is an entry that authenticates by the token in a Secret of its name.
func serviceAccount(name string) map[string]any {
	return map[string]any{"name": name, "serviceAccountAuth": map[string]any{"server": "https://" + name, "skipTLSVerify": false,
		"credentialsSecretRef": map[string]any{"name": name}}}
}

func vault(name string) map[string]any {
	return map[string]any{"name": name, "vaultAuth": map[string]any{"server": "https://" + name, "vaultAddr": "https://vault", "authRole": "a", "credsRole": "b"}}
}

// with makes an audit config, first changed.
func (s *stage) with(name string, change func(spec map[string]any), entries ...map[string]any) {
	s.Helper()
	o := config(s.namespace, "5 5 5 5 *")
	o.SetName(name)
	if err := mondoo.SetEntries(o.Object, entries); err != nil {
		s.Fatal(err)
	}
	if change != nil {
		change(o.Object["spec"].(map[string]any))
	}
	s.create(o)
}

// annotate makes the operator look at the audit config.
func (s *stage) annotate(value string) {
	s.Helper()
	s.change(config(s.namespace, ""), func(o client.Object) { o.SetAnnotations(map[string]string{"looked-at": value}) })
}

func (s *stage) job(name string) *batchv1.Job {
	s.Helper()
	job := &batchv1.Job{}
	if err := s.Get(s.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, job); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		s.Fatal(err)
	}
	return job
}

func (s *stage) says(text string) {
	s.Helper()
	s.eventually("the word "+text, func() bool { return strings.Contains(s.transcript(), text) })
}

// A Job of a service account cluster is gone as soon as it isn't active, whatever it came to.
func testDeletesJobs(t *testing.T) {
	s := newStage(t, "deletes-jobs")
	s.with("mondoo-client", nil, serviceAccount("sa"), entry("kc"))
	s.secret("kc", "kubeconfig", "x")
	s.untilClusters("sa", "kc")
	s.scenario(map[string]string{"kc": "fail"})

	// Suspended Jobs never begin. One has only the owner.
	suspended := func(name string, labels map[string]string) {
		c := s.cronJobs()["sa"]
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&c, batchv1.SchemeGroupVersion.WithKind("CronJob"))}}, Spec: c.Spec.JobTemplate.Spec}
		job.Spec.Suspend = new(true)
		s.create(job)
	}
	suspended("labelled", s.cronJobs()["sa"].Labels)
	suspended("unlabelled", map[string]string{"muster.dev/cluster": "sa"})
	failed := s.scan("kc", 1)
	s.ended(failed, batchv1.JobFailed)
	before := s.cronJobs()["sa"].ResourceVersion
	s.annotate("1")
	s.eventually("the Job that has not begun is gone", func() bool { return s.job("labelled") == nil })
	if s.job("unlabelled") == nil || s.job(failed) == nil {
		t.Error("it deletes Jobs that don't have the labels, or those of a CronJob that it doesn't update")
	}
	if after := s.cronJobs()["sa"].ResourceVersion; after != before {
		t.Errorf("its update changes something: %s, %s", before, after)
	}
}

// The status of a CronJob is enough.
func testTriggers(t *testing.T) {
	s := newStage(t, "triggers")
	s.with("mondoo-client", nil, vault("v"))
	s.untilClusters("v")
	token := func() string {
		secret := &corev1.Secret{}
		if err := s.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: "mondoo-client-vault-kubeconfig-v"}, secret); err != nil {
			t.Fatal(err)
		}
		return string(secret.Data["kubeconfig"])
	}
	for what, trigger := range map[string]func(){
		"an annotation": func() { s.annotate("1") },
		"a CronJob's status": func() {
			c := s.cronJobs()["v"]
			c.Status.LastScheduleTime = new(metav1.Now())
			if err := s.Status().Update(t.Context(), &c); err != nil {
				t.Fatal(err)
			}
		},
	} {
		before := token()
		trigger()
		s.eventually(what, func() bool { return token() != before })
	}
}

func testIngredients(t *testing.T) {
	s := newStage(t, "ingredients")
	s.with("mondoo-client", nil, serviceAccount("sa"), entry("kc"), vault("v"))
	s.untilClusters("sa", "kc", "v")
	has := func(o client.Object, name string) bool {
		err := s.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: name}, o)
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return err == nil
	}
	for name, o := range map[string]client.Object{"k8s-inventory-sa": &corev1.ConfigMap{}, "k8s-inventory-kc": &corev1.ConfigMap{}, "k8s-inventory-v": &corev1.ConfigMap{},
		"sa-kubeconfig-sa": &corev1.ConfigMap{}, "vault-kubeconfig-v": &corev1.Secret{}} {
		if !has(o, "mondoo-client-"+name) {
			t.Errorf("there is no %s", name)
		}
	}
	if has(&corev1.ConfigMap{}, "mondoo-client-sa-kubeconfig-kc") {
		t.Error("a kubeconfig cluster has a kubeconfig made for it")
	}
	s.setEntries(entry("kc"))
	s.untilClusters("kc")
	s.eventually("what was made for the others is gone", func() bool {
		return !has(&corev1.ConfigMap{}, "mondoo-client-k8s-inventory-sa") && !has(&corev1.Secret{}, "mondoo-client-vault-kubeconfig-v")
	})
}

func testVault(t *testing.T) {
	s := newStage(t, "vault")
	lost := vault("lost")
	lost["vaultAuth"].(map[string]any)["caCertSecretRef"] = map[string]any{"name": "gone"}
	s.with("mondoo-client", nil, entry("a"), lost, entry("b"))
	s.says("stops at entry lost: the Secret gone is missing")
	s.untilClusters("a")
	s.secret("gone", "ca.crt", "x") // which it doesn't watch, and tries again
	s.untilClusters("a", "lost", "b")
}

func testUndecodable(t *testing.T) {
	s := newStage(t, "undecodable")
	s.with("bad", func(spec map[string]any) {
		spec["containers"] = map[string]any{"scanCache": map[string]any{"cacheTTL": "1d"}}
	})
	s.says(`can't serve any audit config: bad: spec [containers scanCache cacheTTL]: time: unknown unit "d"`)
	s.with("mondoo-client", nil, entry("a"))
	s.scenario(map[string]string{"a": "explode"}) // which is told of by a look
	s.says("explode")
	s.untilClusters()
	o := config(s.namespace, "")
	o.SetName("bad")
	s.change(o, func(o client.Object) {
		if err := unstructured.SetNestedField(o.(*unstructured.Unstructured).Object, "24h", "spec", "containers", "scanCache", "cacheTTL"); err != nil {
			t.Fatal(err)
		}
	})
	s.untilClusters("a")
}

func testCredentials(t *testing.T) {
	s := newStage(t, "credentials")
	s.with("mondoo-client", func(spec map[string]any) { spec["mondooCredsSecretRef"] = map[string]any{"name": "other"} }, entry("a"))
	s.says("resource name may not be empty")
	s.untilClusters()
	s.secret("other", "config", "no JSON")
	s.untilClusters("a")
	s.with("space", func(spec map[string]any) { spec["spaceId"] = "x" }, entry("b"))
	s.says("the Mondoo credentials are not JSON")
	s.untilClusters("a")
}

func testRegistries(t *testing.T) {
	s := newStage(t, "registries")
	gke := map[string]any{"name": "gke", "containerImageScanning": true, "workloadIdentity": map[string]any{"provider": "gke", "gke": map[string]any{
		"projectId": "a", "clusterName": "b", "clusterLocation": "c", "googleServiceAccount": "d"}}}
	s.with("mondoo-client", func(spec map[string]any) {
		spec["containers"] = map[string]any{"workloadIdentity": map[string]any{"provider": "gke"}}
	}, entry("a"), gke, entry("b"))
	s.says("stops at entry gke: panic: nil pointer")
	s.untilClusters("a")
}

func testAnnotations(t *testing.T) {
	s := newStage(t, "annotations")
	s.with("mondoo-client", func(spec map[string]any) { spec["annotations"] = map[string]any{"a": strings.Repeat("x", 257)} }, entry("a"))
	s.says("invalid annotations")
	s.untilClusters()
}

func testOwnSecrets(t *testing.T) {
	s := newStage(t, "own-secrets")
	s.secret("mondoo-client-config-override", "a", "b")
	s.with("mondoo-client", nil, entry("a"))
	s.eventually("the Secret is gone", func() bool {
		return apierrors.IsNotFound(s.Get(t.Context(), client.ObjectKey{Namespace: s.namespace, Name: "mondoo-client-config-override"}, &corev1.Secret{}))
	})
}

func testForeignCronJob(t *testing.T) {
	s := newStage(t, "foreign")
	s.with("mondoo-client", nil, entry("x-y"))
	s.untilClusters("x-y")
	s.with("mondoo-client-x", nil, entry("y"), entry("z"))
	s.says("stops at entry y: its CronJob mondoo-k8s-scan-x-y is already owned by another MondooAuditConfig, mondoo-client")
	s.untilClusters("x-y")
}
