package e2e_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/controllers/scanstate"
)

// planned is the context of the status on a pull request's head.
const planned = itself + "/plan"

// pulls is a world with pull requests.
type pulls struct {
	*world
	robot  string            // its login
	tokens map[string]string // by user
}

func newPulls(t testing.TB) *pulls {
	t.Helper()
	p := &pulls{world: newWorld(t, false), robot: "robot", tokens: map[string]string{}}
	must(t, p.gitea.AddCollaborator(t.Context(), repository, p.robot, "admin")) // Gitea tells only administrators who may write
	p.push(map[string]string{"clusters/mondoo-client.yaml": auditConfigFile, "clusters/eu.yaml": p.sealedCluster("eu", far(40)),
		"clusters/us.yaml": plainCluster("us", far(41)), "docs/readme.md": "text\n"})
	p.startController(scanstate.Bounds{})
	p.createSync(func(audit *v1alpha1.AuditSync) { audit.Spec.Forge.PullRequests = true })
	p.eventually("the first commit is applied", func() bool { return p.audit().Status.LastAppliedRevision != "" })
	return p
}

// branch pushes a branch from main with these files.
func (p *pulls) branch(name string, files map[string]string) (head string) {
	p.Helper()
	p.git("checkout", "-q", "-B", name, "main")
	head = p.commit(files)
	p.git("push", "-q", "--force", "origin", name)
	p.git("checkout", "-q", "main")
	return head
}

// more pushes another commit to a branch.
func (p *pulls) more(name string, files map[string]string) (head string) {
	p.Helper()
	p.git("checkout", "-q", name)
	head = p.commit(files)
	p.git("push", "-q", "origin", name)
	p.git("checkout", "-q", "main")
	return head
}

// open opens a pull request into a branch. Head is BRANCH, or OWNER:BRANCH of a fork.
func (p *pulls) open(head, base string) (number int64) {
	p.Helper()
	var made struct{ Number int64 }
	must(p, p.gitea.API(p.Context(), http.MethodPost, "/repos/"+repository+"/pulls", map[string]any{"head": head, "base": base, "title": head}, &made))
	return made.Number
}

func (p *pulls) edit(number int64, change map[string]any) {
	p.Helper()
	must(p, p.gitea.API(p.Context(), http.MethodPatch, fmt.Sprintf("/repos/%s/pulls/%d", repository, number), change, nil))
}

// comments returns the comments of the robot.
func (p *pulls) comments(number int64) (own []string) {
	p.Helper()
	var all []struct {
		Body string
		User struct{ Login string }
	}
	must(p, p.gitea.API(p.Context(), http.MethodGet, fmt.Sprintf("/repos/%s/issues/%d/comments", repository, number), nil, &all))
	for _, c := range all {
		if c.User.Login == p.robot {
			own = append(own, c.Body)
		}
	}
	return own
}

// say writes a comment as a user.
func (p *pulls) say(user string, number int64, body string) {
	p.Helper()
	must(p, p.gitea.APIAs(p.Context(), p.tokens[user], http.MethodPost, fmt.Sprintf("/repos/%s/issues/%d/comments", repository, number), map[string]any{"body": body}, nil))
	p.request()
}

// answered waits for a status, and for a comment that has all of the texts. It returns all results that the head had up to here,
// and the comment.
func (p *pulls) answered(number int64, head, state, text string, within ...string) (comment string) {
	p.Helper()
	seen := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		statuses := p.statuses(head)
		last := server.GiteaStatus{}
		if len(statuses) > 0 {
			last = statuses[len(statuses)-1]
		}
		own := p.comments(number)
		if len(own) > 1 {
			p.Fatalf("#%d has %d comments", number, len(own))
		}
		seen = last.State + ": " + last.Description + "\n" + strings.Join(own, "\n")
		if last.State != state || !strings.HasPrefix(last.Description, text) || len(own) == 0 {
			continue
		}
		// The status comes before the comment. What the base has not applied yet is not the last answer.
		all := (strings.Contains(own[0], head) || strings.Contains(own[0], "nothing to review")) && !strings.Contains(own[0], "not applied yet")
		for _, part := range within {
			all = all && strings.Contains(own[0], part)
		}
		if all {
			if strings.Contains(own[0], "CANARY") {
				p.Errorf("a secret in the comment of #%d:\n%s", number, own[0])
			}
			return p.results(head, statuses) + "\n" + own[0]
		}
	}
	audit := p.audit()
	p.Fatalf("#%d: not %s: %s… with %q within %s, but:\n%s\n%v", number, state, text, within, patience, seen, audit.Status.Conditions)
	return ""
}

