package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

const eventsHelp = `Events shows the Kubernetes events of an AuditSync, of its audit configs, and of the CronJobs, Jobs and Pods that scan its
clusters, oldest first. Without a name, it shows those of all AuditSyncs in the namespace. API servers keep events for an hour.

Scans are found by the operator's labels and by Muster's inventory. That needs permission to list CronJobs and ConfigMaps;
without it, only events of AuditSyncs and a note are shown.

--for shows the events of one object: auditsync/NAME, mondooauditconfig/NAME, cronjob/NAME, job/NAME or pod/NAME, or
cluster/NAME for everything that scans this cluster. With --watch, new events follow until Ctrl-C; with -o json each is a
JSON document on one line.`

const eventsExample = `  # What has happened to an AuditSync, and what happens next?
  muster events production --watch

  # Why does a cluster's scan not start?
  muster events --for cluster/prod-eu-west-1

  # Warnings everywhere
  muster events -A --types Warning`

// events are read by the API that every version of kubectl uses, which also has those that were written by the newer one.
var events = corev1.SchemeGroupVersion.WithResource("events")

// eventsFlags select events.
type eventsFlags struct {
	namespace            string
	allNamespaces, watch bool
	object               string
	types, output        *choice
}

func newEventsCommand(s *shell) *cobra.Command {
	var flags eventsFlags
	var where kubeFlags
	cmd := &cobra.Command{
		Use: "events [AUDITSYNC]", Short: "Show what has happened to AuditSyncs and scans", Long: eventsHelp, Example: eventsExample,
		Args: atMost(1), ValidArgsFunction: completeSyncs(s, &where, &flags.namespace),
	}
	flags.output = addChoice(cmd, "output", "o", "output format", "text", "json", "yaml")
	flags.types = addChoice(cmd, "types", "", "only events of this type", "all", corev1.EventTypeNormal, corev1.EventTypeWarning)
	addNamespace(cmd, &flags.namespace)
	addSelection(cmd, &flags.allNamespaces, &flags.watch)
	cmd.Flags().StringVar(&flags.object, "for", "", "only events of this object, as `KIND/NAME`")
	where.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		wanted, err := flags.wanted(args)
		if err != nil {
			return err
		}
		c, err := where.connect(s, flags.namespace)
		if err != nil {
			return err
		}
		if flags.allNamespaces {
			c = c.in("")
		}
		v := &eventView{shell: s, cluster: c, flags: flags, wanted: wanted, seen: map[types.UID]string{}}
		if flags.watch {
			return v.watch(cmd.Context())
		}
		list, err := v.list(cmd.Context())
		if err != nil {
			return err
		}
		return v.printAll(list)
	}
	return cmd
}

// wanted checks the arguments.
func (f eventsFlags) wanted(args []string) (wanted, error) {
	if err := checkNamespace(f.namespace); err != nil {
		return wanted{}, err
	}
	w := wanted{}
	if f.types.value != "all" {
		w.kind = f.types.value
	}
	if len(args) > 0 {
		w.sync = args[0]
	}
	if f.object == "" {
		return w, nil
	}
	kind, name, ok := strings.Cut(f.object, "/")
	w.object.kind, w.object.name = kinds[strings.ToLower(kind)], name
	if !ok || name == "" || w.object.kind == "" {
		return w, usagef("--for %q is not KIND/NAME with one of the kinds auditsync, mondooauditconfig, cronjob, job, pod and cluster", f.object)
	}
	return w, nil
}

// eventView shows events.
type eventView struct {
	*shell
	cluster *cluster
	flags   eventsFlags
	wanted  wanted
	scope   scope
	seen    map[types.UID]string // resource version, by event
}

