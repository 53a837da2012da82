package sources

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Unread is what to do about clusters of whose sources nothing is known.
type Unread int

// The choices.
const (
	// HoldUnread holds them, because what follows writes.
	HoldUnread Unread = iota
	// ShowUnread leaves them without a value, in a preview.
	ShowUnread
)

// Supply returns the fleet with the values that are known. Clusters without a usable one are held. Findings about expiry are relative
// to now. It returns the same fleet if nothing in it comes from elsewhere.
func Supply(f *fleet.Opened, known func(Ref) Result, unread Unread, now time.Time) *fleet.Opened {
	if !slices.ContainsFunc(f.Secrets, func(s fleet.Secret) bool { return s.From != nil }) {
		return f
	}
	s := supply{Opened: f.Clone(), now: now, clusters: map[[2]string]int{}, held: map[[2]string]finding.Finding{}, settled: map[[2]string]bool{}}
	for i := range s.Clusters {
		s.clusters[[2]string{s.Clusters[i].AuditConfig, s.Clusters[i].Name}] = i
	}
	for i := range s.Secrets {
		secret := &s.Secrets[i]
		if secret.From == nil || secret.Quarantined {
			continue
		}
		result := known(RefOf(secret.From))
		if result == (Result{}) && unread == ShowUnread {
			continue
		}
		s.settled[[2]string{secret.Cluster, compile.UnknownSource(secret.From)}] = true
		s.secret(secret, result)
	}
	s.Findings = slices.DeleteFunc(s.Findings, func(f finding.Finding) bool {
		return f.Code == fleet.CodeAcceptance || f.Code == compile.CodeSourceUnknown && s.settled[[2]string{f.Cluster, f.Message}]
	})
	s.Accept()
	s.Hold(s.held)
	return s.Opened
}

// supply is the work of one Supply.
type supply struct {
	*fleet.Opened
	now      time.Time
	clusters map[[2]string]int
	held     map[[2]string]finding.Finding
	settled  map[[2]string]bool // clusters with the messages that no longer hold, because their sources are known
}

// secret fills in one Secret, or holds its cluster.
func (s *supply) secret(secret *fleet.Secret, r Result) {
	switch {
	case r == (Result{}):
		s.hold(secret, &Problem{CodeUnavailable, fmt.Sprintf("%s has not been read yet", secret.From), "wait for the first read; Muster retries by itself"})
		return
	case r.Value == nil, r.Problem != nil && r.Problem.Code != CodeUnavailable:
		s.hold(secret, r.Problem)
		return
	}
	data, server, problem := pick(secret, r.Value)
	if problem != nil {
		s.hold(secret, problem)
		return
	}
	cluster := &s.Clusters[s.clusters[[2]string{secret.AuditConfig, secret.Cluster}]]
	if problem := bound(cluster, secret, server); problem != nil {
		s.hold(secret, problem)
		return
	}
	if r.Problem != nil {
		s.note(secret, finding.Warning, &Problem{r.Problem.Code, r.Problem.Message + "; the value from the last read is used", r.Problem.Fix})
	}
	if !s.check(cluster, secret, data) {
		return
	}
	secret.Data, secret.Version, secret.Supplied = data, version(data), true
}

// bound returns why the token in a Secret must not be sent to the cluster's server.
func bound(cluster *fleet.Cluster, secret *fleet.Secret, server string) *Problem {
	for ref := range compile.References(&cluster.Entry) {
		if ref.Name != secret.Name {
			continue
		}
		if message, fix := compile.TokenServer(&cluster.Entry, ref, server); message != "" {
			return &Problem{compile.CodeTokenServer, message + ", by its key server in " + secret.From.String(), fix}
		}
	}
	return nil
}

// check checks the content like that of the repository, and reports whether the scanner can use it.
func (s *supply) check(cluster *fleet.Cluster, secret *fleet.Secret, data map[string]string) bool {
	problems := credential.SecretSize(data)
	for _, key := range slices.Sorted(maps.Keys(data)) {
		facts, more := credential.Check(key, []byte(data[key]), s.now)
		var warnBefore time.Duration
		if i := slices.IndexFunc(secret.Uses, func(u fleet.Use) bool { return u.Key == key }); i >= 0 {
			warnBefore = secret.Uses[i].WarnBefore
		}
		problems = slices.Concat(problems, more, facts.Expiring(s.now, warnBefore))
		secret.WarnBefore, secret.Terms = max(secret.WarnBefore, warnBefore), append(secret.Terms, facts.Terms...)
		secret.Changes = earliest(secret.Changes, facts.Changes(s.now, warnBefore))
		secret.Expires = earliest(secret.Expires, facts.Expires)
		cluster.Ends(facts.Terms...)
		if key == mondoo.KeyKubeconfig {
			secret.Destination = facts.Destination
		}
	}
	s.Changes = earliest(s.Changes, secret.Changes)
	usable := true
	for _, p := range problems {
		problem := &Problem{p.Code, fmt.Sprintf("%s, in %s", p.Message, secret.From), p.Fix}
		if p.Severity == finding.Error {
			usable = false
			s.hold(secret, problem)
			continue
		}
		s.note(secret, p.Severity, problem)
	}
	return usable
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// hold holds the cluster of a Secret. The first problem is reported as the reason, and others beside it.
func (s *supply) hold(secret *fleet.Secret, p *Problem) {
	key := [2]string{secret.AuditConfig, secret.Cluster}
	if _, held := s.held[key]; held {
		s.note(secret, finding.Error, p)
		return
	}
	s.held[key] = s.at(secret, p)
}

func (s *supply) note(secret *fleet.Secret, severity finding.Severity, p *Problem) {
	f := s.at(secret, p)
	f.Severity = severity
	s.Add(f)
}

func (s *supply) at(secret *fleet.Secret, p *Problem) finding.Finding {
	f := finding.Finding{Code: p.Code, Cluster: secret.Cluster, Path: secret.Origin.Path, Message: p.Message, Fix: p.Fix}
	f.Line, f.Column = s.Position(secret.Origin, secret.From.Path())
	return f
}

// version changes with the data.
func version(data map[string]string) string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%q %q\n", key, data[key])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
