package seal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	yamlstore "github.com/getsops/sops/v3/stores/yaml"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
)

// locker encrypts files with the sops library, and opens them.
type locker struct {
	t        testing.TB
	identity *age.X25519Identity
	opener   *Opener
}

func newLocker(t testing.TB) *locker {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	ring := &keys.Ring{}
	if err := ring.AddAge("test", identity.String()); err != nil {
		t.Fatal(err)
	}
	return &locker{t, identity, NewOpener(ring)}
}

func (l *locker) encrypt(plain string, rule sops.Metadata) string {
	l.t.Helper()
	store := yamlstore.NewStore(&config.YAMLStoreConfig{})
	branches, err := store.LoadPlainFile([]byte(plain))
	if err != nil {
		l.t.Fatalf("%v\n%s", err, plain)
	}
	master, err := sopsage.MasterKeyFromRecipient(l.identity.Recipient().String())
	if err != nil {
		l.t.Fatal(err)
	}
	rule.KeyGroups, rule.Version, rule.LastModified = []sops.KeyGroup{{master}}, "3.13.3", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tree := sops.Tree{Branches: branches, Metadata: rule}
	key, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewLocalClient()})
	if len(errs) > 0 {
		l.t.Fatal(errs)
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(key, cipher)
	if err != nil {
		l.t.Fatal(err)
	}
	if tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, key, tree.Metadata.LastModified.Format(time.RFC3339)); err != nil {
		l.t.Fatal(err)
	}
	data, err := store.EmitEncryptedFile(tree)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(data)
}

