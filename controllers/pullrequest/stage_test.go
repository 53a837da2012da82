package pullrequest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	clocktest "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

const (
	config  = "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: mondoo-client}\nspec:\n  mondooCredsSecretRef: {name: creds}\n  kubernetesResources: {enable: true, schedule: '5 * * * *'}\n"
	canary  = "CANARY-token-of-eu"
	planned = "muster/production/plan"
)

var key = types.NamespacedName{Namespace: "n", Name: "production"}

func cluster(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: " + name + "}\nspec:\n" + spec
}

func plain(name, schedule string) string {
	return cluster(name, "  schedule: '"+schedule+"'\n  workloadIdentity: {provider: gke, gke: {projectId: p-123456, clusterName: c, clusterLocation: europe-west1, googleServiceAccount: s@p-123456.iam.gserviceaccount.com}}\n")
}

func sealed(t testing.TB, key *sealtest.Key, name, token string) string {
	t.Helper()
	kubeconfig := "  kubeconfig: |\n    apiVersion: v1\n    kind: Config\n    current-context: m\n    clusters: [{name: m, cluster: {server: 'https://" + name + ".example.com'}}]\n" +
		"    contexts: [{name: m, context: {cluster: m, user: u}}]\n    users: [{name: u, user: {token: " + token + "}}]\n"
	return key.Encrypt(t, name+".yaml", cluster(name, kubeconfig+"  schedule: H H * * *\n"), sealtest.Recommended)
}

// stage is a repository, a forge that stores statuses and comments, and a Checker that works on both. The forge and the Checker
// have a clock that moves only while the Checker is at rest: no test waits, and no check takes long enough to be pending.
type stage struct {
	testing.TB
	*forgetest.Server
	repositories *server.Git
	checker      *Checker
	queue        *countedQueue
	clock        *clocktest.FakeClock
	stop         func()
	dir          string // of the repository
	cache        string
	key          *sealtest.Key
	opener       clusters.Opener
	commits      int
	version      atomic.Value                  // the commit of main
	opened       atomic.Int64                  // files
	hold         atomic.Pointer[chan struct{}] // files are opened when it is closed
	secret       atomic.Int64                  // its version
	changed      chan event.TypedGenericEvent[*v1alpha1.AuditSync]
	gone         atomic.Bool // the AuditSync's pull requests are not answered
	log          lockedBuffer
	source       gitsync.Source
	redact       redact.Redactor
	preflight    atomic.Value // the mode of preflights
}

