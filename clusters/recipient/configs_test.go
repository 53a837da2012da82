package recipient_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/muster-gitops/muster/clusters/recipient"
)

func TestConfigs(t *testing.T) {
	const rule = "creation_rules: [{age: age1a}]\n"
	huge := rule + "#" + strings.Repeat("x", 256<<10)
	for _, test := range []struct {
		reason   string
		files    fstest.MapFS
		want     string // the path of the nearest one
		problems string
	}{
		{"in the folder", fstest.MapFS{".sops.yaml": file(rule), "a/b/.sops.yaml": file(rule)}, "a/b/.sops.yaml", ""},
		{"above", fstest.MapFS{".sops.yaml": file(rule), "a/.sops.yaml": file(rule)}, "a/.sops.yaml", ""},
		{"none", fstest.MapFS{"c/.sops.yaml": file(rule)}, "", ""},
		{"one that is broken hides those above", fstest.MapFS{".sops.yaml": file(rule), "a/.sops.yaml": file("x: [")}, "", "a/.sops.yaml:1 it is not YAML, or creation_rules is not a list"},
		{"a symbolic link", fstest.MapFS{".sops.yaml": &fstest.MapFile{Data: []byte("real"), Mode: fs.ModeSymlink}, "real": file(rule)}, "",
			".sops.yaml:0 this is not a regular file, and Muster does not follow symbolic links"},
		{"a folder", fstest.MapFS{"a/.sops.yaml/x": file(rule)}, "", "a/.sops.yaml:0 this is not a regular file, and Muster does not follow symbolic links"},
		{"too large", fstest.MapFS{".sops.yaml": file(huge)}, "", ".sops.yaml:0 the file is larger than 256 KiB"},
	} {
		var problems []string
		configs := recipient.NewConfigs(test.files, func(path string, bad *recipient.ConfigError) {
			problems = append(problems, fmt.Sprintf("%s:%d %s", path, bad.Line, bad.Reason))
		})
		for range 2 { // a problem is reported once
			got := ""
			if config := configs.Above("a/b"); config != nil {
				got = config.Path
			}
			if got != test.want {
				t.Errorf("%s: got %q, want %q", test.reason, got, test.want)
			}
		}
		if got := strings.Join(problems, ", "); got != test.problems {
			t.Errorf("%s: problems %q, want %q", test.reason, got, test.problems)
		}
	}
}

// TestManyConfigs: a small repository can have a large one in every folder.
func TestManyConfigs(t *testing.T) {
	large := "creation_rules: [{age: age1a}]\n#" + strings.Repeat("x", 250<<10)
	files, problems := fstest.MapFS{}, 0
	configs := recipient.NewConfigs(files, func(string, *recipient.ConfigError) { problems++ })
	for i := range 20 {
		dir := fmt.Sprint("d", i)
		files[dir+"/.sops.yaml"] = file(large)
		if config := configs.Above(dir); (config == nil) != (i >= 16) || problems != max(0, i-15) {
			t.Errorf("folder %d: %t, %d problems", i, config != nil, problems)
		}
	}
}

func TestReadConfigMissing(t *testing.T) {
	if _, err := recipient.ReadConfig(fstest.MapFS{}, ".sops.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
