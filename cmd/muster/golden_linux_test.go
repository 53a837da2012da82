package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// goldenCase is how a command is run for its goldens: in terminals of 60 and 120 columns, in a pipe, and with -o json.
type goldenCase struct {
	args   string
	status int
	env    string // one more variable
	// raw is why lines are as long as they are.
	raw string
	// same is why every run prints the same bytes, such as a format for programs. There is no golden then.
	same string
	// noJSON is why the command has no -o json.
	noJSON string
}

// goldenCases are run in this order. The name is that of the command; what follows a colon tells cases of a command apart.
var goldenCases = []struct {
	name string
	goldenCase
}{
	{"init", goldenCase{args: "init ../new --url https://git.example.com/platform/fleet.git"}},
	{"add", goldenCase{args: "add asia --preflight off --server https://asia.example.com --token-file ../home/token --ca-file ../home/ca.pem"}},
	{"add:error", goldenCase{args: "add asia --preflight off --kubeconfig-file ../home/token", status: exitFailure}},
	{"import", goldenCase{args: "import imported --audit-config other"}},
	{"setup", goldenCase{args: "setup us", raw: "it is a script"}},
	{"schema", goldenCase{args: "schema", same: "a JSON Schema", noJSON: "it is JSON"}},
	{"edit", goldenCase{args: "edit eu", env: "EDITOR=sed -i /schedule/s/9/7/"}},
	{"edit:error", goldenCase{args: "edit eu", env: "EDITOR=sed -i s/schedule/schedul/", status: exitFindings}},
	{"edit:unchanged", goldenCase{args: "edit eu", env: "EDITOR=true"}},
	{"set", goldenCase{args: "set eu schedule=@daily containerImageScanning=true"}},
	{"set:error", goldenCase{args: "set eu schedule=never", status: exitFindings}},
	{"rotate", goldenCase{args: "rotate --recipients"}},
	{"rotate:token", goldenCase{args: "rotate --token lab --from-file ../home/token"}},
	{"remove", goldenCase{args: "remove eu --yes"}},
	{"keys", goldenCase{args: "keys"}},
	{"lint", goldenCase{args: "lint", status: exitFindings}},
	{"render", goldenCase{args: "render", status: exitFindings, raw: "it is YAML"}},
	{"plan", goldenCase{args: "plan", status: exitFindings}},
	{"plan:base", goldenCase{args: "plan --base HEAD~1"}},
	{"explain", goldenCase{args: "explain eu"}},
	{"explain:live", goldenCase{args: "explain eu --live"}},
	{"tree", goldenCase{args: "tree", status: exitFindings, raw: "names are not cut"}},
	{"preflight", goldenCase{args: "preflight eu lab --allow-address 127.0.0.1", status: exitFindings}},
	{"rules", goldenCase{args: "rules plain-credential"}},
	{"status", goldenCase{args: "status"}},
	{"doctor", goldenCase{args: "doctor production", status: exitFindings}},
	{"events", goldenCase{args: "events"}},
	{"logs", goldenCase{args: "logs production", raw: "lines are printed as they were logged"}},
	{"reconcile", goldenCase{args: "reconcile production --wait", status: exitFindings}},
	{"approve", goldenCase{args: "approve production 0123456789abcdef0123456789abcdef01234567-0123456789abcdef"}},
	{"suspend", goldenCase{args: "suspend production"}},
	{"resume", goldenCase{args: "resume production"}},
	{"version", goldenCase{args: "version"}},
	{"help", goldenCase{args: "help version", noJSON: "it is text for people"}},
	{"completion", goldenCase{args: "completion bash", same: "a script", noJSON: "it is a script"}},
	{"controller", goldenCase{args: "controller --namespace A", status: exitFailure, noJSON: "it logs JSON until it is stopped"}},
}

// TestEveryCommandHasGoldens: a new command needs a case, and -o json or a reason.
func TestEveryCommandHasGoldens(t *testing.T) {
	for _, cmd := range newRootCommand(&shell{}).Commands() {
		if cmd.Hidden {
			continue
		}
		at := slices.IndexFunc(goldenCases, func(c struct {
			name string
			goldenCase
		}) bool {
			return c.name == cmd.Name()
		})
		if at < 0 {
			t.Errorf("%s has no goldens; add a case to goldenCases", cmd.Name())
			continue
		}
		if hasJSON(cmd) != (goldenCases[at].noJSON == "") {
			t.Errorf("%s: -o json is %t, and the reason to have none %q", cmd.Name(), hasJSON(cmd), goldenCases[at].noJSON)
		}
	}
}

