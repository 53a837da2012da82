package judge_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/judge"
	"github.com/muster-gitops/muster/clusters/plan"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/review"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

// BenchmarkReview judges a pull request that changes one file, at 100, 1,000 and 5,000 clusters with encrypted kubeconfigs. The
// base was rendered before. Rendering it costs what "base" says, once.
func BenchmarkReview(b *testing.B) {
	key := sealtest.NewKey(b)
	token := sealed(b, key, "NAME", "CANARY-token-of-a-cluster")
	for _, n := range []int{100, 1000, 5000} {
		base := map[string]string{"f/config.yaml": config}
		for i := range n {
			name := fmt.Sprintf("c%04d", i)
			base["f/"+name+".yaml"] = strings.ReplaceAll(token, "name: NAME", "name: "+name)
		}
		merged := with(base, "f/c0007.yaml", plain("c0007", "6 1 * * *"))
		opener, redactor := key.Opener(b), &redact.Redactor{}
		r := request(base, merged, review.Full, opener, redactor)
		r.Base, r.Merged = hashed(base), hashed(merged)
		opened := render(b, r.Base, r, opener, redactor)
		fresh := plan.Fresh(opened, nil)
		live := plan.Outcome(fresh, plan.Compute(opened, fresh, r.Policy))
		r.Live = &live
		b.Run(fmt.Sprintf("base/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := (&judge.Judge{}).Review(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
		j := &judge.Judge{}
		b.Run(fmt.Sprintf("one/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := j.Review(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// hashed is a tree with hashes, as that of Git.
func hashed(all map[string]string) fs.FS { return hashedFS{files(all).(fstest.MapFS)} }

type hashedFS struct{ fstest.MapFS }

func (h hashedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := h.MapFS.ReadDir(name)
	for i, e := range entries {
		entries[i] = hashedEntry{e, h.hash(strings.TrimPrefix(name+"/"+e.Name(), "./"))}
	}
	return entries, err
}

func (h hashedFS) Stat(name string) (fs.FileInfo, error) {
	info, err := h.MapFS.Stat(name)
	if err != nil {
		return nil, err
	}
	return hashedInfo{info, h.hash(name)}, nil
}

// hash identifies a file by its text, and a folder by its files.
func (h hashedFS) hash(name string) string {
	if f := h.MapFS[name]; f != nil {
		return fmt.Sprintf("%x", sha256.Sum256(f.Data))
	}
	sum := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(h.MapFS)) {
		if name == "." || strings.HasPrefix(path, name+"/") {
			fmt.Fprintf(sum, "%s %x\n", path, sha256.Sum256(h.MapFS[path].Data))
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

type hashedEntry struct {
	fs.DirEntry
	identity string
}

func (h hashedEntry) Hash() string { return h.identity }

type hashedInfo struct {
	fs.FileInfo
	identity string
}

func (h hashedInfo) Hash() string { return h.identity }
