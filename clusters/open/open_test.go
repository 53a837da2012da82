package open_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/muster-gitops/muster/clusters"
	"github.com/muster-gitops/muster/clusters/compile"
	"github.com/muster-gitops/muster/clusters/finding"
	"github.com/muster-gitops/muster/clusters/fleet"
	"github.com/muster-gitops/muster/clusters/kustomize"
	"github.com/muster-gitops/muster/clusters/load"
	"github.com/muster-gitops/muster/clusters/mondoo"
	"github.com/muster-gitops/muster/clusters/open"
	"github.com/muster-gitops/muster/clusters/policy"
	"github.com/muster-gitops/muster/clusters/redact"
	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
	"github.com/muster-gitops/muster/clusters/unseal"
)

const (
	canary = "CANARYf5Rk8wPz"
	ca     = "-----BEGIN CERTIFICATE-----\nMIIBtDCCAVqgAwIBAgICA/8wCgYIKoZIzj0EAwIwQDEfMB0GA1UEChMWTXVzdGVy\nIGV4YW1wbGVzIChmYWtlKTEdMBsGA1UEAxMUc3RhZ2luZyBldS13ZXN0LTEgQ0Ew\nIBcNMjYwMTAxMDAwMDAwWhgPMjEyNjAxMDEwMDAwMDBaMEAxHzAdBgNVBAoTFk11\nc3RlciBleGFtcGxlcyAoZmFrZSkxHTAbBgNVBAMTFHN0YWdpbmcgZXUtd2VzdC0x\nIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKDUXhxejY4rp1IWhesJGxyBE\nwoHmaBc1DixDz/RKIUGO8CNsJish/MYirSeVDmgOfHwbejS5pcM/Y2ntHR9ZnqNC\nMEAwDgYDVR0PAQH/BAQDAgIEMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFM4f\n4DpymN8rwxU4tdXI5dkV9TflMAoGCCqGSM49BAMCA0gAMEUCIQCSuteK8A56gQPL\nfr3a1Ug/oXkdATHCHgvXgrwlv8+3WAIgH+PShVES6vUlnRllAQo5KtkFit/Iof2U\nYT3ajSlHoQA=\n-----END CERTIFICATE-----\n"
)

var (
	now    = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	caLine = `"` + strings.ReplaceAll(ca, "\n", `\n`) + `"`
)

// world is a repository with its keys.
type world struct {
	key      *sealtest.Key
	opener   *counting
	files    map[string]string
	sealer   *seal.Sealer
	memory   open.Memory
	redactor redact.Redactor
	now      time.Time
}

// counting counts the files that it opens, and fails for those in bad.
type counting struct {
	clusters.Opener
	mu     sync.Mutex
	opened []string
	bad    map[string]finding.Code
}

func (c *counting) Open(ctx context.Context, f *load.File) (*unseal.Plain, *finding.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened = append(c.opened, f.Path)
	if code := c.bad[f.Path]; code != "" {
		return nil, &finding.Finding{Code: code, Severity: finding.Error, Path: f.Path}
	}
	return c.Opener.Open(ctx, f)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{key: sealtest.NewKey(t), sealer: seal.NewSealer(), now: now}
	w.opener = &counting{Opener: w.key.Opener(t)}
	w.files = map[string]string{
		"m.yaml":       "apiVersion: k8s.mondoo.com/v1alpha2\nkind: MondooAuditConfig\nmetadata: {name: mondoo-client}\nspec: {mondooCredsSecretRef: {name: creds}}\n",
		"k.yaml":       clusterFile("k", "kubeconfigFile: k.kubeconfig\n"),
		"k.kubeconfig": w.key.Encrypt(t, "k.kubeconfig", kubeconfig("k"), sealtest.Everything),
		"r.yaml":       clusterFile("r", "serviceAccountAuth: {server: https://r.example.com, credentialsSecretRef: {name: r}}\n"),
	}
	w.encrypt(t, "i.yaml", clusterFile("i", "kubeconfig: |\n"+indent(kubeconfig("i"))+"containerImageScanning: true\nprivateRegistries:\n  dockerConfigJson: '"+registries+"'\n"))
	w.encrypt(t, "t.yaml", clusterFile("t", account("t", "token-t-"+canary)))
	w.files["e.yaml"] = w.key.Encrypt(t, "e.yaml", clusterFile("e", account("e", "token-e-"+canary)), sealtest.Recommended)
	w.encrypt(t, "s.yaml", secret("r", "stringData:\n  server: https://r.example.com\n  token: token-r-"+canary+"\n  ca.crt: "+caLine+"\n"))
	w.encrypt(t, "o.yaml", secret("o", "data:\n  password: "+base64.StdEncoding.EncodeToString([]byte("password-"+canary))+"\n  binary: /wA=\n"))
	return w
}

