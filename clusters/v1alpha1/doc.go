// Package v1alpha1 is the cluster file: the YAML format in which a team describes one remote Kubernetes cluster in Git.
//
// It owns the format: the Go types, the strict decoding of a kustomize-built resource, the validation of values, and the JSON
// Schema for editors. [Decode] and [ExternalCluster.Validate] report all problems at once. A problem names a field and never
// repeats its value, which may be secret.
//
// SOPS-encrypted values reach this package as opaque handles. The caller passes a function that recognizes handles, and
// validates the plaintext in a second call, after opening.
//
// The package never reads a file, decrypts, compares clusters, or knows how an entry is applied.
package v1alpha1

//go:generate go run ./internal/schemagen ../../config/schema/externalcluster.json
