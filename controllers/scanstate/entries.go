package scanstate

import (
	"maps"
	"time"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/v1alpha1"
)

// Entries returns the entries of a live audit config in order, all with the same time of application. The error is a
// *mondoo.ShapeError.
func Entries(auditConfig map[string]any, applied time.Time) ([]Entry, error) {
	list, err := mondoo.Entries(auditConfig)
	if err != nil {
		return nil, err
	}
	inherits := !mondoo.NeedsSchedule(auditConfig)
	entries := make([]Entry, len(list))
	for i, item := range list {
		e := Entry{Applied: applied, Invalid: invalid(item)}
		e.Name, _ = item["name"].(string)
		_, e.Vault = item["vaultAuth"].(map[string]any)
		own, _ := item["schedule"].(string)
		e.NoSchedule = own == "" && !inherits
		entries[i] = e
	}
	return entries, nil
}

// ScanningPaused returns the audit config's status.scanningPaused.
func ScanningPaused(auditConfig map[string]any) bool {
	status, _ := auditConfig["status"].(map[string]any)
	paused, _ := status["scanningPaused"].(bool)
	return paused
}

// invalid returns why the operator would reject an entry, or "". It validates the entry as a cluster file and returns the first error.
// Unknown fields are skipped: the CRD only admits them if they come from a newer operator. Vault addresses are skipped because the
// operator accepts some that Muster rejects.
func invalid(item map[string]any) string {
	spec := maps.Clone(item)
	name, _ := spec["name"].(string)
	delete(spec, "name")
	file, problems := v1alpha1.Decode(map[string]any{"apiVersion": v1alpha1.APIVersion, "kind": v1alpha1.Kind,
		"metadata": map[string]any{"name": name}, "spec": spec}, nil)
	for _, p := range append(problems, file.Validate(nil)...) {
		if p.Severity == finding.Error && p.Code != v1alpha1.CodeUnknownField && p.Code != v1alpha1.CodeVaultAddress {
			return p.Path() + ": " + p.Message
		}
	}
	return ""
}
