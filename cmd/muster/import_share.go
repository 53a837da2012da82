package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/finding"
)

// sharedFolder is the folder of the component with what clusters share, below the folder of the clusters.
const sharedFolder = "shared"

// sharing is what --share adds to an import.
type sharing struct {
	values []author.Shared
	// component is the file with the values. It exists if a former import wrote it.
	component string
	exists    bool
}

// share moves what most clusters have in common out of their files. In a folder whose component sets values already, clusters are
// always written for it: it is applied to them, too.
func (im *importer) share() error {
	s := &im.shared
	s.component = path.Join(im.path, sharedFolder, kustomizationNames[0])
	text, err := im.readExisting(s.component)
	if s.exists = text != nil; s.exists {
		s.values = author.ParseComponent(text)
	}
	switch {
	case err != nil:
		return err
	case !im.importFlags.share && !s.exists, len(im.result.Clusters) == 0:
		return nil
	case im.importFlags.share && s.exists && len(s.values) == 0:
		return fmt.Errorf("%s exists, and sets no field as --share would; import without --share, or into another folder", im.fromWorkingDir(s.component))
	case !s.exists && len(im.known.clusters) > 0:
		return fmt.Errorf("%s has cluster files, and what --share writes would change them; import without --share, or into another folder", im.fromWorkingDir(im.path))
	case !s.exists:
		s.values = im.result.Common()
	}
	s.values = im.result.Share(s.values)
	return nil
}

// readExisting reads a file of the folder, within the limits of a file that Muster reads. It is nil if there is none.
func (im *importer) readExisting(name string) ([]byte, error) {
	if _, err := fs.Lstat(im.fs, name); errors.Is(err, fs.ErrNotExist) || im.known.tree == nil {
		return nil, nil
	}
	file, failure := im.known.tree.Read(name)
	if failure != nil {
		return nil, fmt.Errorf("read %s: %s", im.fromWorkingDir(name), failure.Message)
	}
	return []byte(file.Data), nil
}

// sharedChanges are the component, and the folder's kustomization. manifests are the other files that are written.
func (im *importer) sharedChanges(manifests []string) ([]author.Change, error) {
	if len(im.shared.values) == 0 {
		return nil, nil
	}
	kustomization, err := im.sharedKustomization(manifests)
	if err != nil {
		return nil, err
	}
	var changes []author.Change
	if !bytes.Equal(kustomization.Before, kustomization.After) {
		changes = append(changes, kustomization)
	}
	if im.shared.exists {
		return changes, nil
	}
	component, err := author.Component(im.shared.values)
	return append(changes, author.Change{Path: im.shared.component, After: component}), err
}

// sharedKustomization lists the component and the manifests in the folder's kustomization. A new one also lists all files that were
// read without it.
func (im *importer) sharedKustomization(manifests []string) (author.Change, error) {
	for _, name := range kustomizationNames {
		at := path.Join(im.path, name)
		text, err := im.readExisting(at)
		if err == nil && text == nil {
			continue
		}
		c := author.Change{Path: at, Before: text, After: text}
		if err != nil {
			return c, err
		}
		if !im.shared.exists {
			c.After, err = author.AddItem(c.After, "components", sharedFolder)
		}
		for i := 0; i < len(manifests) && err == nil; i++ {
			c.After, err = author.AddItem(c.After, "resources", manifests[i])
		}
		if err != nil {
			return c, fmt.Errorf("%s: Muster can't add to its lists; write it in block style, with kind: Kustomization and each field on a separate line", im.fromWorkingDir(at))
		}
		return c, nil
	}
	c := author.Change{Path: path.Join(im.path, kustomizationNames[0])}
	resources := slices.Concat(manifests, im.known.manifests)
	slices.Sort(resources)
	var err error
	c.After, err = author.Kustomization(sharedFolder, slices.Compact(resources))
	return c, err
}

// sharedNotes tell what is shared, by how many, and where.
func (im *importer) sharedNotes() (list []finding.Finding) {
	note := func(path, message string) {
		list = append(list, finding.Finding{Code: codeImported, Severity: finding.Info, Path: path, Message: message})
	}
	for _, s := range im.shared.values {
		message := fmt.Sprintf("%s: shared by %d of %d", s.Field, s.Clusters, s.Clusters+len(s.Own))
		if len(s.Own) > 0 {
			message += fmt.Sprintf("; not by %s (label %s)", firstFew(s.Own), s.Label())
		}
		note(im.shared.component, message)
	}
	if im.importFlags.share && len(im.shared.values) == 0 && len(im.result.Clusters) > 0 {
		note(im.path, "nothing is shared: there is no value that more than half of the clusters have, and at least two")
	}
	return list
}
