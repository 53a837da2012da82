package pullrequest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

// TestHostileFork: whatever a stranger's head has in it, no file is opened and no secret is shown.
func TestHostileFork(t *testing.T) {
	t.Parallel()
	s := newStage(t, forge.GitHub)
	eu := s.git(nil, "-C", s.dir, "show", "main:f/eu.yaml")
	own := sealtest.NewKey(t)
	many := map[string]string{}
	for i := range 5000 {
		many[fmt.Sprintf("f/x%d.yaml", i)] = "a: b"
	}
	for i, files := range []map[string]string{
		{".sops.yaml": "creation_rules:\n- age: " + own.Public() + "\n", "f/asia.yaml": sealed(t, own, "asia", "stranger")},
		{"f/copy.yaml": strings.Replace(eu, "name: eu", "name: copy", 1)},
		{"f/copy.yaml": strings.ReplaceAll(strings.Replace(eu, "kubeconfig:", "schedule:", 1), "name: eu", "name: copy")},
		{"f/kustomization.yaml": "resources: [config.yaml, us.yaml]\nconfigMapGenerator: [{name: stolen, files: [eu.yaml]}]\n"},
		{"f/kustomization.yaml": "resources: [config.yaml, us.yaml]\nsecretGenerator: [{name: stolen, files: [eu.yaml]}]\n"},
		{"f/kustomization.yaml": "resources: [config.yaml, 'https://127.0.0.1:1/base?ref=main']\n"},
		{"f/kustomization.yaml": "resources: [config.yaml, ../../../etc/passwd, ../docs]\n"},
		{"f/link.yaml @120000": "../../../../etc/passwd"},
		{"f/vault.yaml": cluster("vault", "  schedule: H H * * *\n  vault: {address: 'https://127.0.0.1:1', path: x}\n")},
		{"f/'<img src=x>@jane[a](b)`.yaml": plain("x", "never\u202e</details>@jane")},
		many,
	} {
		number := int64(i + 1)
		head := s.push(number, true, files)
		s.look(fmt.Sprint("fork ", number), func() bool {
			return s.Shown(head)[planned].State != "" && s.Shown(head)[planned].State != forge.Pending
		})
		t.Logf("%d: %s %s", number, s.Shown(head)[planned].State, s.Shown(head)[planned].Description)
		for _, text := range s.Commented(number) {
			if len(text) > forge.MaxComment || strings.Contains(text, "root:") || strings.Contains(text, "\u202e") || strings.Contains(text, "ENC[") {
				t.Errorf("%d: %s", number, text)
			}
		}
	}
	if n := s.opened.Load(); n != 0 {
		t.Errorf("%d files were opened", n)
	}
	if c := s.condition(); !strings.HasPrefix(c, "True") {
		t.Errorf("the condition of the AuditSync: %s", c)
	}
	s.clean()
}

// TestHostileInsider: a branch of the repository itself is checked with keys, and its plan is masked.
func TestHostileInsider(t *testing.T) {
	t.Parallel()
	s := newStage(t, forge.GitLab)
	for i, files := range []map[string]string{
		{"f/eu.yaml": sealed(t, s.key, "eu", "CANARY-another")},
		{"f/asia.yaml": s.key.Encrypt(t, "asia.yaml", cluster("CANARY-name", "  schedule: CANARY-schedule\n  kubeconfig: CANARY-kubeconfig\n"), sealtest.Recommended)},
		{"f/kustomization.yaml": "resources: [config.yaml, us.yaml]\nsecretGenerator: [{name: stolen, files: [eu.yaml]}]\n"},
		{"f/kustomization.yaml": "resources: [config.yaml, us.yaml, eu.yaml]\nreplacements: [{source: {kind: ExternalCluster, name: eu, fieldPath: spec.kubeconfig}, targets: [{select: {kind: ExternalCluster, name: us}, fieldPaths: [spec.schedule]}]}]\n"},
		{"f/us.yaml": plain("us", canary)},
	} {
		number := int64(i + 1)
		head := s.push(number, false, files)
		s.look(fmt.Sprint("branch ", number), func() bool {
			return s.Shown(head)[planned].State != "" && s.Shown(head)[planned].State != forge.Pending
		})
		t.Logf("%d: %s %s", number, s.Shown(head)[planned].State, s.Shown(head)[planned].Description)
	}
	if s.opened.Load() == 0 {
		t.Error("nothing was opened")
	}
	for number := range int64(6) {
		for _, text := range s.Commented(number) {
			for _, secret := range []string{canary, "CANARY-another", "CANARY-kubeconfig"} {
				if strings.Contains(text, secret) {
					t.Errorf("%d shows %s:\n%s", number, secret, text)
				}
			}
		}
	}
}

