package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

const (
	demoNamespace   = "mondoo-operator" // where config/default installs Muster
	demoUser        = "system:serviceaccount:" + demoNamespace + ":muster"
	demoSync        = "fleet"
	demoAuditConfig = "mondoo-client"
	demoInterval    = 5 * time.Second
)

var demoGroups = []string{"system:serviceaccounts", "system:serviceaccounts:" + demoNamespace, "system:authenticated"}

// demoCluster is the demo's access to the API server, as admin.
type demoCluster struct {
	config *rest.Config
	client client.Client
	stop   func() // ends the watch
}

// install does what a platform team does once: it applies the CRDs, config/default, and the Secrets that an AuditSync refers
// to. It omits the Deployment, because nothing runs Pods here.
func (d *demo) install(ctx context.Context, root string) (err error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	d.cluster = &demoCluster{config: d.plane.Config()}
	if d.cluster.client, err = client.New(d.cluster.config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	crds, err := built(root, "crd")
	if err != nil {
		return err
	}
	if err := server.InstallCRDs(ctx, d.cluster.config, server.MondooAuditConfigCRD(), crds); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(root, "examples", "age-test-key.txt"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.file("sops-key.txt"), key, 0o600); err != nil {
		return err
	}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: demoNamespace}},
		secret("sops-keys", map[string]string{"test.agekey": string(key)}),
		secret("mondoo-client", map[string]string{"config": `{"demo": true}`}), // without it the operator creates nothing
	}
	if d.forge != nil {
		objects = append(objects, d.forge.secrets()...)
	} else {
		objects = append(objects, secret("fleet-git", map[string]string{"username": gitUsername, "password": gitPassword}))
	}
	for _, o := range objects {
		if err := d.cluster.client.Create(ctx, o); err != nil {
			return fmt.Errorf("create %s: %w", o.GetName(), err)
		}
	}
	return d.cluster.installMuster(ctx, root)
}

func (c *demoCluster) installMuster(ctx context.Context, root string) error {
	documents, err := built(root, "default")
	if err != nil {
		return err
	}
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(documents), 4096); ; {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read config/default: %w", err)
		}
		if o.GetKind() == "Deployment" || o.GetKind() == "CustomResourceDefinition" {
			continue
		}
		err := c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("devenv"), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
}

// built is the output of `kubectl kustomize` for a folder of config/.
func built(root, folder string) ([]byte, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(root, "config", folder))
	if err != nil {
		return nil, fmt.Errorf("build config/%s: %w", folder, err)
	}
	return resources.AsYaml()
}

func secret(name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: demoNamespace, Name: name}, StringData: data}
}

// createSync creates the AuditSync of the quickstart for the repository of the demo. Without a forge there are no webhooks,
// so its interval is shorter.
func (d *demo) createSync(ctx context.Context, root string) error {
	content, err := os.ReadFile(filepath.Join(root, "examples", "quickstart", "auditsync.yaml"))
	if err != nil {
		return err
	}
	sync := &v1alpha1.AuditSync{}
	if err := yaml.UnmarshalStrict(content, sync); err != nil {
		return fmt.Errorf("read the AuditSync of examples/quickstart: %w", err)
	}
	sync.Spec.Source.URL = d.repositoryURL()
	sync.Spec.Source.SecretRef = &v1alpha1.SecretRef{Name: "fleet-git"}
	if d.forge != nil {
		d.forge.use(sync)
	} else {
		sync.Spec.Interval = &metav1.Duration{Duration: demoInterval}
	}
	return d.cluster.client.Create(ctx, sync)
}

func (c *demoCluster) sync(ctx context.Context) (*v1alpha1.AuditSync, error) {
	sync := &v1alpha1.AuditSync{}
	return sync, c.client.Get(ctx, client.ObjectKey{Namespace: demoNamespace, Name: demoSync}, sync)
}

// ready reports whether the AuditSync is ready, with its message.
func (c *demoCluster) ready(ctx context.Context) (bool, string) {
	sync, err := c.sync(ctx)
	if err != nil {
		return false, err.Error()
	}
	condition := meta.FindStatusCondition(sync.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return false, "the controller has not reconciled it yet"
	}
	return condition.Status == metav1.ConditionTrue, condition.Message
}
