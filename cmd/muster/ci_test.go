package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5"
	"sigs.k8s.io/yaml"

	"github.com/muster-gitops/muster/clusters/finding"
)

// workflow has what the tests need of an action, a GitLab job and a list of pre-commit hooks.
type workflow struct {
	Runs struct {
		Steps []struct {
			Uses string            `json:"uses"`
			Run  string            `json:"run"`
			Env  map[string]string `json:"env"`
		} `json:"steps"`
	} `json:"runs"`
	Inputs map[string]struct {
		Default string `json:"default"`
	} `json:"inputs"`
	Lint job `json:"muster-lint"`
	Plan job `json:"muster-plan"`
}

// job is a job of GitLab.
type job struct {
	Variables    map[string]string `json:"variables"`
	BeforeScript []string          `json:"before_script"`
	Script       []string          `json:"script"`
}

func readWorkflow(t *testing.T, name string) workflow {
	t.Helper()
	text, err := os.ReadFile(name)
	check(t, err)
	var w workflow
	check(t, yaml.Unmarshal(text, &w))
	return w
}

// fleetFolder is a repository with a good cluster, and one with an error and a warning.
func fleetFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	_, err := git.PlainInit(dir, false)
	check(t, err)
	for name, spec := range map[string]string{"good": `{kubeconfigSecretRef: {name: a}, schedule: "7 * * * *"}`,
		"bad": `{kubeconfigSecretRef: {name: a}, shedule: "7 * * * *", filtering: {namespaces: {include: []}}}`} {
		check(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, name, name+".yaml"),
			fmt.Appendf(nil, "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata: {name: %s}\nspec: %s\n", name, spec), 0o600))
	}
	return dir
}

// shellStep runs a script as the forge does, and returns its exit status.
func shellStep(t *testing.T, dir, script string, env map[string]string) (status int, output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(out)
	}
	check(t, err)
	return 0, string(out)
}

// hostileInputs are values that a pull request may bring into a workflow.
var hostileInputs = []string{"$(touch pwned)", "`touch pwned`", "x; touch pwned", "x\"; touch pwned; \"", "x' ; touch pwned ; '", "--show-secrets", "-o\ngithub"}

func checkNotExecuted(t *testing.T, dir, value string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Errorf("%q was executed", value)
	}
}

// TestGitHubAction runs the shell steps of the action, with inputs as GitHub passes them.
func TestGitHubAction(t *testing.T) {
	action := readWorkflow(t, "ci/action.yml")
	muster, err := exec.LookPath("muster")
	check(t, err)
	dir, temp, bin := fleetFolder(t), t.TempDir(), t.TempDir()
	// The build is a program that checks what it is to build, and puts the tested one there.
	check(t, os.WriteFile(filepath.Join(bin, "go"), []byte(`#!/usr/bin/env bash
[ "$1 $2 $4 $6" = "build -C -o ./cmd/muster" ] && [ -f "$3/go.mod" ] && ln -sf "$MUSTER" "$5"
`), 0o700))
	here, err := filepath.Abs("ci")
	check(t, err)
	lint := func(inputs map[string]string) (int, string) {
		env := map[string]string{"RUNNER_TEMP": temp, "GITHUB_ACTION_PATH": here, "MUSTER": muster, "PATH": bin + ":" + os.Getenv("PATH")}
		for _, step := range action.Runs.Steps {
			for name, value := range step.Env {
				env[name] = expression(t, value, func(input string) string {
					if given, ok := inputs[input]; ok {
						return given
					}
					return action.Inputs[input].Default
				})
			}
			if step.Run == "" {
				continue
			}
			if status, out := shellStep(t, dir, step.Run, env); status != 0 || strings.Contains(step.Run, " lint ") {
				return status, out
			}
		}
		return -1, "no step lints"
	}
	if status, out := lint(map[string]string{"paths": "good\n\n"}); status != 0 {
		t.Errorf("a good folder: %d, %s", status, out)
	}
	status, out := lint(map[string]string{"paths": "good\nbad", "sarif-file": "a b.sarif"})
	if status != 1 || !strings.Contains(out, "::error file=bad/bad.yaml,line=4") {
		t.Errorf("a bad folder: %d, %s", status, out)
	}
	var report sarifLog
	text, err := os.ReadFile(filepath.Join(dir, "a b.sarif"))
	check(t, err)
	if check(t, json.Unmarshal(text, &report)); len(report.Runs) != 1 || len(report.Runs[0].Results) == 0 {
		t.Errorf("the SARIF report is %s", text)
	}
	if status, out := lint(nil); status != 1 {
		t.Errorf("without inputs: %d, %s", status, out)
	}
	for _, value := range hostileInputs {
		for _, input := range []string{"paths", "fail-on"} {
			if status, out := lint(map[string]string{input: value}); status != 2 {
				t.Errorf("%s %q: %d, %s", input, value, status, out)
			}
			checkNotExecuted(t, dir, value)
		}
	}
}

