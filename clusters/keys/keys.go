// Package keys recovers SOPS data keys from keys held in memory.
//
// A Ring is a sops key service of Muster's own, for age and OpenPGP. Unlike the one in the sops library it reads no environment
// variable, no file and no agent, and starts no program: it knows the keys it was given and nothing else. FromSecret takes them from a
// Secret, with the names of data fields that Flux users know; FromEnvironment, for the command line alone, from where the
// sops command looks.
package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/getsops/sops/v3/keyservice"
	"google.golang.org/grpc"
)

// AgeSuffix marks the data fields of a decryption Secret that hold age identities.
const AgeSuffix = ".agekey"

// maxDataKey bounds what is read of a decrypted data key, which has 32 bytes.
const maxDataKey = 1 << 10

// Ring holds private keys. The zero value is an empty ring. It is not changed after it is built, and so may be used
// concurrently.
type Ring struct {
	age []age.Identity
	pgp pgpKeys
	// secrets are the texts of the keys, for the redactor.
	secrets []string
}

// ErrNoKeyFits is returned when no key of the ring decrypts a data key.
var ErrNoKeyFits = errors.New("no key of the ring fits")

// KeyError says that a given key can't be used. It never holds the key.
type KeyError struct {
	// Source is the file, environment variable or Secret field that the key came from.
	Source string
	Reason string
}

func (e *KeyError) Error() string { return fmt.Sprintf("read key from %s: %s", e.Source, e.Reason) }

// AddAge adds the age identities in text, one a line, with comments, as age-keygen writes them.
func (r *Ring) AddAge(source, text string) error {
	identities, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		// The library's error quotes the line it can't read, and that may be most of a key.
		return &KeyError{source, "it holds no age identity (a line that starts with AGE-SECRET-KEY-1)"}
	}
	r.age = append(r.age, identities...)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			r.secrets = append(r.secrets, line)
		}
	}
	return nil
}

// Add adds the keys in text, which are either age identities or armored PGP private keys.
func (r *Ring) Add(source, text string) error {
	isAge, isPGP := strings.Contains(text, "AGE-SECRET-KEY-"), strings.Contains(text, armorStart) || !utf8.ValidString(text)
	switch {
	case isAge && isPGP:
		return &KeyError{source, "it holds both age and PGP keys; put them into two files"}
	case isPGP:
		return r.AddPGP(source, text)
	case isAge:
		return r.AddAge(source, text)
	default:
		return &KeyError{source, "it holds no age identity (a line that starts with AGE-SECRET-KEY-1) and no armored PGP private key"}
	}
}

// Empty says whether the ring has no key.
func (r *Ring) Empty() bool { return len(r.age) == 0 && len(r.pgp) == 0 }

// Secrets are the texts of the keys, to be kept out of everything that leaves the process.
func (r *Ring) Secrets() []string { return slices.Clone(r.secrets) }

// FromSecret makes a ring of a Secret's data. Fields whose names end in ".agekey" hold age identities, those that end in
// ".asc" armored PGP private keys; a Secret without any such field is a *KeyError.
func FromSecret(name string, data map[string][]byte) (*Ring, error) {
	r := &Ring{}
	for _, field := range slices.Sorted(maps.Keys(data)) {
		source, text := fmt.Sprintf("Secret %s, field %s", name, field), string(data[field])
		var err error
		switch {
		case strings.HasSuffix(field, AgeSuffix):
			err = r.AddAge(source, text)
		case strings.HasSuffix(field, PGPSuffix):
			err = r.AddPGP(source, text)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.Empty() {
		return nil, &KeyError{"Secret " + name, "it has no field whose name ends in " + AgeSuffix + " or " + PGPSuffix}
	}
	return r, nil
}

// Environment is what FromEnvironment may look at.
type Environment struct {
	Getenv   func(string) string
	ReadFile func(string) ([]byte, error)
	// ConfigDir is the user's configuration folder, "" when unknown.
	ConfigDir string
}

// OSEnvironment is the process's own environment.
func OSEnvironment() Environment {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = ""
	}
	return Environment{Getenv: os.Getenv, ReadFile: os.ReadFile, ConfigDir: dir}
}

// FromEnvironment makes a ring of the age keys that the sops command would use: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, and
// sops/age/keys.txt in the user's configuration folder. Without any the ring is empty. PGP keys are not among them: sops would
// ask gpg for these.
func FromEnvironment(env Environment) (*Ring, error) {
	r := &Ring{}
	if text := env.Getenv("SOPS_AGE_KEY"); text != "" {
		if err := r.AddAge("SOPS_AGE_KEY", text); err != nil {
			return nil, err
		}
	}
	if file := env.Getenv("SOPS_AGE_KEY_FILE"); file != "" {
		if err := r.addAgeFile(env, file); err != nil {
			return nil, err
		}
	}
	if env.ConfigDir != "" {
		err := r.addAgeFile(env, filepath.Join(env.ConfigDir, "sops", "age", "keys.txt"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return r, nil
}

// AddFile adds the keys of a file, as Add does.
func (r *Ring) AddFile(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	return r.Add(file, string(data))
}

func (r *Ring) addAgeFile(env Environment, file string) error {
	data, err := env.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	return r.AddAge(file, string(data))
}

// Decrypt recovers a data key. It implements sops' keyservice.KeyServiceClient.
func (r *Ring) Decrypt(ctx context.Context, req *keyservice.DecryptRequest, _ ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var key []byte
	err := ErrNoKeyFits
	switch {
	case req.GetKey().GetAgeKey() != nil:
		key, err = r.decryptAge(req.GetCiphertext())
	case req.GetKey().GetPgpKey() != nil:
		key, err = r.pgp.decrypt(req.GetCiphertext())
	}
	if err != nil {
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: key}, nil
}

func (r *Ring) decryptAge(message []byte) ([]byte, error) {
	if len(r.age) == 0 {
		return nil, ErrNoKeyFits
	}
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(message)), r.age...)
	if err != nil {
		return nil, ErrNoKeyFits
	}
	return readDataKey(plain)
}

// readDataKey reads to the end, since only there it is known that a message was not changed.
func readDataKey(plain io.Reader) ([]byte, error) {
	key, err := io.ReadAll(io.LimitReader(plain, maxDataKey+1))
	if err != nil || len(key) > maxDataKey {
		return nil, ErrNoKeyFits
	}
	return key, nil
}

// Encrypt is there because the interface asks for it. Muster never encrypts.
func (r *Ring) Encrypt(context.Context, *keyservice.EncryptRequest, ...grpc.CallOption) (*keyservice.EncryptResponse, error) {
	return nil, errors.ErrUnsupported
}
