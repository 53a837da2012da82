package forge

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// PullRequest is a pull request, or a merge request on GitLab.
type PullRequest struct {
	Number int64
	// Head is the full hash of the head commit.
	Head string
	// Base is the name of the branch that it would be merged into.
	Base string
	// Fork reports that its author needed no permission to push to this repository: the head is in another repository, by the
	// forge's ids, or that repository was deleted, or the head is not on a branch (Gitea's refs/for/, which readers may push
	// to).
	Fork bool
	// Author is the login of whoever opened it, for texts.
	Author string
	// URL is its page.
	URL string
	// Open is false when it is merged or closed.
	Open   bool
	Draft  bool
	Merged bool
	// Updated is when it was last changed or commented on, by the forge's clock, in UTC. It is zero if the forge doesn't say.
	Updated time.Time
}

// HeadRef is the ref of a pull request's head in the repository that it would be merged into.
func HeadRef(p Provider, number int64) string {
	if p == GitLab {
		return fmt.Sprintf("refs/merge-requests/%d/head", number)
	}
	return fmt.Sprintf("refs/pull/%d/head", number)
}

// PullRequestList is the list of open pull requests into one branch, by number.
type PullRequestList struct {
	Items []PullRequest
	// Unchanged reports that Items are those of the earlier list.
	Unchanged bool
	// Pages are the answers behind the items. They let a client ask only for what has changed.
	Pages []PullRequestPage
}

// PullRequestPage is one answer of the forge.
type PullRequestPage struct {
	ETag string
	// Read is how many elements the answer had, and More reports that another page follows.
	Read  int
	More  bool
	Items []PullRequest
}

// User is an account on a forge.
type User struct {
	// ID is the forge's number for it, which stays when the login changes.
	ID    int64
	Login string
}

const maxLogin = 255

// Validate rejects what can't be an account. Logins become part of URLs.
func (u User) Validate() error {
	fail := func(problem string) error {
		return &ConfigError{Field: "user", Problem: problem, Remedy: "use the id and the login of the forge's answer"}
	}
	switch {
	case u.ID < 1:
		return fail("has no id")
	case u.Login == "" || u.Login == "." || u.Login == ".." || len(u.Login) > maxLogin:
		return fail("has no valid login")
	case strings.ContainsFunc(u.Login, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.[]", r)
	}):
		return fail("has a login with invalid characters")
	}
	return nil
}

// Comment is a comment in the conversation of a pull request.
type Comment struct {
	ID int64
	// AuthorID and Author are 0 and empty if the account was deleted.
	AuthorID int64
	Author   string
	// Body is Markdown. More than MaxCommentRead bytes are cut off.
	Body             string
	Created, Updated time.Time
}

const (
	// MaxComment is the longest text of a comment that can be written, in bytes: GitHub documents 65,536 characters, and Gitea
	// on MySQL stores 64 KiB.
	MaxComment = 60_000
	// MaxCommentRead is how much of a comment is read. It is more than MaxComment, so what was written is read in full.
	MaxCommentRead = 64 << 10
	// MaxComments is how many comments of a pull request are read. If there are more, the error is a *LimitError.
	MaxComments = 1000
	// MaxPullRequests is how many open pull requests are read. If there are more, the error is a *LimitError.
	MaxPullRequests = 3000
	// MaxConversation bounds the texts of all comments of a pull request, in bytes.
	MaxConversation = 16 << 20
)

// ValidateComment rejects a text that can't be a comment on that pull request.
func ValidateComment(number int64, body string) error {
	if err := ValidateNumber("pull request", number); err != nil {
		return err
	}
	fail := func(problem, remedy string) error {
		return &ConfigError{Field: "comment", Problem: problem, Remedy: remedy}
	}
	switch {
	case strings.TrimSpace(body) == "":
		return fail("is empty", "write a text")
	case len(body) > MaxComment:
		return fail(fmt.Sprintf("is longer than %d bytes", MaxComment), "shorten it")
	case !utf8.ValidString(body) || strings.ContainsRune(body, 0):
		return fail("is not text", "write it in UTF-8, without NUL")
	}
	return nil
}

// ValidateNumber rejects what can't be the number of a pull request, or the id of a comment.
func ValidateNumber(field string, number int64) error {
	if number < 1 {
		return &ConfigError{Field: field, Problem: "is not a positive number", Remedy: "use the number of the forge's answer"}
	}
	return nil
}

// ValidateBranch rejects what can't be the name of a branch.
func ValidateBranch(name string) error {
	if name == "" || len(name) > maxBranch || strings.HasPrefix(name, "refs/heads/") || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return &ConfigError{Field: "base", Problem: "is not the name of a branch", Remedy: `use its short name, such as "main"`}
	}
	return nil
}

const maxBranch = 1024
