package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster-gitops/muster/clusters/keys"
)

// maxKeyFile bounds how much of a key is read from standard input.
const maxKeyFile = 1 << 20

// keyFlags are the keys that a command uses.
type keyFlags struct {
	files []string
	none  bool
	// remote allows files to name key services, which are then called with the user's own credentials.
	remote bool
}

func (k *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&k.files, "sops-key", nil, "`file` with age identities or an armored PGP private key without passphrase (gpg is never called); can be repeated; \"-\" is standard input")
	completeFiles(cmd, "sops-key")
	cmd.Flags().BoolVar(&k.remote, "remote-keys", false, "ask the key services that files name (Vault and clouds), at whatever address, with the credentials of your environment, as sops does; "+
		"only for repositories you trust")
}

func (k *keyFlags) addNone(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&k.none, "no-keys", false, "use no key at all, like the check of a pull request from a fork")
	exclude(cmd, "sops-key", "no-keys")
	exclude(cmd, "remote-keys", "no-keys")
}

// ring reads the keys and registers them with the redactor.
func (k *keyFlags) ring(s *shell) (*keys.Ring, error) {
	if k.none {
		return &keys.Ring{}, nil
	}
	env := keys.Environment{Getenv: s.env, ReadFile: os.ReadFile, ConfigDir: configDir(s.env)}
	ring, err := keys.FromEnvironment(env)
	if err != nil {
		return nil, fmt.Errorf("%w (from the environment; use --no-keys or an empty SOPS_AGE_KEY_FILE to ignore it)", err)
	}
	for _, file := range k.files {
		if err := addKey(ring, s, file); err != nil {
			return nil, err
		}
	}
	if k.remote {
		ring.AddAmbient(env)
	}
	s.redactor.Add(ring.Secrets()...)
	return ring, nil
}

func addKey(ring *keys.Ring, s *shell, file string) error {
	if file != "-" {
		return ring.AddFile(file)
	}
	text, err := io.ReadAll(io.LimitReader(s.stdin, maxKeyFile))
	if err != nil {
		return fmt.Errorf("read key from standard input: %w", err)
	}
	return ring.Add("standard input", string(text))
}

// configDir is the user's configuration folder where sops looks for it: XDG_CONFIG_HOME first, on every platform.
func configDir(env func(string) string) string {
	if dir := env("XDG_CONFIG_HOME"); dir != "" {
		return dir
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "" // no home directory, so no keys in it
	}
	return dir
}

// keyHint tells the user how to pass a key, for findings about files that were not decrypted.
func keyHint(env func(string) string) string {
	if env("SOPS_AGE_KEY_CMD") != "" {
		return `Muster does not run SOPS_AGE_KEY_CMD; set SOPS_AGE_KEY="$(command)", or use --sops-key FILE`
	}
	return "use --sops-key FILE, or set SOPS_AGE_KEY_FILE"
}
