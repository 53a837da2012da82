package main

import (
	"strings"

	"github.com/muster-gitops/muster/clusters/author"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/setup"
)

// result is what every command that writes files prints with -o json. README.md describes it. Paths are relative to the root of the
// repository.
type result struct {
	// OK is false if a finding is an error, and then the exit status is 1.
	OK bool `json:"ok"`
	// Written is false in a dry run, when there is nothing to write, and when errors keep the command from writing.
	Written   bool              `json:"written"`
	Summary   string            `json:"summary"`
	Files     []fileResult      `json:"files"`
	Unchanged []string          `json:"unchanged,omitempty"`
	Findings  []finding.Finding `json:"findings"`
	// Plan is what the change does once it is merged, as muster plan --base shows it.
	Plan *review.Review `json:"plan,omitempty"`
	Next []nextStep     `json:"next"`

	// SetUp is of add: what the cluster needs elsewhere. Kept is of remove: what stays, and why. PrivateKey is of init: the file of the key.
	SetUp      []setupJSON `json:"setUp,omitempty"`
	Kept       []string    `json:"kept,omitempty"`
	PrivateKey string      `json:"privateKey,omitempty"`
	*imported
}

// fileResult is a file that a command writes.
type fileResult struct {
	Path   string `json:"path"`
	Action string `json:"action"` // add, change or remove
	// Content is set in a dry run.
	Content string `json:"content,omitempty"`
	// Recipients can open the file, which is encrypted for the first time.
	Recipients []string `json:"recipients,omitempty"`
	// Rotation is of rotate.
	Rotation *rotation `json:"rotation,omitempty"`
}

// nextStep is what users do afterwards.
type nextStep struct {
	About    string   `json:"about"`
	Commands []string `json:"commands"`
}

// setupJSON is what a cluster needs elsewhere: steps, and all of them as a script.
type setupJSON struct {
	Cluster     string              `json:"cluster"`
	AuditConfig string              `json:"auditConfig"`
	Method      string              `json:"method"`
	Variables   []setupVariableJSON `json:"variables"`
	Steps       []setupStepJSON     `json:"steps"`
	Script      string              `json:"script"`
}

type setupVariableJSON struct {
	Name    string `json:"name"`
	Meaning string `json:"meaning"`
}

type setupStepJSON struct {
	Title    string      `json:"title"`
	Where    setup.Where `json:"where"`
	Note     string      `json:"note,omitempty"`
	Commands string      `json:"commands"`
}

// setupOf has variables in the form that they have in the script.
func setupOf(x setup.Setup) setupJSON {
	out := setupJSON{Cluster: x.Cluster, AuditConfig: x.AuditConfig, Method: x.Method, Variables: []setupVariableJSON{}, Steps: []setupStepJSON{}, Script: x.Commands()}
	for _, v := range x.Variables {
		out.Variables = append(out.Variables, setupVariableJSON{strings.ToUpper(v.Name), v.Meaning})
	}
	for _, step := range x.Steps {
		out.Steps = append(out.Steps, setupStepJSON{step.Title, step.Where, step.Note, step.Commands})
	}
	return out
}

// filesOf are changes for a result.
func filesOf(changes []author.Change, dryRun bool) []fileResult {
	files := make([]fileResult, 0, len(changes))
	for _, c := range changes {
		file := fileResult{Path: c.Path, Action: "change"}
		switch {
		case c.Before == nil:
			file.Action = "add"
		case c.After == nil:
			file.Action = "remove"
		}
		if dryRun {
			file.Content = string(c.After)
		}
		file.Recipients = newRecipients(c)
		files = append(files, file)
	}
	return files
}

// newRecipients are those of a file that is encrypted for the first time. .sops.yaml chooses them, and whoever wrote the branch wrote that.
func newRecipients(c author.Change) []string {
	if r, known := recipient.OfFile(c.After); known && !seal.IsEncrypted(string(c.Before)) {
		return shown(r.All())
	}
	return nil
}

// printResult prints a result without secrets, and returns the exit status as an error.
func (s *shell) printResult(r result) error {
	r.OK = finding.Errors(r.Findings) == 0
	findings := []finding.Finding{}
	for _, f := range finding.Sorted(r.Findings) {
		findings = append(findings, s.masked(f))
	}
	r.Findings, r.Summary = findings, s.redactor.String(r.Summary)
	r.Files = append([]fileResult{}, r.Files...)
	for i := range r.Files {
		r.Files[i].Content = s.redactor.String(r.Files[i].Content)
	}
	next := []nextStep{}
	for _, step := range r.Next {
		next = append(next, nextStep{s.redactor.String(step.About), s.maskedTexts(step.Commands)})
	}
	r.Next = next
	r.Kept = s.maskedTexts(r.Kept)
	if err := writeJSON(s.stdout, r); err != nil || r.OK {
		return err
	}
	return statusError(exitFindings)
}

// maskedTexts are texts without secrets, never nil.
func (s *shell) maskedTexts(texts []string) []string {
	masked := make([]string, len(texts))
	for i, text := range texts {
		masked[i] = s.redactor.String(text)
	}
	return masked
}
