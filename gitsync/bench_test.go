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

func BenchmarkFetchOneChangeIn1000Files(b *testing.B) {
	o := newOrigin(b)
	files := manyFiles(1000)
	o.commit("main", files)
	src := Source{URL: serve(b, o).url}
	r := open(b, b.TempDir())
	for b.Loop() {
		b.StopTimer()
		files["changed"] += "x"
		o.commit("main", files)
		b.StartTimer()
		s, err := r.Fetch(b.Context(), src)
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
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
