package scanstate

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// Reader lists the live objects for the entries of audit configs.
type Reader struct {
	// Client reads from the API server; a cache can't list in chunks.
	Client client.Reader
	// ChunkSize is the number of objects in one response; 0 means 500. At most that many untrimmed objects are in memory.
	ChunkSize int64
}

const defaultChunk = 500

// OwnSelector selects the Jobs that Muster creates for the entries of an audit config.
func OwnSelector(auditConfig string) labels.Selector {
	return labels.SelectorFromSet(labels.Set{LabelAuditConfig: auditConfig})
}

// Selector selects the CronJobs, Jobs and Pods that the operator and Kubernetes create for the entries of an audit config.
func Selector(auditConfig string) labels.Selector {
	return labels.SelectorFromSet(labels.Set{mondoo.LabelApp: mondoo.AppValue, mondoo.LabelScan: mondoo.ScanValue, mondoo.LabelAuditConfig: auditConfig})
}

// Read lists the CronJobs, Jobs and Pods of one audit config.
func (r Reader) Read(ctx context.Context, namespace, auditConfig string) (Observed, error) {
	var o Observed
	// Pods first, then Jobs, then CronJobs. If objects are created meanwhile, a CronJob is seen without its Job, or a Job without its
	// Pod, and Derive waits for those.
	read := func(list client.ObjectList, reset func(), keep func()) error {
		return r.chunks(ctx, list, namespace, Selector(auditConfig), reset, keep)
	}
	var pods corev1.PodList
	err := read(&pods, func() { o.Pods = nil }, func() {
		for i := range pods.Items {
			if p := &pods.Items[i]; p.Status.Phase != corev1.PodSucceeded {
				o.Pods = append(o.Pods, TrimPod(p))
			}
		}
		pods.Items = nil // decoding into existing items may keep some of their fields
	})
	if err != nil {
		return Observed{}, fmt.Errorf("list Pods: %w", err)
	}
	for _, selector := range []labels.Selector{OwnSelector(auditConfig), Selector(auditConfig)} {
		var jobs batchv1.JobList
		before := len(o.Jobs)
		err = r.chunks(ctx, &jobs, namespace, selector, func() { o.Jobs = o.Jobs[:before] }, func() {
			for i := range jobs.Items {
				o.Jobs = append(o.Jobs, TrimJob(&jobs.Items[i]))
			}
			jobs.Items = nil
		})
		if err != nil {
			return Observed{}, fmt.Errorf("list Jobs: %w", err)
		}
	}
	var cronJobs batchv1.CronJobList
	err = read(&cronJobs, func() { o.CronJobs = nil }, func() {
		for i := range cronJobs.Items {
			o.CronJobs = append(o.CronJobs, TrimCronJob(&cronJobs.Items[i]))
		}
		cronJobs.Items = nil
	})
	if err != nil {
		return Observed{}, fmt.Errorf("list CronJobs: %w", err)
	}
	return o, nil
}

// chunks lists in chunks. It starts over once if etcd has compacted the revision of the list.
func (r Reader) chunks(ctx context.Context, list client.ObjectList, namespace string, selector labels.Selector, reset, keep func()) error {
	size := r.ChunkSize
	if size == 0 {
		size = defaultChunk
	}
	again := true
	for next := ""; ; {
		err := r.Client.List(ctx, list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector},
			client.Limit(size), client.Continue(next))
		if apierrors.IsResourceExpired(err) && again {
			again, next = false, ""
			reset()
			continue
		}
		if err != nil {
			return err
		}
		keep()
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}
