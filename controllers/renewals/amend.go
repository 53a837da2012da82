package renewals

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/credential"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/renew"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// Sync is an AuditSync and its rendered fleet.
type Sync struct {
	*v1alpha1.AuditSync
	Fleet *fleet.Opened
	// Redactor knows the secrets of the fleet, and learns the renewed tokens.
	Redactor *redact.Redactor
	// Requested is true if a user has asked for a sync: then what has failed is tried again now.
	Requested bool
}

func (s Sync) key() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// fleetState is what is kept of an AuditSync.
type fleetState struct {
	Sync
	allow  []netip.Prefix
	tokens map[cluster]*token
	// changes counts the changes of what is to be applied. made is the last result of Amend, for madeOf with so many changes.
	changes, madeAt uint64
	made, madeOf    *fleet.Opened
}

// token is the state of one cluster's token.
type token struct {
	renew.State
	lifetime time.Duration
	// id changes with the seed and the name of the Secret, which changes with the server.
	id string
	// secret is the Secret in the fleet, and in the cluster that it is for. They are never modified.
	secret *fleet.Secret
	in     *fleet.Cluster
	due    time.Time
	// shown is what was last shown of the token.
	shown shown
	// granted counts the tokens that the redactor has learned.
	granted int
}

// shown is what others see of a token's state.
type shown struct{ use, finding string }

// Amend returns the fleet to apply: that of the Sync with renewed tokens, and with findings about tokens. Equal inputs give the same
// pointer. The only error is that a Secret can't be read.
func (r *Renewer) Amend(ctx context.Context, s Sync) (*fleet.Opened, error) {
	if r == nil || !slices.ContainsFunc(s.Fleet.Secrets, func(s fleet.Secret) bool { return s.Renew > 0 }) {
		r.Forget(s.key())
		return s.Fleet, nil
	}
	tokens, fresh := r.tokensOf(s)
	if err := r.read(ctx, s, fresh); err != nil {
		return nil, err
	}
	allow, err := s.Spec.Preflight.Allowed()
	off := ""
	switch {
	case !s.Spec.Preflight.On():
		off = "spec.preflight.mode is Off, so Muster connects to no cluster"
	case err != nil:
		off = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.syncs[s.key()]
	if f == nil {
		f = &fleetState{}
		r.syncs[s.key()] = f
	}
	now := r.Clock.Now()
	for i, due := range f.update(s, allow, off, tokens, now) {
		r.queue.AddAfter(item{s.key(), due}, time.Duration(i)*pace)
	}
	return f.result(now), nil
}

// tokensOf returns the tokens that the fleet renews, those that are known as they are, and the others once more.
func (r *Renewer) tokensOf(s Sync) (tokens, fresh map[cluster]*token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := map[cluster]*token{}
	if f := r.syncs[s.key()]; f != nil {
		known = f.tokens
		if f.Fleet == s.Fleet {
			return maps.Clone(known), nil
		}
	}
	clusters := make(map[cluster]*fleet.Cluster, len(s.Fleet.Clusters))
	for i := range s.Fleet.Clusters {
		clusters[cluster{s.Fleet.Clusters[i].AuditConfig, s.Fleet.Clusters[i].Name}] = &s.Fleet.Clusters[i]
	}
	tokens, fresh = map[cluster]*token{}, map[cluster]*token{}
	for i := range s.Fleet.Secrets {
		secret := &s.Fleet.Secrets[i]
		if secret.Renew == 0 || secret.Quarantined {
			continue
		}
		seed, problem := renew.SeedOf(secret.Data)
		key := cluster{secret.AuditConfig, secret.Cluster}
		if problem != nil || clusters[key] == nil {
			continue // package open has quarantined it
		}
		t := &token{State: renew.State{Seed: seed}, lifetime: secret.Renew, id: seed.Proof(secret.Name, ""), secret: secret, in: clusters[key]}
		if old := known[key]; old != nil && old.id == t.id {
			old.secret, old.in, old.lifetime = secret, t.in, t.lifetime
			tokens[key] = old
			continue
		}
		tokens[key], fresh[key] = t, t
	}
	return tokens, fresh
}

// read takes over the tokens in live Secrets.
func (r *Renewer) read(ctx context.Context, s Sync, fresh map[cluster]*token) error {
	for key, t := range fresh {
		live := &corev1.Secret{}
		err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: t.secret.Name}, live)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read the Secret %s: %w", t.secret.Name, err)
		}
		current, known := t.Seed.Live(t.secret.Name, live.Annotations[fleet.AnnotationRenewed], live.Data)
		switch {
		case current.Value != "":
			t.learn(s.Redactor, key, current.Value)
			t.Current, t.due = current, current.Due(spread(key))
		case !known && err == nil:
			t.Lost = "the token in the live Secret is not one that was renewed from the token in the file"
		}
		if now := r.Clock.Now(); t.due.Before(now) {
			t.due = now
		}
	}
	return nil
}

