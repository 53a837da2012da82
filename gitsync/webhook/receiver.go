package webhook

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/time/rate"
)

// Options configure a Receiver.
type Options struct {
	// Targets looks up the receivers.
	Targets Targets
	// Limits bound what unverified senders can cost.
	Limits Limits
	// TrustedProxies are the proxies whose X-Forwarded-For is trusted. Behind any other proxy, all senders are one source
	// and share its limits.
	TrustedProxies []netip.Prefix
	// TLS serves https. Nil serves http.
	TLS *tls.Config
	// Log gets every delivery at level debug, and unexpected failures at level error. It never gets a body, a header or a
	// secret.
	Log *slog.Logger
	// Metrics count deliveries.
	Metrics *Metrics
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
}

// Receiver answers webhooks. It is safe for concurrent use.
type Receiver struct {
	Options
	limits    Limits
	admission *admission
	rates     *recent[string, *rate.Limiter]
	seen      *recent[[sha256.Size]byte, struct{}]
	router    *mux.Router
}

// Path is the path of a target's receiver. It isn't secret; the signature is. So it is readable in the forge's settings,
// doesn't change with the secret, and can be found in a proxy's log.
func Path(namespace, name string) string { return "/hook/" + namespace + "/" + name }

// New returns a Receiver. Errors are those of Limits.
func New(o Options) (*Receiver, error) {
	if err := o.Limits.Validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := o.Limits.withDefaults()
	rc := &Receiver{Options: o, limits: l, admission: newAdmission(l), rates: newRecent[string, *rate.Limiter](maxTargets, 0),
		seen: newRecent[[sha256.Size]byte, struct{}](l.Replays, l.ReplayAge)}
	// Paths are not cleaned: a redirect to a clean path would lose the body.
	rc.router = mux.NewRouter().SkipClean(true)
	const label = `[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?`
	rc.router.Handle(Path("{namespace:"+label+"}", "{name:"+label+"}"), rc.frame(rc.answer)).Methods(http.MethodPost)
	rc.router.NotFoundHandler = rc.frame(func(http.ResponseWriter, *http.Request, *delivery) answer {
		return answer{status: http.StatusNotFound, outcome: outcomePath, text: "webhooks go to " + Path("NAMESPACE", "AUDITSYNC"), hangUp: true}
	})
	rc.router.MethodNotAllowedHandler = rc.frame(func(w http.ResponseWriter, _ *http.Request, _ *delivery) answer {
		w.Header().Set("Allow", http.MethodPost)
		return answer{status: http.StatusMethodNotAllowed, outcome: outcomePath, text: "webhooks are sent with POST", hangUp: true}
	})
	return rc, nil
}

// ServeHTTP answers one request.
func (rc *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) { rc.router.ServeHTTP(w, r) }

// frame handles what is common to all requests: the limits of their source, metrics, log, and recovery from panics.
func (rc *Receiver) frame(answers func(http.ResponseWriter, *http.Request, *delivery) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		started := rc.Now()
		d := &delivery{namespace: mux.Vars(r)["namespace"], name: mux.Vars(r)["name"], source: proxies(rc.TrustedProxies).source(r)}
		rc.Metrics.inFlight.Inc()
		defer rc.Metrics.inFlight.Dec()
		a := answer{status: http.StatusInternalServerError, outcome: outcomePanic, text: "internal error", hangUp: true}
		defer func() {
			if recover() != nil {
				// The stack contains no data, but the panic value may.
				rc.Log.Error("webhook handler panicked", "stack", string(debug.Stack()))
			}
			if a.outcome.unproven() {
				rc.admission.failed(d.source, rc.Now())
			}
			rc.Metrics.done(d.credentials.provider, a.outcome, rc.Now().Sub(started))
			rc.Log.Debug("webhook delivery", "outcome", a.outcome, "provider", d.credentials.provider, "namespace", d.namespace, "name", d.name)
			a.write(w)
		}()
		if wait := rc.admission.wait(d.source, started); wait > 0 {
			a = rateLimited(wait)
			return
		}
		a = answers(w, r, d)
	}
}

// delivery is a request that is being handled.
type delivery struct {
	namespace, name string
	source          source
	credentials     credentials
}

