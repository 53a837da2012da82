package doctor

import (
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
)

var (
	errForbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "y", errors.New("no"))
	errNotFound  = apierrors.NewNotFound(schema.GroupResource{Resource: "x"}, "y")
	errLogin     = apierrors.NewUnauthorized("no")
)

// verdict is a result and a text of its detail or fix.
type verdict struct {
	result Result
	says   string
}

// judged compares checks with what is wanted of them, and holds that whatever isn't passed has a cause, and a fix unless it was
// skipped.
func judged(t *testing.T, reason string, checks []Check, want ...verdict) {
	t.Helper()
	if len(checks) != len(want) {
		t.Errorf("%s: %+v, want %d checks", reason, checks, len(want))
		return
	}
	for i, c := range checks {
		if c.Result != want[i].result || !strings.Contains(c.Detail+" "+c.Fix, want[i].says) {
			t.Errorf("%s: %+v, want %+v", reason, c, want[i])
		}
		if c.Category == "" || c.Name == "" || c.Result != Passed && c.Detail == "" || c.Fix == "" && (c.Result == Failed || c.Result == Warning) {
			t.Errorf("%s: incomplete: %+v", reason, c)
		}
	}
}

func TestKubernetesChecks(t *testing.T) {
	for _, row := range []struct {
		reason, version string
		err             error
		want            []verdict
	}{
		{"the tested version", "v1.37.2", nil, []verdict{{Passed, "host"}, {Passed, "v1.37.2"}}},
		{"a vendor's version", "v1.33.4-gke.1000", nil, []verdict{{Passed, ""}, {Passed, "gke"}}},
		{"the oldest", "v1.29.0", nil, []verdict{{Passed, ""}, {Passed, ""}}},
		{"too old", "v1.28.15", nil, []verdict{{Passed, ""}, {Failed, "Muster needs 1.29"}}},
		{"newer", "v1.38.0", nil, []verdict{{Passed, ""}, {Warning, "tested with 1.37"}}},
		{"no version", "unknown", nil, []verdict{{Passed, ""}, {Warning, "not a version"}}},
		{"the login has expired", "", errLogin, []verdict{{Failed, "rejected the credentials"}}},
		{"no right to the version", "", errForbidden, []verdict{{Passed, ""}, {Skipped, "you may not"}}},
		{"nothing answers", "", errors.New("dial tcp: connection refused"), []verdict{{Failed, "connection refused"}}},
	} {
		judged(t, row.reason, kubernetesChecks("https://host", row.version, row.err), row.want...)
	}
}

// deployment makes one of the controller, with a status of so many ready Pods.
func deployment(wanted, ready int32, image string, args ...string) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "muster", Namespace: "mondoo-operator", Generation: 2}}
	d.Spec.Replicas, d.Status.ReadyReplicas, d.Status.ObservedGeneration = &wanted, ready, 2
	d.Spec.Template.Labels = map[string]string{"app": "muster"}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "muster", Image: image, Args: args}}
	return d
}

func TestReadyCheck(t *testing.T) {
	waiting := func(reason string, last *corev1.ContainerStateTerminated) []corev1.Pod {
		return []corev1.Pod{{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "m"}}, LastTerminationState: corev1.ContainerState{Terminated: last}}}}}}
	}
	unscheduled := []corev1.Pod{{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node"}}}}}
	outdated := deployment(1, 1, "muster")
	outdated.Generation = 3
	for _, row := range []struct {
		reason string
		of     *appsv1.Deployment
		pods   []corev1.Pod
		want   verdict
	}{
		{"ready", deployment(1, 1, "muster"), nil, verdict{Passed, "1 Pod"}},
		{"the default of one replica", &appsv1.Deployment{Status: appsv1.DeploymentStatus{ReadyReplicas: 1}}, nil, verdict{Passed, "1 Pod"}},
		{"one of two", deployment(2, 1, "muster"), nil, verdict{Warning, "1 of 2 Pods ready"}},
		{"scaled to 0", deployment(0, 0, "muster"), nil, verdict{Failed, "--replicas=1"}},
		{"no image", deployment(1, 0, "muster"), waiting("ImagePullBackOff", nil), verdict{Failed, "0 of 1 Pod ready: ImagePullBackOff: m"}},
		{"out of memory", deployment(1, 0, "muster"), waiting("CrashLoopBackOff", &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}), verdict{Failed, "CrashLoopBackOff (last ended with OOMKilled, status 137)"}},
		{"starting", deployment(1, 0, "muster"), waiting("ContainerCreating", nil), verdict{Failed, "0 of 1 Pod ready"}},
		{"no node", deployment(1, 0, "muster"), unscheduled, verdict{Failed, "Unschedulable: no node"}},
		{"the change is not rolled out yet", outdated, nil, verdict{Warning, "not rolled out yet"}},
	} {
		judged(t, row.reason, []Check{readyCheck(row.of, row.pods)}, row.want)
	}
}

