package connect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-gitops/muster/gitsync/forge"
	"github.com/muster-gitops/muster/gitsync/forge/connect"
	"github.com/muster-gitops/muster/gitsync/forge/forgetest"
)

func pull(number int64, change func(*forgetest.PullRequest)) forgetest.PullRequest {
	p := forgetest.PullRequest{PullRequest: forge.PullRequest{
		Number: number, Head: fmt.Sprintf("%040x", number), Base: "main", Author: "jane", Open: true,
		URL: fmt.Sprint("https://git.example.com/platform/fleet/pulls/", number),
	}}
	if change != nil {
		change(&p)
	}
	return p
}

// What a pull request is, and above all whether its author needed a permission.
func TestPullRequests(t *testing.T) {
	type change = func(*forgetest.PullRequest)
	for _, tt := range []struct {
		reason string
		change change
		listed bool
		only   forge.Provider
	}{
		{"from a branch", nil, true, ""},
		{"from a fork", func(p *forgetest.PullRequest) { p.Fork = true }, true, ""},
		{"from a fork that was deleted", func(p *forgetest.PullRequest) { p.Fork, p.Gone = true, true }, true, ""},
		{"without a branch, by a reader", func(p *forgetest.PullRequest) { p.Fork, p.ForReview = true, true }, true, forge.Gitea},
		{"a draft", func(p *forgetest.PullRequest) { p.Draft = true }, true, ""},
		{"of an object format with longer names", func(p *forgetest.PullRequest) { p.Head = strings.Repeat("c0ffee00", 8) }, true, ""},
		{"with a text over every limit", func(p *forgetest.PullRequest) { p.Body = strings.Repeat("<\"\\\n\u00e9", 1<<20) }, true, ""},
		{"into another branch", func(p *forgetest.PullRequest) { p.Base = "release" }, false, ""},
		{"with the time of the last change", func(p *forgetest.PullRequest) { p.Updated = time.Date(2026, 11, 30, 12, 0, 1, 0, time.UTC) }, true, ""},
		{"closed", func(p *forgetest.PullRequest) { p.Open = false }, false, ""},
		{"merged", func(p *forgetest.PullRequest) { p.Open, p.Merged = false, true }, false, ""},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
				if tt.only != "" && tt.only != provider(t) {
					return
				}
				other, one := pull(3, nil), pull(7, tt.change)
				s.SetPullRequest(one)
				s.SetPullRequest(other)
				got, err := client.PullRequest(t.Context(), 7)
				if err != nil || got != one.PullRequest {
					t.Errorf("%+v, %v, want %+v", got, err, one.PullRequest)
				}
				want := []forge.PullRequest{other.PullRequest}
				if tt.listed {
					want = append(want, one.PullRequest)
				}
				list, err := client.PullRequests(t.Context(), "main", nil)
				if err != nil || list.Unchanged || !reflect.DeepEqual(list.Items, want) {
					t.Errorf("%+v, %v, want %+v", list, err, want)
				}
				if _, err := client.PullRequest(t.Context(), 8); !as[*forge.NotFoundError](err) || !strings.Contains(err.Error(), "pull request does not exist") {
					t.Errorf("another one: %v", err)
				}
			})
		})
	}
}

