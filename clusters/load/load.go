// Package load reads the files of one path of a repository.
//
// Load takes a read-only file system (a commit, or a work tree) and a path in it. It returns a Tree: every file that a build of
// the path needs, with its content and hash, and the kustomizations that refer to the files. It follows the references of
// kustomizations itself. So a reference that is remote, runs a program, leaves the repository or doesn't exist becomes a finding
// with its line before kustomize sees it. kustomize then works on the Tree alone.
//
// The package never decrypts, never opens a connection and never follows a symbolic link. Limits bounds the memory that a
// hostile repository can make it use.
package load

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/muster-gitops/muster/clusters/finding"
)

// Finding codes of this package.
const (
	CodeYAML          finding.Code = "yaml"             // not valid YAML
	CodeEncoding      finding.Code = "encoding"         // not UTF-8
	CodeLineEnds      finding.Code = "line-ends"        // CRLF
	CodeSize          finding.Code = "size"             // over a limit
	CodeAliases       finding.Code = "yaml-aliases"     // aliases that expand beyond the limit
	CodeDuplicateKey  finding.Code = "duplicate-key"    // a duplicate key in a mapping
	CodeDocuments     finding.Code = "documents"        // a cluster file with a second document
	CodeSymlink       finding.Code = "symlink"          // a symbolic link in the path
	CodeNotFound      finding.Code = "not-found"        // a reference to a missing file
	CodeOutside       finding.Code = "outside"          // a reference that leaves the repository
	CodeRemote        finding.Code = "remote"           // a remote reference
	CodeUnsupported   finding.Code = "unsupported"      // a kustomization feature that Muster refuses
	CodeKustomization finding.Code = "kustomization"    // a kustomization that can't be read
	CodeCycle         finding.Code = "cycle"            // kustomizations that include each other
	CodeNotObject     finding.Code = "not-an-object"    // YAML that is not a Kubernetes object
	CodeDuplicateName finding.Code = "duplicate-name"   // two objects with the same name
	CodeDeprecated    finding.Code = "deprecated-field" // a deprecated field of kustomize
	CodeUnused        finding.Code = "unused"           // a file that nothing refers to
	CodeEmpty         finding.Code = "empty"            // a path that renders nothing
	CodeLFS           finding.Code = "git-lfs"          // a Git LFS pointer instead of a file
	CodeSubmodule     finding.Code = "submodule"        // another repository instead of a folder
	CodeIgnored       finding.Code = "git-ignored"      // a file of the work tree that Git ignores
	CodeFileName      finding.Code = "file-name"        // a name that is not UTF-8 or has a backslash
	CodeSopsBlock     finding.Code = "sops-block"       // sops metadata missing, unreadable or contradictory
)

// Limits bounds what Load reads. The zero value means DefaultLimits.
type Limits struct {
	// FileBytes is the maximum size of a file.
	FileBytes int64
	// Files is the maximum number of files and folders below the path.
	Files int
	// TreeBytes is the maximum size of all files together.
	TreeBytes int64
	// Nodes is the maximum number of YAML nodes in a file with its aliases expanded, and TreeNodes in all files together.
	Nodes, TreeNodes int
}

// DefaultLimits leave room for a fleet of more than 10,000 clusters. A Secret may hold 1 MiB, which takes up to 1.9 MiB when
// encrypted. 5 MiB per file leaves room for generated kustomizations. A million YAML nodes are 100 per cluster, for which
// kustomize needs about 600 MiB.
var DefaultLimits = Limits{FileBytes: 5 << 20, Files: 100_000, TreeBytes: 256 << 20, Nodes: 250_000, TreeNodes: 1_000_000}

