// Package clusters turns files into a fleet: it is the one way through the pipeline, for the command line, the controller
// and the check of pull requests alike.
//
//	load ─► seal ─► build ─► compile ─► open ─► plan
//	files   handles kustomize entries,   secrets  what to change
//	                          Secrets
//
// Each stage is a package below this one, takes the value of the stage before it and returns a new type. Everything up to
// compile works without a key. What a repository gets wrong comes back as findings; an error means that Muster could not
// do its work.
//
// The package has no Kubernetes client and opens no connection.
package clusters

import (
	"context"
	"io/fs"
	"time"

	"github.com/muster-gitops/muster/clusters/build"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/open"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/seal"
)

// Source is a path of a repository at one revision.
type Source struct {
	// FS is the root of the repository.
	FS fs.FS
	// Path is a folder in it, such as "./clusters/production".
	Path string
	// Limits bound what is read; the zero value stands for load.DefaultLimits.
	Limits load.Limits
}

// Pipeline renders sources. It may be used concurrently.
type Pipeline struct {
	sealer *seal.Sealer
}

// NewPipeline returns a Pipeline.
func NewPipeline() *Pipeline { return &Pipeline{sealer: seal.NewSealer()} }

// Compile goes from files to a fleet whose secrets are still sealed. The opener, which may be nil, is only used for
// encrypted files that a kustomize generator needs the content of.
func (p *Pipeline) Compile(ctx context.Context, src Source, opts compile.Options, opener open.Opener) (*fleet.Sealed, error) {
	tree, err := load.Load(ctx, src.FS, src.Path, src.Limits)
	if err != nil {
		return nil, err
	}
	built, err := build.Build(ctx, p.sealer.Seal(tree), opener)
	if err != nil {
		return nil, err
	}
	return compile.Compile(built, opts), nil
}

// Open gives a fleet its secrets. Whatever is opened is made known to the redactor.
func (p *Pipeline) Open(ctx context.Context, sealed *fleet.Sealed, opener open.Opener, redactor *redact.Redactor, now time.Time) (*fleet.Opened, error) {
	return open.Open(ctx, sealed, opener, redactor, now)
}
