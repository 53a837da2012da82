// Package v1alpha1 is the API muster.dev/v1alpha1: AuditSync, the only resource that Muster adds to Kubernetes.
//
// An AuditSync syncs the audit configs of its namespace from a path in a repository. It contains policy, which no branch or pull
// request can change. Everything that it refers to (Secrets, audit configs) is in its namespace.
//
// +kubebuilder:object:generate=true
// +groupName=muster.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

//go:generate go run ../internal/schemagen ../../../config/crd/muster.dev_auditsyncs.yaml ../../../config/schema/auditsync.json

// GroupVersion is the group and version of this API.
var GroupVersion = schema.GroupVersion{Group: "muster.dev", Version: "v1alpha1"}

// AddToScheme registers the types of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &AuditSync{}, &AuditSyncList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
