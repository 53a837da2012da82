package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-gitops/muster/clusters/redact"
)

// The remover only removes what this program has made.
func TestRemoverIsCareful(t *testing.T) {
	other := filepath.Join(t.TempDir(), "work")
	check(t, os.Mkdir(other, 0o700))
	file := filepath.Join(t.TempDir(), privatePrefix+"file")
	check(t, os.WriteFile(file, nil, 0o600))
	link := filepath.Join(t.TempDir(), privatePrefix+"link")
	check(t, os.Symlink(other, link))
	none := func(string) string { return "" }
	for _, name := range []string{other, file, link, privatePrefix + "relative", ""} {
		var out, errs bytes.Buffer
		in := strings.NewReader(name + "\n")
		if name == "" {
			in = strings.NewReader("")
		}
		status := run(t.Context(), []string{removeCommand}, in, &out, &errs, none)
		if relative := name == privatePrefix+"relative"; (status != exitFailure) != relative { // there is no such folder
			t.Errorf("%q: status %d: %s", name, status, errs.String())
		}
	}
	for _, kept := range []string{other, file} {
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("%s was removed", kept)
		}
	}
	private := filepath.Join(t.TempDir(), privatePrefix+"1")
	check(t, os.Mkdir(private, 0o700))
	check(t, os.WriteFile(filepath.Join(private, "x.yaml"), nil, 0o600))
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{removeCommand}, strings.NewReader(private+"\n"), &out, &errs, none); status != exitOK {
		t.Errorf("status %d: %s", status, errs.String())
	}
	if _, err := os.Stat(private); err == nil {
		t.Error("the private folder is still there")
	}
}

func TestPrivateFolderOnDisk(t *testing.T) {
	disk, memory := t.TempDir(), t.TempDir()
	var errs bytes.Buffer
	s := &shell{stderr: &errs, redactor: &redact.Redactor{}, env: func(name string) string { return map[string]string{"TMPDIR": disk}[name] }}
	for _, test := range []struct {
		reason   string
		inMemory []string
		want     string
		warned   bool
	}{
		{"in memory", []string{memory}, memory, false},
		{"the first that exists", []string{"", "/nonexistent", memory}, memory, false},
		{"on disk", []string{"", "/nonexistent"}, disk, true},
	} {
		errs.Reset()
		path, err := s.makePrivateFolder(test.inMemory...)
		check(t, err)
		info, err := os.Stat(path)
		check(t, err)
		if filepath.Dir(path) != test.want || info.Mode().Perm() != 0o700 || strings.Contains(errs.String(), "on disk while you edit") != test.warned {
			t.Errorf("%s: %s %s %q", test.reason, path, info.Mode(), errs.String())
		}
	}
}

// Vim would keep copies of the text where its user's settings say.
func TestEditorFor(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"vim.basic", "nvim", "nano"} {
		check(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o755))
	}
	check(t, os.Symlink("vim.basic", filepath.Join(bin, "vi")))
	t.Setenv("PATH", bin)
	const quiet = " -n -i NONE -c set nobackup nowritebackup noundofile"
	for _, test := range []struct {
		env  map[string]string
		want string
	}{
		{nil, "vi" + quiet},
		{map[string]string{"EDITOR": "nano"}, "nano"},
		{map[string]string{"EDITOR": "nano", "VISUAL": "nvim -p"}, "nvim -p" + quiet},
		{map[string]string{"EDITOR": "nano", "VISUAL": "nvim", "SOPS_EDITOR": "code --wait"}, "code --wait"},
		{map[string]string{"EDITOR": " "}, "vi" + quiet},
	} {
		got, err := editorFor(func(name string) string { return test.env[name] }, true)
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%v: %q, %v", test.env, got, err)
		}
	}
	if got, err := editorFor(func(string) string { return "" }, false); err == nil {
		t.Errorf("%q would print the plain text without a terminal", got)
	}
	if got, err := editorFor(func(string) string { return "nano" }, false); err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
