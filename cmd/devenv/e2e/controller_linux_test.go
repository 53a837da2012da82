package e2e_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/decrypt"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/cmd/devenv/server"
	"github.com/muster-gitops/muster/controllers/api/v1alpha1"
)

// BenchmarkController runs muster controller in a process of its own, with the rights of config/rbac and the memory of config/manager,
// on a real API server and a real Git server that have nothing else to do. Each cluster has a kubeconfig that is encrypted for itself.
// BENCH=Controller/1000$ runs one size. For each row of the table it prints
//
//	wall       from the cause to the status that reports it, or per poll
//	CPU        of the process, until it is idle again; from /proc, as the kernel counts it
//	of cold    that CPU as a part of the first row's
//	peak       resident memory at its highest during the row
//	requests   to the API server, without watches, by verb, from its audit log
//
// The rows are: the sops library alone, decrypting the same files in this process; the first sync, of an empty namespace; polls without
// news, each; one file and a hundred files, pushed and requested as by a webhook; commits that change nothing below the path, found by
// polls, each; the start of a new process; another key in the Secret, with which everything is opened again.
func BenchmarkController(b *testing.B) {
	for _, n := range []int{100, 1_000, 5_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				newMeasured(b, n, 1).run()
			}
			b.ReportMetric(0, "ns/op") // setting up the repository is in it
		})
	}
}

const (
	// pollEvery is the shortest interval that an AuditSync may have.
	pollEvery = 5 * time.Second
	polls     = 20
	pushes    = 5
)

// measured is a controller in a process of its own.
type measured struct {
	*world
	b       *testing.B
	n       int
	parts   int // AuditSyncs, each with a folder of its own
	server  *server.Git
	url     string
	muster  string // the binary
	program server.Program
	version int
	cold    time.Duration
}

func newMeasured(b *testing.B, n, parts int) *measured {
	m := &measured{world: newPlane(b, false), b: b, n: n, parts: parts, muster: filepath.Join(b.TempDir(), "muster")}
	out, err := exec.CommandContext(b.Context(), "go", "build", "-o", m.muster, "../../muster").CombinedOutput()
	if err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	m.server, err = server.StartGit(b.Context(), server.GitOptions{})
	must(b, err)
	m.url, err = m.server.CreateRepository(b.Context(), repository)
	must(b, err)
	m.clone(m.url)
	m.push(m.files(n))
	m.secret("mondoo-client", map[string]string{"config": "{}"})
	m.secret("sops-keys", map[string]string{"age.agekey": m.key.Private()})
	m.start()
	b.Cleanup(m.stop)
	return m
}

// files are the audit config and the files of the first clusters, each with another schedule and token than before.
func (m *measured) files(clusters int) map[string]string {
	m.version++
	files := map[string]string{}
	for part := range m.parts {
		files[m.folder(part)+"/audit-config.yaml"] = strings.Replace(auditConfigFile, "name: "+auditConfig, "name: "+m.sync(part), 1)
	}
	for i := range clusters {
		files[m.folder(i%m.parts)+"/"+nameOf(i)+".yaml"] = m.sealedToken(nameOf(i), far(m.version), fmt.Sprintf("CANARY-token-%d", m.version))
	}
	return files
}

func (m *measured) folder(part int) string { return "clusters/" + m.sync(part) }

// sync is the name of an AuditSync, and of its audit config.
func (m *measured) sync(part int) string {
	if part == 0 {
		return syncName
	}
	return fmt.Sprintf("%s-%d", syncName, part)
}

