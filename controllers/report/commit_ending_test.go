package report_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/report"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// reporting is an AuditSync that reports, with a status that is pending where it reports.
func reporting() *v1alpha1.AuditSync {
	sync := auditSync("production")
	sync.Spec.Source.URL = "https://git.example.com/platform/fleet.git"
	sync.Spec.Forge = &v1alpha1.Forge{Provider: "gitea", SecretRef: v1alpha1.SecretRef{Name: "robot"}}
	sync.Status.PendingRevisions = []string{"main@sha1:" + strings.Repeat("1", 40)}
	sync.Status.PendingAt = report.Place(sync)
	return sync
}

func TestEnding(t *testing.T) {
	now := metav1.Now()
	for _, test := range []struct {
		reason string
		change func(*v1alpha1.AuditSync)
		want   string
	}{
		{"somebody is at it", func(*v1alpha1.AuditSync) {}, ""},
		{"nothing tells where it is, as before Muster wrote that down", func(s *v1alpha1.AuditSync) { s.Status.PendingAt = nil }, ""},
		{"the same repository in other words", func(s *v1alpha1.AuditSync) {
			s.Spec.Source.URL = "https://GIT.example.com/platform/fleet"
			s.Spec.Forge.APIURL = "https://git.example.com"
		}, ""},
		{"other credentials", func(s *v1alpha1.AuditSync) { s.Spec.Forge.SecretRef.Name = "other" }, ""},
		{"suspended", func(s *v1alpha1.AuditSync) { s.Spec.Suspend = true }, "the AuditSync was suspended before there was a result"},
		{"deleted, whatever else", func(s *v1alpha1.AuditSync) { s.DeletionTimestamp, s.Spec.Suspend, s.Spec.Forge = &now, true, nil },
			"the AuditSync was deleted before there was a result"},
		{"no forge any more", func(s *v1alpha1.AuditSync) { s.Spec.Forge = nil }, "reports were turned off before there was a result"},
		{"another name", func(s *v1alpha1.AuditSync) { s.Spec.Forge.Context = "muster/eu" }, "reported as muster/eu from now on"},
		{"another repository", func(s *v1alpha1.AuditSync) { s.Spec.Source.URL = "https://git.example.com/platform/CANARY" },
			"the AuditSync was pointed at another repository or forge before there was a result"},
		{"another provider", func(s *v1alpha1.AuditSync) { s.Spec.Forge.Provider = "gitlab" },
			"the AuditSync was pointed at another repository or forge before there was a result"},
		{"another server, and suspended", func(s *v1alpha1.AuditSync) { s.Spec.Suspend, s.Spec.Forge.APIURL = true, "https://CANARY.example.com" },
			"the AuditSync was pointed at another repository or forge before there was a result"},
		{"an address that is none", func(s *v1alpha1.AuditSync) { s.Spec.Source.URL = "https://CANARY" },
			"the AuditSync was pointed at another repository or forge before there was a result"},
	} {
		sync := reporting()
		test.change(sync)
		got := report.Ending(sync)
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.reason, got, test.want)
		}
		if len(got) > 140 {
			t.Errorf("%s: %d characters, which GitHub cuts", test.reason, len(got))
		}
	}
	if s := report.CommitEnded("muster/production", "over"); s != (forge.Status{Context: "muster/production", State: forge.Canceled, Description: "over"}) {
		t.Errorf("%+v", s)
	}
}

func TestLeftPending(t *testing.T) {
	sync := reporting()
	e := report.LeftPending([]string{strings.Repeat("1", 40), strings.Repeat("2", 40)}, sync.Status.PendingAt, "nobody answers")
	if want := "the commit status of 1111111111, 2222222222 as muster/production in https://git.example.com/platform/fleet.git stays pending: nobody answers"; e.Note != want {
		t.Errorf("%s", e.Note)
	}
	if e := report.LeftPending([]string{strings.Repeat("1", 40)}, nil, strings.Repeat("x", 5000)); len([]rune(e.Note)) > 1024 {
		t.Errorf("Kubernetes refuses a note of %d characters", len(e.Note))
	}
}
