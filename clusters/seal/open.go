package seal

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/cmd/sops/formats"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	sopslog "github.com/getsops/sops/v3/logging"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	yamlstore "github.com/getsops/sops/v3/stores/yaml"
	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
)

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

// Plain is an opened file. It only exists in memory.
type Plain struct {
	// values are the values of a file that was opened without the sops library, by place. They are nil for a file that the
	// library opened, which uses tree, store, branches and digests.
	values map[string]value
	// file is the encrypted file, and key its data key.
	file *load.File
	key  []byte
	// whole returns the plaintext file. Many clusters may use it, and they share one copy.
	whole func() (string, error)

	tree  sops.Tree
	store store
	// branches are the indexes in tree of load.File.Documents: sops keeps empty documents, load drops them.
	branches []int
	// digests are the digests of the encrypted values, by branch and keys.
	digests map[string]string
}

// store is the part of sops' store interface that Muster uses.
type store interface {
	LoadEncryptedFile(in []byte) (sops.Tree, error)
	EmitPlainFile(branches sops.TreeBranches) ([]byte, error)
}

// Open decrypts a file and verifies its MAC. It returns a finding instead of an error. If one value is at fault, the finding has
// its line.
func (o *Opener) Open(ctx context.Context, f *load.File) (plain *Plain, result *finding.Finding) {
	const restore = "restore the file from Git history, or encrypt the plaintext file again"
	problem := func(code finding.Code, message, fix string) *finding.Finding {
		line, column := f.Position(0, []string{"sops"})
		return &finding.Finding{Code: code, Severity: finding.Error, Path: f.Path, Line: line, Column: column, Message: message, Fix: fix}
	}
	defer func() {
		if recover() != nil { // the panic's text may quote a value
			plain, result = nil, problem(CodeSopsBlock, "the sops library panics on this file", restore)
		}
	}()
	st := storeFor(f.Data, config.NewStoresConfig())
	if st == nil {
		return nil, problem(CodeSopsBlock, "the file is not encrypted with SOPS", "encrypt it: sops --encrypt --in-place "+f.Path)
	}
	var key []byte
	if d := openable(f, st); d != nil {
		if m, err := metadata(d); err == nil {
			if hasLongRule(m) {
				return nil, problem(CodeSopsBlock, longRule, restore)
			}
			var failure *finding.Finding
			if key, failure = o.dataKey(ctx, &m, problem); failure != nil {
				return nil, failure
			}
			if values, err := decrypt(d, m, key, &o.rules); err == nil {
				return (&Plain{values: values, file: f, key: key}).cacheWhole(), nil
			}
		}
	}
	tree, err := st.LoadEncryptedFile([]byte(f.Data))
	switch {
	case err != nil:
		return nil, problem(CodeSopsBlock, "the sops block can't be read", restore)
	case hasLongRule(tree.Metadata):
		return nil, problem(CodeSopsBlock, longRule, restore)
	case work(tree) > maxWork:
		return nil, problem(CodeSopsBlock, "the file has too many nested values or comments for its encryption rule", "split it")
	}
	if key == nil {
		var failure *finding.Finding
		if key, failure = o.dataKey(ctx, &tree.Metadata, problem); failure != nil {
			return nil, failure
		}
	}
	sealed := digests(tree)
	mac, err := tree.Decrypt(key, aes.NewCipher())
	if err != nil {
		return nil, findBadValue(f, st, key)
	}
	if !sameMAC(tree.Metadata, key, mac) {
		return nil, problem(CodeTampered, "the MAC does not match: a value of the file was changed without sops",
			"edit encrypted files with sops; undo the change, or encrypt the plaintext file again")
	}
	return (&Plain{tree: tree, store: st, file: f, key: key, branches: branches(f), digests: sealed}).cacheWhole(), nil
}

func (p *Plain) cacheWhole() *Plain {
	p.whole = sync.OnceValues(func() (string, error) {
		data, err := p.emit()
		return string(data), err
	})
	return p
}

