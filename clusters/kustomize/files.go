package kustomize

import (
	"io/fs"
	"path"
	"path/filepath"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Kustomize builds the folder dir of a repository that consists of the given files. It never modifies files, and never fetches,
// runs or writes anything. kustomize panics on some input. The panic becomes an error, so that it fails one file, not the
// process.
func Kustomize(files map[string][]byte, dir string) (resources []*resource.Resource, err error) {
	defer func() {
		if recover() != nil {
			resources, err = nil, errPanic
		}
	}()
	options := krusty.MakeDefaultOptions()
	// The file system has nothing but the repository, so a reference outside of the kustomization's folder is harmless.
	options.LoadRestrictions = types.LoadRestrictionsNone
	result, err := krusty.MakeKustomizer(options).Run(newMemory(files), path.Join("/", dir))
	if err != nil {
		return nil, err
	}
	return result.Resources(), nil
}

// memory is a read-only file system for kustomize. kustomize's in-memory file system refuses names that every disk accepts, such
// as those with blanks. A build only calls the methods below. All others see the empty file system that is embedded.
type memory struct {
	filesys.FileSystem
	files   map[string][]byte // by path from the root, without the leading slash
	folders map[string]bool
}

func newMemory(files map[string][]byte) *memory {
	m := &memory{FileSystem: filesys.MakeFsInMemory(), files: files, folders: map[string]bool{".": true}}
	for name := range files {
		for dir := path.Dir(name); !m.folders[dir]; dir = path.Dir(dir) {
			m.folders[dir] = true
		}
	}
	return m
}

// relative returns a path in the form of the keys of files.
func relative(name string) string {
	name = path.Clean("/" + name)[1:]
	if name == "" {
		return "."
	}
	return name
}

func (m *memory) IsDir(name string) bool { return m.folders[relative(name)] }

func (m *memory) Exists(name string) bool {
	_, isFile := m.files[relative(name)]
	return isFile || m.IsDir(name)
}

func (m *memory) ReadFile(name string) ([]byte, error) {
	content, ok := m.files[relative(name)]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return content, nil
}

func (m *memory) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	clean := filepath.Join("/", relative(name))
	if m.IsDir(name) {
		return filesys.ConfirmedDir(clean), "", nil
	}
	if !m.Exists(name) {
		return "", "", &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
	}
	return filesys.ConfirmedDir(path.Dir(clean)), path.Base(clean), nil
}
