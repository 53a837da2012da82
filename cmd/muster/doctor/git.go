package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/controllers"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
	"github.com/muster-gitops/muster/gitsync"
)

// source is an AuditSync's repository, as far as it could be read.
type source struct {
	snapshot *gitsync.Snapshot // nil if it could not
	dir      string
	cache    *gitsync.Repository
}

func (s *source) close() {
	if s.snapshot != nil {
		s.snapshot.Close() //nolint:errcheck // the folder is removed below
	}
	if s.cache != nil {
		s.cache.Close() //nolint:errcheck // the folder is removed below
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir) // it is a temporary folder
	}
}

// git fetches the source of an AuditSync as the controller does: with its Secret, and the same limits.
func (c *checkup) git(ctx context.Context, audit *v1alpha1.AuditSync) (*source, []Check) {
	s := &source{}
	credentials := audit.Name + ": the repository's Secret is valid"
	from, checks := controllers.SourceOf(audit.Spec.Source), []Check(nil)
	if ref := audit.Spec.Source.SecretRef; ref != nil {
		data, err := c.secret(ctx, ref.Name)
		if err != nil {
			return s, []Check{c.secretCheck(categoryGit, credentials, ref.Name, err)}
		}
		if from.Auth, err = gitsync.AuthFromSecret(from.URL, data); err != nil {
			return s, []Check{secretInvalid(categoryGit, credentials, c.Namespace, ref.Name, err)}
		}
		checks = append(checks, passed(categoryGit, credentials, from.Auth.String()))
	}
	err := s.fetch(ctx, from)
	checks = append(checks, fetchChecks(audit, err)...)
	if err == nil {
		checks = append(checks, pathCheck(audit, s.snapshot.FS()))
	}
	return s, checks
}

// fetch fetches the commit into a temporary folder.
func (s *source) fetch(ctx context.Context, from gitsync.Source) (err error) {
	if s.dir, err = os.MkdirTemp("", "muster-doctor-"); err != nil {
		return err
	}
	if s.cache, err = gitsync.Open(s.dir); err != nil {
		return err
	}
	s.snapshot, err = s.cache.Fetch(ctx, from)
	return err
}

// fetchChecks decides from the error of a fetch, or nil. Its own text names the cause and the fix. A repository that the
// controller has read may be out of reach from here.
func fetchChecks(audit *v1alpha1.AuditSync, err error) []Check {
	reachable, exists := audit.Name+": the repository can be read", audit.Name+": the ref exists"
	var remote *gitsync.RemoteError
	var secret *gitsync.SecretError
	var invalid *gitsync.SourceError
	var missing *gitsync.RefNotFoundError
	var other *gitsync.NotACommitError
	switch {
	case err == nil:
		return []Check{passed(categoryGit, reachable, audit.Spec.Source.URL), passed(categoryGit, exists, refText(audit))}
	case errors.As(err, &missing), errors.As(err, &other):
		return []Check{passed(categoryGit, reachable, audit.Spec.Source.URL), failed(categoryGit, exists, err.Error(), "correct spec.source.ref: "+edit(audit))}
	case errors.As(err, &invalid), errors.As(err, &secret):
		return []Check{failed(categoryGit, reachable, err.Error(), "correct spec.source: "+edit(audit))}
	case errors.As(err, &remote) && unreachable(remote.Reason) && meta.IsStatusConditionTrue(audit.Status.Conditions, v1alpha1.ConditionFetched):
		return []Check{warning(categoryGit, reachable, "it can't be read from here, but the controller has read it: "+err.Error(), "nothing, unless the condition Fetched says otherwise: muster status "+audit.Name)}
	}
	return []Check{failed(categoryGit, reachable, err.Error(), "see the condition Fetched: muster status "+audit.Name)}
}

// unreachable reports whether a cause may be one of this computer's network alone.
func unreachable(reason gitsync.Reason) bool {
	return reason == gitsync.Unreachable || reason == gitsync.TimedOut || reason == gitsync.Untrusted
}

func edit(audit *v1alpha1.AuditSync) string {
	return fmt.Sprintf("kubectl -n %s edit auditsync %s", audit.Namespace, audit.Name)
}

func refText(audit *v1alpha1.AuditSync) string {
	ref := audit.Spec.Source.Ref
	if ref == nil {
		return "the default branch"
	}
	for _, text := range []string{ref.Commit, ref.SemVer, ref.Tag, ref.Branch} {
		if text != "" {
			return text
		}
	}
	return "the default branch"
}

// pathCheck decides whether spec.path is a folder of the commit.
func pathCheck(audit *v1alpha1.AuditSync, files fs.FS) Check {
	name := audit.Name + ": the path exists"
	dir, err := load.CleanPath(audit.Spec.Path)
	if err != nil {
		return failed(categoryGit, name, err.Error(), "correct spec.path: "+edit(audit))
	}
	info, err := fs.Stat(files, dir)
	switch {
	case err != nil:
		return failed(categoryGit, name, fmt.Sprintf("the commit has no folder %s", dir), "correct spec.path, or push the folder: "+edit(audit))
	case !info.IsDir():
		return failed(categoryGit, name, fmt.Sprintf("%s is a file", dir), "correct spec.path to its folder: "+edit(audit))
	}
	return passed(categoryGit, name, dir)
}

// secretInvalid is the check for a Secret whose keys can't be used. The error names the key and how to mend it.
func secretInvalid(category, name, namespace, secret string, err error) Check {
	return failed(category, name, fmt.Sprintf("Secret %s: %v", secret, err), fmt.Sprintf("correct it: kubectl -n %s edit secret %s", namespace, secret))
}
