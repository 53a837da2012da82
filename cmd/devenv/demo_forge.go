package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/cmd/devenv/operator"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

const (
	forgeRepository = "platform/" + demoRepository
	forgeRobot      = "muster"
	forgeContext    = "muster/" + demoSync   // of the first status of a commit
	forgePlan       = forgeContext + "/plan" // of the head of a pull request; the branch requires it
	forgeBranch     = "main"

	// demoScan is how long a scan takes, so that the reader can see it run.
	demoScan = 2 * time.Second
)

// demoForge is the part of the demo that exists only with a forge.
type demoForge struct {
	gitea         *server.Gitea
	repositoryURL string
	token         string // Muster's
	hookSecret    string
	receiver      string // the address at which Muster receives webhooks
}

// forgeStages begin with Gitea, because its address is in the reader's shell environment.
func (d *demo) forgeStages() []demoStage {
	return []demoStage{
		{"Building muster", d.buildMuster},
		{"Starting Gitea, with a repository, a token and a webhook, and pushing examples/quickstart to it", d.startGitea},
		{"Starting a Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager)", d.startControlPlane},
		{"Installing the CRDs, config/rbac and three Secrets", d.install},
		{"Starting a stand-in for the Mondoo Operator, which creates CronJobs and simulates their scans", d.startStandIn},
		{"Starting the controller, with only the permissions of config/rbac", d.startController},
		{"Creating an AuditSync and waiting until it is ready", d.firstSync},
	}
}

// startGitea does on Gitea, through its API, what a platform team does once on its forge.
func (d *demo) startGitea(ctx context.Context, root string) (err error) {
	f := d.forge
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)()
	if f.gitea, err = server.StartGitea(serving, server.GiteaOptions{Dir: d.file("gitea"), Log: d.out}); err != nil {
		cancel()
		return err
	}
	d.stops = append(d.stops, func() error { defer cancel(); return f.gitea.Stop() })
	// The address stays the same when the controller restarts, because the forge knows it.
	receiver, release, err := server.ReserveAddress()
	if err != nil {
		return err
	}
	f.receiver = receiver
	d.stops = append(d.stops, func() error { release(); return nil })
	if err := f.setUp(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(d.file("gitea.curl"), fmt.Appendf(nil, "user = \"%s:%s\"\n", gitUsername, gitPassword), 0o600); err != nil {
		return err
	}
	if err := d.pushQuickstart(ctx, root, f.repositoryURL); err != nil {
		return err
	}
	// Start now: commits that were pushed before the webhook existed are read when the AuditSync is created.
	return f.gitea.AddWebhook(ctx, forgeRepository, f.hookURL(), f.hookSecret, "push", "pull_request", "pull_request_sync", "pull_request_comment", "issue_comment")
}

// setUp creates the repository, the reader's account and Muster's, and protects the branch.
func (f *demoForge) setUp(ctx context.Context) (err error) {
	if f.repositoryURL, err = f.gitea.CreateRepository(ctx, forgeRepository); err != nil {
		return err
	}
	reader := map[string]any{"username": gitUsername, "email": "demo@example.com", "password": gitPassword, "must_change_password": false}
	if err := f.gitea.API(ctx, http.MethodPost, "/admin/users", reader, nil); err != nil {
		return err
	}
	// The scopes are for statuses and reading, for comments, and for Muster to find its own account.
	if f.token, err = f.gitea.CreateUser(ctx, forgeRobot, "write:repository", "write:issue", "read:user"); err != nil {
		return err
	}
	// Muster is an administrator of the repository, because Gitea tells only these who may write.
	for user, permission := range map[string]string{gitUsername: "admin", forgeRobot: "admin"} {
		if err := f.gitea.AddCollaborator(ctx, forgeRepository, user, permission); err != nil {
			return err
		}
	}
	f.hookSecret = rand.Text()
	return f.gitea.ProtectBranch(ctx, forgeRepository, forgeBranch, forgePlan)
}

func (f *demoForge) hookURL() string {
	return "http://" + f.receiver + "/hook/" + demoNamespace + "/" + demoSync
}

// api is the address of the repository in Gitea's API, and pages the address of its web pages.
func (f *demoForge) api() string { return f.gitea.URL() + "/api/v1/repos/" + forgeRepository }

func (f *demoForge) pages() string { return f.gitea.URL() + "/" + forgeRepository }

// secrets are the Secrets that the AuditSync refers to.
func (f *demoForge) secrets() []client.Object {
	return []client.Object{
		secret("fleet-git", map[string]string{"username": forgeRobot, "password": f.token}),
		secret("fleet-webhook", map[string]string{"token": f.hookSecret}),
	}
}

// use makes the AuditSync receive webhooks, set statuses, and answer pull requests.
func (f *demoForge) use(sync *v1alpha1.AuditSync) {
	sync.Spec.Webhook = &v1alpha1.Webhook{SecretRef: v1alpha1.SecretRef{Name: "fleet-webhook"}}
	sync.Spec.Forge = &v1alpha1.Forge{Provider: "gitea", SecretRef: v1alpha1.SecretRef{Name: "fleet-git"}, PullRequests: true}
}

func (d *demo) startStandIn(ctx context.Context, _ string) error {
	standIn, err := operator.Start(context.WithoutCancel(ctx), d.cluster.config, operator.Options{
		Namespace: demoNamespace, Takes: demoScan,
		Tell: func(format string, args ...any) { d.out.Event("stand-in", format, args...) },
	})
	if err != nil {
		return err
	}
	d.stops = append(d.stops, standIn.Stop)
	d.forge.watch(ctx, d)
	return nil
}