func hasJSON(cmd *cobra.Command) bool {
	flag := cmd.Flags().Lookup("output")
	return flag != nil && slices.Contains(strings.Split(flag.Value.Type(), "|"), "json")
}

// TestGoldens runs every command as users do, in a copy of one work tree and against one API server.
func TestGoldens(t *testing.T) {
	g := newGallery(t)
	for _, c := range goldenCases {
		t.Run(c.name, func(t *testing.T) {
			runs := map[string]string{}
			for _, columns := range []uint16{60, 120, 0} {
				runs[fmt.Sprint(columns)] = g.run(t, c.goldenCase, c.args, columns)
			}
			if c.same != "" {
				if runs["60"] != runs["0"] || runs["120"] != runs["0"] || runs["0"] == "" {
					t.Errorf("%s differs between a terminal and a pipe", c.same)
				}
				return
			}
			text := "-- 60 columns --\n" + runs["60"] + "-- 120 columns --\n" + runs["120"] + "-- pipe --\n" + runs["0"]
			if c.raw == "" {
				fits(t, uncopied(runs["60"]), 60)
				fits(t, uncopied(runs["120"]), 120)
			}
			if c.noJSON == "" {
				document := g.run(t, c.goldenCase, c.args+" -o json", 0)
				g.wantJSON(t, document, runs["60"], c.status)
				text += "-- json --\n" + document
			}
			if strings.Contains(text, "\x1b") {
				t.Errorf("there are colours in %q", text)
			}
			golden(t, filepath.Join("..", "golden", strings.ReplaceAll(c.name, ":", "-")+".txt"), text)
		})
	}
}

// uncopied leaves out commands to copy, and other text that is printed as it is: these are never wrapped.
func uncopied(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !copied.MatchString(line) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

var copied = regexp.MustCompile(`^ *(git|kubectl|muster|export) |^# Correct source: `)

// wantJSON checks that the output is JSON, and that each command in next is a line of its own at 60 columns, too.
func (g *gallery) wantJSON(t *testing.T, document, narrow string, status int) {
	t.Helper()
	document, _, _ = strings.Cut(document, "stderr:\n")
	decoder := json.NewDecoder(strings.NewReader(document))
	for n := 0; ; n++ {
		var parsed struct {
			OK   *bool      `json:"ok"`
			Next []nextStep `json:"next"`
		}
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) && (n > 0 || status == exitFailure) {
			return
		}
		if err != nil {
			t.Fatalf("document %d: %v:\n%s", n, err, document)
		}
		_ = json.Unmarshal(raw, &parsed) // it may be a list
		if parsed.OK != nil && *parsed.OK != (status == exitOK) {
			t.Errorf("ok is %t with the status %d", *parsed.OK, status)
		}
		for _, step := range parsed.Next {
			for _, command := range step.Commands {
				if first, _, _ := strings.Cut(command, "\n"); strings.Contains(narrow, strings.Fields(first)[0]+" ") && strings.Contains(narrow, step.About) && !strings.Contains(narrow, first+"\n") {
					t.Errorf("the command is wrapped: %s", command)
				}
			}
		}
	}
}

// gallery has what the commands look at.
type gallery struct {
	*management
	base    string // is copied for each run
	env     []string
	commits []string
}

func newGallery(t *testing.T) *gallery {
	t.Helper()
	m := startManagement(t)
	g := &gallery{management: m, base: t.TempDir()}
	home := filepath.Join(g.base, "home")
	check(t, os.MkdirAll(home, 0o700))
	for name, text := range map[string]string{"kubeconfig": string(m.plane.Kubeconfig()), "key.txt": m.key.Private(), "token": canary + "-token", "ca.pem": testCA} {
		check(t, os.WriteFile(filepath.Join(home, name), []byte(text), 0o600))
	}
	g.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=../home", "XDG_CONFIG_HOME=../home/config", "KUBECONFIG=../home/kubeconfig", "SOPS_AGE_KEY_FILE=../home/key.txt",
		"NO_COLOR=1", "TERM=xterm", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null"}
	g.writeFiles()
	g.fillCluster()
	go g.control()
	return g
}