const registries = `{"auths":{"r.example.com":{"username":"u","password":"password-` + canary + `"}}}`

func clusterFile(name, spec string) string {
	return "apiVersion: muster.dev/v1alpha1\nkind: ExternalCluster\nmetadata:\n  name: " + name + "\nspec:\n" + indent(spec)
}

func account(name, token string) string {
	return "serviceAccountAuth:\n  server: https://" + name + ".example.com\n  token: " + token + "\n  caCert: " + caLine + "\n"
}

func secret(name, blocks string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata:\n  name: " + name + "\n" + blocks
}

func kubeconfig(name string) string {
	return "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {server: https://" + name + ".example.com, certificate-authority-data: " + base64.StdEncoding.EncodeToString([]byte(ca)) +
		"}\nusers:\n- name: u\n  user: {token: token-" + name + "-" + canary + "}\ncontexts:\n- name: x\n  context: {cluster: c, user: u}\ncurrent-context: x\n"
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

// encrypt adds a file to the repository, with a MAC over all of it.
func (w *world) encrypt(t *testing.T, name, plain string) {
	t.Helper()
	w.files[name] = w.key.Encrypt(t, name, plain, sealtest.Credentials)
}

// replace modifies a file as an attacker without a key could.
func (w *world) replace(t *testing.T, name, old, changed string) {
	t.Helper()
	if !strings.Contains(w.files[name], old) {
		t.Fatalf("%s has no %q", name, old)
	}
	w.files[name] = strings.Replace(w.files[name], old, changed, 1)
}

// compile runs the stages before open. It only uses keys for the inputs of generators.
func (w *world) compile(t *testing.T) *fleet.Sealed {
	t.Helper()
	repository := fstest.MapFS{}
	for name, text := range w.files {
		repository["f/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := load.Load(t.Context(), repository, "f", load.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	built, err := kustomize.Build(t.Context(), w.sealer.Seal(tree, nil), w.opener, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.opener.opened = nil
	return (&compile.Memory{}).Compile(built, compile.Options{Namespace: "mondoo-operator", Source: repository, Policy: policy.Policy{Allow: []string{"mondooCredsSecretRef=creds"}}})
}

func (w *world) open(t *testing.T) *fleet.Opened {
	t.Helper()
	opened, err := w.memory.Open(t.Context(), w.compile(t), w.opener, &w.redactor, w.now)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// errorsOf returns the errors of a fleet as "code path", and quarantined the clusters and Secrets that are left out.
func errorsOf(opened *fleet.Opened) (errs []string) {
	for _, f := range opened.Findings {
		if f.Severity == finding.Error {
			errs = append(errs, string(f.Code)+" "+f.Path)
		}
	}
	return errs
}

func quarantined(opened *fleet.Opened) (names []string) {
	for _, c := range opened.Clusters {
		if c.Quarantined {
			names = append(names, c.Name)
		}
	}
	for _, s := range opened.Secrets {
		if s.Quarantined && s.Cluster != "" {
			names = append(names, "Secret "+strings.TrimPrefix(mondoo.WithoutHash(s.Name), "mondoo-client-"))
		} else if s.Quarantined {
			names = append(names, "Secret "+s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// TestOpened: every value is in its place, and the generated Secrets are named after where their credentials go.
func TestOpened(t *testing.T) {
	w := newWorld(t)
	opened := w.open(t)
	if errs := errorsOf(opened); errs != nil || opened.Stopped {
		t.Fatal(opened.Findings)
	}
	want := map[string]map[string]string{
		"mondoo-client-i-kubeconfig":      {"kubeconfig": kubeconfig("i")},
		"mondoo-client-i-registries":      {".dockerconfigjson": registries},
		"mondoo-client-k-kubeconfig":      {"kubeconfig": kubeconfig("k")},
		"mondoo-client-t-service-account": {"token": "token-t-" + canary, "ca.crt": ca},
		"mondoo-client-e-service-account": {"token": "token-e-" + canary, "ca.crt": ca},
		"r":                               {"server": "https://r.example.com", "token": "token-r-" + canary, "ca.crt": ca},
		"o":                               {"password": "password-" + canary, "binary": "\xff\x00"},
	}
	for _, s := range opened.Secrets {
		name := s.Name
		if s.Cluster != "" {
			name = mondoo.WithoutHash(name)
			if strings.HasSuffix(s.Name, mondoo.UnknownHash) {
				t.Errorf("%s has no hash", s.Name)
			}
		}
		if !maps.Equal(s.Data, want[name]) {
			t.Errorf("%s: %q", name, s.Data)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
	for _, c := range opened.Clusters {
		if sa := c.Entry.ServiceAccountAuth; sa != nil && sa.Server != "https://"+c.Name+".example.com" {
			t.Errorf("%s has the server %s", c.Name, sa.Server)
		}
		for ref := range compile.References(&c.Entry) {
			if !slices.ContainsFunc(opened.Secrets, func(s fleet.Secret) bool { return s.Name == ref.Name }) {
				t.Errorf("%s names %s, which isn't there", c.Name, ref.Name)
			}
		}
	}
}

// TestWhatCannotBeOpened: the error is about its own file, and only the cluster that needs the file is left out, with its
// Secrets.
func TestWhatCannotBeOpened(t *testing.T) {
	for _, row := range []struct {
		reason string
		change func(*testing.T, *world)
		errs   string
		out    string
	}{
		{"a plain value is changed, which the MAC covers", func(t *testing.T, w *world) { w.replace(t, "t.yaml", "https://t.example.com", "https://e.example.com") }, "sops-mac f/t.yaml", "Secret t-service-account, t"},
		{"a value of another place", func(t *testing.T, w *world) {
			w.replace(t, "s.yaml", valueOf(w, "s.yaml", "token"), valueOf(w, "s.yaml", "ca.crt"))
		}, "sops-value f/s.yaml", "Secret r, r"},
		{"a value of another file", func(t *testing.T, w *world) {
			w.replace(t, "t.yaml", valueOf(w, "t.yaml", "token"), valueOf(w, "s.yaml", "token"))
		}, "sops-value f/t.yaml", "Secret t-service-account, t"},
		{"a value that the file's rule leaves closed", func(t *testing.T, w *world) {
			plain := clusterFile("t", account("t", "token-t-"+canary))
			w.files["t.yaml"] = w.key.Encrypt(t, "t.yaml", plain, sealtest.Rule{EncryptedRegex: "^(token|schedule)$"})
			w.replace(t, "t.yaml", "encrypted_regex: ^(token|schedule)$", "encrypted_regex: ^schedule$")
		}, "sops-mac f/t.yaml", "Secret t-service-account, t"},
		{"another key", func(t *testing.T, w *world) {
			w.files["k.kubeconfig"] = sealtest.NewKey(t).Encrypt(t, "k.kubeconfig", kubeconfig("k"), sealtest.Everything)
		}, "sops-key f/k.kubeconfig", "Secret k-kubeconfig, k"},
		{"no key", func(_ *testing.T, w *world) {
			w.files = map[string]string{"m.yaml": w.files["m.yaml"], "t.yaml": w.files["t.yaml"]}
			w.opener.Opener = unseal.NewOpener()
		}, "sops-no-key f/t.yaml", "Secret t-service-account, t"},
		{"an encrypted file without a value that is used", func(t *testing.T, w *world) {
			w.encrypt(t, "t.yaml", clusterFile("t", "kubeconfigSecretRef: {name: elsewhere}\nschedule: 5 2 * * *\n"))
			w.replace(t, "t.yaml", "5 2 * * *", "6 2 * * *")
		}, "sops-mac f/t.yaml", "t"},
		{"an encrypted patch", func(t *testing.T, w *world) {
			w.encrypt(t, "p.patch.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: o}\nstringData: {more: x}\n")
			w.replace(t, "p.patch.yaml", "name: o", "name: O")
			w.files["kustomization.yaml"] = "resources: [m.yaml, t.yaml, o.yaml]\npatches: [{path: p.patch.yaml, target: {kind: Secret}}]\n"
			w.files[".musterignore"] = "e.yaml\ni.yaml\nk.yaml\nr.yaml\n"
		}, "sops-mac f/p.patch.yaml", "all"},
		{"data that is no base64", func(t *testing.T, w *world) { w.encrypt(t, "o.yaml", secret("o", "data: {a: '*'}\n")) }, "secret-base64 f/o.yaml", "Secret o"},
		{"stringData that is no text", func(t *testing.T, w *world) { w.encrypt(t, "o.yaml", secret("o", "stringData: {a: !!binary /w==}\n")) }, "sops-value f/o.yaml", "Secret o"},
		{"a number", func(t *testing.T, w *world) { w.encrypt(t, "o.yaml", secret("o", "stringData: {a: 0123}\n")) }, "wrong-type f/o.yaml", "Secret o"},
		{"a kubeconfig that the scanner can't use", func(t *testing.T, w *world) {
			w.encrypt(t, "i.yaml", clusterFile("i", "kubeconfig: |\n"+indent(strings.Replace(kubeconfig("i"), "token: token-i-"+canary, "exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}", 1))))
		}, "kubeconfig-plugin f/i.yaml", "Secret i-kubeconfig, i"},
		{"one Secret of two", func(t *testing.T, w *world) {
			w.encrypt(t, "i.yaml", clusterFile("i", "kubeconfig: |\n"+indent(kubeconfig("i"))+"containerImageScanning: true\nprivateRegistries: {dockerConfigJson: '{'}\n"))
		}, "registry-config-syntax f/i.yaml", "Secret i-kubeconfig, Secret i-registries, i"},
		{"what a manifest holds for a cluster", func(t *testing.T, w *world) {
			w.encrypt(t, "s.yaml", secret("r", "stringData:\n  server: https://r.example.com\n  token: two words\n  ca.crt: "+caLine+"\n"))
		}, "token-form f/s.yaml", "Secret r, r"},
		{"a server that is no address once it is opened", func(t *testing.T, w *world) {
			w.files["t.yaml"] = w.key.Encrypt(t, "t.yaml", clusterFile("t", strings.Replace(account("t", "token"), "https", "http", 1)), sealtest.Recommended)
		}, "server-address f/t.yaml", "Secret t-service-account, t"},
		{"a token for another server", func(t *testing.T, w *world) { w.replace(t, "r.yaml", "https://r.example.com", "https://e.example.com") }, "token-server f/r.yaml", "r"},
		{"a token whose server isn't checked", func(t *testing.T, w *world) {
			w.replace(t, "r.yaml", "server: https://r.example.com", "server: https://r.example.com, skipTLSVerify: true")
		}, "token-server f/r.yaml", "r"},
	} {
		t.Run(row.reason, func(t *testing.T) {
			w := newWorld(t)
			row.change(t, w)
			opened := w.open(t)
			if got := strings.Join(errorsOf(opened), ", "); got != row.errs {
				t.Errorf("errors %q, want %q\n%v", got, row.errs, opened.Findings)
			}
			if got := strings.Join(quarantined(opened), ", "); got != row.out && (row.out != "all" || !opened.Stopped) {
				t.Errorf("left out: %q, want %q", got, row.out)
			}
			if shown := w.redactor.String(fmt.Sprint(opened.Findings)); strings.Contains(shown, canary) {
				t.Errorf("a finding repeats a secret: %s", shown)
			}
		})
	}
}

// valueOf returns an encrypted value of a file.
func valueOf(w *world, name, key string) string {
	_, rest, _ := strings.Cut(w.files[name], key+": ENC[")
	value, _, _ := strings.Cut(rest, "]")
	return "ENC[" + value + "]"
}

// TestMemory: a remembered result equals a fresh one, and no file is opened twice.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	all := []string{"f/e.yaml", "f/i.yaml", "f/k.kubeconfig", "f/o.yaml", "f/s.yaml", "f/t.yaml"}
	step := func(reason string, want []string, errs string) *fleet.Opened {
		t.Helper()
		opened := w.open(t)
		got := slices.Sorted(slices.Values(w.opener.opened))
		if !slices.Equal(got, want) {
			t.Errorf("%s: opened %q, want %q", reason, got, want)
		}
		if got := strings.Join(errorsOf(opened), ", "); got != errs {
			t.Errorf("%s: errors %q, want %q: %v", reason, got, errs, opened.Findings)
		}
		fresh, err := (&open.Memory{}).Open(t.Context(), w.compile(t), w.opener, &redact.Redactor{}, w.now)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(opened.Findings, fresh.Findings) {
			t.Errorf("%s: findings %v\nafresh %v", reason, opened.Findings, fresh.Findings)
		}
		for i, c := range opened.Clusters {
			if other := fresh.Clusters[i]; !reflect.DeepEqual(c.Entry, other.Entry) || !slices.Equal(c.Secrets, other.Secrets) || c.Quarantined != other.Quarantined {
				t.Errorf("%s: %s is not as it would be afresh", reason, c.Name)
			}
		}
		for i, s := range opened.Secrets {
			if other := fresh.Secrets[i]; s.Name != other.Name || !maps.Equal(s.Data, other.Data) || s.Quarantined != other.Quarantined || !s.Expires.Equal(other.Expires) {
				t.Errorf("%s: %s is not as it would be afresh", reason, s.Name)
			}
		}
		return opened
	}
	step("at first", all, "")
	step("the same", nil, "")
	w.encrypt(t, "t.yaml", clusterFile("t", account("t", "renewed-"+canary)))
	step("one is renewed", []string{"f/t.yaml"}, "")

	other := sealtest.NewKey(t)
	for _, name := range all {
		name = strings.TrimPrefix(name, "f/")
		if name == "o.yaml" {
			w.files[name] = other.Encrypt(t, name, secret("o", "stringData: {password: rotated-"+canary+"}\n"), sealtest.Credentials)
		}
	}
	step("a file is for another key", []string{"f/o.yaml"}, "sops-key f/o.yaml")
	step("which is remembered", nil, "sops-key f/o.yaml")
	w.opener = &counting{Opener: sealtest.Opener(t, w.key, other)}
	step("with the new key all is opened again", all, "")
	w.opener = &counting{Opener: sealtest.Opener(t, other)}
	opened := step("without the old one, what was open before is closed", all, "sops-key f/e.yaml, sops-key f/i.yaml, sops-key f/k.kubeconfig, sops-key f/s.yaml, sops-key f/t.yaml")
	if got := quarantined(opened); len(got) != 11 {
		t.Errorf("left out: %q", got)
	}
	w.opener = &counting{Opener: sealtest.Opener(t, w.key, other)}
	step("with both", all, "")
	w.now = now.AddDate(0, 0, 1)
	step("a day later", all, "")

	w.encrypt(t, "t.yaml", clusterFile("t", account("t", "again-"+canary)))
	w.opener.bad = map[string]finding.Code{"f/t.yaml": unseal.CodeUnavailable}
	if opened := step("a key service doesn't answer", []string{"f/t.yaml"}, "sops-unavailable f/t.yaml"); !opened.Provisional || !opened.Retry {
		t.Error("it is not to be tried again")
	}
	if opened := step("it still doesn't", []string{"f/t.yaml"}, "sops-unavailable f/t.yaml"); !opened.Provisional {
		t.Error("it is not to be tried again")
	}
	w.opener.bad = map[string]finding.Code{"f/t.yaml": unseal.CodeRefused}
	if opened := step("it refuses", []string{"f/t.yaml"}, "sops-refused f/t.yaml"); !opened.Provisional || opened.Retry {
		t.Error("it is tried again soon, or never")
	}
	w.opener.bad = nil
	if opened := step("it answers", []string{"f/t.yaml"}, ""); opened.Provisional {
		t.Error("it is to be tried again")
	}
	w.opener.bad = map[string]finding.Code{"f/e.yaml": unseal.CodeUnavailable}
	w.files["e.yaml"] = w.key.Encrypt(t, "e.yaml", clusterFile("e", account("e", "again-e-"+canary)), sealtest.Recommended)
	step("a file with a server doesn't open for now", []string{"f/e.yaml"}, "sops-unavailable f/e.yaml")
	w.opener.bad = nil
	step("it does", []string{"f/e.yaml"}, "")

	w.files["kustomization.yaml"] = "resources: [m.yaml, s.yaml, o.yaml]\npatches:\n- {path: p.yaml, target: {kind: Secret, name: o}}\n"
	w.encrypt(t, "p.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: o}\nstringData: {more: patched-"+canary+"}\n")
	step("a patch brings a value", []string{"f/o.yaml", "f/p.yaml"}, "")
	w.replace(t, "p.yaml", "name: o", "name: O")
	if opened := step("the patch's MAC is broken, and its value is the same", []string{"f/o.yaml", "f/p.yaml"}, "sops-mac f/p.yaml"); !opened.Stopped {
		t.Error("a broken patch doesn't stop the fleet")
	}
	w.replace(t, "p.yaml", "name: O", "name: o")
	step("it is mended", []string{"f/o.yaml", "f/p.yaml"}, "")
	w.files["kustomization.yaml"] += "- target: {kind: ExternalCluster, name: e}\n  patch: |\n    - {op: add, path: /spec/schedule, value: '5 2 * * *'}\n"
	step("a patch of an entry, whose file is the same", []string{"f/e.yaml"}, "")
	w.files["e.yaml"] = w.key.Encrypt(t, "e.yaml", clusterFile("e", strings.Replace(account("e", "x"), "https", "http", 1)), sealtest.Recommended)
	step("a mistake", []string{"f/e.yaml"}, "server-address f/e.yaml")
	w.files["e.yaml"] = "# moves the mistake\n" + w.files["e.yaml"]
	step("the mistake is a line further down", []string{"f/e.yaml"}, "server-address f/e.yaml")
	sealed := w.compile(t)
	first, err := w.memory.Open(t.Context(), sealed, w.opener, &w.redactor, w.now)
	if second, again := w.memory.Open(t.Context(), sealed, w.opener, &w.redactor, w.now); err != nil || again != nil || first != second {
		t.Error("the same fleet is opened twice")
	}
}

// TestExpiryWithinADay: at each threshold, only the Secret of which something is to be said is opened again.
func TestExpiryWithinADay(t *testing.T) {
	w := newWorld(t)
	token := func(life time.Duration) string {
		claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"iat":%d,"exp":%d}`, now.Unix(), now.Add(life).Unix()))
		return "e30." + claims + "." + canary
	}
	w.encrypt(t, "t.yaml", clusterFile("t", account("t", token(3*time.Hour))))
	annotated := strings.Replace(clusterFile("i", account("i", token(11*time.Hour))), "  name: i\n", "  name: i\n  annotations: {muster.dev/warn-before: 10h}\n", 1)
	w.encrypt(t, "i.yaml", annotated)
	expiry := func(f finding.Finding) bool { return strings.HasPrefix(string(f.Code), "token-expir") }
	w.open(t)
	for _, step := range []struct {
		after  time.Duration
		opened string
		want   string
	}{
		{59 * time.Minute, "", ""},
		{time.Hour, "f/i.yaml", "i: the token expires on 2026-11-23 at 23:00 UTC"},
		{119 * time.Minute, "", "i: the token expires on 2026-11-23 at 23:00 UTC"},
		{2 * time.Hour, "f/t.yaml", "i: the token expires on 2026-11-23 at 23:00 UTC, t: the token expires on 2026-11-23 at 15:00 UTC"},
		{165 * time.Minute, "f/t.yaml", "i: the token expires on 2026-11-23 at 23:00 UTC, t: the token expires soon, on 2026-11-23 at 15:00 UTC"},
		{179 * time.Minute, "", "i: the token expires on 2026-11-23 at 23:00 UTC, t: the token expires soon, on 2026-11-23 at 15:00 UTC"},
		{4 * time.Hour, "f/t.yaml", "t: the token expired on 2026-11-23 at 15:00 UTC, i: the token expires on 2026-11-23 at 23:00 UTC"},
	} {
		w.now = now.Add(step.after)
		opened := w.open(t)
		if got := strings.Join(w.opener.opened, " "); got != step.opened {
			t.Errorf("after %s: opens %q, want %q", step.after, got, step.opened)
		}
		var got []string
		for _, f := range opened.Findings {
			if expiry(f) {
				got = append(got, f.Cluster+": "+f.Message)
			}
		}
		if strings.Join(got, ", ") != step.want {
			t.Errorf("after %s: %q, want %q", step.after, got, step.want)
		}
		fresh, err := (&open.Memory{}).Open(t.Context(), w.compile(t), w.opener, &redact.Redactor{}, w.now)
		if err != nil || !slices.Equal(fresh.Findings, opened.Findings) || !fresh.Changes.Equal(opened.Changes) {
			t.Errorf("after %s: a restart finds %v until %s, not %v until %s (%v)", step.after, fresh.Findings, fresh.Changes, opened.Findings, opened.Changes, err)
		}
	}
}

// TestExpiryOfTheSameFleet: a fleet that is opened again as it is, is opened anew once a credential in it is about to expire.
func TestExpiryOfTheSameFleet(t *testing.T) {
	w := newWorld(t)
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"iat":%d,"exp":%d}`, now.Unix(), now.Add(3*time.Hour).Unix()))
	w.encrypt(t, "t.yaml", clusterFile("t", account("t", "e30."+claims+"."+canary)))
	sealed := w.compile(t)
	at := func(after time.Duration) *fleet.Opened {
		opened, err := w.memory.Open(t.Context(), sealed, w.opener, &w.redactor, now.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		return opened
	}
	first := at(0)
	if !first.Changes.Equal(now.Add(2*time.Hour)) || at(119*time.Minute) != first {
		t.Errorf("opened again before %s", first.Changes)
	}
	second := at(2 * time.Hour)
	if second == first || !strings.Contains(fmt.Sprint(second.Findings), "token-expiring") || strings.Contains(fmt.Sprint(first.Findings), "token-expiring") {
		t.Errorf("at the threshold: %v", second.Findings)
	}
}

// TestWarnBeforeOfASecret: what a cluster's file says counts for the Secret that it names, also when only that file changes.
func TestWarnBeforeOfASecret(t *testing.T) {
	w := newWorld(t)
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, now.AddDate(0, 0, 50).Unix()))
	w.encrypt(t, "s.yaml", secret("r", "stringData:\n  server: https://r.example.com\n  token: e30."+claims+"."+canary+"\n  ca.crt: "+caLine+"\n"))
	if found := fmt.Sprint(w.open(t).Findings); strings.Contains(found, "token-expiring") {
		t.Errorf("50 days before: %s", found)
	}
	w.files["r.yaml"] = strings.Replace(w.files["r.yaml"], "  name: r\n", "  name: r\n  annotations: {muster.dev/warn-before: 60d}\n", 1)
	if found := fmt.Sprint(w.open(t).Findings); !strings.Contains(found, "token-expiring") {
		t.Errorf("50 days before, and the cluster wants 60: %s", found)
	}
}

// TestExpiryOverDays: an expiry is reported on the day, even if nothing else has changed.
func TestExpiryOverDays(t *testing.T) {
	w := newWorld(t)
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, now.Add(36*time.Hour).Unix()))
	w.encrypt(t, "t.yaml", clusterFile("t", account("t", "e30."+claims+"."+canary)))
	for day, want := range []string{"", "", "token-expired f/t.yaml"} {
		w.now = now.AddDate(0, 0, day)
		opened := w.open(t)
		if got := strings.Join(errorsOf(opened), ", "); got != want {
			t.Errorf("day %d: %q", day, got)
		}
		for _, c := range opened.Clusters {
			if c.Name == "t" && !c.Expires.Equal(now.Add(36*time.Hour)) {
				t.Errorf("day %d: expires %s", day, c.Expires)
			}
		}
	}
}

// TestRedactorKnows: opened values are masked from then on, until their owner is forgotten.
func TestRedactorKnows(t *testing.T) {
	w := newWorld(t)
	w.files["g.env"] = w.key.Encrypt(t, "g.env", "PASSWORD=generated-"+canary+"\n", sealtest.Everything)
	w.files["kustomization.yaml"] = "resources: [m.yaml, s.yaml, o.yaml]\nsecretGenerator: [{name: g, envs: [g.env]}]\n"
	values := map[string]string{"i.yaml": "token-i-" + canary, "k.yaml": "token-k-" + canary, "e.yaml": "https://e.example.com", "t.yaml": "token-t-" + canary, "s.yaml": "token-r-" + canary, "o.yaml": "password-" + canary, "g.env": "generated-" + canary}
	check := func(reason string, known bool, names ...string) {
		t.Helper()
		for _, name := range names {
			if shown := w.redactor.String("x " + values[name] + " y"); strings.Contains(shown, values[name]) == known {
				t.Errorf("%s: of %s is shown %q", reason, name, shown)
			}
		}
	}
	check("before", false, slices.Collect(maps.Keys(values))...)
	w.open(t)
	check("opened", true, slices.Collect(maps.Keys(values))...)
	w.encrypt(t, "t.yaml", clusterFile("t", account("t", "renewed-t-"+canary)))
	w.open(t)
	check("renewed", false, "t.yaml")
	check("others are renewed", true, "i.yaml", "k.yaml", "s.yaml", "g.env")
	delete(w.files, "i.yaml")
	delete(w.files, "e.yaml")
	w.files["kustomization.yaml"] = "resources: [m.yaml, s.yaml]\n"
	w.open(t)
	check("gone", false, "e.yaml", "i.yaml", "g.env")
	check("the others have gone", true, "k.yaml", "s.yaml")
	w.encrypt(t, "t.yaml", clusterFile("t", account("t", "stopped-"+canary)))
	ctx, cancel := context.WithCancel(t.Context())
	sealed := w.compile(t)
	cancel()
	if _, err := w.memory.Open(ctx, sealed, w.opener, &w.redactor, w.now); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