// TestPullRequestsOverTheLimits: the reason is in the status and in a comment, and the others are answered.
func TestPullRequestsOverTheLimits(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 3<<20)
	_, _ = rand.Read(noise) // it never fails
	clusters := map[string]string{}
	for i := range 5000 {
		clusters[fmt.Sprintf("f/x%d.yaml", i)] = plain(fmt.Sprint("x", i), "7 1 * * *")
	}
	deep := func(folders int) map[string]string {
		return map[string]string{"f/" + strings.Repeat("a/", folders) + "asia.yaml": plain("asia", "7 1 * * *")}
	}
	s := newStage(t, forge.Gitea)
	s.checker.limits.PackBytes = 2 << 20 // what doesn't compress takes long to make
	first := s.push(1, false, map[string]string{"f/first.yaml": plain("first", "7 1 * * *")})
	type row struct {
		reason string
		files  map[string]string
		state  forge.State
		status string
		head   string
	}
	rows := []*row{
		{reason: "a pack", files: map[string]string{"noise": string(noise)}, state: forge.Failure, status: "can't be checked: pack"},
		{reason: "an object", files: map[string]string{"zeros": strings.Repeat("0", 17<<20)}, state: forge.Failure, status: "can't be checked: object: 17825792"},
		{reason: "folders that no computer could check out", files: deep(3000), state: forge.Failure, status: "can't be checked: depth of folders: 2049"},
		{reason: "many folders", files: deep(2000), state: forge.Success, status: "adds 1 cluster (asia)"},
		{reason: "more clusters than an audit config can have", files: clusters, state: forge.Failure, status: "1 new error: f/config.yaml:3: the audit config mondoo-client would be"},
	}
	if testing.Short() {
		rows = rows[:4]
	}
	for i, r := range rows {
		r.head = s.push(int64(i+2), i%2 == 0, r.files)
	}
	last := s.push(9, true, map[string]string{"f/last.yaml": plain("last", "7 1 * * *")})
	s.look("all are answered", func() bool {
		return s.shows(1, first, forge.Success, "adds 1 cluster (first)")() && s.shows(9, last, forge.Success, "keyless check: adds 1 cluster (last)")() &&
			!slices.ContainsFunc(rows, func(r *row) bool { return s.Shown(r.head)[planned].State == "" })
	})
	for i, r := range rows {
		status, comments := s.Shown(r.head)[planned], s.Commented(int64(i+2))
		if status.State != r.state || !strings.HasPrefix(strings.TrimPrefix(status.Description, "keyless check: "), r.status) || len(comments) != 1 || len(comments[0]) > forge.MaxComment {
			t.Fatalf("%s: %s %s, %d comments", r.reason, status.State, status.Description, len(comments))
		}
		if reason, refused := strings.CutPrefix(status.Description, "can't be checked: "); refused && !strings.Contains(comments[0], "can't check this pull request:** "+reason[:4]) {
			t.Errorf("%s: %s", r.reason, comments[0])
		}
		t.Logf("%s: %s %s", r.reason, status.State, status.Description)
	}
	if c := s.condition(); !strings.HasPrefix(c, fmt.Sprint("True ", len(rows)+2)) {
		t.Errorf("the condition of the AuditSync: %s", c)
	}
}