// dataKey recovers the data key of a file, or returns why it can't.
func (o *Opener) dataKey(ctx context.Context, m *sops.Metadata, problem func(finding.Code, string, string) *finding.Finding) ([]byte, *finding.Finding) {
	recipients := describeKeys(*m)
	if len(o.services) == 0 {
		return nil, problem(CodeNoKey, "no key was provided to decrypt this file, which is encrypted for "+recipients, "provide one of these keys")
	}
	services := make([]keyservice.KeyServiceClient, len(o.services))
	var tried attempts
	for i, s := range o.services {
		services[i] = boundService{KeyServiceClient: s, ctx: ctx, attempts: &tried}
	}
	key, err := m.GetDataKeyWithKeyServices(services, sops.DefaultDecryptionOrder)
	if err == nil {
		return key, nil
	}
	if ctx.Err() != nil {
		return nil, problem(CodeInterrupted, "decryption was interrupted", "")
	}
	verdict := keys.Verdict(tried.errs)
	var unavailable *keys.UnavailableError
	var refused *keys.RefusedError
	switch {
	case errors.As(verdict, &unavailable):
		return nil, problem(CodeUnavailable, "the key service at "+unavailable.Address+" is temporarily unavailable: "+unavailable.Reason, "")
	case tried.tooMany():
		return nil, problem(CodeSopsBlock, fmt.Sprintf("the file has too many keys; Muster tries %d of key services and %d in total", maxAsked, maxTried),
			"remove unused keys with sops updatekeys")
	case errors.As(verdict, &refused):
		return nil, problem(CodeRefused, "can't get the data key from "+refused.Recipient+": "+refused.Reason, refused.Fix)
	default:
		return nil, problem(CodeWrongKey, "no provided key opens this file, which is encrypted for "+recipients,
			"provide one of these keys, or add your key's recipient with sops updatekeys")
	}
}

// branches returns the indexes of a file's documents in its sops tree. They are empty for a file that load hasn't parsed as
// YAML.
func branches(f *load.File) []int {
	list := make([]int, len(f.Documents))
	for i, d := range f.Documents {
		list[i] = d.Index
	}
	return list
}

// digests returns the digests of the encrypted values of a tree before it is decrypted.
func digests(tree sops.Tree) map[string]string {
	all := map[string]string{}
	for i, branch := range tree.Branches {
		walk(branch, nil, nil, func(value string, keys, _ []string) bool {
			if IsEncryptedValue(value) {
				all[placeIn(i, keys)] = digest(value)
			}
			return true
		})
	}
	return all
}

func placeIn(branch int, keys []string) string { return fmt.Sprintf("%d %q", branch, keys) }

func sameMAC(m sops.Metadata, key []byte, computed string) bool {
	want, err := aes.NewCipher().Decrypt(m.MessageAuthenticationCode, key, m.LastModified.Format(time.RFC3339))
	return err == nil && computed != "" && want == computed
}

// findBadValue decrypts value by value to find the one at fault, because sops doesn't name it.
func findBadValue(f *load.File, st store, key []byte) *finding.Finding {
	problem := &finding.Finding{Code: CodeValue, Severity: finding.Error, Path: f.Path,
		Message: "a value can't be decrypted: it was changed, truncated, or moved here from another place",
		Fix:     "restore the value from Git history, or encrypt the plaintext file again"}
	tree, err := st.LoadEncryptedFile([]byte(f.Data))
	if err != nil {
		return problem
	}
	cipher := aes.NewCipher()
	for i, branch := range tree.Branches {
		walk(branch, nil, nil, func(value string, keys, aad []string) bool {
			if !strings.HasPrefix(value, "ENC[") {
				return true
			}
			if _, err := cipher.Decrypt(value, key, strings.Join(aad, ":")+":"); err != nil {
				problem.Line, problem.Column = f.Position(max(0, slices.Index(branches(f), i)), keys)
				problem.Message = strings.Replace(problem.Message, "a value", strings.Join(keys, "."), 1)
				return false
			}
			return true
		})
		if problem.Line != 0 {
			break
		}
	}
	return problem
}