// A poll that finds nothing new costs a conditional request for each page, which GitHub doesn't count. Gitea has none of these.
func TestUnchangedPullRequests(t *testing.T) {
	for _, n := range []int64{0, 1, 100, 101, 230} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
				for i := range n {
					s.SetPullRequest(pull(i+1, nil))
				}
				list := func(since *forge.PullRequestList) (*forge.PullRequestList, int) {
					before := len(s.Requests())
					l, err := client.PullRequests(t.Context(), "main", since)
					if err != nil {
						t.Fatal(err)
					}
					return l, len(s.Requests()) - before
				}
				first, _ := list(nil)
				remaining := client.Rate().Remaining
				second, requests := list(first)
				if len(first.Items) != int(n) || first.Unchanged || !second.Unchanged || !reflect.DeepEqual(first.Items, second.Items) {
					t.Fatalf("%d, then %d items, unchanged %t", len(first.Items), len(second.Items), second.Unchanged)
				}
				if provider(t) == forge.GitHub && client.Rate().Remaining < remaining-1 { // perhaps an empty page after a full one
					t.Errorf("%d requests of the rate limit were used", remaining-client.Rate().Remaining)
				}
				if most := int(max(n, 1)+99)/100 + 1; provider(t) != forge.Gitea && requests > most {
					t.Errorf("%d requests, want at most %d", requests, most)
				}
				// Each of these would be missed by a client that asks for the first page alone.
				s.SetPullRequest(pull(n+1, nil))
				third, _ := list(second)
				if third.Unchanged || len(third.Items) != int(n)+1 {
					t.Errorf("a new one: %d items, unchanged %t", len(third.Items), third.Unchanged)
				}
				s.SetPullRequest(pull(n+1, func(p *forgetest.PullRequest) { p.Head = commitHash }))
				fourth, _ := list(third)
				if fourth.Unchanged || fourth.Items[n].Head != commitHash {
					t.Errorf("a push: unchanged %t", fourth.Unchanged)
				}
				s.SetPullRequest(pull(n+1, func(p *forgetest.PullRequest) { p.Base = "release" }))
				fifth, _ := list(fourth)
				if fifth.Unchanged || len(fifth.Items) != int(n) {
					t.Errorf("another base: %d items, unchanged %t", len(fifth.Items), fifth.Unchanged)
				}
			})
		})
	}
}

func TestTooManyPullRequests(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		for i := range int64(forge.MaxPullRequests) {
			s.SetPullRequest(pull(i+1, nil))
		}
		if list, err := client.PullRequests(t.Context(), "main", nil); err != nil || len(list.Items) != forge.MaxPullRequests {
			t.Errorf("as many as can be: %v", err)
		}
		s.SetPullRequest(pull(forge.MaxPullRequests+1, nil))
		_, err := client.PullRequests(t.Context(), "main", nil)
		if e, ok := errors.AsType[*forge.LimitError](err); !ok || e.Limit != forge.MaxPullRequests || e.Remedy == "" {
			t.Errorf("one more: %v", err)
		}
	})
}

