// Package v1alpha1 is the API of muster.dev/v1alpha1: AuditSync, the one resource that Muster adds to Kubernetes.
//
// An AuditSync says: this path of this repository drives the audit configs of this namespace. It holds policy, which no
// branch or pull request can change. What it refers to (Secrets, audit configs) is in its own namespace.
//
// +kubebuilder:object:generate=true
// +groupName=muster.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of this API.
var GroupVersion = schema.GroupVersion{Group: "muster.dev", Version: "v1alpha1"}

// AddToScheme registers the types of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &AuditSync{}, &AuditSyncList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
