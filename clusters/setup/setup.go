// Package setup lists what the authentication method of a cluster needs at the cloud and in the cluster, before the
// Mondoo Operator can scan it: as shell commands, as YAML of the cluster's RBAC, and as Terraform configuration.
//
// It takes the entry of a cluster and returns a [Setup]. It runs nothing, opens no connection and needs no key: a value
// that is encrypted or otherwise unknown becomes a variable, with a sentence about what to put there. Values come from a
// repository that anyone may have written, so each is quoted for the language in which it is printed.
package setup

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/seal"
)

// Where is where a step is done.
type Where string

// The places of a setup. The target is the cluster to scan.
const (
	Cloud      Where = "cloud"
	Vault      Where = "Vault"
	Management Where = "management cluster"
	Target     Where = "target"
)

// Step is one thing to do.
type Step struct {
	Title string
	Where Where
	// Note is what to know about the step; empty if there is nothing.
	Note string
	// Commands are lines of shell. Variables of the setup are used in the form ${NAME:?}, so that a command doesn't run
	// without them.
	Commands string
}

// Variable is a value that the cluster file doesn't tell.
type Variable struct {
	// Name is in lower case, as in Terraform. In a shell it is in upper case.
	Name string
	// Meaning is what to put there. It has no value of the repository in it.
	Meaning string
	// fallback is the usual value, or nil. find is a shell command that prints the value, or "".
	fallback text
	find     string
}

// Setup is what the method of one cluster needs.
type Setup struct {
	Cluster, AuditConfig, Namespace string
	// Method is the field of the cluster file, such as workloadIdentity, with the provider of the cloud if there is one. It
	// is empty if the entry has no method.
	Method string
	// Variables are what the steps need to know, in the order in which they are needed.
	Variables []Variable
	Steps     []Step

	// manifest has the objects that the target must have. blocks are the Terraform configuration.
	manifest string
	blocks   []block
}

// For returns the setup of an entry, which may be sealed. The entry of a quarantined cluster may lack any value.
func For(entry mondoo.Entry, auditConfig, namespace string) Setup {
	s := &Setup{Cluster: entry.Name, AuditConfig: auditConfig, Namespace: namespace}
	switch {
	case entry.WorkloadIdentity != nil:
		s.workloadIdentity(entry.WorkloadIdentity)
	case entry.VaultAuth != nil:
		s.vault(entry.VaultAuth)
	case entry.SPIFFEAuth != nil:
		s.spiffe()
	case entry.ServiceAccountAuth != nil:
		s.serviceAccount()
	case entry.KubeconfigSecretRef != nil:
		s.kubeconfig()
	}
	return *s
}

func (s *Setup) workloadIdentity(w *mondoo.WorkloadIdentity) {
	switch { // the block may be missing in a quarantined cluster
	case w.GKE != nil || w.Provider == "gke":
		s.gke(*cmp.Or(w.GKE, &mondoo.GKE{}))
	case w.EKS != nil || w.Provider == "eks":
		s.eks(*cmp.Or(w.EKS, &mondoo.EKS{}))
	case w.AKS != nil || w.Provider == "aks":
		s.aks(*cmp.Or(w.AKS, &mondoo.AKS{}))
	}
}

// scanSubject is how a cloud knows the ServiceAccount with which the operator scans the cluster.
func (s *Setup) scanSubject() text {
	return lit("system:serviceaccount:" + s.Namespace + ":" + mondoo.WorkloadIdentityServiceAccount(s.AuditConfig, s.Cluster))
}

func (s *Setup) step(where Where, title, note string, commands ...string) {
	s.Steps = append(s.Steps, Step{Title: title, Where: where, Note: note, Commands: strings.Join(commands, "\n")})
}

// variable adds a variable, unless the setup has it already.
func (s *Setup) variable(v Variable) text {
	if !slices.ContainsFunc(s.Variables, func(known Variable) bool { return known.Name == v.Name }) {
		s.Variables = append(s.Variables, v)
	}
	return text{{variable: v.Name}}
}

// ask returns a variable that the user has to set.
func (s *Setup) ask(name, meaning string) text {
	return s.variable(Variable{Name: name, Meaning: meaning})
}

// find returns a variable whose value a shell command prints.
func (s *Setup) find(name, command, meaning string) text {
	return s.variable(Variable{Name: name, Meaning: meaning, find: command})
}

// usually returns a variable with a value that may be wrong.
func (s *Setup) usually(name string, value text, meaning string) text {
	return s.variable(Variable{Name: name, Meaning: meaning, fallback: value})
}

// known returns a value of the cluster file, or asks for it if it is missing, encrypted, or would not be taken
// literally: many programs take a value that begins with - for an option, and read a file for one that begins with @.
func (s *Setup) known(value, name, meaning string) text {
	if value == "" || seal.HasHandle(value) || strings.HasPrefix(value, "-") || strings.HasPrefix(value, "@") {
		return s.ask(name, meaning)
	}
	return lit(value)
}

// matching is known for a value in which some characters would widen a permission.
func (s *Setup) matching(valid *regexp.Regexp, value, name, meaning string) text {
	if !valid.MatchString(value) {
		value = ""
	}
	return s.known(value, name, meaning)
}

func (s *Setup) targetContext() text {
	return s.ask("target_context", "the kubectl context of the cluster to scan, with the rights of an administrator")
}

func (s *Setup) managementContext() text {
	return s.ask("management_context", "the kubectl context of the cluster in which the Mondoo Operator runs")
}