// What isn't a pull request or a comment is passed over. Nobody takes "null" for an empty list.
func TestStrangeLists(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		s.AnswerWith(forgetest.Status(200, `[null, {}, {"number": 3, "iid": 3, "head": null}, {"number": -1, "iid": -1, "id": -1}]`, "X-Total-Count", "4"))
		list, err := client.PullRequests(t.Context(), "main", nil)
		if err != nil || len(list.Items) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
		comments, err := client.Comments(t.Context(), 7)
		if err != nil || len(comments) != 0 {
			t.Errorf("%+v, %v", comments, err)
		}
		s.AnswerWith(forgetest.Status(200, fmt.Sprintf(`[
			{"number": 3, "iid": 3, "state": "open", "sha": "%[1]s", "target_branch": "other", "base": {"ref": "other"}, "head": {"sha": "%[1]s"}},
			{"number": 4, "iid": 4, "state": "closed", "sha": "%[1]s", "target_branch": "main", "base": {"ref": "main"}, "head": {"sha": "%[1]s"}}]`, commitHash), "X-Total-Count", "2"))
		if list, err := client.PullRequests(t.Context(), "main", nil); err != nil || len(list.Items) != 0 {
			t.Errorf("from a forge that doesn't know the parameters: %+v, %v", list, err)
		}
		s.AnswerWith(forgetest.Status(200, fmt.Sprintf(`{"number": 4, "iid": 4, "sha": "%[1]s", "head": {"sha": "%[1]s"}}`, commitHash)))
		if p, err := client.PullRequest(t.Context(), 7); !as[*forge.AnswerError](err) {
			t.Errorf("another pull request than the one asked for: %+v, %v", p, err)
		}
		s.AnswerWith(forgetest.Status(200, `[`+strings.Repeat(`{},`, 200)+`{}]`, "X-Total-Count", "201"))
		if _, err := client.PullRequests(t.Context(), "main", nil); !as[*forge.LimitError](err) {
			t.Errorf("a page that is longer than asked for: %v", err)
		}
		s.AnswerWith(forgetest.Status(200, `[{"id": 3, "body": "`+strings.Repeat(`\u65e5`, forge.MaxCommentRead)+`"}]`))
		comments, err = client.Comments(t.Context(), 7)
		if err != nil || len(comments) != 1 || len(comments[0].Body) > forge.MaxCommentRead {
			t.Errorf("a text that is short in JSON: %d, %v", len(comments), err)
		}
		s.AnswerWith(forgetest.Status(200, `[{"id": 3, "body": "x", "user": {"id": -1, "login": "Ghost"}, "author": null}]`))
		comments, err = client.Comments(t.Context(), 7)
		if err != nil || len(comments) != 1 || comments[0].AuthorID != 0 || comments[0].Author != "" {
			t.Errorf("of an account that was deleted: %+v, %v", comments, err)
		}
		s.AnswerWith(forgetest.Status(200, `[`+strings.Repeat(`{},`, 100_000)+`{}]`, "X-Total-Count", "4"))
		if _, err := client.PullRequests(t.Context(), "main", nil); !as[*forge.LimitError](err) {
			t.Errorf("more than a page: %v", err)
		}
		if _, err := client.Comments(t.Context(), 7); !as[*forge.LimitError](err) {
			t.Errorf("more than a conversation: %v", err)
		}
		for _, body := range []string{`null`, ``, `{}`, `[{"number": 1`} {
			s.AnswerWith(forgetest.Status(200, body))
			if list, err := client.PullRequests(t.Context(), "main", nil); err == nil {
				t.Errorf("%q: %+v", body, list)
			}
			if comments, err := client.Comments(t.Context(), 7); err == nil {
				t.Errorf("%q: %+v", body, comments)
			}
			if p, err := client.PullRequest(t.Context(), 7); err == nil {
				t.Errorf("%q: %+v", body, p)
			}
		}
	})
}

func TestComments(t *testing.T) {
	jane := forge.User{ID: 11, Login: "jane"}
	each(t, forgetest.Options{Old: true}, func(t *testing.T, s *forgetest.Server, client connect.Client, at *clock) {
		s.SetPullRequest(pull(7, nil))
		s.SetPullRequest(pull(8, nil))
		s.AddComment(8, jane, "on another")
		want := []forge.Comment{s.AddComment(7, forge.User{}, "of an account that was deleted")}
		for i := range 230 {
			if provider(t) == forge.GitLab {
				s.AddEvent(7)
			}
			at.advance(time.Second)
			want = append(want, s.AddComment(7, jane, fmt.Sprintf("%d: <b>&amp;</b> \"\\\u0007 日本 🚀", i)))
		}
		got, err := client.Comments(t.Context(), 7)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d, want %d, %v", len(got), len(want), err)
		}
		if got, err := client.Comments(t.Context(), 8); err != nil || len(got) != 1 || got[0].Body != "on another" || got[0].AuthorID != jane.ID {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// One person's long or many comments cost neither memory nor time without end.
func TestBoundsOfComments(t *testing.T) {
	jane := forge.User{ID: 11, Login: "jane"}
	for _, tt := range []struct {
		reason string
		n      int
		body   string
		ok     bool
		limit  int
	}{
		{"as many as are read", forge.MaxComments, "x", true, 0},
		{"one more", forge.MaxComments + 1, "x", false, forge.MaxComments},
		{"longer than what is read", 20, strings.Repeat("<\u00e9", 100_000), true, 0},
		{"one of many MiB", 1, strings.Repeat("\\", 20<<20), true, 0},
		{"as long as all may be", forge.MaxConversation / forge.MaxCommentRead, strings.Repeat("x", forge.MaxCommentRead), true, 0},
		{"all together too long", forge.MaxConversation/forge.MaxCommentRead + 1, strings.Repeat("x", forge.MaxCommentRead), false, forge.MaxConversation},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
				s.SetPullRequest(pull(7, nil))
				for range tt.n {
					s.AddComment(7, jane, tt.body)
				}
				got, err := client.Comments(t.Context(), 7)
				if !tt.ok {
					if e, ok := errors.AsType[*forge.LimitError](err); !ok || e.Limit != tt.limit || strings.Contains(e.Error(), "push another") {
						t.Errorf("%v", err)
					}
					return
				}
				if err != nil || len(got) != tt.n {
					t.Fatalf("%d, %v", len(got), err)
				}
				for _, c := range got {
					cut := strings.TrimRight(c.Body, "\ufffd")
					if len(c.Body) > forge.MaxCommentRead || !strings.HasPrefix(tt.body, cut) || len(cut) < min(len(tt.body), forge.MaxCommentRead)-8 {
						t.Fatalf("%d bytes of %d", len(c.Body), len(tt.body))
					}
				}
			})
		})
	}
}