type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) add(prefix, args string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.WriteString(prefix + args + "\n")
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newStage(t testing.TB, provider forge.Provider) *stage {
	t.Helper()
	root, now := t.TempDir(), clocktest.NewFakeClock(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
	s := &stage{TB: t, Server: forgetest.Start(t, provider, forgetest.Options{Now: now.Now}), clock: now, dir: filepath.Join(root, "platform", "fleet.git"), cache: t.TempDir(), key: sealtest.NewKey(t)}
	s.opener = &counting{s.key.Opener(t), s}
	s.git(nil, "init", "-q", "--bare", "--initial-branch=main", s.dir)
	s.git(nil, "-C", s.dir, "config", "uploadpack.allowAnySHA1InWant", "true")
	git, err := server.StartGit(t.Context(), server.GitOptions{Dir: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = git.Stop() })
	s.repositories = git
	s.source = gitsync.Source{URL: git.URL() + "/platform/fleet.git", Ref: gitsync.Ref{Branch: "main"}}
	s.commit("refs/heads/main", "", map[string]string{"f/config.yaml": config, "f/eu.yaml": sealed(t, s.key, "eu", canary), "f/us.yaml": plain("us", "5 1 * * *"), "docs/a": "a"})
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// start starts a Checker, as after a restart.
func (s *stage) start() {
	if s.stop != nil {
		s.stop()
	}
	s.changed = make(chan event.TypedGenericEvent[*v1alpha1.AuditSync], 1000)
	s.checker = New(Options{Client: secrets{version: &s.secret}, Story: s, Clock: s.clock, CacheDir: func(types.NamespacedName) string { return s.cache }, Changed: s.changed,
		Log: funcr.New(s.log.add, funcr.Options{Verbosity: 10})})
	s.checker.queue.ShutDown()
	s.queue = newCountedQueue(s.clock)
	s.checker.queue = s.queue
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.checker.Start(ctx); err != nil {
			s.Error(err)
		}
	}()
	s.stop = func() { cancel(); <-done; s.checker.Forget(key) }
}

func (s *stage) git(stdin []byte, args ...string) string {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), "git", args...)
	cmd.Stdin, cmd.Env = bytes.NewReader(stdin), append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit puts a commit on a ref, with files changed against from; "" removes one.
func (s *stage) commit(ref, from string, files map[string]string) string {
	s.Helper()
	s.commits++
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit %s\ncommitter A <a@example.com> %d +0000\ndata 0\n", ref, 1700000000+s.commits)
	if from != "" {
		fmt.Fprintf(&in, "from %s\n", from)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		name, mode, found := strings.Cut(name, " @")
		content := files[name]
		if !found {
			mode = "100644"
		} else {
			content = files[name+" @"+mode]
		}
		if content == "" {
			fmt.Fprintf(&in, "D %s\n", name)
			continue
		}
		fmt.Fprintf(&in, "M %s inline %s\ndata %d\n%s\n", mode, name, len(content), content)
	}
	s.git(in.Bytes(), "-C", s.dir, "fast-import", "--quiet", "--force")
	s.version.Store(s.git(nil, "-C", s.dir, "rev-parse", "refs/heads/main"))
	return s.git(nil, "-C", s.dir, "rev-parse", ref)
}

// push makes a commit the head of a pull request, and opens that if necessary.
func (s *stage) push(number int64, fork bool, files map[string]string) (head string) {
	s.Helper()
	head = s.commit(forge.HeadRef(s.Provider(), number), "refs/heads/main^0", files)
	s.open(number, head, fork)
	return head
}

func (s *stage) open(number int64, head string, fork bool) {
	s.AddCommit(head)
	page := map[forge.Provider]string{forge.GitHub: "/pull/", forge.GitLab: "/-/merge_requests/", forge.Gitea: "/pulls/"}[s.Provider()]
	s.SetPullRequest(forgetest.PullRequest{PullRequest: forge.PullRequest{Number: number, Head: head, Base: "main", Fork: fork, Author: "jane", Open: true,
		URL: fmt.Sprint("https://git.example.com/platform/fleet", page, number), Updated: s.clock.Now().Add(-time.Hour)}})
}

// Subject is a Story's.
func (s *stage) Subject(context.Context, types.NamespacedName) (*Subject, error) {
	if s.gone.Load() {
		return nil, nil
	}
	audit := &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: "1f0c7e0a"}}
	audit.Spec.Path = "./f"
	audit.Spec.Preflight.Mode, _ = s.preflight.Load().(v1alpha1.PreflightMode)
	audit.Spec.Source.URL = s.GitURL()
	audit.Spec.Forge = &v1alpha1.Forge{Provider: string(s.Provider()), PullRequests: true}
	return &Subject{AuditSync: audit, Source: s.source, Branch: "main", Opener: s.opener, Redactor: &s.redact, Version: fmt.Sprint(s.version.Load(), audit.Spec.Preflight.Mode),
		Options: compile.Options{Namespace: key.Namespace, Sync: key.Name, Policy: policy.Policy{Allow: []string{"mondooCredsSecretRef=creds"}}},
		Policy:  plan.Policy{Prune: true, Foreign: plan.KeepForeign, CorrectDrift: true}}, nil
}

// counting counts the files that it opens.
type counting struct {
	clusters.Opener
	stage *stage
}

func (c *counting) Open(ctx context.Context, f *load.File) (*unseal.Plain, *finding.Finding) {
	c.stage.opened.Add(1)
	if hold := c.stage.hold.Load(); hold != nil {
		<-*hold
	}
	return c.Opener.Open(ctx, f)
}

