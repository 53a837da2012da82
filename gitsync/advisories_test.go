package gitsync

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAdvisories repeats the attacks of advisories on Git clients. SECURITY.md lists them, and the tests that hold the others.
func TestAdvisories(t *testing.T) {
	t.Parallel()
	t.Run("CVE-2026-44309 and CVE-2026-45022", signedCommitWithTwoHeaders)
	t.Run("CVE-2026-71557", refThatClimbs)
	t.Run("CVE-2026-71556", linksInACircle)
	t.Run("CVE-2026-33762", damagedIndex)
}

// signedCommitWithTwoHeaders: a header is added to a signed commit. What is accepted as signed is the tree that git shows.
func signedCommitWithTwoHeaders(t *testing.T) {
	key, public := sshKey(t, "-t", "ed25519")
	evilKey, _ := sshKey(t, "-t", "ed25519")
	o := newOrigin(t)
	tree := func(content string) string { return o.hash("tree", rawTree("100644", "f", o.hash("blob", content))) }
	good, evil := tree("good"), tree("evil")
	text := strings.Replace(payload("signed"), "4b825dc642cb6eb9a060e54bf8d69288fbee4904", good, 1)
	signed, signature := with(text, sshSign(t, key, text, "-n", "git")), sshSign(t, evilKey, text, "-n", "git")
	header := "gpgsig " + strings.ReplaceAll(strings.TrimSpace(signature), "\n", "\n ") + "\n"
	url := serve(t, o).url
	for name, raw := range map[string]string{
		"another tree before":             "tree " + evil + "\n" + signed,
		"another tree after":              strings.Replace(signed, "\nauthor", "\ntree "+evil+"\nauthor", 1),
		"another tree at the end":         strings.Replace(signed, "\ngpgsig", "\ntree "+evil+"\ngpgsig", 1),
		"another tree behind a signature": strings.Replace(signed, "\n\n", "\ntree "+evil+"\n\n", 1),
		"another signature before":        strings.Replace(signed, "gpgsig ", header+"gpgsig ", 1),
		"another signature after":         strings.Replace(signed, "\n\n", "\n"+header+"\n", 1),
		"another signature, for SHA-256":  strings.Replace(signed, "gpgsig ", strings.Replace(header, "gpgsig", "gpgsig-sha256", 1)+"gpgsig ", 1),
	} {
		hash := o.hash("commit", raw)
		o.git("update-ref", "refs/heads/main", hash)
		s, err := open(t, t.TempDir()).Fetch(t.Context(), Source{URL: url, Ref: Ref{Branch: "main"}})
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		err = verify(t, map[string]string{"ada.pub": public}, s.Commit())
		if shown := content(t, s, "f"); err == nil && (shown != "good" || o.git("show", hash+":f") != "good") {
			t.Errorf("%s: %q is shown as signed, and git shows %q", name, shown, o.git("show", hash+":f"))
		}
		if strings.HasPrefix(name, "another tree") && err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// refThatClimbs: names of refs come from the server. Nothing is written under one.
func refThatClimbs(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", map[string]string{"f": "1"})
	srv := serve(t, o)
	srv.answerWith(func(w http.ResponseWriter, r *http.Request, backend http.Handler) {
		answer := httptest.NewRecorder()
		backend.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		_, _ = io.WriteString(w, strings.ReplaceAll(answer.Body.String(), "refs/heads/main", "refs/../../evil")) // as long as the name before
	})
	parent := t.TempDir()
	_, err := open(t, filepath.Join(parent, "a", "cache")).Fetch(t.Context(), Source{URL: srv.url})
	t.Logf("the fetch ends with %v", err)
	if err := fs.WalkDir(os.DirFS(parent), ".", func(path string, d fs.DirEntry, err error) error {
		if strings.Contains(path, "evil") || err == nil && !d.IsDir() && !strings.HasPrefix(path, "a/cache/") {
			t.Errorf("%s was written", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// linksInACircle: a link is never followed, so neither a circle nor a way out of the repository costs anything.
func linksInACircle(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", map[string]string{"a @120000": "b", "b @120000": "a", "self @120000": ".", "d/up @120000": "..", "root @120000": "/"})
	s := fetch(t, open(t, t.TempDir()), Source{URL: serve(t, o).url})
	for _, name := range []string{"a", "b", "self/self/d", "d/up/d/up/d", "root/etc/passwd"} {
		var link *SymlinkError
		if _, err := fs.ReadFile(s.FS(), name); !errors.As(err, &link) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := fs.ReadFile(s.FS(), "d/../../etc/passwd"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a way up: %v", err)
	}
}

// damagedIndex: an index that was cut, or announces more than it has, is an error. TestDamageOfEveryByte changes each byte.
func damagedIndex(t *testing.T) {
	o := newOrigin(t)
	o.commit("main", map[string]string{"a": "a", "b": "b"})
	dir := t.TempDir()
	fetch(t, open(t, dir), Source{URL: serve(t, o).url})
	files, err := filepath.Glob(filepath.Join(dir, "store-*/pack-*.idx"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	whole, err := os.ReadFile(files[0])
	ok(t, err)
	check := func(what string, damaged []byte) {
		t.Helper()
		ok(t, os.WriteFile(files[0], damaged, 0o600))
		var got *pack
		heap := peakHeap(func() {
			got, err = openPack(filepath.Dir(files[0]), strings.TrimSuffix(filepath.Base(files[0]), ".idx"), nil)
		})
		if err == nil {
			_ = got.file.Close()
			t.Errorf("%s: no error", what)
		}
		if heap > 64<<20 {
			t.Errorf("%s: %.1f MiB of heap", what, mib(int64(heap)))
		}
	}
	for n := 0; n < len(whole); n += 97 {
		check("cut", whole[:n])
	}
	inflated := append([]byte(nil), whole...)
	for i := range 1024 { // the table of counts follows 8 bytes of header
		inflated[8+i] = 0xff
	}
	check("four thousand million objects", inflated)
}