// Tree is one path of a repository with its files.
type Tree struct {
	// Path is the folder that was loaded: slash-separated, relative to the repository, "." for its root.
	Path string
	// Files are all files that a build of the path reads, by path from the root of the repository.
	Files map[string]*File
	// Kustomizations are the kustomizations of the tree by folder. The one at Path always exists. If the repository has none
	// there, it is a substitute that lists every YAML file below Path.
	Kustomizations map[string]*Kustomization
	// Unlisted are the cluster files below Path that are included although its kustomization does not list them, sorted.
	Unlisted []string
	// Report has the findings. Broken files are not in Files.
	finding.Report

	fsys    fs.FS
	limits  Limits
	seen    int
	copies  int // nodes that the aliases of all files add when expanded
	nodes   atomic.Int64
	bytes   int64
	folders map[string]*folder
	// before are the files of the previous tree, and known the files of this one, whatever their role, by path.
	before, known map[string]*File
	// released is true after Release.
	released bool
	// top and within are the identities of the repository's root and of Path. outside is true if anything outside of Path was
	// read.
	top, within string
	outside     bool
}

// File is a file as it is in Git.
type File struct {
	Path string
	Data string
	// Hash is the SHA-256 of Data in hex.
	Hash string
	// Documents are the YAML documents of the file. They are nil for a file that isn't parsed as YAML.
	Documents []*Document

	// identity identifies the content. It is "" if the file system doesn't provide it.
	identity string
	// entry provides the size. It is nil once the size is known.
	entry fs.DirEntry
	// parsed is the result of parse. Later trees reuse it.
	parsed *parsed
}

// PathError means that the path can't be loaded: it does not exist, isn't a folder, or is outside of the repository.
type PathError struct {
	Path   string
	Reason string
}

func (e *PathError) Error() string { return fmt.Sprintf("load %s: %s", e.Path, e.Reason) }

const noFolder = "no such folder in this revision"

// Is makes a missing folder a fs.ErrNotExist.
func (e *PathError) Is(target error) bool { return target == fs.ErrNotExist && e.Reason == noFolder }

// Load reads the tree at dir. Problems in files are in Tree.Findings. The error is a *PathError when the path can't be loaded,
// or the error of fsys or ctx.
//
// A file that before, which may be nil, has read is not read again if its identity is the same. The identity is the result of a
// Hash() string method of the file system's entries, which those of Git trees have. When nothing has changed, Load returns
// before itself.
func Load(ctx context.Context, fsys fs.FS, dir string, limits Limits, before *Tree) (*Tree, error) {
	dir, err := CleanPath(dir)
	if err != nil {
		return nil, err
	}
	if limits == (Limits{}) {
		limits = DefaultLimits
	}
	t := &Tree{
		Path: dir, fsys: fsys, limits: limits,
		Kustomizations: map[string]*Kustomization{},
		folders:        map[string]*folder{},
	}
	if err := t.checkRoot(); err != nil {
		return nil, err
	}
	if before != nil && before.limits == limits {
		if t.same(before) {
			return before, nil
		}
		t.before = before.known
	}
	t.Files, t.known = make(map[string]*File, len(t.before)), make(map[string]*File, len(t.before))
	w := &walker{Tree: t, active: map[string]bool{}}
	if err := w.root(ctx); err != nil {
		return nil, err
	}
	t.before = nil
	if len(t.Files) == 0 && finding.Errors(t.Findings) == 0 {
		t.Stop(finding.Finding{Code: CodeEmpty, Path: dir,
			Message: "the path has no YAML files",
			Fix:     "check spec.path; an empty path never means \"remove everything\""})
	}
	return t, nil
}

// same reports whether everything that was read for before is unchanged.
func (t *Tree) same(before *Tree) bool {
	if before.Path != t.Path || t.within == "" || t.within != before.within {
		return false
	}
	return !before.outside || t.top == before.top
}

// CleanPath turns a path as users write it ("./clusters/", "clusters", "") into the form that fs.FS accepts. It refuses absolute
// paths and paths that leave the repository.
func CleanPath(dir string) (string, error) {
	clean := path.Clean("./" + strings.TrimPrefix(dir, "./"))
	switch {
	case strings.HasPrefix(dir, "/"):
		return "", &PathError{dir, "the path is absolute; write it relative to the root of the repository"}
	case !fs.ValidPath(clean):
		return "", &PathError{dir, "the path is outside of the repository"}
	}
	return clean, nil
}