func TestVersionCheck(t *testing.T) {
	for _, row := range []struct {
		reason, image, version string
		want                   verdict
	}{
		{"the same", "registry:5000/muster:v1.2.3", "v1.2.3", verdict{Passed, "v1.2.3"}},
		{"with a digest", "muster:v1.2.3@sha256:00", "v1.2.3", verdict{Passed, "v1.2.3"}},
		{"another", "muster:v1.2.3", "v1.3.0", verdict{Warning, "the controller is v1.2.3, and this program is v1.3.0"}},
		{"a digest alone", "registry:5000/muster@sha256:00", "v1.3.0", verdict{Skipped, "no tag"}},
		{"built from a work tree", "muster:v1.2.3", "devel", verdict{Skipped, "development build"}},
	} {
		judged(t, row.reason, []Check{versionCheck(row.image, row.version)}, row.want)
	}
}

func TestLeaseCheck(t *testing.T) {
	now := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	lease := func(holder string, renewed time.Duration, seconds int32) *coordinationv1.Lease {
		at := metav1.NewMicroTime(now.Add(-renewed))
		return &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &at, LeaseDurationSeconds: &seconds}}
	}
	elects := deployment(1, 1, "muster", "controller", "--leader-elect")
	for _, row := range []struct {
		reason string
		of     *appsv1.Deployment
		lease  *coordinationv1.Lease
		err    error
		want   verdict
	}{
		{"held", elects, lease("muster-0_1b2c", time.Second, 15), nil, verdict{Passed, "muster-0"}},
		{"held a while ago, by a clock that may be wrong", elects, lease("muster-0_1b2c", 30*time.Second, 15), nil, verdict{Passed, ""}},
		{"not renewed", elects, lease("muster-0_1b2c", 31*time.Second, 15), nil, verdict{Failed, "renewed last at 2026-11-23T11:59:29Z"}},
		{"long leases", elects, lease("muster-0_1b2c", 70*time.Second, 60), nil, verdict{Passed, ""}},
		{"never renewed", elects, &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: new("x")}}, nil, verdict{Failed, "renewed never"}},
		{"released", elects, lease("", time.Second, 15), nil, verdict{Failed, "no replica holds"}},
		{"none", elects, nil, errNotFound, verdict{Failed, "there is no Lease"}},
		{"no right", elects, nil, errForbidden, verdict{Skipped, "you may not get Lease"}},
		{"no election", deployment(1, 1, "muster", "controller", "--leader-elect-not"), nil, nil, verdict{Skipped, "without --leader-elect"}},
	} {
		judged(t, row.reason, []Check{leaseCheck(row.of, row.lease, row.err, now)}, row.want)
	}
}

func TestRightsChecks(t *testing.T) {
	patch, list := need{verb: "patch", group: "muster.dev", resource: "auditsyncs"}, need{verb: "list", group: "muster.dev", resource: "auditsyncs"}
	for _, row := range []struct {
		reason  string
		lacking []need
		want    []verdict
	}{
		{"all", nil, []verdict{{Passed, "7 rights"}}},
		{"two of one resource", []need{list, patch}, []verdict{{Failed, "it may not list auditsyncs.muster.dev, patch auditsyncs.muster.dev: no AuditSync is synced"}}},
		{"the subresource is another", []need{patch, {verb: "patch", group: "muster.dev", resource: "auditsyncs", subresource: "status"}},
			[]verdict{{Failed, "no AuditSync is synced"}, {Failed, "patch auditsyncs/status.muster.dev: no result is written"}}},
		{"one that is optional", []need{{verb: "get", resource: "namespaces", name: "n"}}, []verdict{{Warning, "it may not get namespaces n: there is no warning when"}}},
		{"to impersonate", []need{{verb: "impersonate", resource: "serviceaccounts", name: "scans"}}, []verdict{{Failed, "it may not impersonate serviceaccounts scans"}}},
	} {
		judged(t, row.reason, rightsChecks("n", "a fix", 7, row.lacking), row.want...)
	}
}

