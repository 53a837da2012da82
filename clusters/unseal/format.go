package unseal

import (
	"context"
	"errors"
	"fmt"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	yamlstore "github.com/getsops/sops/v3/stores/yaml"
	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

// store is the part of sops' store interface that Muster uses.
type store interface {
	LoadEncryptedFile(in []byte) (sops.Tree, error)
	EmitPlainFile(branches sops.TreeBranches) ([]byte, error)
}

// storeFor returns the format of a file's content, or nil if it isn't encrypted.
func storeFor(data string, stores *config.StoresConfig) store {
	switch seal.FormatOf(data) {
	case seal.YAML:
		return yamlstore.NewStore(&stores.YAML)
	case seal.JSON:
		return json.NewStore(&stores.JSON)
	case seal.Binary:
		return json.NewBinaryStore(&stores.JSONBinary)
	case seal.Dotenv:
		return dotenv.NewStore(&stores.Dotenv)
	case seal.INI:
		return ini.NewStore(&stores.INI)
	default:
		return nil
	}
}

// namedStore returns the format for a file name, as sops does.
func namedStore(name string, stores *config.StoresConfig) store {
	switch formats.FormatForPath(name) {
	case formats.Yaml:
		return yamlstore.NewStore(&stores.YAML)
	case formats.Json:
		return json.NewStore(&stores.JSON)
	case formats.Dotenv:
		return dotenv.NewStore(&stores.Dotenv)
	case formats.Ini:
		return ini.NewStore(&stores.INI)
	default:
		return json.NewBinaryStore(&stores.JSONBinary)
	}
}

// maxIndent is more than anyone needs. sops has no limit, and indents every line by that many blanks.
const maxIndent = 64

// Stores reads the output settings of a .sops.yaml. If it can't be read, it returns the defaults; another finding reports it.
func Stores(settings []byte) (*config.StoresConfig, error) {
	file := struct {
		Stores config.StoresConfig `yaml:"stores"`
	}{*config.NewStoresConfig()}
	if yaml.Unmarshal(settings, &file) != nil {
		return config.NewStoresConfig(), nil //nolint:nilerr // what sops can't read of its settings, it leaves as usual
	}
	s := &file.Stores
	if max(s.JSON.Indent, s.JSONBinary.Indent, s.YAML.Indent) > maxIndent {
		return nil, fmt.Errorf("write the decrypted file: .sops.yaml indents by more than %d", maxIndent)
	}
	return s, nil
}

// Decrypt returns a file as the command "sops decrypt" writes it: in the format of the file name, indented as in settings, which
// is the content of the .sops.yaml for the file, or nil. If sops can't write that, Decrypt uses the format of the content.
func (o *Opener) Decrypt(ctx context.Context, f *load.File, settings []byte) ([]byte, *finding.Finding) {
	plain, failure := o.Open(ctx, f)
	if failure != nil {
		return nil, failure
	}
	data, err := plain.output(settings)
	if err != nil {
		return nil, &finding.Finding{Code: seal.CodeSopsBlock, Path: f.Path, Message: "the decrypted file can't be written in its format",
			Fix: "check stores.*.indent in .sops.yaml, and the output of sops decrypt"}
	}
	return data, nil
}

func (p *Plain) output(settings []byte) (data []byte, err error) {
	unwritable := errors.New("write the decrypted file: its format can't represent it")
	defer func() {
		if recover() != nil {
			data, err = nil, unwritable
		}
	}()
	stores, err := Stores(settings)
	if err != nil {
		return nil, err
	}
	for _, st := range []store{namedStore(p.file.Path, stores), storeFor(p.file.Data, stores)} {
		tree, err := p.load(st)
		if err != nil {
			continue
		}
		if data, err := st.EmitPlainFile(tree.Branches); err == nil {
			return data, nil
		}
	}
	return nil, unwritable
}