// walk visits the strings below a value of a sops tree until visit returns false. keys is the path to the value in the form of
// Ref. aad is the path in sops' form, without list indexes.
func walk(v any, keys, aad []string, visit func(value string, keys, aad []string) bool) bool {
	switch v := v.(type) {
	case string:
		return visit(v, keys, aad)
	case sops.TreeBranch:
		for _, item := range v {
			key, ok := item.Key.(string)
			if ok && !walk(item.Value, append(slices.Clip(keys), key), append(slices.Clip(aad), key), visit) {
				return false
			}
		}
	case []any:
		i := 0
		for _, item := range v {
			if _, comment := item.(sops.Comment); comment {
				continue
			}
			if !walk(item, append(slices.Clip(keys), fmt.Sprintf("[%d]", i)), aad, visit) {
				return false
			}
			i++
		}
	}
	return true
}

// Value returns the plaintext that a handle replaces. It returns false if the file now has another encrypted value in that
// place, or if the file's own encryption rule keeps the value encrypted, because the MAC doesn't cover the rule.
func (p *Plain) Value(ref Ref) (string, bool) {
	text, ok := p.value(ref)
	return text, ok && !IsEncryptedValue(text)
}

func (p *Plain) value(ref Ref) (string, bool) {
	if len(ref.Keys) == 0 {
		text, err := p.whole()
		return text, err == nil
	}
	if p.values != nil {
		v, ok := p.values[place(ref.Keys)]
		same := ref.Digest == "" || ref.File != "" && ref.File == p.file.Hash || ref.Digest == digest(v.sealed)
		return v.plain, ok && ref.Document == 0 && same
	}
	branch := ref.Document
	if branch < len(p.branches) {
		branch = p.branches[branch]
	}
	if branch >= len(p.tree.Branches) || ref.Digest != "" && p.digests[placeIn(branch, ref.Keys)] != ref.Digest {
		return "", false
	}
	return lookup(p.tree.Branches[branch], ref.Keys)
}

func lookup(v any, keys []string) (string, bool) {
	if len(keys) == 0 {
		return scalarText(v)
	}
	switch v := v.(type) {
	case sops.TreeBranch:
		for _, item := range v {
			if item.Key == keys[0] {
				return lookup(item.Value, keys[1:])
			}
		}
	case []any:
		want, err := strconv.Atoi(strings.Trim(keys[0], "[]"))
		if err != nil {
			return "", false
		}
		for _, item := range v {
			if _, comment := item.(sops.Comment); comment {
				continue
			}
			if want == 0 {
				return lookup(item, keys[1:])
			}
			want--
		}
	}
	return "", false
}

// scalarText accepts text only. sops keeps the value of a number but not its form: after decryption, 0123 is 83, and 1.10 is
// 1.1.
func scalarText(v any) (string, bool) {
	text, ok := v.(string)
	return text, ok
}

// Bytes returns the whole plaintext file. It fails if the file's own encryption rule keeps a value encrypted.
func (p *Plain) Bytes() ([]byte, error) {
	text, err := p.whole()
	return []byte(text), err
}

func (p *Plain) emit() (data []byte, err error) {
	// The library's errors and panics can contain the values that it could not write.
	unwritable := errors.New("write the decrypted file: its format can't represent it")
	defer func() {
		if recover() != nil {
			data, err = nil, unwritable
		}
	}()
	tree, st := p.tree, p.store
	if p.values != nil {
		st = storeFor(p.file.Data, config.NewStoresConfig())
		if tree, err = p.load(st); err != nil {
			return nil, unwritable
		}
	}
	if data, err = st.EmitPlainFile(tree.Branches); err != nil || len(digests(tree)) > 0 {
		return nil, unwritable
	}
	return data, nil
}

// load decrypts the file again, in the given format.
func (p *Plain) load(st store) (sops.Tree, error) {
	tree, err := st.LoadEncryptedFile([]byte(p.file.Data))
	if err != nil {
		return tree, err
	}
	_, err = tree.Decrypt(p.key, aes.NewCipher())
	return tree, err
}