func TestDelegates(t *testing.T) {
	sync := func(account string) *v1alpha1.AuditSync {
		return &v1alpha1.AuditSync{Spec: v1alpha1.AuditSyncSpec{ServiceAccountName: account}}
	}
	for _, row := range []struct {
		reason   string
		syncs    []*v1alpha1.AuditSync
		accounts []string
		all      bool
	}{
		{"no AuditSync", nil, nil, false},
		{"none names one", []*v1alpha1.AuditSync{sync("")}, nil, false},
		{"all name one", []*v1alpha1.AuditSync{sync("b"), sync("a"), sync("b")}, []string{"a", "b"}, true},
		{"one does not", []*v1alpha1.AuditSync{sync("b"), sync("")}, []string{"b"}, false},
	} {
		if accounts, all := delegates(row.syncs); !slices.Equal(accounts, row.accounts) || all != row.all {
			t.Errorf("%s: %v %t", row.reason, accounts, all)
		}
	}
	var theirs []string
	for _, n := range needsOf(rulesOf(roleManifest), "n") {
		if n.delegated() {
			theirs = append(theirs, n.String())
		}
	}
	// config/rbac/role.yaml says the same in its comments.
	want := []string{"create mondooauditconfigs.k8s.mondoo.com", "patch mondooauditconfigs.k8s.mondoo.com", "delete mondooauditconfigs.k8s.mondoo.com",
		"create secrets", "patch secrets", "delete secrets", "create jobs.batch"}
	if !slices.Equal(theirs, want) {
		t.Errorf("delegated are %v, want %v", theirs, want)
	}
}

func TestOperatorChecks(t *testing.T) {
	operator := func(image string, ready int32) appsv1.Deployment {
		d := deployment(1, ready, image)
		d.Spec.Template.Spec.Containers[0].Name = "manager"
		return *d
	}
	proxied := operator("ghcr.io/mondoohq/mondoo-operator:v13.3.0", 1)
	proxied.Spec.Template.Spec.Containers = append([]corev1.Container{{Name: "proxy", Image: "proxy:v1.0.0"}}, proxied.Spec.Template.Spec.Containers...)
	for _, row := range []struct {
		reason string
		found  []appsv1.Deployment
		want   []verdict
	}{
		{"none", nil, []verdict{{Warning, "no Deployment in ns"}}},
		{"the tested version", []appsv1.Deployment{operator("ghcr.io/mondoohq/mondoo-operator:v13.3.0", 1)}, []verdict{{Passed, ""}, {Passed, "v13.3.0"}}},
		{"without a v", []appsv1.Deployment{operator("mirror/mondoo-operator:13.3.0", 1)}, []verdict{{Passed, ""}, {Passed, "13.3.0"}}},
		{"beside a proxy", []appsv1.Deployment{proxied}, []verdict{{Passed, ""}, {Passed, "v13.3.0"}}},
		{"beside another Deployment", []appsv1.Deployment{operator("other:v1.0.0", 0), operator("mondoo-operator:v13.3.0", 1)}, []verdict{{Passed, ""}, {Passed, "v13.3.0"}}},
		{"older, and not ready", []appsv1.Deployment{operator("mondoo-operator:v13.2.9", 0)}, []verdict{{Failed, "entries get no CronJob"}, {Warning, "older than v13.3.0"}}},
		{"newer", []appsv1.Deployment{operator("mondoo-operator:v13.3.1", 1)}, []verdict{{Passed, ""}, {Warning, "newer than v13.3.0"}}},
		{"a moving tag", []appsv1.Deployment{operator("mondoo-operator:latest", 1)}, []verdict{{Passed, ""}, {Skipped, `"latest"`}}},
	} {
		judged(t, row.reason, operatorChecks("ns", row.found), row.want...)
	}
}

