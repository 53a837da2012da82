package gitsync

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// DefaultTimeout bounds a Fetch whose Source sets no Timeout; it is Flux's default.
const DefaultTimeout = time.Minute

// Source is what to fetch and how to reach it. It holds no open resources and may be copied. All of it comes from the
// configuration of Muster, never from the repository.
type Source struct {
	// URL is the repository's address, https:// or ssh://. It must not contain credentials. http:// is accepted for loopback
	// addresses, and for others with AllowPlainHTTP.
	URL string
	// Ref selects the commit. The zero value selects the remote's default branch.
	Ref Ref
	// Auth holds the credentials. The zero value is anonymous, which ssh:// rejects.
	Auth Auth
	// DescendantOf is a full SHA-1, or empty. The commit that Ref selects must be this one or have it in its history,
	// however far back; anything else is a *NotDescendantError. The commits between the two are fetched as well, or the
	// whole history if DescendantOf isn't in the cache.
	DescendantOf string
	// ListedSince lets a Fetch use what an earlier one with the same Ref found on the remote, if that began at this time or later. It
	// shares a failure only with one that has the same Auth, DescendantOf and Timeout. It is for several users of one Repository. Zero
	// means that the remote is asked.
	ListedSince time.Time
	// Timeout bounds one Fetch from dialing to the last object. Zero means DefaultTimeout.
	Timeout time.Duration
	// AllowPlainHTTP accepts http:// URLs of any host. Credentials and content then cross
	// the network in clear text, and nothing proves that the server is the right one.
	AllowPlainHTTP bool
}

// Ref selects a commit as Flux does: Commit takes precedence over Name, Name over SemVer, SemVer over Tag, Tag over Branch.
// If all are empty, it selects the remote's HEAD.
type Ref struct {
	// Branch is a branch's short name, such as "main".
	Branch string
	// Tag is a tag's short name. An annotated tag selects the commit it points at.
	Tag string
	// SemVer is a constraint such as ">=1.2.0 <2.0.0"; it selects the highest matching tag. Tags count with or without a
	// leading v; pre-releases only if the constraint names one.
	SemVer string
	// Name is a full ref name, such as "refs/pull/7/head".
	Name string
	// Commit is a full SHA-1 of 40 hex digits. If Name, Tag or Branch is set too, the commit must be in that ref's history,
	// which is then fetched once.
	Commit string
}

// Validate reports the first thing in the source that can't work, as a *SourceError.
func (s Source) Validate() error {
	u, err := parseURL(s.URL, s.AllowPlainHTTP)
	if err != nil {
		return err
	}
	if s.Timeout < 0 {
		return &SourceError{Field: "timeout", Problem: "is negative", Remedy: "leave it out for " + DefaultTimeout.String()}
	}
	if s.DescendantOf != "" && !fullSHA1.MatchString(s.DescendantOf) {
		return &SourceError{Field: "descendantOf", Value: s.DescendantOf, Problem: "is not a full SHA-1"}
	}
	if err := s.Auth.validateFor(u.Scheme); err != nil {
		return err
	}
	return s.Ref.Validate()
}

func (s Source) timeout() time.Duration {
	if s.Timeout == 0 {
		return DefaultTimeout
	}
	return s.Timeout
}

var fullSHA1 = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Validate reports the first invalid field, as a *SourceError. Fields that are hidden by a field of higher precedence are
// checked too.
func (r Ref) Validate() error {
	if r.Commit != "" && !fullSHA1.MatchString(r.Commit) {
		return &SourceError{Field: "ref.commit", Value: r.Commit, Problem: "is not a full SHA-1",
			Remedy: "write all 40 hex digits in lower case, as git rev-parse prints them"}
	}
	if r.Name != "" {
		if !strings.HasPrefix(r.Name, "refs/") {
			return &SourceError{Field: "ref.name", Value: r.Name, Problem: "is not a full ref name", Remedy: "start it with refs/"}
		}
		if problem := refNameProblem(r.Name); problem != "" {
			return &SourceError{Field: "ref.name", Value: r.Name, Problem: problem}
		}
	}
	if r.SemVer != "" {
		if _, err := semver.NewConstraint(r.SemVer); err != nil {
			return &SourceError{Field: "ref.semver", Value: r.SemVer, Problem: "is not a version constraint",
				Remedy: `write one such as ">=1.2.0 <2.0.0"`}
		}
	}
	if err := validateShortName("ref.tag", r.Tag); err != nil {
		return err
	}
	return validateShortName("ref.branch", r.Branch)
}

func validateShortName(field, name string) error {
	if name == "" {
		return nil
	}
	if strings.HasPrefix(name, "refs/") {
		return &SourceError{Field: field, Value: name, Problem: "is a full ref name",
			Remedy: "write the short name, or use ref.name"}
	}
	if problem := refNameProblem(name); problem != "" {
		return &SourceError{Field: field, Value: name, Problem: problem}
	}
	return nil
}

// refNameProblem checks the rules of git-check-ref-format.
func refNameProblem(name string) string {
	if len(name) > 1024 {
		return "is longer than 1024 bytes"
	}
	for _, c := range name {
		if c <= ' ' || c == 0x7f || strings.ContainsRune(`~^:?*[\`, c) {
			return fmt.Sprintf("contains %q, which is not allowed in a ref name", c)
		}
	}
	for _, part := range []string{"..", "@{", "//", "/."} {
		if strings.Contains(name, part) {
			return fmt.Sprintf("contains %q, which is not allowed in a ref name", part)
		}
	}
	for _, prefix := range []string{"-", "/", "."} {
		if strings.HasPrefix(name, prefix) {
			return fmt.Sprintf("starts with %q, which is not allowed in a ref name", prefix)
		}
	}
	for _, suffix := range []string{"/", ".", ".lock"} {
		if strings.HasSuffix(name, suffix) {
			return fmt.Sprintf("ends in %q, which is not allowed in a ref name", suffix)
		}
	}
	return ""
}