// TestManyPullRequests: each is answered once, in their order as far as the forge's limit for writes allows, and little is kept.
func TestManyPullRequests(t *testing.T) { // alone, because it measures the memory
	open := 300
	if testing.Short() {
		open = 40
	}
	s := newStage(t, forge.GitHub)
	var in bytes.Buffer
	for i := range open {
		content := plain(fmt.Sprint("c", i), "7 1 * * *")
		fmt.Fprintf(&in, "commit %s\ncommitter A <a@example.com> 1700000100 +0000\ndata 0\nfrom refs/heads/main^0\nM 100644 inline f/c%d.yaml\ndata %d\n%s\n",
			forge.HeadRef(s.Provider(), int64(i+1)), i, len(content), content)
	}
	s.git(in.Bytes(), "-C", s.dir, "fast-import", "--quiet")
	heads := map[string]int64{}
	for i, head := range strings.Fields(s.git(nil, "-C", s.dir, "for-each-ref", "--format=%(objectname)", "--sort=version:refname", "refs/pull")) {
		heads[head] = int64(i + 1)
		s.open(int64(i+1), head, i%2 == 0)
	}
	before := heap()
	s.look("all are answered", func() bool {
		return len(s.Posts()) >= open && strings.HasPrefix(s.condition(), fmt.Sprint("True ", open))
	})
	for head, number := range heads {
		if n := len(s.Commented(number)); n != 1 || s.Shown(head)[planned].State != forge.Success {
			t.Errorf("#%d has %d comments and the status %s", number, n, s.Shown(head)[planned].State)
		}
	}
	if n := len(s.Posts()); n != open {
		t.Errorf("%d statuses for %d heads", n, open)
	}
	for i, post := range s.Posts()[:open/10] {
		if number := heads[post.Commit]; number > int64(i+2*workers) {
			t.Errorf("#%d was answered as number %d", number, i+1)
		}
	}
	if n := len(s.Requests()); n > 5*open {
		t.Errorf("%d requests", n)
	}
	if kept := heap() - before; kept > 32<<20 {
		t.Errorf("%d MiB are kept", kept>>20)
	} else {
		t.Logf("%d pull requests: %d KiB are kept, with the forge's; %d requests", open, kept>>10, len(s.Requests()))
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestRevokedToken: a token that is revoked in the middle of the work is in the condition, is tried seldom, and the answers come
// when it works again.
func TestRevokedToken(t *testing.T) {
	const open = 12
	for reason, mend := range map[string]func(s *stage){"the token works again": func(*stage) {}, "the Secret has another one": func(s *stage) { s.secret.Add(1) }} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, forge.GitLab)
			heads := map[int64]string{}
			for number := int64(1); number <= open; number++ {
				heads[number] = s.push(number, number%2 == 0, map[string]string{"f/asia.yaml": plain("asia", fmt.Sprintf("%d 1 * * *", number))})
			}
			answered := atomic.Int64{}
			s.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
				if answered.Add(1) > open {
					forgetest.Status(http.StatusUnauthorized, `{"message": "401 Unauthorized"}`)(w, r)
					return
				}
				s.Answer(w, r)
			})
			s.look("the condition has it", func() bool { return strings.HasPrefix(s.condition(), "False") })
			if c := s.condition(); !strings.Contains(c, "GitLab rejected the token") {
				t.Errorf("the condition: %s", c)
			}
			before := len(s.Requests())
			for range 10 {
				s.clock.Step(time.Minute)
				s.rest()
			}
			if n := len(s.since(before)); n == 0 || n > 10*(workers+1) {
				t.Errorf("%d requests in 10 minutes", n)
			}
			if n := len(s.changed); n > 2*open {
				t.Errorf("the condition changed %d times", n)
			}
			s.AnswerWith(nil)
			mend(s)
			for range 60 { // nothing looks at the list
				s.clock.Step(time.Second)
				s.rest()
			}
			for number, head := range heads {
				if comments := s.Commented(number); s.Shown(head)[planned].State != forge.Success || len(comments) != 1 {
					t.Errorf("#%d: %+v, %d comments", number, s.Shown(head), len(comments))
				}
			}
			if c := s.condition(); !strings.HasPrefix(c, "True 12") {
				t.Errorf("the condition: %s", c)
			}
			s.clean()
		})
	}
}

