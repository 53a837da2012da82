package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// VaultOptions configure Vault. The zero value is valid.
type VaultOptions struct {
	// Log gets progress, a line at a time: mostly that the binary is being built. Nil means os.Stderr.
	Log io.Writer
	// StartTimeout bounds the time from start to ready, without building. 0 means three minutes.
	StartTimeout time.Duration
}

// Vault is a running Vault server: unsealed, with its storage in memory and an audit log. It is safe for concurrent use.
type Vault struct {
	dir     string
	process *process
	ca      []byte
	relay   *relay
	client  *http.Client
	secrets struct {
		RootToken string `json:"rootToken"`
		UnsealKey string `json:"unsealKey"`
	}
	shutdown shutdown
}

// VaultError is an error answer of Vault.
type VaultError struct {
	Method, Path string
	Status       int
	Errors       []string
}

func (e *VaultError) Error() string {
	return fmt.Sprintf("vault: %s %s: status %d: %s", e.Method, e.Path, e.Status, strings.Join(e.Errors, ", "))
}

// StartVault starts Vault behind TLS with its own authority, and returns when it answers. It stops with ctx.
func StartVault(ctx context.Context, o VaultOptions) (_ *Vault, err error) {
	o.Log, o.StartTimeout = orDefaults(o.Log, o.StartTimeout)
	v := &Vault{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start Vault: %w", err), v.Stop())
		}
	}()
	binary, err := Binary(ctx, VaultServer, o.Log)
	if err != nil {
		return nil, err
	}
	if v.dir, _, err = ensureDir("", "muster-vault-"); err != nil {
		return nil, err
	}
	ctxStart, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	if err := v.start(ctxStart, binary); err != nil {
		return nil, err
	}
	audit := map[string]any{"type": "file", "options": map[string]string{"file_path": v.auditLog(), "log_raw": "false"}}
	if _, err := v.Call(ctxStart, http.MethodPut, "sys/audit/file", audit); err != nil {
		return nil, err
	}
	v.shutdown.with(ctx, v.end)
	return v, nil
}

// start runs the binary on a socket that is already bound, so that there is no race for a port, and waits for its line of
// secrets.
func (v *Vault) start(ctx context.Context, binary string) error {
	authority, err := newAuthority("vault-ca")
	if err != nil {
		return err
	}
	served, err := authority.server()
	if err != nil {
		return err
	}
	v.ca = authority.pem()
	certFile, keyFile := filepath.Join(v.dir, "server.crt"), filepath.Join(v.dir, "server.key")
	if err := errors.Join(os.WriteFile(certFile, served.cert, 0o600), os.WriteFile(keyFile, served.key, 0o600)); err != nil {
		return err
	}
	tls, err := authority.clientTLS(served)
	if err != nil {
		return err
	}
	v.client = &http.Client{Transport: &http.Transport{TLSClientConfig: tls}, Timeout: 30 * time.Second}
	listener, err := listenLoopback(ctx)
	if err != nil {
		return err
	}
	defer listener.Close() // the child has its own descriptor
	if v.relay, err = startRelay(ctx, listener.Addr().String()); err != nil {
		return err
	}
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer socket.Close()
	return v.spawn(ctx, binary, socket, "-cert", certFile, "-key", keyFile)
}

func (v *Vault) spawn(ctx context.Context, binary string, socket *os.File, args ...string) error {
	stdout, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdout.Close()
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.ExtraFiles = out, []*os.File{socket}
	v.process, err = launch(VaultServer.Name, v.dir, cmd)
	out.Close()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { stdout.SetReadDeadline(time.Unix(1, 0)) })()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	switch {
	case errors.Is(err, io.EOF):
		return v.process.ended()
	case err != nil:
		return v.process.notReady(errors.Join(err, ctx.Err()))
	}
	return json.Unmarshal(line, &v.secrets)
}

func (v *Vault) auditLog() string { return filepath.Join(v.dir, "audit.log") }

// URL returns https://127.0.0.1:PORT.
func (v *Vault) URL() string { return "https://" + v.relay.address() }

