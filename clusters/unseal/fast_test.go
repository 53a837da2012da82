package unseal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	"google.golang.org/grpc"

	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/keys"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/seal"
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
	values, _, failure := l.opener.openQuickly(l.t.Context(), f, storeFor(f.Data, config.NewStoresConfig()))
	if failure != nil {
		return nil
	}
	return values
}

// library opens a file with the sops library only. It returns nil if that fails.
func (l *locker) library(text string) (values map[string]string) {
	l.t.Helper()
	defer func() {
		if recover() != nil { // it does for a value of type:bytes
			values = nil
		}
	}()
	store := yamlstore.NewStore(&config.YAMLStoreConfig{})
	tree, err := store.LoadEncryptedFile([]byte(text))
	if err != nil {
		return nil
	}
	sealed := map[string]bool{}
	walk(tree.Branches[0], nil, nil, func(text string, keys, _ []string) bool {
		sealed[place(keys)] = seal.IsEncryptedValue(text)
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

// document returns a random document with every JSON type in block and flow style, nested lists, unusual keys, and comments.
func document(r *rand.Rand) string {
	var out strings.Builder
	out.WriteString("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
	scalars := []string{"plain text", `"quoted: yes"`, "42", "-1.5e3", "true", "null", "~", "''", "|\n      several\n      lines", `"\u00e9\t\n"`, "0x1F", "yes", "2026-01-01", "1_000", "ENC", "😀", "0o17", ".inf",
		"2026-01-01T00:00:00Z", "{}", "[]", "[a, [b, {token: c}], null, 7]", "{token: a, plain: {b: [c]}}", "'ENC[AES256_GCM,data: is how it starts'", ">-\n      folded\n      lines"}
	var mapping func(indent string, depth int)
	mapping = func(indent string, depth int) {
		for i := range 1 + r.IntN(4) {
			key := []string{"token%d", "data%d", "stringData%d", "name%d_unencrypted", "plain%d", "secret%d_enc", "list%d", `"with: colon %d"`, `"%d"`, `"é %d"`, "a.b-%d"}[r.IntN(11)]
			if key = fmt.Sprintf(key, i); i == 0 && r.IntN(8) == 0 {
				key = []string{"sops", `""`, "mac", `"true"`}[r.IntN(4)]
			}
			if r.IntN(4) == 0 {
				out.WriteString(indent + "# a comment\n")
			}
			switch kind := r.IntN(6); {
			case kind == 0 && depth < 3:
				out.WriteString(indent + key + ":\n")
				mapping(indent+"  ", depth+1)
			case kind == 1 && depth < 3:
				out.WriteString(indent + key + ":\n")
				for range 1 + r.IntN(2) {
					out.WriteString(indent + "-\n")
					mapping(indent+"  ", depth+1)
				}
			case kind == 2:
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

// TestQuickIsSops: what is opened without the sops library equals what the library opens, for each kind of rule. Everything else
// goes to the library: of unmodified and modified files, Open opens those that the library opens, and no others.
func TestQuickIsSops(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 10
	}
	l := newLocker(t)
	for _, rule := range []sops.Metadata{
		{EncryptedRegex: "^(token|data)"}, {UnencryptedRegex: "^(plain|list)"}, {UnencryptedSuffix: "_unencrypted"}, {EncryptedSuffix: "_enc"}, {},
		{EncryptedRegex: "^(token|data)", MACOnlyEncrypted: true}, {UnencryptedRegex: "^plain", MACOnlyEncrypted: true}, {MACOnlyEncrypted: true},
		{UnencryptedCommentRegex: "comment"}, {EncryptedCommentRegex: "comment"}, {EncryptedRegex: "^(spec)$"},
	} {
		usual, changes, refused := 0, 0, 0
		for seed := range uint64(seeds) {
			r := rand.New(rand.NewPCG(seed, 1))
			text := l.encrypt(document(r), rule)
			if l.library(text) == nil { // there are forms that it encrypts, but can't open
				refused++
			}
			if l.compare(text, "") {
				usual++
			}
			for range 5 {
				if changed := tamper(r, text); l.compare(changed, text) {
					changes++
				}
			}
		}
		if refused > seeds*3/4 {
			t.Errorf("%q %q: the library refuses %d of %d files that it has encrypted", rule.EncryptedRegex, rule.UnencryptedRegex, refused, seeds)
		}
		if rule.EncryptedRegex == "^(token|data)" && (usual < seeds/3 || changes == 0) {
			t.Errorf("%d of %d files and %d changed ones are opened without the library, so this test says little", usual, seeds, changes)
		}
	}
}

// compare opens a text in each way. It reports whether it was opened without the library. before is the text before a change.
func (l *locker) compare(text, before string) bool {
	l.t.Helper()
	tree, err := load.Load(l.t.Context(), fstest.MapFS{"f/s.yaml": {Data: []byte(text)}}, "f", load.Limits{}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	f := tree.Files["f/s.yaml"]
	if f == nil || !f.IsEncrypted() { // the whole file is encrypted, or refused, or isn't a SOPS file for anyone
		return false
	}
	want := l.library(text)
	if plain, bad := l.opener.Open(l.t.Context(), f); (plain == nil) != (want == nil) {
		l.t.Errorf("opened: %t, by the library: %t, %v\n%s\nbefore:\n%s", plain != nil, want != nil, bad, text, before)
	}
	got := l.quickly(f)
	if got == nil {
		return false
	}
	if want == nil {
		l.t.Fatalf("opened what the library refuses:\n%s\nbefore:\n%s", text, before)
	}
	compareValues(l.t, got, want, text)
	return true
}

func compareValues(t testing.TB, got map[string]value, want map[string]string, text string) {
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
	switch r.IntN(8) {
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
	case 5:
		forms := []string{",type:str]", ",type:int]", ",type:float]", ",type:bool]", ",type:bytes]", ",type:time]", ",type:comment]", ",type:str] ", ",tag:,type:str]"}
		lines[i] = strings.Replace(lines[i], ",type:str]", forms[r.IntN(len(forms))], 1)
	case 6:
		if key, value, ok := strings.Cut(lines[i], ": "); ok { // another way to write the value
			lines[i] = key + ": " + []string{`"` + value + `"`, "'" + value + "'", "!!str " + value, "!x " + value, "&a " + value, "{a: " + value + "}", "[" + value + "]", "|-\n          " + value, "null", `""`, value + " # note"}[r.IntN(11)]
		}
	default:
		for k := range lines { // another rule
			lines[k] = strings.Replace(lines[k], "encrypted_regex: ^(token|data)", "encrypted_regex: ^(token)", 1)
		}
	}
	return strings.Join(lines, "\n")
}

// TestUnusualForms: the library decides about what sops doesn't write, and about what Muster doesn't open itself.
func TestUnusualForms(t *testing.T) {
	l := newLocker(t)
	const plain = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nnote: plain\ntoken: secretvalue\n"
	rule := sops.Metadata{EncryptedRegex: "^token$"}
	text := l.encrypt(plain, rule)
	sealed, _, _ := strings.Cut(text[strings.Index(text, "token: ")+len("token: "):], "\n")
	replaced := func(old, changed string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("no %q in\n%s", old, text)
		}
		return strings.Replace(text, old, changed, 1)
	}
	for _, row := range []struct {
		reason, text string
		opens        bool
	}{
		{"as sops writes it", text, true},
		{"a line break in a value, which base64 ignores", replaced("token: "+sealed, "token: |-\n  "+sealed[:30]+"\n  "+sealed[30:]), false},
		{"a carriage return in a value", replaced("token: "+sealed, `token: "`+sealed[:30]+`\r\n`+sealed[30:]+`"`), false},
		{"Windows' line ends", strings.ReplaceAll(text, "\n", "\r\n"), true},
		{"a byte order mark", "\ufeff" + text, true},
		{"a number", l.encrypt(strings.Replace(plain, "secretvalue", "42", 1), rule), true},
		{"a truth", l.encrypt(strings.Replace(plain, "secretvalue", "true", 1), rule), true},
		{"a date", l.encrypt(strings.Replace(plain, "secretvalue", "2026-01-01", 1), rule), true},
		{"an empty value", l.encrypt(strings.Replace(plain, "secretvalue", "''", 1), rule), true},
		{"two documents", l.encrypt(plain+"---\n"+plain, rule), true},
		{"an empty document before it", l.encrypt("---\n# nothing\n---\n"+plain, rule), true},
		{"a plain value that looks encrypted", l.encrypt(strings.Replace(plain, "note: plain", "note: "+sealed, 1), rule), true},
		{"a merge key", replaced("note: plain", "note: {<<: {a: plain}}"), true},
		{"an alias", replaced("note: plain", "note: &a plain\nother: *a"), false},
		{"a key that is a number", replaced("note: plain", "1: plain"), false},
		{"a nonce of 12 bytes", replaced(sealed, sealed[:strings.Index(sealed, ",iv:")]+",iv:AAAAAAAAAAAAAAAA"+sealed[strings.Index(sealed, ",tag:"):]), false},
		{"two rules", replaced("encrypted_regex: ^token$", "encrypted_regex: ^token$\n    encrypted_suffix: n"), false},
		{"a rule that is no expression", replaced("encrypted_regex: ^token$", "encrypted_regex: ^token$("), false},
		{"a block that is a text", text[:strings.Index(text, "sops:")] + "sops: {mac: x}\n", false},
	} {
		if opened := l.library(row.text) != nil; opened != row.opens {
			t.Errorf("%s: the library opens it: %t", row.reason, opened)
		}
		if quick := l.compare(row.text, text); quick && !row.opens {
			t.Errorf("%s: opened without the library", row.reason)
		}
	}
}

// BenchmarkOpen opens a file with a kubeconfig of 5 KB, as load has parsed it, and with the sops library in the same run. It prints the
// time for each, and how often ours is in the library's.
func BenchmarkOpen(b *testing.B) {
	l := newLocker(b)
	f := l.load(l.encrypt("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  kubeconfig: |\n"+strings.Repeat("    a line of a kubeconfig or of a certificate in it\n", 100), sops.Metadata{EncryptedRegex: "^stringData$"}))
	if l.quickly(f) == nil {
		b.Fatal("the library opens it")
	}
	var ours, library time.Duration
	for b.Loop() {
		began := time.Now()
		if _, bad := l.opener.Open(b.Context(), f); bad != nil {
			b.Fatal(bad)
		}
		ours += time.Since(began)
		began = time.Now()
		if l.library(f.Data) == nil {
			b.Fatal("the library can't open it")
		}
		library += time.Since(began)
	}
	b.ReportMetric(float64(ours.Nanoseconds())/1000/float64(b.N), "µs/ours")
	b.ReportMetric(float64(library.Nanoseconds())/1000/float64(b.N), "µs/library")
	b.ReportMetric(float64(library)/float64(ours), "library/ours")
	b.ReportMetric(0, "ns/op")
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