// What is written is found again as it was written, whatever it says, and no forge executes any of it.
func TestCommentsAreKept(t *testing.T) {
	for _, tt := range []struct{ reason, body string }{
		{"Markdown", "<!-- muster:production -->\n# 12 clusters\n\n| a | b |\n|---|---|\n"},
		{"lines that GitLab would execute", "/merge\nx\n/close\n  /approve\n\t/assign @jane\r\n/label ~x\n\r/reopen\n\n\\/unassign\n\\\\/lock"},
		{"as long as can be, and longer in JSON", strings.Repeat("<", forge.MaxComment)},
		{"all kinds of characters", "日本 🚀 👩‍👩‍👧 \u202e \" \\ \\u0041 &lt; \x7f"},
		{"paths in code", "```\n/etc/passwd\n```\n"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, at *clock) {
				s.SetPullRequest(pull(7, nil))
				created, err := client.CreateComment(t.Context(), 7, "first")
				if err != nil || created.Body != "first" || created.AuthorID != forgetest.Robot.ID || created.Created.IsZero() {
					t.Fatalf("%+v, %v", created, err)
				}
				other, err := client.CreateComment(t.Context(), 7, tt.body)
				if err != nil || other.Body != tt.body {
					t.Fatalf("%.200q, %v", other.Body, err)
				}
				at.advance(time.Minute)
				if err := client.UpdateComment(t.Context(), 7, created.ID, tt.body); err != nil {
					t.Fatal(err)
				}
				got, err := client.Comments(t.Context(), 7)
				if err != nil || len(got) != 2 || got[0].ID != created.ID || got[0].Body != tt.body || got[1].Body != tt.body {
					t.Errorf("%d, %v", len(got), err)
				}
				if !got[0].Updated.After(got[0].Created) {
					t.Errorf("created %s, updated %s", got[0].Created, got[0].Updated)
				}
				if actions := s.QuickActions(); len(actions) != 0 {
					t.Errorf("executed %q", actions)
				}
			})
		})
	}
}

func TestWhatCanNotBeCommentedOn(t *testing.T) {
	each(t, forgetest.Options{ReadToken: "read-0nly"}, func(t *testing.T, s *forgetest.Server, client connect.Client, at *clock) {
		s.SetPullRequest(pull(7, nil))
		created, err := client.CreateComment(t.Context(), 7, "x")
		if err != nil {
			t.Fatal(err)
		}
		reader := clientOf(t, provider(t), s, at, "read-0nly")
		_, errCreate := reader.CreateComment(t.Context(), 7, "x")
		for _, err := range []error{errCreate, reader.UpdateComment(t.Context(), 7, created.ID, "y")} {
			refused, ok := errors.AsType[*forge.RefusedError](err)
			if !ok || refused.Missing == "" || strings.Contains(refused.Remedy, "statuses") {
				t.Errorf("a token that may read alone: %v", err)
			}
		}
		s.DeleteComment(created.ID)
		if err := client.UpdateComment(t.Context(), 7, created.ID, "y"); !as[*forge.NotFoundError](err) || !strings.Contains(err.Error(), "or comment does not exist") {
			t.Errorf("a comment that was deleted: %v", err)
		}
		want := as[*forge.NotFoundError]
		if provider(t) == forge.Gitea {
			want = as[*forge.UnavailableError] // it answers 500, which the test on the real one shows
		}
		if _, err := client.CreateComment(t.Context(), 8, "x"); !want(err) {
			t.Errorf("a pull request that isn't there: %v", err)
		}
		if _, err := client.Comments(t.Context(), 8); !want(err) {
			t.Errorf("comments of a pull request that isn't there: %v", err)
		}
	})
}

