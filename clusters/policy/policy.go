// Package policy is what an AuditSync allows a repository: the Vault servers that clusters may name, and the fields of
// MondooAuditConfigs that name Secrets, choose code or change privileges.
//
// A Policy is a value. In the controller it comes from the AuditSync that is applied; offline, from a manifest of it. Nothing in the
// repository that is rendered changes what the controller allows. The zero value allows nothing.
package policy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Codes of this package's findings.
const (
	CodeNotAllowed    finding.Code = "audit-config-not-allowed" // a field of an audit config that the AuditSync does not allow
	CodeUnreadable    finding.Code = "audit-config-field"       // a field that the operator can't read
	CodeReserved      finding.Code = "secret-reserved"          // an audit config names a Secret of Muster's
	CodeRemoteManaged finding.Code = "remote-managed"           // Mondoo's console replaces the list of clusters
	CodeVault         finding.Code = "vault-not-allowed"        // an address of Vault that the AuditSync does not allow
)

// The fields of an AuditSync that a policy is made from.
const (
	FieldAllow = "spec.auditConfigs.allow"
	FieldVault = "spec.vaultAuth.addresses"
)

// Policy is what a repository may say.
type Policy struct {
	// Source names the AuditSync for people, such as "the AuditSync production". Empty where none is known; nothing is allowed then.
	Source string
	// VaultAddresses are the Vault servers that clusters may name in vaultAuth, as https://host or https://host:port.
	VaultAddresses []string
	// Allow are the fields that audit configs in Git may have: FIELD=VALUE allows one value, FIELD any value and all fields below it.
	// A field that names a Secret is allowed by FIELD=NAME alone. A FIELD is written from spec on, such as scanner.image.tag.
	Allow []string
	// Reserved are the Secrets that AuditSyncs use themselves, with what uses each. No audit config may name one, whatever is allowed.
	Reserved map[string]string
}

// Key stands for all that a policy decides by.
func (p Policy) Key() string {
	data, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("policy: %v", err)) // texts can always be written
	}
	return string(data)
}

// VaultAddress says what is wrong with the address of Vault in a cluster; nil where it is allowed. The operator sends its own
// ServiceAccount's token there, so that whoever chooses it could log in to the management cluster.
func (p Policy) VaultAddress(address string) *v1alpha1.Problem {
	field := []string{"spec", "vaultAuth", "vaultAddr"}
	origin, ok := Origin(address)
	if !ok {
		return &v1alpha1.Problem{Code: v1alpha1.CodeVaultAddress, Severity: finding.Error, Field: field,
			Message: "spec.vaultAuth.vaultAddr is not the address of a server", Fix: "write https://host or https://host:port, without a path"}
	}
	if slices.ContainsFunc(p.VaultAddresses, func(allowed string) bool { o, ok := Origin(allowed); return ok && o == origin }) {
		return nil
	}
	return &v1alpha1.Problem{Code: CodeVault, Severity: finding.Error, Field: field,
		Message: fmt.Sprintf("the operator would send its own token to %s, which is not among the Vault servers that %s allows", origin, p.source()),
		Fix:     p.toAllow("if this Vault is yours", origin, FieldVault)}
}

// Origin is an https address in the one form in which addresses are compared: lower-case host, and a port that is not 443. It takes
// nothing with a path, a query or credentials, and no other scheme.
func Origin(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(address, "#") ||
		u.Path != "" && u.Path != "/" || u.Opaque != "" || strings.ContainsAny(u.Host, "%\\ ") || strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	switch port := u.Port(); {
	case port != "" && port != "443":
		return "https://" + net.JoinHostPort(host, port), true
	case strings.Contains(host, ":"):
		return "https://[" + host + "]", true
	}
	return "https://" + host, true
}

