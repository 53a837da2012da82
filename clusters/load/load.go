// Package load reads what one path of a repository consists of.
//
// Load takes a read-only file system (one commit, or a work tree) and a path in it, and returns a Tree: every file that
// building the path needs, each with its content and hash, and the kustomizations that join them. It follows the
// references of kustomizations itself, so that a reference which leaves the repository, is remote, runs a program or does
// not exist is a finding with its line before kustomize sees it; kustomize then works on the Tree alone.
//
// The package never decrypts, never opens a connection and never follows a symbolic link. Its limits (Limits) bound what
// a hostile repository can make it hold.
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

// Codes of this package's findings.
const (
	CodeYAML          finding.Code = "yaml"             // not readable as YAML
	CodeEncoding      finding.Code = "encoding"         // not UTF-8
	CodeLineEnds      finding.Code = "line-ends"        // CRLF
	CodeSize          finding.Code = "size"             // over a limit
	CodeAliases       finding.Code = "yaml-aliases"     // aliases expand over the limit
	CodeDuplicateKey  finding.Code = "duplicate-key"    // a key twice in one mapping
	CodeDocuments     finding.Code = "documents"        // a cluster file with a second document
	CodeSymlink       finding.Code = "symlink"          // a symbolic link in the way
	CodeNotFound      finding.Code = "not-found"        // a reference to nothing
	CodeOutside       finding.Code = "outside"          // a reference out of the repository
	CodeRemote        finding.Code = "remote"           // a remote reference
	CodeUnsupported   finding.Code = "unsupported"      // a kustomization feature that Muster refuses
	CodeKustomization finding.Code = "kustomization"    // a kustomization that can't be read
	CodeCycle         finding.Code = "cycle"            // kustomizations that include each other
	CodeNotObject     finding.Code = "not-an-object"    // YAML that is no Kubernetes object
	CodeDuplicateName finding.Code = "duplicate-name"   // two objects of one name
	CodeDeprecated    finding.Code = "deprecated-field" // a field that kustomize will not take for ever
	CodeUnused        finding.Code = "unused"           // a file that nothing refers to
	CodeEmpty         finding.Code = "empty"            // a path that renders nothing
	CodeLFS           finding.Code = "git-lfs"          // a pointer in the place of a file
	CodeSubmodule     finding.Code = "submodule"        // another repository in the place of a folder
	CodeIgnored       finding.Code = "git-ignored"      // a file of the work tree that Git ignores
	CodeFileName      finding.Code = "file-name"        // a name that can't be read
	CodeSopsBlock     finding.Code = "sops-block"       // sops metadata missing, unreadable or contradictory
)

// Limits bound what Load holds. The zero value stands for DefaultLimits.
type Limits struct {
	// FileBytes is the size of one file.
	FileBytes int64
	// Files is how many files and folders are looked at.
	Files int
	// TreeBytes is the size of all files together.
	TreeBytes int64
	// Nodes is how many YAML nodes a file may have once its aliases are expanded, and TreeNodes how many all files together.
	Nodes, TreeNodes int
}

// DefaultLimits serve a fleet of 10,000 clusters with room to spare. A Secret may hold 1 MiB, which makes up to 1.9 MiB
// when it is encrypted; 5 MiB a file leaves room for generated kustomizations. A million YAML nodes are 100 for each cluster, and take
// kustomize some 600 MiB.
var DefaultLimits = Limits{FileBytes: 5 << 20, Files: 100_000, TreeBytes: 256 << 20, Nodes: 250_000, TreeNodes: 1_000_000}

// Tree is one path of a repository, read.
type Tree struct {
	// Path is the folder the tree was loaded for: slash-separated, relative to the repository, "." for its root.
	Path string
	// Files holds every file that building the path reads, by its path from the root of the repository.
	Files map[string]*File
	// Kustomizations holds the kustomizations of the tree by their folder. The one at Path is always there: where the
	// repository has none, it is the one that takes every YAML file below Path.
	Kustomizations map[string]*Kustomization
	// Unlisted are the cluster files below Path that its kustomization does not list and which are taken all the same,
	// sorted.
	Unlisted []string
	// Report tells what is wrong. Broken files are not among Files.
	finding.Report

	fsys    fs.FS
	limits  Limits
	seen    int
	copies  int // what the aliases of all files make of values
	nodes   atomic.Int64
	bytes   int64
	folders map[string]*folder
	// before holds the files of the tree that was loaded before, and known those of this one, in whichever role, by their paths.
	before, known map[string]*File
	// released says that Release was called.
	released bool
	// top and within are the identities of the repository's root and of Path; outside says that something beyond Path was read.
	top, within string
	outside     bool
}

