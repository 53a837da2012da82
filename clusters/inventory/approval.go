package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// ApproveAnnotation on an AuditSync approves the removals that a plan holds. Its value is an ApprovalValue.
const ApproveAnnotation = "muster.dev/approve-removals"

// Approval is an approval that Muster is carrying out. It stays in an inventory until all its removals there are done:
// after a part of them, the next plan holds less and so has another value, but the rest is still approved.
type Approval struct {
	// Value is what was approved.
	Value string `json:"value"`
	// Removals are the approved removals from this inventory, sorted.
	Removals []Key `json:"removals"`
}

// Equal reports whether two approvals are the same.
func (a *Approval) Equal(other *Approval) bool {
	if a == nil || other == nil {
		return a == other
	}
	return a.Value == other.Value && slices.Equal(a.Removals, other.Removals)
}

// digestLength is the length of the digest in an approval's value, in hex digits.
const digestLength = 16

// ApprovalValue returns the value that approves sorted removals at a revision, in the form REVISION-DIGEST. It approves
// nothing that another spec or another management cluster would remove at the same revision.
func ApprovalValue(revision string, removals []Key) string {
	texts := make([]string, len(removals))
	for i, key := range removals {
		texts[i] = key.String()
	}
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	return revision + "-" + hex.EncodeToString(sum[:])[:digestLength]
}

// ApprovedDigest returns the digest of the removals in the value of an approval, which doesn't depend on the revision;
// empty if the text is no such value.
func ApprovedDigest(value string) string {
	if ApprovedRevision(value) == "" {
		return ""
	}
	return value[len(value)-digestLength:]
}

// ApprovedRevision returns the revision in the value of an approval; empty if the text is no such value.
func ApprovedRevision(value string) string {
	at := strings.LastIndexByte(value, '-')
	if at < 0 || len(value)-at-1 != digestLength {
		return ""
	}
	return value[:at]
}
