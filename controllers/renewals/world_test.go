package renewals

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/preflight"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// world is a pretended management cluster with one AuditSync, and pretended servers behind it, in the time of synctest.
type world struct {
	*testing.T
	audit    *v1alpha1.AuditSync
	redactor *redact.Redactor
	renewer  *Renewer
	changed  chan event.TypedGenericEvent[*v1alpha1.AuditSync]
	stop     context.CancelFunc
	done     chan struct{}

	reconciling sync.Mutex

	mu      sync.Mutex
	servers map[string]*server
	git     *fleet.Opened
	applied *fleet.Opened
	live    map[string]corev1.Secret
	swaps   int
	syncs   int
}

// server is a pretended API server with one ServiceAccount.
type server struct {
	uid string
	// down is true while it doesn't answer. status replaces that of its answers, and answer the token in them.
	down   bool
	status int
	answer func(granted string) string
	// grants is the lifetime that it grants, whatever is asked for; 0 grants that.
	grants   time.Duration
	revoked  map[string]bool
	requests []string // the tokens with which it was asked
	asked    time.Duration
	hold     chan struct{} // it answers when this is closed
	rejects  bool          // new tokens, at the check
}

func newWorld(t *testing.T, names ...string) *world {
	w := &world{T: t, redactor: &redact.Redactor{}, changed: make(chan event.TypedGenericEvent[*v1alpha1.AuditSync]), servers: map[string]*server{}, live: map[string]corev1.Secret{}}
	w.audit = &v1alpha1.AuditSync{}
	w.audit.Namespace, w.audit.Name = "mondoo", "production"
	w.audit.Spec.Preflight.Mode = v1alpha1.PreflightReport
	w.git = &fleet.Opened{Namespace: "mondoo", Sync: "production"}
	t.Cleanup(w.end)
	for _, name := range names {
		w.servers[name] = &server{uid: "uid-1", revoked: map[string]bool{}}
		w.add(name, w.token(name, 0), time.Hour)
	}
	return w
}

// add adds a cluster with a seed to the fleet, which becomes another one.
func (w *world) add(name, seed string, lifetime time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.git.Clone()
	for i, s := range next.Secrets {
		if s.Cluster == name {
			next.Secrets, next.Clusters = append(next.Secrets[:i:i], next.Secrets[i+1:]...), append(next.Clusters[:i:i], next.Clusters[i+1:]...)
			break
		}
	}
	next.Secrets = append(next.Secrets, fleet.Secret{Name: "secret-" + name, Cluster: name, AuditConfig: "a", Renew: lifetime,
		Data: map[string]string{mondoo.KeyToken: seed, mondoo.KeyCACert: "CA of " + name}})
	next.Clusters = append(next.Clusters, fleet.Cluster{Name: name, AuditConfig: "a", Hash: "h", Origin: fleet.Origin{Path: name + ".yaml"},
		Entry: mondoo.Entry{Name: name, ServiceAccountAuth: &mondoo.ServiceAccountAuth{Server: "https://" + name, CredentialsSecretRef: mondoo.SecretRef{Name: "secret-" + name}}}})
	w.git = next
}

var serial int

// token is one that a server has issued now; a lifetime of 0 is for ever.
func (w *world) token(server string, lifetime time.Duration) string {
	return issue("scan", server, w.servers[server].uid, lifetime)
}

func issue(namespace, name, uid string, lifetime time.Duration) string {
	now := time.Now()
	serial++
	claims := map[string]any{"sub": "system:serviceaccount:" + namespace + ":" + name, "iat": now.Unix(), "jti": serial,
		"kubernetes.io": map[string]any{"serviceaccount": map[string]any{"name": name, "uid": uid}}}
	if lifetime != 0 {
		claims["exp"] = now.Add(lifetime).Unix()
	}
	payload, _ := json.Marshal(claims)
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(payload) + fmt.Sprintf(".CANARY-signature-%d", serial)
}

// accepts reports whether a server accepts a token now.
func (s *server) accepts(token string) bool {
	parts := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Exp   int64
		Bound struct{ Serviceaccount struct{ UID string } } `json:"kubernetes.io"`
	}
	_ = json.Unmarshal(payload, &claims)
	return !s.revoked[token] && claims.Bound.Serviceaccount.UID == s.uid && (claims.Exp == 0 || time.Now().Unix() < claims.Exp)
}

