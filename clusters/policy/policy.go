// Package policy decides what an AuditSync allows a repository: which Vault servers clusters may name, and which fields
// of MondooAuditConfigs may name Secrets, choose code or change privileges.
//
// A Policy is a value. The controller makes it from the live AuditSync, the command line from a manifest of it. Nothing
// in the rendered repository changes what the controller allows. The zero value allows nothing.
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
	CodeReserved      finding.Code = "secret-reserved"          // an audit config names a Secret that is reserved for Muster
	CodeRemoteManaged finding.Code = "remote-managed"           // Mondoo's console replaces the list of clusters
	CodeVault         finding.Code = "vault-not-allowed"        // a Vault address that the AuditSync does not allow

	CodeSource finding.Code = "credential-source-not-allowed" // credentials from where the AuditSync does not allow to read
)

// The fields of an AuditSync that a policy is made from.
const (
	FieldAllow = "spec.auditConfigs.allow"
	FieldVault = "spec.vaultAuth.addresses"
)

// Policy is what an AuditSync allows.
type Policy struct {
	// Source names the AuditSync in messages, such as "the AuditSync production". It is empty if none is known, and
	// then nothing is allowed.
	Source string
	// VaultAddresses are the Vault servers that clusters may name in vaultAuth, as https://host or https://host:port.
	VaultAddresses []string
	// Allow are the fields that audit configs in Git may have. FIELD=VALUE allows one value, FIELD any value and all
	// fields below it. A field that names a Secret is only allowed by FIELD=NAME. FIELD begins below spec, such as
	// scanner.image.tag.
	Allow []string
	// Credentials are what credentials may be read from.
	Credentials Sources
	// Reserved are the Secrets that AuditSyncs themselves use, with the user of each. No audit config may name one,
	// even if allowed.
	Reserved map[string]string
}

// Key identifies everything that a policy depends on.
func (p Policy) Key() string {
	data, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("policy: %v", err)) // strings never fail
	}
	return string(data)
}

// VaultAddress returns what is wrong with a cluster's Vault address, or nil if it is allowed. The operator sends its
// own ServiceAccount's token there, so anyone who can choose it could log in to the management cluster.
func (p Policy) VaultAddress(address string) *v1alpha1.Problem {
	field := []string{"spec", "vaultAuth", "vaultAddr"}
	origin, ok := Origin(address)
	if !ok {
		return &v1alpha1.Problem{Code: v1alpha1.CodeVaultAddress, Severity: finding.Error, Field: field,
			Message: "spec.vaultAuth.vaultAddr is not the address of a server", Fix: "use https://host or https://host:port, without a path"}
	}
	if slices.ContainsFunc(p.VaultAddresses, func(allowed string) bool { o, ok := Origin(allowed); return ok && o == origin }) {
		return nil
	}
	return &v1alpha1.Problem{Code: CodeVault, Severity: finding.Error, Field: field,
		Message: fmt.Sprintf("the operator would send its own token to %s, which is not one of the Vault servers that %s allows", origin, p.source()),
		Fix:     p.toAllow("if this Vault is yours", origin, FieldVault)}
}

// Origin returns an https address in a normal form for comparison: with a lower-case host, and a port only if it is not
// 443. It refuses any path, query or credentials, and other schemes.
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

// AuditConfig returns what is not allowed or not readable in an audit config built by kustomize. It ignores the list of
// clusters.
func (p Policy) AuditConfig(object map[string]any) []v1alpha1.Problem {
	uses, unreadable := mondoo.Inspect(object)
	var problems []v1alpha1.Problem
	for _, b := range unreadable {
		problems = append(problems, Unreadable(b))
	}
	if mondoo.RemoteManaged(object) {
		problems = append(problems, v1alpha1.Problem{Code: CodeRemoteManaged, Severity: finding.Error, Field: []string{"spec", "remoteManaged"},
			Message: "with remoteManaged, Mondoo's console replaces the list of clusters, and Git is ignored", Fix: "remove remoteManaged"})
	}
	for _, u := range uses {
		if name, user := p.reserved(object, u); name != "" {
			problems = append(problems, v1alpha1.Problem{Code: CodeReserved, Severity: finding.Error, Field: u.Field,
				Message: fmt.Sprintf("%s names the Secret %s, which only %s may use", dotted(u.Field), name, user), Fix: "name another Secret"})
			continue
		}
		if !p.allows(u) {
			problems = append(problems, p.notAllowed(u))
		}
	}
	return problems
}

// Unreadable returns the problem for a field that the operator can't use.
func Unreadable(b mondoo.FieldError) v1alpha1.Problem {
	p := v1alpha1.Problem{Code: CodeUnreadable, Severity: finding.Error, Field: b.Field, Message: dotted(b.Field) + " is not a field of MondooAuditConfig", Fix: "remove it"}
	if b.Problem != "" {
		p.Message, p.Fix = dotted(b.Field)+" "+b.Problem, b.Fix
	}
	if b.Want != "" {
		p.Message, p.Fix = dotted(b.Field)+" is not "+b.Want+", and the operator can't read the audit config", "set it to "+b.Want
	}
	return p
}

func (p Policy) notAllowed(u mondoo.Use) v1alpha1.Problem {
	entry := u.Path()
	if u.Single {
		entry += "=" + u.Value
	}
	problem := v1alpha1.Problem{Code: CodeNotAllowed, Severity: finding.Error, Field: u.Field, Fix: p.toAllow("if it is intended", entry, FieldAllow)}
	field := dotted(u.Field)
	switch u.Class {
	case mondoo.NamesSecret:
		problem.Message = fmt.Sprintf("%s names the Secret %s, which %s does not allow", field, u.Value, p.source())
	case mondoo.UnknownField:
		problem.Message = fmt.Sprintf("%s is not a known field of MondooAuditConfig, and %s does not allow it", field, p.source())
		problem.Fix = "correct the name; or, for a newer operator, " + strings.TrimPrefix(problem.Fix, "if it is intended, ")
	default:
		problem.Message = fmt.Sprintf("%s %s, and %s does not allow it", field, u.Class, p.source())
	}
	return problem
}

// allows reports whether a field is allowed.
func (p Policy) allows(u mondoo.Use) bool {
	path := u.Path()
	return slices.ContainsFunc(p.Allow, func(entry string) bool {
		if field, value, one := strings.Cut(entry, "="); one {
			return field == path && u.Single && value == u.Value
		}
		return u.Class != mondoo.NamesSecret && (entry == path || strings.HasPrefix(path, entry+"."))
	})
}

// reserved finds the name of a reserved Secret in a field, or in any string below it.
func (p Policy) reserved(object map[string]any, u mondoo.Use) (name, user string) {
	owner := func(name string) string {
		if mondoo.IsMade(name) {
			return "the cluster whose credentials it contains"
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

// toAllow returns how to allow something: the line to add to the AuditSync.
func (p Policy) toAllow(when, entry, field string) string {
	line := fmt.Sprintf("add the line %q to %s of ", "- "+entry, field)
	if p.Source == "" {
		return when + ", " + line + "the AuditSync; no AuditSync with this path was found; use --policy FILE to name one"
	}
	return when + ", " + line + p.Source
}

// dotted joins a field path with dots, except before indexes.
func dotted(field []string) string { return v1alpha1.Problem{Field: field}.Path() }
