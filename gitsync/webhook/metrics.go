package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// unknownProvider is the provider of deliveries whose headers don't name one.
const unknownProvider Provider = "unknown"

// Metrics count deliveries. A sender can't choose the value of any label.
type Metrics struct {
	requests    *prometheus.CounterVec
	duration    prometheus.Histogram
	bytes       prometheus.Histogram
	inFlight    prometheus.Gauge
	connections prometheus.Gauge
	refused     prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_webhook_requests_total",
			Help: "Webhook deliveries by the forge that their headers name (or unknown) and by outcome."}, []string{"provider", "outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "muster_webhook_duration_seconds",
			Help: "Time from the headers of a delivery to its answer, in seconds.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}),
		bytes: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "muster_webhook_body_bytes",
			Help: "Size of the bodies that were read completely, in bytes.", Buckets: prometheus.ExponentialBuckets(1<<10, 8, 6)}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "muster_webhook_in_flight",
			Help: "Deliveries that are being read or waiting to be read."}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "muster_webhook_connections",
			Help: "Open connections."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "muster_webhook_connections_refused_total",
			Help: "Connections closed immediately, because there were too many in total or from their source."}),
	}
	// Initialize the counters, so that the first event of a kind shows as an increase.
	for _, provider := range []Provider{GitHub, GitLab, Gitea, Forgejo, Generic, unknownProvider} {
		for _, o := range outcomes {
			m.requests.WithLabelValues(string(provider), string(o))
		}
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.bytes, m.inFlight, m.connections, m.refused} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) done(provider Provider, o outcome, took time.Duration) {
	if provider == "" {
		provider = unknownProvider
	}
	m.requests.WithLabelValues(string(provider), string(o)).Inc()
	m.duration.Observe(took.Seconds())
}
