package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
)

// write carries out changes: all of them, or none if one fails. What it writes is encrypted already. A file is never
// half-written, and one that has changed since the command read it is left alone.
func (r *repository) write(changes []author.Change) error {
	var undo []func() error
	for _, c := range changes {
		back, err := r.writeOne(c)
		if err == nil {
			undo = append(undo, back)
			continue
		}
		for _, step := range slices.Backward(undo) {
			err = errors.Join(err, step())
		}
		return fmt.Errorf("write %s: %w", r.fromWorkingDir(c.Path), withoutPath(err))
	}
	return nil
}

// errChanged means that the file was written by another program meanwhile.
var errChanged = errors.New("the file has changed since the command started; run the command again")

// writeOne returns how to undo the change.
func (r *repository) writeOne(c author.Change) (undo func() error, _ error) {
	name := filepath.FromSlash(c.Path)
	if c.Before == nil {
		undo, err := r.create(name, c.After)
		if errors.Is(err, fs.ErrExist) {
			err = errors.New("the file exists already; choose another name, or change it with muster edit")
		}
		return undo, err
	}
	info, err := r.dir.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file, and Muster does not follow symbolic links")
	}
	if now, err := r.dir.ReadFile(name); err != nil {
		return nil, err
	} else if !bytes.Equal(now, c.Before) {
		return nil, errChanged
	}
	if c.After == nil {
		return func() error { _, err := r.create(name, c.Before); return err }, r.dir.Remove(name)
	}
	return func() error { return r.replace(name, c.Before, info.Mode()) }, r.replace(name, c.After, info.Mode())
}

// create writes a new file, and the folders that it needs. It fails if there is one.
func (r *repository) create(name string, data []byte) (undo func() error, _ error) {
	made, err := r.makeFolders(filepath.Dir(name))
	if err == nil {
		err = r.through(name, data, 0o644, func(temporary string) error {
			return errors.Join(r.dir.Link(temporary, name), r.dir.Remove(temporary))
		})
	}
	removeFolders := func() error {
		var err error
		for _, folder := range slices.Backward(made) {
			err = errors.Join(err, r.dir.Remove(folder))
		}
		return err
	}
	if err != nil {
		_ = removeFolders() // the first error is the cause
		return nil, err
	}
	return func() error { return errors.Join(r.dir.Remove(name), removeFolders()) }, nil
}

func (r *repository) replace(name string, data []byte, mode fs.FileMode) error {
	return r.through(name, data, mode.Perm(), func(temporary string) error { return r.dir.Rename(temporary, name) })
}

// through writes a temporary file beside the file, and puts it in place. If that fails, nothing is left of it.
func (r *repository) through(name string, data []byte, mode fs.FileMode, place func(temporary string) error) (err error) {
	temporary := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".muster")
	file, err := r.dir.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: another muster is writing the file, or was killed; then remove it", filepath.ToSlash(temporary))
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = r.dir.Remove(temporary) // it may be gone
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return place(temporary)
}

// makeFolders makes a folder and those above it, and returns the new ones.
func (r *repository) makeFolders(name string) (made []string, err error) {
	if name == "." {
		return nil, nil
	}
	made, err = r.makeFolders(filepath.Dir(name))
	if err != nil {
		return made, err
	}
	if err := r.dir.Mkdir(name, 0o755); err == nil {
		return append(made, name), nil
	} else if !errors.Is(err, fs.ErrExist) {
		return made, err
	}
	// A link may lead into the folder .git.
	if info, err := r.dir.Lstat(name); err != nil || !info.IsDir() {
		return made, cmp.Or(err, fmt.Errorf("%s is not a folder, and Muster does not follow symbolic links", filepath.ToSlash(name)))
	}
	return made, nil
}

// checkShown rejects new files that Git would not commit.
func (t *target) checkShown(paths []string) []finding.Finding {
	var findings []finding.Finding
	for _, name := range paths {
		if entries, err := fs.ReadDir(t.fs, path.Dir(name)); err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
			return e.Name() == path.Base(name) && e.Type().IsRegular()
		}) {
			continue
		}
		findings = append(findings, finding.Finding{Code: load.CodeIgnored, Severity: finding.Warning, Path: name,
			Message: "Git ignores this file, so the controller will not find it", Fix: "git check-ignore -v FILE shows the rule"})
	}
	return findings
}