// writeFiles makes the work tree: two commits, and a cluster with an error that isn't committed.
func (g *gallery) writeFiles() {
	old := sealtest.NewKey(g.T)
	for old.Public() < g.key.Public() { // recipients are sorted
		old = sealtest.NewKey(g.T)
	}
	rule := func(keys string) string {
		return "creation_rules:\n  - mac_only_encrypted: true\n    encrypted_regex: " + sealtest.Recommended.EncryptedRegex + "\n    age: " + keys + "\n"
	}
	g.write(".sops.yaml", rule(g.key.Public()))
	seal := func(name, spec string, keys ...sealtest.Recipient) {
		g.write(name+".yaml", sealtest.Encrypt(g.T, name+".yaml", clusterFile(name, spec), sealtest.Recommended, 0, sealtest.Group(keys)))
	}
	seal("eu", "  kubeconfig: |\n"+indent(string(g.plane.Kubeconfig()), "    "), g.key, old)
	g.write("us.yaml", clusterFile("us", "  kubeconfigSecretRef: {name: manual}\n"))
	g.commits = append(g.commits, g.commit())
	seal("lab", "  serviceAccountAuth:\n    server: https://127.0.0.1:1\n    token: "+canary+"-lab\n    caCert: |\n"+indent(testCA, "      "), g.key)
	g.commits = append(g.commits, g.commit())
}

// fillCluster makes what the live commands show.
func (g *gallery) fillCluster() {
	for name, entries := range map[string]any{"mondoo-client": []any{}, "other": []any{map[string]any{"name": "old", "kubeconfigSecretRef": map[string]any{"name": "old"}, "schedule": "7 * * * *"}}} {
		g.apply(auditConfigs, "helm", map[string]any{"apiVersion": mondoo.APIVersion, "kind": mondoo.Kind, "metadata": map[string]any{"name": name},
			"spec": map[string]any{"mondooCredsSecretRef": map[string]any{"name": "mondoo-client"}, "kubernetesResources": map[string]any{"schedule": "0 * * * *", "externalClusters": entries}}})
	}
	for _, name := range []string{"manual", "old"} {
		g.secret(name, "", map[string]string{"kubeconfig": kubeconfig(name)})
	}
	g.apply(auditSyncs, "somebody", map[string]any{"apiVersion": "muster.dev/v1alpha1", "kind": "AuditSync", "metadata": map[string]any{"name": "production"},
		"spec": map[string]any{"source": map[string]any{"url": "https://127.0.0.1:1/platform/fleet.git"}, "auditConfig": "mondoo-client"}})
	g.sync("production")
	ago := time.Now().Add(-30*time.Hour - 30*time.Minute)
	g.cronJob("eu", ago, ago)
	g.cronJob("us", ago, ago)
	g.failedJob("us", ago)
	g.applied("production", map[string]time.Time{"eu": ago, "us": ago, "lab": ago})
	const cron = "mondoo-k8s-scan-us"
	for i, e := range [][5]string{
		{"muster.dev/v1alpha1", "AuditSync", "production", "Applied", "applied main@sha1:0123456: adds 3 clusters (eu, lab, us)"},
		{"batch/v1", "Job", cron + "-29384756", "FailedCreate", "Error creating: pods \"" + cron + "-29384756-\" is forbidden: exceeded quota: scans"},
	} {
		g.event(e[0], e[1], e[2], e[3], e[4], ago.Add(time.Duration(i)*time.Second))
	}
	k := g.startKubelet()
	g.pod("muster-0", map[string]string{"app.kubernetes.io/name": "muster", "app.kubernetes.io/component": "controller"})
	k.log("muster-0", 1, about("INFO", testNamespace, "production", "sync changed"))
	k.log("muster-0", 2, about("ERROR", testNamespace, "production", "fetch https://127.0.0.1:1/platform/fleet.git: connection refused, and the next attempt is in a minute"))
	status := readyStatus("False", "RemovalsHeld", "1 removal waits for approval: cluster old. Approve it, or restore its file in the repository")
	status["lastAttemptedRevision"] = status["lastAppliedRevision"]
	status["clusters"] = map[string]any{"total": 3, "applied": 3, "quarantined": 0}
	g.report("production", status)
	g.write("bad.yaml", clusterFile("bad", "  shedule: 9 * * * *\n  kubeconfigSecretRef: {name: manual}\n"))
}

// control ends requested syncs, as the controller does.
func (g *gallery) control() {
	for g.Context().Err() == nil {
		time.Sleep(100 * time.Millisecond)
		u, err := g.dynamic.Resource(auditSyncs).Namespace(testNamespace).Get(g.Context(), "production", metav1.GetOptions{})
		if err != nil {
			return // the test ends
		}
		conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
		requested := u.GetAnnotations()[v1alpha1.AnnotationReconcile]
		if handled, _, _ := unstructured.NestedString(u.Object, "status", "lastHandledReconcileAt"); handled == requested && conditions[0].(map[string]any)["observedGeneration"] == u.GetGeneration() { //nolint:forcetypeassert // as written below
			continue
		}
		conditions[0].(map[string]any)["observedGeneration"] = u.GetGeneration() //nolint:forcetypeassert // as readyStatus writes it
		data, _ := json.Marshal(map[string]any{"status": map[string]any{"lastHandledReconcileAt": requested, "conditions": conditions}})
		if _, err := g.dynamic.Resource(auditSyncs).Namespace(testNamespace).Patch(g.Context(), "production", "application/merge-patch+json", data, metav1.PatchOptions{}, "status"); err != nil {
			return // the test ends
		}
	}
}

