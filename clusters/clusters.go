// Package clusters turns files into a fleet. It is the only pipeline, for the command line, the controller and the
// check of pull requests alike.
//
//	load ─► seal ─► build ─► compile ─► open ─► plan
//	files   handles kustomize entries,   secrets  what to change
//	                          Secrets
//
// Each stage is a package below this one. It takes the previous stage's result and returns a new type. Everything up to
// compile works without a key, and imports nothing that decrypts: kustomize gets an Opener for the inputs of generators. Mistakes in a repository are returned as findings. An error means that Muster could not
// do its work.
//
// The package has no Kubernetes client, and opens no connections except to the key services that it is given. Of the packages
// below it, only preflight connects to clusters. It is no stage: it checks what open has opened.
package clusters

import (
	"context"
	"io/fs"
	"sync"
	"time"

	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
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
	// Limits bound what is read. The zero value means load.DefaultLimits.
	Limits load.Limits
}

// Opener decrypts files with keys. *unseal.Opener is one.
type Opener interface {
	kustomize.Opener
	open.Opener
}

// Pipeline renders sources. Every stage caches its last result, so that rendering the next revision of a source only
// costs as much as has changed. The cache holds no more than that one fleet. Concurrent calls wait for each other.
type Pipeline struct {
	mu     *sync.Mutex // shared with forks, because they share what is cached
	sealer *seal.Sealer
	tree   *load.Tree
	sealed *seal.Tree
	built  *kustomize.Result
	// compiled and opened are the caches of the last two stages.
	compiled compile.Memory
	opened   open.Memory
}

// NewPipeline returns a Pipeline with an empty cache.
func NewPipeline() *Pipeline { return &Pipeline{mu: &sync.Mutex{}, sealer: seal.NewSealer()} }

// Fork returns a Pipeline that starts with the cache of p and never changes it, so that rendering a variant of p's source
// costs as much as the variant changes. Calls of p and its forks wait for each other. The redactor knows what the fork
// opens under the name, which no other fork of p may have, until the fork is closed.
func (p *Pipeline) Fork(name string) *Pipeline {
	p.mu.Lock()
	defer p.mu.Unlock()
	fork := *p
	fork.opened = p.opened.Fork(name)
	return &fork
}

// Close makes the redactor forget what only this fork has opened.
func (p *Pipeline) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened.Close()
}

// Compile turns files into a fleet whose secrets are still sealed. The opener, which may be nil, is only used for
// encrypted files that a kustomize generator reads.
func (p *Pipeline) Compile(ctx context.Context, src Source, opts compile.Options, opener Opener) (*fleet.Sealed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	opts.Source = src.FS
	tree, err := load.Load(ctx, src.FS, src.Path, src.Limits, p.tree)
	if err != nil {
		return nil, err
	}
	sealed := p.sealer.Seal(tree, p.sealed)
	built, err := kustomize.Build(ctx, sealed, opener, p.built)
	if err != nil {
		return nil, err
	}
	p.tree, p.sealed, p.built = tree, sealed, built
	return p.compiled.Compile(built, opts), nil
}

// Open decrypts a fleet's secrets. The redactor learns every decrypted value, and forgets it when it is no longer in
// the fleet.
func (p *Pipeline) Open(ctx context.Context, sealed *fleet.Sealed, opener Opener, redactor *redact.Redactor, now time.Time) (*fleet.Opened, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer sealed.Source.Loaded.Release()
	return p.opened.Open(ctx, sealed, opener, redactor, now)
}
