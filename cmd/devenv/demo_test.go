package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/cmd/devenv/server"
)

// Every step that the demo prints is typed into a shell as it is printed, and has the effect that is promised.
func TestDemoDoesWhatItSays(t *testing.T) {
	server.SkipShort(t)
	v := newVisitor(t, false)
	v.trySteps(v.checks())
	v.hasSaid(
		"externalClusters: +analytics +dev-a (written by muster",
		"Quarantined: 1 of 5 clusters can't be used and is left unchanged: clusters/analytics.yaml:",
		"Ready: 4 clusters applied at main@sha1:",
		"externalClusters: -dev-a (written by muster",
		"restarted as process",
	)
	v.tryWithout()
	v.stop()
}

// trySteps types all steps, and waits after each action for what is promised of it.
func (v *visitor) trySteps(checks map[string][]func(result) check) {
	v.Helper()
	for i, step := range v.demo.steps() {
		began := time.Now()
		if len(checks[step.title]) != len(step.actions) {
			v.Fatalf("%s: %d checks for %d actions", step.title, len(checks[step.title]), len(step.actions))
		}
		for j, action := range step.actions {
			check := checks[step.title][j](v.try(action))
			if !eventually(v.T, demoStepLimit, check.reached) {
				v.Fatalf("%d. %s: not seen: %s; the demo says:\n%s\nand its controller:\n%s", i+1, step.title, check.what, v.said, v.demo.controller.logTail())
			}
		}
		v.Logf("%d. %s: %s", i+1, step.title, time.Since(began).Round(10*time.Millisecond))
	}
}

func (v *visitor) hasSaid(words ...string) {
	v.Helper()
	for _, want := range words {
		if !strings.Contains(v.said.String(), want) {
			v.Errorf("the demo did not say %q:\n%s", want, v.said)
		}
	}
}

// tryWithout types what is printed on machines that lack programs. The change by hand is one that was seen to be put right.
func (v *visitor) tryWithout() {
	v.Helper()
	has := v.demo.tools
	for _, some := range []tools{has, {curl: true}, {}} {
		v.demo.tools = some
		note, look := v.demo.look()
		if !strings.Contains(v.demo.text(), note) {
			v.Errorf("with %+v, the text does not say %q", some, note)
		}
		if some.curl && !has.curl || some.kubectl && !has.kubectl {
			v.Logf("with %+v: not on this machine, so only the text is looked at", some)
			continue
		}
		for _, command := range look {
			if got := v.try(demoAction{commands: []string{command}}).output; strings.TrimSpace(got) == "" {
				v.Errorf("%s prints nothing", command)
			}
		}
		r := v.try(v.demo.editAction(removeFirst))
		if check := v.checks()[stepEdit][0](r); !eventually(v.T, demoStepLimit, check.reached) {
			v.Errorf("with %+v: not seen: %s; the demo says:\n%s", some, check.what, v.said)
		}
	}
	v.demo.tools = has
}

// demoStepLimit is for a machine that is busy with other tests; the promise is the interval. A scan that its schedule is about to
// start is left to that, which takes a minute.
const demoStepLimit = 3 * time.Minute

// visitor is somebody who tries the demo.
type visitor struct {
	*testing.T
	demo  *demo
	said  *transcript
	admin client.Client
}

func newVisitor(t *testing.T, forge bool) *visitor {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	said := &transcript{}
	d, err := startDemo(t.Context(), said, forge)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &visitor{T: t, demo: d, said: said, admin: d.cluster.client}
}

// result is what an action met and printed.
type result struct {
	before *unstructured.Unstructured // the audit config
	pid    string                     // of the controller
	output string
}

// check is a state to wait for.
type check struct {
	what    string
	reached func() bool
}