// checkRoot verifies that the path is a folder and has no symbolic link in it.
func (t *Tree) checkRoot() error {
	info, err := fs.Stat(t.fsys, ".")
	if err != nil {
		return fmt.Errorf("load %s: %w", t.Path, err)
	}
	t.top = identity(info)
	if t.within = t.top; t.Path == "." {
		return nil
	}
	entry, link, err := t.entry(t.Path)
	switch {
	case link != "":
		return &PathError{t.Path, link + " is a symbolic link, which Muster does not follow"}
	case errors.Is(err, fs.ErrNotExist):
		return &PathError{t.Path, noFolder}
	case errors.Is(err, errSubmodule) || err == nil && isSubmodule(entry):
		return &PathError{t.Path, "it is in a Git submodule, which Muster does not fetch"}
	case err != nil:
		return fmt.Errorf("load %s: %w", t.Path, err)
	case !entry.IsDir():
		return &PathError{t.Path, "it is a file; use the folder that contains it"}
	}
	t.within = identity(entry)
	return nil
}

// Read returns a file of the repository, and loads it if the tree doesn't have it yet. If that fails, it returns a finding
// without a line, which the caller adds.
func (t *Tree) Read(name string) (*File, *finding.Finding) {
	if f := t.Files[name]; f != nil {
		return f, nil
	}
	f, problem := t.read(name)
	if problem == nil {
		t.Files[name] = f
	}
	return f, problem
}

// Nearest returns the content of the file with this name in dir or the nearest parent folder. It returns nil if there is none,
// or if it can't be read.
func (t *Tree) Nearest(dir, name string) []byte {
	for ; ; dir = path.Dir(dir) {
		f, problem := t.read(path.Join(dir, name))
		if problem == nil {
			return []byte(f.Data)
		}
		if problem.Code != CodeNotFound || dir == "." {
			return nil
		}
	}
}

// read reads a file within the limits.
func (t *Tree) read(name string) (*File, *finding.Finding) {
	f, problem := t.look(name)
	if problem == nil {
		problem = t.weigh(f, t.measure(f))
	}
	if problem == nil && f.Hash == "" {
		problem = t.fetch(f)
	}
	if problem == nil {
		problem = lfsPointer(f)
	}
	// Most files are parsed here, within the limits. Encrypted files with any name go to the sops library as well.
	if problem == nil && len(f.Data) > t.limits.Nodes && hasSops(f.Data) && Marks(f.Data) > marksPerNode*t.limits.Nodes {
		problem = tooManyValues(name, t.limits.Nodes)
	}
	if problem != nil {
		return nil, problem
	}
	t.known[name] = f
	return f, nil
}

// pointerStart is the start of the text that Git LFS commits instead of a file (git-lfs, docs/spec.md).
const pointerStart = "version https://git-lfs.github.com/spec/"

// lfsPointer refuses a Git LFS pointer. It is valid YAML, and would pass for the content of a Secret.
func lfsPointer(f *File) *finding.Finding {
	if !strings.HasPrefix(f.Data, pointerStart) {
		return nil
	}
	return &finding.Finding{Code: CodeLFS, Severity: finding.Error, Path: f.Path, Line: 1, Column: 1,
		Message: "this is a Git LFS pointer; the file is not in the repository, and Muster does not fetch it",
		Fix:     "remove the file from LFS: correct .gitattributes, run git add --renormalize, and commit"}
}

// look finds a file within the limits. The file has its content already if the previous tree had it.
func (t *Tree) look(name string) (*File, *finding.Finding) {
	problem := func(code finding.Code, message, fix string) (*File, *finding.Finding) {
		return nil, &finding.Finding{Code: code, Severity: finding.Error, Path: name, Message: message, Fix: fix}
	}
	if !fs.ValidPath(name) {
		return problem(CodeOutside, "the reference is outside of the repository", "keep every file that the path needs inside the repository")
	}
	entry, link, err := t.entry(name)
	switch {
	case link != "":
		return problem(CodeSymlink, link+" is a symbolic link, which Muster does not follow", "replace the link with the file, or refer to the target")
	case errors.Is(err, errIgnored):
		return problem(CodeNotFound, "Git ignores this file, so no commit has it", "commit it (git add --force), or remove the reference")
	case errors.Is(err, errSubmodule):
		return nil, submodule(name)
	case errors.Is(err, fs.ErrNotExist):
		return problem(CodeNotFound, "no such file", "")
	case err != nil:
		return problem(CodeNotFound, "the file can't be read from the repository", "")
	}
	return t.fileAt(name, entry)
}

