// Package encrypt writes SOPS files by the creation rules of a repository. Package unseal does the opposite.
//
// A [Rule] is what the nearest .sops.yaml says about one file: recipients, and which values to encrypt. It encrypts plain text
// with the sops library, so that the sops command can edit the file afterwards. The package reads .sops.yaml from disk, because
// the library does, and writes nothing. Its errors never repeat plain text, or recipients, which may be anything.
package encrypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	sopslog "github.com/getsops/sops/v3/logging"
	sopsversion "github.com/getsops/sops/v3/version"
	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v3"

	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/recipient"
	"github.com/muster-gitops/muster/clusters/seal"
)

// maxConfig limits the size of a .sops.yaml, as clusters/compile does.
const maxConfig = 256 << 10

// quiet disables the logs of the sops library, which go to standard error.
var quiet = sync.OnceFunc(func() { sopslog.SetLevel(logrus.PanicLevel) })

// Rule is the creation rule for one file.
type Rule struct {
	// File is the path of the file in the repository, Config that of the .sops.yaml, and Line that of the rule in it.
	File, Config string
	Line         int
	// Recipients are those of the rule, to compare with a file's.
	Recipients recipient.Recipients

	sops   *config.Config
	stores *config.StoresConfig
}

// RuleError means that there is no usable rule for a file.
type RuleError struct {
	// File is the file to encrypt. Config is the .sops.yaml, or empty if there is none. Line is 0 if no line is at fault.
	File, Config string
	Line         int
	Reason, Fix  string
}

func (e *RuleError) Error() string {
	place := e.Config
	if e.Line > 0 {
		place = fmt.Sprintf("%s:%d", place, e.Line)
	}
	if place != "" {
		place = " by " + place
	}
	return fmt.Sprintf("encrypt %s%s: %s; %s", e.File, place, e.Reason, e.Fix)
}

// RuleFor returns the creation rule for a file, which need not exist, in the repository with this root folder. It looks for
// .sops.yaml in the folder of the file and above, as sops does, but not outside of the repository. The error is a *RuleError,
// or that of the file system.
func RuleFor(root, file string) (*Rule, error) {
	quiet()
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // only read
	name, data, err := nearest(dir.FS(), file)
	if err != nil {
		return nil, err
	}
	wrong := &RuleError{File: file, Config: name, Fix: "correct it"}
	parsed, err := recipient.ParseConfig(name, data)
	if bad, ok := errors.AsType[*recipient.ConfigError](err); ok {
		wrong.Line, wrong.Reason = bad.Line, bad.Reason
		return nil, wrong
	}
	rule, found := parsed.For(file)
	wrong.Line = rule.Line
	switch {
	case !found:
		wrong.Reason, wrong.Fix = "no creation rule has a path_regex that matches the file", "add a rule for it"
		return nil, wrong
	case rule.Empty():
		wrong.Reason, wrong.Fix = "the creation rule has no recipients", "add an age recipient, a PGP fingerprint, or a key of a key service"
		return nil, wrong
	}
	at := filepath.Join(root, filepath.FromSlash(name))
	r := &Rule{File: file, Config: name, Line: rule.Line, Recipients: rule.Recipients}
	r.sops, err = config.LoadCreationRuleForFile(at, filepath.Join(root, filepath.FromSlash(file)), nil)
	if err == nil && r.sops != nil {
		r.stores, err = config.LoadStoresConfig(at)
	}
	if err != nil || r.sops == nil { // the library's error may quote a recipient
		wrong.Reason, wrong.Fix = "sops rejects the creation rule", "check its recipients; sops encrypt FILE prints the cause"
		return nil, wrong
	}
	return r, nil
}

// nearest returns the path and content of the .sops.yaml for a file.
func nearest(repository fs.FS, file string) (string, []byte, error) {
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		name := path.Join(dir, recipient.ConfigName)
		info, err := fs.Lstat(repository, name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir == ".":
			return "", nil, &RuleError{File: file, Reason: "the repository has no .sops.yaml for it", Fix: "muster init writes one"}
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", nil, err
		case !info.Mode().IsRegular():
			return "", nil, &RuleError{File: file, Config: name, Reason: "it is not a regular file, and Muster does not follow symbolic links", Fix: "replace it with the file"}
		case info.Size() > maxConfig:
			return "", nil, &RuleError{File: file, Config: name, Reason: fmt.Sprintf("it is larger than %d KiB", maxConfig>>10), Fix: "remove rules"}
		default:
			data, err := fs.ReadFile(repository, name)
			return name, data, err
		}
	}
}

