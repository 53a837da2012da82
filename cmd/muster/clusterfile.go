package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/credential"
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
	// kubeconfig is true for a kubeconfigFile. All of it is secret.
	kubeconfig bool
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

// kubeconfigFile returns the file that the cluster takes its kubeconfig from.
func (c *source) kubeconfigFile(f *folder, cluster string) (*source, error) {
	name := c.kubeconfigName()
	if name == "" {
		return nil, fmt.Errorf("cluster %s has no kubeconfigFile; edit %s, without --kubeconfig", cluster, f.fromWorkingDir(c.Path))
	}
	if !fs.ValidPath(path.Clean(name)) {
		return nil, fmt.Errorf("the kubeconfigFile of %s is not a file in its folder or below; correct it: muster edit %s", f.fromWorkingDir(c.Path), cluster)
	}
	file, failure := c.rendered.sealed.Source.Loaded.Read(compile.KubeconfigPath(c.Path, name))
	if failure != nil {
		return nil, errors.Join(f.printFindings(f.stderr, f.repository, []finding.Finding{*failure}), fmt.Errorf("the kubeconfigFile of %s can't be read", f.fromWorkingDir(c.Path)))
	}
	return &source{File: file, rendered: c.rendered, kubeconfig: true}, nil
}

// kubeconfigName is the cluster's kubeconfigFile, as kustomize leaves it; that of the document, if kustomize can't build it.
func (c *source) kubeconfigName() string {
	for _, built := range c.rendered.opened.Clusters {
		if built.File != nil && built.Origin == (fleet.Origin{Path: c.Path, Document: c.document}) {
			return built.File.Spec.KubeconfigFile
		}
	}
	if n := c.Documents[c.document].Field("spec", "kubeconfigFile"); n != nil {
		return n.Value
	}
	return ""
}

// open decrypts the file, if it is encrypted. It registers the secrets with the redactor.
func (c *source) open(ctx context.Context, f *folder) *finding.Finding {
	if seal.IsEncrypted(c.Data) {
		var failure *finding.Finding
		if c.sealed, failure = f.openFile(ctx, c.rendered.sealed.Source.Loaded, c.File); failure != nil {
			return failure
		}
	}
	c.hide(f.shell, c.plain())
	return nil
}

// hide registers the secrets of the file's plain text with the redactor.
func (c *source) hide(s *shell, plain []byte) {
	if c.kubeconfig {
		s.redactor.Add(string(plain))
		return
	}
	s.hide(plain)
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
	c.hide(f.shell, plain)
	change := author.Change{Path: c.Path, Before: []byte(c.Data), After: plain}
	var err error
	if c.sealed != nil {
		change.After, err = c.sealed.Edit(plain)
		return change, err
	}
	fields, _ := author.Secrets(plain)
	if c.kubeconfig {
		fields = [][]string{{"data"}} // sops' name for content without a format
	}
	if len(fields) > 0 {
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
	if c.kubeconfig {
		return c.kubeconfigErrors(plain), nil
	}
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

// kubeconfigErrors are the errors of a kubeconfig that is the whole file. Without the key of the file, they would be found only after the
// merge. A kubeconfig in a field of the file is checked when the change is judged.
func (c *source) kubeconfigErrors(plain []byte) (list []finding.Finding) {
	if c.sealed != nil && seal.FormatOf(c.Data) != seal.Binary {
		return nil
	}
	_, problems := credential.Kubeconfig(plain, time.Now())
	for _, p := range problems {
		if p.Severity == finding.Error {
			list = append(list, finding.Finding{Code: p.Code, Severity: p.Severity, Path: c.Path, Message: p.Message, Fix: p.Fix})
		}
	}
	return list
}

// printPlanned prints what a proposal would do, before it is carried out.
func (f *folder) printPlanned(p *proposal) error {
	var b strings.Builder
	f.writeChanges(&b, p.judged)
	_, err := f.stdout.Write([]byte(f.redactor.String(b.String())))
	return err
}