func TestEntryFieldsCheck(t *testing.T) {
	crd := func(without ...string) map[string]any {
		entry := map[string]any{"type": "object", "properties": map[string]any{}}
		for _, field := range entryFields(reflect.TypeFor[mondoo.Entry](), "") {
			if slices.Contains(without, field) {
				continue
			}
			at := entry
			for name := range strings.SplitSeq(field, ".") {
				properties := at["properties"].(map[string]any) //nolint:forcetypeassert // made here
				if properties[name] == nil {
					properties[name] = map[string]any{"properties": map[string]any{}}
				}
				at = properties[name].(map[string]any) //nolint:forcetypeassert // made here
			}
		}
		list := map[string]any{"type": "array", "items": entry}
		resources := map[string]any{"properties": map[string]any{"externalClusters": list}}
		if slices.Contains(without, "externalClusters") {
			resources = map[string]any{}
		}
		spec := map[string]any{"properties": map[string]any{"kubernetesResources": resources}}
		return map[string]any{"spec": map[string]any{"versions": []any{map[string]any{"name": mondoo.Version, "served": true,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{"properties": map[string]any{"spec": spec}}}}}}}
	}
	for _, row := range []struct {
		reason string
		crd    map[string]any
		want   verdict
	}{
		{"everything", crd(), verdict{Passed, ""}},
		{"of the tested version", crd("vaultAuth.vaultNamespace"), verdict{Warning, "lacks vaultAuth.vaultNamespace"}},
		{"of an older version", crd("vaultAuth.vaultNamespace", "spiffeAuth.audience"), verdict{Failed, "lacks spiffeAuth.audience, which the API server drops"}},
		{"without external clusters", crd("externalClusters"), verdict{Failed, "has no spec.kubernetesResources.externalClusters"}},
		{"without this version", map[string]any{}, verdict{Failed, "has no spec.kubernetesResources.externalClusters"}},
	} {
		judged(t, row.reason, []Check{entryFieldsCheck("n", row.crd)}, row.want)
	}
}

func TestRemoteChecks(t *testing.T) {
	remote := map[string]any{"spec": map[string]any{"remoteManaged": true}}
	for _, row := range []struct {
		reason  string
		configs map[string]map[string]any
		managed map[string]bool
		want    verdict
	}{
		{"none", nil, nil, verdict{Passed, "0 audit configs"}},
		{"remote, and not Muster's", map[string]map[string]any{"a": remote}, map[string]bool{"b": true}, verdict{Passed, ""}},
		{"Muster's, and not remote", map[string]map[string]any{"a": {}}, map[string]bool{"a": true}, verdict{Passed, ""}},
		{"both", map[string]map[string]any{"a": remote}, map[string]bool{"a": true}, verdict{Failed, "a has spec.remoteManaged"}},
	} {
		judged(t, row.reason, remoteChecks(row.configs, row.managed), row.want)
	}
}

func TestPodSecurityCheck(t *testing.T) {
	spiffe := map[string]map[string]any{"a": {"spec": map[string]any{"kubernetesResources": map[string]any{"externalClusters": []any{
		map[string]any{"name": "us", "spiffeAuth": map[string]any{"server": "https://us"}}}}}}}
	for _, row := range []struct {
		reason  string
		configs map[string]map[string]any
		level   string
		err     error
		want    verdict
	}{
		{"no SPIFFE", nil, "restricted", nil, verdict{Passed, "no cluster uses SPIFFE"}},
		{"privileged", spiffe, "privileged", nil, verdict{Passed, ""}},
		{"nothing enforced", spiffe, "", nil, verdict{Passed, ""}},
		{"baseline", spiffe, "baseline", nil, verdict{Warning, "rejects the Pods of SPIFFE clusters (us)"}},
		{"restricted", spiffe, "restricted", nil, verdict{Warning, "=privileged"}},
		{"no right", spiffe, "", errForbidden, verdict{Skipped, "you may not get the namespace"}},
	} {
		judged(t, row.reason, []Check{podSecurityCheck("ns", row.configs, row.level, row.err)}, row.want)
	}
}

