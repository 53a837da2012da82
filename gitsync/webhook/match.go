package webhook

import (
	"fmt"
	"net/url"
	"strings"
)

// ignores is the reason why an event does not concern the target, for a user who reads the forge's list of deliveries. It is
// empty if the event does concern the target.
func (t Target) ignores(e Event) string {
	switch {
	case e.Kind == Other:
		return "this event is not used; only pushes, pull requests, comments on them and merge groups are"
	case e.Repository != "" && !sameRepository(t.RepositoryURL, e.Repository):
		return fmt.Sprintf("%q is not the repository of this AuditSync", e.Repository)
	case e.Ref == "":
		return ""
	case e.IsPullRequest() || e.Kind == MergeGroup:
		return t.ignoresBase(e)
	}
	follows, want := t.follows(e)
	if follows {
		return ""
	}
	return fmt.Sprintf("%q was pushed, but this AuditSync follows %s", e.Ref, want)
}

// follows reports whether a push to the ref can change what the target selects, and what that is. The cases have the order
// of gitsync.Ref. A selected commit doesn't change with a push, but the push may have brought it.
func (t Target) follows(e Event) (bool, string) {
	ref := t.Ref
	switch {
	case ref.Name != "":
		return e.Ref == ref.Name, ref.Name
	case ref.SemVer != "":
		return strings.HasPrefix(e.Ref, "refs/tags/"), "the tags in " + ref.SemVer
	case ref.Tag != "":
		return e.Ref == "refs/tags/"+ref.Tag, "the tag " + ref.Tag
	case ref.Branch != "":
		return e.Ref == "refs/heads/"+ref.Branch, "the branch " + ref.Branch
	case ref.Commit != "" || e.DefaultBranch == "":
		return true, ""
	default:
		return e.Ref == "refs/heads/"+e.DefaultBranch, "the default branch"
	}
}

// ignoresBase is the reason why a pull request or merge group does not concern the target: its base is another branch than
// the followed one. For tags and commits, the followed branch is assumed to be the default branch.
func (t Target) ignoresBase(e Event) string {
	branch := t.Ref.Branch
	if branch == "" {
		branch = e.DefaultBranch
	}
	if branch == "" || e.Ref == "refs/heads/"+branch {
		return ""
	}
	return fmt.Sprintf("the base is %q, but this AuditSync follows the branch %s", e.Ref, branch)
}

// sameRepository compares the followed URL with the path in a payload. Hosts are ignored: the forge may have different names
// inside and outside of the cluster, and each AuditSync has its own secret. The check is for webhooks of whole
// organisations, which report all their repositories. Like the forges, it ignores case.
func sameRepository(address, path string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	have := strings.ToLower(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"))
	named := strings.ToLower(strings.Trim(path, "/"))
	// A forge may be served below a path of its host.
	return named != "" && (have == named || strings.HasSuffix(have, "/"+named))
}