// secrets is a client that has the credentials for the forge.
type secrets struct {
	client.Client
	version *atomic.Int64
}

func (c secrets) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	o.SetResourceVersion(fmt.Sprint(c.version.Load()))
	o.(*corev1.Secret).Data = map[string][]byte{"token": []byte("t0ken")}
	return nil
}

// countedQueue is a queue that knows whether its workers are at rest.
type countedQueue struct {
	workqueue.TypedRateLimitingInterface[item]
	workqueue.Queue[item]
	busy atomic.Int64 // items that are queued or that a worker has
}

func newCountedQueue(c clock.WithTicker) *countedQueue {
	q := &countedQueue{Queue: workqueue.DefaultQueue[item]()}
	q.TypedRateLimitingInterface = workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[item](), workqueue.TypedRateLimitingQueueConfig[item]{
		DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[item]{Clock: c,
			Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[item]{Queue: q})})})
	return q
}

// Push is called whenever an item is queued, Done when a worker is done with it; if it was added meanwhile, it is queued again
// before that.
func (q *countedQueue) Push(it item) { q.busy.Add(1); q.Queue.Push(it) }

func (q *countedQueue) Done(it item) { q.TypedRateLimitingInterface.Done(it); q.busy.Add(-1) }

// Len is the queue's own, for the workers.
func (q *countedQueue) Len() int { return q.Queue.Len() }

// rest waits until the Checker has nothing to do before its clock moves. What became due when it moved is queued a moment later.
func (s *stage) rest() {
	s.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for quiet := 0; quiet < 3; time.Sleep(2 * time.Millisecond) {
		if quiet++; s.queue.busy.Load() > 0 {
			quiet = 0
		}
		if time.Now().After(deadline) {
			s.Fatalf("not at rest; requests:\n%s\n%s", strings.Join(s.Requests(), "\n"), s.log.String())
		}
	}
}

// look has the list read, and lets the time pass until a condition is reached and the Checker is at rest.
func (s *stage) look(what string, reached func() bool) {
	s.Helper()
	s.checker.Look(key)
	s.rest()
	for step := time.Second; step < 2*time.Minute; step += step / 10 { // in all, more than the longest wait
		if reached() {
			return
		}
		s.clock.Step(step)
		s.rest()
	}
	s.Fatalf("%s: not reached; %s; requests:\n%s\n%s", what, s.condition(), strings.Join(s.Requests(), "\n"), s.log.String())
}

// shows reports whether a head has a status that begins so, and the pull request one comment with all texts.
func (s *stage) shows(number int64, head string, state forge.State, description string, texts ...string) func() bool {
	return func() bool {
		status, comments := s.Shown(head)[planned], s.Commented(number)
		if status.State != state || !strings.HasPrefix(status.Description, description) || len(comments) != 1 {
			return false
		}
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(comments[0], text) })
	}
}

// condition is the condition of the AuditSync.
func (s *stage) condition() string {
	if c := s.checker.audited(key).condition(); c != nil {
		return string(c.Status) + " " + c.Message
	}
	return ""
}

// since returns the requests after a number of them.
func (s *stage) since(before int) []string { return s.Requests()[before:] }

// clean holds that no secret is anywhere.
func (s *stage) clean() {
	s.Helper()
	all := s.condition() + s.log.String()
	for _, p := range s.Posts() {
		all += p.Description + p.TargetURL
	}
	for number := range int64(20) {
		all += strings.Join(s.Commented(number), "\n")
	}
	if strings.Contains(all, "CANARY") || strings.Contains(all, "t0ken") {
		s.Errorf("a secret in:\n%s", all)
	}
}

func each(t *testing.T, f func(t *testing.T, s *stage)) {
	for _, provider := range forge.Providers() {
		t.Run(string(provider), func(t *testing.T) {
			t.Parallel() // they mostly wait for the Checker to be at rest
			f(t, newStage(t, provider))
		})
	}
}