func (l *locker) load(text string) *load.File {
	l.t.Helper()
	tree, err := load.Load(l.t.Context(), fstest.MapFS{"f/s.yaml": {Data: []byte(text)}}, "f", load.Limits{}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	f := tree.Files["f/s.yaml"]
	if f == nil {
		l.t.Fatalf("%v\n%s", tree.Findings, text)
	}
	return f
}

// quickly opens a file without the sops library's walk. It returns nil for a file that needs the library.
func (l *locker) quickly(f *load.File) map[string]value {
	l.t.Helper()
	d := openable(f, storeFor(f.Data, config.NewStoresConfig()))
	if d == nil {
		return nil
	}
	m, err := metadata(d)
	if err != nil {
		return nil
	}
	key, none := l.opener.dataKey(l.t.Context(), &m, func(finding.Code, string, string) *finding.Finding { return &finding.Finding{} })
	if none != nil {
		return nil
	}
	values, err := decrypt(d, m, key, &l.opener.rules)
	if err != nil {
		return nil
	}
	return values
}

// library opens a file with the sops library only. It returns nil if that fails.
func (l *locker) library(text string) (values map[string]string) {
	l.t.Helper()
	store := yamlstore.NewStore(&config.YAMLStoreConfig{})
	tree, err := store.LoadEncryptedFile([]byte(text))
	if err != nil {
		return nil
	}
	sealed := map[string]bool{}
	walk(tree.Branches[0], nil, nil, func(text string, keys, _ []string) bool {
		sealed[place(keys)] = IsEncryptedValue(text)
		return true
	})
	key, err := tree.Metadata.GetDataKeyWithKeyServices(l.opener.services, sops.DefaultDecryptionOrder)
	if err != nil {
		return nil
	}
	mac, err := tree.Decrypt(key, aes.NewCipher())
	if err != nil || !sameMAC(tree.Metadata, key, mac) {
		return nil
	}
	values = map[string]string{}
	walk(tree.Branches[0], nil, nil, func(text string, keys, _ []string) bool {
		if sealed[place(keys)] {
			values[place(keys)] = text
		}
		return true
	})
	return values
}

// document returns a random document with every JSON type, and comments.
func document(r *rand.Rand) string {
	var out strings.Builder
	out.WriteString("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
	scalars := []string{"plain text", `"quoted: yes"`, "42", "-1.5e3", "true", "null", "~", "''", "|\n      several\n      lines", `"\u00e9\t\n"`, "0x1F", "yes", "2026-01-01", "1_000", "ENC", "😀"}
	var mapping func(indent string, depth int)
	mapping = func(indent string, depth int) {
		for i := range 1 + r.IntN(4) {
			key := []string{"token", "data", "stringData", "name_unencrypted", "plain", "secret_enc", "list"}[r.IntN(7)] + fmt.Sprint(i)
			if r.IntN(4) == 0 {
				out.WriteString(indent + "# a comment\n")
			}
			switch kind := r.IntN(5); {
			case kind == 0 && depth < 3:
				out.WriteString(indent + key + ":\n")
				mapping(indent+"  ", depth+1)
			case kind == 1:
				out.WriteString(indent + key + ":\n")
				for range 1 + r.IntN(3) {
					out.WriteString(indent + "- " + strings.ReplaceAll(scalars[r.IntN(len(scalars))], "\n", "\n"+indent) + "\n")
				}
			default:
				out.WriteString(indent + key + ": " + strings.ReplaceAll(scalars[r.IntN(len(scalars))], "\n", "\n"+indent) + "\n")
			}
		}
	}
	out.WriteString("spec:\n")
	mapping("  ", 0)
	return out.String()
}

// TestQuickIsSops: what is opened without the sops library equals what the library opens, for each kind of rule. Of modified
// files, none is opened that the library refuses.
func TestQuickIsSops(t *testing.T) {
	const seeds = 60
	l := newLocker(t)
	for _, rule := range []sops.Metadata{
		{EncryptedRegex: "^(token|data)"}, {UnencryptedRegex: "^(plain|list)"}, {UnencryptedSuffix: "_unencrypted"}, {EncryptedSuffix: "_enc"}, {},
		{EncryptedRegex: "^(token|data)", MACOnlyEncrypted: true}, {UnencryptedCommentRegex: "comment"}, {EncryptedCommentRegex: "comment"},
		{EncryptedRegex: "^(spec)$"},
	} {
		usual := 0
		for seed := range uint64(seeds) {
			r := rand.New(rand.NewPCG(seed, 1))
			text := l.encrypt(document(r), rule)
			want := l.library(text)
			if want == nil {
				t.Fatalf("%d: the library can't open what it has encrypted\n%s", seed, text)
			}
			tree, err := load.Load(t.Context(), fstest.MapFS{"f/s.yaml": {Data: []byte(text)}}, "f", load.Limits{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			f := tree.Files["f/s.yaml"]
			if f == nil {
				continue // encrypted as a whole
			}
			if got := l.quickly(f); got != nil {
				usual++
				compareValues(t, got, want, text)
			}
			for range 5 {
				changed := tamper(r, text)
				tree, err := load.Load(t.Context(), fstest.MapFS{"f/s.yaml": {Data: []byte(changed)}}, "f", load.Limits{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if f := tree.Files["f/s.yaml"]; f != nil {
					if got := l.quickly(f); got != nil {
						want := l.library(changed)
						if want == nil {
							t.Fatalf("opened what the library refuses:\n%s\nbefore:\n%s", changed, text)
						}
						compareValues(t, got, want, changed)
					}
				}
			}
		}
		if rule.EncryptedRegex == "^(token|data)" && usual < seeds/3 {
			t.Logf("%d of %d", usual, seeds)
			t.Error("the usual form is opened by the library, and this test says little")
		}
	}
}

func compareValues(t *testing.T, got map[string]value, want map[string]string, text string) {
	t.Helper()
	for at, v := range got {
		if want[at] != v.plain {
			t.Errorf("%q: %q, and the library has %q\n%s", at, v.plain, want[at], text)
		}
	}
	for at := range want {
		if _, ok := got[at]; !ok {
			t.Errorf("%q is missing\n%s", at, text)
		}
	}
}

// tamper modifies a file as an attacker without keys can: it swaps, repeats, removes or alters lines.
func tamper(r *rand.Rand, text string) string {
	lines := strings.Split(text, "\n")
	i, j := r.IntN(len(lines)), r.IntN(len(lines))
	switch r.IntN(6) {
	case 0:
		lines[i], lines[j] = lines[j], lines[i]
	case 1:
		lines[i] = lines[j]
	case 2:
		lines = append(lines[:i:i], lines[i+1:]...)
	case 3:
		if k := strings.Index(lines[i], ": "); k > 0 {
			lines[i] = lines[i][:k+2] + "other"
		}
	case 4:
		if k := r.IntN(len(lines[i]) + 1); k < len(lines[i]) {
			lines[i] = lines[i][:k] + "x" + lines[i][k+1:]
		}
	default:
		for k := range lines { // another rule
			lines[k] = strings.Replace(lines[k], "encrypted_regex: ^(token|data)", "encrypted_regex: ^(token)", 1)
		}
	}
	return strings.Join(lines, "\n")
}

// TestSealedTextIsTheText: kustomize sees every plain text of an encrypted file unchanged.
func TestSealedTextIsTheText(t *testing.T) {
	l := newLocker(t)
	for _, written := range []string{`"a\x7fb"`, `"a\x85b"`, `"a\u0085  b"`, `"a\x80b"`, `"a\uFFFEb"`, `"a\uFEFFb"`, `"a\u2028b"`, `"\0"`, `"<&>'\"\\"`, "yes", "0x1F", ".inf", "~", "2026-01-01"} {
		text := l.encrypt("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nnote: x\ntoken: x\n", sops.Metadata{EncryptedRegex: "^token$"})
		text = strings.Replace(text, "note: x", "note: "+written, 1)
		tree, err := load.Load(t.Context(), fstest.MapFS{"f/s.yaml": {Data: []byte(text)}}, "f", load.Limits{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var raw, sealed map[string]any
		if err := yaml.Unmarshal([]byte(text), &raw); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(NewSealer().Seal(tree, nil).Content["f/s.yaml"], &sealed); err != nil {
			t.Errorf("%s: %v", written, err)
		} else if !reflect.DeepEqual(raw["note"], sealed["note"]) {
			t.Errorf("%s: %#v in the file, %#v in what kustomize sees", written, raw["note"], sealed["note"])
		}
	}
}

// TestQuickRefusesWhatSopsRefuses: line breaks within an encrypted value, which base64 ignores and sops doesn't.
func TestQuickRefusesWhatSopsRefuses(t *testing.T) {
	l := newLocker(t)
	text := l.encrypt("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntoken: secretvalue\n", sops.Metadata{EncryptedRegex: "^token$"})
	sealed, _, _ := strings.Cut(text[strings.Index(text, "token: ")+len("token: "):], "\n")
	for _, changed := range []string{
		strings.Replace(text, "token: "+sealed, "token: |-\n  "+sealed[:30]+"\n  "+sealed[30:], 1),
		strings.Replace(text, "token: "+sealed, `token: "`+sealed[:30]+`\r\n`+sealed[30:]+`"`, 1),
	} {
		if l.library(changed) != nil {
			t.Fatal("the library takes it")
		}
		if l.quickly(l.load(changed)) != nil {
			t.Errorf("opened what the library refuses:\n%s", changed)
		}
	}
}

// answering is a key service that answers with an error.
type answering struct{ err error }

func (a answering) Decrypt(context.Context, *keyservice.DecryptRequest, ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	return nil, a.err
}

func (a answering) Encrypt(context.Context, *keyservice.EncryptRequest, ...grpc.CallOption) (*keyservice.EncryptResponse, error) {
	return nil, errors.ErrUnsupported
}

// TestVerdicts: the reason why no key service returns the key is distinguished from a file for other keys, and each service is
// asked once.
func TestVerdicts(t *testing.T) {
	l := newLocker(t)
	f := l.load(l.encrypt("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntoken: x\n", sops.Metadata{EncryptedRegex: "^token$"}))
	for _, row := range []struct {
		reason string
		errs   []error
		code   finding.Code
		text   string
	}{
		{"nobody fits", []error{keys.ErrNoKeyFits}, CodeWrongKey, "no provided key opens"},
		{"a server that is down", []error{&keys.UnavailableError{Address: "https://vault.example.com", Reason: "time-out"}}, CodeUnavailable, "https://vault.example.com is temporarily unavailable: time-out"},
		{"down, and another does not fit", []error{keys.ErrNoKeyFits, &keys.UnavailableError{Address: "a", Reason: "b"}}, CodeUnavailable, "temporarily unavailable"},
		{"refused", []error{&keys.RefusedError{Recipient: "arn:aws:kms:x", Cause: keys.NotAllowed, Reason: "not allowed", Fix: "allow it"}}, CodeRefused, "can't get the data key from arn:aws:kms:x: not allowed"},
		{"refused, and another is down", []error{&keys.RefusedError{Reason: "r"}, &keys.UnavailableError{Address: "a", Reason: "b"}}, CodeUnavailable, "temporarily unavailable"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			var services []keyservice.KeyServiceClient
			for _, err := range row.errs {
				services = append(services, answering{err})
			}
			_, bad := NewOpener(services...).Open(t.Context(), f)
			if bad == nil || bad.Code != row.code || !strings.Contains(bad.Message, row.text) || bad.Line == 0 {
				t.Errorf("%+v", bad)
			}
			if Temporary(bad.Code) != (row.code == CodeUnavailable) {
				t.Error("only an outage is temporary")
			}
		})
	}
}
