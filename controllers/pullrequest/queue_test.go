package pullrequest

import (
	"strings"
	"testing"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// TestMergeQueue: the commit that a merge queue is about to push gets the status, and nothing else.
func TestMergeQueue(t *testing.T) {
	for provider, ref := range map[forge.Provider]string{forge.GitHub: "refs/heads/gh-readonly-queue/main/pr-7-0123456789", forge.GitLab: "refs/merge-requests/7/train"} {
		t.Run(string(provider), func(t *testing.T) {
			s := newStage(t, provider)
			shows := func(head string, state forge.State, text string) func() bool {
				return func() bool {
					status := s.Shown(head)[planned]
					return status.State == state && strings.HasPrefix(status.Description, text)
				}
			}
			head := s.commit(ref, "refs/heads/main^0", map[string]string{"f/asia.yaml": plain("asia", "7 1 * * *")})
			s.AddCommit(head)
			s.look("it is queued", shows(head, forge.Success, "adds 1 cluster (asia)"))
			posts := len(s.Posts())
			s.look("nothing changes", func() bool { return true })
			if len(s.Posts()) != posts {
				t.Errorf("%d statuses were set again", len(s.Posts())-posts)
			}
			broken := s.commit(ref, "refs/heads/main^0", map[string]string{"f/us.yaml": plain("us", "every night")})
			s.AddCommit(broken)
			s.look("another one is", shows(broken, forge.Failure, "1 new error"))
			s.git(nil, "-C", s.dir, "update-ref", "-d", ref)
			s.look("the queue is empty", func() bool {
				a := s.checker.audited(key)
				a.mu.Lock()
				defer a.mu.Unlock()
				return len(a.queued) == 0
			})
			for _, request := range s.Requests() {
				if strings.Contains(request, "POST") && !strings.Contains(request, "status") {
					t.Errorf("more than a status: %s", request)
				}
			}
			s.clean()
		})
	}
}