// File is one file as it stands in Git.
type File struct {
	Path string
	Data string
	// Hash is the SHA-256 of Data in hex.
	Hash string
	// Documents are the YAML documents of the file, nil for a file that isn't read as YAML.
	Documents []*Document

	// identity is what the file system says that tells one content from another, "" when it doesn't.
	identity string
	// entry is where the size is asked for, until it is known.
	entry fs.DirEntry
	// parsed is what parse has found out. It outlives the tree.
	parsed *parsed
}

// PathError is returned when the path itself can't be loaded: it does not exist, isn't a folder, or leads out of the
// repository.
type PathError struct {
	Path   string
	Reason string
}

func (e *PathError) Error() string { return fmt.Sprintf("load %s: %s", e.Path, e.Reason) }

// Load reads the tree at dir. What is wrong with single files is in Tree.Findings; the error is a *PathError when there is
// no such path, or the error of fsys or ctx.
//
// Files that before, which may be nil, has read already aren't read again as long as their identity is the same: what a
// Hash() string method of the file system's entries gives, as those of Git's trees do. When nothing at all has changed, the tree
// is before itself.
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
			Message: "the path holds no YAML file",
			Fix:     "check spec.path; an empty path is never taken for \"remove everything\""})
	}
	return t, nil
}

// same says whether everything that was read for a tree is as it was.
func (t *Tree) same(before *Tree) bool {
	if before.Path != t.Path || t.within == "" || t.within != before.within {
		return false
	}
	return !before.outside || t.top == before.top
}

// CleanPath turns a path as users write it ("./clusters/", "clusters", "") into the form that fs.FS takes. It refuses
// absolute paths and paths that leave the repository.
func CleanPath(dir string) (string, error) {
	clean := path.Clean("./" + strings.TrimPrefix(dir, "./"))
	switch {
	case strings.HasPrefix(dir, "/"):
		return "", &PathError{dir, "the path is absolute; write it relative to the root of the repository"}
	case !fs.ValidPath(clean):
		return "", &PathError{dir, "the path leads out of the repository"}
	}
	return clean, nil
}

// checkRoot makes sure that the path is a folder which is reached without symbolic links.
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
		return &PathError{t.Path, "there is no such folder in this revision"}
	case errors.Is(err, errSubmodule) || err == nil && isSubmodule(entry):
		return &PathError{t.Path, "it is in a Git submodule, which Muster does not fetch"}
	case err != nil:
		return fmt.Errorf("load %s: %w", t.Path, err)
	case !entry.IsDir():
		return &PathError{t.Path, "it is a file; give the folder that holds it"}
	}
	t.within = identity(entry)
	return nil
}

// Read returns a file of the repository, loading it when the tree doesn't hold it yet. The finding is non-nil when it
// can't be had; it has no line, which the caller knows better.
func (t *Tree) Read(name string) (*File, *finding.Finding) {
	if f := t.Files[name]; f != nil {
		return f, nil
	}
	f, bad := t.read(name)
	if bad == nil {
		t.Files[name] = f
	}
	return f, bad
}

// Nearest is the content of the file of a name in a folder or the nearest one above it; nil when there is none, or it can't be read.
func (t *Tree) Nearest(dir, name string) []byte {
	for ; ; dir = path.Dir(dir) {
		f, bad := t.read(path.Join(dir, name))
		if bad == nil {
			return []byte(f.Data)
		}
		if bad.Code != CodeNotFound || dir == "." {
			return nil
		}
	}
}

// read reads one file within the limits.
func (t *Tree) read(name string) (*File, *finding.Finding) {
	f, bad := t.look(name)
	if bad == nil {
		bad = t.weigh(f, t.measure(f))
	}
	if bad == nil && f.Hash == "" {
		bad = t.fetch(f)
	}
	if bad == nil {
		bad = pointer(f)
	}
	// Most files are parsed here, within the limits. Encrypted ones of any name go to the sops library as well.
	if bad == nil && len(f.Data) > t.limits.Nodes && hasSops(f.Data) && Marks(f.Data) > marksPerNode*t.limits.Nodes {
		bad = tooManyValues(name, t.limits.Nodes)
	}
	if bad != nil {
		return nil, bad
	}
	t.known[name] = f
	return f, nil
}

// pointerStart begins the text that Git LFS commits in the place of a file (git-lfs, docs/spec.md).
const pointerStart = "version https://git-lfs.github.com/spec/"

