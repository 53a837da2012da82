package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"filippo.io/age"
)

// key returns the file of the private key that opens the repository's files, as far as init knows it. Without recipients, it
// makes one.
func (f *initFlags) key(s *shell, repo *repository) (string, error) {
	config, err := fs.ReadFile(repo.fs, ".sops.yaml")
	if errors.Is(err, fs.ErrNotExist) && f.Recipients.Empty() {
		return f.makeKey(s, repo.root)
	}
	file := keyFile(s, repo.root)
	if err != nil || !f.Recipients.Empty() || file == "" || f.useKey(file) != nil || !strings.Contains(string(config), f.Recipients.Age[0]) {
		return "", nil //nolint:nilerr // no key of the last time
	}
	return file, nil
}

// keyFile is where the key of a repository is; empty if there is no place.
func keyFile(s *shell, root string) string {
	dir := configDir(s.env)
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "sops", "age", filepath.Base(root)+".agekey")
}

// makeKey makes an age key outside of the repository, or uses the one from the last time. It returns its file.
func (f *initFlags) makeKey(s *shell, root string) (string, error) {
	file := keyFile(s, root)
	if file == "" {
		return "", errors.New("there is no configuration folder for a new key (HOME is not set); give a recipient with --age")
	}
	inRepository := fmt.Errorf("a new key would be in the repository, at %s; set XDG_CONFIG_HOME, or give a recipient with --age", file)
	if inside(file, root) {
		return "", inRepository
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	s.redactor.Add(identity.String())
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	if inside(realPath(filepath.Dir(file)), realPath(root)) {
		return "", inRepository
	}
	text := fmt.Sprintf("# The key of the repository %s. Keep a copy: without it, nobody can open the files.\n# public key: %s\n%s\n", filepath.Base(root), identity.Recipient(), identity)
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return file, errors.Join(checkPrivate(file), f.useKey(file))
	}
	if err != nil {
		return "", fmt.Errorf("make a key: %w", err)
	}
	_, err = out.WriteString(text)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return "", fmt.Errorf("make a key: %w", errors.Join(err, os.Remove(file)))
	}
	f.Recipients.Age = []string{identity.Recipient().String()}
	return file, nil
}

func inside(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+string(filepath.Separator))
}

// realPath is the path without symbolic links, or as it is if it can't be resolved.
func realPath(name string) string {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		return target
	}
	return name
}

// checkPrivate rejects a key that other users of the machine can read. Windows has other permissions.
func checkPrivate(file string) error {
	info, err := os.Stat(file)
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("use key %s: other users can read it; make another one, or chmod 600 it if you trust them", file)
	}
	return nil // useKey reports an error
}

// useKey takes the recipient of a key that exists.
func (f *initFlags) useKey(file string) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	defer func() { _ = in.Close() }() // only read
	identities, err := age.ParseIdentities(io.LimitReader(in, maxKeyFile))
	if err == nil {
		if own, ok := identities[0].(*age.X25519Identity); ok {
			f.Recipients.Age = []string{own.Recipient().String()}
			return nil
		}
	}
	return fmt.Errorf("read key from %s: it has no age identity; move it away, or give a recipient with --age", file)
}
