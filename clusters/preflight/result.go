package preflight

import (
	"net/url"
	"strings"

	"github.com/muster-gitops/muster/clusters/redact"
)

// Name is the name of a check.
type Name string

// The checks, in the order in which they are made.
const (
	// Credential: is there a credential, in a form that can be used?
	Credential Name = "credential"
	// Resolve: does the name of the server have addresses, and may they be contacted?
	Resolve Name = "resolve"
	// Connect: does one of them accept a connection?
	Connect Name = "connect"
	// TLS: is the server's certificate valid, and of the authority given?
	TLS Name = "tls"
	// HostName: is the certificate for this host?
	HostName Name = "host-name"
	// HTTP: does the server answer?
	HTTP Name = "http"
	// Version: is it a Kubernetes API server, and which?
	Version Name = "version"
	// Login: does it accept the credential, and as whom?
	Login Name = "login"
	// Rights: may that user read all that a scan reads?
	Rights Name = "rights"
	// Identity: is it the cluster that it was before?
	Identity Name = "identity"
)

// Names are all checks in order.
var Names = []Name{Credential, Resolve, Connect, TLS, HostName, HTTP, Version, Login, Rights, Identity}

// State is the outcome of a check.
type State string

// The states of a check.
const (
	Passed State = "passed"
	Failed State = "failed"
	// NotReached: an earlier check failed.
	NotReached State = "not-reached"
	// NotChecked: the check can't be made, for the reason in Message. That is no failure.
	NotChecked State = "not-checked"
)

// Check is one check and its outcome. Its texts are masked.
type Check struct {
	Name  Name  `json:"name"`
	State State `json:"state"`
	// Cause is set if the check failed.
	Cause Cause `json:"cause,omitempty"`
	// Message is one line: what failed, why it wasn't checked, or what was seen.
	Message string `json:"message,omitempty"`
	// Fix is one line, with the command that mends it or finds out more. It is set if the check failed.
	Fix string `json:"fix,omitempty"`
}

// Result is the outcome of a preflight.
type Result struct {
	Cluster string `json:"cluster"`
	// Checks are all of Names, in that order.
	Checks []Check `json:"checks"`
	// NotChecked is why the credential was not tried from here; empty if it was.
	NotChecked string `json:"notChecked,omitempty"`
	// Version is the server's, such as v1.37.2, and User the name of the credential there.
	Version string `json:"version,omitempty"`
	User    string `json:"user,omitempty"`
	// UID is that of the namespace kube-system, which stays the same as long as the cluster exists.
	UID string `json:"uid,omitempty"`
	// Granted is nil if the rights are unknown.
	Granted *Grant `json:"granted,omitempty"`
}

// Failure returns the first check that failed, or nil.
func (r Result) Failure() *Check {
	for i := range r.Checks {
		if r.Checks[i].State == Failed {
			return &r.Checks[i]
		}
	}
	return nil
}

// Blocks returns the first failure that keeps scans from working or may lead them elsewhere, or nil. With rights that are only
// partial, a scan still reads what it may.
func (r Result) Blocks() *Check {
	for i := range r.Checks {
		if c := &r.Checks[i]; c.State == Failed && c.Cause != RightsPartial && c.Cause != IdentityUnreadable && c.Cause != VaultNotRevoked {
			return c
		}
	}
	return nil
}

// report collects the checks of a run.
type report struct {
	result Result
	known  facts
	show   shower
}

func newReport(t Target, o Options) *report {
	r := &report{result: Result{Cluster: t.Cluster}, known: facts{cluster: t.Cluster}, show: newShower(t, o.Redactor)}
	for _, name := range Names {
		r.result.Checks = append(r.result.Checks, Check{Name: name, State: NotReached})
	}
	return r
}

func (r *report) set(c Check) {
	for i := range r.result.Checks {
		if r.result.Checks[i].Name == c.Name {
			c.Message, c.Fix = r.show.clean(c.Message), r.show.clean(c.Fix)
			r.result.Checks[i] = c
		}
	}
}

func (r *report) pass(name Name, message string) {
	r.set(Check{Name: name, State: Passed, Message: message})
}

func (r *report) skip(name Name, message string) {
	r.set(Check{Name: name, State: NotChecked, Message: message})
}

func (r *report) fail(name Name, f *failure) {
	message, fix := f.text(r.known)
	r.set(Check{Name: name, State: Failed, Cause: f.cause, Message: message, Fix: fix})
}

// shower makes texts of servers harmless.
type shower struct {
	given *redact.Redactor
	own   *redact.Redactor
}

func newShower(t Target, given *redact.Redactor) shower {
	own := &redact.Redactor{}
	own.Add(t.Token, t.Password, string(t.Key))
	if u, err := url.Parse(t.ProxyURL); err == nil {
		password, _ := u.User.Password()
		own.Add(password)
	}
	return shower{given: given, own: own}
}

// longest is the length of a server's text that is shown. A longer one is not cut, because the redactor doesn't know a part of a
// secret.
const longest = 256

// text returns a server's text for a message.
func (s shower) text(text string) string {
	if len(text) > longest {
		return "(a text that is too long to show)"
	}
	return s.clean(text)
}

// clean masks a message as a whole, and keeps it on one line.
func (s shower) clean(text string) string {
	return strings.Map(visible, s.own.String(s.given.String(text)))
}