// TestVanishedHead: a head that the repository doesn't have is told after a few looks, and is checked when it is there.
func TestVanishedHead(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		ref := forge.HeadRef(s.Provider(), 1)
		head := s.push(1, false, map[string]string{"f/asia.yaml": plain("asia", "7 1 * * *")})
		other := s.push(2, true, map[string]string{"f/us.yaml": plain("us", "9 1 * * *")})
		s.git(nil, "-C", s.dir, "update-ref", "-d", ref)
		s.checker.Look(key)
		s.rest()
		if shown := s.Shown(head); len(shown) != 0 {
			t.Errorf("told at once: %+v", shown)
		}
		s.look("vanished", s.shows(1, head, forge.Failure, "can't be checked: the repository has no "+ref, "can't check this pull request", ref))
		s.look("the other one", s.shows(2, other, forge.Success, "keyless check: changes 1 cluster (us)"))
		if c := s.condition(); c != "False #1: the repository has no "+ref {
			t.Errorf("the condition: %s", c)
		}
		s.git(nil, "-C", s.dir, "update-ref", ref, head)
		s.look("it is back", s.shows(1, head, forge.Success, "adds 1 cluster (asia)", "asia"))
		s.look("the condition", func() bool { return strings.HasPrefix(s.condition(), "True 2") })
	})
}

// TestForcePushDuringTheWork: a head that is no longer the pull request's is never judged by another one's content.
func TestForcePushDuringTheWork(t *testing.T) {
	each(t, func(t *testing.T, s *stage) {
		old := s.push(1, false, map[string]string{"f/asia.yaml": plain("asia", "7 1 * * *")})
		other := s.push(2, true, map[string]string{"f/us.yaml": plain("us", "9 1 * * *")})
		head := s.commit(forge.HeadRef(s.Provider(), 1), "refs/heads/main^0", map[string]string{"f/africa.yaml": plain("africa", "7 1 * * *")}) // the API doesn't have it yet
		s.look("the other one", s.shows(2, other, forge.Success, "keyless check: changes 1 cluster (us)"))
		for range 10 {
			s.clock.Step(time.Second)
			s.rest()
		}
		if n := len(s.Shown(old)) + len(s.Shown(head)) + len(s.Commented(1)); n != 0 {
			t.Errorf("answered: %+v %+v", s.Shown(old), s.Shown(head))
		}
		s.open(1, head, false)
		s.look("the head", s.shows(1, head, forge.Success, "adds 1 cluster (africa)", "africa"))

		// A push while a check is at work.
		hold := make(chan struct{})
		s.hold.Store(&hold)
		old = s.push(1, false, map[string]string{"f/eu.yaml": sealed(t, s.key, "eu", "CANARY-new")})
		opened := s.opened.Load()
		s.checker.Look(key)
		for s.opened.Load() == opened {
			time.Sleep(time.Millisecond)
		}
		head = s.push(1, false, map[string]string{"f/asia.yaml": plain("asia", "7 1 * * *")})
		s.hold.Store(nil)
		close(hold)
		s.look("the new head", s.shows(1, head, forge.Success, "adds 1 cluster (asia)", "asia", head))
		if strings.Contains(s.Shown(old)[planned].Description, "asia") {
			t.Errorf("the old head: %+v", s.Shown(old))
		}
		s.clean()
	})
}