// Output returns the whole plaintext file as the command "sops decrypt" writes it: in the format of the file name, indented as
// in settings, which is the content of the .sops.yaml for the file, or nil. If sops can't write that, Output uses the format of
// the content.
func (p *Plain) Output(settings []byte) (data []byte, err error) {
	unwritable := errors.New("write the decrypted file: its format can't represent it")
	defer func() {
		if recover() != nil {
			data, err = nil, unwritable
		}
	}()
	stores, err := storesOf(settings)
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

// storesOf reads the output settings of a .sops.yaml. If it can't be read, it returns the defaults; another finding reports it.
func storesOf(settings []byte) (*config.StoresConfig, error) {
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

// Limits for one file. Each failing key of a key service is a request to a server, and a file has room for tens of thousands.
const (
	maxAsked = 50
	maxTried = 2000
)

// attempts are the failed attempts to recover a file's data key. The sops library drops the errors.
type attempts struct {
	errs         []error
	tried, asked int
}

func (a *attempts) tooMany() bool { return a.asked >= maxAsked || a.tried >= maxTried }

func (a *attempts) note(err error) {
	a.errs = append(a.errs, err)
	var refused *keys.RefusedError
	if errors.As(err, &refused) && (refused.Cause == keys.Denied || refused.Cause == keys.Rejected) || errors.As(err, new(*keys.UnavailableError)) {
		a.asked++
	}
}

// boundService ties a service to a context, because the sops library calls it with the background context, and to the limits of
// a file. It lives for one call of the library, so it may store a context.
type boundService struct {
	keyservice.KeyServiceClient
	ctx      context.Context //nolint:containedctx // see above
	attempts *attempts
}

func (b boundService) Decrypt(_ context.Context, req *keyservice.DecryptRequest, opts ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	if b.attempts.tooMany() {
		return nil, keys.ErrNoKeyFits
	}
	b.attempts.tried++
	answer, err := b.KeyServiceClient.Decrypt(b.ctx, req, opts...) //nolint:contextcheck // sops passes the background context
	if err != nil {
		b.attempts.note(err)
	}
	return answer, err
}

// describeKeys names the recipients of a file. They are public keys and addresses, which are plain in the file.
func describeKeys(m sops.Metadata) string {
	var names []string
	for _, group := range m.KeyGroups {
		for _, key := range group {
			names = append(names, key.TypeToIdentifier()+" "+key.ToString())
		}
	}
	switch {
	case len(names) == 0:
		return "no recipient"
	case len(names) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	default:
		return strings.Join(names, ", ")
	}
}

// IsEncrypted reports whether the content of a file is encrypted with SOPS, in any of its formats.
func IsEncrypted(data string) bool { return storeFor(data, &config.StoresConfig{}) != nil }

// storeFor detects the format from the content rather than the name, because a kubeconfig may have any name.
func storeFor(data string, stores *config.StoresConfig) store {
	trimmed := strings.TrimSpace(data)
	switch {
	case strings.HasPrefix(trimmed, "{") && strings.Contains(trimmed, `"sops"`) && stdjson.Valid([]byte(trimmed)):
		if isBinary(trimmed) {
			return json.NewBinaryStore(&stores.JSONBinary)
		}
		return json.NewStore(&stores.JSON)
	case sopsField.MatchString(data):
		return yamlstore.NewStore(&stores.YAML)
	case hasLine(data, "[sops]"):
		return ini.NewStore(&stores.INI)
	case isDotenv(data):
		return dotenv.NewStore(&stores.Dotenv)
	default:
		return nil
	}
}

// sopsField matches the field with sops' metadata in a YAML document: at the start of a line, or in a document in braces.
var sopsField = regexp.MustCompile(`(?m)^(["']?)sops["']?[ \t]*:|\A\s*\{(?s:.*)[{,\s]["']?sops["']?[ \t]*:`)

// isBinary reports whether a JSON file is in sops' format for unknown content: one value, "data".
func isBinary(data string) (binary bool) {
	defer func() {
		if recover() != nil { // Open can't load it either, and reports it
			binary = false
		}
	}()
	branches, err := json.NewStore(&config.JSONStoreConfig{}).LoadPlainFile([]byte(data))
	if err != nil || len(branches) != 1 {
		return false
	}
	for _, item := range branches[0] {
		if _, isText := item.Value.(string); item.Key != "sops" && (item.Key != "data" || !isText) {
			return false
		}
	}
	return true
}

func isDotenv(data string) bool { return hasLine(data, "sops_mac=") }

func hasLine(data, prefix string) bool {
	for line := range strings.Lines(data) {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}