// AuditConfig says what of an audit config, as kustomize has built it, is not allowed or can't be read. Its list of clusters is
// not looked at.
func (p Policy) AuditConfig(object map[string]any) []v1alpha1.Problem {
	uses, bad := mondoo.Inspect(object)
	var problems []v1alpha1.Problem
	for _, b := range bad {
		problems = append(problems, Unreadable(b))
	}
	if mondoo.RemoteManaged(object) {
		problems = append(problems, v1alpha1.Problem{Code: CodeRemoteManaged, Severity: finding.Error, Field: []string{"spec", "remoteManaged"},
			Message: "with remoteManaged, Mondoo's console replaces the list of clusters, and Git is ignored", Fix: "take remoteManaged out"})
	}
	for _, u := range uses {
		if name, user := p.reserved(object, u); name != "" {
			problems = append(problems, v1alpha1.Problem{Code: CodeReserved, Severity: finding.Error, Field: u.Field,
				Message: fmt.Sprintf("%s names the Secret %s, which is for %s alone", dotted(u.Field), name, user), Fix: "name another Secret"})
			continue
		}
		if !p.allows(u) {
			problems = append(problems, p.notAllowed(u))
		}
	}
	return problems
}

// Unreadable is the problem that a field of an audit config is which the operator can't work with.
func Unreadable(b mondoo.FieldError) v1alpha1.Problem {
	p := v1alpha1.Problem{Code: CodeUnreadable, Severity: finding.Error, Field: b.Field, Message: dotted(b.Field) + " is no field of a MondooAuditConfig", Fix: "take it out"}
	if b.Problem != "" {
		p.Message, p.Fix = dotted(b.Field)+" "+b.Problem, b.Fix
	}
	if b.Want != "" {
		p.Message, p.Fix = dotted(b.Field)+" is not "+b.Want+", and the operator can't read the audit config", "write "+b.Want
	}
	return p
}

func (p Policy) notAllowed(u mondoo.Use) v1alpha1.Problem {
	entry := u.Path()
	if u.Single {
		entry += "=" + u.Value
	}
	problem := v1alpha1.Problem{Code: CodeNotAllowed, Severity: finding.Error, Field: u.Field, Fix: p.toAllow("if it is meant", entry, FieldAllow)}
	field := dotted(u.Field)
	switch u.Class {
	case mondoo.NamesSecret:
		problem.Message = fmt.Sprintf("%s names the Secret %s, which %s does not allow", field, u.Value, p.source())
	case mondoo.UnknownField:
		problem.Message = fmt.Sprintf("%s is not a field of MondooAuditConfig that Muster knows, and %s does not allow it", field, p.source())
		problem.Fix = "correct the name; or, for a newer operator, " + strings.TrimPrefix(problem.Fix, "if it is meant, ")
	default:
		problem.Message = fmt.Sprintf("%s %s, and %s does not allow it", field, u.Class, p.source())
	}
	return problem
}

// allows says whether a field is on the list.
func (p Policy) allows(u mondoo.Use) bool {
	path := u.Path()
	return slices.ContainsFunc(p.Allow, func(entry string) bool {
		if field, value, one := strings.Cut(entry, "="); one {
			return field == path && u.Single && value == u.Value
		}
		return u.Class != mondoo.NamesSecret && (entry == path || strings.HasPrefix(path, entry+"."))
	})
}

// reserved finds the name of a Secret of Muster's in a field, or in any text below it.
func (p Policy) reserved(object map[string]any, u mondoo.Use) (name, user string) {
	owner := func(name string) string {
		if mondoo.IsMade(name) {
			return "the cluster whose credentials it holds"
		}
		return p.Reserved[name]
	}
	if user := owner(u.Value); u.Single && user != "" {
		return u.Value, user
	}
	for text := range mondoo.Texts(mondoo.At(object, u.Field)) {
		if user := owner(text); user != "" {
			return text, user
		}
	}
	return "", ""
}

func (p Policy) source() string {
	if p.Source == "" {
		return "the default policy"
	}
	return p.Source
}

// toAllow is how to allow something: the line that the AuditSync needs.
func (p Policy) toAllow(when, entry, field string) string {
	line := fmt.Sprintf("add the line %q to %s of ", "- "+entry, field)
	if p.Source == "" {
		return when + ", " + line + "the AuditSync; no AuditSync with this path was found, --policy FILE names one"
	}
	return when + ", " + line + p.Source
}

// dotted joins a field path, indexes without a dot.
func dotted(field []string) string { return v1alpha1.Problem{Field: field}.Path() }
