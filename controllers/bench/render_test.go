package bench_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/decrypt"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/unseal"
	"github.com/muster-gitops/muster/gitsync"
)

// The measuring process reads from its environment what to measure, and requests changes on its standard output.
const (
	childURL   = "MUSTER_BENCH_URL"
	childKey   = "MUSTER_BENCH_KEY"
	childFiles = "MUSTER_BENCH_FILES"

	askUnrelated = "change what is not below the path"
	askOne       = "change one cluster file"
)

func TestMain(m *testing.M) {
	if os.Getenv(childURL) == "" {
		os.Exit(m.Run())
	}
	if err := child(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// renderer is the controller's state for one AuditSync.
type renderer struct {
	repository *gitsync.Repository
	pipeline   *clusters.Pipeline
	opener     *unseal.Opener
	redactor   redact.Redactor
	now        time.Time
}

func child(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	ring := &keys.Ring{}
	if err := ring.AddAge("benchmark", os.Getenv(childKey)); err != nil {
		return err
	}
	r := &renderer{pipeline: clusters.NewPipeline(), opener: unseal.NewOpener(ring), now: time.Now()}
	if r.repository, err = gitsync.Open(dir); err != nil {
		return err
	}
	var out result
	var former, opened *fleet.Opened
	answers := bufio.NewReader(os.Stdin)
	step := func(ask string) (fetch, render time.Duration, err error) {
		if ask != "" {
			fmt.Println(ask)
			if _, err := answers.ReadString('\n'); err != nil {
				return 0, 0, err
			}
		}
		former = opened
		opened, fetch, render, err = r.sync(ctx)
		return fetch, render, err
	}
	if out.Fetch, out.Cold, err = step(""); err != nil {
		return err
	}
	if _, out.Unchanged, err = step(askUnrelated); err != nil {
		return err
	}
	for i := range 2 * changes {
		list := &out.InARow
		if i < changes {
			list = &out.Changed
			runtime.GC()
		}
		_, render, err := step(askOne)
		if err != nil {
			return err
		}
		*list = append(*list, render)
	}
	slices.Sort(out.Changed)
	slices.Sort(out.InARow)
	runtime.GC()
	out.Plan = compare(former, opened)
	if out.PeakKiB, err = peak(); err != nil {
		return err
	}
	if out.Floor, err = floor(os.Getenv(childFiles)); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// sync fetches and renders the current commit.
func (r *renderer) sync(ctx context.Context) (opened *fleet.Opened, fetch, render time.Duration, err error) {
	began := time.Now()
	snapshot, err := r.repository.Fetch(ctx, gitsync.Source{URL: os.Getenv(childURL), Ref: gitsync.Ref{Branch: "main"}})
	if err != nil {
		return nil, 0, 0, err
	}
	defer snapshot.Close() //nolint:errcheck // only this process uses the cache
	fetch = time.Since(began)
	began = time.Now()
	sealed, err := r.pipeline.Compile(ctx, clusters.Source{FS: snapshot.FS(), Path: "fleet"}, compile.Options{Namespace: "mondoo-operator", Sync: "bench", Policy: policy.Policy{Allow: []string{"mondooCredsSecretRef=creds"}}}, r.opener)
	if err != nil {
		return nil, 0, 0, err
	}
	opened, err = r.pipeline.Open(ctx, sealed, r.opener, &r.redactor, r.now)
	render = time.Since(began)
	if err == nil && (len(opened.Findings) > 0 || len(opened.Secrets) == 0) {
		err = fmt.Errorf("%d Secrets, findings %v", len(opened.Secrets), opened.Findings[:min(3, len(opened.Findings))])
	}
	return opened, fetch, render, err
}

// compare plans a fleet for a management cluster that has the previous one.
func compare(former, opened *fleet.Opened) time.Duration {
	policy := plan.Policy{Revision: "x", Prune: true, CorrectDrift: true}
	p := plan.Compute(former, plan.Live{}, policy)
	live := plan.Live{AuditConfigs: map[string]map[string]any{}, Secrets: map[string]plan.LiveSecret{}, Inventories: p.After}
	for _, c := range p.Configs {
		live.AuditConfigs[c.Name] = c.Object
	}
	for _, s := range p.Secrets {
		live.Secrets[s.Name] = plan.LiveSecret{Type: s.Type, Labels: s.Labels, Annotations: s.Annotations, Data: bytesOf(s.Data)}
	}
	plan.Compute(former, live, policy)
	began := time.Now()
	plan.Compute(opened, live, policy)
	return time.Since(began)
}

// peak returns the peak memory of the process.
func peak() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == "VmHWM:" {
			return strconv.Atoi(string(fields[1]))
		}
	}
	return 0, errors.New("/proc/self/status has no VmHWM")
}

// floor decrypts every cluster file with the sops library, one after the other, and divides the time by the number of processors. Nothing
// that decrypts with that library can be faster.
func floor(dir string) (time.Duration, error) {
	names, err := filepath.Glob(filepath.Join(dir, "fleet", "cluster-*.yaml"))
	if err != nil {
		return 0, err
	}
	// The library reads its key from the environment of this process.
	if err := os.Setenv("SOPS_AGE_KEY", os.Getenv(childKey)); err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if _, err := decrypt.DataWithFormat(content, formats.Yaml); err != nil {
			return 0, err
		}
		sum += time.Since(began)
	}
	return sum / time.Duration(runtime.GOMAXPROCS(0)), nil
}

func bytesOf(data map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(data))
	for key, value := range data {
		out[key] = []byte(value)
	}
	return out
}
