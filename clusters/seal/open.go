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

// quiet turns the logs of the sops library off: they go to standard error and can hold values.
var quiet = sync.OnceFunc(func() { sopslog.SetLevel(logrus.PanicLevel) })

// Opener decrypts SOPS files with the key services it is given. It may be used concurrently.
type Opener struct {
	services []keyservice.KeyServiceClient
	rules    rules
}

// NewOpener returns an Opener that asks the services, in order, for data keys. Without any, every file is a CodeNoKey
// finding.
func NewOpener(services ...keyservice.KeyServiceClient) *Opener {
	quiet()
	return &Opener{services: services}
}

// Plain is an opened file. It lives in memory alone.
type Plain struct {
	// values are those of a file that was opened without the sops library, by their place, and key is its data key. The rest is
	// for a file that the library opened.
	values map[string]value
	// file and key are those that it was opened from and with.
	file *load.File
	key  []byte
	// whole is the file in plain. Many clusters may name it, and all have the one text.
	whole func() (string, error)

	tree  sops.Tree
	store store
	// branches are the places in tree of load.File.Documents: sops keeps empty documents, load leaves them out.
	branches []int
	// digests are those of the encrypted values, by branch and keys.
	digests map[string]string
}

// store is the part of sops' stores that is used here.
type store interface {
	LoadEncryptedFile(in []byte) (sops.Tree, error)
	EmitPlainFile(branches sops.TreeBranches) ([]byte, error)
}

// Open decrypts a file and verifies its MAC. It returns no error: what keeps a file from being opened is a finding about
// that file, with the line of the value at fault where one value is.
func (o *Opener) Open(ctx context.Context, f *load.File) (plain *Plain, result *finding.Finding) {
	const mend = "restore the file from Git history, or encrypt the plain file again"
	bad := func(code finding.Code, message, fix string) *finding.Finding {
		line, column := f.Position(0, []string{"sops"})
		return &finding.Finding{Code: code, Severity: finding.Error, Path: f.Path, Line: line, Column: column, Message: message, Fix: fix}
	}
	defer func() {
		if recover() != nil { // what a library panics with may be a value
			plain, result = nil, bad(CodeSopsBlock, "the sops library fails on this file", mend)
		}
	}()
	st := storeFor(f.Data, config.NewStoresConfig())
	if st == nil {
		return nil, bad(CodeSopsBlock, "the file is not encrypted with SOPS", "encrypt it: sops --encrypt --in-place "+f.Path)
	}
	var key []byte
	if d := openable(f, st); d != nil {
		if m, err := metadata(d); err == nil {
			if hasLongRule(m) {
				return nil, bad(CodeSopsBlock, longRule, mend)
			}
			var none *finding.Finding
			if key, none = o.dataKey(ctx, &m, bad); none != nil {
				return nil, none
			}
			if values, err := decrypt(d, m, key, &o.rules); err == nil {
				return (&Plain{values: values, file: f, key: key}).remembering(), nil
			}
		}
	}
	tree, err := st.LoadEncryptedFile([]byte(f.Data))
	switch {
	case err != nil:
		return nil, bad(CodeSopsBlock, "the sops block can't be read", mend)
	case hasLongRule(tree.Metadata):
		return nil, bad(CodeSopsBlock, longRule, mend)
	case work(tree) > maxWork:
		return nil, bad(CodeSopsBlock, "the file has too many values, nested too deep or with too many comments, for its rule of what is encrypted", "split it")
	}
	if key == nil {
		var none *finding.Finding
		if key, none = o.dataKey(ctx, &tree.Metadata, bad); none != nil {
			return nil, none
		}
	}
	sealed := digests(tree)
	mac, err := tree.Decrypt(key, aes.NewCipher())
	if err != nil {
		return nil, findBadValue(f, st, key)
	}
	if !sameMAC(tree.Metadata, key, mac) {
		return nil, bad(CodeTampered, "the MAC does not match: a value of the file was changed without sops",
			"edit encrypted files with sops; undo the change, or encrypt the plain file again")
	}
	return (&Plain{tree: tree, store: st, file: f, key: key, branches: branches(f), digests: sealed}).remembering(), nil
}

func (p *Plain) remembering() *Plain {
	p.whole = sync.OnceValues(func() (string, error) {
		data, err := p.emit()
		return string(data), err
	})
	return p
}

// dataKey recovers the data key of a file, or says why it can't be had.
func (o *Opener) dataKey(ctx context.Context, m *sops.Metadata, bad func(finding.Code, string, string) *finding.Finding) ([]byte, *finding.Finding) {
	recipients := describeKeys(*m)
	if len(o.services) == 0 {
		return nil, bad(CodeNoKey, "no key was given to decrypt this file, which is encrypted for "+recipients, "give Muster one of these keys")
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
		return nil, bad(CodeInterrupted, "decryption was interrupted", "")
	}
	verdict := keys.Verdict(tried.errs)
	var unavailable *keys.UnavailableError
	var refused *keys.RefusedError
	switch {
	case errors.As(verdict, &unavailable):
		return nil, bad(CodeUnavailable, "the key service at "+unavailable.Address+" can't be asked for the file's key for now: "+unavailable.Reason, "")
	case tried.tooMany():
		return nil, bad(CodeSopsBlock, fmt.Sprintf("the file is encrypted for more keys than are tried for one file: %d of key services, %d in all", maxAsked, maxTried),
			"take out the keys that nobody needs any more, with sops updatekeys")
	case errors.As(verdict, &refused):
		return nil, bad(CodeRefused, "the file's key "+refused.Recipient+" is not to be had: "+refused.Reason, refused.Fix)
	default:
		return nil, bad(CodeWrongKey, "none of the given keys opens this file, which is encrypted for "+recipients,
			"give Muster one of these keys, or add its recipient with sops updatekeys")
	}
}

