// Package v1alpha1 is the cluster file: the YAML form in which a team describes one remote Kubernetes cluster in Git.
//
// It owns the format alone: the Go types, the strict decoding of a kustomize-built resource into them, the checks on
// their values, and the JSON Schema that editors use. Both [Decode] and [ExternalCluster.Validate] report every problem
// at once, as values that name fields and never repeat what a field holds, since it may be secret.
//
// SOPS-encrypted values reach this package as opaque handles. Whoever calls it says which strings are handles; what a
// handle stands for is checked in a second call, after opening.
//
// The package never reads a file, decrypts, looks at more than one cluster, or knows how an entry is applied.
package v1alpha1

//go:generate go run ./internal/schemagen ../../config/schema/externalcluster.json