// Who may write is what the forge says of that login and that id, and nothing else.
func TestCanWrite(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		for i, permission := range []string{"none", "read", "write", "admin"} {
			s.SetUser(forge.User{ID: int64(100 + i), Login: permission + "er"}, permission)
		}
		for _, tt := range []struct {
			reason string
			user   forge.User
			want   bool
		}{
			{"no permission", forge.User{ID: 100, Login: "noneer"}, false},
			{"a reader", forge.User{ID: 101, Login: "reader"}, false},
			{"a writer", forge.User{ID: 102, Login: "writeer"}, true},
			{"an administrator", forge.User{ID: 103, Login: "adminer"}, true},
			{"who took a writer's login", forge.User{ID: 999, Login: "writeer"}, false},
			{"who isn't known", forge.User{ID: 998, Login: "ghost"}, false},
			{"an App", forge.User{ID: 997, Login: "other[bot]"}, false},
		} {
			if got, err := client.CanWrite(t.Context(), tt.user); err != nil || got != tt.want {
				t.Errorf("%s: %t, %v", tt.reason, got, err)
			}
		}
		s.SetUser(forge.User{ID: 102, Login: "writeer"}, "read")
		if got, err := client.CanWrite(t.Context(), forge.User{ID: 102, Login: "writeer"}); err != nil || got {
			t.Errorf("a moment after the permission is gone: %t, %v", got, err)
		}
	})
}

// An answer about no user at all allows nothing.
func TestAnswersAboutNoUser(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		for _, body := range []string{
			`{}`, `null`, `{"permission": "write", "access_level": 40, "state": "active"}`, `{"permission": "write", "access_level": 40, "user": null}`,
			`{"permission": "write", "access_level": 40, "id": 6, "state": "active", "user": {"id": 6}}`, `{"id": 5, "permission": "", "access_level": 50, "state": "blocked", "user": {"id": 5}}`,
		} {
			s.AnswerWith(forgetest.Status(200, body))
			if got, err := client.CanWrite(t.Context(), forge.User{ID: 5, Login: "jane"}); got {
				t.Errorf("%s: %t, %v", body, got, err)
			}
		}
	})
}

