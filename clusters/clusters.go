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
// The package has no Kubernetes client, and opens no connection but those of the key services that it is handed.
package clusters

import (
	"context"
	"io/fs"
	"sync"
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

// Pipeline renders sources. It remembers what it has rendered last, in every stage, so that rendering the next revision of a
// source costs what has changed in it; it holds no more than that one fleet. Rendering takes turns: concurrent calls wait for
// each other.
type Pipeline struct {
	mu     sync.Mutex
	sealer *seal.Sealer
	tree   *load.Tree
	sealed *seal.Tree
	built  *build.Result
	// compiled and opened are the memories of the last two stages.
	compiled compile.Memory
	opened   open.Memory
}

// NewPipeline returns a Pipeline that remembers nothing.
func NewPipeline() *Pipeline { return &Pipeline{sealer: seal.NewSealer()} }

// Compile goes from files to a fleet whose secrets are still sealed. The opener, which may be nil, is only used for
// encrypted files that a kustomize generator needs the content of.
func (p *Pipeline) Compile(ctx context.Context, src Source, opts compile.Options, opener open.Opener) (*fleet.Sealed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	opts.Source = src.FS
	tree, err := load.Load(ctx, src.FS, src.Path, src.Limits, p.tree)
	if err != nil {
		return nil, err
	}
	sealed := p.sealer.Seal(tree, p.sealed)
	built, err := build.Build(ctx, sealed, opener, p.built)
	if err != nil {
		return nil, err
	}
	p.tree, p.sealed, p.built = tree, sealed, built
	return p.compiled.Compile(built, opts), nil
}

// Open gives a fleet its secrets. Whatever is opened is made known to the redactor, and forgotten by it when it is gone from
// the fleet.
func (p *Pipeline) Open(ctx context.Context, sealed *fleet.Sealed, opener open.Opener, redactor *redact.Redactor, now time.Time) (*fleet.Opened, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer sealed.Source.Loaded.Release()
	return p.opened.Open(ctx, sealed, opener, redactor, now)
}
