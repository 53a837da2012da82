package forge

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Provider is a kind of forge, as spec.forge.provider names it.
type Provider string

// The providers that have a client. Gitea stands for Forgejo too, which has kept its API.
const (
	GitHub Provider = "github"
	GitLab Provider = "gitlab"
	Gitea  Provider = "gitea"
)

// Providers lists them all.
func Providers() []Provider { return []Provider{GitHub, GitLab, Gitea} }

// Commit is what a status is about.
type Commit struct {
	// Hash is the full object name, 40 or 64 hexadecimal digits.
	Hash string
	// Branch is the branch or tag that the commit was found at, empty when that isn't known. GitLab keeps statuses by
	// it, and picks any branch that has the commit when it isn't told; the others don't need it.
	Branch string
}

// String is the short form that errors use.
func (c Commit) String() string { return c.Hash[:min(len(c.Hash), 10)] }

// Validate tells a commit from what only looks like one. Hashes go into the paths of URLs.
func (c Commit) Validate() error {
	if _, err := hex.DecodeString(c.Hash); err != nil || len(c.Hash) != 40 && len(c.Hash) != 64 {
		return &ConfigError{Field: "commit", Problem: "is no full object name", Remedy: "give all 40 hexadecimal digits"}
	}
	return nil
}

// State is the state of a status.
type State string

// The states that can be set. Other programs may have set others, which are shown as the forge calls them.
const (
	Pending State = "pending"
	Success State = "success"
	Failure State = "failure"
	// Error means that there is no answer yet for a reason beyond the commit. GitLab has no such state and shows a failure.
	Error State = "error"
	// Canceled means that there will be no answer. GitHub and Gitea have no such state and show an error.
	Canceled State = "canceled"
)

// Status is the answer about a commit in one context.
type Status struct {
	// Context names what the status is about, such as "muster/production". There is one status a commit and context.
	Context string
	State   State
	// Description is one line of text. It is shortened to what the forge takes.
	Description string
	// TargetURL is where the details are, or empty. One that is longer than the forge takes is left out.
	TargetURL string
}

// maxContext is GitLab's limit for names, which is the strictest.
const maxContext = 255

// Validate tells what can't be a status on any forge.
func (s Status) Validate() error {
	switch {
	case strings.TrimSpace(s.Context) == "":
		return &ConfigError{Field: "context", Problem: "is empty", Remedy: "name what the status is about"}
	case utf8.RuneCountInString(s.Context) > maxContext:
		return &ConfigError{Field: "context", Problem: fmt.Sprintf("is longer than %d characters", maxContext), Remedy: "shorten the name of the AuditSync"}
	}
	switch s.State {
	case Pending, Success, Failure, Error, Canceled:
		return nil
	}
	return &ConfigError{Field: "state", Problem: "is none that can be set", Remedy: "use pending, success, failure, error or canceled"}
}

// Limits are what a forge takes of a status. Lengths are in characters, that is Unicode code points.
type Limits struct {
	Description int
	TargetURL   int
	// BasicPlane means that characters above U+FFFF, most emoji among them, are refused.
	BasicPlane bool
	// NoCanceled means that there is no such state, and Error stands for it.
	NoCanceled bool
}

// Fit returns the status as the forge can show it.
func (l Limits) Fit(s Status) Status {
	if l.NoCanceled && s.State == Canceled {
		s.State = Error
	}
	s.Description = Line(s.Description)
	if l.BasicPlane {
		s.Description = basicPlane(s.Description)
	}
	s.Description = Truncate(s.Description, l.Description)
	if utf8.RuneCountInString(s.TargetURL) > l.TargetURL {
		s.TargetURL = ""
	}
	return s
}

// Rate is what the forge last said about how much it may be asked. The zero value means that it has not said.
type Rate struct {
	Limit, Remaining int
	// Reset is when Remaining is Limit again.
	Reset time.Time
}

// Options are what the caller of a client decides. The zero value will do.
type Options struct {
	// Timeout bounds one request with its answer. Default 20 s.
	Timeout time.Duration
	// UserAgent is what the forge sees as the program. Default "muster".
	UserAgent string
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// WithDefaults fills in what is zero.
func (o Options) WithDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if o.UserAgent == "" {
		o.UserAgent = "muster"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
