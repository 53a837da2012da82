package gitsync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whatever is found on disk when the process starts, the next Fetch ends with the right content.
func TestDamageFoundAtStart(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	big := strings.Repeat("some text that packs well\n", 200)
	o.commit("main", map[string]string{"a/f": "1", "big": big})
	srv := serve(t, o)

	edit := func(change func(b []byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(t *testing.T, path string) {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	half := edit(func(b []byte) []byte { return b[:len(b)/2] })
	empty := edit(func([]byte) []byte { return nil })
	noise := edit(func(b []byte) []byte {
		for i := range b {
			b[i] ^= 0x5a
		}
		return b
	})
	replace := func(old, with string) func(*testing.T, string) {
		return edit(func(b []byte) []byte { return []byte(strings.Replace(string(b), old, with, 1)) })
	}

	for name, tc := range map[string]struct {
		files  string
		break_ func(*testing.T, string)
	}{
		"the pack is cut":                    {"store-*/*.pack", half},
		"the pack is empty":                  {"store-*/*.pack", empty},
		"the pack is noise":                  {"store-*/*.pack", noise},
		"the pack is gone":                   {"store-*/*.pack", remove},
		"the index is cut":                   {"store-*/*.idx", half},
		"the index is empty":                 {"store-*/*.idx", empty},
		"the index is noise":                 {"store-*/*.idx", noise},
		"the index is gone":                  {"store-*/*.idx", remove},
		"the store is gone":                  {"store-*", remove},
		"the state is cut":                   {"state.json", half},
		"the state is empty":                 {"state.json", empty},
		"the state is gone":                  {"state.json", remove},
		"the state is of another version":    {"state.json", replace(`"version": 1`, `"version": 2`)},
		"the state points out of the folder": {"state.json", replace(`"store": "`, `"store": "../`)},
		"the state's packs are out of it":    {"state.json", replace(`"pack-`, `"../pack-`)},
		"the state names no hash":            {"state.json", replace(`"commits": [`, `"commits": ["main",`)},
		"the state names a commit not there": {"state.json", replace(`"commits": [`, `"commits": ["`+strings.Repeat("ab", 20)+`",`)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, step := range []string{"first", "damaged"} {
				r := open(t, dir)
				s := fetch(t, r, Source{URL: srv.url})
				if content(t, s, "a/f") != "1" || content(t, s, "big") != big {
					t.Fatalf("%s: wrong content", step)
				}
				_ = s.Close()
				_ = r.Close()
				if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
					t.Errorf("%s: on disk: %v", step, left)
				}
				found, _ := filepath.Glob(filepath.Join(dir, tc.files))
				for _, path := range found {
					tc.break_(t, path)
				}
				if len(found) == 0 {
					t.Fatal("nothing to damage")
				}
			}
		})
	}
}

// Every single byte of pack and index is damaged once. The snapshot then has the right content or
// says that it is damaged; and the fetch after that has the right content.
func TestDamageOfEveryByte(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	base := strings.Repeat("a line of some length\n", 20)
	o.commit("main", map[string]string{"a/f": base, "b": base + "and one more", "c": "c"})
	srv := serve(t, o)
	dir := t.TempDir()
	fetch(t, open(t, dir), Source{URL: srv.url})
	files, _ := filepath.Glob(filepath.Join(dir, "store-*/pack-*"))
	if len(files) != 2 {
		t.Fatalf("found %v", files)
	}
	for _, path := range files {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			broken := append([]byte(nil), whole...)
			broken[i] ^= 0xff
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			checkDamaged(t, dir, path, i, base)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func checkDamaged(t *testing.T, dir, path string, at int, base string) {
	t.Helper()
	st := readState(dir)
	s, err := openStore(filepath.Join(dir, st.Store), st.Packs, Limits{}.withDefaults())
	if err != nil {
		return
	}
	defer s.release()
	c, err := s.load(t.Context(), hashes(st.Commits...)[0])
	if err == nil {
		var got []byte
		if got, err = newSnapshot(Revision{}, time.Time{}, s, c).files.ReadFile("b"); err == nil {
			if string(got) != base+"and one more" {
				t.Errorf("%s byte %d: wrong content passes", path, at)
			}
			return
		}
	}
	var damage *CorruptError
	if !errors.As(err, &damage) || !s.damaged.Load() {
		t.Errorf("%s byte %d: %v", path, at, err)
	}
}

func TestDamageFoundWhileReading(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	text := strings.Repeat("0123456789abcdef", 64)
	o.commit("main", map[string]string{"f": text})
	srv := serve(t, o)
	r := open(t, t.TempDir(), WithLimits(Limits{CacheBytes: 1}))
	s := fetch(t, r, Source{URL: srv.url})
	packs, _ := filepath.Glob(filepath.Join(r.dir, "store-*/*.pack"))
	f, err := os.OpenFile(packs[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := f.Stat()
	_, _ = f.WriteAt(make([]byte, info.Size()-12), 12)
	_ = f.Close()

	_, err = fs.ReadFile(s.FS(), "f")
	var damage *CorruptError
	var where *fs.PathError
	if !errors.As(err, &damage) || !errors.As(err, &where) || where.Path != "f" {
		t.Fatalf("got %v", err)
	}
	if healed := fetch(t, r, Source{URL: srv.url}); content(t, healed, "f") != text {
		t.Error("not healed")
	}
}

// A store that lost objects (an older pack) is completed by a clone when the next commit comes.
func TestIncompleteStoreIsReplaced(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"old": "old", "f": "1"})
	srv, r := serve(t, o), open(t, t.TempDir())
	fetch(t, r, Source{URL: srv.url})
	o.commit("main", map[string]string{"old": "old", "f": "2"})
	// The state claims the first commit, and its pack is one of something else.
	r.store.packs = nil
	if s := fetch(t, r, Source{URL: srv.url}); content(t, s, "old") != "old" {
		t.Error("not completed")
	}
}

func TestOpenLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"lost+found", "store-123", "state-456"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir)
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "lost+found" {
		t.Errorf("left: %v", left)
	}
	if _, err := Open(filepath.Join(dir, "lost+found", "a", "b")); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	_ = os.WriteFile(file, nil, 0o600)
	if _, err := Open(file); err == nil {
		t.Error("a file passes for a folder")
	}
}

const killedEnv = "MUSTER_TEST_FETCH_UNTIL_KILLED"

// The test binary runs itself as the process that is killed in the middle of a fetch.
func TestMain(m *testing.M) {
	if args := os.Getenv(killedEnv); args != "" {
		dir, url, _ := strings.Cut(args, " ")
		r, err := Open(dir)
		if err == nil {
			_, err = r.Fetch(context.Background(), Source{URL: url})
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	srv := serve(t, o)
	dir := t.TempDir()
	first := open(t, dir)
	fetch(t, first, Source{URL: srv.url})
	_ = first.Close()

	var long strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&long, "%x", i*i*7919)
	}
	o.commit("main", map[string]string{"f": long.String()})
	stuck := make(chan struct{}, 1)
	srv.answerWith(func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
		if r.Method == http.MethodPost {
			cut(w, r, backend, 1500)
			stuck <- struct{}{}
			<-r.Context().Done()
			return
		}
		backend.ServeHTTP(w, r)
	})
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedEnv+"="+dir+" "+srv.url)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-stuck
	incoming := func() []string {
		found, _ := filepath.Glob(filepath.Join(dir, "store-*", "incoming-*"))
		return found
	}
	for deadline := time.Now().Add(time.Minute); len(incoming()) == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(incoming()) == 0 {
		t.Fatal("the process was killed before it had written anything")
	}

	srv.answerWith(nil)
	r := open(t, dir)
	if left := incoming(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if s := fetch(t, r, Source{URL: srv.url}); content(t, s, "f") != long.String() {
		t.Error("wrong content")
	}
}
