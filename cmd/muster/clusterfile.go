package main

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/encrypt"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/unseal"
)

// source is the file of a cluster, to be changed.
type source struct {
	*load.File
	// document is the index of the cluster's document in File.Documents.
	document int
	rendered *rendered
	// sealed is the opened file; nil for plain text, and before open.
	sealed *encrypt.File
}

// locateCluster finds the file of a cluster, without a key.
func (f *folder) locateCluster(ctx context.Context, name string) (*source, error) {
	e := explainer{folder: f, name: name}
	r, err := f.render(ctx, f.target, f.opts, nil)
	if err != nil {
		return nil, err
	}
	var origins []fleet.Origin
	for _, c := range r.opened.Clusters {
		config := c.AuditConfig
		if c.Name == name && (!f.auditConfigGiven || config == "" || config == f.opts.AuditConfig) && !slices.Contains(origins, c.Origin) {
			origins = append(origins, c.Origin)
		}
	}
	if file := fileOf(name, r); len(origins) == 0 && file != "" {
		at := slices.IndexFunc(r.sealed.Source.Loaded.Files[file].Documents, func(d *load.Document) bool { return d.IsCluster() && d.Name == name })
		origins = []fleet.Origin{{Path: file, Document: at}}
	}
	switch {
	case len(origins) == 0:
		return nil, e.missing(r, nil, r.fresh().Findings)
	case len(origins) > 1:
		return nil, usagef("several files have a cluster %s (%s); choose one with --audit-config, or remove a file", name, firstFew(pathsOf(origins)))
	}
	file := r.sealed.Source.Loaded.Files[origins[0].Path]
	if file == nil || origins[0].Document >= len(file.Documents) || !file.Documents[origins[0].Document].IsCluster() {
		return nil, fmt.Errorf("cluster %s is an entry of the audit config in %s, not a cluster file; edit it there", name, f.fromWorkingDir(origins[0].Path))
	}
	return &source{File: file, document: origins[0].Document, rendered: r}, nil
}

func pathsOf(origins []fleet.Origin) (list []string) {
	for _, o := range origins {
		list = append(list, o.Path)
	}
	return list
}

// open decrypts the file, if it is encrypted. It registers the secrets with the redactor.
func (c *source) open(ctx context.Context, f *folder) *finding.Finding {
	if seal.IsEncrypted(c.Data) {
		var failure *finding.Finding
		if c.sealed, failure = f.openFile(ctx, c.rendered.sealed.Source.Loaded, c.File); failure != nil {
			return failure
		}
	}
	f.hide(c.plain())
	return nil
}

// openFile opens an encrypted file to change it.
func (f *folder) openFile(ctx context.Context, tree *load.Tree, file *load.File) (*encrypt.File, *finding.Finding) {
	opener := unseal.NewOpener()
	if !f.ring.Empty() {
		opener = unseal.NewOpener(f.ring)
	}
	opened, failure := encrypt.Open(ctx, file, tree.Nearest(path.Dir(file.Path), recipient.ConfigName), opener)
	if failure != nil && failure.Code == unseal.CodeNoKey {
		failure.Fix = keyHint(f.env)
	}
	return opened, failure
}

// hide registers the secrets of a plain text with the redactor.
func (s *shell) hide(plain []byte) {
	_, values := author.Secrets(plain)
	s.redactor.Add(values...)
}

func (c *source) plain() []byte {
	if c.sealed != nil {
		return c.sealed.Plain()
	}
	return []byte(c.Data)
}

// change returns the change of the file that gives it another plain text: encrypted as before, or by the rules of the repository if
// it has secrets for the first time.
func (c *source) change(f *folder, plain []byte) (author.Change, error) {
	f.hide(plain)
	change := author.Change{Path: c.Path, Before: []byte(c.Data), After: plain}
	var err error
	if c.sealed != nil {
		change.After, err = c.sealed.Edit(plain)
		return change, err
	}
	if fields, _ := author.Secrets(plain); len(fields) > 0 {
		rule, err := encrypt.RuleFor(f.root, c.Path)
		if err != nil {
			return change, err
		}
		change.After, err = rule.Encrypt(plain, fields, f.ring)
		return change, err
	}
	return change, nil
}

// syntaxErrors are the errors of a plain text that keep it from being encrypted.
func (c *source) syntaxErrors(ctx context.Context, f *folder, plain []byte) ([]finding.Finding, error) {
	if len(bytes.TrimSpace(plain)) == 0 {
		return []finding.Finding{{Code: load.CodeYAML, Severity: finding.Error, Path: c.Path, Message: "the file is empty", Fix: "to remove the cluster, use muster remove"}}, nil
	}
	tree, err := load.Load(ctx, author.With(f.fs, author.Change{Path: c.Path, Before: []byte(c.Data), After: plain}), path.Dir(c.Path), load.Limits{}, nil)
	if err != nil {
		return nil, err
	}
	unreadable := []finding.Code{load.CodeYAML, load.CodeEncoding, load.CodeAliases, load.CodeDuplicateKey, load.CodeSize}
	return slices.DeleteFunc(tree.Findings, func(p finding.Finding) bool { return p.Path != c.Path || !slices.Contains(unreadable, p.Code) }), nil
}

// printPlanned prints what a proposal would do, before it is carried out.
func (f *folder) printPlanned(p *proposal) error {
	var b strings.Builder
	f.writeChanges(&b, p.judged)
	_, err := f.stdout.Write([]byte(f.redactor.String(b.String())))
	return err
}
