package gitsync

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// SourceError reports that a Source can't work as written, whatever the remote does.
type SourceError struct {
	// Field is the field's path as users write it, such as "ref.branch".
	Field string
	// Value is the field's value. It is empty if the value might be a secret.
	Value string
	// Problem completes "FIELD …". Remedy, if any, is an instruction.
	Problem, Remedy string
}

func (e *SourceError) Error() string {
	subject := e.Field
	if e.Value != "" {
		subject += " " + strconv.Quote(e.Value)
	}
	return join(subject+" "+e.Problem, e.Remedy)
}

// SecretError reports that the data of a Secret can't be used as credentials. It never contains a value.
type SecretError struct {
	// Key is the Secret's key that is wrong, missing or out of place.
	Key string
	// Problem completes "KEY …"; Remedy is an instruction.
	Problem, Remedy string
}

func (e *SecretError) Error() string {
	return join("credentials: "+e.Key+" "+e.Problem, e.Remedy)
}

// RefNotFoundError reports that the remote doesn't have what the Source selects.
type RefNotFoundError struct {
	// URL is the repository's, without credentials.
	URL string
	// Kind is "branch", "tag", "ref", "version", "commit" or "default branch"; Name is the name in the Source.
	Kind, Name string
	// Known lists some names of the same kind that do exist, at most ten.
	Known []string
}

func (e *RefNotFoundError) Error() string {
	what := e.Kind
	if e.Name != "" {
		what += " " + strconv.Quote(e.Name)
	}
	msg := fmt.Sprintf("%s has no %s", e.URL, what)
	if e.Kind == "version" {
		msg = fmt.Sprintf("%s has no tag that matches the constraint %q", e.URL, e.Name)
	}
	if len(e.Known) > 0 {
		msg += "; it has " + strings.Join(e.Known, ", ")
	}
	return msg
}

// NotDescendantError reports that the selected commit does not have Source.DescendantOf in its history.
type NotDescendantError struct {
	// URL is the repository's, without credentials.
	URL string
	// Revision is the remote's current revision.
	Revision Revision
	// Of is Source.DescendantOf.
	Of string
}

func (e *NotDescendantError) Error() string {
	return fmt.Sprintf("%s has %s, which is not a descendant of %s", e.URL, e.Revision, e.Of)
}

// NotACommitError reports that the selected ref points at something other than a commit.
type NotACommitError struct {
	URL, Ref, Hash string
	// Type is the object's type: "tree", "blob" or "tag".
	Type string
}

func (e *NotACommitError) Error() string {
	return fmt.Sprintf("%s of %s points at the %s %s, not at a commit", e.Ref, e.URL, e.Type, e.Hash)
}

// Reason is the cause of a RemoteError, for code that decides how to react.
type Reason string

// The reasons for which a remote can't be read.
const (
	Unreachable     Reason = "Unreachable"     // no address, no route, connection refused or cut
	Untrusted       Reason = "Untrusted"       // the server's certificate is signed by an unknown authority
	TLSFailed       Reason = "TLSFailed"       // the server's certificate for another reason, or TLS itself
	NoTLS           Reason = "NoTLS"           // a port without TLS
	HostKeyRejected Reason = "HostKeyRejected" // the SSH server's key is not the one in known_hosts
	Unauthorized    Reason = "Unauthorized"    // HTTP 401, or no SSH key accepted
	Forbidden       Reason = "Forbidden"       // HTTP 403
	NotFound        Reason = "NotFound"        // HTTP 404, or its equivalent over SSH; many forges also send it without permission
	Empty           Reason = "Empty"           // a repository without commits
	NotGit          Reason = "NotGit"          // not a smart Git server
	Redirected      Reason = "Redirected"      // to another host, port or scheme
	TimedOut        Reason = "TimedOut"        // no complete answer within Source.Timeout
	RateLimited     Reason = "RateLimited"     // HTTP 429
	ServerFailed    Reason = "ServerFailed"    // HTTP 5xx and other refusals without a more precise reason
	Refused         Reason = "Refused"         // the Git server does not hand out the object
	Unsupported     Reason = "Unsupported"     // a Git repository that Muster can't read
	Protocol        Reason = "Protocol"        // an answer that violates the Git protocol
)

// RemoteError reports that the remote could not be read, and why.
type RemoteError struct {
	// URL is the repository's, without credentials.
	URL    string
	Reason Reason
	// Status is the HTTP status, or 0.
	Status int
	// Detail is the message of the server or the system, on one line, shortened, with credentials masked.
	Detail string
	// Anonymous reports that no credentials were sent.
	Anonymous bool
	// RetryAfter is how long the server asks to wait, or 0.
	RetryAfter time.Duration
	// Location is where a redirect pointed, without credentials or query.
	Location string
	// Err is the cause, if any. Its text may contain more than Detail; use it only with errors.Is and As.
	Err error
}