func TestSelf(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		s.AnswerWith(forgetest.Status(200, `{}`))
		if me, err := client.Self(t.Context()); !as[*forge.AnswerError](err) {
			t.Errorf("an answer about nothing: %+v, %v", me, err)
		}
		s.AnswerWith(nil)
		for range 3 {
			if me, err := client.Self(t.Context()); err != nil || me != forgetest.Robot {
				t.Errorf("%+v, %v", me, err)
			}
		}
		if n := len(s.Requests()); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

// What can't be right is refused before a path or a forge sees it.
func TestBadCallsAboutPullRequests(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		list := func(base string) error { _, err := client.PullRequests(t.Context(), base, nil); return err }
		create := func(n int64, body string) error { _, err := client.CreateComment(t.Context(), n, body); return err }
		can := func(u forge.User) error { _, err := client.CanWrite(t.Context(), u); return err }
		_, errRead := client.PullRequest(t.Context(), 0)
		_, errComments := client.Comments(t.Context(), -1)
		for reason, err := range map[string]error{
			"no base": list(""), "a ref": list("refs/heads/main"), "a long base": list(strings.Repeat("x", 2000)), "two lines": list("a\nb"),
			"no number": errRead, "a negative number": errComments,
			"no number to comment on": create(0, "x"), "an empty comment": create(7, " \n"), "a long one": create(7, strings.Repeat("x", forge.MaxComment+1)),
			"not UTF-8": create(7, "\xff"), "NUL": create(7, "\x00"), "no id": client.UpdateComment(t.Context(), 7, 0, "x"),
			"no number to update": client.UpdateComment(t.Context(), 0, 7, "x"), "a long update": client.UpdateComment(t.Context(), 7, 7, strings.Repeat("x", forge.MaxComment+1)),
			"no user": can(forge.User{}), "no user id": can(forge.User{Login: "jane"}), "no login": can(forge.User{ID: 5}),
			"a path": can(forge.User{ID: 5, Login: ".."}), "a longer path": can(forge.User{ID: 5, Login: "../../admin"}),
			"a query": can(forge.User{ID: 5, Login: "jane?x"}), "an escape": can(forge.User{ID: 5, Login: "jane%2f"}),
			"a long login": can(forge.User{ID: 5, Login: strings.Repeat("x", 256)}), "another alphabet": can(forge.User{ID: 5, Login: "jаne"}),
		} {
			if !as[*forge.ConfigError](err) {
				t.Errorf("%s: %v", reason, err)
			}
		}
		if n := len(s.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// Every failure of every call is one of package forge's errors, holds no credential, and is never tried again by the client.
func TestFailuresAboutPullRequests(t *testing.T) {
	calls := map[string]func(context.Context, connect.Client) error{
		"list": func(ctx context.Context, c connect.Client) error {
			_, err := c.PullRequests(ctx, "main", nil)
			return err
		},
		"read":     func(ctx context.Context, c connect.Client) error { _, err := c.PullRequest(ctx, 7); return err },
		"comments": func(ctx context.Context, c connect.Client) error { _, err := c.Comments(ctx, 7); return err },
		"merged as": func(ctx context.Context, c connect.Client) error {
			_, err := c.MergedAs(ctx, commit, "main")
			return err
		},
		"create": func(ctx context.Context, c connect.Client) error { _, err := c.CreateComment(ctx, 7, "x"); return err },
		"update": func(ctx context.Context, c connect.Client) error { return c.UpdateComment(ctx, 7, 9, "x") },
		"can write": func(ctx context.Context, c connect.Client) error {
			_, err := c.CanWrite(ctx, forge.User{ID: 5, Login: "jane"})
			return err
		},
		"self": func(ctx context.Context, c connect.Client) error { _, err := c.Self(ctx); return err },
	}
	for _, tt := range faults() {
		t.Run(tt.reason, func(t *testing.T) {
			each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, _ connect.Client, _ *clock) {
				s.AnswerWith(tt.answer(s))
				for name, call := range calls {
					before := len(s.Requests())
					err := call(t.Context(), clientOf(t, provider(t), s, newClock(), canary))
					noMember := provider(t) == forge.GitLab && name == "can write" && err == nil &&
						(strings.HasPrefix(tt.reason, "404") || tt.reason == "410")
					if !noMember && !tt.check(err) {
						t.Errorf("%s: %#v", name, err)
					}
					holdsNoCanary(t, err)
					if n := len(s.Requests()) - before; n != 1 && tt.reason != "a redirect in a circle" {
						t.Errorf("%s: %d requests, want 1", name, n)
					}
				}
			})
		})
	}
}

// A forge that answers "not modified" to a question that wasn't conditional says nothing.
func TestUnasked304(t *testing.T) {
	each(t, forgetest.Options{}, func(t *testing.T, s *forgetest.Server, client connect.Client, _ *clock) {
		s.AnswerWith(forgetest.Status(http.StatusNotModified, ``))
		if list, err := client.PullRequests(t.Context(), "main", nil); err == nil {
			t.Errorf("%+v", list)
		}
	})
}

func TestHeadRef(t *testing.T) {
	got := []string{forge.HeadRef(forge.GitHub, 7), forge.HeadRef(forge.GitLab, 7), forge.HeadRef(forge.Gitea, 7)}
	if want := []string{"refs/pull/7/head", "refs/merge-requests/7/head", "refs/pull/7/head"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
