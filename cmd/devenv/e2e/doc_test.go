// Package e2e has the tests of the whole loop, with everything real that can be: Gitea with its webhooks, the Kubernetes control
// plane, and the controller with the rights that config/rbac gives it. A stand-in takes the place of the Mondoo Operator and of
// the kubelet; package operator says what it does.
package e2e_test
