package build

import (
	"io/fs"
	"path"
	"path/filepath"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Kustomize builds the folder of a repository that has nothing but the given files, which it only reads. It never fetches, runs or
// writes anything. kustomize panics on some input, which must take one file along and not the process.
func Kustomize(files map[string][]byte, dir string) (resources []*resource.Resource, err error) {
	defer func() {
		if recover() != nil {
			resources, err = nil, errPanic
		}
	}()
	options := krusty.MakeDefaultOptions()
	// Nothing but the repository is in this file system, so a reference out of the kustomization's folder is harmless.
	options.LoadRestrictions = types.LoadRestrictionsNone
	result, err := krusty.MakeKustomizer(options).Run(newMemory(files), path.Join("/", dir))
	if err != nil {
		return nil, err
	}
	return result.Resources(), nil
}

// memory is a read-only file system for kustomize. kustomize's own in memory refuses names that every disk takes, such as those with
// blanks. A build calls the methods below; all others see the empty file system that is embedded.
type memory struct {
	filesys.FileSystem
	files   map[string][]byte // by their paths from the root, without the first slash
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

// within is a path as the files are named.
func within(name string) string {
	name = path.Clean("/" + name)[1:]
	if name == "" {
		return "."
	}
	return name
}

func (m *memory) IsDir(name string) bool { return m.folders[within(name)] }

func (m *memory) Exists(name string) bool {
	_, isFile := m.files[within(name)]
	return isFile || m.IsDir(name)
}

func (m *memory) ReadFile(name string) ([]byte, error) {
	content, ok := m.files[within(name)]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return content, nil
}

func (m *memory) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	clean := filepath.Join("/", within(name))
	if m.IsDir(name) {
		return filesys.ConfirmedDir(clean), "", nil
	}
	if !m.Exists(name) {
		return "", "", &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
	}
	return filesys.ConfirmedDir(path.Dir(clean)), path.Base(clean), nil
}
