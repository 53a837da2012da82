package e2e_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// BenchmarkAuditSyncs measures the same clusters in one AuditSync, and in twenty with folders of their own in one repository. A poll is
// one of each. It prints the table of BenchmarkController, with the requests to the Git server for each row.
func BenchmarkAuditSyncs(b *testing.B) {
	for _, parts := range []int{1, 20} {
		b.Run(strconv.Itoa(parts), func(b *testing.B) {
			for b.Loop() {
				newMeasured(b, 1_000, parts).compare()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func (m *measured) compare() {
	fmt.Printf("\n%d clusters in %d AuditSyncs\n%-34s %9s %9s %9s %9s  %s\n", m.n, m.parts, "", "wall", "CPU", "of cold", "peak", "requests")
	git := func(work func()) {
		before := len(m.server.Requests())
		work()
		fmt.Printf("%-34s %d requests to the Git server\n", "", len(m.server.Requests())-before)
	}
	m.idle()
	git(func() { m.row("cold", 1, func() { m.untilApplied(m.git("rev-parse", "HEAD"), m.createPlain) }) })
	m.change(func(a *v1alpha1.AuditSync) { a.Spec.Interval = &metav1.Duration{Duration: pollEvery} })
	m.untilPolled(2)
	git(func() { m.row("poll without news", polls, func() { m.untilPolled(polls) }) })
	m.change(func(a *v1alpha1.AuditSync) { a.Spec.Interval = &metav1.Duration{Duration: time.Hour} })
	m.idle()
	git(func() { m.pushed("one file", 1) })
}