func (m *measured) start() {
	m.Helper()
	cfg, err := m.plane.User(user, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	must(m.b, err)
	kubeconfig := filepath.Join(m.cacheDir, "kubeconfig")
	must(m.b, os.WriteFile(kubeconfig, server.KubeconfigFor(cfg), 0o600))
	log, err := os.OpenFile(filepath.Join(m.b.TempDir(), "log"), os.O_CREATE|os.O_WRONLY, 0o600)
	must(m.b, err)
	defer log.Close() // the process has its own descriptor
	cmd := exec.Command(m.muster, "controller", "--kubeconfig="+kubeconfig, "--namespace="+namespace, "--cache-dir="+filepath.Join(m.cacheDir, "clones"),
		"--metrics-address=0", "--probe-address=0")
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=920MiB") // as in config/manager/deployment.yaml
	cmd.Stdout, cmd.Stderr = log, log
	m.program, err = server.StartProgram("muster controller", cmd)
	must(m.b, err)
}

func (m *measured) stop() { must(m.b, m.program.Stop(patience)) }

func (m *measured) run() {
	fmt.Printf("\n%d clusters; %d processors, %s\n%-34s %9s %9s %9s %9s  %s\n", m.n, runtime.NumCPU(), processor(m.b), "", "wall", "CPU", "of cold", "peak", "requests")
	m.floor()
	m.idle()
	m.row("cold", 1, func() { m.untilApplied(m.git("rev-parse", "HEAD"), m.createPlain) })
	m.change(func(a *v1alpha1.AuditSync) { a.Spec.Interval = &metav1.Duration{Duration: pollEvery} })
	m.untilPolled(2)
	m.row("poll without news", polls, func() { m.untilPolled(polls) })
	m.row("commit beside the path", pushes, m.unrelated)
	m.change(func(a *v1alpha1.AuditSync) { a.Spec.Interval = &metav1.Duration{Duration: time.Hour} })
	m.idle()
	m.pushed("one file", 1)
	m.pushed("100 files", 100)
	m.stop()
	m.start()
	m.row("restart", 1, m.request)
	m.row("another key", 1, m.rotate)
}

// row measures and prints a row. Times is how many causes it has, each of which is printed.
func (m *measured) row(what string, times int, work func()) {
	m.Helper()
	mark, err := m.plane.Mark()
	must(m.b, err)
	must(m.b, os.WriteFile(m.proc("clear_refs"), []byte("5"), 0)) // the peak starts again from what is resident now
	began, before := time.Now(), m.cpu()
	work()
	wall := time.Since(began) / time.Duration(times)
	m.idle()
	cpu := (m.cpu() - before) / time.Duration(times)
	if m.cold == 0 {
		m.cold = cpu
	}
	m.print(what, wall, cpu, m.peak(), m.requests(mark))
}

func (m *measured) print(what string, wall, cpu time.Duration, peak, requests string) {
	ofCold := ""
	if m.cold > 0 {
		ofCold = fmt.Sprintf("1/%.0f", float64(m.cold)/float64(max(cpu, time.Microsecond)))
		m.b.ReportMetric(float64(cpu.Microseconds())/1000, strings.ReplaceAll(what, " ", "-")+"-cpu-ms")
	}
	fmt.Printf("%-34s %8.2fs %8.4fs %9s %9s  %s\n", what, wall.Seconds(), cpu.Seconds(), ofCold, peak, requests)
}

// floor decrypts all files with the sops library.
func (m *measured) floor() {
	must(m.b, os.Setenv("SOPS_AGE_KEY", m.key.Private())) // where the library looks
	defer os.Unsetenv("SOPS_AGE_KEY")
	began, before := time.Now(), own(m.b)
	for i := range m.n {
		content, err := os.ReadFile(filepath.Join(m.work, m.folder(i%m.parts), nameOf(i)+".yaml"))
		must(m.b, err)
		_, err = decrypt.DataWithFormat(content, formats.Yaml)
		must(m.b, err)
	}
	m.print("sops alone", time.Since(began), own(m.b)-before, "", "")
}

func (m *measured) createPlain() {
	for part := range m.parts {
		must(m.b, m.admin.Create(m.Context(), &v1alpha1.AuditSync{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: m.sync(part)}, Spec: v1alpha1.AuditSyncSpec{
			Source:       v1alpha1.Source{URL: m.url, Ref: &v1alpha1.Ref{Branch: "main"}},
			Path:         "./" + m.folder(part),
			Interval:     &metav1.Duration{Duration: time.Hour},
			Decryption:   &v1alpha1.Decryption{SecretRef: v1alpha1.SecretRef{Name: "sops-keys"}},
			AuditConfigs: v1alpha1.AuditConfigs{Allow: []string{"mondooCredsSecretRef=mondoo-client"}},
		}}))
	}
}

func (m *measured) syncs() []v1alpha1.AuditSync {
	m.Helper()
	var list v1alpha1.AuditSyncList
	must(m.b, m.admin.List(m.Context(), &list, client.InNamespace(namespace)))
	return list.Items
}