// try types the commands of an action. Where the machine has no client for the API server, nothing is printed to type;
// then the change by hand is made without one.
func (v *visitor) try(a demoAction) result {
	v.Helper()
	r := result{before: v.config(), pid: v.pid()}
	if len(a.commands) == 0 {
		v.Log("neither kubectl nor curl is here; the change by hand goes through the API")
		if err := v.admin.Patch(v.Context(), v.config(), client.RawPatch(types.JSONPatchType, []byte(removeFirst))); err != nil {
			v.Fatal(err)
		}
		return r
	}
	script := "set -e\n. '" + v.demo.file("env") + "'\n" + strings.Join(a.commands, "\n")
	out, err := exec.CommandContext(v.Context(), "bash", "-c", script).CombinedOutput()
	if err != nil {
		v.Fatalf("%s\n%v\n%s", strings.Join(a.commands, "\n"), err, out)
	}
	r.output = string(out)
	return r
}

// checks are by step, one for each of its actions.
func (v *visitor) checks() map[string][]func(result) check {
	three := []string{"prod-eu-west-1", "prod-us-east-1", "staging"}
	devSecret := demoAuditConfig + "-dev-a-service-account"
	atNight := regexp.MustCompile(`^\d+ 3 \* \* \*$`)
	return map[string][]func(result) check{
		stepAdd: {func(result) check {
			return check{"five clusters and the Secret", func() bool {
				return v.ready() && slices.Equal(v.names(), append([]string{"analytics", "dev-a"}, three...)) && v.has(devSecret)
			}}
		}},
		stepChange: {func(result) check {
			return check{"the schedule", func() bool { return v.ready() && atNight.MatchString(v.schedule("staging")) }}
		}},
		stepBreak: {
			func(result) check {
				return check{"the finding, and the entry as it was", func() bool {
					return v.quarantined("clusters/analytics.yaml:13") && v.schedule("analytics") == "0 */6 * * *"
				}}
			},
			func(result) check {
				return check{"ready", func() bool { return v.ready() && v.schedule("analytics") == "0 */6 * * *" }}
			},
		},
		stepRemove: {
			func(result) check {
				return check{"neither the entry nor the Secret", func() bool {
					return v.ready() && slices.Equal(v.names(), append([]string{"analytics"}, three...)) && !v.has(devSecret)
				}}
			},
			func(result) check {
				return check{"held removals", func() bool {
					return v.verdict() == "RemovalsHeld" && slices.Equal(v.names(), append([]string{"analytics"}, three...))
				}}
			},
			func(result) check { return check{"ready", v.ready} },
		},
		stepEdit: {func(r result) check {
			return check{"all clusters, written twice", func() bool {
				// The generation counts the change and what put it right.
				return v.config().GetGeneration() == r.before.GetGeneration()+2 && slices.Equal(v.names(), namesIn(v.T, r.before))
			}}
		}},
		stepRestart: {func(r result) check {
			return check{"another process, which writes nothing", func() bool {
				return v.pid() != r.pid && v.synced() && v.config().GetResourceVersion() == r.before.GetResourceVersion()
			}}
		}},
		stepLook: {func(r result) check {
			return check{"reports without a change", func() bool {
				return strings.Contains(r.output, "0 errors, 0 warnings") && strings.Contains(r.output, "No changes.") &&
					strings.Contains(r.output, "kind: MondooAuditConfig")
			}}
		}},
	}
}

// stop ends the demo, which leaves neither processes nor files.
func (v *visitor) stop() {
	v.Helper()
	began := time.Now()
	if err := v.demo.Stop(); err != nil {
		v.Error(err)
	}
	v.Logf("stopped after %s", time.Since(began).Round(10*time.Millisecond))
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		v.Errorf("left behind: %v %v", left, err)
	}
	if left := childrenOf(v.T, v.demo.dir); len(left) > 0 {
		v.Errorf("still running: %q", left)
	}
}

// childrenOf are the processes whose command lines name the folder.
func childrenOf(t *testing.T, dir string) (left []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-A", "-o", "pid=,ppid=,args=").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) {
			left = append(left, line)
		}
	}
	return left
}

