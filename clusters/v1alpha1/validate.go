package v1alpha1

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/schedule"
	"github.com/muster-gitops/muster/clusters/v1alpha1/internal/form"
)

// Validate checks the values of a cluster file and reports every problem, in the order of the format. It is called twice: with
// handles, which it skips, and again after they are opened. sealed reports whether a string is a handle. nil means that there
// are none. A certain problem is an error. A value that may work is a warning.
//
// Validate only checks that credentials are present. Package credential checks their content.
func (c *ExternalCluster) Validate(sealed func(string) bool) []Problem {
	v := &validator{sealed: orNone(sealed), mentioned: c.mentioned}
	v.name(c.Metadata.Name)
	v.warnBefore(c.Metadata.Annotations)
	v.method(c.Spec)
	v.kubeconfig(c.Spec)
	v.serviceAccount(c.Spec.ServiceAccountAuth)
	v.workloadIdentity(c.Spec.WorkloadIdentity)
	v.vault(c.Spec.VaultAuth)
	v.spiffe(c.Spec.SPIFFEAuth)
	v.renew(c.Spec)
	v.schedule(c)
	v.filters(c.Spec)
	v.registries(c.Spec)
	v.objectName(c.Spec.AuditConfig, "spec", "auditConfig")
	return v.problems
}

// PlainCredentials reports each unencrypted credential in the file: one that is neither empty nor a handle, or a private key among
// certificates. Call it before opening.
func (c *ExternalCluster) PlainCredentials(sealed func(string) bool) []Problem {
	v := &validator{sealed: orNone(sealed), mentioned: c.mentioned}
	check := func(value string, field ...string) {
		if value != "" && !v.sealed(value) {
			v.fail(CodePlainCredential, field, "is a credential in plaintext",
				"revoke the credential, because it stays in Git's history, and encrypt a new one with sops; in .sops.yaml: "+SopsRule)
		}
	}
	check(c.Spec.Kubeconfig, "spec", "kubeconfig")
	if auth := c.Spec.ServiceAccountAuth; auth != nil {
		check(auth.Token, "spec", "serviceAccountAuth", "token")
	}
	if registries := c.Spec.PrivateRegistries; registries != nil {
		check(registries.DockerConfigJSON, "spec", "privateRegistries", "dockerConfigJson")
	}
	v.privateKeys(c.Spec)
	return v.problems
}

// privateKeys reports private keys in the fields for certificates, which stay readable. Many tools keep both in one file.
func (v *validator) privateKeys(spec Spec) {
	check := func(value string, field ...string) {
		if v.checkable(value) && strings.Contains(value, "PRIVATE KEY-----") {
			v.fail(CodePlainCredential, field, "has a private key in plaintext", "leave only the certificates, and replace the key, because it stays in Git's history")
		}
	}
	if auth := spec.ServiceAccountAuth; auth != nil {
		check(auth.CACert, "spec", "serviceAccountAuth", "caCert")
	}
	if auth := spec.VaultAuth; auth != nil {
		check(auth.CACert, "spec", "vaultAuth", "caCert")
		check(auth.TargetCACert, "spec", "vaultAuth", "targetCACert")
	}
	if auth := spec.SPIFFEAuth; auth != nil {
		check(auth.TrustBundle, "spec", "spiffeAuth", "trustBundle")
	}
}

type validator struct {
	sealed    func(string) bool
	mentioned map[string]bool
	problems  []Problem
}

// fail reports an error. The message is the field's name followed by what.
func (v *validator) fail(code finding.Code, field []string, what, fix string) {
	v.report(code, finding.Error, field, what, fix)
}

// warn reports a warning.
func (v *validator) warn(code finding.Code, field []string, what, fix string) {
	v.report(code, finding.Warning, field, what, fix)
}

func (v *validator) report(code finding.Code, severity finding.Severity, field []string, what, fix string) {
	for n := range field {
		if v.mentioned[dotted(field[:n+1])] {
			return
		}
	}
	v.problems = append(v.problems, Problem{Code: code, Severity: severity, Field: slices.Clone(field), Message: dotted(field) + " " + what, Fix: fix})
}

// missing reports a missing required field, unless an unknown field was probably meant to be it.
func (v *validator) missing(fix string, field ...string) {
	if _, ok := v.mentioned[dotted(field)]; !ok {
		v.fail(CodeRequired, field, "is missing", fix)
	}
}

// checkable reports whether a value can be checked: it is set, and not a handle.
func (v *validator) checkable(value string) bool { return value != "" && !v.sealed(value) }

// required reports a missing value, and returns whether the value can be checked.
func (v *validator) required(value string, field ...string) bool {
	if value == "" {
		v.missing("", field...)
	}
	return v.checkable(value)
}

// matches reports a value that is set and open, but doesn't match the form.
func (v *validator) matches(form *regexp.Regexp, value string, code finding.Code, severity finding.Severity, field []string, what, fix string) {
	if v.checkable(value) && !form.MatchString(value) {
		v.report(code, severity, field, what, fix)
	}
}

var (
	clusterName = regexp.MustCompile(form.ClusterName)
	objectName  = regexp.MustCompile(form.ObjectName)
)

func (v *validator) name(name string) {
	field := []string{"metadata", "name"}
	if !v.required(name, field...) {
		return
	}
	if !clusterName.MatchString(name) {
		v.fail(CodeClusterName, field, "is not a name that the operator accepts", "use lower-case letters, digits and dashes, with a letter or digit at both ends")
	}
	if len(name) > form.ClusterNameMax {
		v.fail(CodeClusterName, field, "is longer than 63 characters, the limit of the operator's label cluster_name", "shorten it")
	}
}

// objectName checks the name of a Kubernetes object, if it is set.
func (v *validator) objectName(name string, field ...string) {
	if v.checkable(name) && (!objectName.MatchString(name) || len(name) > form.ObjectNameMax) {
		v.fail(CodeObjectName, field, "is not a valid name of a Kubernetes object", "use lower-case letters, digits, dashes and dots, at most 253 characters")
	}
}

// secretRef checks that a reference, if it is set, names a Secret.
func (v *validator) secretRef(ref *SecretRef, field ...string) {
	if ref == nil {
		return
	}
	field = append(slices.Clone(field), "name")
	if v.required(ref.Name, field...) {
		v.objectName(ref.Name, field...)
	}
}

func (v *validator) schedule(c *ExternalCluster) {
	if !v.checkable(c.Spec.Schedule) {
		return
	}
	// The audit config isn't known here, and doesn't affect whether the schedule is valid.
	_, err := schedule.Resolve(c.Spec.Schedule, c.Metadata.Name)
	if err == nil {
		return
	}
	fix := ""
	if refused, ok := errors.AsType[*schedule.Error](err); ok {
		fix = refused.Fix
	}
	v.fail(CodeSchedule, []string{"spec", "schedule"}, "can't be used: "+err.Error(), fix)
}

// given returns the names whose flag is set.
func given(names []string, set ...bool) []string {
	var found []string
	for i, name := range names {
		if set[i] {
			found = append(found, name)
		}
	}
	return found
}

// joinNames joins names for messages: "a", "a and b", "a, b and c".
func joinNames(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