// sync is an AuditSync of a branch, with a forge.
func sync() *v1alpha1.AuditSync {
	return &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Name: "production", Namespace: "mondoo-operator"}, Spec: v1alpha1.AuditSyncSpec{
		Source: v1alpha1.Source{URL: "https://git.example.com/platform/fleet.git", Ref: &v1alpha1.Ref{Branch: "main"}},
		Forge:  &v1alpha1.Forge{Provider: "gitea", SecretRef: v1alpha1.SecretRef{Name: "fleet-forge"}}}}
}

func TestFetchChecks(t *testing.T) {
	seen := sync()
	seen.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionFetched, Status: metav1.ConditionTrue}}
	for _, row := range []struct {
		reason string
		of     *v1alpha1.AuditSync
		err    error
		want   []verdict
	}{
		{"all is well", sync(), nil, []verdict{{Passed, "https://git.example.com"}, {Passed, "main"}}},
		{"no such branch", sync(), &gitsync.RefNotFoundError{URL: "u", Kind: "branch", Name: "mian"}, []verdict{{Passed, ""}, {Failed, `has no branch "mian"`}}},
		{"a tag of a tree", sync(), &gitsync.NotACommitError{URL: "u", Ref: "r", Type: "tree"}, []verdict{{Passed, ""}, {Failed, "not at a commit"}}},
		{"an address that can't work", sync(), &gitsync.SourceError{Field: "url", Problem: "has no host"}, []verdict{{Failed, "url has no host"}}},
		{"no credentials for ssh", sync(), &gitsync.SecretError{Key: "identity", Problem: "is missing"}, []verdict{{Failed, "identity is missing"}}},
		{"unreachable", sync(), &gitsync.RemoteError{URL: "u", Reason: gitsync.Unreachable}, []verdict{{Failed, "muster status production"}}},
		{"unreachable from here alone", seen, &gitsync.RemoteError{URL: "u", Reason: gitsync.Unreachable}, []verdict{{Warning, "the controller has read it"}}},
		{"credentials that were rejected meanwhile", seen, &gitsync.RemoteError{URL: "u", Reason: gitsync.Unauthorized}, []verdict{{Failed, "muster status"}}},
		{"a full disk", sync(), errors.New("no space left on device"), []verdict{{Failed, "no space"}}},
	} {
		judged(t, row.reason, fetchChecks(row.of, row.err), row.want...)
	}
}

func TestPathCheck(t *testing.T) {
	files := fstest.MapFS{"clusters/eu.yaml": {}}
	for path, want := range map[string]verdict{"": {Passed, "."}, "./clusters": {Passed, "clusters"}, "clusters/": {Passed, ""}, "./cluster": {Failed, "no folder cluster"},
		"clusters/eu.yaml": {Failed, "is a file"}, "../x": {Failed, "spec.path"}} {
		audit := sync()
		audit.Spec.Path = path
		judged(t, path, []Check{pathCheck(audit, fs.FS(files))}, want)
	}
}