var expressions = regexp.MustCompile(`\$\{\{ *inputs\.([a-z-]+) *\}\}`)

// expression replaces an expression that is a whole value.
func expression(t *testing.T, value string, of func(string) string) string {
	t.Helper()
	m := expressions.FindStringSubmatch(value)
	if m == nil || m[0] != value {
		t.Fatalf("%q is not an input", value)
	}
	return of(m[1])
}

// TestNoExpressionInScripts holds what forges replace out of scripts, and other actions to a commit.
func TestNoExpressionInScripts(t *testing.T) {
	commit := regexp.MustCompile(`@[0-9a-f]{40}$`)
	action, gitlab := readWorkflow(t, "ci/action.yml"), readWorkflow(t, "ci/gitlab.yml")
	scripts := slices.Concat(gitlab.Lint.Script, gitlab.Lint.BeforeScript, gitlab.Plan.Script, gitlab.Plan.BeforeScript)
	for _, step := range action.Runs.Steps {
		scripts = append(scripts, step.Run)
		if step.Uses != "" && !commit.MatchString(step.Uses) {
			t.Errorf("%s is not pinned", step.Uses)
		}
	}
	for _, script := range scripts {
		if strings.Contains(script, "${{") || strings.Contains(script, "$[[") {
			t.Errorf("an expression is in %s", script)
		}
	}
	if len(scripts) < 9 {
		t.Errorf("only %d scripts were found", len(scripts))
	}
}

// branchedFolder is a repository whose branch main has a good cluster. It is at a branch that adds the other one.
func branchedFolder(t *testing.T) string {
	t.Helper()
	dir := fleetFolder(t)
	_, out := shellStep(t, dir, `git config user.name Ada; git config user.email ada@example.com
		git checkout -q -b main; git add good; git commit -q -m one; git checkout -q -b "$BRANCH"; git add .; git commit -q -m two
		git update-ref refs/remotes/origin/main main`, map[string]string{"BRANCH": "feature"})
	if out != "" {
		t.Fatal(out)
	}
	return dir
}

