package gitsync

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// SourceError says that a Source can't work as it is written, whatever the remote does.
type SourceError struct {
	// Field is the field's path as users write it, such as "ref.branch".
	Field string
	// Value is what the field holds. It is empty where the value might be a secret.
	Value string
	// Problem completes "FIELD …"; Remedy, when there is one, is an instruction.
	Problem, Remedy string
}

func (e *SourceError) Error() string {
	subject := e.Field
	if e.Value != "" {
		subject += " " + strconv.Quote(e.Value)
	}
	return join(subject+" "+e.Problem, e.Remedy)
}

// SecretError says that the data of a Secret makes no credentials. It never holds a value.
type SecretError struct {
	// Key is the Secret's key that is wrong, missing or out of place.
	Key string
	// Problem completes "KEY …"; Remedy is an instruction.
	Problem, Remedy string
}

func (e *SecretError) Error() string {
	return join("credentials: "+e.Key+" "+e.Problem, e.Remedy)
}

// RefNotFoundError says that the remote was read and does not have what the Source selects.
type RefNotFoundError struct {
	// URL is the repository's, without credentials.
	URL string
	// Kind is "branch", "tag", "ref", "version", "commit" or "default branch"; Name is what was looked for.
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
		msg = fmt.Sprintf("%s has no tag within the constraint %q", e.URL, e.Name)
	}
	if len(e.Known) > 0 {
		msg += "; it has " + strings.Join(e.Known, ", ")
	}
	return msg
}

// NotDescendantError says that the selected commit does not have Source.DescendantOf in its history.
type NotDescendantError struct {
	// URL is the repository's, without credentials.
	URL string
	// Revision is what the remote has now.
	Revision Revision
	// Of is Source.DescendantOf.
	Of string
}

func (e *NotDescendantError) Error() string {
	return fmt.Sprintf("%s has %s, which is not a descendant of %s", e.URL, e.Revision, e.Of)
}

// NotACommitError says that the selected ref points at something other than a commit.
type NotACommitError struct {
	URL, Ref, Hash string
	// Type is the object's type: "tree", "blob" or "tag".
	Type string
}

func (e *NotACommitError) Error() string {
	return fmt.Sprintf("%s of %s points at the %s %s, not at a commit", e.Ref, e.URL, e.Type, e.Hash)
}

// Reason is the cause of a RemoteError, for code that decides what to do about it.
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
	NotFound        Reason = "NotFound"        // HTTP 404, or SSH's word for it; many forges say so for lack of rights
	Empty           Reason = "Empty"           // a repository without a commit
	NotGit          Reason = "NotGit"          // something answers, but it is no smart Git server
	Redirected      Reason = "Redirected"      // to another host, port or scheme
	TimedOut        Reason = "TimedOut"        // nothing, or not all, within Source.Timeout
	RateLimited     Reason = "RateLimited"     // HTTP 429
	ServerFailed    Reason = "ServerFailed"    // HTTP 5xx and other refusals without a better name
	Refused         Reason = "Refused"         // the Git server does not hand out the object
	Unsupported     Reason = "Unsupported"     // a Git server, with something that Muster can't read
	Protocol        Reason = "Protocol"        // answers that break the Git protocol
)

// RemoteError says that the remote could not be read, and why.
type RemoteError struct {
	// URL is the repository's, without credentials.
	URL    string
	Reason Reason
	// Status is the HTTP status, 0 when there was none.
	Status int
	// Detail is the server's or the system's own words, on one line, shortened, with credentials masked.
	Detail string
	// Anonymous tells that no credentials were sent.
	Anonymous bool
	// RetryAfter is how long the server asks to wait, 0 when it does not say.
	RetryAfter time.Duration
	// Location is where a redirect pointed, without credentials or query.
	Location string
	// Err is the cause when there is one. Its text may be less careful than Detail; it is for errors.Is and As.
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
		return "the server speaks no TLS on this port", "check the port in the URL"
	case HostKeyRejected:
		return "the SSH host key is not trusted", "find out whether the server's key changed on purpose, then update the Secret's known_hosts"
	case Unauthorized:
		if e.Anonymous {
			return "the server asks for credentials", "add a Secret with username and password"
		}
		return "the server does not accept the credentials", "renew those in the Secret"
	case Forbidden:
		return "the credentials may not read this repository", "give their owner read access, or use others"
	case NotFound:
		return "there is no such repository, or the credentials may not see it", "check the URL's path and the credentials' access"
	case Empty:
		return "the repository has no commits", "push one"
	case NotGit:
		return "this is not a Git repository's address", "check the URL; web pages of a forge often lack the .git at the end"
	case Redirected:
		return "the server redirects to " + e.Location + ", and credentials don't follow", "put the new address into the URL"
	case TimedOut:
		return "the server did not answer in time", "check the network, or allow a longer timeout"
	case RateLimited:
		return "the server limits the rate of requests", "poll less often, or use credentials with a higher limit"
	case Refused:
		return "the server does not hand out the object", "check that the commit or ref still exists"
	case Unsupported:
		return "the repository can't be read by Muster", "use one with SHA-1 object names"
	case Protocol:
		return "the answer is no valid Git protocol", "check proxies in between, and try git ls-remote against the same URL"
	default:
		return "the server failed", "try later, and ask the server's owner if it stays so"
	}
}

// LimitError says that something in the repository is larger than Limits allow. It is
// returned before the large thing is held in memory.
type LimitError struct {
	// What names the limit, such as "file" or "pack"; Name is the file or object, when there is one.
	What, Name string
	// Limit is what is allowed; Got is what there is, or the first value seen over the limit.
	Limit, Got int64
}

func (e *LimitError) Error() string {
	what := e.What
	if e.Name != "" {
		what += " " + e.Name
	}
	return fmt.Sprintf("%s: %d is over the limit of %d", what, e.Got, e.Limit)
}

// SymlinkError says that a path is a symbolic link, or leads through one. Links are shown but never followed.
type SymlinkError struct {
	// Path is the link's own path; Target is where it points, as the repository has it, unchecked.
	Path, Target string
}

func (e *SymlinkError) Error() string {
	return fmt.Sprintf("%s is a symbolic link to %q, and links are not followed", e.Path, e.Target)
}

// SubmoduleError says that a path is a submodule or lies in one. Submodules are not fetched.
type SubmoduleError struct {
	Path string
	// Commit is the commit that the submodule stands at.
	Commit string
}

func (e *SubmoduleError) Error() string {
	return fmt.Sprintf("%s is a submodule, and submodules are not fetched", e.Path)
}

// CorruptError says that the cache on disk is damaged. The next Fetch of the Repository clones afresh.
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

// maxDetail keeps a server's words short enough for a commit status or a condition.
const maxDetail = 200

// tidy makes foreign text fit for a message: one line, printable, short.
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
