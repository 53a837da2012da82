package sources

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	pure "github.com/muster-gitops/muster/clusters/sources"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// syncState is what is kept of an AuditSync.
type syncState struct {
	spec           v1alpha1.CredentialSources
	serviceAccount string
	// requested is the last sync that a user has requested, for which everything is read again.
	requested string
	allowed   policy.Sources
	// fleet is the one whose wants are in conns.
	fleet *fleet.Opened
	conns map[server]*conn
	// results are what is known of what the fleet wants. version changes with them, and news is closed then.
	results map[pure.Ref]*result
	version uint64
	news    chan struct{}
	last    supplied
	// redactors know the values, and the logins. owners counts the names under which they do.
	redactors []*redact.Redactor
	logins    map[string]string // by value, the owner
	owners    int
}

// supplied is the last result of Supply, with what it was made from.
type supplied struct {
	from    *fleet.Opened
	version uint64
	day     time.Time
	fleet   *fleet.Opened
}

// result is what is known of one thing to read. Value is the last one that was read.
type result struct {
	pure.Result
	// owner is that of the value in the redactors, and before that of the value before, which may be in an error about a write.
	owner, before string
}

// conn is a server and what is wanted from it.
type conn struct {
	wanted []pure.Ref
	// due is when everything is read again; zero for at once. failures counts the rounds without an answer, in a row.
	due      time.Time
	failures int
	// asked is true until the round that a user has requested has ended.
	asked bool
	vault *vault // nil for Secrets, and before the first round
}

func newSyncState() *syncState {
	return &syncState{conns: map[server]*conn{}, results: map[pure.Ref]*result{}, news: make(chan struct{}), logins: map[string]string{}}
}

// update takes over a spec and a fleet, and returns the servers that have something new to read.
func (s *syncState) update(audit *v1alpha1.AuditSync, f *fleet.Opened) []server {
	spec := audit.Spec.CredentialSources
	sameSpec := equality.Semantic.DeepEqual(spec, s.spec) && audit.Spec.ServiceAccountName == s.serviceAccount
	requested := audit.Annotations[v1alpha1.AnnotationReconcile]
	asked := requested != s.requested
	if sameSpec && f == s.fleet && !asked {
		return nil
	}
	s.requested = requested
	if !sameSpec {
		s.spec, s.serviceAccount, s.allowed = *spec.DeepCopy(), audit.Spec.ServiceAccountName, Allowed(spec)
		s.conns = map[server]*conn{} // logins and certificates may be others, and a round that runs now must not count
		s.version++
	}
	s.fleet = f
	for _, c := range s.conns {
		c.wanted = nil
	}
	wanted := map[pure.Ref]bool{}
	var due []server
	for _, ref := range pure.Wanted(f) {
		wanted[ref] = true
		at, problem := s.serverOf(ref)
		if problem != nil {
			s.set(ref, nil, problem)
			continue
		}
		c := s.conns[at]
		if c == nil {
			c = &conn{}
			s.conns[at] = c
		}
		c.wanted = append(c.wanted, ref)
		if asked {
			c.asked, c.due, c.failures = true, time.Time{}, 0
		}
		if (s.results[ref] == nil || !sameSpec || asked) && !slices.Contains(due, at) {
			due = append(due, at)
		}
	}
	for ref, known := range s.results {
		if !wanted[ref] {
			s.forget(known.before)
			s.forget(known.owner)
			delete(s.results, ref)
		}
	}
	for at, c := range s.conns {
		if len(c.wanted) == 0 {
			delete(s.conns, at)
		}
	}
	return due
}

// serverOf returns the server that has something, or why it must not be asked. Cluster files have been checked before.
func (s *syncState) serverOf(ref pure.Ref) (server, *pure.Problem) {
	if ref.Secret.Name != "" {
		if slices.Contains(s.allowed.Namespaces, ref.Secret.Namespace) {
			return apiServer, nil
		}
	} else if i := s.allowed.Server(ref.Vault); i >= 0 {
		if _, ok := s.allowed.Vault[i].Mount(ref.Vault); ok {
			return server{s.allowed.Vault[i].Address, s.allowed.Vault[i].Namespace}, nil
		}
	}
	return server{}, &pure.Problem{Code: policy.CodeSource, Message: fmt.Sprintf("the AuditSync does not allow to read credentials from %s", ref), Fix: "add it to spec.credentialSources"}
}

// known is what is known of one thing to read.
func (s *syncState) known(ref pure.Ref) pure.Result {
	if r := s.results[ref]; r != nil {
		return r.Result
	}
	return pure.Result{}
}

// waits reports whether something has not been read yet, from a server that may answer soon.
func (s *syncState) waits() bool {
	for _, c := range s.conns {
		if c.asked || c.failures == 0 && slices.ContainsFunc(c.wanted, func(ref pure.Ref) bool { return s.results[ref] == nil }) {
			return true
		}
	}
	return false
}

// set records the result of a read. Without a value, the last one stays.
func (s *syncState) set(ref pure.Ref, value *pure.Value, problem *pure.Problem) (changed bool) {
	known := s.results[ref]
	if known == nil {
		known = &result{}
		s.results[ref] = known
		changed = true
	}
	if problem != nil {
		problem = &pure.Problem{Code: problem.Code, Message: s.masked(problem.Message), Fix: s.masked(problem.Fix)}
	}
	if !reflect.DeepEqual(problem, known.Problem) {
		known.Problem, changed = problem, true
	}
	if value != nil && !reflect.DeepEqual(value, known.Value) {
		s.forget(known.before)
		known.before, known.owner = known.owner, s.learn(value.Secrets())
		known.Value, changed = value, true
	}
	if changed {
		s.version++
	}
	return changed
}

func (s *syncState) masked(text string) string {
	for _, r := range s.redactors {
		text = r.String(text)
	}
	return text
}

// share has a redactor know the values, now and from now on.
func (s *syncState) share(redactor *redact.Redactor) {
	if redactor == nil || slices.Contains(s.redactors, redactor) {
		return
	}
	s.redactors = append(s.redactors, redactor)
	for _, known := range s.results {
		if known.Value != nil {
			redactor.AddFor(known.owner, known.Value.Secrets()...)
		}
	}
	for value, owner := range s.logins {
		redactor.AddFor(owner, value)
	}
}

// learn has the redactors know values, and returns the owner.
func (s *syncState) learn(values []string) string {
	s.owners++
	owner := fmt.Sprintf("source %d", s.owners)
	for _, r := range s.redactors {
		r.AddFor(owner, values...)
	}
	return owner
}

// maxLogins bounds the logins that are remembered to be hidden.
const maxLogins = 64

// conceal has the redactors know a login.
func (s *syncState) conceal(value string) {
	if s.logins[value] != "" {
		return
	}
	if len(s.logins) >= maxLogins {
		for old, owner := range s.logins {
			s.forget(owner)
			delete(s.logins, old)
		}
	}
	s.logins[strings.Clone(value)] = s.learn([]string{value})
}

func (s *syncState) forget(owner string) {
	if owner == "" {
		return
	}
	for _, r := range s.redactors {
		r.Forget(owner)
	}
}

// tell wakes up whoever waits for results.
func (s *syncState) tell() {
	close(s.news)
	s.news = make(chan struct{})
}

func (s *syncState) close() {
	for _, known := range s.results {
		s.forget(known.before)
		s.forget(known.owner)
	}
	for _, owner := range s.logins {
		s.forget(owner)
	}
	s.tell()
}
