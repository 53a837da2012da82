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

// The providers that have a client. Gitea includes Forgejo, which has the same API.
const (
	GitHub Provider = "github"
	GitLab Provider = "gitlab"
	Gitea  Provider = "gitea"
)

// Providers lists all providers.
func Providers() []Provider { return []Provider{GitHub, GitLab, Gitea} }

// Commit is the commit of a status.
type Commit struct {
	// Hash is the full object name, 40 or 64 hexadecimal digits.
	Hash string
	// Branch is the branch or tag where the commit was found, or empty if unknown. GitLab stores statuses by branch, and
	// without one picks any branch that has the commit; the others don't need it.
	Branch string
}

// String is the short form for errors.
func (c Commit) String() string { return c.Hash[:min(len(c.Hash), 10)] }

// Validate rejects an invalid hash. Hashes become part of URLs.
func (c Commit) Validate() error {
	if _, err := hex.DecodeString(c.Hash); err != nil || len(c.Hash) != 40 && len(c.Hash) != 64 {
		return &ConfigError{Field: "commit", Problem: "is not a full object name", Remedy: "use all 40 hexadecimal digits"}
	}
	return nil
}

// State is the state of a status.
type State string

// The states that can be set. Other programs may have set other states, which are shown with the forge's names.
const (
	Pending State = "pending"
	Success State = "success"
	Failure State = "failure"
	// Error means that there is no result yet, for a reason outside of the commit. GitLab has no such state and shows a
	// failure.
	Error State = "error"
	// Canceled means that there will be no result. GitHub and Gitea have no such state and show an error.
	Canceled State = "canceled"
)

// Status is the result for a commit in one context.
type Status struct {
	// Context names the subject of the status, such as "muster/production". A commit has one status per context.
	Context string
	State   State
	// Description is one line of text. It is shortened to the forge's limit.
	Description string
	// TargetURL is the address of the details, or empty. It is left out if it exceeds the forge's limit.
	TargetURL string
}

// maxContext is GitLab's limit for names, which is the strictest.
const maxContext = 255

// Validate rejects a status that is invalid on every forge.
func (s Status) Validate() error {
	switch {
	case strings.TrimSpace(s.Context) == "":
		return &ConfigError{Field: "context", Problem: "is empty", Remedy: "name the subject of the status"}
	case utf8.RuneCountInString(s.Context) > maxContext:
		return &ConfigError{Field: "context", Problem: fmt.Sprintf("is longer than %d characters", maxContext), Remedy: "shorten the name of the AuditSync"}
	}
	switch s.State {
	case Pending, Success, Failure, Error, Canceled:
		return nil
	}
	return &ConfigError{Field: "state", Problem: "is not a state that can be set", Remedy: "use pending, success, failure, error or canceled"}
}

// Limits are a forge's limits for a status. Lengths are in characters, that is Unicode code points.
type Limits struct {
	Description int
	TargetURL   int
	// BasicPlane means that characters above U+FFFF, such as most emoji, are rejected.
	BasicPlane bool
	// NoCanceled means that the forge has no such state, and Error replaces it.
	NoCanceled bool
}

// Fit returns the status in the form that the forge can show.
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

// Rate is the rate limit that the forge last reported. The zero value means that it has reported none.
type Rate struct {
	Limit, Remaining int
	// Reset is when Remaining is reset to Limit.
	Reset time.Time
}

// Options are the caller's choices for a client. The zero value is valid.
type Options struct {
	// Timeout bounds one request including its answer. Default 20 s.
	Timeout time.Duration
	// UserAgent is the name of the program for the forge. Default "muster".
	UserAgent string
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// WithDefaults replaces zero values by defaults.
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