// run runs the real main in a copy of the work tree. With columns, standard output and error are one terminal.
func (g *gallery) run(t *testing.T, c goldenCase, args string, columns uint16) string {
	t.Helper()
	base := t.TempDir()
	check(t, os.CopyFS(filepath.Join(base, "home"), os.DirFS(filepath.Join(g.base, "home"))))
	check(t, os.CopyFS(filepath.Join(base, "fleet"), os.DirFS(g.dir)))
	for _, dir := range []string{"home", "home/key.txt", "home/kubeconfig"} {
		check(t, os.Chmod(filepath.Join(base, dir), map[bool]os.FileMode{true: 0o700, false: 0o600}[dir == "home"]))
	}
	self, err := os.Executable()
	check(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args, cmd.Dir, cmd.Env = append([]string{"muster"}, strings.Fields(args)...), filepath.Join(base, "fleet"), append(slices.Clone(g.env), "TMPDIR="+base)
	if c.env != "" {
		cmd.Env = append(cmd.Env, c.env)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if columns > 0 {
		keyboard, terminal := openTerminal(t)
		check(t, unix.IoctlSetWinsize(int(keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: columns}))
		cmd.Stdout = terminal
		if c.same == "" {
			cmd.Stderr = terminal
		}
		read := make(chan struct{})
		go func() {
			_, _ = io.Copy(&out, keyboard) // ends with an error, when the terminal is closed
			close(read)
		}()
		defer keyboard.Close() //nolint:errcheck // the test ends
		err = cmd.Run()
		check(t, terminal.Close())
		<-read
	} else {
		err = cmd.Run()
	}
	status := 0
	if exit, failed := errors.AsType[*exec.ExitError](err); failed {
		status, err = exit.ExitCode(), nil
	}
	check(t, err)
	text := strings.ReplaceAll(out.String(), "\r\n", "\n")
	if errs.Len() > 0 && c.same == "" {
		text += "stderr:\n" + errs.String()
	}
	if form := leak(text); status != c.status || form != "" {
		t.Errorf("muster %s: status %d, want %d; a secret is shown: %q\n%s", args, status, c.status, form, text)
	}
	return g.normal(strings.ReplaceAll(text, base, "BASE"))
}

// varying are what differs between runs, and what it is replaced with: by something as long where columns follow.
var varying = []struct {
	found *regexp.Regexp
	by    string
}{
	{regexp.MustCompile(`ENC\[AES256_GCM,[^\]]*\]`), "ENC[…]"},
	{regexp.MustCompile(`\bage1[a-z0-9]{58}\b`), "age1other"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "UID"},
	{regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?Z`), "TIME"},
	{regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC\b`), "2026-01-01 00:00 UTC"},
	{regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b`), "2026-01-01"},
	{regexp.MustCompile(`\bin [0-9]{2}d\b`), "in 99d"},
	{regexp.MustCompile(`-[0-9a-f]{16}\b`), "-0123456789abcdef"},
	{regexp.MustCompile(`-[0-9a-f]{3}…`), "-012…"},
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]{5}\b`), "127.0.0.1:54321"},
	{regexp.MustCompile(`("resourceVersion": )"[0-9]+"`), `$1"1"`},
	{regexp.MustCompile(`\b(auditsync|job|muster)-[a-z0-9]{5}\b`), "$1-abcde"},
	{regexp.MustCompile(`\bv1\.[0-9]+\.[0-9]+\b`), "v1.99.9"},
}

// normal is a text that is the same in every run.
func (g *gallery) normal(text string) string {
	text = strings.ReplaceAll(text, g.key.Public(), "age1own")
	for _, v := range varying {
		text = v.found.ReplaceAllString(text, v.by)
	}
	for i, commit := range g.commits {
		is := strings.Repeat(fmt.Sprint(i+1), len(commit))
		text = strings.ReplaceAll(strings.ReplaceAll(text, commit, is), short(commit), short(is))
	}
	for got, by := range map[string]string{runtime.Version(): "go1.99.9", runtime.GOOS + "/" + runtime.GOARCH: "linux/amd64"} {
		text = strings.ReplaceAll(text, got, by)
	}
	return text
}
