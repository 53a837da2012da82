package webhook

import (
	"fmt"
	"net/url"
	"strings"
)

// ignores says why an event does not concern the target, in words for whoever looks at the forge's list of deliveries; it is
// empty when the event does.
func (t Target) ignores(e Event) string {
	switch {
	case e.Kind == Other:
		return "this event is not used; push and pull request events are"
	case e.Repository != "" && !sameRepository(t.RepositoryURL, e.Repository):
		return fmt.Sprintf("%q is not the repository of this AuditSync", e.Repository)
	case e.Ref == "":
		return ""
	case e.IsPullRequest():
		return t.ignoresBase(e)
	}
	follows, want := t.follows(e)
	if follows {
		return ""
	}
	return fmt.Sprintf("%q was pushed, and this AuditSync follows %s", e.Ref, want)
}

// follows says whether a push to the ref can change what the target selects, and what that is. The order of the cases is that
// of gitsync.Ref. A commit that is named needs no push, but may only now have come.
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

// ignoresBase says why a pull request does not concern the target: it goes to another branch than the one that is followed,
// which for tags and commits is taken to be the default branch.
func (t Target) ignoresBase(e Event) string {
	branch := t.Ref.Branch
	if branch == "" {
		branch = e.DefaultBranch
	}
	if branch == "" || e.Ref == "refs/heads/"+branch {
		return ""
	}
	return fmt.Sprintf("the pull request goes to %q, and this AuditSync follows the branch %s", e.Ref, branch)
}

// sameRepository compares the address that is followed with the path that a payload names. Hosts are left out: the forge has
// one name within a cluster and another outside of it, and the secret is the AuditSync's own. It is there for webhooks of
// whole organisations, which tell of all their repositories. Forges take no account of case.
func sameRepository(address, path string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	have := strings.ToLower(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"))
	named := strings.ToLower(strings.Trim(path, "/"))
	// A forge may live below a path of its host.
	return named != "" && (have == named || strings.HasSuffix(have, "/"+named))
}