func (w *world) post(ctx context.Context, t preflight.Target, _ preflight.Options, path string, object any) (int, []byte, *preflight.Check) {
	w.mu.Lock()
	name := strings.TrimPrefix(t.Server, "https://")
	s := w.servers[name]
	s.requests = append(s.requests, t.Token)
	hold := s.hold
	w.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case s.down:
		return 0, nil, &preflight.Check{Name: preflight.Connect, State: preflight.Failed, Cause: preflight.ConnectRefused, Message: "nothing listens there", Fix: "nc -vz"}
	case !s.accepts(t.Token):
		return http.StatusUnauthorized, nil, nil
	case s.status != 0:
		return s.status, []byte(`{"message":"` + t.Token + `"}`), nil
	case path != "/api/v1/namespaces/scan/serviceaccounts/"+name+"/token":
		return http.StatusNotFound, nil, nil
	}
	seconds := *object.(*authenticationv1.TokenRequest).Spec.ExpirationSeconds
	s.asked = time.Duration(seconds) * time.Second
	lifetime := s.asked
	if s.grants != 0 {
		lifetime = s.grants
	}
	granted := w.token(name, lifetime)
	if s.answer != nil {
		granted = s.answer(granted)
	}
	body, _ := json.Marshal(map[string]any{"status": map[string]any{"token": granted}})
	return http.StatusCreated, body, nil
}

func (w *world) check(_ context.Context, t preflight.Target, _ preflight.Options) preflight.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.servers[strings.TrimPrefix(t.Server, "https://")]
	if s.rejects || !s.accepts(t.Token) {
		return preflight.Result{Checks: []preflight.Check{{Name: preflight.Login, State: preflight.Failed, Message: "the server rejected the credential"}}}
	}
	// The account may not read everything, as before.
	return preflight.Result{Checks: []preflight.Check{{Name: preflight.Rights, State: preflight.Failed, Message: "may not read all"}}}
}

// Get and List make the world a client.Reader.
func (w *world) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, exists := w.live[key.Name]
	if !exists {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	s.DeepCopyInto(object.(*corev1.Secret))
	return nil
}

func (w *world) List(context.Context, client.ObjectList, ...client.ListOption) error {
	panic("only single Secrets are read")
}

// start starts a Muster, which reconciles at once.
func (w *world) start() { w.begin(func(*Options) {}) }

// begin starts one with other options.
func (w *world) begin(change func(*Options)) {
	o := Options{Clock: clock.RealClock{}, Live: w, Management: func(context.Context) ([]netip.Addr, error) { return nil, nil },
		Post: w.post, Check: w.check, Count: func(string) {}, Changed: w.changed, Log: logr.Discard()}
	change(&o)
	w.renewer = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.done = cancel, make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { _ = w.renewer.Start(ctx) })
	running.Go(func() {
		for {
			select {
			case <-w.changed:
				w.reconcile(false)
			case <-ctx.Done():
				return
			}
		}
	})
	go func() { running.Wait(); close(w.done) }()
	w.reconcile(false)
}

// end stops Muster.
func (w *world) end() {
	if w.stop != nil {
		w.stop()
		<-w.done
	}
	w.stop = nil
}

// reconcile applies the fleet.
func (w *world) reconcile(requested bool) {
	w.reconciling.Lock() // reconciles of one AuditSync never overlap
	defer w.reconciling.Unlock()
	w.mu.Lock()
	s := Sync{AuditSync: w.audit.DeepCopy(), Fleet: w.git, Redactor: w.redactor, Requested: requested}
	w.mu.Unlock()
	out, err := w.renewer.Amend(context.Background(), s)
	if err != nil {
		w.Error(err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.syncs++
	w.applied = out
	for _, s := range out.Secrets {
		if s.Quarantined {
			continue
		}
		data := map[string][]byte{}
		for key, value := range s.Data {
			data[key] = []byte(value)
		}
		if before := w.live[s.Name]; string(before.Data[mondoo.KeyToken]) != s.Data[mondoo.KeyToken] {
			w.swaps++
		}
		next := corev1.Secret{Data: data}
		next.Annotations = map[string]string{fleet.AnnotationMadeFor: "a/" + s.Cluster}
		maps.Copy(next.Annotations, s.Annotations)
		w.live[s.Name] = next
	}
}

// works reports whether the live token of a cluster works, as a scan would find.
func (w *world) works(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers[name].accepts(string(w.live["secret-"+name].Data[mondoo.KeyToken]))
}

// set changes a server.
func (w *world) set(name string, change func(*server)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w.servers[name])
}

func (w *world) liveToken(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.live["secret-"+name].Data[mondoo.KeyToken])
}

// found are the findings about a cluster.
func (w *world) found(name string) []finding.Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []finding.Finding
	for _, f := range w.applied.Findings {
		if f.Cluster == name {
			list = append(list, f)
		}
	}
	return list
}

// out is what was last applied, requests and asked are what a server was asked for, count counts reconciles, and secret is a live one.
func (w *world) out() *fleet.Opened {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.applied
}

func (w *world) requests(name string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.servers[name].requests)
}

func (w *world) asked(name string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers[name].asked
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.syncs
}

func (w *world) secret(name string) corev1.Secret {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.live["secret-"+name]
}

// bubble runs a test in a time of its own.
func bubble(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t) })
}

var key = types.NamespacedName{Namespace: "mondoo", Name: "production"}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
