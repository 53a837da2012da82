package compile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
)

// Codes of findings about recipients.
const (
	CodeRecipients finding.Code = "sops-recipients" // a file is encrypted for others than .sops.yaml says
	CodeSopsConfig finding.Code = "sops-config"     // a .sops.yaml that can't be used
)

// maxConfig bounds a .sops.yaml, and maxConfigs all that are read: each is parsed and kept, and a small repository can have a large one in
// every folder.
const (
	maxConfig  = 256 << 10
	maxConfigs = 4 << 20
)

// recipientChecks are the findings about files, by their paths.
type recipientChecks map[string]recipientCheck

// recipientCheck holds as long as the file is the same, and so is the .sops.yaml above it.
type recipientCheck struct {
	file     string // the hash of its content
	text     string // the path and content of .sops.yaml
	findings []finding.Finding
}

// recipients compares every encrypted file with the rule that the nearest .sops.yaml above it has for it. It needs no key.
// A departure is a warning: what can be opened works, and a rule that has just changed must not hold up a whole fleet.
// What was found before of the same file and rule is found again.
func recipients(f *fleet.Sealed, tree *load.Tree, repository fs.FS, before recipientChecks) recipientChecks {
	if repository == nil {
		return nil
	}
	checks := make(recipientChecks, len(tree.Files))
	configs := sopsConfigs{fleet: f, repository: repository, byDir: map[string]*sopsConfig{}}
	for _, name := range tree.Paths() {
		file := tree.Files[name]
		if f.Broken[name] {
			continue
		}
		config := configs.above(path.Dir(name))
		if config == nil {
			continue
		}
		check, same := before[name]
		if !same || check.file != file.Hash || check.text != config.text {
			check = recipientCheck{file: file.Hash, text: config.text, findings: compareRecipients(file, config.parsed)}
		}
		checks[name] = check
		for _, at := range check.findings {
			f.Add(at)
		}
	}
	return checks
}

func compareRecipients(file *load.File, config *recipient.Config) []finding.Finding {
	have, at, encrypted := recipientsOf(file)
	if !encrypted {
		return nil
	}
	rule, ok := config.For(file.Path)
	if !ok || rule.Empty() {
		return nil
	}
	return recipientFindings(at, recipient.Compare(have, rule.Recipients), fmt.Sprintf("%s:%d", config.Path, rule.Line))
}

// recipientsOf reads those of a file, with the place where they stand.
func recipientsOf(file *load.File) (recipient.Recipients, finding.Finding, bool) {
	at := finding.Finding{Path: file.Path}
	if i := slices.IndexFunc(file.Documents, func(d *load.Document) bool { return d.Encrypted }); i >= 0 {
		at.Line, at.Column = file.Position(i, []string{"sops"})
		have, ok := recipient.OfBlock(file.Documents[i].Field("sops"))
		return have, at, ok
	}
	if file.Documents != nil || !seal.IsEncrypted(file.Data) {
		return recipient.Recipients{}, at, false
	}
	have, ok := recipient.OfFile([]byte(file.Data))
	at.Line, at.Column = lineOf(file.Data, "sops")
	return have, at, ok
}

// lineOf is the first line that begins with a word, quoted or not, in a file that isn't read as YAML.
func lineOf(data, word string) (line, column int) {
	n := 0
	for text := range strings.Lines(data) {
		n++
		if start := strings.TrimLeft(text, " \t\"['"); strings.HasPrefix(start, word) {
			return n, len(text) - len(start) + 1
		}
	}
	return 0, 0
}

func recipientFindings(at finding.Finding, d recipient.Difference, rule string) (list []finding.Finding) {
	at.Code, at.Severity = CodeRecipients, finding.Warning
	update := "run sops updatekeys " + at.Path
	add := func(message, fix string) {
		at.Message, at.Fix = message, fix
		list = append(list, at)
	}
	if len(d.Missing) > 0 {
		add(fmt.Sprintf("the file is not encrypted for %s, as the rule in %s wants", some(d.Missing), rule), update)
	}
	if len(d.Extra) > 0 {
		add(fmt.Sprintf("the file is encrypted for %s, whom the rule in %s does not name", some(d.Extra), rule),
			update+"; whoever could read it keeps what it held, so replace the credential where they should not have it")
	}
	if d.Grouped {
		add("the file's key groups are others than those of the rule in "+rule, update)
	}
	if d.Wanted > 0 {
		add(fmt.Sprintf("the file opens with %d of its key groups, and the rule in %s wants %d", d.Threshold, rule, d.Wanted), update)
	}
	return list
}

func some(list []string) string {
	const most = 3
	var shown []string
	for _, r := range list[:min(len(list), most)] {
		shown = append(shown, recipient.Show(r))
	}
	if more := len(list) - most; more > 0 {
		return strings.Join(shown, ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(shown, " and ")
}

// sopsConfigs finds .sops.yaml files, and reads each once.
type sopsConfigs struct {
	fleet      *fleet.Sealed
	repository fs.FS
	byDir      map[string]*sopsConfig
	read       int
}

type sopsConfig struct {
	text   string
	parsed *recipient.Config
}

// above returns the nearest from a folder upwards; nil when there is none, or it can't be used.
func (s *sopsConfigs) above(dir string) *sopsConfig {
	config, known := s.byDir[dir]
	if known {
		return config
	}
	config, found := s.in(dir)
	if !found && dir != "." {
		config = s.above(path.Dir(dir))
	}
	s.byDir[dir] = config
	return config
}

// in reads the one of a folder, if there is one.
func (s *sopsConfigs) in(dir string) (config *sopsConfig, found bool) {
	name := path.Join(dir, recipient.ConfigName)
	bad := func(line int, message string) (*sopsConfig, bool) {
		s.fleet.Add(finding.Finding{Code: CodeSopsConfig, Severity: finding.Warning, Path: name, Line: line,
			Message: message, Fix: "correct it; until then, recipients below it are not checked"})
		return nil, true
	}
	data, err := readConfig(s.repository, name)
	unusable, _ := errors.AsType[unusableError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false
	case unusable != "":
		return bad(0, string(unusable))
	case err != nil:
		return bad(0, "the file can't be read from the repository")
	}
	if s.read += len(data); s.read > maxConfigs {
		return bad(0, fmt.Sprintf("the .sops.yaml files up to this one have more than %d MiB together", maxConfigs>>20))
	}
	parsed, err := recipient.ParseConfig(name, data)
	if wrong, ok := errors.AsType[*recipient.ConfigError](err); ok {
		return bad(wrong.Line, wrong.Reason)
	}
	return &sopsConfig{text: name + "\x00" + string(data), parsed: parsed}, true
}

// unusableError says why a .sops.yaml isn't read.
type unusableError string

func (u unusableError) Error() string { return string(u) }

func readConfig(repository fs.FS, name string) ([]byte, error) {
	info, err := fs.Lstat(repository, name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, unusableError("this is no regular file, and Muster follows no symbolic links")
	case info.Size() > maxConfig:
		return nil, unusableError(fmt.Sprintf("the file has more than %d KiB", maxConfig>>10))
	}
	return fs.ReadFile(repository, name)
}
