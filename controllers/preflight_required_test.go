package controllers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync/forge"
)

// required is a target whose commits are on a forge.
type required struct {
	*target
	forge *forgeWorld
}

func newRequired(t *testing.T) *required {
	t.Helper()
	f := newForgeWorld(t, forge.Gitea, time.Now)
	return &required{target: newTargetFor(t, f.world), forge: f}
}

func mustCheck(s *v1alpha1.AuditSync) {
	s.Spec.Preflight = v1alpha1.Preflight{Mode: v1alpha1.PreflightRequired, AllowAddresses: []string{"127.0.0.1"}}
}

// commits pushes files and requests a sync.
func (r *required) commits(files map[string]string, remove ...string) string {
	r.Helper()
	commit := r.forge.commit(files, remove...)
	r.request()
	return commit
}

// shown are the posts about a commit itself.
func (r *required) shown(commit string) (states []string) {
	for _, post := range r.forge.posts(commit) {
		if text, own := strings.CutPrefix(post, "muster/production "); own {
			states = append(states, text)
		}
	}
	return states
}

// untilShown waits for posts about a commit, of which each begins as wanted.
func (r *required) untilShown(commit string, want ...string) {
	r.Helper()
	r.eventually("the posts about "+commit[:10]+": "+strings.Join(want, ", "), func() bool { return len(r.shown(commit)) >= len(want) })
	r.shows(commit, want...)
}

func (r *required) shows(commit string, want ...string) {
	r.Helper()
	got := slices.DeleteFunc(r.shown(commit), func(post string) bool { return strings.HasPrefix(post, "pending") })
	want = slices.DeleteFunc(want, func(post string) bool { return strings.HasPrefix(post, "pending") })
	same := slices.EqualFunc(got, want, strings.HasPrefix)
	if !same {
		r.Errorf("posted about %s:\n\t%s\nwant\n\t%s", commit[:10], strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// token is the token that is applied for a cluster; "" for none.
func (r *required) token(cluster string) string {
	r.Helper()
	entry := r.entries("mondoo-client")[cluster]
	if entry.ServiceAccountAuth == nil {
		return ""
	}
	return string(r.secret(entry.ServiceAccountAuth.CredentialsSecretRef.Name).Data["token"])
}

func (r *required) untilToken(cluster, token string) {
	r.Helper()
	r.eventually("the new token of "+cluster, func() bool { return r.token(cluster) == token })
}

// ready is the condition Ready.
func (r *required) ready() string {
	c := condition(r.sync().Status, v1alpha1.ConditionReady)
	return c.Reason + ": " + c.Message
}

// TestPreflightRequired rotates credentials without a gap: what doesn't work at the target never replaces what does.
func TestPreflightRequired(t *testing.T) {
	m := newRequired(t)
	first, second, third := m.account("first"), m.account("second"), m.account("third")
	eu, us := m.door(), m.door()
	const wrong = "eyJhbGciOiJSUzI1NiJ9.CANARY-of-another-cluster.c2lnbmF0dXJl"
	m.createSync(m.forge.withForge(forge.Gitea))
	m.startController(nil)
	commit := m.commits(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile,
		"clusters/eu.yaml": m.file("eu", eu.url(), first, m.plane.CACert()), "clusters/old.yaml": m.file("old", us.url(), wrong, m.plane.CACert())})
	m.untilReady(commit)

	// What is applied unchanged passes the gate when it is closed, working or not.
	m.changeSync(mustCheck)
	m.untilCauses("old credential-rejected", 1)
	if got := m.ready(); !strings.HasPrefix(got, "Succeeded") || m.token("old") != wrong {
		t.Errorf("the first sync in mode Required: %s", got)
	}

	begun := time.Now()
	bad := m.commits(map[string]string{"clusters/eu.yaml": m.file("eu", eu.url(), wrong, m.plane.CACert()),
		"clusters/us.yaml": m.file("us", us.url(), second, plane.CACert())})
	m.untilShown(bad, "failure 2 of 3 clusters can't be used: clusters/eu.yaml: the credential failed the preflight: login: the server rejected the credential")
	t.Logf("the commit's status was red after %s", time.Since(begun).Round(100*time.Millisecond))
	if names := m.names("mondoo-client"); m.token("eu") != first || !slices.Equal(names, []string{"eu", "old"}) {
		t.Errorf("a credential that doesn't work was applied: %v", names)
	}
	problems := toJSON(t, m.sync().Status.Problems)
	for _, want := range []string{"the server rejected the credential", "(credential-rejected); what is applied stays", "(server-certificate-unknown); the cluster is not added"} {
		if !strings.Contains(problems, want) {
			t.Errorf("the problems don't say %q: %s", want, problems)
		}
	}

	// A restart checks what is held again, and nothing flickers.
	m.stopController()
	once := eu.connections.Load()
	m.startController(nil)
	m.eventually("the held change is checked again", func() bool { return eu.connections.Load() > once })
	m.request()
	m.shows(bad, "failure 2 of 3")

	begun = time.Now()
	good := m.commits(map[string]string{"clusters/eu.yaml": m.file("eu", eu.url(), second, m.plane.CACert()), "clusters/us.yaml": m.file("us", us.url(), second, m.plane.CACert())})
	m.untilToken("eu", second)
	m.untilToken("us", second)
	t.Logf("the new tokens were applied after %s", time.Since(begun).Round(100*time.Millisecond))
	m.untilShown(good, "success 3 clusters applied: 1 added (us), 1 changed (eu); but 1 failed preflight: clusters/old.yaml: the preflight failed: login")

	// A scan that runs with the applied credential ends first.
	job := m.scanJob("eu")
	waits := m.commits(map[string]string{"clusters/eu.yaml": m.file("eu", eu.url(), third, m.plane.CACert())})
	m.until("the scan is waited for", func(s *v1alpha1.AuditSync) bool {
		return strings.Contains(toJSON(t, s.Status.Problems), "waits for the end of the scan that runs; what is applied stays")
	})
	if m.token("eu") != second || len(m.forgeFailures(waits)) > 0 {
		t.Errorf("while a scan runs: %v", m.shown(waits))
	}
	now := metav1.Now()
	job.Status.StartTime, job.Status.CompletionTime, job.Status.Succeeded = &now, &now, 1
	job.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue, LastTransitionTime: now}, {Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: now}}
	must(t, m.admin.Status().Update(t.Context(), job))
	m.untilToken("eu", third)
	m.untilShown(waits, "success 3 clusters applied: 1 changed (eu); but")
	m.leaks(first, second, third, wrong)
}

func (r *required) forgeFailures(commit string) []string {
	return slices.DeleteFunc(r.shown(commit), func(post string) bool { return strings.HasPrefix(post, "pending") })
}

// scanJob makes a Job as the operator's CronJob does.
func (r *required) scanJob(cluster string) *batchv1.Job {
	r.Helper()
	pod := corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "scan", Image: "scan"}}}}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "scan-" + cluster, Labels: mondoo.ScanLabels("mondoo-client", cluster)}, Spec: batchv1.JobSpec{Template: pod}}
	must(r.T, r.admin.Create(r.Context(), job))
	must(r.T, r.admin.Get(r.Context(), client.ObjectKeyFromObject(job), job))
	return job
}
