package scanstate

import (
	"context"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
)

// expiring is an API server that forgets where a list of CronJobs was, as many times as it says.
type expiring struct {
	client.Reader
	forgets int
}

func (e *expiring) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	cronJobs, ok := list.(*batchv1.CronJobList)
	if !ok {
		return nil
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	if o.Continue != "" && e.forgets > 0 {
		e.forgets--
		return apierrors.NewResourceExpired("too old")
	}
	name := "first"
	if o.Continue != "" {
		name = "second"
	}
	cronJobs.Continue = map[string]string{"first": "go on"}[name]
	cronJobs.Items = append(cronJobs.Items, batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{mondoo.LabelCluster: name}}})
	return nil
}

func TestExpiredList(t *testing.T) {
	cases := map[string]struct {
		reason  string
		forgets int
		fails   bool
	}{
		"never": {"two chunks are one list", 0, false},
		"once":  {"it starts over, and nothing is there twice", 1, false},
		"twice": {"a server that always forgets is no reason to go on for ever", 2, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o, err := Reader{Client: &expiring{forgets: c.forgets}}.Read(t.Context(), namespace, auditConfig)
			if c.fails {
				if !apierrors.IsResourceExpired(err) {
					t.Errorf("%s: got %v", c.reason, err)
				}
				return
			}
			if err != nil || len(o.CronJobs) != 2 || o.CronJobs[0].Cluster != "first" || o.CronJobs[1].Cluster != "second" {
				t.Errorf("%s: got %+v, %v", c.reason, o.CronJobs, err)
			}
		})
	}
}

// twoJobs has a Job of a schedule and one of Muster's.
type twoJobs struct{ client.Reader }

func (twoJobs) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	jobs, ok := list.(*batchv1.JobList)
	if !ok {
		return nil
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	for name, set := range map[string]labels.Set{"scheduled": mondoo.ScanLabels(auditConfig, "a"), "own": {LabelAuditConfig: auditConfig, LabelCluster: "a"}, "other": {LabelAuditConfig: "other", LabelCluster: "a"}} {
		if o.LabelSelector.Matches(set) {
			jobs.Items = append(jobs.Items, batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: set}})
		}
	}
	return nil
}

// TestOwnJobs: the Jobs that Muster makes have labels of their own, and are read too.
func TestOwnJobs(t *testing.T) {
	o, err := Reader{Client: twoJobs{}}.Read(t.Context(), namespace, auditConfig)
	if err != nil || len(o.Jobs) != 2 || o.Jobs[0].Name != "own" || !o.Jobs[0].Own || o.Jobs[0].Cluster != "a" || o.Jobs[1].Own || o.Jobs[1].Cluster != "a" {
		t.Errorf("got %+v, %v", o.Jobs, err)
	}
}
