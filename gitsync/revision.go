package gitsync

import (
	"fmt"
	"strings"
)

const revisionMark = "sha1:"

// Revision names a commit together with the ref that led to it.
type Revision struct {
	// Ref is the short name of the branch or tag, the full name of any other ref, or empty if only a commit was selected.
	Ref string
	// Hash is the commit's SHA-1, 40 hex digits in lower case.
	Hash string
}

// String prints the revision as Flux does: main@sha1:<hash>, or sha1:<hash> without a ref.
func (r Revision) String() string {
	if r.Ref == "" {
		return revisionMark + r.Hash
	}
	return r.Ref + "@" + revisionMark + r.Hash
}

// ParseRevision parses the output of Revision.String. The ref may itself contain an @.
func ParseRevision(s string) (Revision, error) {
	var r Revision
	rest := s
	if i := strings.LastIndex(s, "@"+revisionMark); i >= 0 {
		r.Ref, rest = s[:i], s[i+1:]
		if r.Ref == "" || refNameProblem(r.Ref) != "" {
			return Revision{}, fmt.Errorf("parse revision %q: the part before @ is not a ref name", s)
		}
	}
	hash, ok := strings.CutPrefix(rest, revisionMark)
	if !ok || !fullSHA1.MatchString(hash) {
		return Revision{}, fmt.Errorf("parse revision %q: want REF@sha1:HASH or sha1:HASH with 40 hex digits", s)
	}
	r.Hash = hash
	return r, nil
}
