package recipient

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// maxConfig limits the size of a .sops.yaml, and maxConfigs that of all that are read. Each is parsed and kept, and a
// small repository can have a large one in every folder.
const (
	maxConfig  = 256 << 10
	maxConfigs = 4 << 20
)

// Configs finds the .sops.yaml files of a repository, and reads each of them once.
type Configs struct {
	repository fs.FS
	report     func(path string, bad *ConfigError)
	byDir      map[string]*Config
	read       int
}

// NewConfigs reads the .sops.yaml files of a repository. It calls report once for each that can't be used.
func NewConfigs(repository fs.FS, report func(path string, bad *ConfigError)) *Configs {
	return &Configs{repository: repository, report: report, byDir: map[string]*Config{}}
}

// Above returns the nearest .sops.yaml in a folder or above it. It returns nil if there is none, or if it can't be used.
func (c *Configs) Above(dir string) *Config {
	config, known := c.byDir[dir]
	if known {
		return config
	}
	config, err := c.in(dir)
	switch bad, _ := errors.AsType[*ConfigError](err); {
	case bad != nil:
		c.report(path.Join(dir, ConfigName), bad)
	case config == nil && dir != ".":
		config = c.Above(path.Dir(dir))
	}
	c.byDir[dir] = config
	return config
}

// in reads the .sops.yaml of a folder. It returns nil if there is none.
func (c *Configs) in(dir string) (*Config, error) {
	name := path.Join(dir, ConfigName)
	data, err := ReadConfig(c.repository, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // most folders have none
	}
	if err != nil {
		return nil, err
	}
	if c.read += len(data); c.read > maxConfigs {
		return nil, &ConfigError{0, fmt.Sprintf("the .sops.yaml files up to this one exceed %d MiB in total", maxConfigs>>20)}
	}
	return ParseConfig(name, data)
}

// ReadConfig reads a .sops.yaml of a repository within the limits. The error is fs.ErrNotExist or a *ConfigError.
func ReadConfig(repository fs.FS, name string) ([]byte, error) {
	info, err := fs.Lstat(repository, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fs.ErrNotExist
	case err != nil:
	case !info.Mode().IsRegular():
		return nil, &ConfigError{0, "this is not a regular file, and Muster does not follow symbolic links"}
	case info.Size() > maxConfig:
		return nil, &ConfigError{0, fmt.Sprintf("the file is larger than %d KiB", maxConfig>>10)}
	default:
		if data, err := fs.ReadFile(repository, name); err == nil {
			return data, nil
		}
	}
	return nil, &ConfigError{0, "the file can't be read from the repository"}
}