// CA returns the certificate of the server's authority in PEM.
func (v *Vault) CA() []byte { return bytes.Clone(v.ca) }

// RootToken has all permissions.
func (v *Vault) RootToken() string { return v.secrets.RootToken }

// Call calls Vault's HTTP API as root, with a path below /v1/, and returns the answer. An answer of 400 or above is a
// *VaultError.
func (v *Vault) Call(ctx context.Context, method, path string, body any) (map[string]any, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, v.URL()+"/v1/"+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", v.RootToken())
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		failure := &VaultError{Method: method, Path: path, Status: resp.StatusCode}
		// An answer that isn't JSON, for example from a proxy, leaves the list empty; the status is enough.
		_ = json.Unmarshal(text, failure)
		return nil, failure
	}
	answer := map[string]any{}
	if len(text) > 0 {
		err = json.Unmarshal(text, &answer)
	}
	return answer, err
}

// EnableTransit mounts the transit engine and creates keys in it.
func (v *Vault) EnableTransit(ctx context.Context, mount string, keys ...string) error {
	if _, err := v.Call(ctx, http.MethodPost, "sys/mounts/"+mount, map[string]string{"type": "transit"}); err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := v.Call(ctx, http.MethodPost, mount+"/keys/"+key, nil); err != nil {
			return err
		}
	}
	return nil
}

// Token creates a token with its own policy, in Vault's policy language.
func (v *Vault) Token(ctx context.Context, name, policy string) (string, error) {
	if _, err := v.Call(ctx, http.MethodPut, "sys/policies/acl/"+name, map[string]string{"policy": policy}); err != nil {
		return "", err
	}
	answer, err := v.Call(ctx, http.MethodPost, "auth/token/create", map[string]any{"policies": []string{name}, "no_parent": true})
	if err != nil {
		return "", err
	}
	auth, _ := answer["auth"].(map[string]any)
	token, _ := auth["client_token"].(string)
	if token == "" {
		return "", errors.New("vault: no token in the answer")
	}
	return token, nil
}

// Seal seals Vault, which then answers all requests with 503.
func (v *Vault) Seal(ctx context.Context) error {
	_, err := v.Call(ctx, http.MethodPut, "sys/seal", nil)
	return err
}

// Unseal unseals it again.
func (v *Vault) Unseal(ctx context.Context) error {
	_, err := v.Call(ctx, http.MethodPut, "sys/unseal", map[string]string{"key": v.secrets.UnsealKey})
	return err
}

// SetDown makes the server unreachable, until it is called with false: existing and new connections are cut.
func (v *Vault) SetDown(down bool) { v.relay.clients.setShut(down) }

// VaultRequest is a request in the audit log.
type VaultRequest struct {
	Operation string // read, update, …
	Path      string // below /v1/
	Error     string // the reason for an error, or empty
}

// Requests returns all requests so far that Vault has answered, oldest first. While sealed, Vault logs nothing.
func (v *Vault) Requests() ([]VaultRequest, error) {
	data, err := os.ReadFile(v.auditLog())
	if err != nil {
		return nil, err
	}
	var requests []VaultRequest
	for line := range bytes.Lines(data) {
		var entry struct {
			Type    string `json:"type"`
			Error   string `json:"error"`
			Request struct{ Operation, Path string }
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, fmt.Errorf("read the audit log of Vault: %w", err)
		}
		if entry.Type == "response" {
			requests = append(requests, VaultRequest{entry.Request.Operation, entry.Request.Path, entry.Error})
		}
	}
	return requests, nil
}

// Stop ends the server, waits for its end, and removes its folder. Stopping again does nothing.
func (v *Vault) Stop() error { return v.shutdown.now(v.end) }

func (v *Vault) end() (err error) {
	if v.relay != nil {
		err = v.relay.stop()
	}
	if v.process != nil {
		err = errors.Join(err, v.process.terminate(5*time.Second))
	}
	if v.dir != "" {
		err = errors.Join(err, os.RemoveAll(v.dir))
	}
	return err
}