// Ctrl-C while it starts is no error, and leaves nothing.
func TestDemoIsInterrupted(t *testing.T) {
	server.SkipShort(t)
	for _, tt := range []struct {
		stage string
		args  []string
	}{
		{"Building muster", []string{"demo"}},
		{"Installing", []string{"demo"}},
		{"Ctrl-C ends", []string{"demo"}},
		{"Starting Gitea", []string{"demo", "--forge=gitea"}},
		{"Starting a stand-in", []string{"demo", "--forge=gitea"}},
		{"Ctrl-C ends", []string{"demo", "--forge=gitea"}},
	} {
		t.Run(strings.Join(append(tt.args, tt.stage), " "), func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := &notifier{word: tt.stage, seen: cancel}
			var complaints bytes.Buffer
			if code := run(ctx, tt.args, out, &complaints); code != 0 || ctx.Err() == nil {
				t.Errorf("status %d, %v:\n%s%s", code, ctx.Err(), out.String(), complaints.String())
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
			if left := childrenOf(t, temp); len(left) > 0 {
				t.Errorf("still running: %q", left)
			}
		})
	}
}

// What keeps the demo from starting is said in one line, with the way out.
func TestDemoSaysWhatItNeeds(t *testing.T) {
	for _, tt := range []struct {
		reason string
		args   []string
		env    func(*testing.T)
		says   string
	}{
		{"no git", nil, func(t *testing.T) { t.Setenv("PATH", t.TempDir()) }, "devenv: git is not on the PATH; install it and try again\n"},
		{"no curl", []string{"--forge=gitea"}, onlyGit, "curl is not on the PATH, and the steps with Gitea need it; install it and try again\n"},
		{"not in a checkout", nil, func(t *testing.T) { t.Chdir(t.TempDir()) }, "run this in a checkout\n"},
		{"nowhere to write", nil, func(t *testing.T) { t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none")) }, "set TMPDIR to choose another place\n"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			tt.env(t)
			var out bytes.Buffer
			if code := run(t.Context(), append([]string{"demo"}, tt.args...), &out, &out); code != 1 || !strings.HasSuffix(out.String(), tt.says) || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("got %d and %q; want 1 and %q", code, out.String(), tt.says)
			}
		})
	}
}

// onlyGit leaves git alone on the PATH.
func onlyGit(t *testing.T) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(git, filepath.Join(bin, "git")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
}

// A controller that can't run is not started for ever.
func TestDemoGivesUpOnAController(t *testing.T) {
	server.SkipShort(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "muster"), []byte("#!/bin/sh\necho out of order >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	said := &transcript{}
	c, err := startDemoController(&demo{dir: dir, out: &lines{out: said}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.failed:
		if !strings.Contains(err.Error(), "out of order") {
			t.Errorf("the log is not in %q", err)
		}
	case <-time.After(3 * time.Minute):
		t.Fatalf("no end after three minutes:\n%s", said)
	}
	if got, want := strings.Count(said.String(), "exit status 3"), maxTries-1; got != want {
		t.Errorf("restarted %d times; want %d:\n%s", got, want, said)
	}
	if err := c.stop(); err != nil {
		t.Error(err)
	}
}

func TestTheListsChangesAreToldInShort(t *testing.T) {
	entries := func(schedules ...string) map[string]any {
		m := map[string]any{}
		for i, s := range schedules {
			if s != "" {
				m["c"+strconv.Itoa(i)] = mondoo.Entry{Schedule: s}
			}
		}
		return m
	}
	for _, tt := range []struct {
		reason        string
		before, after map[string]any
		want          string
	}{
		{"nothing", entries("a"), entries("a"), ""},
		{"from nothing", nil, entries("a", "b"), "+c0 +c1"},
		{"each kind", entries("a", "b"), entries("x", "", "c"), "~c0 +c2 -c1"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			if got := changedClusters(tt.before, tt.after); got != tt.want {
				t.Errorf("got %q; want %q", got, tt.want)
			}
		})
	}
	if got := shortRevisions(fmt.Sprintf("main@sha1:%s: x", strings.Repeat("0123456789", 4))); got != "main@sha1:0123456: x" {
		t.Errorf("got %q", got)
	}
}
