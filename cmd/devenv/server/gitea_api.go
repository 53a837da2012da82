package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// GiteaError is an answer of Gitea's API that isn't a success.
type GiteaError struct {
	Method, Path string
	Code         int
	Body         string
}

func (e *GiteaError) Error() string {
	return fmt.Sprintf("gitea: %s %s: %d %s", e.Method, e.Path, e.Code, e.Body)
}

// API calls Gitea's REST API as the administrator, bypassing the counting proxy. The path is below /api/v1; in and out are
// JSON, or nil.
func (g *Gitea) API(ctx context.Context, method, path string, in, out any) error {
	return g.call(ctx, method, path, in, out, func(r *http.Request) { r.Header.Set("Authorization", "token "+g.admin.token) })
}

func (g *Gitea) call(ctx context.Context, method, path string, in, out any, authorize func(*http.Request)) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if in == nil {
		body = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, g.URL()+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	authorize(req)
	client := &http.Client{Transport: g.front.transport, Timeout: 30 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return &GiteaError{Method: method, Path: path, Code: res.StatusCode, Body: string(answer)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// APIAs is API with another token than the administrator's.
func (g *Gitea) APIAs(ctx context.Context, token, method, path string, in, out any) error {
	return g.call(ctx, method, path, in, out, func(r *http.Request) { r.Header.Set("Authorization", "token "+token) })
}

// CreateUser creates a user, and a token with these scopes, such as "write:repository".
func (g *Gitea) CreateUser(ctx context.Context, name string, scopes ...string) (token string, err error) {
	password := rand.Text()
	if err := g.API(ctx, http.MethodPost, "/admin/users", map[string]any{
		"username": name, "email": name + "@example.com", "password": password, "must_change_password": false,
	}, nil); err != nil {
		return "", err
	}
	var created struct {
		Token string `json:"sha1"`
	}
	err = g.call(ctx, http.MethodPost, "/users/"+url.PathEscape(name)+"/tokens",
		map[string]any{"name": "test", "scopes": scopes}, &created, func(r *http.Request) { r.SetBasicAuth(name, password) })
	return created.Token, err
}

// CreateRepository creates an empty private repository, and its owner as an organization if necessary. The name is
// OWNER/NAME; the URL has no credentials, so use a user's name and token.
func (g *Gitea) CreateRepository(ctx context.Context, name string) (gitURL string, err error) {
	owner, repository, found := strings.Cut(name, "/")
	if !found {
		return "", fmt.Errorf("create %s: the name is OWNER/NAME", name)
	}
	if err := g.API(ctx, http.MethodGet, "/users/"+url.PathEscape(owner), nil, nil); err != nil {
		if err := g.API(ctx, http.MethodPost, "/orgs", map[string]any{"username": owner}, nil); err != nil {
			return "", err
		}
	}
	created := map[string]any{"name": repository, "private": true, "default_branch": "main"}
	if err := g.API(ctx, http.MethodPost, "/orgs/"+url.PathEscape(owner)+"/repos", created, nil); err != nil {
		return "", err
	}
	return g.URL() + "/" + name + ".git", nil
}

// AddCollaborator gives a user the permission read, write or admin on a repository.
func (g *Gitea) AddCollaborator(ctx context.Context, repository, user, permission string) error {
	return g.API(ctx, http.MethodPut, "/repos/"+repository+"/collaborators/"+url.PathEscape(user),
		map[string]any{"permission": permission}, nil)
}

// AddWebhook adds a webhook that sends events, such as "push" and "pull_request", to an address, signed with the secret.
func (g *Gitea) AddWebhook(ctx context.Context, repository, target, secret string, events ...string) error {
	return g.API(ctx, http.MethodPost, "/repos/"+repository+"/hooks", map[string]any{
		"type": "gitea", "active": true, "events": events,
		"config": map[string]string{"url": target, "content_type": "json", "secret": secret},
	}, nil)
}

// ProtectBranch requires success in all these contexts for merging pull requests into the branch. The administrator may
// push.
func (g *Gitea) ProtectBranch(ctx context.Context, repository, branch string, contexts ...string) error {
	return g.API(ctx, http.MethodPost, "/repos/"+repository+"/branch_protections", map[string]any{
		"rule_name": branch, "enable_push": true, "enable_status_check": true, "status_check_contexts": contexts,
	}, nil)
}

// GiteaStatus is one status that was set.
type GiteaStatus struct {
	ID          int64  `json:"id"`
	Context     string `json:"context"`
	State       string `json:"status"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url"`
	// Created has no fractions of seconds.
	Created time.Time `json:"created_at"`
}

// Statuses returns all statuses that were ever set on a commit, oldest first.
func (g *Gitea) Statuses(ctx context.Context, repository, commit string) ([]GiteaStatus, error) {
	var all []GiteaStatus
	for page := 1; ; page++ {
		var some []GiteaStatus
		path := fmt.Sprintf("/repos/%s/statuses/%s?sort=leastindex&limit=50&page=%d", repository, commit, page)
		if err := g.API(ctx, http.MethodGet, path, nil, &some); err != nil {
			return nil, err
		}
		if len(some) == 0 {
			slices.SortFunc(all, func(a, b GiteaStatus) int { return cmp.Compare(a.ID, b.ID) }) // Gitea's sort orders are ambiguous
			return all, nil
		}
		all = append(all, some...)
	}
}