func TestForgeChecks(t *testing.T) {
	pulls := sync()
	pulls.Spec.Forge.PullRequests = true
	call := forge.Call{Provider: forge.Gitea, Host: "git.example.com", Repository: "platform/fleet"}
	muster := forge.User{ID: 7, Login: "muster"}
	refused := &forge.RefusedError{Call: call, Status: 403, Missing: "the token lacks a permission", Remedy: "grant it"}
	for _, row := range []struct {
		reason string
		of     *v1alpha1.AuditSync
		facts  forgeFacts
		want   []verdict
	}{
		{"all is well", pulls, forgeFacts{self: muster, statusesAsked: true, write: true}, []verdict{{Passed, "muster"}, {Passed, ""}, {Passed, "may write"}, {Passed, ""}}},
		{"no pull requests are asked for", sync(), forgeFacts{self: muster, statusesAsked: true, write: true}, []verdict{{Passed, ""}, {Passed, ""}, {Passed, ""}}},
		{"a reader", sync(), forgeFacts{self: muster, statusesAsked: true}, []verdict{{Passed, ""}, {Passed, ""}, {Failed, "muster may not write"}}},
		{"unauthorized", sync(), forgeFacts{selfErr: &forge.RefusedError{Call: call, Status: 401, Missing: "the token is rejected"}, statusesAsked: true}, []verdict{{Failed, "renew the token: kubectl -n mondoo-operator edit secret fleet-forge"}}},
		{"a token that may not read its account", sync(), forgeFacts{selfErr: refused, statusesAsked: true}, []verdict{{Passed, "may not read their own account"}, {Passed, ""}, {Skipped, "doesn't tell"}}},
		{"a token that may read nothing", sync(), forgeFacts{selfErr: refused, statuses: refused, statusesAsked: true}, []verdict{{Failed, "lacks a permission"}}},
		{"no commit", sync(), forgeFacts{self: muster, write: true}, []verdict{{Passed, ""}, {Skipped, "the commit is unknown"}, {Passed, ""}}},
		{"no right to statuses", sync(), forgeFacts{self: muster, write: true, statuses: refused, statusesAsked: true}, []verdict{{Passed, ""}, {Failed, "grant the right"}, {Passed, ""}}},
		{"no right to pull requests", pulls, forgeFacts{self: muster, write: true, statusesAsked: true, pulls: refused}, []verdict{{Passed, ""}, {Passed, ""}, {Passed, ""}, {Failed, "no pull request is answered"}}},
		{"the forge is down", sync(), forgeFacts{selfErr: &forge.UnavailableError{Call: call, Problem: "no answer"}}, []verdict{{Failed, "reachable from here"}}},
		{"few requests are left", sync(), forgeFacts{self: muster, write: true, statusesAsked: true, rate: forge.Rate{Limit: 5000, Remaining: 499}}, []verdict{{Passed, ""}, {Passed, ""}, {Passed, ""}, {Warning, "499 of 5000 requests are left"}}},
		{"enough requests are left", sync(), forgeFacts{self: muster, write: true, statusesAsked: true, rate: forge.Rate{Limit: 5000, Remaining: 500}}, []verdict{{Passed, ""}, {Passed, ""}, {Passed, ""}}},
	} {
		judged(t, row.reason, forgeChecks(row.of, row.facts), row.want...)
	}
}

func TestWebhookChecks(t *testing.T) {
	for _, row := range []struct {
		reason string
		data   map[string][]byte
		want   verdict
	}{
		{"long enough", map[string][]byte{"token": []byte(strings.Repeat("a", 16))}, verdict{Passed, ""}},
		{"too short", map[string][]byte{"token": []byte("canary-short")}, verdict{Failed, "key token"}},
		{"no token", map[string][]byte{"secret": []byte(strings.Repeat("a", 16))}, verdict{Failed, "openssl rand"}},
	} {
		c := webhookSecretCheck("n", "ns", "s", row.data)
		judged(t, row.reason, []Check{c}, row.want)
		if strings.Contains(c.Detail+c.Fix, "canary") {
			t.Errorf("%s: the secret is shown: %+v", row.reason, c)
		}
	}
	for args, want := range map[string]verdict{"--webhook-address=:9292": {Passed, ":9292"}, "--webhook-address=0": {Failed, "without --webhook-address"}, "--other": {Failed, "without --webhook-address"}} {
		judged(t, args, []Check{receivesCheck("n", deployment(1, 1, "muster", args))}, want)
	}
}

