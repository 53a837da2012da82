package kustomize

import (
	"encoding/json"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// workerEnv makes the test binary a worker of BenchmarkWorker.
const workerEnv = "MUSTER_TEST_KUSTOMIZE_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) == "" {
		os.Exit(m.Run())
	}
	if err := rpc.RegisterName("Worker", worker{}); err != nil {
		panic(err)
	}
	rpc.ServeConn(pipes{os.Stdin, os.Stdout})
}

type pipes struct {
	io.Reader
	io.WriteCloser
}

// unit builds a unit of cluster files.
type unit func(files map[string][]byte) ([]map[string]any, error)

// BenchmarkWorker compares kustomize in this process with kustomize in child processes, which could be given hard limits instead of
// the bound of refuseAmplified. It builds 1, 20 and 1,000 cluster files in units, once "here" and once in a "worker" for each
// processor. The files and the objects go through pipes. "start" starts a worker for one file. MiB/worker is the memory that one
// worker holds for itself after a unit of 50, where /proc tells it.
func BenchmarkWorker(b *testing.B) {
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			build, stop := startWorker(b)
			if _, err := build(fleetUnit(1)); err != nil {
				b.Fatal(err)
			}
			stop()
		}
	})
	for _, clusters := range []int{1, 20, 1000} {
		b.Run(fmt.Sprintf("%d-here", clusters), func(b *testing.B) {
			pool := make(chan unit, runtime.GOMAXPROCS(0))
			for range cap(pool) {
				pool <- buildHere
			}
			inUnits(b, clusters, pool)
		})
		b.Run(fmt.Sprintf("%d-worker", clusters), func(b *testing.B) {
			pool := make(chan unit, runtime.GOMAXPROCS(0))
			for range cap(pool) {
				build, stop := startWorker(b)
				defer stop()
				if _, err := build(fleetUnit(unitSize)); err != nil {
					b.Fatal(err)
				}
				pool <- build
			}
			inUnits(b, clusters, pool)
		})
	}
}

// inUnits builds a fleet in units, as many at a time as the pool has builders.
func inUnits(b *testing.B, clusters int, pool chan unit) {
	b.Helper()
	for b.Loop() {
		var running errgroup.Group
		for left := clusters; left > 0; left -= unitSize {
			build := <-pool
			running.Go(func() error {
				defer func() { pool <- build }()
				size := min(left, unitSize)
				objects, err := build(fleetUnit(size))
				if err == nil && len(objects) != size {
					err = fmt.Errorf("%d objects of %d files", len(objects), size)
				}
				return err
			})
		}
		if err := running.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

// fleetUnit is a unit as BenchmarkFleet of package clusters has them.
func fleetUnit(clusters int) map[string][]byte {
	files, list := map[string][]byte{}, make([]string, clusters)
	for i := range clusters {
		list[i] = fmt.Sprintf("c%d.yaml", i)
		files["f/"+list[i]] = []byte(clusterFile(fmt.Sprintf("c%d", i), "tier: a", "schedule: H * * * *, kubeconfig: a-handle-0123456789abcdef0123456789abcdef"))
	}
	files["f/kustomization.yaml"] = []byte("resources: [" + strings.Join(list, ", ") + "]\nlabels: [{pairs: {fleet: large}}]\npatches:\n- target: {kind: ExternalCluster}\n" +
		"  patch: |\n    - {op: add, path: /spec/containerImageScanning, value: true}\n")
	return files
}

func buildHere(files map[string][]byte) ([]map[string]any, error) {
	built, err := Kustomize(files, "f")
	objects, take := make([]map[string]any, len(built)), converter{texts: map[string]any{}}
	for i := 0; i < len(built) && err == nil; i++ {
		objects[i], err = take.object(built[i])
	}
	return objects, err
}

type worker struct{}

// Build answers a request. The objects are JSON.
func (worker) Build(files map[string][]byte, out *[]byte) error {
	objects, err := buildHere(files)
	if err == nil {
		*out, err = json.Marshal(objects)
	}
	return err
}

func startWorker(b *testing.B) (build unit, stop func()) {
	b.Helper()
	executable, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	command := exec.CommandContext(b.Context(), executable)
	command.Env, command.Stderr = []string{workerEnv + "=1"}, os.Stderr
	in, inErr := command.StdinPipe()
	out, outErr := command.StdoutPipe()
	if inErr != nil || outErr != nil || command.Start() != nil {
		b.Fatal(inErr, outErr)
	}
	client := rpc.NewClient(pipes{out, in})
	build = func(files map[string][]byte) (objects []map[string]any, err error) {
		var text []byte
		if err := client.Call("Worker.Build", files, &text); err != nil {
			return nil, err
		}
		err = json.Unmarshal(text, &objects)
		return objects, err
	}
	return build, func() {
		if held := heldBy(command.Process.Pid); held > 0 {
			b.ReportMetric(held, "MiB/worker")
		}
		_ = client.Close() // ends the worker
		_ = command.Wait()
	}
}

// heldBy returns the MiB of memory that a process shares with no other, or 0 where that is unknown.
func heldBy(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "RssAnon:")
	kib := 0
	_, err = fmt.Sscan(after, &kib)
	if err != nil {
		return 0
	}
	return float64(kib) / 1024
}
