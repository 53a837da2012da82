package compile

import (
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

// recipientChecks are the cached findings by file.
type recipientChecks map[string]recipientCheck

// recipientCheck is valid as long as the file and the .sops.yaml above it are unchanged.
type recipientCheck struct {
	file         string // the hash of its content
	config, text string // the path and content of .sops.yaml
	findings     []finding.Finding
}

// recipients compares every encrypted file with the rule for it in the nearest .sops.yaml above. It needs no key. A
// difference is a warning: a file that can be decrypted works, and a changed rule must not block a whole fleet.
// Findings for an unchanged file and rule are reused from before.
func recipients(f *fleet.Sealed, tree *load.Tree, repository fs.FS, before recipientChecks) recipientChecks {
	if repository == nil {
		return nil
	}
	checks := make(recipientChecks, len(tree.Files))
	configs := recipient.NewConfigs(repository, func(path string, bad *recipient.ConfigError) {
		f.Add(finding.Finding{Code: CodeSopsConfig, Severity: finding.Warning, Path: path, Line: bad.Line,
			Message: bad.Reason, Fix: "correct it; until then, the recipients of files below it are not checked"})
	})
	for _, name := range tree.Paths() {
		file := tree.Files[name]
		if f.Broken[name] {
			continue
		}
		config := configs.Above(path.Dir(name))
		if config == nil {
			continue
		}
		check, same := before[name]
		if !same || check.file != file.Hash || check.config != config.Path || check.text != config.Data {
			check = recipientCheck{file: file.Hash, config: config.Path, text: config.Data, findings: compareRecipients(file, config)}
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

// Recipients reads the recipients of a file. It returns false for a file that isn't encrypted.
func Recipients(file *load.File) (recipient.Recipients, bool) {
	have, _, encrypted := recipientsOf(file)
	return have, encrypted
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