func TestServiceOf(t *testing.T) {
	service := func(name string, selector map[string]string, target string) corev1.Service {
		return corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{TargetPort: intstr.FromString(target)}}}}
	}
	ours := map[string]string{"app": "muster"}
	found := serviceOf(deployment(1, 1, "muster"), []corev1.Service{service("headless", nil, "webhook"), service("metrics", ours, "metrics"),
		service("other", map[string]string{"app": "other"}, "webhook"), service("webhook", ours, "webhook")})
	if found == nil || found.Name != "webhook" {
		t.Errorf("found %+v", found)
	}
	endpoints := func(ready ...bool) []discoveryv1.EndpointSlice {
		var slice discoveryv1.EndpointSlice
		for _, r := range ready {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &r}})
		}
		return []discoveryv1.EndpointSlice{slice}
	}
	judged(t, "no Service", []Check{serviceCheck("n", "ns", nil, nil)}, verdict{Failed, "no Service in ns"})
	judged(t, "no endpoint", []Check{serviceCheck("n", "ns", found, nil)}, verdict{Failed, "0 of 0 endpoints"})
	judged(t, "none is ready", []Check{serviceCheck("n", "ns", found, endpoints(false, false))}, verdict{Failed, "0 of 2 endpoints"})
	judged(t, "one is ready", []Check{serviceCheck("n", "ns", found, endpoints(false, true))}, verdict{Passed, "1 endpoint"})
	judged(t, "ready is unknown, which means yes", []Check{serviceCheck("n", "ns", found, []discoveryv1.EndpointSlice{{Endpoints: []discoveryv1.Endpoint{{}}}})}, verdict{Passed, "1 endpoint"})
}

func TestOutsideCheck(t *testing.T) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "muster-webhook"}}
	to := func(name string) []networkingv1.Ingress {
		return []networkingv1.Ingress{{ObjectMeta: metav1.ObjectMeta{Name: "in"}, Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: "no.example.com"}, {Host: "muster.example.com", IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{}, {Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name}}}}}}}}}}}
	}
	judged(t, "an Ingress", []Check{outsideCheck("n", service, to("muster-webhook"), "/p")}, verdict{Passed, "Ingress in, at muster.example.com/p"})
	judged(t, "of another Service", []Check{outsideCheck("n", service, to("other"), "/p")}, verdict{Skipped, "no Ingress leads to"})
	service.Spec.Type = corev1.ServiceTypeLoadBalancer
	judged(t, "a load balancer", []Check{outsideCheck("n", service, nil, "/p")}, verdict{Passed, "LoadBalancer"})
}

func TestRecipientsCheck(t *testing.T) {
	of := func(threshold int, groups ...recipient.Group) recipient.Recipients {
		return recipient.Recipients{Groups: groups, Threshold: threshold}
	}
	keyed, bare := sync(), sync()
	keyed.Spec.Decryption = &v1alpha1.Decryption{SecretRef: v1alpha1.SecretRef{Name: "sops-keys"}}
	have := func(r string) bool { return r == "age1have" }
	for _, row := range []struct {
		reason string
		of     *v1alpha1.AuditSync
		files  map[string]recipient.Recipients
		want   verdict
	}{
		{"no file is encrypted", bare, nil, verdict{Passed, "no file is encrypted"}},
		{"one of two recipients", keyed, map[string]recipient.Recipients{"a": of(1, recipient.Group{"age1other", "age1have"})}, verdict{Passed, "1 file"}},
		{"another's", keyed, map[string]recipient.Recipients{"a": of(1, recipient.Group{"age1other"}), "b": of(1, recipient.Group{"age1have"})}, verdict{Failed, "1 file is encrypted for none of the keys: a"}},
		{"the fix names the recipients", keyed, map[string]recipient.Recipients{"a": of(1, recipient.Group{"age1other"})}, verdict{Failed, "with sops updatekeys: age1other"}},
		{"both groups are needed", keyed, map[string]recipient.Recipients{"a": of(2, recipient.Group{"age1have"}, recipient.Group{"age1other"})}, verdict{Failed, "sops-keys"}},
		{"one of two groups is enough", keyed, map[string]recipient.Recipients{"a": of(1, recipient.Group{"age1have"}, recipient.Group{"age1other"})}, verdict{Passed, ""}},
		{"no keys at all", bare, map[string]recipient.Recipients{"a": of(1, recipient.Group{"age1other"}), "b": of(1, recipient.Group{"age1other"})}, verdict{Failed, "no spec.decryption, and 2 files are encrypted: a, b"}},
		{"a recipient that is no recipient", keyed, map[string]recipient.Recipients{"a": of(1, recipient.Group{"hunter2-canary"})}, verdict{Failed, "an unreadable recipient"}},
	} {
		c := recipientsCheck("n", row.of, row.files, have)
		judged(t, row.reason, []Check{c}, row.want)
		if strings.Contains(c.Detail+c.Fix, "hunter2") {
			t.Errorf("%s: %+v", row.reason, c)
		}
	}
}