// branches are the places in a sops tree of a file's documents. A file that load hasn't read as YAML has none.
func branches(f *load.File) []int {
	list := make([]int, len(f.Documents))
	for i, d := range f.Documents {
		list[i] = d.Index
	}
	return list
}

// digests are those of the encrypted values of a tree before it is decrypted.
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

// findBadValue decrypts value by value to tell which one is at fault; sops itself only says that one is.
func findBadValue(f *load.File, st store, key []byte) *finding.Finding {
	bad := &finding.Finding{Code: CodeValue, Severity: finding.Error, Path: f.Path,
		Message: "a value can't be decrypted: it was changed, cut short, or moved here from another place",
		Fix:     "restore the value from Git history, or encrypt the plain file again"}
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

// walk visits the strings below a value of a sops tree until visit says no. keys is the way to the value as Ref has it; aad
// is sops' own, in which list indexes don't count.
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

// Value returns the plain value that a handle stands for. It gives none where the file has another encrypted value in that place than
// the one that was sealed, or where the file's own rule leaves it closed: the rule isn't under the MAC.
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

// scalarText takes text alone. sops keeps what a number is, and not how it was written: 0123 is 83 once it is decrypted, and 1.10 is 1.1.
func scalarText(v any) (string, bool) {
	text, ok := v.(string)
	return text, ok
}

// Bytes returns the whole file in plain, unless its own rule leaves a value closed.
func (p *Plain) Bytes() ([]byte, error) {
	text, err := p.whole()
	return []byte(text), err
}

func (p *Plain) emit() (data []byte, err error) {
	// The library's error can hold what it could not write, and so can its panics.
	unwritable := errors.New("write the decrypted file: not possible in its format")
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

// load decrypts the file once more, in a format.
func (p *Plain) load(st store) (sops.Tree, error) {
	tree, err := st.LoadEncryptedFile([]byte(p.file.Data))
	if err != nil {
		return tree, err
	}
	_, err = tree.Decrypt(p.key, aes.NewCipher())
	return tree, err
}

// Output returns the whole file as the command "sops decrypt" writes it: in the format that the name tells, with the indents that settings
// give, which is the content of the .sops.yaml for the file, or nil. What sops can't write so is in the format of the content.
func (p *Plain) Output(settings []byte) (data []byte, err error) {
	unwritable := errors.New("write the decrypted file: not possible in its format")
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

// namedStore tells the format from the name, as sops does.
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

// maxIndent is more than anybody indents by. sops itself has no limit, and writes as many blanks on every line.
const maxIndent = 64

// storesOf reads the part of a .sops.yaml that says how files are written. One that can't be read says nothing; a finding tells of it.
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

// What one file may make Muster try. Each key of a key service that does not open it is a request to a server, and a file has room for
// tens of thousands.
const (
	maxAsked = 50
	maxTried = 2000
)

// attempts are what became of a file's keys so far. The sops library drops the errors.
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

// boundService ties a service to a context, for the sops library calls it with the background context, and to the bounds of a file. It
// lives for one call to the library, which is why it may hold a context.
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
	answer, err := b.KeyServiceClient.Decrypt(b.ctx, req, opts...) //nolint:contextcheck // the caller's context says nothing
	if err != nil {
		b.attempts.note(err)
	}
	return answer, err
}

// describeKeys names the recipients of a file: public keys and addresses, which stand in the file in plain.
func describeKeys(m sops.Metadata) string {
	var names []string
	for _, group := range m.KeyGroups {
		for _, key := range group {
			names = append(names, key.TypeToIdentifier()+" "+key.ToString())
		}
	}
	switch {
	case len(names) == 0:
		return "nobody"
	case len(names) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	default:
		return strings.Join(names, ", ")
	}
}

// IsEncrypted says whether the content of a file is encrypted with SOPS, in whichever of its formats.
func IsEncrypted(data string) bool { return storeFor(data, &config.StoresConfig{}) != nil }

// storeFor tells the format from the content rather than from the name, since a kubeconfig may be called anything.
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

// sopsField matches the field of a YAML document that holds sops' metadata: at the beginning of a line, or in a document in braces.
var sopsField = regexp.MustCompile(`(?m)^(["']?)sops["']?[ \t]*:|\A\s*\{(?s:.*)[{,\s]["']?sops["']?[ \t]*:`)

// isBinary says whether a JSON file is what sops makes of content it knows no format for: one value, "data".
func isBinary(data string) (binary bool) {
	defer func() {
		if recover() != nil { // then it can't be loaded either, and Open says so
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
