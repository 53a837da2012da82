package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// BenchmarkWebhookToApplied pushes ten changes of one cluster out of 1,000, each with an encrypted kubeconfig, to Gitea, and
// waits until the status of the AuditSync says that they are applied. Muster hears of them by Gitea's webhook alone. It prints,
// in milliseconds, the median and the slowest:
//
//	push      from the start of git push to its end
//	webhook   from the end of git push until Muster has taken the webhook in, and has asked for a sync
//	applied   from the webhook until the change is applied
//	all       from the end of git push until the change is applied
func BenchmarkWebhookToApplied(b *testing.B) {
	const n = 1000
	w := newWorld(b, false)
	files := map[string]string{"clusters/mondoo-client.yaml": auditConfigFile}
	for i := range n {
		files[pathOf(i)] = w.sealedCluster(nameOf(i), far(0))
	}
	commit := w.push(files)
	w.startController(scanstate.Bounds{})
	w.createSync(nil)
	events, err := w.admin.Watch(b.Context(), &v1alpha1.AuditSyncList{}, client.InNamespace(namespace))
	must(b, err)
	defer events.Stop()
	w.follow(events, commit, "")

	var all timings
	for b.Loop() {
		for range 10 {
			i := len(all)
			commit := w.commit(map[string]string{pathOf(i % n): strings.Replace(files[pathOf(i%n)], far(0), far(1+i/n), 1)})
			time.Sleep(time.Second) // of a burst the webhook's receiver passes on one in a second
			all = append(all, w.measure(events, commit))
		}
	}
	for i, part := range []string{"push", "webhook", "applied", "all"} {
		median, most := all.of(i)
		b.ReportMetric(median, part+"-ms")
		b.ReportMetric(most, part+"-max-ms")
	}
	b.ReportMetric(0, "ns/op") // commits and pauses are in that
}

// timing is one change: push, webhook, applied, all.
type timing [4]time.Duration

type timings []timing

func (t timings) of(part int) (median, most float64) {
	var list []time.Duration
	for _, one := range t {
		list = append(list, one[part])
	}
	slices.Sort(list)
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return milliseconds(list[len(list)/2]), milliseconds(list[len(list)-1])
}

func (w *world) measure(events watch.Interface, commit string) timing {
	w.Helper()
	before := w.audit().Annotations[v1alpha1.AnnotationReconcile]
	began := time.Now()
	w.git("push", "-q", "origin", "main")
	pushed := time.Now()
	asked, applied := w.follow(events, commit, before)
	return timing{pushed.Sub(began), max(asked.Sub(pushed), 0), applied.Sub(asked), applied.Sub(pushed)}
}

// follow waits until a commit is applied, and says when that was and when the sync was asked for: when the annotation was no
// longer what it was before.
func (w *world) follow(events watch.Interface, commit, before string) (asked, applied time.Time) {
	w.Helper()
	limit := time.After(patience)
	for {
		select {
		case event := <-events.ResultChan():
			audit, ok := event.Object.(*v1alpha1.AuditSync)
			if !ok {
				w.Fatalf("the watch ended: %+v", event)
			}
			if asked.IsZero() && audit.Annotations[v1alpha1.AnnotationReconcile] != before {
				asked = time.Now()
			}
			if strings.HasSuffix(audit.Status.LastAppliedRevision, commit) {
				return asked, time.Now()
			}
		case <-limit:
			w.Fatalf("%s is not applied after %s: %+v", commit, patience, w.audit().Status)
		}
	}
}

func nameOf(i int) string { return fmt.Sprintf("c%04d", i) }

func pathOf(i int) string { return "clusters/" + nameOf(i) + ".yaml" }
