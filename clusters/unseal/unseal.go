// Package unseal opens SOPS files with keys. Package seal does the opposite, and needs none.
//
// An Opener recovers the data key of one file at a time, verifies the MAC over the raw file as it is in Git, and returns the
// plaintext values as a Plain, or a finding. It opens the usual file, one YAML document, itself, in less than half of the time
// that the sops library takes, with the data key included in both (BenchmarkOpen prints library/ours: 2.2). Everything else, and
// every file that it can't open that way, goes to the library, so that the library alone rejects files.
//
// The package never writes plaintext anywhere, and never repeats errors of the sops library, which can quote values.
package unseal

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	sopslog "github.com/getsops/sops/v3/logging"
	"github.com/sirupsen/logrus"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
)

// Finding codes of this package. It also uses seal.CodeSopsBlock and seal.CodeTampered.
const (
	CodeNoKey       finding.Code = "sops-no-key"      // no key was provided
	CodeWrongKey    finding.Code = "sops-key"         // no provided key fits
	CodeRefused     finding.Code = "sops-refused"     // a key service may not be asked, or refuses
	CodeUnavailable finding.Code = "sops-unavailable" // a key service is temporarily unavailable
	CodeValue       finding.Code = "sops-value"       // an encrypted value can't be decrypted
	CodeInterrupted finding.Code = "sops-stopped"     // the run was cancelled
)

// Temporary reports whether a finding is temporary: opening the file again may succeed.
func Temporary(code finding.Code) bool { return code == CodeInterrupted || code == CodeUnavailable }

// quiet disables the logs of the sops library, which go to standard error and can contain values.
var quiet = sync.OnceFunc(func() { sopslog.SetLevel(logrus.PanicLevel) })

// Opener decrypts SOPS files with its key services. It is safe for concurrent use.
type Opener struct {
	services []keyservice.KeyServiceClient
	rules    rules
}

// NewOpener returns an Opener that asks the services for data keys, in order. Without services, every file gets a CodeNoKey
// finding.
func NewOpener(services ...keyservice.KeyServiceClient) *Opener {
	quiet()
	return &Opener{services: services}
}

const restore = "restore the file from Git history, or encrypt the plaintext file again"

// problem returns a finding at the sops block of a file.
func problem(f *load.File, code finding.Code, message, fix string) *finding.Finding {
	line, column := f.Position(0, []string{"sops"})
	return &finding.Finding{Code: code, Severity: finding.Error, Path: f.Path, Line: line, Column: column, Message: message, Fix: fix}
}

// Open decrypts a file and verifies its MAC. It returns a finding instead of an error. If one value is at fault, the finding has
// its line.
func (o *Opener) Open(ctx context.Context, f *load.File) (plain *Plain, result *finding.Finding) {
	defer func() {
		if recover() != nil { // the panic's text may quote a value
			plain, result = nil, problem(f, seal.CodeSopsBlock, "the sops library panics on this file", restore)
		}
	}()
	st := storeFor(f.Data, config.NewStoresConfig())
	if st == nil {
		return nil, problem(f, seal.CodeSopsBlock, "the file is not encrypted with SOPS", "encrypt it: sops --encrypt --in-place "+f.Path)
	}
	values, key, failure := o.openQuickly(ctx, f, st)
	switch {
	case failure != nil:
		return nil, failure
	case values != nil:
		return (&Plain{values: values, file: f, key: key}).cacheWhole(), nil
	default:
		return o.openWithLibrary(ctx, f, st, key)
	}
}

// openQuickly returns the values of a file that is in the usual form, or nil, and its data key if that is known.
func (o *Opener) openQuickly(ctx context.Context, f *load.File, st store) (map[string]value, []byte, *finding.Finding) {
	d := openable(f, st)
	if d == nil {
		return nil, nil, nil
	}
	m, err := metadata(d)
	switch {
	case err != nil:
		return nil, nil, nil
	case hasLongRule(m):
		return nil, nil, problem(f, seal.CodeSopsBlock, longRule, restore)
	}
	key, failure := o.dataKey(ctx, f, &m)
	if failure != nil {
		return nil, nil, failure
	}
	values, err := decrypt(d, m, key, &o.rules)
	if err != nil {
		return nil, key, nil
	}
	return values, key, nil
}

// openWithLibrary opens a file with the sops library. The data key is nil if it isn't known yet.
func (o *Opener) openWithLibrary(ctx context.Context, f *load.File, st store, key []byte) (*Plain, *finding.Finding) {
	tree, err := st.LoadEncryptedFile([]byte(f.Data))
	switch {
	case err != nil:
		return nil, problem(f, seal.CodeSopsBlock, "the sops block can't be read", restore)
	case hasLongRule(tree.Metadata):
		return nil, problem(f, seal.CodeSopsBlock, longRule, restore)
	case work(tree) > maxWork:
		return nil, problem(f, seal.CodeSopsBlock, "the file has too many nested values or comments for its encryption rule", "split it")
	}
	if key == nil {
		var failure *finding.Finding
		if key, failure = o.dataKey(ctx, f, &tree.Metadata); failure != nil {
			return nil, failure
		}
	}
	sealed := digests(tree)
	mac, err := tree.Decrypt(key, aes.NewCipher())
	if err != nil {
		return nil, findBadValue(f, st, key)
	}
	if !sameMAC(tree.Metadata, key, mac) {
		return nil, problem(f, seal.CodeTampered, "the MAC does not match: a value of the file was changed without sops",
			"edit encrypted files with sops; undo the change, or encrypt the plaintext file again")
	}
	return (&Plain{tree: tree, store: st, file: f, key: key, branches: branches(f), digests: sealed}).cacheWhole(), nil
}

func sameMAC(m sops.Metadata, key []byte, computed string) bool {
	want, err := aes.NewCipher().Decrypt(m.MessageAuthenticationCode, key, m.LastModified.Format(time.RFC3339))
	return err == nil && computed != "" && want == computed
}

// findBadValue decrypts value by value to find the one at fault, because sops doesn't name it.
func findBadValue(f *load.File, st store, key []byte) *finding.Finding {
	bad := &finding.Finding{Code: CodeValue, Severity: finding.Error, Path: f.Path,
		Message: "a value can't be decrypted: it was changed, truncated, or moved here from another place",
		Fix:     "restore the value from Git history, or encrypt the plaintext file again"}
	tree, err := st.LoadEncryptedFile([]byte(f.Data))
	if err != nil {
		return bad
	}
	cipher := aes.NewCipher()
	for i, branch := range tree.Branches {
		walk(branch, nil, nil, func(value string, keys, aad []string) bool {
			if !strings.HasPrefix(value, "ENC[") {
				return true
			}
			if _, err := cipher.Decrypt(value, key, strings.Join(aad, ":")+":"); err != nil {
				bad.Line, bad.Column = f.Position(max(0, slices.Index(branches(f), i)), keys)
				bad.Message = strings.Replace(bad.Message, "a value", strings.Join(keys, "."), 1)
				return false
			}
			return true
		})
		if bad.Line != 0 {
			break
		}
	}
	return bad
}
