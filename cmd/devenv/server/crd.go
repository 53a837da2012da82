package server

import (
	"bytes"
	"context"
	_ "embed" // for the CRD
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

//go:embed mondooauditconfig.crd.yaml
var mondooAuditConfigCRD []byte

// MondooAuditConfigCRD returns the CustomResourceDefinition of MondooAuditConfig (k8s.mondoo.com/v1alpha2) in YAML. It is a
// substitute that Muster's authors wrote from documented behaviour, for tests and the demo; it is not Mondoo's own file.
func MondooAuditConfigCRD() []byte { return bytes.Clone(mondooAuditConfigCRD) }

// InstallCRDs applies the CustomResourceDefinitions in the YAML documents and waits until the API server serves them: each
// is established and found by discovery. Empty documents are skipped, other kinds are an error.
func InstallCRDs(ctx context.Context, cfg *rest.Config, documents ...[]byte) error {
	client, err := clientset.NewForConfig(cfg)
	if err != nil {
		return err
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, d := range documents {
		parsed, err := parseCRDs(d)
		if err != nil {
			return err
		}
		crds = append(crds, parsed...)
	}
	for _, crd := range crds {
		if err := applyCRD(ctx, client, crd); err != nil {
			return fmt.Errorf("apply CustomResourceDefinition %s: %w", crd.Name, err)
		}
	}
	for _, crd := range crds {
		if err := awaitCRD(ctx, client, crd); err != nil {
			return fmt.Errorf("wait for CustomResourceDefinition %s: %w", crd.Name, err)
		}
	}
	return nil
}

func parseCRDs(documents []byte) (crds []*apiextensionsv1.CustomResourceDefinition, err error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(documents), 4096)
	for {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := decoder.Decode(&crd); errors.Is(err, io.EOF) {
			return crds, nil
		} else if err != nil {
			return nil, fmt.Errorf("read CustomResourceDefinition: %w", err)
		}
		if crd.Kind == "" && crd.Name == "" {
			continue
		}
		if crd.Kind != "CustomResourceDefinition" {
			return nil, fmt.Errorf("install %s %s: not a CustomResourceDefinition", crd.Kind, crd.Name)
		}
		crds = append(crds, &crd)
	}
}

func applyCRD(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	crd.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	body, err := json.Marshal(crd)
	if err != nil {
		return err
	}
	force := true
	_, err = client.ApiextensionsV1().CustomResourceDefinitions().Patch(ctx, crd.Name, types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: "devenv", Force: &force})
	return err
}

// awaitCRD polls, because discovery can't be watched.
func awaitCRD(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		served, err := crdServed(ctx, client, crd)
		if served || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func crdServed(ctx context.Context, client clientset.Interface, crd *apiextensionsv1.CustomResourceDefinition) (bool, error) {
	live, err := client.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, crd.Name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	for _, c := range live.Status.Conditions {
		if c.Type == apiextensionsv1.NamesAccepted && c.Status == apiextensionsv1.ConditionFalse {
			return false, fmt.Errorf("names not accepted: %s", c.Message)
		}
	}
	established := slices.ContainsFunc(live.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
	if !established {
		return false, nil
	}
	for _, v := range live.Spec.Versions {
		if found, err := discovered(client.Discovery(), live, v.Name); v.Served && (!found || err != nil) {
			return false, err
		}
	}
	return true, nil
}

func discovered(client discovery.DiscoveryInterface, crd *apiextensionsv1.CustomResourceDefinition, version string) (bool, error) {
	list, err := client.ServerResourcesForGroupVersion(crd.Spec.Group + "/" + version)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == crd.Spec.Names.Plural }), nil
}