// TestPlanInCI runs the steps that print what the merge would do.
func TestPlanInCI(t *testing.T) {
	muster, err := exec.LookPath("muster")
	check(t, err)
	steps := readWorkflow(t, "ci/action.yml").Runs.Steps
	action, gitlab := steps[len(steps)-1], readWorkflow(t, "ci/gitlab.yml").Plan
	dir, temp, summary := branchedFolder(t), t.TempDir(), filepath.Join(t.TempDir(), "a summary")
	check(t, os.Symlink(muster, filepath.Join(temp, "muster")))
	for _, row := range []struct {
		paths  string
		status int
		text   string
	}{{"good", 0, "changes no cluster"}, {"bad", 1, "1 new error"}, {"good\nbad", 1, "1 new error"}} {
		_ = os.Remove(summary)
		status, out := shellStep(t, dir, action.Run, map[string]string{"RUNNER_TEMP": temp, "MUSTER_PATHS": row.paths, "MUSTER_BASE": "origin/main", "GITHUB_STEP_SUMMARY": summary})
		text, err := os.ReadFile(summary)
		check(t, err)
		if status != row.status || !strings.Contains(strings.ToLower(string(text)), row.text) {
			t.Errorf("GitHub, %q: %d, %s\n%s", row.paths, status, out, text)
		}
		status, out = shellStep(t, dir, strings.Join(gitlab.Script, "\n"), map[string]string{"MUSTER_PATHS": row.paths, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"})
		if status != row.status || !strings.Contains(strings.ToLower(out), row.text) {
			t.Errorf("GitLab, %q: %d, %s", row.paths, status, out)
		}
	}
	for _, value := range hostileInputs {
		status, out := shellStep(t, dir, action.Run, map[string]string{"RUNNER_TEMP": temp, "MUSTER_PATHS": "good", "MUSTER_BASE": value, "GITHUB_STEP_SUMMARY": summary})
		if status != 2 {
			t.Errorf("GitHub, base %q: %d, %s", value, status, out)
		}
		status, out = shellStep(t, dir, strings.Join(gitlab.Script, "\n"), map[string]string{"MUSTER_PATHS": "good", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": value})
		if status != 2 {
			t.Errorf("GitLab, target %q: %d, %s", value, status, out)
		}
		checkNotExecuted(t, dir, value)
	}
}

// TestGitLabJob runs the script of the job, and reads its reports.
func TestGitLabJob(t *testing.T) {
	job := readWorkflow(t, "ci/gitlab.yml").Lint
	dir := fleetFolder(t)
	lint := func(variables map[string]string) (int, string) {
		env := maps.Clone(job.Variables)
		maps.Copy(env, variables)
		return shellStep(t, dir, strings.Join(job.Script, "\n"), env)
	}
	if status, out := lint(map[string]string{"MUSTER_PATHS": "good"}); status != 0 {
		t.Errorf("a good folder: %d, %s", status, out)
	}
	if status, out := lint(map[string]string{"MUSTER_PATHS": "good\nbad\n"}); status != 1 || !strings.Contains(out, "bad/bad.yaml:4") {
		t.Errorf("a bad folder: %d, %s", status, out)
	}
	var quality []codeQuality
	text, err := os.ReadFile(filepath.Join(dir, "gl-code-quality-report.json"))
	check(t, err)
	if check(t, json.Unmarshal(text, &quality)); len(quality) == 0 || quality[0].Location.Path != "bad/bad.yaml" {
		t.Errorf("the code quality report is %s", text)
	}
	var suites junitSuites
	text, err = os.ReadFile(filepath.Join(dir, "muster-junit.xml"))
	check(t, err)
	if check(t, xml.Unmarshal(text, &suites)); suites.Failures != 1 || suites.Tests < 2 {
		t.Errorf("the JUnit report is %s", text)
	}
	for _, value := range hostileInputs {
		for _, variable := range []string{"MUSTER_PATHS", "MUSTER_FAIL_ON"} {
			if status, out := lint(map[string]string{variable: value}); status == 0 {
				t.Errorf("%s %q: %d, %s", variable, value, status, out)
			}
			checkNotExecuted(t, dir, value)
		}
	}
	// The version is asked for, and never executed.
	before := strings.Join(job.BeforeScript, "\n")
	if status, out := shellStep(t, dir, before, nil); status == 0 || !strings.Contains(out, "MUSTER_VERSION") {
		t.Errorf("without a version: %d, %s", status, out)
	}
}

// TestPreCommitHook runs the entry of the hook with names of changed files, as pre-commit does.
func TestPreCommitHook(t *testing.T) {
	text, err := os.ReadFile("../../.pre-commit-hooks.yaml")
	check(t, err)
	var hooks []struct{ ID, Entry, Files string }
	check(t, yaml.Unmarshal(text, &hooks))
	if len(hooks) != 1 || hooks[0].ID != "muster-lint" {
		t.Fatalf("the hooks are %+v", hooks)
	}
	files := regexp.MustCompile(hooks[0].Files)
	dir := fleetFolder(t)
	for _, test := range []struct {
		names []string
		want  int
	}{
		{[]string{"good/good.yaml"}, 0},
		{[]string{"good/good.yaml", "bad/bad.yaml"}, 1},
	} {
		for _, name := range test.names {
			if !files.MatchString(name) {
				t.Errorf("%s is not checked", name)
			}
		}
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", hooks[0].Entry + ` "$@"`, "hook"}, test.names...)...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		status := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			status = exit.ExitCode()
		}
		if status != test.want {
			t.Errorf("%v: %d, %s", test.names, status, out)
		}
	}
	if files.MatchString("README.md") {
		t.Error("README.md is checked")
	}
}

// TestReportsOfHostileText writes findings whose text a repository controls.
func TestReportsOfHostileText(t *testing.T) {
	hostile := "a\x00\x1b]0;x\x07\u202e]]></failure><testcase name=\"x\"/>&lt;'\"\xff\ufffe\r\nb"
	findings := []finding.Finding{
		{Code: "unknown-field", Severity: finding.Error, Cluster: hostile, Path: hostile, Line: 3, Message: hostile, Fix: hostile},
		{Code: "unknown-field", Severity: finding.Error, Cluster: hostile, Path: hostile, Line: 9, Message: hostile, Fix: hostile},
		{Code: "schedule", Severity: finding.Warning, Path: "b.yaml", Message: "b", Accepted: "because"},
		{Code: "empty", Severity: finding.Info, Message: "no file"},
	}
	var out bytes.Buffer
	check(t, printJUnit(&out, "muster lint", []string{"a.yaml", "b.yaml"}, findings))
	var suites junitSuites
	check(t, xml.Unmarshal(out.Bytes(), &suites))
	if suites.Tests != 4 || suites.Failures != 1 || len(suites.Suites) != 1 || len(suites.Suites[0].Cases) != 4 {
		t.Fatalf("%+v in %s", suites, out.Bytes())
	}
	if strings.ContainsAny(out.String(), "\x00\x1b\x07\u202e\ufffe") {
		t.Errorf("a control character is in %q", out.Bytes())
	}
	quality := codeQualityOf(findings)
	if len(quality) != 4 || quality[0].Fingerprint == quality[1].Fingerprint || quality[2].Severity != "info" || quality[3].Location.Path != "." || quality[3].Location.Lines.Begin != 1 {
		t.Errorf("%+v", quality)
	}
	moved := findings[0]
	moved.Line = 77
	if codeQualityOf([]finding.Finding{moved})[0].Fingerprint != quality[0].Fingerprint {
		t.Error("the fingerprint depends on the line")
	}
}
