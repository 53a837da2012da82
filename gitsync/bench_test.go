package gitsync

import (
	"io/fs"
	"testing"
)

func BenchmarkFetch1000Files(b *testing.B) {
	o := newOrigin(b)
	o.commit("main", manyFiles(1000))
	src := Source{URL: serve(b, o).url}
	for b.Loop() {
		r, err := Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		s, err := r.Fetch(b.Context(), src)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = s.Close(), r.Close()
	}
}

// A fetch into the store of earlier fetches, compared with what it would take without them: a clone at every change.
func BenchmarkFetchOneChangeIn1000Files(b *testing.B) {
	for name, maxPacks := range map[string]int{"added": defaultMaxPacks, "cloned": 1} {
		b.Run(name, func(b *testing.B) { fetchChanges(b, maxPacks) })
	}
}

func fetchChanges(b *testing.B, maxPacks int) {
	o := newOrigin(b)
	files := manyFiles(1000)
	o.commit("main", files)
	src := Source{URL: serve(b, o).url}
	r := open(b, b.TempDir(), withMaxPacks(maxPacks))
	fetch(b, r, src)
	stored := 0
	for b.Loop() {
		b.StopTimer()
		files["changed"] += "x"
		o.commit("main", files)
		b.StartTimer()
		s, err := r.Fetch(b.Context(), src)
		if err != nil {
			b.Fatal(err)
		}
		stored += int(r.store.packs[len(r.store.packs)-1].bytes)
		_ = s.Close()
	}
	b.ReportMetric(float64(stored)/float64(b.N), "stored-B/op")
}

func BenchmarkPoll(b *testing.B) {
	o := newOrigin(b)
	o.commit("main", manyFiles(1000))
	src := Source{URL: serve(b, o).url}
	r := open(b, b.TempDir())
	for b.Loop() {
		s, err := r.Fetch(b.Context(), src)
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

func BenchmarkRead1000Files(b *testing.B) {
	o := newOrigin(b)
	o.commit("main", manyFiles(1000))
	s := fetch(b, open(b, b.TempDir()), Source{URL: serve(b, o).url})
	for b.Loop() {
		err := fs.WalkDir(s.FS(), ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				_, err = fs.ReadFile(s.FS(), path)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWalk1000FilesWithHashes(b *testing.B) {
	o := newOrigin(b)
	o.commit("main", manyFiles(1000))
	s := fetch(b, open(b, b.TempDir()), Source{URL: serve(b, o).url})
	for b.Loop() {
		hashes := 0
		_ = fs.WalkDir(s.FS(), ".", func(_ string, d fs.DirEntry, _ error) error {
			if h, ok := d.(interface{ Hash() string }); ok {
				hashes += len(h.Hash())
			}
			return nil
		})
		if hashes == 0 {
			b.Fatal("no hashes")
		}
	}
}