// golden holds the results and a comment to a file, with what differs from run to run replaced.
func (p *pulls) golden(name, comment string) {
	p.Helper()
	seen := map[string]string{}
	text := commits.ReplaceAllStringFunc(comment, func(hash string) string {
		if seen[hash] == "" {
			seen[hash] = fmt.Sprintf("COMMIT-%d", len(seen)+1)
		}
		return seen[hash]
	})
	text = strings.ReplaceAll(text, p.gitea.URL(), "https://git.example.com")
	for _, r := range changing {
		text = r.pattern.ReplaceAllString(text, r.by)
	}
	path := filepath.Join("testdata", "pulls", name+".md")
	if *update {
		must(p, os.MkdirAll(filepath.Dir(path), 0o755))
		must(p, os.WriteFile(path, []byte(text), 0o600))
	}
	want, err := os.ReadFile(path)
	must(p, err)
	if text != string(want) {
		p.Errorf("%s (write it with -update):\n%s\ninstead of:\n%s", path, text, want)
	}
}

var update = flag.Bool("update", false, "write the golden files")

var commits = regexp.MustCompile(`\b[0-9a-f]{40}\b`)

// changing is what differs from run to run besides commits: the AuditSync's UID, dates, and the hour that is far from now.
var changing = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`muster:review [0-9a-f-]{36}`), "muster:review UID"},
	{regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}\b`), "DATE"},
	{regexp.MustCompile(`([0-9]+) [0-9]+ \* \* \*`), "$1 HOUR * * *"},
}

// TestPullRequestOfABranch goes through the life of a pull request from the repository itself.
func TestPullRequestOfABranch(t *testing.T) {
	p := newPulls(t)
	head := p.branch("add-asia", map[string]string{"clusters/asia.yaml": plainCluster("asia", far(1))})
	number := p.open("add-asia", "main")
	p.golden("branch-1-opened", p.answered(number, head, "success", "adds 1 cluster (asia)", "asia"))

	head = p.more("add-asia", map[string]string{"clusters/asia.yaml": plainCluster("asia", "every night")})
	p.golden("branch-2-broken", p.answered(number, head, "failure", "", "clusters/asia.yaml", "schedule"))

	// A force-push that mends it, and changes the sealed cluster.
	head = p.branch("add-asia", map[string]string{"clusters/asia.yaml": plainCluster("asia", far(2)), "clusters/eu.yaml": p.sealedCluster("eu", far(43))})
	p.golden("branch-3-mended", p.answered(number, head, "success", "adds 1 cluster (asia)", "eu"))

	// The base moves: another commit changes the same line.
	base := p.push(map[string]string{"clusters/us.yaml": plainCluster("us", far(45))})
	p.golden("branch-4-base-moved", p.answered(number, head, "success", "adds 1 cluster (asia)", base[:7]))

	p.push(map[string]string{"clusters/asia.yaml": plainCluster("asia", far(9))})
	p.golden("branch-5-conflict", p.answered(number, head, "failure", "can't be merged", "clusters/asia.yaml"))

	p.git("checkout", "-q", "add-asia")
	p.git("rebase", "-q", "-X", "theirs", "main")
	p.git("push", "-q", "--force", "origin", "add-asia")
	head = p.git("rev-parse", "HEAD")
	p.git("checkout", "-q", "main")
	p.golden("branch-6-fixed", p.answered(number, head, "success", "changes 2 clusters (asia, eu)", "asia"))

	// It changes nothing here any more, and then something again.
	head = p.branch("add-asia", map[string]string{"docs/readme.md": "another text\n"})
	p.golden("branch-7-elsewhere", p.answered(number, head, "success", "changes nothing in clusters", "no longer"))
	head = p.branch("add-asia", map[string]string{"clusters/africa.yaml": plainCluster("africa", far(3))})
	p.answered(number, head, "success", "adds 1 cluster (africa)", "africa")

	// To another branch, and back.
	p.git("push", "-q", "origin", "main:other")
	p.edit(number, map[string]any{"base": "other"})
	p.request()
	p.golden("branch-8-retargeted", p.answered(number, head, "success", "adds 1 cluster (africa)", "no longer goes to"))
	p.edit(number, map[string]any{"base": "main"})
	p.answered(number, head, "success", "adds 1 cluster (africa)", "africa")

	// Closed, pushed to, and opened again.
	p.edit(number, map[string]any{"state": "closed"})
	head = p.more("add-asia", map[string]string{"clusters/africa.yaml": plainCluster("africa", far(4))})
	p.edit(number, map[string]any{"state": "open"})
	p.golden("branch-9-reopened", p.answered(number, head, "success", "adds 1 cluster (africa)", "africa"))

	// What was planned is what is written: an entry without Secrets.
	mark, err := p.plane.Mark()
	must(t, err)
	p.merge(number, "merge")
	p.eventually("the merge is applied", func() bool { return strings.Contains(fmt.Sprint(p.config().Object), "africa") })
	p.request()
	requests, err := p.plane.Requests(t.Context(), mark, user)
	must(t, err)
	written := map[string]bool{}
	for _, r := range requests {
		if r.Writes() && r.Resource != "auditsyncs" && r.Resource != "events" {
			written[r.Resource+" "+r.Name] = true
		}
	}
	if got := slices.Sorted(maps.Keys(written)); !slices.Equal(got, []string{"configmaps muster-production.mondoo-client", "mondooauditconfigs mondoo-client"}) {
		t.Errorf("written after the merge: %q", got)
	}
}

// user makes a user with access to the repository, and remembers the token.
func (p *pulls) user(name, permission string) {
	p.Helper()
	token, err := p.gitea.CreateUser(p.Context(), name, "write:repository", "write:issue", "write:user")
	must(p, err)
	must(p, p.gitea.AddCollaborator(p.Context(), repository, name, permission))
	p.tokens[name] = token
}

// fork makes a fork of the repository, as a remote of the clone.
func (p *pulls) fork(user string) {
	p.Helper()
	must(p, p.gitea.APIAs(p.Context(), p.tokens[user], http.MethodPost, "/repos/"+repository+"/forks", map[string]any{}, nil))
	address := strings.Replace(p.gitea.URL(), "://", "://"+user+":"+p.tokens[user]+"@", 1)
	p.git("remote", "add", user, address+"/"+user+"/fleet.git")
}

// pushFork pushes a branch from main to a fork.
func (p *pulls) pushFork(user, name string, files map[string]string) (head string) {
	p.Helper()
	p.git("checkout", "-q", "-B", name, "main")
	head = p.commit(files)
	p.git("push", "-q", "--force", user, name)
	p.git("checkout", "-q", "main")
	return head
}

// TestPullRequestOfAFork: the head of a stranger is checked without keys until somebody with write permission allows exactly
// this head.
func TestPullRequestOfAFork(t *testing.T) {
	p := newPulls(t)
	p.user("stranger", "read")
	p.user("maintainer", "write")
	p.fork("stranger")
	const keyless = "/muster check "
	sealed := p.sealedCluster("asia", far(1))
	head := p.pushFork("stranger", "asia", map[string]string{"clusters/asia.yaml": sealed})
	number := p.open("stranger:asia", "main")
	p.golden("fork-1-opened", p.answered(number, head, "success", "keyless check: adds 1 cluster (asia)", keyless+head))

	// Neither the stranger nor a comment for another head, an edited or a quoted one allows it.
	p.say("stranger", number, keyless+head)
	p.say("maintainer", number, keyless+strings.Repeat("0", 40))
	p.say("maintainer", number, "> "+keyless+head)
	p.say("maintainer", number, keyless+head[:10])
	p.say("maintainer", number, "please never do\n\n"+keyless+head)
	p.request()
	p.never(number, "Checked with keys")

	p.say("maintainer", number, keyless+head+"\n")
	p.golden("fork-2-allowed", p.answered(number, head, "success", "adds 1 cluster (asia)", "Checked with keys: `maintainer`"))

	// A push needs a new permission, also when the old one comes just after it.
	head = p.pushFork("stranger", "asia", map[string]string{"clusters/asia.yaml": sealed, "clusters/us.yaml": plainCluster("us", far(7))})
	p.golden("fork-3-pushed", p.answered(number, head, "success", "keyless check: adds 1 cluster (asia), changes 1 (us)", keyless+head))
	p.say("maintainer", number, keyless+head)
	p.answered(number, head, "success", "adds 1 cluster (asia), changes 1 (us)", "Checked with keys: `maintainer`")

	// So does reopening.
	p.edit(number, map[string]any{"state": "closed"})
	p.eventually("it is seen to be closed", func() bool {
		c := meta.FindStatusCondition(p.audit().Status.Conditions, v1alpha1.ConditionPullRequests)
		return c != nil && strings.HasPrefix(c.Message, "no pull request")
	})
	time.Sleep(time.Second) // as below
	p.edit(number, map[string]any{"state": "open"})
	p.answered(number, head, "success", "keyless check: adds 1 cluster (asia), changes 1 (us)", keyless+head)

	// A conflict with the base, its fix, and the merge.
	p.push(map[string]string{"clusters/us.yaml": plainCluster("us", far(33))})
	p.golden("fork-4-conflict", p.answered(number, head, "failure", "can't be merged", "clusters/us.yaml"))
	head = p.pushFork("stranger", "asia", map[string]string{"clusters/asia.yaml": sealed})
	p.golden("fork-5-fixed", p.answered(number, head, "success", "keyless check: adds 1 cluster (asia)", keyless+head))

	// The base moves without a conflict. Then to another branch, and back, after which the head must be allowed again.
	base := p.push(map[string]string{"clusters/us.yaml": plainCluster("us", far(34))})
	p.golden("fork-6-base-moved", p.answered(number, head, "success", "keyless check: adds 1 cluster (asia)", base))
	p.say("maintainer", number, keyless+head)
	p.answered(number, head, "success", "adds 1 cluster (asia)", "Checked with keys: `maintainer`")
	p.git("push", "-q", "origin", "main:other")
	p.edit(number, map[string]any{"base": "other"})
	p.request()
	p.golden("fork-7-retargeted", p.answered(number, head, "success", "adds 1 cluster (asia)", "no longer goes to"))
	time.Sleep(time.Second) // the forge's times have no fractions, and a command of the same second counts
	p.edit(number, map[string]any{"base": "main"})
	p.golden("fork-8-back", p.answered(number, head, "success", "keyless check: adds 1 cluster (asia)", keyless+head))
	p.merge(number, "merge")
	p.eventually("the merge is applied", func() bool { return strings.Contains(fmt.Sprint(p.config().Object), "asia") })
}

// never holds that the comment doesn't have a text, after the pull request has been looked at.
func (p *pulls) never(number int64, text string) {
	p.Helper()
	for _, body := range p.comments(number) {
		if strings.Contains(body, text) {
			p.Errorf("#%d: the comment has %q:\n%s", number, text, body)
		}
	}
}
