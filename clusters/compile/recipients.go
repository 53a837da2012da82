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
	CodeRecipients finding.Code = "sops-recipients" // a file's recipients differ from .sops.yaml
	CodeSopsConfig finding.Code = "sops-config"     // an invalid .sops.yaml
)

// maxConfig limits the size of a .sops.yaml, and maxConfigs that of all that are read. Each is parsed and cached, and a
// small repository can have a large one in every folder.
const (
	maxConfig  = 256 << 10
	maxConfigs = 4 << 20
)

// recipientChecks are the cached findings by file.
type recipientChecks map[string]recipientCheck

// recipientCheck is valid as long as the file and the .sops.yaml above it are unchanged.
type recipientCheck struct {
	file     string // the hash of its content
	text     string // the path and content of .sops.yaml
	findings []finding.Finding
}

// recipients compares every encrypted file with the rule for it in the nearest .sops.yaml above. It needs no key. A
// difference is a warning: a file that can be decrypted works, and a changed rule must not block a whole fleet.
// Findings for an unchanged file and rule are reused from before.
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

// recipientsOf reads the recipients of a file, and their place.
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

// lineOf returns the first line that begins with a word, quoted or not, in a file that isn't parsed as YAML.
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
		add(fmt.Sprintf("the file is not encrypted for %s, which the rule in %s requires", some(d.Missing), rule), update)
	}
	if len(d.Extra) > 0 {
		add(fmt.Sprintf("the file is encrypted for %s, which the rule in %s does not list", some(d.Extra), rule),
			update+"; an old recipient may have kept the credential, so replace it if they should not have it")
	}
	if d.Grouped {
		add("the file's key groups differ from those of the rule in "+rule, update)
	}
	if d.Wanted > 0 {
		add(fmt.Sprintf("%d of the file's key groups can decrypt it, but the rule in %s requires %d", d.Threshold, rule, d.Wanted), update)
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

// sopsConfigs finds .sops.yaml files, and reads each of them once.
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

// above returns the nearest .sops.yaml in a folder or above it; nil if there is none or it is invalid.
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

// in reads the .sops.yaml of a folder, if there is one.
func (s *sopsConfigs) in(dir string) (config *sopsConfig, found bool) {
	name := path.Join(dir, recipient.ConfigName)
	bad := func(line int, message string) (*sopsConfig, bool) {
		s.fleet.Add(finding.Finding{Code: CodeSopsConfig, Severity: finding.Warning, Path: name, Line: line,
			Message: message, Fix: "correct it; until then, the recipients of files below it are not checked"})
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
		return bad(0, fmt.Sprintf("the .sops.yaml files up to this one exceed %d MiB in total", maxConfigs>>20))
	}
	parsed, err := recipient.ParseConfig(name, data)
	if wrong, ok := errors.AsType[*recipient.ConfigError](err); ok {
		return bad(wrong.Line, wrong.Reason)
	}
	return &sopsConfig{text: name + "\x00" + string(data), parsed: parsed}, true
}

// unusableError is why a .sops.yaml isn't read.
type unusableError string

func (u unusableError) Error() string { return string(u) }

func readConfig(repository fs.FS, name string) ([]byte, error) {
	info, err := fs.Lstat(repository, name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, unusableError("this is not a regular file, and Muster does not follow symbolic links")
	case info.Size() > maxConfig:
		return nil, unusableError(fmt.Sprintf("the file is larger than %d KiB", maxConfig>>10))
	}
	return fs.ReadFile(repository, name)
}