// change edits all AuditSyncs, at the same time.
func (m *measured) change(edit func(*v1alpha1.AuditSync)) {
	m.Helper()
	var patches errgroup.Group
	for _, audit := range m.syncs() {
		before := audit.DeepCopy()
		edit(&audit)
		patches.Go(func() error { return m.admin.Patch(m.Context(), &audit, client.MergeFrom(before)) })
	}
	must(m.b, patches.Wait())
}

func (m *measured) untilApplied(commit string, cause func()) {
	m.Helper()
	cause()
	m.eventually(commit+" is applied", func() bool {
		return !slices.ContainsFunc(m.syncs(), func(a v1alpha1.AuditSync) bool { return !strings.HasSuffix(a.Status.LastAppliedRevision, commit) })
	})
}

// unrelated pushes commits one after the other. A poll finds each.
func (m *measured) unrelated() {
	for i := range pushes {
		m.untilApplied(m.push(map[string]string{"README.md": fmt.Sprintf("changed %d times\n", i+1)}), func() {})
	}
}

// pushed measures a change of some files.
func (m *measured) pushed(what string, files int) {
	commit := m.push(m.files(files))
	m.row(what, 1, func() {
		m.untilApplied(commit, func() {
			m.change(func(a *v1alpha1.AuditSync) {
				metav1.SetMetaDataAnnotation(&a.ObjectMeta, v1alpha1.AnnotationReconcile, commit)
			})
		})
	})
}

// rotate adds a key, so that everything has to be opened again.
func (m *measured) rotate() {
	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sops-keys"},
		StringData: map[string]string{"age.agekey": m.key.Private(), "next.agekey": sealtest.NewKey(m.b).Private()}}
	must(m.b, m.admin.Update(m.Context(), keys))
	m.request()
}

// untilPolled waits until the controller has asked the Git server so many times, and is idle again.
func (m *measured) untilPolled(times int) {
	for until := m.listings() + times; m.listings() < until; {
		time.Sleep(100 * time.Millisecond)
	}
	m.idle()
}

// listings counts the requests for the refs of the repository.
func (m *measured) listings() (n int) {
	for _, r := range m.server.Requests() {
		if r.Method == http.MethodGet && strings.Contains(r.Query, "git-upload-pack") {
			n++
		}
	}
	return n
}

// idle waits until the process has used next to no CPU for two seconds: it batches news for one.
func (m *measured) idle() {
	const window, next = 500 * time.Millisecond, 10 * time.Millisecond
	for quiet, last := 0, m.cpu(); quiet < 4; quiet++ {
		time.Sleep(window)
		now := m.cpu()
		if now-last > next {
			quiet = -1
		}
		last = now
	}
}

// requests counts the requests since a mark.
func (m *measured) requests(since server.Mark) string {
	m.Helper()
	list, err := m.plane.Requests(m.Context(), since, user)
	must(m.b, err)
	verbs := map[string]int{}
	for _, r := range list {
		if r.Verb != "watch" {
			verbs[r.Verb]++
		}
	}
	var parts []string
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		parts = append(parts, fmt.Sprintf("%s %d", verb, verbs[verb]))
	}
	return strings.Join(parts, ", ")
}

func (m *measured) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(m.program.PID()), file)
}

// cpu is what the process has used of it so far.
func (m *measured) cpu() time.Duration {
	m.Helper()
	stat, err := os.ReadFile(m.proc("stat"))
	must(m.b, err)
	const tick = time.Second / 100                                            // USER_HZ, the same on every Linux that Go runs on
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // proc(5): the third field and on
	var sum time.Duration
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		must(m.b, err)
		sum += time.Duration(n) * tick
	}
	return sum
}

func (m *measured) peak() string {
	m.Helper()
	status, err := os.ReadFile(m.proc("status"))
	must(m.b, err)
	kib, err := strconv.Atoi(strings.Fields(after(string(status), "VmHWM:"))[0])
	must(m.b, err)
	return fmt.Sprintf("%d MiB", kib>>10)
}

// own is the CPU that this process has used so far.
func own(b *testing.B) time.Duration {
	var usage syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func processor(b *testing.B) string {
	info, err := os.ReadFile("/proc/cpuinfo")
	must(b, err)
	line, _, _ := strings.Cut(after(string(info), "model name"), "\n")
	return strings.TrimLeft(line, "\t :")
}

func after(text, word string) string {
	_, rest, _ := strings.Cut(text, word)
	return rest
}