// Encrypt returns plain text as a SOPS file. Every field of secrets, given as mapping keys, is then encrypted in every document, or the error says
// that the rule leaves it readable. The ring has what recipients need: see keys.Ring.Encrypt. The error is a *RuleError.
func (r *Rule) Encrypt(plain []byte, secrets [][]string, ring *keys.Ring) (_ []byte, err error) {
	defer func() {
		if recover() != nil { // the panic's text may quote a value
			err = r.failed("the sops library panics on this file", "encrypt it with sops")
		}
	}()
	store := common.DefaultStoreForPath(r.stores, r.File)
	branches, err := store.LoadPlainFile(plain)
	switch {
	case err != nil || len(branches) == 0: // the error may quote a value
		return nil, r.failed("the file is empty, or not in the format of its name", "check it")
	case store.HasSopsTopLevelKey(branches[0]):
		return nil, r.failed("it is encrypted already, or has a field sops", "edit it with muster edit or sops edit")
	}
	tree := sops.Tree{Branches: branches, Metadata: r.metadata(), FilePath: r.File}
	key, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{ring})
	if len(errs) > 0 {
		return nil, r.recipientFailed(errs)
	}
	if common.EncryptTree(common.EncryptTreeOpts{Tree: &tree, Cipher: aes.NewCipher(), DataKey: key}) != nil {
		return nil, r.failed("sops can't encrypt a value", "check the file for values that YAML and sops can't represent")
	}
	sealed, err := store.EmitEncryptedFile(tree)
	if err != nil {
		return nil, r.failed("sops can't write the file", "encrypt it with sops, which prints the cause")
	}
	return sealed, r.checkHidden(sealed, secrets)
}

func (r *Rule) metadata() sops.Metadata {
	c := r.sops
	return sops.Metadata{KeyGroups: c.KeyGroups, ShamirThreshold: c.ShamirThreshold, UnencryptedSuffix: c.UnencryptedSuffix,
		EncryptedSuffix: c.EncryptedSuffix, UnencryptedRegex: c.UnencryptedRegex, EncryptedRegex: c.EncryptedRegex,
		UnencryptedCommentRegex: c.UnencryptedCommentRegex, EncryptedCommentRegex: c.EncryptedCommentRegex,
		MACOnlyEncrypted: c.MACOnlyEncrypted, Version: sopsversion.Version, LastModified: time.Now().UTC()}
}

// checkHidden makes sure that no secret is left readable.
func (r *Rule) checkHidden(sealed []byte, secrets [][]string) error {
	if len(secrets) == 0 {
		return nil
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(sealed)); ; {
		var document yaml.Node
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return r.failed("sops wrote a file that is not YAML", "encrypt it with sops")
		}
		for _, field := range secrets {
			if value := lookup(&document, field); value != nil && !seal.IsEncryptedValue(value.Value) {
				last := field[len(field)-1]
				return r.failed(strings.Join(field, ".")+" would stay readable", "add "+last+" to encrypted_regex of the rule")
			}
		}
	}
}

func lookup(n *yaml.Node, field []string) *yaml.Node {
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	for _, key := range field {
		var value *yaml.Node
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				value = n.Content[i+1]
			}
		}
		if n = value; n == nil {
			return nil
		}
	}
	return n
}

// recipientFailed reports the first recipient that the data key can't be encrypted for.
func (r *Rule) recipientFailed(errs []error) error {
	for _, err := range errs {
		if bad, ok := errors.AsType[*keys.RecipientError](err); ok {
			return r.failed("recipient "+recipient.Show(bad.Recipient)+": "+bad.Reason, bad.Fix)
		}
		if down, ok := errors.AsType[*keys.UnavailableError](err); ok {
			return r.failed(down.Error(), "try again later")
		}
	}
	return r.failed("sops can't split or encrypt the data key", "check key_groups and shamir_threshold of the rule")
}

func (r *Rule) failed(reason, fix string) error {
	return &RuleError{File: r.File, Config: r.Config, Line: r.Line, Reason: reason, Fix: fix}
}