// submodule returns the finding for a path that is another repository, or in one.
func submodule(name string) *finding.Finding {
	return &finding.Finding{Code: CodeSubmodule, Severity: finding.Error, Path: name,
		Message: "this is a Git submodule, or another repository in the work tree; Muster reads one repository only",
		Fix:     "commit the files themselves, or list the folder in " + IgnoreFile + " if it has nothing for Muster"}
}

// fileAt returns the file for an entry of a folder.
func (t *Tree) fileAt(name string, entry fs.DirEntry) (*File, *finding.Finding) {
	problem := func(message string) (*File, *finding.Finding) {
		return nil, &finding.Finding{Code: CodeNotFound, Severity: finding.Error, Path: name, Message: message}
	}
	switch {
	case entry.IsDir():
		return problem("this is a folder, but a file is required")
	case isSubmodule(entry):
		return nil, submodule(name)
	case !entry.Type().IsRegular():
		return problem("this is neither a file nor a folder")
	}
	f := &File{Path: name, identity: identity(entry), entry: entry}
	if old := t.before[name]; old != nil && f.identity != "" && old.identity == f.identity {
		f.Data, f.Hash, f.parsed = old.Data, old.Hash, old.parsed
	}
	return f, nil
}

// measure returns the size of a file, or -1 if it is unavailable.
func (t *Tree) measure(f *File) int64 {
	if f.Hash != "" {
		return int64(len(f.Data))
	}
	info, err := f.entry.Info()
	if err != nil {
		return -1
	}
	return info.Size()
}

// weigh refuses a file that is too large, or that makes the tree too large.
func (t *Tree) weigh(f *File, size int64) *finding.Finding {
	problem := &finding.Finding{Severity: finding.Error, Path: f.Path}
	f.entry = nil
	switch {
	case size < 0:
		problem.Code, problem.Message = CodeNotFound, "the file can't be read from the repository"
	case size > t.limits.FileBytes:
		problem.Code, problem.Fix = CodeSize, "split it"
		problem.Message = fmt.Sprintf("the file has %s; the limit is %s", mebibytes(size), mebibytes(t.limits.FileBytes))
	case t.bytes+size > t.limits.TreeBytes:
		t.bytes += size
		problem.Code, problem.Fix = CodeSize, "split the path across several AuditSyncs"
		problem.Message = fmt.Sprintf("the files of this path have more than %s together", mebibytes(t.limits.TreeBytes))
	default:
		t.bytes += size
		return nil
	}
	return problem
}

// fetch reads the content of a file.
func (t *Tree) fetch(f *File) *finding.Finding {
	data, err := fs.ReadFile(t.fsys, f.Path)
	if err != nil {
		return &finding.Finding{Code: CodeNotFound, Severity: finding.Error, Path: f.Path, Message: "the file can't be read from the repository"}
	}
	sum := sha256.Sum256(data)
	f.Data, f.Hash = string(data), hex.EncodeToString(sum[:])
	if old := t.before[f.Path]; old != nil && old.Hash == f.Hash {
		f.parsed = old.parsed
	}
	return nil
}

// count counts files and folders, and stops the tree at the limit.
func (t *Tree) count(dir string) bool {
	t.seen++
	if t.seen == t.limits.Files+1 {
		t.Stop(finding.Finding{Code: CodeSize, Path: dir,
			Message: fmt.Sprintf("the path has more than %d files and folders", t.limits.Files),
			Fix:     "point spec.path at the folder of the cluster files, or list the others in .musterignore"})
	}
	return t.seen <= t.limits.Files
}

// Paths returns the paths of all files of the tree, sorted.
func (t *Tree) Paths() []string {
	paths := make([]string, 0, len(t.Files))
	for p := range t.Files {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

func mebibytes(n int64) string {
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
