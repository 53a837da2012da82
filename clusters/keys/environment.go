package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/getsops/sops/v3/keyservice"
)

// Environment is what FromEnvironment reads.
type Environment struct {
	Getenv   func(string) string
	ReadFile func(string) ([]byte, error)
	// ConfigDir is the user's configuration folder, "" when unknown.
	ConfigDir string
}

// FromEnvironment makes a ring of the age keys that the sops command would use: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, and
// sops/age/keys.txt in the user's configuration folder. If there are none, the ring is empty. It doesn't include PGP keys, for
// which sops would ask gpg. Key services are only asked after AddAmbient.
func FromEnvironment(env Environment) (*Ring, error) {
	r := &Ring{}
	if text := env.Getenv("SOPS_AGE_KEY"); text != "" {
		if err := r.AddAge("SOPS_AGE_KEY", text); err != nil {
			return nil, err
		}
	}
	if file := env.Getenv("SOPS_AGE_KEY_FILE"); file != "" {
		if err := r.addAgeFile(env, file); err != nil {
			return nil, err
		}
	}
	if env.ConfigDir != "" {
		err := r.addAgeFile(env, filepath.Join(env.ConfigDir, "sops", "age", "keys.txt"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return r, nil
}

func (r *Ring) addAgeFile(env Environment, file string) error {
	data, err := env.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	return r.AddAge(file, string(data))
}

// ambientSecrets are the variables with secrets for the libraries that sops uses.
var ambientSecrets = []string{
	"VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD",
	"GOOGLE_OAUTH_ACCESS_TOKEN",
}

// AddAmbient lets the ring ask Vault, AWS KMS, Google Cloud KMS and Azure Key Vault like the sops command, with the credentials
// of the process environment, the home folder and the machine, and at any address that a file names. It is for a command line,
// whose user has these permissions and trusts the repository, and never for a server.
func (r *Ring) AddAmbient(env Environment) {
	r.ambient = keyservice.NewLocalClient()
	for _, name := range ambientSecrets {
		if value := env.Getenv(name); value != "" {
			r.secrets = append(r.secrets, value)
		}
	}
}

// askAmbient passes the question to the sops library.
func (r *Ring) askAmbient(ctx context.Context, req *keyservice.DecryptRequest) ([]byte, error) {
	recipient := ambientRecipient(req.GetKey())
	if recipient == "" {
		return nil, ErrNoKeyFits
	}
	key, err := within(ctx, recipient, func(ctx context.Context) ([]byte, error) {
		answer, err := r.ambient.Decrypt(ctx, req)
		return answer.GetPlaintext(), err
	})
	if refused, ok := errors.AsType[*callError](err); ok {
		return nil, &RefusedError{Recipient: recipient, Cause: Denied, Reason: quoted(refused.Error()),
			Fix: "check your credentials for it with: sops decrypt FILE"}
	}
	return key, err
}

// callError is the error of a call of the sops library.
type callError struct{ error }

// within calls the sops library, whose clients have no context. A call that is running when ctx ends is left to finish.
func within(ctx context.Context, recipient string, call func(context.Context) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, &UnavailableError{recipient, fmt.Sprintf("no answer within %s", callTimeout)})
	defer cancel()
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := call(ctx)
		done <- result{data, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case got := <-done:
		if got.err != nil {
			return nil, &callError{got.err}
		}
		return got.data, nil
	}
}

// ambientRecipient returns the name of a key in a service, or "" for any other key.
func ambientRecipient(key *keyservice.Key) string {
	switch {
	case key.GetVaultKey() != nil:
		return quoted(key.GetVaultKey().GetVaultAddress() + "/v1/" + key.GetVaultKey().GetEnginePath() + "/keys/" + key.GetVaultKey().GetKeyName())
	case key.GetKmsKey() != nil:
		return quoted(key.GetKmsKey().GetArn())
	case key.GetGcpKmsKey() != nil:
		return quoted(key.GetGcpKmsKey().GetResourceId())
	case key.GetAzureKeyvaultKey() != nil:
		return quoted(key.GetAzureKeyvaultKey().GetVaultUrl() + "/keys/" + key.GetAzureKeyvaultKey().GetName())
	default:
		return ""
	}
}
