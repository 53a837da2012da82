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

// IgnoreFile lists, in the form of .gitignore, what below a path isn't for Muster.
const IgnoreFile = ".musterignore"

// root loads the tree from its path: through the kustomization there, if there is one, and then whatever the folder has
// besides.
func (w *walker) root(ctx context.Context) error {
	file, bad := w.kustomizationFile(w.Path)
	if bad != nil {
		w.Stop(*bad)
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
	if err := w.besides(ctx, listed); err != nil {
		return err
	}
	for _, dir := range w.dirs() {
		w.refuseDuplicates(w.Kustomizations[dir])
	}
	if !w.Stopped { // then nothing is built, and there may be cycles
		w.refuseRepeats()
	}
	return nil
}

// kustomize builds a kustomization anew for each way that leads to it, and two ways at each of thirty levels make a billion. These are
// how often kustomizations, and the objects in them, may be built beyond the first time: a component that every cluster's folder uses
// comes near the one, overlays of one base near the other. Levels are those of kustomizations below each other, each of which may give a
// cluster names that patches know it by from there on.
const (
	maxLevels   = 20
	maxRevisits = 10_000
	maxCopies   = 1000
)

// refuseRepeats stops a tree whose kustomizations refer to each other in too many ways.
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
			Message: fmt.Sprintf("kustomizations include each other over %d levels, and %d are the most", all.levels, maxLevels),
			Fix:     "include what is far below from further up"})
	case all.visits-once.visits > maxRevisits || all.objects-once.objects > maxCopies:
		w.Stop(finding.Finding{Code: CodeSize, Path: k.path(), Line: 1,
			Message: fmt.Sprintf("too many ways lead to the same kustomizations: kustomize would build more than %d of them, or more than %d objects, once again", maxRevisits, maxCopies),
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

// besides takes the files below the path that no kustomization owns. With a kustomization there, only cluster files are
// taken, so that adding a cluster touches one file; without one, every YAML file is.
func (w *walker) besides(ctx context.Context, listed bool) error {
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

// used are the folders that a kustomization refers to. One that the path holds for others to use isn't built by itself.
func (w *walker) used() map[string]bool {
	used := map[string]bool{}
	for _, k := range w.Kustomizations {
		for _, name := range slices.Concat(k.Resources, k.components()) {
			used[name] = true
		}
	}
	return used
}

// candidates reads the files that no kustomization names and returns those to be built. Which of them are resources is only
// known once all are read: a file that a cluster file names as its kubeconfigFile is a value.
func (w *walker) candidates(all []candidate, listed bool) []*File {
	found := make([]*File, 0, len(all))
	for _, c := range all {
		if w.Files[c.name] != nil || w.Broken[c.name] {
			continue
		}
		f, bad := w.found(c.name, c.entry)
		if bad != nil {
			w.Reject(*bad)
			continue
		}
		found = append(found, f)
	}
	read, parsed := w.readAll(found)
	named := w.kubeconfigFiles()
	for _, f := range read {
		if named[f.Path] {
			delete(w.Files, f.Path) // it is a value as a whole, whatever it looks like
		}
	}
	return slices.DeleteFunc(read, func(f *File) bool {
		switch {
		case named[f.Path]:
			return true
		case listed && !slices.ContainsFunc(f.Documents, (*Document).IsCluster):
			delete(w.Files, f.Path)
			w.stranger(f, parsed[f])
			return true
		case parsed[f] == nil && isKubeconfig(f):
			w.Add(finding.Finding{Code: CodeUnused, Severity: finding.Warning, Path: f.Path, Line: 1,
				Message: "this is a kubeconfig that no cluster file names", Fix: "name it in spec.kubeconfigFile of a cluster file, or list it in " + IgnoreFile})
			delete(w.Files, f.Path)
			return true
		}
		return !w.usable(f, parsed[f])
	})
}

// stranger looks at a file beside a kustomization that isn't taken as a cluster, and of which parse has said bad. Most are somebody
// else's. What was a cluster once, and can't be read as one now, is broken: its cluster must not be removed in silence.
func (w *walker) stranger(f *File, bad *finding.Finding) {
	const fix = "mend it, delete it to remove its cluster, or list it in " + IgnoreFile
	meant := mentionsCluster(f.Data) || hasSops(f.Data) || conflict.MatchString(f.Data)
	switch {
	case bad != nil && bad.Code == CodeLFS:
	case bad != nil:
		bad.Fix = fix
	case len(f.Documents) == 0:
		bad = &finding.Finding{Code: CodeEmpty, Path: f.Path, Line: 1, Message: "the file holds nothing; what was applied from it before stays", Fix: fix}
	default:
		for _, d := range f.Documents {
			if why := d.lost(f.Data); why != "" {
				w.Reject(finding.Finding{Code: CodeNotObject, Path: f.Path, Line: d.Line, Message: why, Fix: fix})
				return
			}
		}
		return
	}
	w.Reject(*bad)
	if !meant {
		w.Findings[len(w.Findings)-1].Severity = finding.Warning
	}
}

// readAll reads and parses files, as many at a time as there are processors. It returns those that could be read, and what is
// wrong with their YAML.
func (w *walker) readAll(found []*File) ([]*File, map[*File]*finding.Finding) {
	sizes, unread, bad := make([]int64, len(found)), make([]*finding.Finding, len(found)), make([]*finding.Finding, len(found))
	each(found, func(i int, f *File) { sizes[i] = w.measure(f) })
	for i, f := range found { // in their order, so that the same files are over a limit each time
		unread[i] = w.weigh(f, sizes[i])
	}
	each(found, func(i int, f *File) {
		if unread[i] == nil && f.Hash == "" {
			unread[i] = w.fetch(f)
		}
		if unread[i] == nil {
			bad[i] = w.parse(f)
		}
	})
	if bad := w.overfull(); bad != nil {
		w.Stop(*bad)
		return nil, nil
	}
	read, parsed := make([]*File, 0, len(found)), map[*File]*finding.Finding{}
	for i, f := range found {
		if unread[i] != nil {
			w.Reject(*unread[i])
			continue
		}
		w.Files[f.Path], w.known[f.Path] = f, f
		if read = append(read, f); bad[i] != nil {
			parsed[f] = bad[i]
		}
	}
	return read, parsed
}

// each does something with files, as many at a time as there are processors.
func each(files []*File, do func(i int, f *File)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	const some = 64 // a goroutine for each would take longer than what is remembered
	for start := 0; start < len(files); start += some {
		group.Go(func() error {
			for i := start; i < min(start+some, len(files)); i++ {
				do(i, files[i])
			}
			return nil
		})
	}
	group.Wait() //nolint:errcheck // none of them returns one
}

// kubeconfigFiles are the paths that the cluster files read so far name as their kubeconfigFile.
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

// find lists the YAML files below the path, and the folders with a kustomization of their own, whose files are noted as present
// and not listed. Hidden files and folders (.git, .github, .sops.yaml) and those in .musterignore are left out.
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

// folder looks at what is in a folder; owned says that it belongs to a kustomization of its own.
func (f *finder) folder(ctx context.Context, dir string, owned bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	list := f.list(dir)
	if list.err != nil {
		return fmt.Errorf("list %s: %w", dir, list.err)
	}
	if !owned {
		f.nameless(dir)
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
				if file, bad := f.kustomizationFile(name); file != "" || bad != nil {
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
			f.passedOver(name, entry)
		}
	}
	return nil
}

func irregular(entry fs.DirEntry) bool { return entry.Type()&fs.ModeIrregular != 0 }

// leaveOut says that a folder or file of the path isn't read: a submodule, which may hold any number of clusters, or what Git ignores.
// Neither is present, because neither is a file of the commit.
func (w *walker) leaveOut(name string, entry fs.DirEntry) {
	switch {
	case isSubmodule(entry):
		w.Reject(*submodule(name))
	case isYAML(name) || path.Ext(name) == "":
		w.Add(finding.Finding{Code: CodeIgnored, Severity: finding.Info, Path: name,
			Message: "Git ignores this, so no commit has it, and it is left out", Fix: "git check-ignore -v names the rule, if it is meant for Muster"})
	}
}

// likeYAML reports whether a name is one that people give to files of objects, but not one that Muster takes by itself.
func likeYAML(name string) bool {
	name = strings.ToLower(path.Base(name))
	return strings.HasSuffix(name, ".json") || isYAML(name) || strings.Contains(name, ".yaml.") || strings.Contains(name, ".yml.") || strings.Contains(name, ".json.")
}

// passedOver warns of a cluster in a file that isn't taken for its name. One that a kustomization lists is taken.
func (f *finder) passedOver(name string, entry fs.DirEntry) {
	if f.Files[name] != nil || f.Broken[name] {
		return
	}
	file, bad := f.found(name, entry)
	if bad == nil {
		bad = f.weigh(file, f.measure(file))
	}
	if bad == nil && file.Hash == "" {
		bad = f.fetch(file)
	}
	if bad == nil && clusterHead.MatchString(file.Data) {
		cluster := ""
		if f.parse(file) == nil && len(file.Documents) == 1 {
			cluster = file.Documents[0].Name
		}
		f.Add(finding.Finding{Code: CodeUnused, Severity: finding.Warning, Path: name, Line: 1, Cluster: cluster,
			Message: "this holds a cluster, and is not taken for its name", Fix: "give it a name that ends in .yaml, list it in the kustomization, or list it in " + IgnoreFile})
	}
}

// nameless reports what is in a folder under a name that can't be read: not UTF-8, or with a backslash. It may be any file that was
// applied before, and a folder may hold as many.
func (f *finder) nameless(dir string) {
	var entries []fs.DirEntry
	if fsys, ok := f.fsys.(interface {
		Omitted(dir string) []fs.DirEntry
	}); ok {
		entries = fsys.Omitted(dir)
	}
	for _, entry := range append(entries, f.list(dir).nameless...) {
		name := strings.TrimPrefix(dir+"/"+entry.Name(), "./")
		at := finding.Finding{Code: CodeFileName, Severity: finding.Info, Path: name,
			Message: "the name can't be read: it is not UTF-8, has a backslash, or is there twice", Fix: "rename it"}
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

// symlink reports a link below the path. One that looks like a cluster file is an error, for a cluster seems to be there
// and isn't; any other is only worth knowing.
func (w *walker) symlink(name string) {
	f := finding.Finding{Code: CodeSymlink, Severity: finding.Info, Path: name,
		Message: "this is a symbolic link, which Muster does not follow", Fix: "put the file itself there, or list the link in " + IgnoreFile}
	if isYAML(name) {
		w.Reject(f)
		return
	}
	w.Add(f)
}

// byteOrderMark is how some editors begin a file. Git takes it off too.
const byteOrderMark = "\ufeff"

// ignore returns the matcher of the path's .musterignore. One that can't be read stops the tree: what it keeps out must not be applied.
func (w *walker) ignore() func(name string, isDir bool) bool {
	nothing := func(string, bool) bool { return false }
	name := path.Join(w.Path, IgnoreFile)
	if _, _, err := w.entry(name); errors.Is(err, fs.ErrNotExist) {
		return nothing
	}
	f, bad := w.read(name)
	if bad == nil && (!utf8.ValidString(f.Data) || strings.ContainsRune(f.Data, 0)) {
		bad = &finding.Finding{Code: CodeEncoding, Path: name, Line: 1, Message: "the file is not UTF-8 text", Fix: "save it as UTF-8"}
	}
	if bad == nil && (len(f.Data) > maxIgnoreBytes || strings.Count(f.Data, "\n") >= maxIgnoreLines) {
		bad = &finding.Finding{Code: CodeSize, Path: name, Line: 1,
			Message: fmt.Sprintf("the file has more than %d lines or %d KiB", maxIgnoreLines, maxIgnoreBytes>>10),
			Fix:     "name folders instead of files, or move what is for Muster to a folder of its own"}
	}
	if bad != nil {
		w.Stop(*bad)
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
				Message: "the path has too many files for so many patterns",
				Fix:     "use fewer patterns, or point spec.path at the folder of the cluster files"})
			return true
		}
		return matcher.Match(strings.Split(rel, "/"), isDir)
	}
}

// Every pattern is matched with every path, and a match takes as many steps as both have characters, one times the other. maxIgnoreWork is
// some seconds of the worst patterns, and enough for 1 KiB of patterns over 100,000 files.
const (
	maxIgnoreBytes = 64 << 10
	maxIgnoreLines = 1000
	maxIgnoreWork  = 10_000_000_000
)
