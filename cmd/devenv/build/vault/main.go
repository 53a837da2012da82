// Command vault is a Vault server with storage in memory, for tests: upstream's core and HTTP API, with the transit and kv
// secrets engines, the Kubernetes secrets engine, Kubernetes auth and AppRole.
//
// It is a module of its own so that the module it stands beside never has to agree with Vault's requirements, and has nothing
// of its licence; cmd/devenv/server builds it. It serves on the socket that it inherits as descriptor 3, initializes and
// unseals itself, prints one line of JSON with the root token and the unseal key, and runs until SIGTERM. Its data is gone
// then.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	kubeauth "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kubesecrets "github.com/hashicorp/vault-plugin-secrets-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	cert := flag.String("cert", "", "file with the certificate")
	key := flag.String("key", "", "file with its private key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cert, key string) error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return fmt.Errorf("take over descriptor 3: %w", err)
	}
	core, err := newCore(hclog.New(&hclog.LoggerOptions{Name: "vault", Level: hclog.Warn, Output: os.Stderr}))
	if err != nil {
		return err
	}
	defer core.Shutdown()
	started, err := start(ctx, core)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core,
			ListenerConfig: &configutil.Listener{MaxRequestSize: vaulthttp.DefaultMaxRequestSize, MaxRequestDuration: vault.DefaultMaxRequestDuration}}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(listener, cert, key) }()
	if err := json.NewEncoder(os.Stdout).Encode(started); err != nil {
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// secrets are printed for whoever started the server.
type secrets struct {
	RootToken string `json:"rootToken"`
	UnsealKey string `json:"unsealKey"`
}

func start(ctx context.Context, core *vault.Core) (secrets, error) {
	one := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	made, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: one, RecoveryConfig: one})
	if err != nil {
		return secrets{}, fmt.Errorf("initialize: %w", err)
	}
	if len(made.SecretShares) != 1 {
		return secrets{}, errors.New("initialize: there is no unseal key")
	}
	if _, err := core.Unseal(made.SecretShares[0]); err != nil {
		return secrets{}, fmt.Errorf("unseal: %w", err)
	}
	return secrets{made.RootToken, base64.StdEncoding.EncodeToString(made.SecretShares[0])}, nil
}

func newCore(log hclog.Logger) (*vault.Core, error) {
	storage, err := inmem.NewInmem(nil, log)
	if err != nil {
		return nil, fmt.Errorf("make storage: %w", err)
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		StorageType:        "inmem",
		DisableMlock:       true,
		Logger:             log,
		BuiltinRegistry:    builtin{},
		LogicalBackends:    engines,
		CredentialBackends: methods,
		AuditBackends:      map[string]audit.Factory{"file": audit.NewFileBackend},
	})
	if err != nil {
		return nil, fmt.Errorf("make core: %w", err)
	}
	return core, nil
}

var (
	engines = map[string]logical.Factory{"transit": transit.Factory, "kv": kv.Factory, "kubernetes": kubesecrets.Factory}
	methods = map[string]logical.Factory{"kubernetes": kubeauth.Factory, "approle": approle.Factory}
)

// builtin is the catalog of plugins that are linked in.
type builtin struct{}

func factories(kind consts.PluginType) map[string]logical.Factory {
	switch kind {
	case consts.PluginTypeSecrets:
		return engines
	case consts.PluginTypeCredential:
		return methods
	default:
		return nil
	}
}

func (builtin) Contains(name string, kind consts.PluginType) bool {
	return factories(kind)[name] != nil
}

func (builtin) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	factory := factories(kind)[name]
	return func() (interface{}, error) { return factory, nil }, factory != nil
}

func (builtin) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range factories(kind) {
		names = append(names, name)
	}
	return names
}

func (builtin) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, factories(kind)[name] != nil
}

func (builtin) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
