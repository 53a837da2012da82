package report

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// forgeMetrics are the metrics about requests to forges. They are labelled by AuditSync and provider, never by the name or address
// of a forge or repository.
type forgeMetrics struct {
	posts     *prometheus.CounterVec
	behind    *prometheus.GaugeVec
	limit     *prometheus.GaugeVec
	remaining *prometheus.GaugeVec
	reset     *prometheus.GaugeVec
}

// The outcomes of posting a commit status.
const (
	postDone        = "posted"
	postRefused     = "refused"      // the forge rejects the credentials, or they lack a permission
	postNotFound    = "not_found"    // the repository or commit does not exist, or is not visible
	postRejected    = "rejected"     // the forge rejects the status; a retry won't help
	postRateLimited = "rate_limited" // too many requests
	postUnavailable = "unavailable"  // the forge could not be reached, or failed
	postInvalid     = "invalid"      // the AuditSync's spec.forge can't be used, or its address is not a forge's API
	postFailed      = "failed"       // any other error
)

var postOutcomes = []string{postDone, postRefused, postNotFound, postRejected, postRateLimited, postUnavailable, postInvalid, postFailed}

func newForgeMetrics() forgeMetrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, append(syncLabels(), "provider"))
	}
	return forgeMetrics{
		posts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_forge_posts_total",
			Help: "Attempts to post a commit status, by outcome."}, append(syncLabels(), "provider", "outcome")),
		behind: gauge("muster_forge_statuses_behind",
			"Commit statuses that are out of date at the forge and wait to be posted."),
		limit: gauge("muster_forge_rate_limit",
			"Requests that the forge allows in a period, as last reported by the forge."),
		remaining: gauge("muster_forge_rate_remaining",
			"Requests left in the current period, as last reported by the forge."),
		reset: gauge("muster_forge_rate_reset_timestamp_seconds",
			"When the forge's current period ends, in seconds since 1970."),
	}
}

func (f forgeMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{f.posts, f.behind, f.limit, f.remaining, f.reset}
}

// ForgePost records that a commit status was posted or, with an error, that it was not.
func (m *Metrics) ForgePost(namespace, name string, provider forge.Provider, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hasForge(namespace, name, provider) {
		m.forge.posts.WithLabelValues(namespace, name, providerLabel(provider), postOutcome(err)).Inc()
	}
}

// ForgeBehind records how many commit statuses are out of date at the forge.
func (m *Metrics) ForgeBehind(namespace, name string, provider forge.Provider, statuses int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hasForge(namespace, name, provider) {
		m.forge.behind.WithLabelValues(namespace, name, providerLabel(provider)).Set(float64(statuses))
	}
}

// ForgeRate records the rate limit that the forge last reported. It ignores the zero value.
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

// ForgetForge drops the forge series of an AuditSync that no longer has a forge.
func (m *Metrics) ForgetForge(namespace, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetForge(namespace, name)
}

func (m *Metrics) forgetForge(namespace, name string) {
	delete(m.forges, syncKey{namespace, name})
	m.dropForge(namespace, name)
}

// hasForge creates the series of an AuditSync's forge, and drops those of its previous forge. Counters start at 0, so that the first
// count shows as an increase. It returns false for a deleted AuditSync: posts run concurrently with syncs, so the last response may
// arrive after the deletion.
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

// providerLabel returns the provider's name, or "other" for an unknown provider.
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