// pointer refuses such a text. It is valid YAML, and would pass for the content of a Secret.
func pointer(f *File) *finding.Finding {
	if !strings.HasPrefix(f.Data, pointerStart) {
		return nil
	}
	return &finding.Finding{Code: CodeLFS, Severity: finding.Error, Path: f.Path, Line: 1, Column: 1,
		Message: "this is a pointer of Git LFS; the file itself is not in the repository, and Muster does not fetch it",
		Fix:     "take the file out of LFS: correct .gitattributes, run git add --renormalize, and commit"}
}

// look finds a file within the limits. It has its content already if the tree before had it.
func (t *Tree) look(name string) (*File, *finding.Finding) {
	bad := func(code finding.Code, message, fix string) (*File, *finding.Finding) {
		return nil, &finding.Finding{Code: code, Severity: finding.Error, Path: name, Message: message, Fix: fix}
	}
	if !fs.ValidPath(name) {
		return bad(CodeOutside, "the reference leads out of the repository", "keep every file that the path needs inside the repository")
	}
	entry, link, err := t.entry(name)
	switch {
	case link != "":
		return bad(CodeSymlink, link+" is a symbolic link, which Muster does not follow", "put the file itself there, or refer to the target")
	case errors.Is(err, errIgnored):
		return bad(CodeNotFound, "Git ignores this file, so no commit has it", "commit it (git add --force), or take the reference out")
	case errors.Is(err, errSubmodule):
		return nil, submodule(name)
	case errors.Is(err, fs.ErrNotExist):
		return bad(CodeNotFound, "there is no such file", "")
	case err != nil:
		return bad(CodeNotFound, "the file can't be read from the repository", "")
	}
	return t.found(name, entry)
}

// submodule is the finding about a path that is another repository's, or in it.
func submodule(name string) *finding.Finding {
	return &finding.Finding{Code: CodeSubmodule, Severity: finding.Error, Path: name,
		Message: "this is a Git submodule, or another repository in the work tree, and Muster reads one repository alone",
		Fix:     "commit the files themselves, or list the folder in " + IgnoreFile + " if it holds nothing for Muster"}
}

// found takes what stands at a path for a file.
func (t *Tree) found(name string, entry fs.DirEntry) (*File, *finding.Finding) {
	bad := func(message string) (*File, *finding.Finding) {
		return nil, &finding.Finding{Code: CodeNotFound, Severity: finding.Error, Path: name, Message: message}
	}
	switch {
	case entry.IsDir():
		return bad("this is a folder where a file is needed")
	case isSubmodule(entry):
		return nil, submodule(name)
	case !entry.Type().IsRegular():
		return bad("this is neither a file nor a folder, and can't be read")
	}
	f := &File{Path: name, identity: identity(entry), entry: entry}
	if old := t.before[name]; old != nil && f.identity != "" && old.identity == f.identity {
		f.Data, f.Hash, f.parsed = old.Data, old.Hash, old.parsed
	}
	return f, nil
}

// measure is the size of a file, or less than nothing when that can't be had.
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

// weigh refuses a file for its size, or for that of all files up to it.
func (t *Tree) weigh(f *File, size int64) *finding.Finding {
	bad := &finding.Finding{Severity: finding.Error, Path: f.Path}
	f.entry = nil
	switch {
	case size < 0:
		bad.Code, bad.Message = CodeNotFound, "the file can't be read from the repository"
	case size > t.limits.FileBytes:
		bad.Code, bad.Fix = CodeSize, "split it"
		bad.Message = fmt.Sprintf("the file has %s; %s is the limit", mebibytes(size), mebibytes(t.limits.FileBytes))
	case t.bytes+size > t.limits.TreeBytes:
		t.bytes += size
		bad.Code, bad.Fix = CodeSize, "split the path over several AuditSyncs"
		bad.Message = fmt.Sprintf("the files of this path have more than %s together", mebibytes(t.limits.TreeBytes))
	default:
		t.bytes += size
		return nil
	}
	return bad
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

// count bounds how many files and folders a tree makes Load look at.
func (t *Tree) count(dir string) bool {
	t.seen++
	if t.seen == t.limits.Files+1 {
		t.Stop(finding.Finding{Code: CodeSize, Path: dir,
			Message: fmt.Sprintf("the path has more than %d files and folders", t.limits.Files),
			Fix:     "point spec.path at the folder of the cluster files, or list what is not for Muster in .musterignore"})
	}
	return t.seen <= t.limits.Files
}

// Paths are the paths of all files of the tree, sorted.
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