// answer runs the checks, cheap ones first. Nothing is parsed before the signature has matched.
func (rc *Receiver) answer(w http.ResponseWriter, r *http.Request, d *delivery) answer {
	if r.ContentLength > rc.limits.MaxBody {
		return tooLargeAnswer(rc.limits.MaxBody)
	}
	r.Body = http.MaxBytesReader(w, r.Body, rc.limits.MaxBody)
	if !isJSON(r.Header) {
		return answer{status: http.StatusUnsupportedMediaType, outcome: outcomeMediaType, text: "set the webhook's content type to application/json, without compression", hangUp: true}
	}
	var err error
	if d.credentials, err = readCredentials(r.Header, rc.Now()); err != nil {
		return answer{status: http.StatusUnauthorized, outcome: outcomeCredentials, text: err.Error(), hangUp: true}
	}
	ticket := rc.admission.enter(r.Context(), d.source)
	if ticket == nil {
		return busy
	}
	defer ticket.release()
	target, err := rc.Targets.Target(r.Context(), d.namespace, d.name)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return rc.failed("look up webhook target", err)
	}
	v := d.credentials.verifier(target)
	if !v.needsBody() && !v.ok() {
		return unverified
	}
	body, err := readBody(r.Body, v, ticket, r.ContentLength, rc.limits.MaxBody)
	if err != nil {
		return bodyAnswer(err)
	}
	rc.Metrics.bytes.Observe(float64(len(body)))
	if !v.ok() {
		return unverified
	}
	return rc.verified(r.Context(), d, target, body)
}

// isJSON rejects forms, because some forges sign a different text than the payload, and compressed bodies, which expand.
func isJSON(h http.Header) bool {
	if encoding := h.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// verified handles a verified delivery.
func (rc *Receiver) verified(ctx context.Context, d *delivery, target Target, body []byte) answer {
	now, address := rc.Now(), d.namespace+"/"+d.name
	id := deliveryKey(address, d.credentials.delivery, body)
	if rc.seen.has(id, now) {
		return answer{status: http.StatusOK, outcome: outcomeReplayed, text: "ignored: this delivery has been received before"}
	}
	event, err := parse(d.credentials, body)
	if err != nil {
		return answer{status: http.StatusUnprocessableEntity, outcome: outcomeMalformed, text: err.Error()}
	}
	if event.Kind == Ping {
		return answer{status: http.StatusOK, outcome: outcomePing, text: "pong: the signature matches"}
	}
	if why := target.ignores(event); why != "" {
		return answer{status: http.StatusOK, outcome: outcomeIgnored, text: "ignored: " + why}
	}
	// Ignored deliveries don't count. A forge with many other events would be told to wait, and may disable the webhook.
	limiter, _ := rc.rates.getOrMake(address, now, func() *rate.Limiter { return rate.NewLimiter(rc.limits.TargetRate, rc.limits.TargetBurst) })
	if !limiter.AllowN(now, 1) {
		return rateLimited(time.Second)
	}
	if err := rc.Targets.Notify(ctx, d.namespace, d.name, event); err != nil {
		return rc.failed("pass on webhook", err)
	}
	if d.credentials.delivery != "" {
		// Only after success: a delivery that wasn't passed on may be sent again. Without an id, the same content may be
		// another event.
		rc.seen.getOrMake(id, now, func() struct{} { return struct{}{} })
	}
	return answer{status: http.StatusAccepted, outcome: outcomeAccepted, text: "accepted: a sync was requested"}
}

// deliveryKey identifies deliveries by the forge's id, which most signatures don't cover, and by the body, which they do.
func deliveryKey(address, id string, body []byte) [sha256.Size]byte {
	h := sha256.New()
	content := sha256.Sum256(body)
	named := sha256.Sum256([]byte(id))
	h.Write([]byte(address))
	h.Write(named[:])
	h.Write(content[:])
	return [sha256.Size]byte(h.Sum(nil))
}

func (rc *Receiver) failed(what string, err error) answer {
	rc.Log.Error(what, "error", err)
	return answer{status: http.StatusServiceUnavailable, outcome: outcomeFailed, text: "temporarily not possible; try again", retry: 10 * time.Second}
}