func (e *RemoteError) Unwrap() error { return e.Err }

func (e *RemoteError) Error() string {
	problem, remedy := e.explain()
	msg := "read " + e.URL + ": " + problem
	if e.Status != 0 {
		msg += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Detail != "" {
		msg += ": " + e.Detail
	}
	return join(msg, remedy)
}

func (e *RemoteError) explain() (problem, remedy string) {
	switch e.Reason {
	case Unreachable:
		return "the server can't be reached", "check the host and port, DNS, the proxy and network policies"
	case Untrusted:
		return "the server's certificate is not trusted", "put the CA that signed the server's certificate into the Secret's caFile"
	case TLSFailed:
		return "the TLS connection failed", "check the server's certificate, its names and its dates, and the host in the URL"
	case NoTLS:
		return "the server does not use TLS on this port", "check the port in the URL"
	case HostKeyRejected:
		return "the SSH host key is not trusted", "find out whether the server's key changed on purpose, then update the Secret's known_hosts"
	case Unauthorized:
		if e.Anonymous {
			return "the server requires credentials", "add a Secret with username and password"
		}
		return "the server rejected the credentials", "renew the credentials in the Secret"
	case Forbidden:
		return "the credentials have no access to this repository", "grant their owner read access, or use other credentials"
	case NotFound:
		return "the repository does not exist, or the credentials have no access to it", "check the URL's path and the credentials' access"
	case Empty:
		return "the repository has no commits", "push a commit"
	case NotGit:
		return "this is not the address of a Git repository", "check the URL; web pages of a forge often lack the .git at the end"
	case Redirected:
		return "the server redirects to " + e.Location + ", and Muster does not follow", "put the new address into the URL"
	case TimedOut:
		return "the server did not answer in time", "check the network, or allow a longer timeout"
	case RateLimited:
		return "the server limits the rate of requests", "poll less often, or use credentials with a higher limit"
	case Refused:
		return "the server refuses to send the object", "check that the commit or ref still exists"
	case Unsupported:
		return "Muster can't read this repository", "use a repository with SHA-1 object names"
	case Protocol:
		return "the answer violates the Git protocol", "check proxies on the way, and try git ls-remote against the same URL"
	default:
		return "the server failed", "try again later, and ask the server's owner if it persists"
	}
}

// LimitError reports that something in the repository exceeds Limits. It is returned before the large object is held in
// memory.
type LimitError struct {
	// What names the limit, such as "file" or "pack". Name is the file or object, if any.
	What, Name string
	// Limit is the maximum. Got is the actual value, or the first value over the limit.
	Limit, Got int64
}

func (e *LimitError) Error() string {
	what := e.What
	if e.Name != "" {
		what += " " + e.Name
	}
	return fmt.Sprintf("%s: %d is over the limit of %d", what, e.Got, e.Limit)
}

// SymlinkError reports that a path is a symbolic link, or leads through one. Links are shown but never followed.
type SymlinkError struct {
	// Path is the link's path. Target is where it points, as stored in the repository, unchecked.
	Path, Target string
}

func (e *SymlinkError) Error() string {
	return fmt.Sprintf("%s is a symbolic link to %q, and links are not followed", e.Path, e.Target)
}

// SubmoduleError reports that a path is a submodule or is inside one. Submodules are not fetched.
type SubmoduleError struct {
	Path string
	// Commit is the submodule's commit.
	Commit string
}

func (e *SubmoduleError) Error() string {
	return fmt.Sprintf("%s is a submodule, and submodules are not fetched", e.Path)
}

// CorruptError reports that the cache on disk is damaged. The next Fetch of the Repository clones afresh.
type CorruptError struct {
	// Object is the hash of the object that can't be read.
	Object string
	Err    error
}

func (e *CorruptError) Unwrap() error { return e.Err }

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the cached object %s is damaged: %v", e.Object, e.Err)
}

func join(what, remedy string) string {
	if remedy == "" {
		return what
	}
	return what + "; " + remedy
}

// maxDetail keeps a server's message short enough for a commit status or a condition.
const maxDetail = 200

// tidy prepares foreign text for a message: one line, printable, short.
func tidy(s string) string {
	s = strings.ToValidUTF8(s, "�")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if runes := []rune(s); len(runes) > maxDetail {
		s = string(runes[:maxDetail]) + "…"
	}
	return s
}
