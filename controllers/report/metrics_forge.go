package report

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// forgeMetrics are about what is said to forges. They are labelled by AuditSync and provider, never by what a forge, an address
// or a repository is called.
type forgeMetrics struct {
	posts     *prometheus.CounterVec
	behind    *prometheus.GaugeVec
	limit     *prometheus.GaugeVec
	remaining *prometheus.GaugeVec
	reset     *prometheus.GaugeVec
}

// What became of a commit status that was to be posted.
const (
	postDone        = "posted"
	postRefused     = "refused"      // the credentials are not accepted, or lack a right
	postNotFound    = "not_found"    // the forge does not know the repository or the commit, or does not show it
	postRejected    = "rejected"     // the forge will not do it, however often it is asked
	postRateLimited = "rate_limited" // asked too much
	postUnavailable = "unavailable"  // the forge could not be reached, or failed
	postInvalid     = "invalid"      // the AuditSync's spec.forge can't be used, or is answered by something else
	postFailed      = "failed"       // anything else
)

var postOutcomes = []string{postDone, postRefused, postNotFound, postRejected, postRateLimited, postUnavailable, postInvalid, postFailed}

func newForgeMetrics() forgeMetrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, append(syncLabels(), "provider"))
	}
	return forgeMetrics{
		posts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_forge_posts_total",
			Help: "Commit statuses that were to be posted, by what became of them."}, append(syncLabels(), "provider", "outcome")),
		behind: gauge("muster_forge_statuses_behind",
			"Commit statuses that the forge does not show as they should be, and that wait to be posted."),
		limit: gauge("muster_forge_rate_limit",
			"Requests that the forge allows in a period, as it last said."),
		remaining: gauge("muster_forge_rate_remaining",
			"Requests that are left in the present period, as the forge last said."),
		reset: gauge("muster_forge_rate_reset_timestamp_seconds",
			"When the forge's present period ends, in seconds since 1970."),
	}
}

func (f forgeMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{f.posts, f.behind, f.limit, f.remaining, f.reset}
}

// ForgePost notes that a commit status was posted, or, with an error, that it was not.
func (m *Metrics) ForgePost(namespace, name string, provider forge.Provider, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hasForge(namespace, name, provider) {
		m.forge.posts.WithLabelValues(namespace, name, providerLabel(provider), postOutcome(err)).Inc()
	}
}

// ForgeBehind notes how many commit statuses the forge does not show as they should be.
func (m *Metrics) ForgeBehind(namespace, name string, provider forge.Provider, statuses int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hasForge(namespace, name, provider) {
		m.forge.behind.WithLabelValues(namespace, name, providerLabel(provider)).Set(float64(statuses))
	}
}

// ForgeRate notes what the forge last said about how much it may be asked. The zero value says nothing.
func (m *Metrics) ForgeRate(namespace, name string, provider forge.Provider, rate forge.Rate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rate == (forge.Rate{}) || !m.hasForge(namespace, name, provider) {
		return
	}
	p := providerLabel(provider)
	m.forge.limit.WithLabelValues(namespace, name, p).Set(float64(rate.Limit))
	m.forge.remaining.WithLabelValues(namespace, name, p).Set(float64(rate.Remaining))
	if !rate.Reset.IsZero() {
		m.forge.reset.WithLabelValues(namespace, name, p).Set(seconds(rate.Reset))
	}
}

// ForgetForge drops what is known of an AuditSync's forge: it has none any more.
func (m *Metrics) ForgetForge(namespace, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetForge(namespace, name)
}

func (m *Metrics) forgetForge(namespace, name string) {
	delete(m.forges, syncKey{namespace, name})
	m.dropForge(namespace, name)
}

// hasForge begins the series of an AuditSync's forge, and ends those of the one that it had before. Counters begin at 0, so that
// the first of a kind is seen as an increase. It is false for an AuditSync that is gone: forges are talked to beside the syncs, and
// the last answer may come late.
func (m *Metrics) hasForge(namespace, name string, provider forge.Provider) bool {
	key := syncKey{namespace, name}
	if !m.known[key] {
		return false
	}
	before, known := m.forges[key]
	if known && before == provider {
		return true
	}
	if known {
		m.dropForge(namespace, name)
	}
	m.forges[key] = provider
	for _, outcome := range postOutcomes {
		m.forge.posts.WithLabelValues(namespace, name, providerLabel(provider), outcome)
	}
	return true
}

func (m *Metrics) dropForge(namespace, name string) {
	for _, c := range m.forge.collectors() {
		drop(c, namespace, name)
	}
}

// providerLabel is the provider's name; a client that this package does not know is other.
func providerLabel(provider forge.Provider) string {
	for _, p := range forge.Providers() {
		if p == provider {
			return string(p)
		}
	}
	return "other"
}

func postOutcome(err error) string {
	switch {
	case err == nil:
		return postDone
	case is[*forge.RefusedError](err):
		return postRefused
	case is[*forge.NotFoundError](err):
		return postNotFound
	case is[*forge.RejectedError](err), is[*forge.LimitError](err):
		return postRejected
	case is[*forge.RateLimitedError](err):
		return postRateLimited
	case is[*forge.UnavailableError](err):
		return postUnavailable
	case is[*forge.ConfigError](err), is[*forge.RedirectedError](err), is[*forge.AnswerError](err):
		return postInvalid
	}
	return postFailed
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
