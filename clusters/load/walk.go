package load

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/muster-gitops/muster/clusters/finding"
)

// IgnoreFile lists, in the format of .gitignore, the files below a path that are not for Muster.
const IgnoreFile = ".musterignore"

// root loads the tree from its path: first through the kustomization there, if any, then the other files of the folder.
func (w *walker) root(ctx context.Context) error {
	file, problem := w.kustomizationFile(w.Path)
	if problem != nil {
		w.Stop(*problem)
		return nil
	}
	listed := file != ""
	if listed {
		if err := w.visit(ctx, w.Path, file); err != nil {
			return err
		}
	}
	if w.Kustomizations[w.Path] == nil {
		if listed {
			return nil // rejected
		}
		w.Kustomizations[w.Path] = &Kustomization{Dir: w.Path, Spec: types.Kustomization{TypeMeta: types.TypeMeta{
			APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}}
	}
	if err := w.addUnlisted(ctx, listed); err != nil {
		return err
	}
	if k := w.Kustomizations[w.Path]; listed && len(w.Unlisted) == 0 && k.empty {
		w.Stop(finding.Finding{Code: CodeKustomization, Path: k.File.Path, Line: 1, Message: "the kustomization has no content, and kustomize refuses it",
			Fix: "list its resources, or add cluster files to its folder"})
	}
	for _, dir := range w.dirs() {
		w.refuseDuplicates(w.Kustomizations[dir])
	}
	if !w.Stopped { // a stopped tree isn't built, and may have cycles
		w.refuseRepeats()
	}
	return nil
}

// kustomize builds a kustomization again for each path that leads to it, and two paths at each of thirty levels are a billion.
// maxRevisits and maxCopies limit how often kustomizations, and objects in them, may be built again. The first limit is for a
// component that every cluster's folder uses, the second for overlays of one base. maxLevels limits how deep kustomizations are
// nested, because each may give a cluster another name that patches can use.
const (
	maxLevels   = 20
	maxRevisits = 10_000
	maxCopies   = 1000
)

// refuseRepeats stops a tree whose kustomizations refer to each other too often.
func (w *walker) refuseRepeats() {
	type size struct{ visits, objects, levels int }
	const most = 1 << 40 // sums of two stay in range
	once, memo := size{}, map[string]size{}
	var measure func(dir string) size
	measure = func(dir string) size {
		if s, ok := memo[dir]; ok {
			return s
		}
		k := w.Kustomizations[dir]
		s := size{visits: 1, levels: 1, objects: len(k.Spec.ConfigMapGenerator) + len(k.Spec.SecretGenerator) + len(k.Spec.Generators)}
		for _, name := range k.Resources {
			if f := w.Files[name]; f != nil {
				s.objects += len(f.Documents)
			}
		}
		once = size{visits: once.visits + s.visits, objects: once.objects + s.objects}
		for _, name := range slices.Concat(k.Resources, k.components()) {
			if w.Kustomizations[name] != nil {
				below := measure(name)
				s = size{visits: min(s.visits+below.visits, most), objects: min(s.objects+below.objects, most), levels: max(s.levels, below.levels+1)}
			}
		}
		memo[dir] = s
		return s
	}
	all, k := measure(w.Path), w.Kustomizations[w.Path]
	switch {
	case all.levels > maxLevels:
		w.Stop(finding.Finding{Code: CodeSize, Path: k.path(), Line: 1,
			Message: fmt.Sprintf("kustomizations are nested %d levels deep; the limit is %d", all.levels, maxLevels),
			Fix:     "include the deepest kustomizations from a higher level"})
	case all.visits-once.visits > maxRevisits || all.objects-once.objects > maxCopies:
		w.Stop(finding.Finding{Code: CodeSize, Path: k.path(), Line: 1,
			Message: fmt.Sprintf("too many paths lead to the same kustomizations: kustomize would build more than %d of them, or more than %d objects, again", maxRevisits, maxCopies),
			Fix:     "include each base once, in the kustomization that all others share"})
	}
}

func (w *walker) dirs() []string {
	dirs := make([]string, 0, len(w.Kustomizations))
	for dir := range w.Kustomizations {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs)
	return dirs
}

// addUnlisted includes the files below the path that no kustomization lists. If the path has a kustomization, it only includes
// cluster files, so that adding a cluster touches one file. Otherwise it includes every YAML file.
func (w *walker) addUnlisted(ctx context.Context, listed bool) error {
	files, folders, err := w.find(ctx)
	if err != nil {
		return err
	}
	candidates := w.candidates(files, listed)
	k := w.Kustomizations[w.Path]
	for _, f := range candidates {
		if listed {
			w.Unlisted = append(w.Unlisted, f.Path)
		}
		k.Resources = append(k.Resources, f.Path)
	}
	if listed {
		return nil
	}
	for _, dir := range folders {
		if err := w.folder(ctx, k, nil, dir, ""); err != nil {
			return err
		}
	}
	used := w.used()
	for _, dir := range folders {
		if below := w.Kustomizations[dir]; below != nil && !used[dir] && below.Spec.Kind != types.ComponentKind {
			k.Resources = append(k.Resources, dir)
		}
	}
	return nil
}

// used returns the folders that a kustomization refers to. A folder that others use isn't built by itself.
func (w *walker) used() map[string]bool {
	used := map[string]bool{}
	for _, k := range w.Kustomizations {
		for _, name := range slices.Concat(k.Resources, k.components()) {
			used[name] = true
		}
	}
	return used
}

// candidates reads the files that no kustomization lists and returns those to be built. It has to read all of them first,
// because a file that a cluster file names as its kubeconfigFile is a value, not a resource.
func (w *walker) candidates(all []candidate, listed bool) []*File {
	found := make([]*File, 0, len(all))
	for _, c := range all {
		if w.Files[c.name] != nil || w.Broken[c.name] {
			continue
		}
		f, problem := w.fileAt(c.name, c.entry)
		if problem != nil {
			w.Reject(*problem)
			continue
		}
		found = append(found, f)
	}
	read, parsed := w.readAll(found)
	named := w.kubeconfigFiles()
	for _, f := range read {
		if named[f.Path] {
			delete(w.Files, f.Path) // it is a value, whatever its content
		}
	}
	return slices.DeleteFunc(read, func(f *File) bool {
		switch {
		case named[f.Path]:
			return true
		case listed && !slices.ContainsFunc(f.Documents, (*Document).IsCluster):
			delete(w.Files, f.Path)
			w.checkUnlisted(f, parsed[f])
			return true
		case parsed[f] == nil && isKubeconfig(f):
			w.Add(finding.Finding{Code: CodeUnused, Severity: finding.Warning, Path: f.Path, Line: 1,
				Message: "no cluster file uses this kubeconfig", Fix: "set spec.kubeconfigFile of a cluster file to it, or list it in " + IgnoreFile})
			delete(w.Files, f.Path)
			return true
		}
		return !w.usable(f, parsed[f])
	})
}

// checkUnlisted checks a file that the kustomization doesn't list and that isn't a cluster. problem is the result of parse. Most such
// files belong to other tools. But a file that was a cluster and can't be read as one now is broken, and its cluster must not be
// removed silently.
func (w *walker) checkUnlisted(f *File, problem *finding.Finding) {
	const fix = "fix it, delete it to remove its cluster, or list it in " + IgnoreFile
	meant := mentionsCluster(f.Data) || hasSops(f.Data) || conflict.MatchString(f.Data)
	switch {
	case problem != nil && problem.Code == CodeLFS:
	case problem != nil:
		problem.Fix = fix
	case len(f.Documents) == 0:
		problem = &finding.Finding{Code: CodeEmpty, Path: f.Path, Line: 1, Message: "the file is empty; objects applied from it before are kept", Fix: fix}
	default:
		for _, d := range f.Documents {
			if why := d.notCluster(f.Data); why != "" {
				w.Reject(finding.Finding{Code: CodeNotObject, Path: f.Path, Line: d.Line, Message: why, Fix: fix})
				return
			}
		}
		return
	}
	w.Reject(*problem)
	if !meant {
		w.Findings[len(w.Findings)-1].Severity = finding.Warning
	}
}

// readAll reads and parses files in parallel, one per processor. It returns the readable files, and the YAML errors.
func (w *walker) readAll(found []*File) ([]*File, map[*File]*finding.Finding) {
	sizes, unread, problems := make([]int64, len(found)), make([]*finding.Finding, len(found)), make([]*finding.Finding, len(found))
	forEach(found, func(i int, f *File) { sizes[i] = w.measure(f) })
	for i, f := range found { // in order, so that the same files exceed a limit each time
		unread[i] = w.weigh(f, sizes[i])
	}
	forEach(found, func(i int, f *File) {
		if unread[i] == nil && f.Hash == "" {
			unread[i] = w.fetch(f)
		}
		if unread[i] == nil {
			problems[i] = w.parse(f)
		}
	})
	if problems := w.overfull(); problems != nil {
		w.Stop(*problems)
		return nil, nil
	}
	read, parsed := make([]*File, 0, len(found)), map[*File]*finding.Finding{}
	for i, f := range found {
		if unread[i] != nil {
			w.Reject(*unread[i])
			continue
		}
		w.Files[f.Path], w.known[f.Path] = f, f
		if read = append(read, f); problems[i] != nil {
			parsed[f] = problems[i]
		}
	}
	return read, parsed
}

// forEach calls do for each file, in parallel, one per processor.
func forEach(files []*File, do func(i int, f *File)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	const batch = 64 // a goroutine per file would cost more than a cached file
	for start := 0; start < len(files); start += batch {
		group.Go(func() error {
			for i := start; i < min(start+batch, len(files)); i++ {
				do(i, files[i])
			}
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them returns one
}

// kubeconfigFiles returns the paths that the cluster files read so far name as their kubeconfigFile.
func (w *walker) kubeconfigFiles() map[string]bool {
	named := map[string]bool{}
	for _, f := range w.Files {
		if f.parsed == nil || f.Documents == nil {
			continue
		}
		for _, name := range f.parsed.kubeconfigs {
			named[name] = true
		}
	}
	return named
}

func isKubeconfig(f *File) bool {
	return len(f.Documents) == 1 && f.Documents[0].Kind == "Config" && f.Documents[0].APIVersion == "v1"
}

// find lists the YAML files below the path, and the folders with their own kustomization, whose files are only recorded as
// present. It skips hidden files and folders (.git, .github, .sops.yaml) and those in .musterignore.
func (w *walker) find(ctx context.Context) (files []candidate, folders []string, err error) {
	w.Present = make(map[string]bool, len(w.before))
	f := &finder{walker: w, ignored: w.ignore()}
	err = f.folder(ctx, w.Path, false)
	return f.files, f.folders, err
}

// candidate is a YAML file below the path.
type candidate struct {
	name  string
	entry fs.DirEntry
}

// finder walks the folders below the path.
type finder struct {
	*walker
	ignored func(name string, isDir bool) bool
	files   []candidate
	folders []string
}

// folder lists a folder. owned is true if it belongs to a kustomization below the path.
func (f *finder) folder(ctx context.Context, dir string, owned bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	list := f.list(dir)
	if list.err != nil {
		return fmt.Errorf("list %s: %w", dir, list.err)
	}
	if !owned {
		f.unreadableNames(dir)
	}
	for _, entry := range list.entries {
		name := strings.TrimPrefix(dir+"/"+entry.Name(), "./")
		if strings.HasPrefix(entry.Name(), ".") || f.ignored(name, entry.IsDir() || irregular(entry)) {
			continue
		}
		if !f.count(f.Path) {
			return nil
		}
		if irregular(entry) {
			f.leaveOut(name, entry)
			continue
		}
		if !entry.IsDir() {
			f.Present[name] = true
		}
		switch {
		case entry.IsDir():
			below := owned
			if !owned {
				if file, problem := f.kustomizationFile(name); file != "" || problem != nil {
					f.folders = append(f.folders, name)
					below = true
				}
			}
			if err := f.folder(ctx, name, below); err != nil {
				return err
			}
		case owned:
		case entry.Type()&fs.ModeSymlink != 0:
			f.symlink(name)
		case isYAML(name) && !slices.Contains(konfig.RecognizedKustomizationFileNames(), entry.Name()):
			f.files = append(f.files, candidate{name, entry})
		case entry.Type().IsRegular() && likeYAML(name):
			f.warnSkippedCluster(name, entry)
		}
	}
	return nil
}

func irregular(entry fs.DirEntry) bool { return entry.Type()&fs.ModeIrregular != 0 }

// leaveOut reports a file or folder of the path that isn't read: a submodule, which may have any number of clusters, or what Git
// ignores. Neither is recorded as present, because neither is a file of the commit.
func (w *walker) leaveOut(name string, entry fs.DirEntry) {
	switch {
	case isSubmodule(entry):
		w.Reject(*submodule(name))
	case isYAML(name) || path.Ext(name) == "":
		w.Add(finding.Finding{Code: CodeIgnored, Severity: finding.Info, Path: name,
			Message: "Git ignores this, so no commit has it; it is left out", Fix: "if it is meant for Muster, git check-ignore -v shows the rule"})
	}
}

// likeYAML reports whether the name is common for a file of objects, but not one that Muster includes by itself.
func likeYAML(name string) bool {
	name = strings.ToLower(path.Base(name))
	return strings.HasSuffix(name, ".json") || isYAML(name) || strings.Contains(name, ".yaml.") || strings.Contains(name, ".yml.") || strings.Contains(name, ".json.")
}

// warnSkippedCluster warns about a cluster in a file that is skipped because of its name. A file that a kustomization lists is
// not skipped.
func (f *finder) warnSkippedCluster(name string, entry fs.DirEntry) {
	if f.Files[name] != nil || f.Broken[name] {
		return
	}
	file, problem := f.fileAt(name, entry)
	if problem == nil {
		problem = f.weigh(file, f.measure(file))
	}
	if problem == nil && file.Hash == "" {
		problem = f.fetch(file)
	}
	if problem == nil && clusterHead.MatchString(file.Data) {
		cluster := ""
		if f.parse(file) == nil && len(file.Documents) == 1 {
			cluster = file.Documents[0].Name
		}
		f.Add(finding.Finding{Code: CodeUnused, Severity: finding.Warning, Path: name, Line: 1, Cluster: cluster,
			Message: "this is a cluster, but the file is skipped because of its name", Fix: "rename it to end in .yaml, list it in the kustomization, or list it in " + IgnoreFile})
	}
}

// unreadableNames reports the entries of a folder whose names can't be read: not UTF-8, or with a backslash. Such a file may be
// any file that was applied before, and such a folder may contain several.
func (f *finder) unreadableNames(dir string) {
	var entries []fs.DirEntry
	if fsys, ok := f.fsys.(interface {
		Omitted(dir string) []fs.DirEntry
	}); ok {
		entries = fsys.Omitted(dir)
	}
	for _, entry := range append(entries, f.list(dir).unreadable...) {
		name := strings.TrimPrefix(dir+"/"+entry.Name(), "./")
		at := finding.Finding{Code: CodeFileName, Severity: finding.Info, Path: name,
			Message: "the name can't be read: it is not UTF-8, has a backslash, or is a duplicate", Fix: "rename it"}
		switch {
		case strings.HasPrefix(entry.Name(), "."):
		case !f.count(f.Path):
			return
		case entry.IsDir() || isYAML(name):
			f.Reject(at)
		default:
			f.Add(at)
		}
	}
}

func isYAML(name string) bool {
	ext := path.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// symlink reports a link below the path. A link that looks like a cluster file is an error, because its cluster would be
// missing. Any other is only information.
func (w *walker) symlink(name string) {
	f := finding.Finding{Code: CodeSymlink, Severity: finding.Info, Path: name,
		Message: "this is a symbolic link, which Muster does not follow", Fix: "replace the link with the file, or list it in " + IgnoreFile}
	if isYAML(name) {
		w.Reject(f)
		return
	}
	w.Add(f)
}

// byteOrderMark is how some editors start a file. Git strips it too.
const byteOrderMark = "\ufeff"

// ignore returns the matcher of the path's .musterignore. If the file can't be read, the tree stops, because the files it
// excludes must not be applied.
func (w *walker) ignore() func(name string, isDir bool) bool {
	nothing := func(string, bool) bool { return false }
	name := path.Join(w.Path, IgnoreFile)
	if _, _, err := w.entry(name); errors.Is(err, fs.ErrNotExist) {
		return nothing
	}
	f, problem := w.read(name)
	if problem == nil && (!utf8.ValidString(f.Data) || strings.ContainsRune(f.Data, 0)) {
		problem = &finding.Finding{Code: CodeEncoding, Path: name, Line: 1, Message: "the file is not UTF-8 text", Fix: "save it as UTF-8"}
	}
	if problem == nil && (len(f.Data) > maxIgnoreBytes || strings.Count(f.Data, "\n") >= maxIgnoreLines) {
		problem = &finding.Finding{Code: CodeSize, Path: name, Line: 1,
			Message: fmt.Sprintf("the file has more than %d lines or %d KiB", maxIgnoreLines, maxIgnoreBytes>>10),
			Fix:     "list folders instead of files, or move the files for Muster to their own folder"}
	}
	if problem != nil {
		w.Stop(*problem)
		return nothing
	}
	var patterns []gitignore.Pattern
	for line := range strings.Lines(strings.TrimPrefix(f.Data, byteOrderMark)) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, nil))
		}
	}
	matcher := gitignore.NewMatcher(patterns)
	work := 0
	return func(name string, isDir bool) bool {
		rel := strings.TrimPrefix(strings.TrimPrefix(name, w.Path), "/")
		if work > maxIgnoreWork {
			return true
		}
		if work += len(f.Data) * len(rel); work > maxIgnoreWork {
			w.Stop(finding.Finding{Code: CodeSize, Path: f.Path, Line: 1,
				Message: "the path has too many files for the number of patterns",
				Fix:     "use fewer patterns, or point spec.path at the folder of the cluster files"})
			return true
		}
		return matcher.Match(strings.Split(rel, "/"), isDir)
	}
}

// Every pattern is matched with every path, and a match takes as many steps as the product of their lengths. maxIgnoreWork is a
// few seconds of the worst patterns, and enough for 1 KiB of patterns and 100,000 files.
const (
	maxIgnoreBytes = 64 << 10
	maxIgnoreLines = 1000
	maxIgnoreWork  = 10_000_000_000
)