// String is as in the annotation fleet.AnnotationMadeFor.
func (c cluster) String() string { return c.auditConfig + "/" + c.name }

// update takes over a fleet and its tokens. It returns the clusters to look at again.
func (f *fleetState) update(s Sync, allow []netip.Prefix, off string, tokens map[cluster]*token, now time.Time) []cluster {
	gone := maps.Clone(f.tokens)
	maps.DeleteFunc(gone, func(key cluster, t *token) bool { return tokens[key] == t })
	f.drop(gone)
	before := f.tokens
	f.Sync, f.allow, f.tokens = s, allow, tokens
	var due []cluster
	for key, t := range tokens {
		again := before[key] != t || t.Off != off
		t.Off = off
		if s.Requested && t.Failures > 0 {
			t.due, again = now, true
		}
		f.note(t, now)
		if again {
			due = append(due, key)
		}
	}
	slices.SortFunc(due, compare)
	return due
}

func compare(a, b cluster) int {
	return cmp.Or(cmp.Compare(a.auditConfig, b.auditConfig), cmp.Compare(a.name, b.name))
}

// note reports whether what others see of a token has changed.
func (f *fleetState) note(t *token, now time.Time) bool {
	t.Expire(now)
	current := shown{use: t.Use(now)}
	if found := t.Finding(now, t.in.Name); found != nil {
		current.finding = found.Message + "\n" + found.Fix
	}
	if current == t.shown {
		return false
	}
	t.shown = current
	f.changes++
	return true
}

// result returns the fleet with the present tokens.
func (f *fleetState) result(now time.Time) *fleet.Opened {
	if f.made != nil && f.madeOf == f.Fleet && f.madeAt == f.changes {
		return f.made
	}
	out, held := f.Fleet.Clone(), map[[2]string]finding.Finding{}
	for i := range out.Secrets {
		key := cluster{out.Secrets[i].AuditConfig, out.Secrets[i].Cluster}
		t := f.tokens[key]
		if t == nil || t.secret.Name != out.Secrets[i].Name {
			continue
		}
		if use := t.Use(now); use != "" {
			out.Secrets[i] = t.Seed.Supply(out.Secrets[i], use)
		}
		found := t.Finding(now, key.name)
		if found == nil {
			continue
		}
		found.Path = t.in.Origin.Path
		found.Line, found.Column = f.Fleet.Position(t.in.Origin, []string{"spec", "renew"})
		found.Message, found.Fix = f.Redactor.String(found.Message), f.Redactor.String(found.Fix)
		if found.Severity == finding.Error {
			held[[2]string{key.auditConfig, key.name}] = *found
			continue
		}
		out.Add(*found)
		expire(out, key, t.Term(now))
	}
	out.Hold(held)
	out.Accept()
	f.made, f.madeOf, f.madeAt = out, f.Fleet, f.changes
	return out
}

// expire records when a cluster's token ends if it isn't renewed.
func expire(f *fleet.Opened, key cluster, term credential.Term) {
	for i := range f.Clusters {
		if c := &f.Clusters[i]; c.AuditConfig == key.auditConfig && c.Name == key.name && !term.Until.IsZero() {
			c.Ends(term)
		}
	}
}

// learn lets the redactor learn a token. It still knows the one before, which may be in an error.
func (t *token) learn(redactor *redact.Redactor, key cluster, value string) {
	redactor.Forget(key.owner(t.granted - 1))
	t.granted++
	redactor.AddFor(key.owner(t.granted), value)
}

func (c cluster) owner(granted int) string { return fmt.Sprintf("renewed %s %d", c, granted) }

// drop forgets tokens.
func (f *fleetState) drop(tokens map[cluster]*token) {
	for key, t := range tokens {
		f.Redactor.Forget(key.owner(t.granted-1), key.owner(t.granted))
	}
}

// spread returns a number from 0 up to 1 that is always the same for a cluster.
func spread(key cluster) float64 {
	h := fnv.New32a()
	h.Write([]byte(key.String()))
	return float64(h.Sum32()) / (1 << 32)
}
