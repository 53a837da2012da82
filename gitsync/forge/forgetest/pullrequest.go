package forgetest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
)

// PullRequest is a pull request of the server. Its Fork decides which repository has the head.
type PullRequest struct {
	forge.PullRequest
	// Gone means that the head's repository was deleted.
	Gone bool
	// ForReview means that it was pushed to Gitea's refs/for/, without a branch.
	ForReview bool
	// Body is the text of its author.
	Body string
	// MergedAs is the commit that the merge made. Before the merge, it is GitHub's test of it.
	MergedAs string
	// Squashed means that its commits became one, and Forward that the branch was moved forward without a merge commit, as GitLab
	// distinguishes them.
	Squashed, Forward bool
}

// Robot is the account of the server's tokens, and Bot that of its App.
var (
	Robot = forge.User{ID: 28, Login: "robot"}
	Bot   = forge.User{ID: 4242, Login: "muster[bot]"}
)

// account is a user, and the permission as the forge names it.
type account struct {
	forge.User
	permission string
}

type storedComment struct {
	forge.Comment
	number int64
	event  bool // GitLab's note of an event
}

// The ids of the server's repository, and of a fork.
const (
	baseRepository = 7
	forkRepository = 8
)

// SetPullRequest adds a pull request, or replaces the one with its number.
func (s *Server) SetPullRequest(p PullRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls = slices.DeleteFunc(s.pulls, func(other PullRequest) bool { return other.Number == p.Number })
	s.pulls = append(s.pulls, p)
	slices.SortFunc(s.pulls, func(a, b PullRequest) int { return cmp.Compare(a.Number, b.Number) })
}

// SetUser adds a user with a permission: none, read, write or admin.
func (s *Server) SetUser(u forge.User, permission string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts = slices.DeleteFunc(s.accounts, func(other account) bool { return other.Login == u.Login })
	s.accounts = append(s.accounts, account{User: u, permission: permission})
}

// AddComment adds a comment of any length.
func (s *Server) AddComment(number int64, author forge.User, body string) forge.Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.comment(number, author, body)
}

// AddEvent adds a note of an event, which GitLab has among the comments.
func (s *Server) AddEvent(number int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.comment(number, Robot, "added 1 commit")
	s.comments[len(s.comments)-1].event = true
}

// DeleteComment deletes a comment.
func (s *Server) DeleteComment(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.comments = slices.DeleteFunc(s.comments, func(c *storedComment) bool { return c.ID == id })
}

// Commented are the texts of the comments on a pull request, as they are stored.
func (s *Server) Commented(number int64) (bodies []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conversation(number) {
		bodies = append(bodies, c.Body)
	}
	return bodies
}

// QuickActions are the lines of comments that GitLab executed.
func (s *Server) QuickActions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.actions)
}

// The caller of the next ones holds s.mu.

func (s *Server) comment(number int64, author forge.User, body string) forge.Comment {
	s.lastComment++
	now := s.options.Now().UTC()
	c := forge.Comment{ID: s.lastComment, AuthorID: author.ID, Author: author.Login, Body: body, Created: now, Updated: now}
	s.comments = append(s.comments, &storedComment{Comment: c, number: number})
	s.updated(number)
	return c
}

func (s *Server) conversation(number int64) (found []*storedComment) {
	for _, c := range s.comments {
		if c.number == number {
			found = append(found, c)
		}
	}
	return found
}

func (s *Server) commentByID(id int64) *storedComment {
	for _, c := range s.comments {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func (s *Server) pull(number int64) *PullRequest {
	for i := range s.pulls {
		if s.pulls[i].Number == number {
			return &s.pulls[i]
		}
	}
	return nil
}

// updated records that a pull request was changed or commented on. Times have no fractions, as GitHub's and Gitea's.
func (s *Server) updated(number int64) {
	if p := s.pull(number); p != nil && !p.Updated.IsZero() {
		p.Updated = s.options.Now().UTC().Truncate(time.Second)
	}
}

func (s *Server) openPulls(base string) (found []PullRequest) {
	for _, p := range s.pulls {
		if p.Open && (base == "" || p.Base == base) {
			found = append(found, p)
		}
	}
	return found
}

// withCommit returns the pull requests that a commit is associated with, merged or not.
func (s *Server) withCommit(hash string) (found []PullRequest) {
	for _, p := range s.pulls {
		if p.MergedAs == hash || p.Head == hash {
			found = append(found, p)
		}
	}
	return found
}

func (s *Server) accountOf(login string) *account {
	for i := range s.accounts {
		if strings.EqualFold(s.accounts[i].Login, login) {
			return &s.accounts[i]
		}
	}
	return nil
}

// answerTagged answers with an ETag, or "not modified" if the client has it. As on GitHub, it depends on the credentials.
func answerTagged(w http.ResponseWriter, r *http.Request, value any) (modified bool) {
	var body bytes.Buffer
	_ = json.NewEncoder(&body).Encode(value) // values of this package
	tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(append(body.Bytes(), r.Header.Get("Authorization")...)))
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.Header().Del("Link")
		w.WriteHeader(http.StatusNotModified)
		return false
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body.Bytes()) // the client may have disconnected
	return true
}

// bodyOf reads {"body": …}.
func bodyOf(w http.ResponseWriter, r *http.Request) (string, error) {
	var in struct {
		Body string `json:"body"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<20)).Decode(&in)
	return in.Body, err
}