// list returns the wanted events, oldest first.
func (v *eventView) list(ctx context.Context) ([]corev1.Event, error) {
	scope, notes, err := v.cluster.scope(ctx, v.wanted.sync)
	if err != nil {
		return nil, err
	}
	v.scope = scope
	for _, note := range notes {
		fmt.Fprintln(v.stderr, "muster: "+printable(note))
	}
	var list []corev1.Event
	err = v.cluster.each(ctx, events, func(u *unstructured.Unstructured) error {
		e, err := eventOf(u)
		if err == nil && v.wanted.has(v.scope, e) {
			list = append(list, e)
		}
		return err
	})
	if err != nil {
		return nil, v.cluster.explain("list events", err)
	}
	slices.SortStableFunc(list, func(a, b corev1.Event) int { return lastSeen(a).Compare(lastSeen(b)) })
	return list, nil
}

// watch shows the events, and then each one that is new or has happened again.
func (v *eventView) watch(ctx context.Context) error {
	open, err := v.cluster.streaming()
	if err != nil {
		return err
	}
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fail := func(err error) {
		if err != nil && failed == nil {
			failed = err
			cancel()
		}
	}
	started := false
	all := func() {
		list, err := v.list(ctx)
		if err == nil {
			list = slices.DeleteFunc(list, v.again)
			if started {
				err = v.printEach(list)
			} else {
				err = v.printAll(list)
			}
		}
		started = true
		fail(err)
	}
	err = open.follow(ctx, events, metav1.ListOptions{}, func() {
		if !started {
			all()
		}
	}, func(change *watch.Event) {
		if change == nil {
			all()
		} else {
			fail(v.handle(ctx, *change))
		}
	})
	if failed != nil {
		return failed
	}
	if ctx.Err() != nil {
		return err
	}
	return v.cluster.explain("watch events", err)
}

// handle prints an event if it is wanted and new.
func (v *eventView) handle(ctx context.Context, change watch.Event) error {
	u, ok := change.Object.(*unstructured.Unstructured)
	if !ok || change.Type == watch.Deleted {
		return nil
	}
	e, err := eventOf(u)
	if err != nil {
		return err
	}
	if v.scope.unknown(e.InvolvedObject) {
		// The operator has created a CronJob since. An object that stays unknown belongs to someone else.
		fresh, _, err := v.cluster.scope(ctx, v.wanted.sync)
		if err != nil {
			return err
		}
		fresh.foreign = v.scope.foreign
		v.scope = fresh
		v.scope.ignore(e.InvolvedObject)
	}
	if !v.wanted.has(v.scope, e) || v.again(e) {
		return nil
	}
	return v.printEach([]corev1.Event{e})
}

// again reports whether this version of an event was printed before, and notes it.
func (v *eventView) again(e corev1.Event) bool {
	if v.seen[e.UID] == e.ResourceVersion {
		return true
	}
	v.seen[e.UID] = e.ResourceVersion
	return false
}

func eventOf(u *unstructured.Unstructured) (corev1.Event, error) {
	u.SetManagedFields(nil)
	var e corev1.Event
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &e); err != nil {
		return e, fmt.Errorf("read event %s: %w", u.GetName(), err)
	}
	return e, nil
}

// lastSeen is when an event happened the last time. Which field has it depends on the API that it was written by.
func lastSeen(e corev1.Event) time.Time {
	switch {
	case e.Series != nil && !e.Series.LastObservedTime.IsZero():
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	case !e.FirstTimestamp.IsZero():
		return e.FirstTimestamp.Time
	}
	return e.CreationTimestamp.Time
}

// seenText is how long ago an event happened, and how often: "3m (x5 over 10m)", as kubectl writes it.
func seenText(now time.Time, e corev1.Event) string {
	text, count := span(now.Sub(lastSeen(e))), e.Count
	if e.Series != nil {
		count = e.Series.Count
	}
	first := e.FirstTimestamp.Time
	if first.IsZero() {
		first = e.EventTime.Time
	}
	if count > 1 && !first.IsZero() {
		text += fmt.Sprintf(" (x%d over %s)", count, span(now.Sub(first)))
	}
	return text
}

// document is an event for programs.
func (v *eventView) document(e corev1.Event) (map[string]any, error) {
	e.APIVersion, e.Kind = "v1", "Event"
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&e)
	if err != nil {
		return nil, fmt.Errorf("print event %s: %w", e.Name, err)
	}
	return v.valuesFor(false).mapping(object), nil
}
