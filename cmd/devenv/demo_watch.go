package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// lines writes complete lines from several goroutines.
type lines struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *lines) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, format+"\n", args...)
}

// Event writes an event about a subject, with the time.
func (l *lines) Event(subject, format string, args ...any) {
	l.Printf("%s  %-13s  %s", time.Now().Format(time.TimeOnly), subject, fmt.Sprintf(format, args...))
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

var auditConfigKind = schema.GroupVersionKind{Group: mondoo.Group, Version: mondoo.Version, Kind: mondoo.Kind}

// watch writes a line for each change of an AuditSync's status, and of an audit config's list of clusters.
func (c *demoCluster) watch(ctx context.Context, out *lines) error {
	objects, err := cache.New(c.config, cache.Options{Scheme: c.client.Scheme(), DefaultNamespaces: map[string]cache.Config{demoNamespace: {}}})
	if err != nil {
		return fmt.Errorf("watch AuditSyncs: %w", err)
	}
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		objects.Start(watching) // returns no error that GetInformer doesn't
	}()
	c.stop = func() { cancel(); <-ended }
	config := &unstructured.Unstructured{}
	config.SetGroupVersionKind(auditConfigKind)
	for object, tell := range map[client.Object]func(before, after any){
		&v1alpha1.AuditSync{}: func(before, after any) { tellSync(out, before, after) },
		config:                func(before, after any) { tellClusters(out, before, after) },
	} {
		informer, err := objects.GetInformer(ctx, object)
		if err == nil {
			_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
				AddFunc:    func(o any) { tell(nil, o) },
				UpdateFunc: tell,
			})
		}
		if err != nil {
			c.stop()
			return fmt.Errorf("watch AuditSyncs and audit configs: %w", err)
		}
	}
	return nil
}

func (c *demoCluster) stopWatch() error {
	c.stop()
	return nil
}

func tellSync(out *lines, before, after any) {
	verdict := verdictOf(after)
	if verdict != "" && verdict != verdictOf(before) {
		out.Event(after.(*v1alpha1.AuditSync).Name, "%s", verdict)
	}
}

// verdictOf is the message of the condition Ready, on one line.
func verdictOf(object any) string {
	sync, ok := object.(*v1alpha1.AuditSync)
	if !ok {
		return ""
	}
	ready := meta.FindStatusCondition(sync.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return ""
	}
	word := ready.Reason
	if ready.Status == metav1.ConditionTrue {
		word = "Ready"
	}
	return word + ": " + shortRevisions(ready.Message)
}

var fullCommit = regexp.MustCompile(`(sha1:[0-9a-f]{7})[0-9a-f]{33}\b`)

// shortRevisions cuts the commits in revisions to seven digits, as Git does. A bare commit stays whole, so that it can be
// copied.
func shortRevisions(text string) string { return fullCommit.ReplaceAllString(text, "$1") }

func tellClusters(out *lines, before, after any) {
	config := after.(*unstructured.Unstructured)
	if changes := changedClusters(entriesOf(before), entriesOf(after)); changes != "" {
		out.Event(config.GetName(), "externalClusters: %s (written by %s)", changes, listWriter(config))
	}
}

func entriesOf(object any) map[string]any {
	config, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	list, err := mondoo.Entries(config.Object)
	if err != nil {
		return nil
	}
	entries := map[string]any{}
	for _, raw := range list {
		if entry, err := mondoo.ParseEntry(raw); err == nil {
			entries[entry.Name] = entry
		}
	}
	return entries
}

// changedClusters lists the changes with the signs of `muster plan`: + added, ~ changed, - removed.
func changedClusters(before, after map[string]any) string {
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		switch old, known := before[name]; {
		case !known:
			changes = append(changes, "+"+name)
		case !reflect.DeepEqual(old, after[name]):
			changes = append(changes, "~"+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, kept := after[name]; !kept {
			changes = append(changes, "-"+name)
		}
	}
	return strings.Join(changes, " ")
}

// listWriter is the last manager that wrote the list. The list is atomic, so one manager owns all of it.
func listWriter(config *unstructured.Unstructured) string {
	for _, m := range config.GetManagedFields() {
		if m.FieldsV1 != nil && bytes.Contains(m.FieldsV1.GetRawBytes(), []byte(`"f:externalClusters"`)) {
			return m.Manager
		}
	}
	return "unknown"
}
